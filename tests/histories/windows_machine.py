# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes histories of maintenance windows up: how they end, who else acts, and what fails; and ends them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize
from hypothesis.stateful import rule

from tests.histories.machine import SPOILT
from tests.histories.machine import Machine as Making
from tests.histories.windows_clients import SCHEDULER_OPERATIONS
from tests.histories.windows_invariants import WINDOW_INVARIANTS
from tests.histories.windows_invariants import no_schedule_is_left
from tests.histories.windows_invariants import nothing_is_left_to_do
from tests.histories.windows_play import Play
from tests.histories.windows_world import CANARY
from tests.histories.windows_world import CONNECT
from tests.histories.windows_world import DISCONNECT
from tests.histories.windows_world import WindowWorld

DAY = 86400.0
LONGEST = 10 * DAY
"""Seconds after which whatever is still there stays for ever."""

TYPES = ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")
STATES = ("CONNECTED", "CONNECTED", "CONNECTED", "CONNECTED", "CONNECTING", "DISCONNECTED", "DISCONNECTING", "FAILED")
KILLS = ("play", "play", "both", "both", "keeper", "machine", "reboot", "term")
ACTS = ("connects", "disconnects", "deletes", "renames", "deletes the schedule", "breaks the role")
REQUESTS = ("DescribeCustomKeyStores", CONNECT, DISCONNECT, *SCHEDULER_OPERATIONS)
OPERATIONS = ("DescribeCustomKeyStores", CONNECT, DISCONNECT, "GenerateRandom", *SCHEDULER_OPERATIONS)

FAULTS = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(OPERATIONS),
        "skip": st.sampled_from([0, 0, 1, 3]),
        "times": st.sampled_from([1, 1, 2, 4, 50]),
    }
).flatmap(lambda fault: st.sampled_from([{**fault, **how} for how in SPOILT]))
WHICH = st.integers(0, 2)
MACHINES = st.sampled_from([0, 0, 0, 1, 1, 2])
WINDOWS = st.fixed_dictionaries(
    {
        "machine": MACHINES,
        "stores": st.lists(WHICH, min_size=1, max_size=3, unique=True),
        "by_id": st.booleans(),
        "keeper": st.sampled_from([True, True, True, False]),
        "in_aws": st.sampled_from(["all", "all", "all", "some", "none"]),
        "lease_minutes": st.sampled_from([5, 5, 15, 60, 240]),
        "verify": st.booleans(),
        "wait_timeout": st.sampled_from([1800, 1800, 1800, 60, 5]),
        "work": st.sampled_from([0.0, 30.0, 200.0, 400.0, 1000.0, 4000.0]),
        "work_fails": st.booleans(),
        "is_local": st.sampled_from([True, True, False]),
        "in_background": st.sampled_from([True] * 7 + [False]),
        "killed_at": st.sampled_from([0, 0, 0, *range(1, 40)]),
        "killed_after": st.booleans(),
        "dies": st.sampled_from(KILLS),
    }
)
PAUSES = st.sampled_from([0.0, 0.3, 2.0, 6.0, 20.0, 70.0, 250.0, 310.0, 1000.0, 4000.0])


