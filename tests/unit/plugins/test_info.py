# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kms_custom_key_store_info through main(): what it tells, what that costs, and what it says of what it cannot tell."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import keys
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Deadline
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms_stores import Kms
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.trail import read_event
from kms_emulator import Control
from tests.sdk import needs_last_usage
from tests.unit.harness import ModuleRunner

STORES = "DescribeCustomKeyStores"
DENIED = "AccessDeniedException"


def client(service: Any) -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE",
    )


def stores(result: dict[str, Any]) -> list[dict[str, Any]]:
    assert "failed" not in result, result
    found: list[dict[str, Any]] = result["custom_key_stores"]
    return found


def only_store(result: dict[str, Any]) -> dict[str, Any]:
    (store,) = stores(result)
    return store


# ---- stores


def test_all_stores_of_every_page(run_info: ModuleRunner, control: Control) -> None:
    control.set_rule("custom_key_store_quota", 250)
    ids = [control.create_store(custom_key_store_name=f"store-{number}") for number in range(230)]
    result = run_info()
    assert sorted(store["custom_key_store_id"] for store in result["custom_key_stores"]) == sorted(ids)
    assert result["changed"] is False
    assert run_info.calls == [STORES] * 3
    assert "keys" not in result["custom_key_stores"][0]
    assert "keys_not_described" not in result


@pytest.mark.parametrize("check", [False, True])
def test_a_store_in_the_shape_of_the_main_module(
    run_info: ModuleRunner, run: ModuleRunner, control: Control, check: bool
) -> None:
    store_id = control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    control.create_store(custom_key_store_name="invoices", custom_key_store_type="EXTERNAL_KEY_STORE")
    by_id = only_store(run_info(check=check, custom_key_store_id=store_id))
    assert run_info.calls == [STORES]
    assert by_id == run(name="payments")["custom_key_store"]
    assert only_store(run_info(check=check, name="payments")) == by_id
    assert only_store(run_info(name="invoices")) == run(name="invoices")["custom_key_store"]


@pytest.mark.parametrize("which", [{"custom_key_store_id": "cks-00000000000000000"}, {"name": "nobody"}, {}])
@pytest.mark.parametrize("more", [{}, {"include_keys": True, "include_cloud_hsm_cluster": True}])
def test_s23_an_unknown_store_is_an_empty_list(
    run_info: ModuleRunner, which: dict[str, Any], more: dict[str, Any]
) -> None:
    result = run_info(**which, **more)
    assert result["custom_key_stores"] == []
    assert run_info.calls == [STORES]


def test_why_a_store_is_failed(run_info: ModuleRunner, control: Control) -> None:
    control.create_store(
        custom_key_store_name="payments",
        custom_key_store_type="EXTERNAL_KEY_STORE",
        connection_state="FAILED",
        connection_error_code="XKS_PROXY_TIMED_OUT",
    )
    store = only_store(run_info())
    assert store["connection_state"] == "FAILED"
    assert store["connection_error"]["code"] == store["connection_error_code"] == "XKS_PROXY_TIMED_OUT"
    assert "250 milliseconds" in store["connection_error"]["cause"]
    assert store["connection_error"]["remedy"][0].startswith("Find out what slows the proxy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"custom_key_store_id": "cks-1", "name": "payments"},
            "parameters are mutually exclusive: custom_key_store_id|name",
        ),
        (
            {"name": ""},
            "name must have 1 to 256 characters, but has 0: give the custom key store's friendly name, or leave the option out.",
        ),
        (
            {"custom_key_store_id": "c" * 65},
            "custom_key_store_id must have 1 to 64 characters, but has 65: give an id such as cks-1234567890abcdef0,"
            " or leave the option out.",
        ),
    ],
)
def test_bad_options_are_refused_before_any_request(
    run_info: ModuleRunner, options: dict[str, Any], message: str
) -> None:
    result = run_info(**options)
    assert result["failed"]
    assert result["msg"] == message
    assert run_info.calls == []


