# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS, EventBridge Scheduler, machines, and the plays on them; and what was done to each store, by whom."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from moto.core.exceptions import JsonRESTError
from moto.moto_api._internal import mock_random

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import schedule_name
from kms_emulator import Control
from kms_emulator.injections import Injections
from kms_emulator.models import backends
from tests.histories.windows_clients import Denied
from tests.histories.windows_clients import WatchedKms
from tests.histories.windows_clients import WatchedScheduler
from tests.histories.windows_host import Hosts
from tests.histories.windows_host import Machine
from tests.histories.windows_host import Result
from tests.histories.windows_path import Record
from tests.histories.windows_play import Hold
from tests.histories.windows_play import Play
from tests.histories.windows_time import Killed
from tests.histories.windows_time import Simulation
from tests.histories.windows_watch import watching
from tests.unit.harness import CREDENTIALS

EPOCH = 1767225600.0
"""When each history begins, but for some seconds."""

LATENCY = 0.05
"""Seconds that a request takes, in which others may come first."""

CONNECT, DISCONNECT, DELETE = "ConnectCustomKeyStore", "DisconnectCustomKeyStore", "DeleteCustomKeyStore"
IN_SERVICE = ("CONNECTED", "CONNECTING")
CANARY = "wJalrXUtnFEMIcanary"
"""The secret of each store's connection options."""

RENEWED_SECONDS = 240.0
"""A lease that was renewed less than this ago is that of a living window, whatever request is under way."""


@dataclass(frozen=True)
class Change:
    """What was done to a store.

    Attributes:
        when: in seconds.
        store_id: which.
        operation: of KMS.
        before: the state that it was in.
        by: C(window), C(keeper), C(tags), C(leased), C(task), C(somebody).
        play: whose it was; None for somebody else.
    """

    when: float
    store_id: str
    operation: str
    before: str
    by: str
    play: Play | None = None


