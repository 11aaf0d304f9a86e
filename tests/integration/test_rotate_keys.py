# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook that rotates keys, by its name and with variables only, as it is run each night."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.integration.harness import Ansible

HSM = "AWS_CLOUDHSM"
EXTERNAL = "EXTERNAL_KEY_STORE"
DAY = 86400.0
ROTATION = ["CreateKey", "UpdateAlias"]
CHANGES = {"CreateKey", "CreateAlias", "UpdateAlias", "ScheduleKeyDeletion"}


@pytest.fixture
def stores(ansible: Ansible) -> dict[str, str]:
    """The ids of the stores payments, in AWS CloudHSM, and invoices, which is external."""
    backing = {"CloudHsmClusterId": ansible.control.create_cluster()}
    return {
        "payments": ansible.control.create_store(
            custom_key_store_name="payments", connection_state="CONNECTED", parameters=backing
        ),
        "invoices": ansible.control.create_store(
            custom_key_store_name="invoices", custom_key_store_type=EXTERNAL, connection_state="CONNECTED"
        ),
    }


def make(ansible: Ansible, store_id: str, alias: str, **members: str) -> str:
    """A key with an alias; returns its id."""
    kms = ansible.kms()
    origin = EXTERNAL if "XksKeyId" in members else HSM
    key_id = str(kms.create_key(CustomKeyStoreId=store_id, Origin=origin, **members)["KeyMetadata"]["KeyId"])
    kms.create_alias(AliasName=f"alias/{alias}", TargetKeyId=key_id)
    return key_id


def key_of(ansible: Ansible, alias: str) -> str:
    return str(ansible.kms().describe_key(KeyId=f"alias/{alias}")["KeyMetadata"]["KeyId"])


