# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module for keys through its main(): the exact requests in order, and the result, against the emulator in this process."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import kms_keys
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.key_plan import MARK
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms import KmsError
from kms_emulator import Control
from tests.unit.harness import ModuleRunner

HSM = "AWS_CLOUDHSM"
EXTERNAL = "EXTERNAL_KEY_STORE"
ENDPOINT = "https://xks.example.com"
DAY = 86400.0
CHANGES = {"CreateKey", "CreateAlias", "UpdateAlias", "ScheduleKeyDeletion"}
PASSED_BY = ("key_id", "key_arn", "creation_date", "deletion_date")
"""What only KMS can know, and check mode does not report."""


@pytest.fixture
def hsm(run_key: ModuleRunner) -> str:
    """The id of a CloudHSM store named payments."""
    return run_key.control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")


@pytest.fixture
def external(run_key: ModuleRunner) -> str:
    """The id of an external store named invoices."""
    return run_key.control.create_store(
        custom_key_store_name="invoices",
        custom_key_store_type=EXTERNAL,
        connection_state="CONNECTED",
        parameters={"XksProxyUriEndpoint": ENDPOINT},
    )


@pytest.fixture
def kms(control: Control) -> Any:
    return boto3.client("kms", region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="not-a-secret")


def changes(run: ModuleRunner) -> list[str]:
    """The requests of the last run that change something, in order."""
    return [call for call in run.calls if call in CHANGES]


def applied(run: ModuleRunner) -> list[str]:
    """Those that KMS carried out."""
    return [
        entry["operation"] for entry in run.control.requests() if entry["operation"] in CHANGES and entry["applied"]
    ]


def keys_of(kms: Any, store_id: str) -> list[dict[str, Any]]:
    """All keys of a store, oldest first."""
    ids = [key["KeyId"] for key in kms.list_keys()["Keys"]]
    found = [kms.describe_key(KeyId=key_id)["KeyMetadata"] for key_id in ids]
    mine = [key for key in found if key.get("CustomKeyStoreId") == store_id]
    return sorted(mine, key=lambda key: (key["CreationDate"], key["KeyId"]))