class WindowWorld:
    """All of a history.

    Args:
        control: steers the emulator.
        offset: seconds after a full minute at which it begins.
        clock_errors: of the machines.
    """

    def __init__(self, control: Control, *, offset: float, clock_errors: list[float]) -> None:
        self.control = control
        control.reset()
        mock_random.seed(1)
        with mock.patch("kms_emulator.clock.time") as host:
            host.time.return_value, host.clock_gettime.return_value = EPOCH + offset, 0.0
            control.freeze_clock()
        self.backend = backends()["123456789012"][CREDENTIALS["region"]]
        self.role_arn = control.create_schedule_role()
        self._begin = EPOCH + offset
        self.sim = Simulation(self.control.advance)
        self.hosts = Hosts(self.sim, self.backend.clock.date, self._client, self._logged, self._crashed)
        self._folder = tempfile.TemporaryDirectory(prefix="keyops-windows-", dir=_memory())
        self.machines = [
            Machine(f"host{number}", os.path.join(self._folder.name, str(number)), error)
            for number, error in enumerate(clock_errors)
        ]
        for machine in self.machines:
            machine.loses_its_disk()
        self.stores: list[str] = []
        self.plays: list[Play] = []
        self.changes: list[Change] = []
        self.violations: list[str] = []
        self.logs: list[tuple[float, str]] = []
        self.writers: dict[str, tuple[float, Play]] = {}
        self.sabotage: list[tuple[float, str, str]] = []
        self.acts: list[dict[str, Any]] = []
        self.acted: list[str] = []
        self.happened: list[str] = []
        self.leases: list[tuple[float, str, Play]] = []
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self.hosts.in_place())
        self._stack.enter_context(watching(self))
        self.record = Record(self)
        self._stack.enter_context(self.record.going_on())

    def close(self) -> None:
        """Leave nothing behind."""
        self.sim.close()
        self._stack.close()
        self._folder.cleanup()

    # ---- what there is

    @property
    def request_count(self) -> int:
        return self.backend.journal.count

    @property
    def outcomes(self) -> list[str]:
        """Of all requests."""
        return [str(record["outcome"]) for record in self.backend.journal._records]

    def state(self, store_id: str) -> str | None:
        """The connection state that a store is in; None where there is no such store."""
        with self.backend.lock:
            store = self.backend.custom_key_stores.get(store_id)
            return None if store is None else store.connection.status.value

    def due(self, store_id: str) -> float | None:
        """When the lease of a store in AWS ends, in seconds of this history; None where it has none."""
        for schedule in self.control._scheduler.all_schedules():
            if schedule.name == schedule_name(store_id) and schedule.due_at is not None:
                return schedule.due_at - self._begin
        return None

    def has_lease_on(self, machine: Machine, store_id: str) -> bool:
        return os.path.exists(os.path.join(machine.memory, f"{store_id}.json"))

    def timeline(self) -> str:
        """All that has happened, in order, to read after a failure."""
        lines = [
            (change.when, f"{change.by} ({change.play}): {change.operation} of {change.store_id}, {change.before}")
            for change in self.changes
        ]
        lines += [(when, f"log: {line}") for when, line in self.logs]
        lines += [(when, f"{what} {which}") for when, which, what in self.sabotage]
        lines += [(run["time"] - self._begin, f"AWS: {run}") for run in self.control.schedule_runs()]
        for record in self.backend.journal._records:
            if not record["operation"].startswith(("Describe", "List")):
                what = f"    {record['operation']}: {record['outcome']}, applied: {record['applied']}"
                lines.append((record["time"] - self._begin, what))
        for play in self.plays:
            lines += [(when, f"{play}, {step}: {result}") for when, step, result in play.results]
        lines += [(when, f"LEASE of {store_id}: {play}") for when, store_id, play in self.leases]
        options = [f"{play}: {_short(play.options)}, local: {play.is_local}, {play.steps}" for play in self.plays]
        return "\n".join(
            [*options, *(f"{when:10.2f} {line}" for when, line in sorted(lines, key=lambda each: each[0]))]
        )

    def runs(self, store_id: str) -> list[float]:
        """When AWS has connected a store."""
        name = schedule_name(store_id)
        log = self.control._scheduler.runs.log
        return [run["time"] - self._begin for run in log if run["name"] == name and run["outcome"] == "ok"]

    def _client(self, service: str) -> Any:
        made = {"kms": WatchedKms, "scheduler": WatchedScheduler}.get(service)
        return Denied() if made is None else made(self.backend, self)

    def _logged(self, line: str) -> None:
        self.logs.append((self.sim.now, line))

    def _crashed(self, error: str) -> None:
        self.violations.append(f"a process crashed: {error}")

    # ---- requests

    def request(self, operation: str, carry_out: Callable[[], Result]) -> Result:
        play: Play = self.sim.process.owner
        self.sim.sleep(LATENCY)
        play.requests += 1
        dies = play.requests == play.killed_at
        if dies and not play.killed_after:
            self._die(play)
        for act in [each for each in self.acts if each["operation"] == operation]:
            act["skip"] -= 1
            if act["skip"] < 0:
                self.acts.remove(act)
                self.somebody(act["act"], act["store_id"])
        try:
            return carry_out()
        finally:
            if dies:
                self._die(play)

    def _die(self, play: Play) -> None:
        self.kill(play, play.dies)
        if not self.sim.process.is_alive:
            raise Killed

    def changing(self, operation: str, members: Result) -> Callable[[], None]:
        process = self.sim.process
        play: Play = process.owner
        store_id = str(members.get("CustomKeyStoreId"))
        before = str(self.state(store_id))
        by = "keeper" if process in play.keeping else play.kind

        def done() -> None:
            self.record.requested(play, operation, members, before)
            if operation in (CONNECT, DISCONNECT, DELETE):
                self.changes.append(Change(self.sim.now, store_id, operation, before, by, play))
            if operation in ("CreateSchedule", "UpdateSchedule") and play.kind == "window":
                self.writers[members["Name"]] = (self.sim.now, play)

        return done

    # ---- what happens

    def start(self, play: Play) -> None:
        """Let a play begin."""
        play.process = play.machine.process(play, "play")
        play.began = self.sim.now
        of_aws = play.options.get("leases_in_aws") or play.options.get("lease_role_arn")
        play.could_see = frozenset(
            store_id
            for store_id in self.stores
            if self.has_lease_on(play.machine, store_id) or (of_aws and self.due(store_id) is not None)
        )
        work = {"window": play.run_window, "tags": play.run_tags}.get(play.kind, play.run_task)
        self.plays.append(play)
        self.sim.start(play.process, work)

    def kill(self, play: Play, what: str) -> None:
        """End C(play), C(keeper), C(both), C(machine) with its disk or C(reboot) by force; C(term) asks the keeper to end."""
        with self.record.killing(play, what):
            self._kill(play, what)

    def _kill(self, play: Play, what: str) -> None:
        self.happened.append(f"killed: {what}")
        self.sabotage.append((self.sim.now, "nothing of AWS", f"killed {what} of {play}"))
        machine = play.machine
        doomed = {"play": [play.process], "keeper": play.jobs, "both": [play.process, *play.jobs], "term": []}.get(what)
        if what == "term":
            for job in play.jobs:
                if job.keeper is not None:
                    job.keeper.ended = True
        for process in machine.processes if doomed is None else doomed:
            self.sim.kill(process)
        if doomed is None:
            machine.boots += 1
            machine.processes = []
        if what == "machine":
            machine.loses_its_disk()

    def somebody(self, act: str, store_id: str) -> None:
        """Somebody else does something, who knows nothing of windows."""
        self.record.note(None, act, store_id)
        with contextlib.suppress(JsonRESTError):
            self._act(act, store_id)
            self.acted.append(act)

    def _act(self, act: str, store_id: str) -> None:
        operations = {"connects": CONNECT, "disconnects": DISCONNECT, "deletes": DELETE}
        with self.backend.lock:
            if act in operations:
                before, members = str(self.state(store_id)), {"CustomKeyStoreId": store_id}
                {
                    "connects": self.backend.connect_custom_key_store,
                    "disconnects": self.backend.disconnect_custom_key_store,
                    "deletes": self.backend.delete_custom_key_store,
                }[act](members)
                self.changes.append(Change(self.sim.now, store_id, operations[act], before, "somebody"))
            elif act == "renames":
                name = f"renamed-{len(self.acted)}"
                self.backend.update_custom_key_store({"CustomKeyStoreId": store_id, "NewCustomKeyStoreName": name})
            elif act == "deletes the schedule":
                self.control._scheduler.delete_schedule({"Name": schedule_name(store_id)})
                self.sabotage.append((self.sim.now, store_id, act))
            elif act == "breaks the role":
                self.control.create_schedule_role(actions=[])
                self.sabotage.append((self.sim.now, "", act))

    def deliver(self, how: Result) -> None:
        """From now on, AWS delivers schedules so."""
        self.control.set_schedule_delivery("", **how)
        if how.get("never"):
            self.sabotage.append((self.sim.now, "", "never delivers"))

    def nothing_goes_wrong_any_more(self) -> None:
        """But what has gone wrong stays so."""
        self.acts.clear()
        self.backend.injections = Injections()

    # ---- who has which store

    def holder(self, store_id: str, asker: Play, *, in_aws: bool, leaves_alone: bool = False) -> Play | None:
        """The window that is alive and has a store, as the asker must see; None where there is none, or it cannot be seen."""
        for play in self.plays:
            hold = play.holds.get(store_id)
            if play is asker or hold is None:
                continue
            if self._is_kept_on_host(play, hold, asker, leaves_alone) or (
                in_aws and self._is_in_aws(play, store_id, hold, asker)
            ):
                return play
        return None

    def _is_kept_on_host(self, play: Play, hold: Hold, asker: Play, leaves_alone: bool) -> bool:
        if asker.machine is not play.machine:
            return False
        if play.is_local:
            return play.is_alive
        is_over = self.sim.now >= hold.since + 60 * play.options["lease_minutes"] - 60
        keeps = play.options["keeper"] and play.has_keeper
        return leaves_alone and keeps and not is_over and not self._was_extended(play)

    def _was_extended(self, play: Play) -> bool:
        return any(each.options.get("extend_lease") for each in self.plays)

    def _is_in_aws(self, play: Play, store_id: str, hold: Hold, asker: Play) -> bool:
        due = self.due(store_id)
        when, writer = self.writers.get(schedule_name(store_id), (0.0, None))
        if not hold.in_aws or due is None or due <= self.sim.now or writer is not play:
            return False
        if play.is_local and play.machine is asker.machine:
            return play.is_alive
        if play.options["keeper"]:
            return play.has_keeper and self.sim.now - when < RENEWED_SECONDS
        return play.is_alive


def _short(options: Result) -> Result:
    """Without what is the same in all."""
    left = ("access_key", "secret_key", "min_active_hsms", "predict_connect")
    stores = [{name: each[name] for name in each if name not in left} for each in options.get("stores") or []]
    return {**{name: options[name] for name in options if name not in left}, "stores": stores}


def _memory() -> str | None:
    """A folder that is no disk, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
