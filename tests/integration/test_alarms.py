# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role key_store_alarms makes the alarms that AWS documents, once for each store, and removes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import boto3
import pytest
import yaml

from dev.environment import ROOT
from kms_emulator import HttpControl
from tests.integration.guides import all_blocks
from tests.integration.harness import Ansible
from tests.integration.harness import PlaybookRun

ROLE = "keyops.aws.key_store_alarms"
OWN = "key_store_alarms_"
REGIONS = ("us-east-1", "eu-central-1")
TOPIC = "arn:aws:sns:us-east-1:123456789012:key-stores"
ALL_RIGHT = "arn:aws:sns:us-east-1:123456789012:all-right"

EXTERNAL_KINDS = (
    "certificate",
    "credential-age",
    "degraded-managers",
    "latency",
    "non-retryable-errors",
    "retryable-errors",
    "unavailable-managers",
)
CLOUDHSM_KINDS = ("unhealthy-hsm",)


KINDS = yaml.safe_load((ROOT / "roles" / "key_store_alarms" / "vars" / "main.yml").read_text())[f"{OWN}_kinds"]


@dataclass
class Alarms:
    """Stores of both types, and the alarms of the account.

    Attributes:
        ansible: see there.
        ids: of the stores by name.
    """

    ansible: Ansible
    ids: dict[str, str] = field(default_factory=dict)

    def store(self, name: str, store_type: str = "EXTERNAL_KEY_STORE", region: str = REGIONS[0]) -> str:
        control = HttpControl(self.ansible.control.base_url, region_name=region)
        self.ids[name] = control.create_store(custom_key_store_name=name, custom_key_store_type=store_type)
        return self.ids[name]

    def cloudwatch(self, region: str = REGIONS[0]) -> Any:
        """A boto3 client, for what no task does."""
        return boto3.client(
            "cloudwatch",
            endpoint_url=self.ansible.environment["AWS_URL"],
            region_name=region,
            aws_access_key_id=self.ansible.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.ansible.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def there(self, region: str = REGIONS[0]) -> dict[str, dict[str, Any]]:
        """The alarms of a Region by name."""
        pages = self.cloudwatch(region).get_paginator("describe_alarms").paginate()
        return {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}

    def updated(self) -> dict[str, Any]:
        """When each alarm was changed last."""
        return {name: alarm["AlarmConfigurationUpdatedTimestamp"] for name, alarm in self.there().items()}

    def clear(self) -> None:
        for region in REGIONS:
            self.cloudwatch(region).delete_alarms(AlarmNames=list(self.there(region)))

    def make(self) -> None:
        """Make the alarms as the role makes them without any variables, in less time."""
        for name, alarm in documented(self).items():
            store, store_id = next((store, store_id) for store, store_id in self.ids.items() if store_id in name)
            kind = name.partition(f"{store_id}-")[2]
            reported_by = {each["kind"]: each["description"] for each in KINDS}[kind]
            put(self, name, alarm, AlarmDescription=f"{store} ({store_id}): {reported_by}")

    def names(self, store: str, kinds: tuple[str, ...] = EXTERNAL_KINDS, prefix: str = "keyops-") -> set[str]:
        """What the alarms of a store are called."""
        return {f"{prefix}{self.ids[store]}-{kind}" for kind in kinds}

    def role(self, *arguments: str, **variables: Any) -> PlaybookRun:
        """Run the role. What it says is on one line, as the terminal breaks lines anywhere."""
        play = {
            "name": "Test",
            "hosts": "localhost",
            "gather_facts": False,
            "roles": [{"role": ROLE, "vars": {f"{OWN}{name}": value for name, value in variables.items()}}],
        }
        path = self.ansible.folder / "alarms.yml"
        path.write_text(json.dumps([play]))
        done = self.ansible.run(str(path), *arguments)
        return PlaybookRun(done.exit_code, " ".join(done.output.split()))

    def changes(self, *arguments: str, **variables: Any) -> int:
        """Run the role, which must succeed. Returns how many tasks have changed something."""
        done = self.role(*arguments, **variables)
        assert done.exit_code == 0, done.output
        return int(re.findall(r"changed=(\d+)", done.output)[-1])

    def refused(self, **variables: Any) -> str:
        """Run the role, which must fail without a change. Returns what it says."""
        before = self.updated()
        done = self.role(**variables)
        assert done.exit_code == 2, done.output
        assert self.updated() == before
        return done.output


@pytest.fixture
def alarms(ansible: Ansible) -> Iterator[Alarms]:
    """An account with the external store invoices, the CloudHSM store payments, and no alarm."""
    alarms = Alarms(ansible)
    alarms.clear()
    alarms.store("invoices")
    alarms.store("payments", "AWS_CLOUDHSM")
    yield alarms
    alarms.clear()
    HttpControl(ansible.control.base_url, region_name=REGIONS[1]).reset()


def reported(alarm: dict[str, Any]) -> dict[str, Any]:
    """What an alarm watches, and what it does."""
    watched = (
        {"query": [{key: query[key] for key in ("Expression", "Period", "ReturnData")} for query in alarm["Metrics"]]}
        if alarm.get("Metrics")
        else {
            "metric": (alarm["Namespace"], alarm["MetricName"]),
            "dimensions": {each["Name"]: each["Value"] for each in alarm["Dimensions"]},
            "statistic": (alarm["Statistic"], alarm["Period"]),
        }
    )
    return {
        **watched,
        "when": (alarm["ComparisonOperator"], alarm["Threshold"], alarm["EvaluationPeriods"]),
        "missing": alarm["TreatMissingData"],
        "actions": (alarm["AlarmActions"], alarm["OKActions"], alarm["InsufficientDataActions"]),
    }


def queried(select: str, where: str, period: int) -> dict[str, Any]:
    expression = f'SELECT {select} FROM "AWS/KMS" WHERE {where}'  # noqa: S608 -- no SQL, and nothing of others
    return {"query": [{"Expression": expression, "Period": period, "ReturnData": True}]}


def documented(alarms: Alarms) -> dict[str, dict[str, Any]]:
    """The alarms of both stores, as AWS documents them."""
    invoices, payments = alarms.ids["invoices"], alarms.ids["payments"]
    (store,) = alarms.ansible.kms().describe_custom_key_stores(CustomKeyStoreId=payments)["CustomKeyStores"]
    of_store = f"CustomKeyStoreId = '{invoices}'"
    more, most = "GreaterThanThreshold", ("Maximum", 300)
    managers = {"metric": ("AWS/KMS", "XksExternalKeyManagerStates"), "statistic": most}
    kinds: dict[str, dict[str, Any]] = {
        "certificate": {
            **queried("MIN(XksProxyCertificateDaysToExpire)", of_store, 300),
            "when": ("LessThanThreshold", 10.0, 1),
            "missing": "ignore",
        },
        "credential-age": {
            "metric": ("AWS/KMS", "XksProxyCredentialAge"),
            "dimensions": {"CustomKeyStoreId": invoices},
            "statistic": most,
            "when": (more, 90.0, 1),
            "missing": "ignore",
        },
        "latency": {
            **queried("AVG(XksProxyLatency)", of_store, 300),
            "when": (more, 200.0, 1),
            "missing": "notBreaching",
        },
        "retryable-errors": {
            **queried("SUM(XksProxyErrors)", f"{of_store} AND ErrorType = 'Retryable'", 60),
            "when": (more, 5.0, 1),
            "missing": "notBreaching",
        },
        "non-retryable-errors": {
            **queried("SUM(XksProxyErrors)", f"{of_store} AND ErrorType = 'Non-retryable'", 60),
            "when": (more, 5.0, 1),
            "missing": "notBreaching",
        },
        "degraded-managers": {
            **managers,
            "dimensions": {"CustomKeyStoreId": invoices, "XksExternalKeyManagerState": "Degraded"},
            "when": (more, 0.0, 1),
            "missing": "notBreaching",
        },
        "unavailable-managers": {
            **managers,
            "dimensions": {"CustomKeyStoreId": invoices, "XksExternalKeyManagerState": "Unavailable"},
            "when": (more, 0.0, 1),
            "missing": "notBreaching",
        },
    }
    unhealthy = {
        "metric": ("AWS/CloudHSM", "HsmUnhealthy"),
        "dimensions": {"ClusterId": store["CloudHsmClusterId"]},
        "statistic": most,
        "when": (more, 0.0, 1),
        "missing": "missing",
    }
    expected = {f"keyops-{invoices}-{kind}": alarm for kind, alarm in kinds.items()}
    expected[f"keyops-{payments}-unhealthy-hsm"] = unhealthy
    return expected


def with_actions(alarms: Alarms, alarm: list[str], ok: list[str]) -> dict[str, dict[str, Any]]:
    """These alarms, as C(told) tells them."""
    return {name: {**each, "actions": (alarm, ok, [])} for name, each in documented(alarms).items()}


def put(alarms: Alarms, name: str, alarm: dict[str, Any], **others: Any) -> None:
    """Make or replace an alarm that is written as C(told) tells it."""
    if "query" in alarm:
        watched: dict[str, Any] = {"Metrics": [{"Id": "q1", **query} for query in alarm["query"]]}
    else:
        watched = {
            "Namespace": alarm["metric"][0],
            "MetricName": alarm["metric"][1],
            "Dimensions": [{"Name": key, "Value": value} for key, value in alarm["dimensions"].items()],
            "Statistic": alarm["statistic"][0],
            "Period": alarm["statistic"][1],
        }
    comparison, threshold, periods = alarm["when"]
    options = {
        "AlarmName": name,
        "ComparisonOperator": comparison,
        "Threshold": threshold,
        "EvaluationPeriods": periods,
        "TreatMissingData": alarm["missing"],
        **watched,
    }
    alarms.cloudwatch().put_metric_alarm(**options, **others)


# ---- the alarms


@pytest.mark.long
def test_the_alarms_that_aws_documents_are_made_once(alarms: Alarms) -> None:
    actions = {"actions": [TOPIC], "ok_actions": [ALL_RIGHT]}
    assert alarms.changes(**actions) == 1
    there = alarms.there()
    assert {name: reported(alarm) for name, alarm in there.items()} == with_actions(alarms, [TOPIC], [ALL_RIGHT])
    for name, alarm in there.items():
        store = "payments" if name.endswith("hsm") else "invoices"
        assert alarm["AlarmDescription"].startswith(f"{store} ({alarms.ids[store]}): ")
    before = alarms.updated()
    assert alarms.changes(**actions) == 0
    assert alarms.updated() == before


@pytest.mark.long
def test_check_mode_says_what_it_would_do_and_does_nothing(alarms: Alarms) -> None:
    done = alarms.role("--check")
    assert done.output.count("changed: [localhost] => (item=") == len(documented(alarms))
    assert alarms.there() == {}
    alarms.make()
    before = alarms.updated()
    assert alarms.changes("--check") == 0
    done = alarms.role("--check", latency_ms=150)
    assert done.output.count("changed: [localhost] => (item=") == 1
    assert f"changed: [localhost] => (item=keyops-{alarms.ids['invoices']}-latency)" in done.output
    done = alarms.role("--check", state="absent")
    assert done.output.count("changed: [localhost] => (item=") == len(before)
    assert alarms.updated() == before


@pytest.mark.long
def test_an_ok_goes_where_the_alarm_goes_unless_said_otherwise(alarms: Alarms) -> None:
    (name,) = alarms.names("payments", CLOUDHSM_KINDS)
    assert alarms.changes("-e", f"{OWN}actions={TOPIC},{ALL_RIGHT}", stores=["payments"]) == 1
    assert reported(alarms.there()[name])["actions"] == (sorted([TOPIC, ALL_RIGHT]), sorted([TOPIC, ALL_RIGHT]), [])
    assert alarms.changes(actions=[TOPIC, ALL_RIGHT], stores=["payments"]) == 0
    assert alarms.changes(actions=[ALL_RIGHT, TOPIC], ok_actions=[], stores=["payments"]) == 1
    assert reported(alarms.there()[name])["actions"] == (sorted([TOPIC, ALL_RIGHT]), [], [])


@pytest.mark.long
def test_a_threshold_that_is_changed_updates_that_alarm_alone(alarms: Alarms) -> None:
    alarms.make()
    variables = {
        "certificate_days": "certificate",
        "credential_age_days": "credential-age",
        "latency_ms": "latency",
        "retryable_errors": "retryable-errors",
        "non_retryable_errors": "non-retryable-errors",
        "degraded_managers": "degraded-managers",
        "unavailable_managers": "unavailable-managers",
    }
    assert sorted(variables.values()) == sorted(EXTERNAL_KINDS)
    for given, (variable, kind) in enumerate(variables.items(), 30):
        name = f"keyops-{alarms.ids['invoices']}-{kind}"
        before = alarms.updated()
        arguments = [f"-e{OWN}{each}={number}" for number, each in enumerate(variables, 30) if number <= given]
        assert alarms.changes(*arguments) == 1, variable
        assert alarms.there()[name]["Threshold"] == given
        assert {each for each, when in alarms.updated().items() if when != before[each]} == {name}


@pytest.mark.long
def test_what_somebody_has_changed_is_put_right(alarms: Alarms) -> None:
    alarms.make()
    right = with_actions(alarms, [], [])
    names = [f"keyops-{alarms.ids['invoices']}-{kind}" for kind in ("latency", "degraded-managers", "certificate")]
    latency, degraded, certificate = (right[name] for name in names)
    query = {**latency["query"][0], "Expression": latency["query"][0]["Expression"].replace("AVG", "MAX")}
    put(alarms, names[0], {**latency, "query": [query]})
    put(alarms, names[1], {**degraded, "statistic": ("Maximum", 60)})
    put(alarms, names[2], certificate, AlarmActions=[TOPIC])
    done = alarms.role()
    assert [done.output.count(f"changed: [localhost] => (item={name})") for name in names] == [1, 1, 1]
    assert {name: reported(alarm) for name, alarm in alarms.there().items()} == right
    assert alarms.changes() == 0


@pytest.mark.long
def test_the_order_of_dimensions_and_muted_actions_are_no_difference(alarms: Alarms) -> None:
    """The order is not kept by CloudWatch. Actions are switched off for a while by somebody who has a reason."""
    alarms.make()
    name = f"keyops-{alarms.ids['invoices']}-degraded-managers"
    alarm = alarms.there()[name]
    turned = {**reported(alarm), "dimensions": dict(reversed(reported(alarm)["dimensions"].items()))}
    put(alarms, name, turned, AlarmDescription=alarm["AlarmDescription"])
    assert alarms.there()[name]["Dimensions"] == alarm["Dimensions"][::-1]
    alarms.cloudwatch().disable_alarm_actions(AlarmNames=[name])
    before = alarms.updated()
    assert alarms.changes() == 0
    assert alarms.updated() == before
    assert alarms.there()[name]["ActionsEnabled"] is False


@pytest.mark.long
def test_a_store_keeps_its_alarms_when_it_gets_another_name_or_cluster(alarms: Alarms) -> None:
    alarms.make()
    kms, control = alarms.ansible.kms(), alarms.ansible.control
    (name,) = alarms.names("payments", CLOUDHSM_KINDS)
    kms.update_custom_key_store(CustomKeyStoreId=alarms.ids["payments"], NewCustomKeyStoreName="cards")
    done = alarms.role()
    assert done.output.count("changed: [localhost] => (item=") == 1
    assert alarms.there()[name]["AlarmDescription"].startswith(f"cards ({alarms.ids['payments']}): ")
    (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=alarms.ids["payments"])["CustomKeyStores"]
    other = control.create_cluster(source_cluster_id=store["CloudHsmClusterId"])
    kms.update_custom_key_store(CustomKeyStoreId=alarms.ids["payments"], CloudHsmClusterId=other)
    done = alarms.role()
    assert done.output.count("changed: [localhost] => (item=") == 1
    assert alarms.there()[name]["Dimensions"] == [{"Name": "ClusterId", "Value": other}]


@pytest.mark.long
def test_the_name_of_a_store_is_text_and_nothing_else(alarms: Alarms) -> None:
    name = "{{ 6 * 7 }} {% raw %} 'x' \"y\" %s \\n"
    alarms.store(name, "AWS_CLOUDHSM")
    assert alarms.changes(stores=[alarms.ids[name]]) == 1
    ((_alarm, there),) = alarms.there().items()
    assert there["AlarmDescription"].startswith(f"{name} ({alarms.ids[name]}): ")
    assert alarms.changes(stores=[alarms.ids[name]]) == 0


# ---- which stores


@pytest.mark.long
@pytest.mark.parametrize("by", ["name", "id", "text"])
def test_the_stores_that_are_named_and_no_others(alarms: Alarms, by: str) -> None:
    own, other = alarms.store("cards", "AWS_CLOUDHSM"), alarms.ids["payments"]
    given = {"name": "cards", "id": own, "text": f"payments, {own}"}[by]
    assert alarms.changes("-e", json.dumps({f"{OWN}stores": given if by == "text" else [given]})) == 1
    ids = [own, other] if by == "text" else [own]
    assert set(alarms.there()) == {f"keyops-{store_id}-unhealthy-hsm" for store_id in ids}


@pytest.mark.long
def test_without_any_store(alarms: Alarms) -> None:
    alarms.ansible.control.reset()
    assert alarms.changes() == 0
    assert alarms.there() == {}


@pytest.mark.long
def test_a_store_that_is_not_there_is_refused_before_anything_is_made(alarms: Alarms) -> None:
    output = alarms.refused(stores=["invoices", "peyments"])
    assert "There is no custom key store peyments in this account and us-east-1. No alarm was changed." in output
    assert alarms.there() == {}


# ---- what is removed


@pytest.mark.long
def test_absent_removes_the_alarms_of_the_stores(alarms: Alarms) -> None:
    alarms.make()
    assert alarms.changes(state="absent", stores=["payments"]) == 1
    assert set(alarms.there()) == alarms.names("invoices")
    assert alarms.changes(state="absent", stores=["payments"]) == 0
    assert alarms.changes(state="absent") == 1
    assert alarms.there() == {}


@pytest.mark.long
def test_alarms_of_a_store_that_is_gone_are_removed_on_request_alone(alarms: Alarms) -> None:
    alarms.make()
    gone = alarms.names("payments", CLOUDHSM_KINDS)
    alarms.ansible.kms().delete_custom_key_store(CustomKeyStoreId=alarms.ids["payments"])
    before = alarms.updated()
    assert alarms.changes() == 0
    assert alarms.changes("--check", remove_stale=True) == 1
    assert alarms.updated() == before
    assert alarms.changes(remove_stale=True, stores=["invoices"]) == 1
    assert set(alarms.there()) == set(before) - gone
    assert alarms.changes(remove_stale=True) == 0


@pytest.mark.long
def test_alarms_of_a_store_that_is_gone_are_removed_by_its_id(alarms: Alarms) -> None:
    alarms.make()
    alarms.ansible.kms().delete_custom_key_store(CustomKeyStoreId=alarms.ids["payments"])
    output = alarms.refused(state="absent", stores=["payments"])
    assert "There is no custom key store payments in this account and us-east-1." in output
    assert alarms.changes(state="absent", stores=[alarms.ids["payments"]]) == 1
    assert set(alarms.there()) == alarms.names("invoices")


@pytest.mark.long
def test_alarms_of_others_are_left_alone(alarms: Alarms) -> None:
    gone = "cks-00000000000000000"
    others = {
        f"other-{gone}-latency",
        f"keyops-{gone}-of-somebody",
        f"keyops-{gone}-latency-2",
        f"my-keyops-{gone}-latency",
        f"keyopsx{gone}-latency",
        "keyops-cks-payments",
    }
    some_alarm = next(iter(documented(alarms).values()))
    for name in (*others, f"keyops-{gone}-latency", f"keyops.{gone}-latency"):
        put(alarms, name, some_alarm)
    assert alarms.changes(remove_stale=True, prefix="keyops.", stores=["payments"]) == 2
    made = alarms.names("payments", CLOUDHSM_KINDS, "keyops.")
    assert set(alarms.there()) == {*others, f"keyops-{gone}-latency", *made}
    assert alarms.changes(remove_stale=True, state="absent") == 1
    assert set(alarms.there()) == {*others, *made}


# ---- what is refused


@pytest.mark.long
@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"certificate_days": 0}, "key_store_alarms_certificate_days is 0, and must be from 1 to 3650."),
        ({"credential_age_days": -1}, "key_store_alarms_credential_age_days is -1, and must be from 1 to 36500."),
        (
            {"latency_ms": 250},
            "key_store_alarms_latency_ms is 250, and must be from 1 to 249:"
            " KMS records no response as slower than 250 milliseconds.",
        ),
        ({"retryable_errors": -1}, "key_store_alarms_retryable_errors is -1, and must be from 0 to 1000000."),
        ({"non_retryable_errors": -5}, "key_store_alarms_non_retryable_errors is -5, and must be from 0 to 1000000."),
        ({"degraded_managers": 1001}, "key_store_alarms_degraded_managers is 1001, and must be from 0 to 1000."),
        ({"unavailable_managers": -2}, "key_store_alarms_unavailable_managers is -2, and must be from 0 to 1000."),
        (
            {"prefix": ""},
            'key_store_alarms_prefix is "", and must be 1 to 100 letters, digits and characters of "._/-" that begin with'
            " a letter or a digit.",
        ),
        (
            {"actions": ["operators"]},
            'key_store_alarms_actions has "operators", and must have ARNs, such as'
            " arn:aws:sns:us-east-1:123456789012:key-stores.",
        ),
        (
            {"ok_actions": [f"{TOPIC}-{n}" for n in range(6)]},
            "key_store_alarms_ok_actions has 6 ARNs, and CloudWatch takes",
        ),
    ],
)
def test_a_bad_value_is_refused_with_one_sentence(alarms: Alarms, variables: dict[str, Any], text: str) -> None:
    alarms.ansible.control.clear_requests()
    output = alarms.refused(**variables)
    reported = " ".join(output.replace('\\"', '"').split())
    assert text in reported
    sentence = reported[reported.index(text) :].partition(" No alarm was changed.")[0]
    assert f" {OWN}" not in sentence
    assert alarms.ansible.control.requests() == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"certificate_days": "ten"}, "argument 'key_store_alarms_certificate_days' is of type"),
        ({"state": "gone"}, "value of key_store_alarms_state must be one of: present, absent, got: gone"),
    ],
)
def test_a_value_of_another_type_is_refused(alarms: Alarms, variables: dict[str, Any], text: str) -> None:
    assert text in alarms.refused(**variables)


