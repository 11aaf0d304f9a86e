# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection states: which operation is valid in which, and how connects and disconnects end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.moto_api import state_manager

from kms_emulator import Control
from kms_emulator.custom_key_stores.rules import ERROR_CODES
from kms_emulator.custom_key_stores.rules import ConnectionState
from kms_emulator.custom_key_stores.rules import StoreType
from kms_emulator.custom_key_stores.stores import CONNECT_MODEL
from kms_emulator.validation import kms_model

Connection = Callable[[str], tuple[str, str | None]]

INVALID = "CustomKeyStoreInvalidStateException"
STATES = ("CONNECTED", "CONNECTING", "DISCONNECTED", "DISCONNECTING", "FAILED")
MATRIX: dict[str, tuple[str, str, str, str, str]] = {
    # operation: what it answers in each of STATES
    "connect": (INVALID, INVALID, "ok", INVALID, INVALID),
    "disconnect": ("ok", "ok", INVALID, INVALID, "ok"),
    "rename": ("ok", INVALID, "ok", INVALID, INVALID),
    "new cluster": (INVALID, INVALID, "ok", INVALID, INVALID),
    "new password": (INVALID, INVALID, "ok", INVALID, INVALID),
    "delete": (INVALID, INVALID, "ok", INVALID, INVALID),
    "describe": ("ok", "ok", "ok", "ok", "ok"),
}
XKS_MATRIX: dict[str, tuple[str, str, str, str, str]] = {
    "rename": ("ok", INVALID, "ok", INVALID, INVALID),
    "new credential": ("ok", INVALID, "ok", INVALID, INVALID),
    "new path": ("ok", INVALID, "ok", INVALID, INVALID),
    "new endpoint": (INVALID, INVALID, "ok", INVALID, INVALID),
    "new connectivity": (INVALID, INVALID, "ok", INVALID, INVALID),
}
UPDATES: dict[str, dict[str, Any]] = {
    "rename": {"NewCustomKeyStoreName": "renamed"},
    "new cluster": {"CloudHsmClusterId": "cluster-anothercluster2"},
    "new password": {"KeyStorePassword": "another-password"},
    "new credential": {
        "XksProxyAuthenticationCredential": {"AccessKeyId": "ANOTHERACCESSKEY2345", "RawSecretAccessKey": "s" * 43}
    },
    "new path": {"XksProxyUriPath": "/other/kms/xks/v1"},
    "new endpoint": {"XksProxyUriEndpoint": "https://other.example.com"},
    "new connectivity": {
        "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE",
        "XksProxyUriEndpoint": "https://private.example.com",
        "XksProxyVpcEndpointServiceName": "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789",
    },
}


def store_in(control: Control, state: str, **options: Any) -> str:
    code = "INTERNAL_ERROR" if state == "FAILED" else None
    return control.create_store(connection_state=state, connection_error_code=code, **options)


def answer(kms: Any, operation: str, store_id: str) -> str:
    """ "ok" with a proper answer, or the error code."""
    calls: dict[str, Callable[..., Any]] = {
        "connect": kms.connect_custom_key_store,
        "disconnect": kms.disconnect_custom_key_store,
        "delete": kms.delete_custom_key_store,
        "describe": kms.describe_custom_key_stores,
    }
    try:
        result = calls.get(operation, kms.update_custom_key_store)(
            CustomKeyStoreId=store_id, **UPDATES.get(operation, {})
        )
    except ClientError as error:
        return error.response["Error"]["Code"]
    assert operation == "describe" or set(result) == {"ResponseMetadata"}
    return "ok"


def table(matrix: dict[str, tuple[str, str, str, str, str]]) -> list[tuple[str, str, str]]:
    return [(row, state, cell) for row, cells in matrix.items() for state, cell in zip(STATES, cells)]


