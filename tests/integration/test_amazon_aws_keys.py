# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What amazon.aws.kms_key and kms_key_info make of keys in custom key stores, each found by its alias.

Where they do what they should not, a comment begins with "Wrong:", and the test asserts it as it is, so that it fails once
amazon.aws fixes that; the guide to keys then has to tell less. The two modules are the same, byte by byte, in amazon.aws 10.3.2
and 11.4.0. In 10.1.0 one line differs, and comes to the same.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.harness import KEY_MODULE
from tests.integration.harness import Ansible

pytestmark = pytest.mark.versions

KMS_KEY = "amazon.aws.kms_key"
KMS_KEY_INFO = "amazon.aws.kms_key_info"

HSM = "AWS_CLOUDHSM"
EXTERNAL = "EXTERNAL_KEY_STORE"
MARK = {"keyops.aws:created-for": "alias/payments"}
READS = ("Describe", "Get", "List")

ACCOUNT = "arn:aws:iam::123456789012"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"},
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"{ACCOUNT}:role/audit"},
            "Action": "kms:DescribeKey",
            "Resource": "*",
        },
    ],
}
CARDS = {
    "name": "cards",
    "grantee_principal": f"{ACCOUNT}:role/cards",
    "operations": ["Encrypt", "Decrypt"],
    "constraints": {"encryption_context_subset": {"CardType": "credit"}},
}
REPORTS = {"name": "reports", "grantee_principal": f"{ACCOUNT}:role/reports", "operations": ["Decrypt"]}

Tasks = dict[str, dict[str, Any]]

both_types = pytest.mark.parametrize("store_type", [HSM, EXTERNAL])


def store(ansible: Ansible, store_type: str) -> str:
    """A connected store named vault; returns its id."""
    return ansible.control.create_store(
        custom_key_store_name="vault", custom_key_store_type=store_type, connection_state="CONNECTED"
    )


def own(store_type: str, **options: Any) -> dict[str, Any]:
    """A task of the collection's own module: have the key payments."""
    external = {"xks_key_id": "payments-2026"} if store_type == EXTERNAL else {}
    return {KEY_MODULE: {"alias": "payments", "custom_key_store_name": "vault", **external, **options}}


def key(**options: Any) -> dict[str, Any]:
    """A task of amazon.aws.kms_key by the alias of the key."""
    return {KMS_KEY: {"alias": "payments", **options}}


def checked(task: dict[str, Any]) -> dict[str, Any]:
    """The same in check mode."""
    return {**task, "check_mode": True}


def run(ansible: Ansible, tasks: Tasks) -> dict[str, dict[str, Any]]:
    """Run tasks in one play, whether they fail or not. Returns their results by their names."""
    ansible.control.clear_requests()
    path = ansible.folder / "results.json"
    names = {name: f"result_{number}" for number, name in enumerate(tasks)}
    steps = [{"name": name, **task, "register": names[name], "ignore_errors": True} for name, task in tasks.items()]
    all_results = ", ".join(names.values())
    keep = {
        "name": "Keep the results",
        "ansible.builtin.debug": {"msg": f"{{{{ [{all_results}] | to_json | written_to('{path}') }}}}"},
    }
    done = ansible.playbook([*steps, keep])
    assert done.exit_code == 0, done.output
    return dict(zip(tasks, json.loads(path.read_text()), strict=True))


def changes(ansible: Ansible) -> list[str]:
    """The mutating operations of the last play, in order."""
    operations = [request["operation"] for request in ansible.control.requests()]
    return [operation for operation in operations if not operation.startswith(READS)]


