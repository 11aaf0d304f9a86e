# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two windows at the same moment, over one store: none takes the store, or the lease, of the other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.group import StoreTask
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Keeper
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Reason
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Lease
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Leases
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import now
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import VARIABLE
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import Run
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import token_of
from kms_emulator import Control
from tests.unit.harness import ModuleRunner

BEGAN = "2026-01-31T22:00:00+00:00"
OWN, OTHER = str(token_of(os.getpid())), str(token_of(os.getppid()))
"""The tokens of two plays that are there."""


class Windows:
    """A store, the leases of its host, and AWS, for two windows."""

    def __init__(self, run: ModuleRunner, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.control = run, run.control
        self.leases = Leases(str(folder))
        self._patch = monkeypatch
        self._folder = folder
        monkeypatch.setenv(VARIABLE, OWN)

    def store(self, connection_state: str = "CONNECTED", *, name: str = "payments") -> str:
        return self.control.create_store(custom_key_store_name=name, connection_state=connection_state)

    def other_opens(self, store_id: str, **facts: Any) -> Lease:
        """Another window opens its lease on the host."""
        return self.leases.open(Lease(store_id, "payments", "CONNECTED", BEGAN, **{"run": OTHER, **facts}))

    def just_before(self, method: str, act: Callable[[], object], *, of: str = "") -> None:
        """Something happens just before the task does a part of its work, for a certain store or for any, once."""
        whole = getattr(StoreTask, method)
        todo = [act]

        def later(task: StoreTask, *args: Any, **options: Any) -> Any:
            while todo and (not of or (task.store is not None and task.store.id == of)):
                todo.pop()()
            return whole(task, *args, **options)

        self._patch.setattr(StoreTask, method, later)

    def task(self, state: str, **options: Any) -> dict[str, Any]:
        given = {"stores": [{"name": "payments"}], "memory": str(self._folder), **options}
        return self.run(state=state, **given)

    @property
    def changes(self) -> list[str]:
        return [call for call in self.run.calls if call != "DescribeCustomKeyStores" and "Key" in call]


@pytest.fixture
def windows(run_stores: ModuleRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Windows:
    return Windows(run_stores, tmp_path / "memory", monkeypatch)


# ---- on one host


def test_one_task_at_a_time_changes_a_lease(tmp_path: Path) -> None:
    """Each looks at the lease as the other has left it."""
    leases = Leases(str(tmp_path))
    ours, theirs = (Lease("cks-1", "payments", "CONNECTED", BEGAN, run=run) for run in (OWN, OTHER))
    has_begun, may_go_on = threading.Event(), threading.Event()
    seen: list[Lease | None] = []

    def slow(present: Lease | None) -> Lease:
        seen.append(present)
        has_begun.set()
        assert may_go_on.wait(10)
        return ours

    def quick(present: Lease | None) -> Lease:
        seen.append(present)
        return present or theirs

    first = threading.Thread(target=leases.change, args=("cks-1", slow))
    second = threading.Thread(target=Leases(str(tmp_path)).change, args=("cks-1", quick))
    first.start()
    assert has_begun.wait(10)
    second.start()
    second.join(0.2)
    assert second.is_alive()
    may_go_on.set()
    for each in (first, second):
        each.join(10)
    assert seen == [None, ours]
    assert leases.of("cks-1") == ours


def test_a_folder_that_cannot_be_locked_keeps_no_lease_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: int, _how: int) -> None:
        raise OSError

    monkeypatch.setattr("fcntl.flock", refuse)
    lease = Lease("cks-1", "payments", "CONNECTED", BEGAN)
    assert Leases(str(tmp_path)).change("cks-1", lambda _present: lease) == lease
    assert Leases(str(tmp_path)).of("cks-1") == lease


def test_a_window_that_begins_at_the_same_moment_keeps_its_store(windows: Windows) -> None:
    """The other one opens its lease between the look of this one and its own."""
    store_id, ledger = windows.store(), windows.store(name="ledger")
    windows.just_before("open_lease", lambda: windows.other_opens(store_id), of=store_id)
    result = windows.task("disconnected", stores=[{"name": "ledger"}, {"name": "payments"}])
    assert result["msg"] == (
        "1 of 2 custom key stores could not be disconnected. None of the stores was changed. payments in us-east-1: The custom"
        f' key store {store_id} ("payments") is in another maintenance window, which began at {BEGAN}. Wait for the end of its'
        " play, or end that play."
    )
    assert windows.changes == []
    assert windows.leases.of(store_id) == windows.other_opens(store_id)
    assert windows.leases.of(ledger) is None


def test_a_window_that_is_refused_leaves_the_lease_of_another(windows: Windows) -> None:
    """Its own lease was there, and another window took that over, before it was refused because of another store."""
    store_id, ledger = windows.store(), windows.store(name="ledger")
    windows.just_before("hold_back", lambda: windows.other_opens(store_id))
    windows.just_before("open_lease", lambda: windows.other_opens(ledger), of=ledger)
    result = windows.task("disconnected", stores=[{"name": "payments"}, {"name": "ledger"}])
    assert result["failed"] is True
    held = windows.leases.of(store_id)
    assert held is not None
    assert held.run == OTHER


def test_a_lease_that_another_window_has_opened_since_stays(windows: Windows) -> None:
    store_id = windows.store("DISCONNECTED")
    windows.just_before("_back_in_service", lambda: windows.other_opens(store_id))
    result = windows.task("connected", verify=True)
    assert result["stores"][0]["connection_states"][-1] == "CONNECTED"
    assert windows.leases.of(store_id) == windows.other_opens(store_id)
    assert result["stores"][0]["verified"] is False  # the store may be out of service by now
    assert "GenerateRandom" not in windows.run.calls


@pytest.mark.parametrize(
    "facts", [{"run": ""}, {"run": "1:2:3"}, {"connecting": True}], ids=["unseen", "ended", "connects it"]
)
def test_a_lease_that_nobody_works_with_is_ended(windows: Windows, facts: dict[str, Any]) -> None:
    store_id = windows.store("DISCONNECTED")
    windows.just_before("_back_in_service", lambda: windows.other_opens(store_id, **facts))
    assert windows.task("connected")["changed"] is True
    assert windows.leases.of(store_id) is None


def test_a_window_that_is_about_to_disconnect_keeps_its_lease(windows: Windows) -> None:
    """A task finds the store CONNECTED, with the lease of a window that was lost; that window makes way for another one."""
    store_id = windows.store()
    windows.other_opens(store_id, run="1:2:3")
    windows.just_before("begin", lambda: windows.other_opens(store_id))
    result = windows.task("connected")
    assert result["changed"] is False
    assert windows.leases.of(store_id) == windows.other_opens(store_id)


def test_whoever_connects_a_store_says_so_in_the_lease(windows: Windows) -> None:
    """Then no other window takes the store meanwhile, and whoever is done first ends the lease."""
    store_id = windows.store("DISCONNECTED")
    windows.other_opens(store_id, run="1:2:3", holder="its keeper", until=BEGAN)
    seen: list[Lease | None] = []
    windows.just_before("run", lambda: seen.append(windows.leases.of(store_id)))
    assert windows.task("connected")["changed"] is True
    (lease,) = seen
    assert lease is not None
    assert (lease.run, lease.holder, lease.until, lease.connecting) == (OWN, "", None, True)
    assert windows.leases.of(store_id) is None


LEFT = "is in another maintenance window, which began at {began}. This task left it as it is. That window connects it at its end."


@pytest.mark.parametrize("late", [False, True], ids=["before", "since the look"])
def test_a_store_that_a_window_works_on_is_left_to_it_where_the_task_says_so(windows: Windows, late: bool) -> None:
    store_id = windows.store("DISCONNECTED")
    if late:
        windows.just_before("begin", lambda: windows.other_opens(store_id))
    else:
        windows.other_opens(store_id)
    result = windows.task("connected", even_in_use=False)
    assert result["failed"] is True
    assert result["msg"].endswith(f'The custom key store {store_id} ("payments") {LEFT.format(began=BEGAN)}')
    assert windows.changes == []
    assert windows.leases.of(store_id) == windows.other_opens(store_id)


@pytest.mark.parametrize("options", [{}, {"even_in_use": True}], ids=["not said", "said"])
def test_a_store_that_a_window_works_on_is_connected_for_who_asks_for_it(
    windows: Windows, options: dict[str, Any]
) -> None:
    store_id = windows.store("DISCONNECTED")
    windows.other_opens(store_id)
    assert windows.task("connected", **options)["changed"] is True
    assert windows.leases.of(store_id) is None


@pytest.mark.parametrize("facts", [{"run": OWN}, {"connecting": True}], ids=["its own", "which is over"])
def test_a_window_brings_its_own_store_back(windows: Windows, facts: dict[str, Any]) -> None:
    store_id = windows.store("DISCONNECTED")
    windows.other_opens(store_id, **facts)
    assert windows.task("connected", even_in_use=False)["changed"] is True


def test_a_keeper_leaves_a_store_to_the_window_that_has_it_by_now(tmp_path: Path) -> None:
    """Even at the end of its play: it looks once more before it acts."""
    leases = Leases(str(tmp_path))
    lease = leases.open(Lease("cks-1", "payments", "CONNECTED", BEGAN, holder="ours"))
    end = tmp_path / "end"
    end.touch()
    keeper = Keeper(
        Run(None),
        now(),
        str(end),
        "ours",
        leases,
        {"cks-1": lease, "cks-2": replace(lease, custom_key_store_id="cks-2")},
    )
    leases.open(replace(lease, holder="another"))
    assert keeper.wait() is Reason.ASKED
    assert list(keeper.stores) == ["cks-2"]
    leases.open(replace(lease, custom_key_store_id="cks-2", holder="another"))
    assert keeper.wait() is Reason.LEFT


# ---- leases in AWS


@pytest.fixture
def in_aws(windows: Windows) -> dict[str, Any]:
    """The options of a window whose lease is kept in AWS."""
    return {"lease_role_arn": windows.control.create_schedule_role(), "lease_minutes": 30, "keeper": False}


def delete_schedule(control: Control) -> None:
    (schedule,) = control.schedules()
    boto3.client("scheduler", region_name="us-east-1").delete_schedule(Name=schedule["name"])


def lease_is_over(control: Control) -> None:
    control.advance(31 * 60)


@pytest.mark.parametrize("lost", [delete_schedule, lease_is_over])
def test_without_its_lease_in_aws_a_window_disconnects_nothing(
    windows: Windows, in_aws: dict[str, Any], lost: Callable[[Control], None]
) -> None:
    """The lease was there, and is not any more when the store is to be disconnected."""
    store_id = windows.store()
    windows.just_before("run", lambda: lost(windows.control))
    result = windows.task("disconnected", **in_aws)
    assert result["msg"].endswith(
        f"The lease in AWS of this window, the schedule keyops-aws-{store_id}, has ended or belongs to another window."
        " Therefore, this task does not disconnect the key store. Run the window again."
    )
    assert windows.changes == []


def test_a_lease_in_aws_of_a_window_that_has_disconnected_the_store_since_stays(
    windows: Windows, in_aws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store_id = windows.store("DISCONNECTED")
    opened: list[dict[str, Any]] = []

    def another_window() -> None:
        with monkeypatch.context() as patch:
            patch.setenv(VARIABLE, OTHER)
            opened.append(windows.task("disconnected", memory=None, **in_aws))

    windows.just_before("_end_in_aws", another_window)
    result = windows.task("connected", leases_in_aws=True)
    assert opened[0]["stores"][0]["connection_states"][-1] == "DISCONNECTED"
    assert not result.get("failed")
    (schedule,) = windows.control.schedules()
    assert store_id in schedule["name"]


@pytest.mark.parametrize("outcome", ["INTERNAL_ERROR", None], ids=["fails", "succeeds"])
def test_a_lease_in_aws_that_stays_is_reported(windows: Windows, in_aws: dict[str, Any], outcome: str | None) -> None:
    """Whoever leaves the store as it is now must know that AWS connects it later."""
    store_id = windows.store()
    windows.task("disconnected", **in_aws)
    if outcome is not None:
        windows.control.set_connect_outcomes(store_id, [outcome] * 5)
    (store,) = windows.task("connected", leases_in_aws=True)["stores"]
    assert store["failed"] is (outcome is not None)
    assert store["lease_report"] == (
        f"If it has a lease in AWS, the schedule keyops-aws-{store_id}, that lease is still there: AWS connects the store at its"
        " end."
        if outcome is not None
        else None
    )
    assert bool(windows.control.schedules()) is (outcome is not None)