def test_the_stores_may_not_be_seen(run_info: ModuleRunner, control: Control) -> None:
    control.add_fault(STORES, error=DENIED, times=1)
    result = run_info()
    assert result["failed"]
    assert result["msg"].startswith(
        f"{STORES} failed with {DENIED}. The caller may not do this."
        " Allow kms:DescribeCustomKeyStores in an IAM policy of the caller."
    )
    assert result["error"]["code"] == DENIED


# ---- keys


@pytest.fixture
def used_key(control: Control) -> str:
    """The id of a key in the connected store payments, with two aliases, used an hour ago; the store has one key more."""
    control.freeze_clock()
    store_id = control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    used, _ignored = control.create_keys(2, custom_key_store_id=store_id)
    control.create_keys(3)
    for alias in ("alias/cards", "alias/accounts"):
        client("kms").create_alias(AliasName=alias, TargetKeyId=used)
    client("kms").encrypt(KeyId=used, Plaintext=b"4111")
    control.advance(3600)
    return used


@needs_last_usage
def test_s19_keys_with_their_aliases_and_last_use(run_info: ModuleRunner, control: Control, used_key: str) -> None:
    store = only_store(run_info(name="payments", include_keys=True))
    used, unused = sorted(store["keys"], key=lambda key: key["key_id"] != used_key)
    assert used["aliases"] == ["accounts", "cards"]
    assert used["key_arn"] == f"arn:aws:kms:us-east-1:123456789012:key/{used_key}"
    assert used["key_state"] == unused["key_state"] == "Enabled"
    assert used["last_usage"]["operation"] == "Encrypt"
    assert used["last_usage"]["timestamp"].endswith("+00:00")
    assert unused["aliases"] == []
    assert unused["last_usage"] is None
    assert unused["tracking_start_date"] <= used["last_usage"]["timestamp"]
    assert "deletion_date" not in used
    calls = Counter(run_info.calls)
    assert calls.pop("DescribeKey") == 5
    assert calls == {STORES: 1, "ListKeys": 1, "ListAliases": 1, "GetKeyLastUsage": 2}


def test_keys_of_a_disconnected_store_and_their_deletion(
    run_info: ModuleRunner, control: Control, used_key: str
) -> None:
    client("kms").schedule_key_deletion(KeyId=used_key, PendingWindowInDays=7)
    store_id = only_store(run_info())["custom_key_store_id"]
    control.set_connection_state(store_id, "DISCONNECTED")
    keys_by_id = {key["key_id"]: key for key in only_store(run_info(include_keys=True))["keys"]}
    deleted = keys_by_id.pop(used_key)
    assert deleted["key_state"] == "PendingDeletion"
    assert deleted["deletion_date"].endswith("+00:00")
    assert [key["key_state"] for key in keys_by_id.values()] == ["Unavailable"]


@needs_last_usage
def test_one_pass_for_all_stores_and_every_page(run_info: ModuleRunner, control: Control) -> None:
    expected = {}
    for number in range(3):
        store_id = control.create_store(custom_key_store_name=f"store-{number}")
        expected[store_id] = sorted(control.create_keys(number * 2, custom_key_store_id=store_id))
    others = control.create_keys(1100)
    for number, key_id in enumerate(others[:130]):
        client("kms").create_alias(AliasName=f"alias/other-{number}", TargetKeyId=key_id)
    result = run_info(include_keys=True)
    found = {
        store["custom_key_store_id"]: sorted(key["key_id"] for key in store["keys"])
        for store in result["custom_key_stores"]
    }
    assert found == expected
    described = [request for request in control.requests() if request["operation"] == "DescribeKey"]
    assert len(described) == len({request["parameters"]["KeyId"] for request in described}) == 1106
    calls = Counter(run_info.calls)
    assert calls["GetKeyLastUsage"] == 6
    assert calls["ListKeys"] == 2