def target_of(kms: Any, alias: str) -> str:
    return str(kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"])


def warnings_of(result: dict[str, Any]) -> str:
    """In any form that Ansible gives them."""
    return json.dumps(result.get("warnings", []))


def without_ids(reported: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reported.items() if name not in PASSED_BY}


OPTIONS: dict[str, dict[str, Any]] = {
    HSM: {"alias": "payments", "custom_key_store_name": "payments"},
    EXTERNAL: {"alias": "invoices", "custom_key_store_name": "invoices", "xks_key_id": "one"},
}
TYPES = pytest.mark.parametrize("store_type", OPTIONS)

CREATION = {
    HSM: [
        *("DescribeKey", "DescribeCustomKeyStores"),
        *("DescribeKey", "DescribeCustomKeyStores", "ListKeys", "CreateKey", "CreateAlias", "DescribeKey"),
    ],
}
CREATION[EXTERNAL] = CREATION[HSM]


@TYPES
def test_a_key_is_created_once_as_check_mode_predicted(
    run_key: ModuleRunner, kms: Any, hsm: str, external: str, store_type: str
) -> None:
    store_id = hsm if store_type == HSM else external
    options = {**OPTIONS[store_type], "description": "What for", "tags": {"owner": "me"}}
    predicted = run_key(**options, check=True, diff=True)
    assert changes(run_key) == []
    result = run_key(**options, diff=True)
    assert run_key.calls == CREATION[store_type]
    assert result["operations"] == predicted["operations"] == ["CreateKey", "CreateAlias"]
    assert (result["changed"], predicted["changed"]) == (True, True)
    assert result["diff"] == predicted["diff"]
    assert result["diff"]["before"] == {}
    assert without_ids(result["key"]) == predicted["key"]
    (key,) = keys_of(kms, store_id)
    assert target_of(kms, f"alias/{options['alias']}") == key["KeyId"] == result["key"]["key_id"]
    assert (key["Description"], key["Origin"]) == ("What for", store_type)
    tags = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
    assert tags == {"owner": "me", **({MARK: "alias/payments"} if store_type == HSM else {})}

    again = run_key(**options)
    assert run_key.calls == ["DescribeKey", "DescribeCustomKeyStores"]
    assert (again["changed"], again["key"]) == (False, result["key"])
    by_id = {name: value for name, value in options.items() if name != "custom_key_store_name"}
    assert not run_key(**by_id, custom_key_store_id=store_id)["changed"]
    assert run_key.calls == ["DescribeKey"]


def test_the_policy_is_given_to_kms_and_shown_in_the_diff_alone(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    policy = '{"Statement": [{"Principal": {"AWS": "arn:aws:iam::210987654321:root"}}]}'
    result = run_key(**OPTIONS[HSM], policy=policy, diff=True)
    assert kms.get_key_policy(KeyId=result["key"]["key_id"], PolicyName="default")["Policy"] == policy
    assert result["diff"]["after"].pop("policy") == policy
    assert "210987654321" not in str(result)
    assert "210987654321" not in str(run_key(**OPTIONS[HSM], policy=policy))


def test_every_third_night_for_a_year_and_more(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    options = {**OPTIONS[HSM], "rotate": {"older_than_days": 90}}
    nights = []
    for night in range(0, 400, 3):
        predicted = run_key(**options, check=True) if night % 30 == 0 else None
        result = run_key(**options)
        if result["changed"]:
            nights.append((night, result["operations"]))
        if predicted is not None:
            assert (predicted["changed"], predicted["operations"]) == (result["changed"], result["operations"])
        run_key.control.advance(3 * DAY)
    rotation = ["CreateKey", "UpdateAlias"]
    assert nights == [(0, ["CreateKey", "CreateAlias"]), *((night, rotation) for night in (90, 180, 270, 360))]
    keys = keys_of(kms, hsm)
    assert len(keys) == 5
    assert {key["KeyState"] for key in keys} == {"Enabled"}
    assert target_of(kms, "alias/payments") == keys[-1]["KeyId"]


def test_a_rotation_names_the_old_key(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    options = {**OPTIONS[HSM], "rotate": {"older_than_days": 30}}
    before = run_key(**options)["key"]
    run_key.control.advance(31 * DAY)
    predicted = run_key(**options, check=True, diff=True)
    result = run_key(**options, diff=True)
    assert changes(run_key) == ["CreateKey", "UpdateAlias"]
    assert result["previous_key"] == predicted["previous_key"] == before
    assert result["diff"] == predicted["diff"]
    assert without_ids(result["key"]) == predicted["key"]
    blob = kms.encrypt(KeyId=before["key_id"], Plaintext=b"plain")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"
    assert run_key(**options)["changed"] is False


POLICY = '{"Version": "2012-10-17", "Statement": []}'


def test_a_new_key_takes_over_what_the_task_does_not_give(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    rotation = {**OPTIONS[HSM], "rotate": {"older_than_days": 30}}
    first = run_key(**rotation, description="What for", policy=POLICY, tags={"owner": "me"})["key"]["key_id"]
    kms.tag_resource(KeyId=first, Tags=[{"TagKey": "later", "TagValue": "1"}])
    run_key.control.advance(30 * DAY)
    predicted = run_key(**rotation, check=True, diff=True)
    result = run_key(**rotation, diff=True)
    assert result["diff"] == predicted["diff"]
    second = result["key"]["key_id"]
    assert result["key"]["description"] == "What for"
    assert kms.get_key_policy(KeyId=second, PolicyName="default")["Policy"] == POLICY
    tags = {tag["TagKey"]: tag["TagValue"] for tag in kms.list_resource_tags(KeyId=second)["Tags"]}
    assert tags == {"owner": "me", "later": "1", MARK: "alias/payments"}
    run_key.control.advance(30 * DAY)
    third = run_key(**rotation, description="", tags={}, policy='{"Statement": []}')["key"]
    assert third["description"] == ""
    assert kms.get_key_policy(KeyId=third["key_id"], PolicyName="default")["Policy"] == '{"Statement": []}'
    assert [tag["TagKey"] for tag in kms.list_resource_tags(KeyId=third["key_id"])["Tags"]] == [MARK]


def test_a_policy_that_cannot_be_taken_over_is_not_lost(run_key: ModuleRunner, hsm: str) -> None:
    rotation = {**OPTIONS[HSM], "rotate": {"older_than_days": 30}}
    run_key(**rotation)
    run_key.control.advance(30 * DAY)
    run_key.control.add_fault("GetKeyPolicy", error="AccessDeniedException", times=None)
    message = refused(run_key, **rotation)
    assert "Allow kms:GetKeyPolicy in the key policy" in message
    assert "Give policy and tags, or permit the task to read them." in message
    assert run_key(**rotation, policy=POLICY)["operations"] == ["CreateKey", "UpdateAlias"]


def test_an_external_key_is_replaced_by_another(run_key: ModuleRunner, kms: Any, external: str) -> None:
    first = run_key(**OPTIONS[EXTERNAL])["key"]
    options = {**OPTIONS[EXTERNAL], "xks_key_id": "two", "rotate": {}}
    result = run_key(**options)
    assert result["operations"] == ["CreateKey", "UpdateAlias"]
    assert (result["key"]["xks_key_id"], result["previous_key"]) == ("two", first)
    assert run_key(**options)["changed"] is False
    back = run_key(**{**options, "xks_key_id": "one"})
    assert (back["operations"], back["key"]["key_id"]) == (["UpdateAlias"], first["key_id"])


def test_an_external_key_is_replaced_only_when_it_is_old_enough(run_key: ModuleRunner, external: str) -> None:
    run_key(**OPTIONS[EXTERNAL])
    options = {**OPTIONS[EXTERNAL], "xks_key_id": "two", "rotate": {"older_than_days": 10}}
    assert run_key(**options)["changed"] is False
    run_key.control.advance(10 * DAY)
    assert run_key(**options)["operations"] == ["CreateKey", "UpdateAlias"]


@TYPES
def test_a_deletion_is_scheduled_once(
    run_key: ModuleRunner, kms: Any, hsm: str, external: str, store_type: str
) -> None:
    run_key(**OPTIONS[store_type])
    options = {name: value for name, value in OPTIONS[store_type].items() if name != "xks_key_id"}
    predicted = run_key(**options, state="absent", check=True, diff=True)
    result = run_key(**options, state="absent", pending_window_in_days=7, diff=True)
    assert run_key.calls == ["DescribeKey", "DescribeCustomKeyStores", "ScheduleKeyDeletion", "DescribeKey"]
    assert result["operations"] == predicted["operations"] == ["ScheduleKeyDeletion"]
    assert result["diff"] == predicted["diff"]
    assert result["key"]["key_state"] == "PendingDeletion"
    key_id = result["key"]["key_id"]
    due = kms.describe_key(KeyId=key_id)["KeyMetadata"]["DeletionDate"].isoformat()
    assert result["key"]["deletion_date"] == due
    assert (f"{key_id} on {due}, and its key material in the CloudHSM cluster" in warnings_of(result)) == (
        store_type == HSM
    )
    again = run_key(**options, state="absent")
    assert (again["changed"], changes(run_key), again["key"]["deletion_date"]) == (False, [], due)


def test_no_alias_is_no_key_to_delete(run_key: ModuleRunner, hsm: str) -> None:
    result = run_key(**OPTIONS[HSM], state="absent")
    assert (result["changed"], result["key"], run_key.calls) == (False, {}, ["DescribeKey"])


# What is refused, before any change


def refused(run: ModuleRunner, **options: Any) -> str:
    """The message of a task that is refused, and of its twin in check mode."""
    predicted = run(**options, check=True)
    result = run(**options)
    assert (result["failed"], predicted["failed"]) == (True, True)
    assert (result["msg"], result["changed"]) == (predicted["msg"], False)
    assert changes(run) == []
    assert result["msg"].endswith(".")
    return str(result["msg"])


@pytest.mark.parametrize("state", ["DISCONNECTED", "CONNECTING", "DISCONNECTING", "FAILED"])
@TYPES
def test_a_store_that_is_not_connected(
    run_key: ModuleRunner, hsm: str, external: str, store_type: str, state: str
) -> None:
    store_id, name = (hsm, "payments") if store_type == HSM else (external, "invoices")
    code = "INTERNAL_ERROR" if state == "FAILED" else None
    run_key.control.set_transitions(connect_seconds=1000, disconnect_seconds=1000)
    run_key.control.set_connection_state(store_id, state, code)
    assert refused(run_key, **OPTIONS[store_type]) == (
        f'The custom key store {store_id} ("{name}") is {state}, and KMS creates keys only in one that is CONNECTED. Connect it'
        " (keyops.aws.kms_custom_key_store with state=connected), and run the task again."
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"active_hsms": 1}, "has 1 active HSM(s) in 1 Availability Zone(s)"),
        ({"active_hsms": 0}, "has 0 active HSM(s) in 0 Availability Zone(s)"),
        ({"state": "DEGRADED"}, "is DEGRADED"),
        ({"state": "DELETED"}, "is DELETED"),
    ],
)
def test_a_cluster_in_which_no_key_can_be_made(run_key: ModuleRunner, change: dict[str, Any], what: str) -> None:
    cluster_id = run_key.control.create_cluster()
    store_id = run_key.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    run_key.control.set_cluster(cluster_id, **change)
    assert refused(run_key, **OPTIONS[HSM]) == (
        f'The CloudHSM cluster {cluster_id} of the custom key store {store_id} ("payments") {what}, and to create a KMS key it'
        " must be ACTIVE, with at least 2 active HSMs in different Availability Zones. Fix the cluster, and run the task again."
    )


def test_an_alias_of_a_key_elsewhere_is_not_moved(run_key: ModuleRunner, kms: Any, hsm: str, external: str) -> None:
    outside = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/payments", TargetKeyId=outside)
    for state in ("present", "absent"):
        message = refused(run_key, **OPTIONS[HSM], state=state)
        assert f"refers to the KMS key {outside}, which is in no custom key store, and not in {hsm}" in message
    run_key(**OPTIONS[EXTERNAL])
    message = refused(run_key, alias="invoices", custom_key_store_id=hsm)
    assert f"which is in the custom key store {external}, and not in {hsm}" in message


def test_a_key_that_will_be_deleted_is_not_brought_back(run_key: ModuleRunner, hsm: str) -> None:
    run_key(**OPTIONS[HSM])
    key = run_key(**OPTIONS[HSM], state="absent")["key"]
    message = refused(run_key, **OPTIONS[HSM])
    assert f"refers to the KMS key {key['key_id']}, which will be deleted on {key['deletion_date']}." in message
    assert "amazon.aws.kms_key with that key_id and state=present)" in message


def test_an_external_key_that_is_in_use(run_key: ModuleRunner, kms: Any, external: str) -> None:
    first = run_key(**OPTIONS[EXTERNAL])["key"]["key_id"]
    message = refused(run_key, **{**OPTIONS[EXTERNAL], "alias": "other"})
    assert message == (
        f"The external key one already has the KMS key {first} (Enabled) (alias/invoices) in the custom key store"
        f' {external} ("invoices"), and can have only one. Give another external key in xks_key_id, or use that alias.'
    )


def test_another_external_key_without_leave_to_rotate(run_key: ModuleRunner, external: str) -> None:
    run_key(**OPTIONS[EXTERNAL])
    message = refused(run_key, **{**OPTIONS[EXTERNAL], "xks_key_id": "two"})
    assert "with the external key one, and xks_key_id is two" in message
    assert "give rotate" in message


def test_an_old_external_key_needs_a_new_one(run_key: ModuleRunner, external: str) -> None:
    run_key(**OPTIONS[EXTERNAL])
    run_key.control.advance(11 * DAY)
    message = refused(run_key, **OPTIONS[EXTERNAL], rotate={"older_than_days": 10})
    assert "is 11 days old, and its external key one cannot have another KMS key in the same store" in message


def test_a_rotation_in_cloudhsm_needs_a_condition(run_key: ModuleRunner, hsm: str) -> None:
    assert "Give rotate.older_than_days." in refused(run_key, **OPTIONS[HSM], rotate={})
    run_key(**OPTIONS[HSM])
    assert "Give rotate.older_than_days." in refused(run_key, **OPTIONS[HSM], rotate={})


def test_options_that_do_not_fit_the_type_of_the_store(run_key: ModuleRunner, hsm: str, external: str) -> None:
    assert "give its id" not in refused(run_key, **OPTIONS[HSM], xks_key_id="one")
    assert "Leave xks_key_id out." in refused(run_key, **OPTIONS[HSM], xks_key_id="one")
    run_key(**OPTIONS[HSM])
    assert "Leave xks_key_id out." in refused(run_key, **OPTIONS[HSM], xks_key_id="one")
    message = refused(run_key, alias="invoices", custom_key_store_name="invoices")
    assert (
        "is external, and a KMS key in it is made with an external key. Give the id of that in xks_key_id." in message
    )


def test_a_store_that_is_not_there(run_key: ModuleRunner) -> None:
    message = refused(run_key, **OPTIONS[HSM])
    assert 'There is no custom key store named "payments" in the Region us-east-1' in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"alias": "aws/s3"},
            "alias must not begin with aws/, which is for keys of AWS itself: alias/aws/s3. Give another one.",
        ),
        ({"alias": "pay ments"}, "alias may have 1 to 250 letters, digits and any of / _ -, after alias/"),
        ({"alias": ""}, "alias may have 1 to 250 letters"),
        ({"alias": "a" * 251}, "alias may have 1 to 250 letters"),
        ({"xks_key_id": "a b"}, "xks_key_id may have letters, digits and any of _ . -, unlike 'a b'. Correct it."),
        ({"xks_key_id": "a" * 129}, "xks_key_id must have 1 to 128 characters, and has 129. Correct it."),
        ({"custom_key_store_name": ""}, "custom_key_store_name must have 1 to 256 characters, and has 0. Correct it."),
        ({"description": "a" * 8193}, "description must have 0 to 8192 characters, and has 8193. Correct it."),
        (
            {"tags": {"aws:mine": "1"}},
            "tags has 'aws:mine': a tag's key has 1 to 128 characters and does not begin with aws:",
        ),
        ({"tags": {"a": "b" * 257}}, "its value has at most 256."),
        ({"tags": {MARK: "1"}}, f"tags must not have {MARK}: this module sets it itself. Leave it out."),
        ({"pending_window_in_days": 6}, "pending_window_in_days must be a number from 7 to 30."),
        ({"pending_window_in_days": 31}, "pending_window_in_days must be a number from 7 to 30."),
        ({"rotate": {"older_than_days": 0}}, "rotate.older_than_days must be 1 or more"),
        ({"wait_timeout": 0}, "wait_timeout must be 1 second or more."),
        (
            {"state": "absent", "tags": {}, "policy": "{}"},
            "With state=absent, policy, tags has no effect. Leave it out.",
        ),
        ({"state": "absent", "rotate": {}}, "With state=absent, rotate has no effect. Leave it out."),
    ],
)
def test_bad_input_is_refused_before_any_request(run_key: ModuleRunner, options: dict[str, Any], message: str) -> None:
    result = run_key(**{**OPTIONS[HSM], **options})
    assert result["failed"]
    assert message in result["msg"]
    assert run_key.calls == []