class WindowHistories(Making):
    """Stores, machines, windows on them, and what must hold when all is over."""

    @initialize(
        stores=st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from(STATES)), min_size=1, max_size=3),
        clock_errors=st.lists(st.sampled_from([0, 0, 600, -600, 47, -13]), min_size=3, max_size=3),
        offset=st.sampled_from([0, 1, 30, 59]),
        on_purpose=st.booleans(),
        connect_seconds=st.sampled_from([4, 4, 20, 300]),
        disconnect_seconds=st.sampled_from([3, 3, 30]),
        first=WINDOWS,
    )
    def begin(
        self,
        stores: list[tuple[str, str]],
        clock_errors: list[float],
        offset: float,
        on_purpose: bool,
        connect_seconds: float,
        disconnect_seconds: float,
        first: dict[str, Any],
    ) -> None:
        """An account, its stores, and a window."""
        self.tally.histories += 1
        self.has_failed = False
        self.on_purpose = on_purpose
        self.world = WindowWorld(self.control, offset=offset, clock_errors=clock_errors)
        self.control.set_transitions(connect_seconds=connect_seconds, disconnect_seconds=disconnect_seconds)
        for number, (store_type, state) in enumerate(stores):
            code = "INTERNAL_ERROR" if store_type == TYPES[0] else "XKS_PROXY_TIMED_OUT"
            self.world.stores.append(
                self.control.create_store(
                    custom_key_store_name=f"store-{number}",
                    custom_key_store_type=store_type,
                    connection_state=state,
                    connection_error_code=code if state == "FAILED" else None,
                )
            )
        self._window(first, 0.0)

    def _run(self, seconds: float) -> None:
        try:
            self.world.sim.run(seconds)
        except BaseException:
            self.has_failed = True
            raise

    def _stores(self, numbers: list[int], *, by_id: bool) -> list[dict[str, Any]]:
        reached = {"access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": CANARY}
        chosen = dict.fromkeys(number % len(self.world.stores) for number in numbers)
        return [
            {**({"id": self.world.stores[number]} if by_id else {"name": f"store-{number}"}), **reached}
            for number in chosen
        ]

    def _one(self, number: int) -> str:
        return self.world.stores[number % len(self.world.stores)]

    def _start(self, kind: str, machine: int, options: dict[str, Any], **more: Any) -> Play:
        on = self.world.machines[machine]
        if "memory" not in options:
            options["memory"] = on.memory
        play = Play(kind, on, options, self.world.hosts, **more)
        self.world.start(play)
        return play

    # ---- windows, and those who bring stores back

    @rule(window=WINDOWS, pause=PAUSES)
    def a_window(self, window: dict[str, Any], pause: float) -> None:
        self._window(window, pause)

    def _window(self, window: dict[str, Any], pause: float) -> None:
        options = {
            "stores": self._stores(window["stores"], by_id=window["by_id"]),
            "min_active_hsms": 0,
            "predict_connect": False,
            **{name: window[name] for name in ("keeper", "lease_minutes", "verify", "wait_timeout")},
        }
        if window["in_aws"] == "all":
            options["lease_role_arn"] = self.world.role_arn
        elif window["in_aws"] == "some":
            options["stores"][0]["lease_role_arn"] = self.world.role_arn
        same = ("work", "work_fails", "is_local", "in_background", "killed_at", "killed_after", "dies")
        self._start("window", window["machine"], options, **{name: window[name] for name in same})
        self._run(pause)

    @rule(machine=MACHINES, window=WINDOWS, pause=PAUSES)
    def a_reconnect_by_tags(self, machine: int, window: dict[str, Any], pause: float) -> None:
        options = {
            "stores": self._stores(window["stores"], by_id=window["by_id"]),
            "min_active_hsms": 0,
            "predict_connect": False,
            "verify": window["verify"],
        }
        if window["in_aws"] != "none":
            options["lease_role_arn"] = self.world.role_arn
        self._start("tags", machine, options, is_local=window["is_local"])
        self._run(pause)

    @rule(machine=MACHINES, in_aws=st.booleans(), even_in_use=st.booleans(), pause=PAUSES)
    def a_reconnect_of_all(self, machine: int, in_aws: bool, even_in_use: bool, pause: float) -> None:
        self._leased(machine, in_aws=in_aws, even_in_use=even_in_use)
        self._run(pause)

    def _leased(self, machine: int, *, in_aws: bool, even_in_use: bool) -> Play:
        options = {
            "state": "connected",
            "leased": True,
            "leases_in_aws": in_aws,
            "even_in_use": even_in_use,
            "verify": True,
        }
        return self._start("leased", machine, options)

    @rule(machine=MACHINES, which=WHICH, minutes=st.sampled_from([1, 10, 60]), in_aws=st.booleans())
    def a_lease_is_extended(self, machine: int, which: int, minutes: int, in_aws: bool) -> None:
        options = {
            "state": "disconnected",
            "stores": self._stores([which], by_id=True),
            "extend_lease": True,
            "lease_minutes": minutes,
            "leases_in_aws": in_aws,
        }
        self._start("extend", machine, options)
        self._run(2.0)

    @rule(machine=MACHINES, which=WHICH, state=st.sampled_from(["connected", "disconnected"]), pause=PAUSES)
    def a_task_of_its_own(self, machine: int, which: int, state: str, pause: float) -> None:
        """Which knows nothing of leases."""
        options = {"state": state, "stores": self._stores([which], by_id=True), "memory": None}
        self._start("task", machine, options)
        self._run(pause)

    # ---- what happens to them

    @rule(seconds=PAUSES)
    def time_passes(self, seconds: float) -> None:
        self._run(seconds)

    @rule(what=st.sampled_from(KILLS), which=st.integers(0, 3), pause=PAUSES)
    def something_dies(self, what: str, which: int, pause: float) -> None:
        windows = [play for play in self.world.plays if play.is_alive or play.has_keeper]
        if windows:
            self.world.kill(windows[which % len(windows)], what)
        self._run(pause)

    @rule(act=st.sampled_from(ACTS), which=WHICH, pause=PAUSES)
    def somebody_else_acts(self, act: str, which: int, pause: float) -> None:
        self.world.somebody(act, self._one(which))
        self._run(pause)

    @rule(
        act=st.sampled_from(ACTS),
        which=WHICH,
        operation=st.sampled_from(REQUESTS),
        skip=st.sampled_from([0, 0, 1, 2, 5]),
    )
    def somebody_else_acts_before_a_request(self, act: str, which: int, operation: str, skip: int) -> None:
        self.world.acts.append({"operation": operation, "skip": skip, "act": act, "store_id": self._one(which)})

    @rule(faults=st.lists(FAULTS, min_size=1, max_size=3))
    def something_will_fail(self, faults: list[dict[str, Any]]) -> None:
        for fault in faults:
            self.control.add_fault(**fault)

    @rule(how=st.sampled_from([{"late_seconds": 90.0}, {"late_seconds": 4000.0}, {"twice": True}, {"never": True}]))
    def aws_delivers_otherwise(self, how: dict[str, Any]) -> None:
        self.world.deliver(how)

    @rule(which=WHICH, ends=st.sampled_from([["FAILED"], ["CONNECTED", "FAILED"], ["NEVER"]]))
    def a_connect_will_fail(self, which: int, ends: list[str]) -> None:
        store_id = self._one(which)
        if store_id in self.world.backend.custom_key_stores:
            kind = self.world.backend.custom_key_stores[store_id].custom_key_store_type
            code = "INTERNAL_ERROR" if kind == TYPES[0] else "XKS_PROXY_TIMED_OUT"
            self.control.set_connect_outcomes(store_id, [code if end == "FAILED" else end for end in ends])

    # ---- the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if not self.has_failed:
                self._end()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.world.timeline()}") from error
        finally:
            self.world.close()

    def _end(self) -> None:
        world = self.world
        world.sim.run_until_idle(LONGEST)
        world.nothing_goes_wrong_any_more()
        no_schedule_is_left(world)
        left_alone = self._disconnect_on_purpose() if self.on_purpose else []
        world.sim.run(2 * DAY)
        for invariant in WINDOW_INVARIANTS:
            invariant(world)
        for store_id in left_alone:
            assert world.state(store_id) == "DISCONNECTED", ("4: a store that was disconnected on purpose", store_id)
        for number in range(len(world.machines)):
            once, again = (self._leased_to_the_end(number) for _time in range(2))
            nothing_is_left_to_do(once, again, world)
        for invariant in WINDOW_INVARIANTS:
            invariant(world)
        self.tally.checked += world.record.each_window_is_a_path()
        self._count(2 * len(WINDOW_INVARIANTS) + 2)

    def _disconnect_on_purpose(self) -> list[str]:
        """All that are in service and have no schedule, as one that was ended by force may have left."""
        in_service = [each for each in self.world.stores if self.world.state(each) == "CONNECTED"]
        found = [each for each in in_service if self.world.due(each) is None]
        for store_id in found:
            self.world.somebody("disconnects", store_id)
        return found

    def _leased_to_the_end(self, machine: int) -> Play:
        play = self._leased(machine, in_aws=True, even_in_use=True)
        self.world.sim.run_until_idle(LONGEST)
        self.world.sim.run(400.0)
        return play

    def _count(self, checked: int) -> None:
        world, tally = self.world, self.tally
        tally.tasks += len(world.plays)
        tally.requests += world.request_count
        tally.checked += checked
        for play in world.plays:
            tally.ends[f"{play.kind}: {_ended(play)}"] += 1
        for what in [*world.happened, *(f"somebody else {act}" for act in world.acted)]:
            tally.mishaps[what] += 1
        for outcome in world.outcomes:
            if outcome != "ok":
                tally.mishaps[outcome] += 1


def _ended(play: Play) -> str:
    if play.process.was_killed:
        return f"killed during {play.steps[-1] if play.steps else 'its begin'}"
    if play.refused_lease:
        return "no lease"
    failed = [step for _when, step, result in play.results if result.get("failed")]
    return f"failed: {failed[0]}" if failed else "succeeded"