def test_aliases_of_every_page() -> None:
    stubbed = client("kms")
    with Stubber(stubbed) as stubber:
        first = {"Aliases": [{"AliasName": "alias/a"}], "Truncated": True, "NextMarker": "more"}
        stubber.add_response("list_aliases", first, {"Limit": 100})
        last = {"Aliases": [{"AliasName": "alias/b"}], "Truncated": False}
        stubber.add_response("list_aliases", last, {"Limit": 100, "Marker": "more"})
        api = Kms(stubbed, Deadline(Clock(), 1), lambda: "")
        assert [alias["AliasName"] for alias in api.keys.list_aliases()] == ["alias/a", "alias/b"]


def test_without_keys_in_the_stores_nothing_more_is_asked(run_info: ModuleRunner, control: Control) -> None:
    control.create_store()
    control.create_keys(4)
    assert only_store(run_info(include_keys=True))["keys"] == []
    assert set(run_info.calls) == {STORES, "ListKeys", "DescribeKey"}


@needs_last_usage
def test_a_last_use_that_may_not_be_seen(run_info: ModuleRunner, control: Control, used_key: str) -> None:
    control.add_fault("GetKeyLastUsage", error=DENIED, times=1)
    found = only_store(run_info(include_keys=True))["keys"]
    (unknown,) = (key for key in found if "unknown" in (key["last_usage"] or {}))
    assert unknown["last_usage"]["unknown"].startswith(
        f"GetKeyLastUsage of {unknown['key_id']} failed with {DENIED}. The caller may not do this."
        " Allow kms:GetKeyLastUsage in the key policy,"
    )
    assert "tracking_start_date" not in unknown
    assert sorted("tracking_start_date" in key for key in found) == [False, True]
    assert used_key in [key["key_id"] for key in found]


@pytest.mark.parametrize("error", ["UnsupportedOperationException", "UnknownOperationException"])
@needs_last_usage
def test_a_last_use_that_kms_does_not_offer(
    run_info: ModuleRunner, control: Control, used_key: str, error: str
) -> None:
    control.add_fault("GetKeyLastUsage", error=error, times=None)
    for key in only_store(run_info(include_keys=True))["keys"]:
        assert f"failed with {error}" in key["last_usage"]["unknown"]


def test_a_last_use_that_the_sdk_does_not_know(run_info: ModuleRunner, used_key: str) -> None:
    """An SDK from before GetKeyLastUsage has no such method; the newest is made to look like one."""
    original = BaseClient.__getattribute__

    def older(client: BaseClient, name: str) -> Any:
        if name == "get_key_last_usage":
            raise AttributeError(name)
        return original(client, name)

    with mock.patch.object(BaseClient, "__getattribute__", older):
        store = only_store(run_info(include_keys=True))
    assert len(store["keys"]) == 2
    for key in store["keys"]:
        assert "does not know GetKeyLastUsage: install 1.42.97 or newer" in key["last_usage"]["unknown"]
    assert "GetKeyLastUsage" not in run_info.calls


def test_aliases_that_may_not_be_listed(
    run_info: ModuleRunner, control: Control, used_key: str, warnings: list[str]
) -> None:
    control.add_fault("ListAliases", error=DENIED, times=None)
    result = run_info(include_keys=True)
    assert [key["aliases"] for key in only_store(result)["keys"]] == [None, None]
    (warning,) = warnings
    assert warning.startswith(f"The aliases of the keys are not known: ListAliases failed with {DENIED}.")
    assert "Allow kms:ListAliases in an IAM policy of the caller" in warning


