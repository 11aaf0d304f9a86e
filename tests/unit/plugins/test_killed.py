# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process dies at each request of each sequence, and the same task is run again: it gets where the first would have got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms_stores import Kms
from tests.unit.harness import ModuleRunner
from tests.unit.options import CLOUDHSM
from tests.unit.options import OTHER_CLUSTER
from tests.unit.options import PASSWORD
from tests.unit.options import PUBLIC

OTHER_ENDPOINT = {"xks_proxy_configuration": {"uri_endpoint": "https://other.example.com"}}

SEQUENCES: dict[str, tuple[dict[str, Any] | None, str, dict[str, Any], str | None]] = {
    "change": (CLOUDHSM, "CONNECTED", {"cloud_hsm_cluster_id": OTHER_CLUSTER, "allow_disconnect": True}, "CONNECTED"),
    "change and connect": (
        PUBLIC,
        "CONNECTED",
        {"state": "connected", "allow_disconnect": True, **OTHER_ENDPOINT},
        "CONNECTED",
    ),
    "change the password": (
        CLOUDHSM,
        "CONNECTED",
        {"key_store_password": PASSWORD, "update_credentials": "always", "allow_disconnect": True},
        "CONNECTED",
    ),
    "recover": (CLOUDHSM, "FAILED", {"state": "connected"}, "CONNECTED"),
    "create": (None, "", {**CLOUDHSM, "state": "connected"}, "CONNECTED"),
    "delete": (CLOUDHSM, "CONNECTED", {"state": "absent", "allow_disconnect": True}, None),
    "disconnect": (CLOUDHSM, "CONNECTED", {"state": "disconnected"}, "DISCONNECTED"),
}
"""By name: the store before and its state, the task, and the state in the end."""

MOST_REQUESTS = 40
"""More than any of the sequences makes."""


class Killed(BaseException):
    """As with SIGKILL, nothing of the module's is run after this: it handles errors of its own kind only."""


def begin(run: ModuleRunner, name: str) -> None:
    """Put an empty KMS in the state before a sequence."""
    store, state, _task, _end = SEQUENCES[name]
    run.control.reset()
    run.control.freeze_clock()
    run.control.set_transitions(connect_seconds=10, disconnect_seconds=10)
    if store is None:
        return
    store_id = run(**store)["custom_key_store"]["custom_key_store_id"]
    run.control.set_connection_state(store_id, state, "NETWORK_ERRORS" if state == "FAILED" else None)
    run.control.set_connect_outcomes(store_id, ["CONNECTED"] * 3)  # whatever kmsuser's password is by now


def was_killed(run: ModuleRunner, number: int, *, applied: bool, task: dict[str, Any]) -> bool:
    """Run the task, and kill it at a request, before or after KMS has carried it out. False: there was no such request."""
    whole = Kms._call
    sent = 0

    def call(self: Kms, *arguments: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == number and not applied:
            raise Killed
        try:
            return whole(self, *arguments)
        finally:
            if sent == number:
                raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kms, "_call", call)
        try:
            run(**{"name": "payments", **task})
        except Killed:
            return True
    return False


def changed_by(store: dict[str, Any], task: dict[str, Any]) -> bool:
    """Has the store what the task asks for?"""
    proxy, asked = store.get("xks_proxy_configuration", {}), task.get("xks_proxy_configuration", {})
    cluster_id = store.get("cloud_hsm_cluster_id")
    return asked.items() <= proxy.items() and task.get("cloud_hsm_cluster_id", cluster_id) == cluster_id


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.long
def test_killed_at_each_request_and_run_again(
    run: ModuleRunner, run_info: ModuleRunner, home: Path, name: str, applied: bool
) -> None:
    _store, _state, task, end = SEQUENCES[name]
    tried = 0
    for number in range(1, MOST_REQUESTS + 1):
        begin(run, name)
        if not was_killed(run, number, applied=applied, task=task):
            break
        tried += 1
        again = run(**{"name": "payments", **task})
        assert "failed" not in again, (number, again)
        run.control.advance(60)  # a connect that the first has begun goes on by itself
        reached = run_info(name="payments")["custom_key_stores"]
        assert [store["connection_state"] for store in reached] == ([] if end is None else [end]), (number, again)
        for store in reached:
            assert changed_by(store, task), (number, store)
        assert list(home.glob("*/*/*")) == []
    assert 4 <= tried < MOST_REQUESTS


def test_a_note_is_reported_and_predicted_and_does_not_last(run: ModuleRunner, home: Path) -> None:
    begin(run, "change")
    task = {"name": "payments", **SEQUENCES["change"][2]}
    assert was_killed(run, 3, applied=True, task=task)
    (note,) = home.glob(".keyops-aws/interrupted/cks-*.json")
    predicted = run(check=True, **task)
    assert note.exists()
    result = run(**task)
    assert predicted["operations"] == result["operations"] == ["UpdateCustomKeyStore", "ConnectCustomKeyStore"]
    reported = json.dumps(result["warnings"])  # of any form that Ansible gives them
    assert " was disconnected at " in reported
    assert "by a task that was ended before it had connected it again. This one connects it." in reported
    assert run(**task)["changed"] is False
    assert list(home.glob("*/*/*")) == []


