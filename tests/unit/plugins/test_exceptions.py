# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every exception that KMS's model knows for an operation, at each call of each sequence."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest

from kms_emulator import Control
from kms_emulator.custom_key_stores.rules import ERROR_CODES
from kms_emulator.custom_key_stores.rules import StoreType
from tests.histories import invariants
from tests.histories.world import Mishaps
from tests.histories.world import World
from tests.unit.options import CLOUDHSM
from tests.unit.options import KINDS
from tests.unit.options import OTHER_CLUSTER

MODEL = botocore.session.get_session().get_service_model("kms")
EVERYWHERE = (
    "AccessDeniedException",
    "DependencyTimeoutException",
    "ExpiredTokenException",
    "KMSInternalException",
    "ThrottlingException",
    "UnrecognizedClientException",
)
SEQUENCES: dict[str, tuple[str | None, dict[str, Any]]] = {
    "connect": ("DISCONNECTED", {"state": "connected"}),
    "disconnect": ("CONNECTED", {"state": "disconnected"}),
    "change": ("CONNECTED", {"state": "present", "cloud_hsm_cluster_id": OTHER_CLUSTER, "allow_disconnect": True}),
    "recover": ("FAILED", {"state": "connected"}),
    "create": (None, {**CLOUDHSM, "state": "connected"}),
    "delete": ("CONNECTED", {"state": "absent", "allow_disconnect": True}),
}
"""The state in which the store is found, and the task."""


LOCKOUTS = ("INVALID_CREDENTIALS", "USER_LOCKED_OUT", "USER_LOGGED_IN", "USER_NOT_FOUND")
NOT_FOUND = "CustomKeyStoreNotFoundException"
IN_OTHER_WORDS = ("There is no custom key store", "was still", "Somebody else keeps changing", "does not show it yet")


def exceptions(operation: str) -> list[str]:
    """The error codes that an operation may be answered with."""
    modelled = [shape.name for shape in MODEL.operation_model(operation).error_shapes]
    return sorted({*modelled, *EVERYWHERE})


def world(control: Control, state: str | None) -> World:
    made = World(control, directly=True)
    if state is not None:
        made.task({**CLOUDHSM, "state": "disconnected"}, Mishaps(), undisturbed=True)
        assert made.store_id is not None
        control.set_connection_state(made.store_id, state, "NETWORK_ERRORS" if state == "FAILED" else None)
        control.set_connect_outcomes(made.store_id, ["CONNECTED"] * 4)
    return made


def calls(control: Control, name: str) -> list[tuple[str, int]]:
    """The requests that a sequence makes, each with the number of those of its operation before it; a few looks of a wait."""
    state, options = SEQUENCES[name]
    run = world(control, state).task({"name": "payments", **options}, Mishaps(), undisturbed=True)
    operations = [request["operation"] for request in run.done.requests]
    numbered = [(operation, operations[:place].count(operation)) for place, operation in enumerate(operations)]
    return [call for call in numbered if call[1] < 4 or call == numbered[-1]]


CODES = [(store_type, code) for store_type, codes in ERROR_CODES.items() for code in sorted(codes)]


@pytest.mark.parametrize("found", [False, True], ids=["by this connect", "before"])
@pytest.mark.parametrize(("store_type", "code"), CODES)
def test_every_connection_error_code_both_ways(control: Control, store_type: StoreType, code: str, found: bool) -> None:
    """With cause and remedy; and tried once more only where that cannot lock kmsuser."""
    made = World(control, directly=True)
    kind = "cloudhsm" if store_type is StoreType.AWS_CLOUDHSM else "public"
    made.task({**KINDS[kind], "state": "disconnected"}, Mishaps(), undisturbed=True)
    assert made.store_id is not None
    control.set_connect_outcomes(made.store_id, [code] * 4)
    if found:
        control.set_connection_state(made.store_id, "FAILED", code)
    run = made.task({"name": "payments", "state": "connected"}, Mishaps(), undisturbed=False)
    error = run.done.result["connection_error"]
    assert error["code"] == code
    assert run.done.failed
    for text in (code, error["cause"], *error["remedy"]):
        assert text in run.done.message
    refused = found and kind == "cloudhsm" and code in LOCKOUTS
    once_more = ["DisconnectCustomKeyStore", "ConnectCustomKeyStore"] if found else ["ConnectCustomKeyStore"]
    assert run.done.applied == ([] if refused else once_more)
    for invariant in invariants.INVARIANTS:
        invariant(run)


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("times", [1, None], ids=["once", "for ever"])
@pytest.mark.long
def test_every_exception_at_every_call(control: Control, name: str, times: int | None) -> None:
    state, options = SEQUENCES[name]
    tried = 0
    for operation, skip in calls(control, name):
        for code in exceptions(operation):
            if code == NOT_FOUND and name == "delete":
                continue  # KMS is believed: there is nothing to delete
            fault = {"operation": operation, "error": code, "skip": skip, "times": times}
            made = world(control, state)
            task = {"name": "payments", "wait_timeout": 60, **options}
            run = made.task(task, Mishaps(faults=[fault]), undisturbed=False)
            tried += 1
            for invariant in invariants.INVARIANTS:
                try:
                    invariant(run)
                except AssertionError as error:
                    raise AssertionError(f"{invariant.__name__}: {fault}: {run.done.result}") from error
            if run.done.failed:
                assert run.done.message.endswith("."), run.done.message
                assert "Traceback" not in json.dumps(run.done.result, default=str)
                assert any(words in run.done.message for words in (code, *IN_OTHER_WORDS)), (
                    f"{fault}: {run.done.message}"
                )
    assert tried > 30