@pytest.mark.long
def test_a_topic_of_another_region_is_refused(alarms: Alarms) -> None:
    topic = "arn:aws:sns:eu-central-1:123456789012:key-stores"
    output = alarms.refused(actions=[topic], ok_actions=[])
    reported_of = (
        f"key_store_alarms_actions has {topic}, and the alarms of us-east-1 can have topics of that Region alone."
    )
    assert reported_of in output


# ---- the guide


@pytest.mark.long
def test_the_playbook_of_the_guide_for_one_region(alarms: Alarms) -> None:
    (block,) = (block for block in all_blocks("guide_alarms") if block.caption == "one-region.yml")
    (alarms.ansible.folder / block.caption).write_text(block.text)
    done = alarms.ansible.run(block.caption, "--check")
    assert done.exit_code == 0, done.output
    assert done.output.count("changed: [localhost] => (item=") == len(documented(alarms))


@pytest.mark.long
def test_the_playbook_of_the_guide_for_several_regions(alarms: Alarms) -> None:
    alarms.store("archive", region=REGIONS[1])
    (block,) = (block for block in all_blocks("guide_alarms") if block.caption == "alarms.yml")
    (alarms.ansible.folder / block.caption).write_text(block.text)
    for changed in (2, 0):
        done = alarms.ansible.run(block.caption)
        assert done.exit_code == 0, done.output
        assert f"changed={changed} " in done.output
    assert set(alarms.there()) == alarms.names("invoices") | alarms.names("payments", CLOUDHSM_KINDS)
    assert set(alarms.there(REGIONS[1])) == alarms.names("archive")
    for region in REGIONS:
        topics = {topic for alarm in alarms.there(region).values() for topic in alarm["AlarmActions"]}
        assert topics == {f"arn:aws:sns:{region}:123456789012:key-stores"}