def test_a_note_of_the_day_before_means_nothing(run: ModuleRunner, home: Path) -> None:
    begin(run, "change")
    task = {"name": "payments", **SEQUENCES["change"][2]}
    assert was_killed(run, 3, applied=True, task=task)
    (note,) = home.glob(".keyops-aws/interrupted/cks-*.json")
    note.write_text(note.read_text().replace('"time": "20', '"time": "19'))
    assert run(**task)["custom_key_store"]["connection_state"] == "DISCONNECTED"


def test_who_asks_for_disconnected_is_not_reminded_later(run: ModuleRunner, home: Path) -> None:
    begin(run, "change")
    assert was_killed(run, 3, applied=True, task=SEQUENCES["change"][2])
    run(name="payments", state="disconnected")
    assert list(home.glob("*/*/*")) == []
    assert run(name="payments")["changed"] is False


def test_a_change_that_was_not_done_in_time_is_brought_to_its_end(run: ModuleRunner) -> None:
    begin(run, "change")
    run.control.set_transitions(disconnect_seconds=100)
    task = {"name": "payments", **SEQUENCES["change"][2]}
    first = run(**task, wait_timeout=5)
    assert "was still DISCONNECTING after 5 seconds" in first["msg"]
    assert run(**task)["custom_key_store"]["connection_state"] == "CONNECTED"


def test_a_store_that_somebody_else_disconnects_first_is_left_to_them(run: ModuleRunner, home: Path) -> None:
    """Else the lease that the task opened just before would have it bring back what somebody disconnected on purpose."""
    begin(run, "change")
    store_id = run(name="payments")["custom_key_store"]["custom_key_store_id"]
    run.control.add_intruder(
        "DisconnectCustomKeyStore", action="DisconnectCustomKeyStore", parameters={"CustomKeyStoreId": store_id}
    )
    result = run(**{"name": "payments", **SEQUENCES["change"][2]})
    assert result["operations"] == ["UpdateCustomKeyStore"]
    assert result["custom_key_store"]["connection_state"] == "DISCONNECTED"
    assert list(home.glob("*/*/*")) == []


def test_a_store_that_a_killed_task_disconnected_comes_back_though_kms_shows_it_late(
    run: ModuleRunner, home: Path
) -> None:
    """The next task takes it for CONNECTED, and KMS refuses a second disconnect: that was no act of somebody else."""
    begin(run, "change")
    task = {"name": "payments", **SEQUENCES["change"][2]}
    run.control.set_visibility_delay(10)
    assert was_killed(run, 3, applied=True, task=task)
    result = run(**task)
    assert result["operations"] == ["UpdateCustomKeyStore", "ConnectCustomKeyStore"]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    assert list(home.glob("*/*/*")) == []


@pytest.mark.parametrize(("found", "desired"), [("CONNECTED", "present"), ("DISCONNECTED", "connected")])
def test_a_note_is_not_spoken_of_where_it_decides_nothing(
    run: ModuleRunner, home: Path, warnings: list[str], found: str, desired: str
) -> None:
    """Somebody has connected the store since, or the task is to connect it anyway."""
    begin(run, "change")
    assert was_killed(run, 3, applied=True, task={"name": "payments", **SEQUENCES["change"][2]})
    store_id = run(name="payments", check=True)["custom_key_store"]["custom_key_store_id"]
    run.control.set_connection_state(store_id, found)
    warnings.clear()
    result = run(name="payments", state=desired)
    assert result["operations"] == ([] if found == "CONNECTED" else ["ConnectCustomKeyStore"])
    assert warnings == []
    assert "was disconnected at" not in json.dumps(result)
    assert list(home.glob("*/*/*")) == []


def test_a_lease_of_a_killed_task_outlives_a_disconnect_that_is_refused(run: ModuleRunner, home: Path) -> None:
    """Somebody else disconnects the FAILED store first. The store has to come back all the same, in the next run."""
    begin(run, "change")
    task = {"name": "payments", **SEQUENCES["change"][2]}
    assert was_killed(run, 3, applied=True, task=task)
    store_id = run(name="payments", check=True)["custom_key_store"]["custom_key_store_id"]
    run.control.set_connection_state(store_id, "FAILED", "NETWORK_ERRORS")
    run.control.add_intruder(
        "DisconnectCustomKeyStore",
        action="SetConnectionState",
        parameters={"CustomKeyStoreId": store_id, "ConnectionState": "DISCONNECTED"},
    )
    for operation in ("UpdateCustomKeyStore", "ConnectCustomKeyStore"):
        run.control.add_fault(operation, error="AccessDeniedException")
    assert run(**task)["operations"] == []
    assert len(list(home.glob("*/*/*"))) == 1
    assert run(**task)["custom_key_store"]["connection_state"] == "CONNECTED"