def rotate(ansible: Ansible, keys: Any, *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run the playbook. Returns its exit code, and of each alias in the summary what became of the key, and why."""
    ansible.control.clear_requests()
    (ansible.folder / "keys.yml").write_text(json.dumps({"key_store_keys": keys}))
    done = ansible.run("keyops.aws.rotate_keys", "-e", "@keys.yml", *arguments)
    rows = re.findall(r"(?m)^ +([\w/-]+) +(rotated|not due|due|failed)  +(\S.*)$", done.output)
    return done.exit_code, {alias: (what, why) for alias, what, why in rows}


def changes(ansible: Ansible) -> list[str]:
    return [request["operation"] for request in ansible.control.requests() if request["operation"] in CHANGES]


PAYMENTS = {"alias": "payments", "custom_key_store_name": "payments", "older_than_days": 365}
INVOICES = {"alias": "alias/invoices", "custom_key_store_name": "invoices", "xks_key_id": "invoices-2027"}

STATEMENT = {"Sid": "All", "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "kms:*", "Resource": "*"}
POLICY = {"Version": "2012-10-17", "Statement": [STATEMENT]}


@pytest.mark.long
def test_those_that_are_due_and_none_the_second_time(ansible: Ansible, stores: dict[str, str]) -> None:
    payments = make(ansible, stores["payments"], "payments")
    invoices = make(ansible, stores["invoices"], "invoices", XksKeyId="invoices-2026")
    ansible.control.advance(365 * DAY)
    young = make(ansible, stores["payments"], "young")
    keys = [
        {**PAYMENTS, "description": "Cards", "policy": POLICY, "tags": {"owner": "team"}},
        INVOICES,
        {"alias": "young", "custom_key_store_id": stores["payments"], "older_than_days": 365, "region": "us-east-1"},
    ]

    exit_code, predicted = rotate(ansible, keys, "--check")
    assert exit_code == 0, ansible.output
    assert changes(ansible) == []
    assert {alias: what for alias, (what, _why) in predicted.items()} == {
        "payments": "due",
        "alias/invoices": "due",
        "young": "not due",
    }
    assert payments in predicted["payments"][1]

    exit_code, reported = rotate(ansible, keys)
    assert exit_code == 0, ansible.output
    assert "Keys: 2 rotated, 1 not due." in ansible.output
    assert changes(ansible) == ROTATION * 2
    new = key_of(ansible, "payments")
    assert reported["payments"] == ("rotated", f"{new} has taken the place of {payments}.")
    assert reported["alias/invoices"][0] == "rotated"
    assert invoices in reported["alias/invoices"][1]
    assert reported["young"][0] == "not due"
    assert young in reported["young"][1]
    kms = ansible.kms()
    assert kms.describe_key(KeyId=new)["KeyMetadata"]["Description"] == "Cards"
    assert json.loads(kms.get_key_policy(KeyId=new, PolicyName="default")["Policy"]) == POLICY
    assert {"TagKey": "owner", "TagValue": "team"} in kms.list_resource_tags(KeyId=new)["Tags"]
    assert kms.describe_key(KeyId="alias/invoices")["KeyMetadata"]["XksKeyConfiguration"]["Id"] == "invoices-2027"

    exit_code, reported = rotate(ansible, keys)
    assert exit_code == 0, ansible.output
    assert changes(ansible) == []
    assert {what for what, _why in reported.values()} == {"not due"}
    assert "changed=0 " in ansible.output


@pytest.mark.long
def test_one_that_fails_does_not_keep_the_others_from_it(ansible: Ansible, stores: dict[str, str]) -> None:
    """Neither one that KMS refuses at its request, nor one that is refused before it, nor an alias that is not there."""
    make(ansible, stores["invoices"], "refused", XksKeyId="refused-2026")
    make(ansible, stores["invoices"], "old", XksKeyId="old-2026")
    payments = make(ansible, stores["payments"], "payments")
    ansible.control.advance(400 * DAY)
    ansible.control.add_fault("CreateKey", error="XksKeyInvalidConfigurationException")
    external = {"custom_key_store_name": "invoices"}
    keys = [
        {"alias": "refused", "xks_key_id": "refused-2027", **external},
        {"alias": "old", "xks_key_id": "old-2026", "older_than_days": 365, **external},
        {**PAYMENTS, "alias": "mistyped"},
        PAYMENTS,
    ]
    exit_code, reported = rotate(ansible, keys)
    assert exit_code == 2
    assert reported["refused"][0] == reported["old"][0] == reported["mistyped"][0] == "failed"
    assert "XksKeyInvalidConfigurationException" in reported["refused"][1]
    assert "Create a new external key" in reported["old"][1]
    assert reported["mistyped"][1].startswith("There is no such alias.")
    assert reported["payments"][0] == "rotated"
    assert key_of(ansible, "payments") != payments
    assert changes(ansible) == ["CreateKey", *ROTATION]
    *_rest, end = ansible.output.split("TASK [")
    assert "3 of 4 keys failed: refused, old, mistyped. The summary above says why." in " ".join(end.split())


LIST = "Give key_store_keys, a list of keys, each with an alias, a custom_key_store_name, and older_than_days or an xks_key_id."


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            [
                "payments",
                {"custom_key_store_name": "payments"},
                {"alias": "none"},
                {**PAYMENTS, "custom_key_store_id": "cks-1234567890abcdef0"},
                {"alias": "never", "custom_key_store_name": "payments"},
                {**PAYMENTS, "older_than_days": 0},
                {**PAYMENTS, "days": 365},
                PAYMENTS,
            ],
            "Key 1 of key_store_keys must be a dictionary with an alias, a custom_key_store_name, and older_than_days or an"
            " xks_key_id. Key 2 of key_store_keys has no alias. Key 3 of key_store_keys, none, needs one of custom_key_store_name"
            " and custom_key_store_id. Key 4 of key_store_keys, payments, needs one of custom_key_store_name and"
            " custom_key_store_id. Key 5 of key_store_keys, never, needs older_than_days, or in an external store an xks_key_id,"
            " to tell when it is due. Key 6 of key_store_keys, payments, must have a whole number of days in older_than_days, 1"
            " or more. Key 7 of key_store_keys, payments, can have no days, only alias, custom_key_store_id,"
            " custom_key_store_name, description, older_than_days, policy, profile, region, tags, xks_key_id.",
        ),
        (PAYMENTS, LIST),
        (None, LIST),
    ],
)
def test_bad_variables_are_refused_before_any_request(ansible: Ansible, keys: Any, message: str) -> None:
    exit_code, _reported = rotate(ansible, keys)
    assert exit_code == 2
    assert message in " ".join(ansible.output.split())
    assert ansible.request_count == 0