def outcomes(results: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Of each task, whether it failed, or was a change."""
    return {
        name: "failed" if result["failed"] else "changed" if result["changed"] else "ok"
        for name, result in results.items()
    }


def metadata(ansible: Ansible) -> dict[str, Any]:
    """The key payments, as KMS describes it."""
    described: dict[str, Any] = ansible.kms().describe_key(KeyId="alias/payments")["KeyMetadata"]
    return described


@pytest.mark.long
@pytest.mark.parametrize("store_type", [HSM, EXTERNAL])
def test_tags_policy_grants_and_description(ansible: Ansible, store_type: str) -> None:
    store_id = store(ansible, store_type)
    wanted = key(
        description="Encrypts cards",
        tags={"owner": "payments"},
        purge_tags=False,
        policy=POLICY,
        grants=[CARDS, REPORTS],
    )
    same = {name: value for name, value in wanted[KMS_KEY].items() if name != "alias"}
    results = run(
        ansible,
        {
            "create": own(store_type),
            "predict": checked(wanted),
            "set": wanted,
            "set again": wanted,
            "set by key_id": {KMS_KEY: {**same, "key_id": "alias/payments"}},
            "purge grants": key(grants=[REPORTS], purge_grants=True),
            "info": {KMS_KEY_INFO: {"alias": "payments"}},
        },
    )
    assert outcomes(results) == {
        "create": "changed",
        "predict": "changed",
        "set": "changed",
        "set again": "ok",
        "set by key_id": "ok",
        "purge grants": "changed",
        "info": "ok",
    }
    made = ["CreateKey", "CreateAlias"]
    update = ["UpdateKeyDescription", "TagResource", "PutKeyPolicy", "CreateGrant", "CreateGrant"]
    assert changes(ansible) == [*made, *update, "RetireGrant"]

    result = results["set again"]
    assert result["key_id"] == results["create"]["key"]["key_id"]
    assert result["aliases"] == ["payments"]
    assert result["description"] == "Encrypts cards"
    mark = MARK if store_type == HSM else {}
    assert result["tags"] == {"owner": "payments", **mark}
    assert result["key_policies"] == [POLICY]
    assert {grant["name"] for grant in result["grants"]} == {"cards", "reports"}
    assert [grant["name"] for grant in results["purge grants"]["grants"]] == ["reports"]
    # amazon.aws documents none of these, and returns them all the same, as it passes on what DescribeKey tells.
    assert (result["origin"], result["custom_key_store_id"]) == (store_type, store_id)
    assert ("cloud_hsm_cluster_id" in result) is (store_type == HSM)
    assert result.get("xks_key_configuration") == ({"id": "payments-2026"} if store_type == EXTERNAL else None)
    # KMS does not say whether such a key is rotated; neither does kms_key.
    assert result["enable_key_rotation"] is None
    (described,) = results["info"]["kms_keys"]
    assert described == {name: value for name, value in results["purge grants"].items() if name in described}
    assert described["enable_key_rotation"] is None


@pytest.mark.long
@both_types
def test_enabling_and_deleting(ansible: Ansible, store_type: str) -> None:
    store(ansible, store_type)
    info = {KMS_KEY_INFO: {"alias": "payments"}}
    results = run(
        ansible,
        {
            "create": own(store_type),
            "disable": key(enabled=False),
            "disable again": key(enabled=False),
            "predict a tag": checked(key(tags={"owner": "payments"}, purge_tags=False)),
            "tag": key(tags={"owner": "payments"}, purge_tags=False),
            "delete": key(state="absent", pending_window=7),
            "delete again": key(state="absent", pending_window=7),
            "own module": own(store_type),
            "info": info,
            "info on the pending": {KMS_KEY_INFO: {"alias": "payments", "pending_deletion": True}},
            "info by the id": {KMS_KEY_INFO: {"key_id": "alias/payments"}},
            "predict the rescue": checked(key()),
            "rescue": key(),
            "rescue again": key(),
            "own module then": own(store_type),
            "info in the end": {KMS_KEY_INFO: {"alias": "payments", "pending_deletion": True}},
        },
    )
    assert outcomes(results) == {
        "create": "changed",
        "disable": "changed",
        "disable again": "ok",
        "predict a tag": "changed",
        "tag": "changed",
        "delete": "changed",
        "delete again": "ok",
        "own module": "failed",
        "info": "ok",
        "info on the pending": "ok",
        "info by the id": "ok",
        "predict the rescue": "changed",
        "rescue": "changed",
        "rescue again": "ok",
        "own module then": "ok",
        "info in the end": "ok",
    }
    assert results["disable"]["key_state"] == "Disabled"
    # Wrong: enabled is true unless it is given, so that a task that is about tags enables the key.
    assert results["tag"]["key_state"] == "Enabled"
    assert results["delete"]["key_state"] == "PendingDeletion"
    assert "deletion_date" in results["delete"]
    assert (
        "To keep the key, cancel its deletion (amazon.aws.kms_key with that key_id and state=present)."
        in results["own module"]["msg"]
    )
    # Any task with state=present does that, such as one that is about tags. It enables the key as well.
    assert results["rescue"]["key_state"] == "Enabled"
    assert changes(ansible) == [
        *("CreateKey", "CreateAlias", "DisableKey", "EnableKey", "TagResource"),
        *("ScheduleKeyDeletion", "CancelKeyDeletion", "EnableKey"),
    ]
    (described,) = results["info"]["kms_keys"]
    assert (described["key_state"], described["tags"]["owner"]) == ("PendingDeletion", "payments")
    assert results["info by the id"]["kms_keys"] == [described]
    # Wrong: pending_deletion takes away what it should add, of any key.
    details = {"grants", "key_policies", "tags"}
    for name in ("info on the pending", "info in the end"):
        assert details & set(results[name]["kms_keys"][0]) == set()
    assert details <= set(described)


@pytest.mark.long
@both_types
def test_rotation_by_kms(ansible: Ansible, store_type: str) -> None:
    store(ansible, store_type)
    results = run(
        ansible,
        {
            "create": own(store_type),
            "rotate": key(enable_key_rotation=True, description="Encrypts cards"),
            "do not rotate": key(enable_key_rotation=False),
            "predict": checked(key(enable_key_rotation=False)),
            "say nothing": key(),
        },
    )
    for name in ("rotate", "do not rotate", "predict"):
        # Wrong for false: KMS rotates no such key, so there is nothing to do. The option has to be left out.
        assert results[name]["msg"].startswith("Unable to get current key rotation status: ")
        assert results[name]["error"]["code"] == "UnsupportedOperationException"
    # Wrong: the task has changed what comes before, and says that it has not.
    assert results["rotate"]["changed"] is False
    assert results["say nothing"]["description"] == "Encrypts cards"
    assert outcomes(results)["say nothing"] == "ok"
    assert changes(ansible) == ["CreateKey", "CreateAlias", "UpdateKeyDescription"]


@pytest.mark.long
def test_the_tag_of_our_own(ansible: Ansible) -> None:
    """By the tag, our module knows a key again that has lost its alias. That of a key with an alias means nothing."""
    store(ansible, HSM)
    kms = ansible.kms()
    first = run(ansible, {"create": own(HSM), "tag": key(tags={"owner": "payments"}, purge_tags=False)})
    assert first["tag"]["tags"] == {**MARK, "owner": "payments"}
    kms.delete_alias(AliasName="alias/payments")
    # purge_tags is true unless it is given.
    second = run(ansible, {"own": own(HSM), "tag": key(tags={"owner": "cards"}), "own again": own(HSM)})
    assert second["own"]["operations"] == ["CreateAlias"]
    assert second["tag"]["tags"] == {"owner": "cards"}
    assert outcomes(second)["own again"] == "ok"
    kms.delete_alias(AliasName="alias/payments")
    third = run(ansible, {"own": own(HSM)})
    assert third["own"]["operations"] == ["CreateKey", "CreateAlias"]
    ids = {result["key"]["key_id"] for result in (first["create"], second["own"], third["own"])}
    assert len(ids) == 2


@pytest.mark.long
@both_types
def test_while_the_store_is_disconnected(ansible: Ansible, store_type: str) -> None:
    store_id = store(ansible, store_type)
    run(ansible, {"create": own(store_type), "disable": key(enabled=False)})
    ansible.control.set_connection_state(store_id, "DISCONNECTED")
    wanted = key(description="Encrypts cards", tags={"owner": "payments"}, policy=POLICY, grants=[CARDS])
    results = run(
        ansible,
        {
            "info": {KMS_KEY_INFO: {"alias": "payments"}},
            "set": wanted,
            "set again": wanted,
            "predict": checked(wanted),
            "delete": key(state="absent"),
            "rescue": key(),
        },
    )
    (described,) = results["info"]["kms_keys"]
    assert (described["key_state"], described["enabled"]) == ("Unavailable", False)
    result = results["set again"]
    assert (result["key_state"], result["description"]) == ("Unavailable", "Encrypts cards")
    assert [grant["name"] for grant in result["grants"]] == ["cards"]
    # Wrong: each run is a change, as the key is neither Enabled nor Disabled, so that the module enables it each time.
    assert outcomes(results) == {
        "info": "ok",
        "set": "changed",
        "set again": "changed",
        "predict": "changed",
        "delete": "changed",
        "rescue": "changed",
    }
    untag = ["UntagResource"] if store_type == HSM else []
    assert changes(ansible) == [
        *("EnableKey", "UpdateKeyDescription", *untag, "TagResource", "PutKeyPolicy", "CreateGrant"),
        *("EnableKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "EnableKey"),
    ]
    ansible.control.set_connection_state(store_id, "CONNECTED")
    # Wrong: the key was disabled, and nobody has asked for another state.
    assert metadata(ansible)["KeyState"] == "Enabled"

    ansible.control.set_connection_state(store_id, "DISCONNECTED")
    again = run(ansible, {"disable": key(enabled=False), "disable again": key(enabled=False)})
    assert outcomes(again) == {"disable": "changed", "disable again": "changed"}
    ansible.control.set_connection_state(store_id, "CONNECTED")
    assert metadata(ansible)["KeyState"] == "Disabled"


@pytest.mark.long
def test_an_alias_that_is_not_there(ansible: Ansible) -> None:
    store(ansible, HSM)
    results = run(
        ansible,
        {
            "delete": key(state="absent"),
            "delete by key_id": {KMS_KEY: {"key_id": "alias/payments", "state": "absent"}},
            "tag by key_id": {KMS_KEY: {"key_id": "alias/payments", "tags": {"owner": "payments"}}},
            "info": {KMS_KEY_INFO: {"alias": "payments"}},
            "tag": key(tags={"owner": "payments"}),
            "own module": own(HSM),
        },
    )
    assert outcomes(results) == {
        "delete": "ok",
        "delete by key_id": "ok",
        "tag by key_id": "failed",
        "info": "ok",
        "tag": "changed",
        "own module": "failed",
    }
    assert results["info"]["kms_keys"] == []
    # With key_id, which may be an alias with alias/, the module creates nothing.
    assert results["tag by key_id"]["msg"] == "Could not find key with id alias/payments to update"
    # As documented, and not what is wanted here: the alias is that of a key in KMS itself from now on.
    assert results["tag"]["origin"] == "AWS_KMS"
    assert "which is in no custom key store" in results["own module"]["msg"]
    assert changes(ansible) == ["CreateKey", "CreateAlias"]


@pytest.mark.long
@pytest.mark.parametrize("wait", [True, False])
def test_a_key_that_is_not_shown_yet(ansible: Ansible, wait: bool) -> None:
    """Our module waits until KMS shows the key; where it must not, kms_key by alias creates another one in KMS itself."""
    store(ansible, HSM)
    ansible.control.set_visibility_delay(4)
    results = run(ansible, {"create": own(HSM, wait=wait), "tag": key(tags={"owner": "payments"}, purge_tags=False)})
    made = ["CreateKey", "CreateAlias"]
    if wait:
        assert results["tag"]["tags"] == {**MARK, "owner": "payments"}
        assert changes(ansible) == [*made, "TagResource"]
    else:
        assert changes(ansible) == [*made, "CreateKey"]
        # Wrong: the module sees that the alias is taken, and goes on with a key that has none. It ends with an error only
        # because that key is not shown yet either.
        assert outcomes(results)["tag"] == "failed"
        assert "Failed to obtain key metadata" in results["tag"]["msg"]


@pytest.mark.long
@both_types
def test_grants_without_a_name(ansible: Ansible, store_type: str) -> None:
    """Somebody has granted use of the key without a name, which KMS does not ask for."""
    store(ansible, store_type)
    run(ansible, {"create": own(store_type)})
    ansible.kms().create_grant(
        KeyId=metadata(ansible)["KeyId"], GranteePrincipal=f"{ACCOUNT}:role/other", Operations=["Decrypt"]
    )
    results = run(
        ansible,
        {
            "tag": key(tags={"owner": "payments"}, purge_tags=False),
            "tag again": key(tags={"owner": "payments"}, purge_tags=False),
            "info": {KMS_KEY_INFO: {"alias": "payments"}},
        },
    )
    # Wrong: the module fails on each such key, with the message 'name' (a KeyError), whatever the task is about.
    assert outcomes(results) == {"tag": "failed", "tag again": "failed", "info": "ok"}
    failed = results["tag again"]
    # Before ansible-core 2.19, the message says only where to read on.
    assert any(text.rstrip().endswith("'name'") for text in (failed["msg"], failed.get("module_stderr", "")))
    # What comes before the grants is done: description, tags and policy.
    assert results["info"]["kms_keys"][0]["tags"]["owner"] == "payments"
    assert changes(ansible) == ["TagResource"]


@pytest.mark.long
@both_types
def test_after_a_rotation(ansible: Ansible, store_type: str) -> None:
    """A new key has the tags and the policy of the old one, but no grants: run the task again for those; it finds the new key."""
    store(ansible, store_type)
    wanted = key(tags={"owner": "payments"}, purge_tags=False, policy=POLICY, grants=[CARDS])
    external = store_type == EXTERNAL
    first = run(ansible, {"create": own(store_type), "set": wanted})
    ansible.control.advance(86400 * 2)
    rotate = own(store_type, rotate={"older_than_days": 1}, **({"xks_key_id": "payments-2027"} if external else {}))
    results = run(
        ansible, {"rotate": rotate, "info": {KMS_KEY_INFO: {"alias": "payments"}}, "set": wanted, "set again": wanted}
    )
    assert outcomes(results) == {"rotate": "changed", "info": "ok", "set": "changed", "set again": "ok"}
    (described,) = results["info"]["kms_keys"]
    assert (described["grants"], described["key_policies"]) == ([], [POLICY])
    assert described["tags"] == {"owner": "payments", **({} if external else MARK)}
    assert results["set"]["key_id"] == results["rotate"]["key"]["key_id"] != first["set"]["key_id"]
    assert changes(ansible) == ["CreateKey", "UpdateAlias", "CreateGrant"]
    old = ansible.kms().list_grants(KeyId=first["set"]["key_id"])["Grants"]
    assert [grant["Name"] for grant in old] == ["cards"]