def test_one_of_id_and_name_is_needed(run_key: ModuleRunner) -> None:
    assert "custom_key_store_id, custom_key_store_name" in run_key(alias="payments")["msg"]
    both = run_key(**OPTIONS[HSM], custom_key_store_id="cks-1")
    assert "mutually exclusive: custom_key_store_id|custom_key_store_name" in both["msg"]


# Answers that are lost, faults, throttling, and what others do


FAULTS: dict[str, dict[str, Any]] = {
    "throttled": {"error": "ThrottlingException", "times": 3},
    "fault before": {"error": "KMSInternalException"},
    "fault after": {"error": "KMSInternalException", "applied": True},
    "timeout after": {"error": "DependencyTimeoutException", "applied": True},
    "dropped before": {"drop": True},
    "dropped after": {"drop": True, "applied": True},
    "dropped after, twice": {"drop": True, "applied": True, "times": 2},
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["DescribeKey", "ListKeys", "CreateKey", "CreateAlias", "ListAliases"])
@TYPES
@pytest.mark.long
def test_one_key_for_one_alias_whatever_is_lost(
    run_key: ModuleRunner, kms: Any, hsm: str, external: str, store_type: str, operation: str, fault: str
) -> None:
    store_id = hsm if store_type == HSM else external
    run_key.control.add_fault(operation, **FAULTS[fault])
    result = run_key(**OPTIONS[store_type])
    assert not result.get("failed"), result["msg"]
    assert result["operations"] == ["CreateKey", "CreateAlias"]
    (key,) = keys_of(kms, store_id)
    assert target_of(kms, f"alias/{OPTIONS[store_type]['alias']}") == key["KeyId"]
    assert run_key(**OPTIONS[store_type])["changed"] is False


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["DescribeKey", "ListKeys", "CreateKey", "UpdateAlias", "ListResourceTags"])
@pytest.mark.long
def test_one_new_key_for_one_rotation_whatever_is_lost(
    run_key: ModuleRunner, kms: Any, hsm: str, operation: str, fault: str
) -> None:
    options = {**OPTIONS[HSM], "rotate": {"older_than_days": 30}}
    run_key(**options)
    run_key.control.advance(30 * DAY)
    run_key.control.add_fault(operation, **FAULTS[fault])
    result = run_key(**options)
    assert not result.get("failed"), result["msg"]
    assert result["operations"] == ["CreateKey", "UpdateAlias"]
    keys = keys_of(kms, hsm)
    assert len(keys) == 2
    assert target_of(kms, "alias/payments") == keys[-1]["KeyId"]


