# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that another process goes on with: what the first one has found out and done is neither asked nor done again."""

from __future__ import annotations

from types import ModuleType

import pytest

from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_stores
from kms_emulator import Control
from tests.unit.harness import InTwo
from tests.unit.harness import ModuleRunner
from tests.unit.harness import SimulatedTime
from tests.unit.options import CLOUDHSM
from tests.unit.options import OTHER_CLUSTER

DESCRIBE, CONNECT, DISCONNECT = "DescribeCustomKeyStores", "ConnectCustomKeyStore", "DisconnectCustomKeyStore"
UPDATE = "UpdateCustomKeyStore"


def in_two(control: Control, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> InTwo:
    control.freeze_clock()
    return InTwo(ModuleRunner(control, SimulatedTime(control), module), monkeypatch, module)


@pytest.mark.parametrize(
    ("state", "move", "end"), [("DISCONNECTED", CONNECT, "connected"), ("CONNECTED", DISCONNECT, "disconnected")]
)
def test_a_simple_move_is_begun_by_the_first_and_awaited_by_the_second(
    control: Control, monkeypatch: pytest.MonkeyPatch, state: str, move: str, end: str
) -> None:
    run = in_two(control, kms_custom_key_store, monkeypatch)
    control.set_transitions(connect_seconds=60, disconnect_seconds=60)
    control.create_store(custom_key_store_name="payments", connection_state=state)
    result = run(name="payments", state=end)
    assert run.first == [DESCRIBE, move, DESCRIBE]
    assert run.second == [DESCRIBE]
    assert result["operations"] == [move]
    assert result["connection_states"] == [state, "CONNECTING" if move == CONNECT else "DISCONNECTING", end.upper()]


def test_what_is_to_be_brought_back_is_not_begun_by_the_first(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process may be ended together with Ansible; the second one is not."""
    ModuleRunner(control, SimulatedTime(control))(**{**CLOUDHSM, "state": "connected"})
    run = in_two(control, kms_custom_key_store, monkeypatch)
    result = run(name="payments", cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert run.first == [DESCRIBE, DESCRIBE]  # the second at all stores: does another one have the cluster?
    assert run.second == [DISCONNECT, DESCRIBE, UPDATE, CONNECT, DESCRIBE]
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]


def test_two_requests_are_not_begun_by_the_first(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """It might be ended between the two."""
    run = in_two(control, kms_custom_key_store, monkeypatch)
    store_id = control.create_store(custom_key_store_name="payments")
    control.set_connection_state(store_id, "FAILED", "NETWORK_ERRORS")
    result = run(name="payments", state="connected")
    assert run.first == [DESCRIBE]
    assert run.second[0] == DISCONNECT
    assert result["operations"] == [DISCONNECT, CONNECT]


def test_a_request_that_is_throttled_at_first_is_made_by_the_second(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = in_two(control, kms_custom_key_store, monkeypatch)
    control.create_store(custom_key_store_name="payments")
    control.add_fault(CONNECT, error="ThrottlingException", times=1)
    result = run(name="payments", state="connected")
    assert run.first == [DESCRIBE, CONNECT]
    assert run.second == [CONNECT, DESCRIBE]
    assert result["operations"] == [CONNECT]


def test_several_stores_are_moved_by_the_second(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    run = in_two(control, kms_custom_key_stores, monkeypatch)
    for name in ("payments", "ledger"):
        control.create_store(custom_key_store_name=name)
    result = run(state="connected", stores=[{"name": "payments"}, {"name": "ledger"}])
    assert set(run.first) == {DESCRIBE}
    assert run.second[0] == CONNECT
    assert [store["connection_states"][0] for store in result["stores"]] == ["DISCONNECTED"] * 2
    assert [store["operations"] for store in result["stores"]] == [[CONNECT]] * 2