@pytest.mark.parametrize(("operation", "state", "expected"), table(MATRIX))
def test_transition_matrix(
    kms: Any, control: Control, connection: Connection, operation: str, state: str, expected: str
) -> None:
    store_id = store_in(control, state)
    (before,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
    assert answer(kms, operation, store_id) == expected
    if expected != "ok":
        (after,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
        assert after == before


@pytest.mark.parametrize(("operation", "state", "expected"), table(XKS_MATRIX))
def test_updates_of_external_stores(kms: Any, control: Control, operation: str, state: str, expected: str) -> None:
    store_id = store_in(control, state, custom_key_store_type="EXTERNAL_KEY_STORE")
    assert answer(kms, operation, store_id) == expected


@pytest.mark.parametrize("operation", ["connect", "disconnect", "rename", "delete", "describe"])
def test_unknown_store(kms: Any, operation: str) -> None:
    assert answer(kms, operation, "cks-1234567890abcdef0") == "CustomKeyStoreNotFoundException"


def test_connect_and_disconnect_take_their_time(kms: Any, control: Control, connection: Connection) -> None:
    store_id = control.create_store()
    for operation, under_way, end in (
        ("connect", "CONNECTING", "CONNECTED"),
        ("disconnect", "DISCONNECTING", "DISCONNECTED"),
    ):
        assert answer(kms, operation, store_id) == "ok"
        control.advance(9.9)
        assert connection(store_id) == (under_way, None)
        control.advance(0.1)
        assert connection(store_id) == (end, None)


def test_disconnect_aborts_a_connect(kms: Any, control: Control, connection: Connection) -> None:
    store_id = control.create_store()
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert connection(store_id) == ("DISCONNECTING", None)
    control.advance(10)
    assert connection(store_id) == ("DISCONNECTED", None)


def test_the_codes_are_those_of_the_model() -> None:
    model = kms_model().shape_for("ConnectionErrorCodeType")
    assert frozenset().union(*ERROR_CODES.values()) == set(model.enum)  # type: ignore[attr-defined]  # of strings
    assert len(model.enum) == 18  # type: ignore[attr-defined]  # of strings


@pytest.mark.parametrize(
    ("store_type", "code"), [(kind, code) for kind, codes in ERROR_CODES.items() for code in sorted(codes)]
)
def test_each_error_code_only_while_failed(
    kms: Any, control: Control, connection: Connection, store_type: StoreType, code: str
) -> None:
    store_id = control.create_store(custom_key_store_type=store_type)
    control.set_connect_outcomes(store_id, [code, "CONNECTED"])
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert connection(store_id) == ("CONNECTING", None)
    control.advance(10)
    assert connection(store_id) == ("FAILED", code)
    kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert connection(store_id) == ("DISCONNECTING", None)
    control.advance(10)
    assert connection(store_id) == ("DISCONNECTED", None)
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    control.advance(10)
    assert connection(store_id) == ("CONNECTED", None)


@pytest.mark.parametrize(
    "outcome", ["CloudHsmClusterNotActiveException", "CloudHsmClusterInvalidConfigurationException"]
)
def test_a_fast_failure_leaves_the_store_disconnected(
    kms: Any, control: Control, connection: Connection, outcome: str
) -> None:
    store_id = control.create_store()
    control.set_connect_outcomes(store_id, [outcome])
    assert answer(kms, "connect", store_id) == outcome
    assert connection(store_id) == ("DISCONNECTED", None)
    assert answer(kms, "connect", store_id) == "ok"


def test_a_connect_that_never_ends(kms: Any, control: Control, connection: Connection) -> None:
    store_id = control.create_store()
    control.set_connect_outcomes(store_id, ["NEVER"])
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    control.advance(1_000_000)
    assert connection(store_id) == ("CONNECTING", None)
    assert answer(kms, "disconnect", store_id) == "ok"


def test_states_set_by_hand_run_on(control: Control, connection: Connection) -> None:
    ends = {"CONNECTING": "CONNECTED", "DISCONNECTING": "DISCONNECTED"}
    for state in ConnectionState:
        store_id = store_in(control, state)
        assert connection(store_id)[0] == state
        control.advance(10)
        assert connection(store_id)[0] == ends.get(state, state)


@pytest.mark.parametrize(
    ("transition", "descriptions"),
    [({"progression": "immediate"}, 0), ({"progression": "manual", "times": 3}, 3)],
)
def test_motos_other_kinds_of_transition(
    kms: Any, control: Control, connection: Connection, transition: dict[str, Any], descriptions: int
) -> None:
    store_id = control.create_store()
    state_manager.set_transition(CONNECT_MODEL, transition)
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert [connection(store_id)[0] for _turn in range(descriptions)] == ["CONNECTING"] * descriptions
    assert connection(store_id)[0] == "CONNECTED"