@pytest.mark.parametrize("fault", FAULTS)
@TYPES
def test_one_deletion_whatever_is_lost(
    run_key: ModuleRunner, kms: Any, hsm: str, external: str, store_type: str, fault: str
) -> None:
    run_key(**OPTIONS[store_type])
    options = {name: value for name, value in OPTIONS[store_type].items() if name != "xks_key_id"}
    run_key.control.add_fault("ScheduleKeyDeletion", **FAULTS[fault])
    result = run_key(**options, state="absent")
    assert not result.get("failed"), result["msg"]
    assert (result["operations"], result["key"]["key_state"]) == (["ScheduleKeyDeletion"], "PendingDeletion")


@pytest.mark.parametrize("seconds", [5, 60])
@TYPES
def test_a_new_key_that_shows_late(
    run_key: ModuleRunner, kms: Any, hsm: str, external: str, store_type: str, seconds: float
) -> None:
    run_key.control.set_visibility_delay(seconds)
    run_key.control.add_fault("CreateKey", drop=True, applied=True)
    result = run_key(**OPTIONS[store_type])
    assert not result.get("failed"), result["msg"]
    assert applied(run_key) == ["CreateKey", "CreateAlias"]
    assert result["key"]["key_state"] == "Enabled"
    assert run_key(**OPTIONS[store_type])["changed"] is False


