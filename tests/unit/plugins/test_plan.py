# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: what is decided for each state, without any request."""

from __future__ import annotations

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import ConnectionState
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import DesiredStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.plan import Call
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.plan import Refusal
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.plan import Step
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.plan import WaitFor
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.plan import make_plan

CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"
UNTIL_CONNECTED = "until CONNECTED"
UNTIL_DISCONNECTED = "until DISCONNECTED"

TABLE = {
    ("disconnected", "DISCONNECTED"): [],
    ("disconnected", "DISCONNECTING"): [UNTIL_DISCONNECTED],
    ("disconnected", "CONNECTING"): [DISCONNECT, UNTIL_DISCONNECTED],
    ("disconnected", "CONNECTED"): [DISCONNECT, UNTIL_DISCONNECTED],
    ("disconnected", "FAILED"): [DISCONNECT, UNTIL_DISCONNECTED],
    ("connected", "DISCONNECTED"): [CONNECT, UNTIL_CONNECTED],
    ("connected", "DISCONNECTING"): [UNTIL_DISCONNECTED, CONNECT, UNTIL_CONNECTED],
    ("connected", "CONNECTING"): [UNTIL_CONNECTED],
    ("connected", "CONNECTED"): [],
    ("connected", "FAILED"): [DISCONNECT, UNTIL_DISCONNECTED, CONNECT, UNTIL_CONNECTED],
    ("present", "DISCONNECTED"): [],
    ("present", "DISCONNECTING"): [],
    ("present", "CONNECTING"): [],
    ("present", "CONNECTED"): [],
    ("present", "FAILED"): [],
}


def a_store(state: str, *, code: str = "NETWORK_ERRORS", store_type: str = "AWS_CLOUDHSM") -> CustomKeyStore:
    description = {
        "CustomKeyStoreId": "cks-1234567890abcdef0",
        "CustomKeyStoreName": "payments",
        "CustomKeyStoreType": store_type,
        "ConnectionState": state,
    }
    return CustomKeyStore({**description, "ConnectionErrorCode": code} if state == "FAILED" else description)


def in_words(steps: tuple[Step, ...]) -> list[str]:
    assert all(isinstance(step, (Call, WaitFor)) for step in steps)
    return [
        f"until {step.state.value}" if isinstance(step, WaitFor) else step.operation
        for step in steps
        if isinstance(step, (Call, WaitFor))
    ]


def test_the_table_has_every_cell() -> None:
    assert set(TABLE) == {
        (desired, state.value) for desired in ("present", "connected", "disconnected") for state in ConnectionState
    }


@pytest.mark.parametrize(("desired", "state"), TABLE)
def test_steps(desired: str, state: str) -> None:
    plan = make_plan(a_store(state), DesiredStore(desired, "cks-1234567890abcdef0"))
    assert in_words(plan.steps) == TABLE[desired, state]
    assert plan.operations == [step for step in TABLE[desired, state] if step in (CONNECT, DISCONNECT)]


@pytest.mark.parametrize(("desired", "state"), TABLE)
def test_prediction(desired: str, state: str) -> None:
    predicted = make_plan(a_store(state), DesiredStore(desired, "cks-1234567890abcdef0")).predicted
    expected = state if desired == "present" else desired.upper()
    assert predicted is not None
    assert predicted.connection_state.value == expected
    assert (predicted.connection_error_code is not None) == (expected == "FAILED")


@pytest.mark.parametrize(
    ("desired", "state", "steps", "predicted"),
    [
        ("disconnected", "CONNECTED", [DISCONNECT], "DISCONNECTING"),
        ("disconnected", "DISCONNECTING", [], "DISCONNECTING"),
        ("connected", "DISCONNECTED", [CONNECT], "CONNECTING"),
        ("connected", "CONNECTING", [], "CONNECTING"),
        ("connected", "DISCONNECTING", [UNTIL_DISCONNECTED, CONNECT], "CONNECTING"),
        ("connected", "FAILED", [DISCONNECT, UNTIL_DISCONNECTED, CONNECT], "CONNECTING"),
        ("connected", "CONNECTED", [], "CONNECTED"),
    ],
)
def test_without_wait_only_the_last_wait_goes(desired: str, state: str, steps: list[str], predicted: str) -> None:
    plan = make_plan(a_store(state), DesiredStore(desired, "cks-1234567890abcdef0", wait=False))
    assert in_words(plan.steps) == steps
    assert plan.predicted is not None
    assert plan.predicted.connection_state.value == predicted


@pytest.mark.parametrize("code", ["INVALID_CREDENTIALS", "USER_LOCKED_OUT", "USER_LOGGED_IN", "USER_NOT_FOUND"])
def test_a_login_that_may_lock_kmsuser_is_refused(code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        make_plan(a_store("FAILED", code=code), DesiredStore("connected", "cks-1234567890abcdef0"))
    assert 'The custom key store cks-1234567890abcdef0 ("payments") is FAILED and was left so' in refusal.value.message
    assert f"{code}: " in refusal.value.message
    assert "What to do: (1) Disconnect the custom key store (state=disconnected). (2) " in refusal.value.message


@pytest.mark.parametrize("code", ["INVALID_CREDENTIALS", "USER_LOCKED_OUT", "USER_LOGGED_IN", "USER_NOT_FOUND"])
def test_such_a_store_may_be_disconnected(code: str) -> None:
    plan = make_plan(a_store("FAILED", code=code), DesiredStore("disconnected", "cks-1234567890abcdef0"))
    assert plan.operations == [DISCONNECT]


def test_the_credential_of_an_external_store_locks_nobody_out() -> None:
    store = a_store("FAILED", code="INVALID_CREDENTIALS", store_type="EXTERNAL_KEY_STORE")
    assert make_plan(store, DesiredStore("connected", name="payments")).operations == [DISCONNECT, CONNECT]