@pytest.mark.long
def test_the_table_of_the_guide_has_each_alarm_with_its_default() -> None:
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_alarms.rst").read_text()
    kinds = yaml.safe_load((ROOT / "roles" / "key_store_alarms" / "vars" / "main.yml").read_text())[f"{OWN}_kinds"]
    assert sorted(kind["kind"] for kind in kinds) == sorted((*EXTERNAL_KINDS, *CLOUDHSM_KINDS))
    rows = re.findall(r"(?m)^   \* - ``([a-z-]+)``\n     - (.*)\n     - (.*)\n     - (.*)\n     - (.*)", guide)
    specs = yaml.safe_load((ROOT / "roles" / "key_store_alarms" / "meta" / "argument_specs.yml").read_text())
    options = specs["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROOT / "roles" / "key_store_alarms" / "defaults" / "main.yml").read_text())
    assert {name: option["default"] for name, option in options.items() if "default" in option} == {
        name: value for name, value in defaults.items() if name != f"{OWN}ok_actions"
    }
    reported_by_guide = {row[0]: row for row in rows}
    for kind in kinds:
        _name, _metric, when, period, missing = reported_by_guide[kind["kind"]]
        variable = re.findall(r"\{\{ (\w+) \}\}", str(kind["threshold"]))
        threshold = defaults[variable[0]] if variable else kind["threshold"]
        word = "less" if kind["comparison"] == "LessThanThreshold" else "more"
        assert when == f"{word} than {threshold}" + (f", ``{variable[0].removeprefix(OWN)}``" if variable else "")
        assert period == {60: "1 minute", 300: "5 minutes"}[kind["period"]]
        assert missing == f"``{kind['missing']}``"