@TYPES
def test_a_key_that_got_no_alias_is_named_and_taken_by_the_next_run(
    run_key: ModuleRunner, kms: Any, hsm: str, external: str, store_type: str
) -> None:
    run_key.control.add_fault("CreateAlias", error="AccessDeniedException")
    result = run_key(**OPTIONS[store_type])
    (key,) = keys_of(kms, hsm if store_type == HSM else external)
    assert (result["failed"], result["changed"], result["operations"]) == (True, True, ["CreateKey"])
    assert (
        f"This task has created the KMS key {key['KeyId']}, which has no alias yet: run the task again; it uses that key."
        in result["msg"]
    )
    assert result["key"]["key_id"] == key["KeyId"]
    predicted = run_key(**OPTIONS[store_type], check=True)
    again = run_key(**OPTIONS[store_type])
    assert again["operations"] == predicted["operations"] == ["CreateAlias"]
    assert again["key"]["key_id"] == key["KeyId"]


def test_a_refusal_leaves_nothing_to_wait_for(run_key: ModuleRunner, hsm: str) -> None:
    run_key.control.add_fault("CreateKey", error="AccessDeniedException")
    assert run_key(**OPTIONS[HSM])["failed"]
    run_key.time.sleeps.clear()
    assert run_key(**OPTIONS[HSM])["operations"] == ["CreateKey", "CreateAlias"]
    assert run_key.time.sleeps == []


