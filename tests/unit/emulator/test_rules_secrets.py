# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of KMS by their numbers (R1 ...), for kmsuser's password and a proxy's credential."""

from __future__ import annotations

from typing import Any

import pytest

from kms_emulator import Control
from tests.unit.emulator.stores import CREDENTIAL
from tests.unit.emulator.stores import ENDPOINT
from tests.unit.emulator.stores import NEW_CREDENTIAL
from tests.unit.emulator.stores import NEW_PASSWORD
from tests.unit.emulator.stores import PASSWORD
from tests.unit.emulator.stores import Cycle
from tests.unit.emulator.stores import as_arguments
from tests.unit.emulator.stores import external
from tests.unit.emulator.stores import outcome


def test_r11_a_new_password_in_kms_changes_nothing_in_the_cluster(kms: Any, store: str, cycle: Cycle) -> None:
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store) == "INVALID_CREDENTIALS"
    cycle.disconnect(store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=PASSWORD)
    assert cycle.connect(store) == "CONNECTED"


def test_r12_a_connect_rotates_the_password(kms: Any, store: str, cycle: Cycle) -> None:
    assert cycle.connect(store) == "CONNECTED"
    assert cycle.reconnect(store) == "CONNECTED"
    cycle.disconnect(store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=PASSWORD)
    assert cycle.connect(store) == "INVALID_CREDENTIALS"


def test_r12_an_aborted_connect_does_not(kms: Any, store: str, cycle: Cycle) -> None:
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    cycle.disconnect(store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=PASSWORD)
    assert cycle.connect(store) == "CONNECTED"


def test_r13_five_wrong_logins_lock_the_user(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    control.change_kmsuser_password(store, NEW_PASSWORD)
    codes = []
    for _turn in range(6):
        codes.append(cycle.connect(store))
        cycle.disconnect(store)
    assert codes == ["INVALID_CREDENTIALS"] * 5 + ["USER_LOCKED_OUT"]
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store) == "USER_LOCKED_OUT"
    control.change_kmsuser_password(store, NEW_PASSWORD)
    assert cycle.reconnect(store) == "CONNECTED"


def test_r14_reconnecting_rotates_without_knowing_it(store: str, cycle: Cycle) -> None:
    assert [cycle.connect(store), cycle.reconnect(store)] == ["CONNECTED", "CONNECTED"]


def test_r15_to_a_known_password(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    cycle.connect(store)
    cycle.disconnect(store)
    control.change_kmsuser_password(store, NEW_PASSWORD)
    control.set_kmsuser_logged_in(store, True)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store) == "USER_LOGGED_IN"
    control.set_kmsuser_logged_in(store, False)
    assert cycle.reconnect(store) == "CONNECTED"


def test_r16_kmsuser_must_exist(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    control.delete_kmsuser(store)
    assert cycle.connect(store) == "USER_NOT_FOUND"
    with pytest.raises(ValueError, match="has no kmsuser"):
        control.change_kmsuser_password(store, NEW_PASSWORD)
    control.create_kmsuser(store, NEW_PASSWORD)
    with pytest.raises(ValueError, match="has a kmsuser"):
        control.create_kmsuser(store, NEW_PASSWORD)
    cycle.disconnect(store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store) == "CONNECTED"


def test_r17_a_credential_rotates_without_downtime(kms: Any, control: Control) -> None:
    old, new = (as_arguments(credential) for credential in (CREDENTIAL, NEW_CREDENTIAL))
    control.set_proxy(ENDPOINT, **old)
    store_id = kms.create_custom_key_store(**external())["CustomKeyStoreId"]
    control.set_connection_state(store_id, "CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)
    change = {"CustomKeyStoreId": store_id, "XksProxyAuthenticationCredential": NEW_CREDENTIAL}
    refused = "XksProxyIncorrectAuthenticationCredentialException"
    assert outcome(kms.update_custom_key_store, **change) == refused
    control.set_proxy(ENDPOINT, **new, keep_credentials=True)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p") == "ok"
    assert outcome(kms.update_custom_key_store, **change) == "ok"
    control.set_proxy(ENDPOINT, **new)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p") == "ok"


def test_r18_credentials_have_a_form(kms: Any) -> None:
    short = {**CREDENTIAL, "AccessKeyId": "lowercase-letters-are-no"}
    assert outcome(kms.create_custom_key_store, **external(XksProxyAuthenticationCredential=short)) == (
        "ValidationException"
    )


def test_r16_kmsuser_has_no_second_factor(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    def recreate(*, second_factor: bool) -> None:
        control.delete_kmsuser(store)
        control.create_kmsuser(store, PASSWORD, second_factor=second_factor)

    recreate(second_factor=True)
    assert cycle.connect(store) == "INVALID_CREDENTIALS"
    control.change_kmsuser_password(store, PASSWORD)
    assert cycle.reconnect(store) == "INVALID_CREDENTIALS"
    recreate(second_factor=False)
    assert cycle.reconnect(store) == "CONNECTED"