def test_a_key_that_may_not_be_described_is_reported(
    run_info: ModuleRunner, control: Control, used_key: str, warnings: list[str]
) -> None:
    control.add_fault("DescribeKey", error=DENIED, times=1)
    result = run_info(include_keys=True)
    (missing,) = result["keys_not_described"]
    assert missing["reason"].startswith(
        f"DescribeKey of {missing['key_id']} failed with {DENIED}. The caller may not do this."
        " Allow kms:DescribeKey in the key policy"
    )
    (warning,) = warnings
    assert warning.startswith("1 KMS keys of the account could not be described and may be in these stores,")
    assert missing["key_id"] not in [key["key_id"] for key in only_store(result)["keys"]]


def test_a_key_that_was_deleted_meanwhile_is_left_out(run_info: ModuleRunner, control: Control, used_key: str) -> None:
    control.add_fault("DescribeKey", error="NotFoundException", times=4)
    result = run_info(include_keys=True)
    assert result["keys_not_described"] == []
    assert len(only_store(result)["keys"]) <= 1


def test_keys_that_may_not_be_listed_fail_the_task(run_info: ModuleRunner, control: Control, used_key: str) -> None:
    """An empty list would say that nothing is in the store."""
    control.add_fault("ListKeys", error=DENIED, times=None)
    result = run_info(include_keys=True)
    assert result["failed"]
    assert result["msg"].startswith(f"ListKeys failed with {DENIED}. The caller may not do this. Allow kms:ListKeys")


@needs_last_usage
def test_throttling_is_outlasted(run_info: ModuleRunner, control: Control, used_key: str) -> None:
    for operation in ("DescribeKey", "GetKeyLastUsage", "ListAliases", "ListKeys"):
        control.add_fault(operation, error="ThrottlingException", times=7, probability=0.7, seed=1)
    assert len(only_store(run_info(include_keys=True))["keys"]) == 2
    outcomes = Counter(request["outcome"] for request in control.requests())
    assert outcomes["ThrottlingException"] > 4


def test_no_more_is_asked_ahead_than_is_bounded() -> None:
    """Memory stays flat: of a million keys, only a few are taken before their answers are read."""
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield number

    with keys._each_of(lambda item: item, items()) as answers:
        for answer, _turn in zip(answers, range(100)):
            assert taken <= answer + keys.AHEAD
    assert taken < 200


# ---- clusters


def test_the_cluster_behind_a_store(run_info: ModuleRunner, control: Control) -> None:
    cluster_id = control.create_cluster(active_hsms=3, availability_zones=2)
    control.create_store(parameters={"CloudHsmClusterId": cluster_id})
    control.create_store(custom_key_store_type="EXTERNAL_KEY_STORE")
    found = {store["custom_key_store_type"]: store for store in stores(run_info(include_cloud_hsm_cluster=True))}
    cloudhsm, external = found["AWS_CLOUDHSM"], found["EXTERNAL_KEY_STORE"]
    cluster = cloudhsm["cloud_hsm_cluster"]
    assert cluster["cluster_id"] == cluster_id
    assert cluster["state"] == "ACTIVE"
    assert cluster["active_hsms"] == 3
    assert sorted(cluster["hsms"]["ACTIVE"].values()) == [1, 2]
    assert "problem" not in cluster
    assert "cloud_hsm_cluster" not in external


def test_a_cluster_that_is_gone_is_reported(run_info: ModuleRunner, control: Control) -> None:
    control.create_store(parameters={"CloudHsmClusterId": "cluster-2345abcdefg"})
    cluster = only_store(run_info(include_cloud_hsm_cluster=True))["cloud_hsm_cluster"]
    assert cluster["state"] is None
    assert cluster["active_hsms"] == 0
    assert cluster["problem"].startswith("There is no CloudHSM cluster cluster-2345abcdefg in this account and Region.")