def test_a_key_of_somebody_else_without_an_alias_is_left_alone(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    run_key.control.create_keys(2, custom_key_store_id=hsm)
    tagged = kms.create_key(CustomKeyStoreId=hsm, Origin=HSM, Tags=[{"TagKey": MARK, "TagValue": "alias/another"}])[
        "KeyMetadata"
    ]["KeyId"]
    result = run_key(**OPTIONS[HSM])
    assert result["operations"] == ["CreateKey", "CreateAlias"]
    assert result["key"]["key_id"] != tagged


def test_a_key_whose_alias_was_deleted_is_taken_again(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    key_id = run_key(**OPTIONS[HSM])["key"]["key_id"]
    kms.delete_alias(AliasName="alias/payments")
    result = run_key(**OPTIONS[HSM])
    assert (result["operations"], result["key"]["key_id"]) == (["CreateAlias"], key_id)


def test_a_store_that_is_disconnected_before_the_key_is_created(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    run_key.control.add_intruder("CreateKey", action="DisconnectCustomKeyStore", parameters={"CustomKeyStoreId": hsm})
    result = run_key(**OPTIONS[HSM])
    assert (result["failed"], result["changed"]) == (True, False)
    assert result["error"]["code"] == "CustomKeyStoreInvalidStateException"
    assert keys_of(kms, hsm) == []


def test_a_store_that_is_disconnected_after_the_key_is_created(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    run_key.control.add_intruder("CreateAlias", action="DisconnectCustomKeyStore", parameters={"CustomKeyStoreId": hsm})
    result = run_key(**OPTIONS[HSM])
    (key,) = keys_of(kms, hsm)
    assert (result["failed"], result["operations"]) == (True, ["CreateKey", "CreateAlias"])
    assert f"The KMS key {key['KeyId']} exists, and alias/payments refers to it, but after" in result["msg"]
    assert "it is Unavailable" in result["msg"]
    assert run_key(**OPTIONS[HSM])["changed"] is False


def test_without_waiting(run_key: ModuleRunner, hsm: str) -> None:
    run_key.control.set_visibility_delay(5)
    result = run_key(**OPTIONS[HSM], wait=False)
    assert result["operations"] == ["CreateKey", "CreateAlias"]
    assert run_key.calls[-1] == "CreateAlias"
    again = run_key(**OPTIONS[HSM])
    assert (again["changed"], again["key"]["key_state"]) == (False, "Enabled")


def test_an_alias_that_somebody_else_creates_meanwhile(
    run_key: ModuleRunner, kms: Any, hsm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = kms.create_key(CustomKeyStoreId=hsm, Origin=HSM)["KeyMetadata"]["KeyId"]
    intrude(monkeypatch, "create_alias", lambda: kms.create_alias(AliasName="alias/payments", TargetKeyId=theirs))
    result = run_key(**OPTIONS[HSM])
    (mine,) = [key["KeyId"] for key in keys_of(kms, hsm) if key["KeyId"] != theirs]
    assert (result["operations"], result["key"]["key_id"]) == (["CreateKey"], theirs)
    assert f"The KMS key {mine}, which this task has created, is not needed" in warnings_of(result)
    assert run_key(**OPTIONS[HSM])["changed"] is False


def test_an_alias_that_somebody_else_creates_while_the_new_key_is_not_found(
    run_key: ModuleRunner, kms: Any, hsm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = kms.create_key(CustomKeyStoreId=hsm, Origin=HSM)["KeyMetadata"]["KeyId"]
    run_key.control.add_fault("CreateAlias", error="NotFoundException")
    original = kms_keys.KmsKeys.point_alias

    def after(self: Any, *args: Any) -> None:
        try:
            original(self, *args)
        except KmsError:
            monkeypatch.setattr(kms_keys.KmsKeys, "point_alias", original)
            kms.create_alias(AliasName="alias/payments", TargetKeyId=theirs)
            raise

    monkeypatch.setattr(kms_keys.KmsKeys, "point_alias", after)
    result = run_key(**OPTIONS[HSM])
    assert (result["operations"], result["key"]["key_id"]) == (["CreateKey"], theirs)
    assert target_of(kms, "alias/payments") == theirs
    assert "is not needed" in warnings_of(result)


def test_an_alias_that_somebody_else_creates_meanwhile_for_a_key_elsewhere(
    run_key: ModuleRunner, kms: Any, hsm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = kms.create_key()["KeyMetadata"]["KeyId"]
    intrude(monkeypatch, "create_alias", lambda: kms.create_alias(AliasName="alias/payments", TargetKeyId=theirs))
    result = run_key(**OPTIONS[HSM])
    (mine,) = [key["KeyId"] for key in keys_of(kms, hsm)]
    assert result["failed"]
    assert f"somebody else has created alias/payments, which refers to the KMS key {theirs} now" in result["msg"]
    assert f"This task has created the KMS key {mine}" in result["msg"]


def test_a_key_that_somebody_else_rotates_meanwhile(
    run_key: ModuleRunner, kms: Any, hsm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**OPTIONS[HSM], "rotate": {"older_than_days": 30}}
    run_key(**options)
    run_key.control.advance(30 * DAY)
    theirs = kms.create_key(CustomKeyStoreId=hsm, Origin=HSM)["KeyMetadata"]["KeyId"]
    intrude(monkeypatch, "create_key", lambda: kms.update_alias(AliasName="alias/payments", TargetKeyId=theirs))
    result = run_key(**options)
    assert (result["operations"], result["key"]["key_id"]) == (["CreateKey"], theirs)
    assert target_of(kms, "alias/payments") == theirs
    assert "is not needed" in warnings_of(result)


def test_an_alias_that_somebody_else_moves_at_the_same_moment(
    run_key: ModuleRunner, kms: Any, hsm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**OPTIONS[HSM], "rotate": {"older_than_days": 30}}
    first = run_key(**options)["key"]["key_id"]
    run_key.control.advance(30 * DAY)
    theirs = kms.create_key(CustomKeyStoreId=hsm, Origin=HSM)["KeyMetadata"]["KeyId"]
    original = kms_keys.KmsKeys.point_alias

    def after(self: Any, *args: Any) -> None:
        original(self, *args)
        kms.update_alias(AliasName="alias/payments", TargetKeyId=theirs)

    monkeypatch.setattr(kms_keys.KmsKeys, "point_alias", after)
    result = run_key(**options)
    (mine,) = {key["KeyId"] for key in keys_of(kms, hsm)} - {first, theirs}
    assert result["key"]["key_id"] == theirs
    assert f"The KMS key {mine}, which this task has created, is not needed" in warnings_of(result)


def intrude(monkeypatch: pytest.MonkeyPatch, method: str, act: Any) -> None:
    """Have somebody else act just before the module's next request of a kind."""
    original = getattr(kms_keys.KmsKeys, "point_alias" if method == "create_alias" else method)
    acts = [act]

    def before(self: Any, *args: Any) -> Any:
        if acts:
            acts.pop()()
        return original(self, *args)

    monkeypatch.setattr(kms_keys.KmsKeys, original.__name__, before)


def be_killed_after_creating_a_key(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a task that ends when KMS has created a key, before it has noted anything of it."""
    original = kms_keys.KmsKeys.create_key

    def killed(self: Any, members: Any) -> Any:
        original(self, members)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kms_keys.KmsKeys, "create_key", killed)
        with pytest.raises(KeyboardInterrupt):
            run(**OPTIONS[HSM])


def test_a_key_that_a_killed_task_may_have_left_is_waited_for(
    run_key: ModuleRunner, kms: Any, hsm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_key.control.set_visibility_delay(20)
    be_killed_after_creating_a_key(run_key, monkeypatch)
    result = run_key(**OPTIONS[HSM])
    assert result["operations"] == ["CreateAlias"]
    run_key.control.advance(20)
    assert len(keys_of(kms, hsm)) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("LimitExceededException", "as many KMS keys"),
        ("MalformedPolicyDocumentException", "policy"),
        ("TagException", "tags"),
        ("XksKeyNotFoundException", "xks_key_id"),
        ("XksKeyInvalidConfigurationException", "AES_256"),
        ("CloudHsmClusterInvalidConfigurationException", "two in different zones"),
        ("CustomKeyStoreInvalidStateException", "proxy"),
        ("UnsupportedOperationException", "does not offer this"),
        ("AccessDeniedException", "kms:CreateKey"),
        ("CustomKeyStoreNotFoundException", "not there any more"),
    ],
)
def test_every_refusal_of_a_new_key_is_explained(
    run_key: ModuleRunner, kms: Any, hsm: str, external: str, error: str, words: str
) -> None:
    run_key.control.add_fault("CreateKey", error=error, times=None)
    result = run_key(**OPTIONS[EXTERNAL])
    assert result["failed"]
    assert f"CreateKey of {external} failed with {error}. " in result["msg"]
    assert words in result["msg"]
    assert (result["changed"], result["error"]["code"]) == (False, error)


# What histories that a generator made up have found


def test_a_former_external_key_that_would_be_due_at_once(run_key: ModuleRunner, external: str) -> None:
    rotation = {**OPTIONS[EXTERNAL], "rotate": {"older_than_days": 7}}
    run_key(**rotation)
    run_key.control.advance(8 * DAY)
    assert run_key(**{**rotation, "xks_key_id": "two"})["operations"] == ["CreateKey", "UpdateAlias"]
    run_key.control.advance(8 * DAY)
    assert "is 16 days old, and its external key one cannot have another" in refused(run_key, **rotation)


def test_a_key_without_an_alias_that_would_be_due_at_once(run_key: ModuleRunner, kms: Any, external: str) -> None:
    rotation = {**OPTIONS[EXTERNAL], "rotate": {"older_than_days": 7}}
    run_key(**rotation)
    kms.delete_alias(AliasName="alias/invoices")
    run_key.control.advance(8 * DAY)
    assert "is 8 days old, and its external key one cannot have another" in refused(run_key, **rotation)


def times(run: ModuleRunner, operation: str) -> int:
    """How often KMS has carried an operation out in the last run."""
    return applied(run).count(operation)


def number_of_keys(run: ModuleRunner, kms: Any) -> int:
    run.control.advance(4000)
    return len(kms.list_keys()["Keys"])


def test_a_second_run_soon_after_one_that_did_not_wait(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    run_key.control.set_visibility_delay(60)
    run_key(**OPTIONS[HSM], wait=False)
    run_key(**OPTIONS[HSM], wait=False)
    assert number_of_keys(run_key, kms) == 1


def test_the_same_with_less_time_than_kms_takes(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    run_key.control.set_visibility_delay(60)
    run_key(**OPTIONS[HSM], wait=False)
    run_key(**OPTIONS[HSM], wait_timeout=5)
    assert number_of_keys(run_key, kms) == 1


def test_a_run_that_was_out_of_time_and_the_next(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    run_key.control.set_visibility_delay(60)
    assert "not shown yet" in run_key(**OPTIONS[HSM], wait_timeout=30)["msg"]
    run_key(**OPTIONS[HSM], wait_timeout=20)
    assert number_of_keys(run_key, kms) == 1


def test_a_killed_run_and_the_next_with_little_time(
    run_key: ModuleRunner, kms: Any, hsm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_key.control.set_visibility_delay(60)
    be_killed_after_creating_a_key(run_key, monkeypatch)
    message = run_key(**OPTIONS[HSM], wait_timeout=30)["msg"]
    assert "Another task on this host tried to create a KMS key for alias/payments" in message
    assert number_of_keys(run_key, kms) == 1


def test_a_key_that_is_not_needed_is_named(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    """CreateAlias says that the alias is there, DescribeKey does not find it yet: success, and the new key is not told of."""
    run_key.control.set_visibility_delay(60)
    kms.create_alias(
        AliasName="alias/payments",
        TargetKeyId=kms.create_key(CustomKeyStoreId=hsm, Origin="AWS_CLOUDHSM")["KeyMetadata"]["KeyId"],
    )
    result = run_key(**OPTIONS[HSM], wait=False)
    run_key.control.advance(4000)
    target = kms.describe_key(KeyId="alias/payments")["KeyMetadata"]["KeyId"]
    (mine,) = [key["KeyId"] for key in kms.list_keys()["Keys"] if key["KeyId"] != target]
    reported = str(result.get("warnings")) + result.get("msg", "")
    assert mine in reported
    assert result.get("failed") or result["key"]["key_id"] == target


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("DescribeKey", {"drop": True}),
        ("DescribeCustomKeyStores", {"drop": True}),
        ("ListKeys", {"error": "AccessDeniedException"}),
        ("ListAliases", {"error": "AccessDeniedException"}),
        ("CreateKey", {"drop": True}),
    ],
)
def test_a_failure_names_the_alias_or_the_store(
    run_key: ModuleRunner, external: str, operation: str, fault: dict[str, Any]
) -> None:
    if operation == "ListAliases":
        run_key.control.create_keys(1, custom_key_store_id=external)
        run_key.control.add_fault("CreateAlias", error="AccessDeniedException")
        run_key(**OPTIONS[EXTERNAL])
    run_key.control.add_fault(operation, times=None, **fault)
    result = run_key(**OPTIONS[EXTERNAL], wait_timeout=30)
    assert result["failed"]
    names = ("alias/invoices", external, '"invoices"')
    assert any(name in result["msg"] for name in names), result["msg"]


@pytest.mark.parametrize("fault", [{"drop": True}, {"error": "KMSInternalException"}])
def test_a_new_key_that_kms_does_not_show_yet(run_key: ModuleRunner, kms: Any, hsm: str, fault: dict[str, Any]) -> None:
    run_key.control.set_visibility_delay(60)
    run_key.control.add_fault("CreateKey", times=None, applied=True, **fault)
    result = run_key(**OPTIONS[HSM], wait_timeout=30)
    assert times(run_key, "CreateKey") == 1
    assert (result["changed"], result["operations"][:1]) == (True, ["CreateKey"])


def test_a_deletion_that_kms_does_not_show_yet(run_key: ModuleRunner, kms: Any, hsm: str) -> None:
    run_key(**OPTIONS[HSM])
    run_key.control.add_fault("ScheduleKeyDeletion", times=None, applied=True, error="KMSInternalException")
    result = run_key(**OPTIONS[HSM], state="absent", wait_timeout=30)
    assert times(run_key, "ScheduleKeyDeletion") == 1
    assert (result["changed"], result["operations"]) == (True, ["ScheduleKeyDeletion"])


@pytest.mark.parametrize("store_type", ["hsm", "external"])
def test_an_alias_that_kms_does_not_show_yet(
    run_key: ModuleRunner, kms: Any, hsm: str, external: str, store_type: str
) -> None:
    options = OPTIONS[HSM if store_type == "hsm" else EXTERNAL]
    run_key.control.add_fault("CreateAlias", times=None, applied=True, error="KMSInternalException")
    result = run_key(**options, wait_timeout=30)
    assert times(run_key, "CreateAlias") == 1
    assert (result["changed"], result["operations"]) == (True, ["CreateKey", "CreateAlias"]), result["msg"]
