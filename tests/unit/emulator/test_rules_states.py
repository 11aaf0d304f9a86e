# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of KMS by their numbers (R1 ...), for what the connection states mean, and what is allowed in which."""

from __future__ import annotations

from typing import Any

from kms_emulator import Control
from tests.unit.emulator.stores import EXTERNAL
from tests.unit.emulator.stores import NEW_CREDENTIAL
from tests.unit.emulator.stores import Connection
from tests.unit.emulator.stores import Cycle
from tests.unit.emulator.stores import outcome


def test_r01_the_answer_says_nothing(kms: Any, store: str, connection: Connection) -> None:
    assert set(kms.connect_custom_key_store(CustomKeyStoreId=store)) == {"ResponseMetadata"}
    assert connection(store) == ("CONNECTING", None)


def test_r02_a_cluster_that_is_not_active_fails_fast(control: Control, connection: Connection, cycle: Cycle) -> None:
    cluster_id = control.create_cluster()
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id})
    control.set_cluster(cluster_id, state="DEGRADED")
    assert cycle.connect(store_id) == "CloudHsmClusterNotActiveException"
    assert connection(store_id) == ("DISCONNECTED", None)
    control.set_cluster(cluster_id, state="ACTIVE")
    assert cycle.connect(store_id) == "CONNECTED"


def test_r03_connected_is_not_health(kms: Any, control: Control, connection: Connection, cycle: Cycle) -> None:
    cluster_id = control.create_cluster()
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id}, connection_state="CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)
    control.set_cluster(cluster_id, active_hsms=0)
    assert connection(store_id) == ("CONNECTED", None)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p") == "KMSInvalidStateException"
    assert outcome(kms.generate_random, CustomKeyStoreId=store_id, NumberOfBytes=8) == "DependencyTimeoutException"
    assert cycle.reconnect(store_id) == "INSUFFICIENT_CLOUDHSM_HSMS"


def test_r05_keys_follow_their_store(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    control.set_connection_state(store, "CONNECTED")
    keys = control.create_keys(3, custom_key_store_id=store)
    kms.disable_key(KeyId=keys[1])
    kms.schedule_key_deletion(KeyId=keys[2], PendingWindowInDays=7)

    def states() -> list[tuple[str, bool]]:
        found = [kms.describe_key(KeyId=key_id)["KeyMetadata"] for key_id in keys]
        return [(key["KeyState"], key["Enabled"]) for key in found]

    blob = kms.encrypt(KeyId=keys[0], Plaintext=b"plain")["CiphertextBlob"]
    before = [("Enabled", True), ("Disabled", False), ("PendingDeletion", False)]
    assert states() == before
    cycle.disconnect(store)
    assert states() == [("Unavailable", False), ("Unavailable", False), ("PendingDeletion", False)]
    assert outcome(kms.decrypt, CiphertextBlob=blob) == "KMSInvalidStateException"
    assert outcome(kms.generate_data_key, KeyId=keys[0], KeySpec="AES_256") == "KMSInvalidStateException"
    cycle.connect(store)
    assert states() == before
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"
    assert outcome(kms.encrypt, KeyId=keys[1], Plaintext=b"p") == "DisabledException"
    assert outcome(kms.encrypt, KeyId=keys[2], Plaintext=b"p") == "KMSInvalidStateException"


def test_r07_failed_is_not_disconnected(kms: Any, control: Control, store: str) -> None:
    control.set_connection_state(store, "FAILED", "INTERNAL_ERROR")
    for call, members in (
        (kms.update_custom_key_store, {"NewCustomKeyStoreName": "new"}),
        (kms.delete_custom_key_store, {}),
        (kms.connect_custom_key_store, {}),
    ):
        assert outcome(call, CustomKeyStoreId=store, **members) == "CustomKeyStoreInvalidStateException"


def test_r04_the_error_code_is_there_only_while_failed(
    kms: Any, control: Control, store: str, connection: Connection
) -> None:
    control.set_connection_state(store, "FAILED", "INTERNAL_ERROR")
    assert connection(store) == ("FAILED", "INTERNAL_ERROR")
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    assert connection(store) == ("DISCONNECTING", None)
    control.advance(10)
    assert connection(store) == ("DISCONNECTED", None)


def test_r05_keys_are_seen_to_follow_late(kms: Any, control: Control, store: str, connection: Connection) -> None:
    control.set_connection_state(store, "CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store)
    control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    control.set_visibility_delay(5)

    def state_and_use() -> tuple[str, str]:
        state = kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"]
        assert connection(store)[0] == ("CONNECTED" if state == "Enabled" else "DISCONNECTED")
        return state, outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p")

    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    assert state_and_use() == ("Enabled", "ok")
    control.advance(5)
    assert state_and_use() == ("Unavailable", "KMSInvalidStateException")
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    assert state_and_use() == ("Unavailable", "KMSInvalidStateException")
    control.advance(5)
    assert state_and_use() == ("Enabled", "ok")


def test_r06_credential_and_path_change_in_place(kms: Any, control: Control) -> None:
    store_id = control.create_store(custom_key_store_type=EXTERNAL, connection_state="CONNECTED")
    for change in ({"XksProxyAuthenticationCredential": NEW_CREDENTIAL}, {"XksProxyUriPath": "/other/kms/xks/v1"}):
        assert outcome(kms.update_custom_key_store, CustomKeyStoreId=store_id, **change) == "ok"
    assert outcome(
        kms.update_custom_key_store, CustomKeyStoreId=store_id, XksProxyUriEndpoint="https://other.example.com"
    ) == ("CustomKeyStoreInvalidStateException")


def test_r28_connecting_may_take_twenty_minutes(kms: Any, control: Control, store: str, connection: Connection) -> None:
    """KMS promises no durations. The emulator's own are short on purpose; a test sets those of AWS by the clock."""
    control.set_transitions(connect_seconds=1200, disconnect_seconds=600)
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    control.advance(1199)
    assert connection(store)[0] == "CONNECTING"
    control.advance(1)
    assert connection(store)[0] == "CONNECTED"
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    control.advance(599)
    assert connection(store)[0] == "DISCONNECTING"
    control.advance(1)
    assert connection(store)[0] == "DISCONNECTED"


def test_r31_a_change_is_seen_late(kms: Any, control: Control, store: str, connection: Connection) -> None:
    control.set_visibility_delay(5)
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    assert connection(store) == ("DISCONNECTED", None)
    control.advance(5)
    assert connection(store) == ("CONNECTING", None)


def test_r31_a_new_key_is_seen_late(kms: Any, control: Control, store: str) -> None:
    control.set_connection_state(store, "CONNECTED")
    (known,) = control.create_keys(1)
    control.set_visibility_delay(5)
    made = kms.create_key(CustomKeyStoreId=store, Origin="AWS_CLOUDHSM")["KeyMetadata"]
    kms.create_alias(AliasName="alias/new", TargetKeyId=made["KeyId"])
    names = (made["KeyId"], made["Arn"], "alias/new")
    assert [outcome(kms.describe_key, KeyId=name) for name in names] == ["NotFoundException"] * 3
    assert [key["KeyId"] for key in kms.list_keys()["Keys"]] == [known]
    assert outcome(kms.delete_custom_key_store, CustomKeyStoreId=store) == "CustomKeyStoreInvalidStateException"
    control.advance(5)
    assert [outcome(kms.describe_key, KeyId=name) for name in names] == ["ok"] * 3
    assert [key["KeyId"] for key in kms.list_keys()["Keys"]] == sorted([known, made["KeyId"]])