def test_a_cluster_that_may_not_be_described_is_reported() -> None:
    cloudhsm = client("cloudhsmv2")
    with Stubber(cloudhsm) as stubber:
        stubber.add_client_error("describe_clusters", "CloudHsmAccessDeniedException", "not for you")
        (cluster,) = describe_clusters(cloudhsm, ["cluster-2345abcdefg"]).values()
    assert cluster.to_result()["active_hsms"] is None
    assert cluster.to_result()["hsms"] is None
    assert cluster.problem is not None
    assert "CloudHsmAccessDeniedException" in cluster.problem
    assert cluster.problem.endswith(
        "Check that the caller has cloudhsm:DescribeClusters, and that the managed host reaches AWS CloudHSM."
    )


def test_a_cloudhsm_that_is_not_reached_is_reported() -> None:
    cloudhsm = mock.Mock()
    cloudhsm.get_paginator.return_value.paginate.side_effect = EndpointConnectionError(endpoint_url="https://cloudhsm")
    cluster = describe_clusters(cloudhsm, ["cluster-2345abcdefg"])["cluster-2345abcdefg"]
    assert cluster.problem is not None
    assert 'Could not connect to the endpoint URL: "https://cloudhsm"' in cluster.problem


def test_hsms_are_counted_by_state_and_zone() -> None:
    hsms = [("ACTIVE", "a"), ("ACTIVE", "a"), ("ACTIVE", "b"), ("DEGRADED", "a"), ("CREATE_IN_PROGRESS", "b")]
    cloudhsm = client("cloudhsmv2")
    with Stubber(cloudhsm) as stubber:
        entry = {
            "ClusterId": "cluster-2345abcdefg",
            "State": "UPDATE_IN_PROGRESS",
            "Hsms": [
                {"HsmId": f"hsm-{number}", "State": state, "AvailabilityZone": zone}
                for number, (state, zone) in enumerate(hsms)
            ],
        }
        stubber.add_response("describe_clusters", {"Clusters": [entry]})
        (cluster,) = describe_clusters(cloudhsm, ["cluster-2345abcdefg"]).values()
    assert cluster.to_result() == {
        "cluster_id": "cluster-2345abcdefg",
        "state": "UPDATE_IN_PROGRESS",
        "hsms": {"ACTIVE": {"a": 2, "b": 1}, "DEGRADED": {"a": 1}, "CREATE_IN_PROGRESS": {"b": 1}},
        "active_hsms": 3,
    }


# ---- events


def test_who_has_changed_a_store(run_info: ModuleRunner, control: Control) -> None:
    kms = client("kms")
    ids = [control.create_store(custom_key_store_name=name) for name in ("payments", "ledger")]
    for store_id in ids:
        kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    control.advance(60)
    kms.disconnect_custom_key_store(CustomKeyStoreId=ids[0])
    result = run_info(include_events=True)
    found = {store["custom_key_store_name"]: store["events"] for store in stores(result)}
    names = {name: [event["event_name"] for event in events] for name, events in found.items()}
    assert names == {
        "payments": ["DisconnectCustomKeyStore", "ConnectCustomKeyStore"],
        "ledger": ["ConnectCustomKeyStore"],
    }
    last = found["payments"][0]
    assert (last["user_arn"], last["source_ip"]) == ("arn:aws:sts::123456789012:user/moto", "192.0.2.0")
    assert last["time"] > found["payments"][1]["time"]
    assert last["time"].endswith("+00:00")
    assert result["deleted_custom_key_stores"] == []
    assert "events_problem" not in result
    assert run_info.calls == [STORES, *["LookupEvents"] * 4]
    assert run_info.time.sleeps == [0.5] * 3


def test_a_store_without_events_and_one_that_was_deleted(run_info: ModuleRunner, control: Control) -> None:
    kms = client("kms")
    control.create_store(custom_key_store_name="ledger")
    for name in ("payments", "invoices"):
        gone = control.create_store(custom_key_store_name=name)
        kms.delete_custom_key_store(CustomKeyStoreId=gone)
        control.advance(1)
    result = run_info(include_events=True)
    assert only_store(result)["events"] == []
    assert [store["custom_key_store_name"] for store in result["deleted_custom_key_stores"]] == ["invoices", "payments"]
    by_name: dict[str, Any] = {"name": "invoices"}
    for which in (by_name, {"custom_key_store_id": gone}):
        result = run_info(include_events=True, **which)
        assert result["custom_key_stores"] == []
        (deleted,) = result["deleted_custom_key_stores"]
        assert (deleted["custom_key_store_id"], deleted["custom_key_store_name"]) == (gone, "invoices")
        assert [event["event_name"] for event in deleted["events"]] == ["DeleteCustomKeyStore"]


def test_what_was_refused_is_no_event(run_info: ModuleRunner, control: Control) -> None:
    control.create_store()
    store_id = control.create_store(connection_state="CONNECTED")
    with pytest.raises(ClientError):
        client("kms").delete_custom_key_store(CustomKeyStoreId=store_id)
    assert [store["events"] for store in stores(run_info(include_events=True))] == [[], []]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DENIED, "The caller needs the permission cloudtrail:LookupEvents in an IAM policy."),
        ("OperationNotPermittedException", "Look at the message of AWS."),
        ("ThrottlingException", "LookupEvents failed with ThrottlingException."),
    ],
)
def test_a_cloudtrail_that_cannot_be_read(run_info: ModuleRunner, control: Control, error: str, text: str) -> None:
    control.create_store()
    control.add_fault("LookupEvents", error=error, times=None)
    result = run_info(include_events=True)
    assert only_store(result)["events"] is None
    assert text in result["events_problem"]
    assert sum(run_info.time.sleeps) < 90


def test_a_cloudtrail_that_throttles_is_asked_again(run_info: ModuleRunner, control: Control) -> None:
    control.create_store()
    control.add_fault("LookupEvents", error="ThrottlingException", times=3)
    assert only_store(run_info(include_events=True))["events"] == []


def test_pages_are_read_until_each_store_is_known(run_info: ModuleRunner, control: Control) -> None:
    kms = client("kms")
    quiet, busy = control.create_store(), control.create_store()

    def events_of(store_id: str) -> list[dict[str, Any]]:
        found = {store["custom_key_store_id"]: store["events"] for store in stores(run_info(include_events=True))}
        events: list[dict[str, Any]] = found[store_id]
        return events

    kms.update_custom_key_store(CustomKeyStoreId=quiet, NewCustomKeyStoreName="quiet")
    for number in range(60):
        kms.update_custom_key_store(CustomKeyStoreId=busy, NewCustomKeyStoreName=f"busy-{number}")
    assert len(events_of(quiet)) == 1
    assert run_info.calls.count("LookupEvents") == 5
    assert len(only_store(run_info(include_events=True, custom_key_store_id=busy))["events"]) == 50
    assert run_info.calls.count("LookupEvents") == 4
    for number in range(500):
        kms.update_custom_key_store(CustomKeyStoreId=busy, NewCustomKeyStoreName=f"busy-{number}")
    assert events_of(quiet) == []
    assert run_info.calls.count("LookupEvents") == 13


@pytest.mark.parametrize(
    "content",
    ["", "no JSON", "[]", "{}", '{"requestParameters": null}', '{"requestParameters": {}, "eventName": "X"}'],
)
def test_an_event_that_cannot_be_read_is_left_out(content: str) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    assert read_event({"EventId": "e", "EventTime": now, "CloudTrailEvent": content}) is None


def test_an_event_of_a_service_of_aws() -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    content = {
        "eventName": "DisconnectCustomKeyStore",
        "requestParameters": {"customKeyStoreId": "cks-1"},
        "userIdentity": {"type": "AWSService", "invokedBy": "example.amazonaws.com"},
    }
    event = read_event({"EventId": "e", "EventTime": now, "CloudTrailEvent": json.dumps(content)})
    assert event is not None
    assert (event.user_arn, event.source_ip, event.store_name) == ("example.amazonaws.com", None, None)
