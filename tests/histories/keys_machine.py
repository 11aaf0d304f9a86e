# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes histories of keys up: stores of both types, aliases in them, and tasks with mishaps over months."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize
from hypothesis.stateful import rule

from tests.histories.direct import KEY_OPERATIONS
from tests.histories.keys_invariants import KEY_INVARIANTS
from tests.histories.keys_world import ACTS
from tests.histories.keys_world import KeyMishaps
from tests.histories.keys_world import KeyWorld
from tests.histories.machine import SPOILT
from tests.histories.machine import Machine
from tests.histories.world import LATER

HSM, EXTERNAL = "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"
NAMES = {HSM: "payments", EXTERNAL: "invoices"}
ALIASES = {HSM: ("payments", "cards"), EXTERNAL: ("invoices", "orders")}
XKS_KEYS = ("one", "two", "three")
DAY = 86400.0

OPERATIONS = ["DescribeCustomKeyStores", *KEY_OPERATIONS]

FAULTS = st.fixed_dictionaries(
    {
        "operation": st.sampled_from([*OPERATIONS, "CreateKey", "CreateAlias", "UpdateAlias"]),
        "skip": st.sampled_from([0, 0, 1, 3]),
        "times": st.sampled_from([1, 1, 2, 4, 50]),
    }
).flatmap(lambda fault: st.sampled_from([{**fault, **how} for how in SPOILT]))
OTHERS = st.fixed_dictionaries(
    {
        "operation": st.sampled_from([*OPERATIONS, "CreateKey", "CreateAlias", "UpdateAlias", "DescribeKey"]),
        "skip": st.sampled_from([0, 0, 1, 2, 5]),
        "act": st.sampled_from(ACTS),
    }
)
TASKS = st.fixed_dictionaries(
    {
        "store_type": st.sampled_from([HSM, EXTERNAL]),
        "alias": st.sampled_from([0, 0, 0, 1]),
        "elsewhere": st.sampled_from([False] * 15 + [True]),
        "xks_key_id": st.sampled_from(["one", "one", "two", "three"]),
        "state": st.sampled_from(["present"] * 5 + ["absent"]),
        "rotate": st.sampled_from([None, None, {}, {"older_than_days": 7}, {"older_than_days": 30}]),
        "wait": st.sampled_from([True, True, True, False]),
        "wait_timeout": st.sampled_from([300, 300, 300, 30, 5]),
        "by_id": st.booleans(),
        "pending_window_in_days": st.sampled_from([7, 30]),
        "pause": st.sampled_from([0.0, 20.0, LATER, LATER]),
    }
)
KILLS = st.sampled_from([0, 0, *range(1, 13)])


class KeyHistories(Machine):
    """Two stores, what becomes of aliases for keys in them, and what must hold after each task."""

    @initialize(others_keys=st.sampled_from([0, 0, 1]))
    def begin(self, others_keys: int) -> None:
        """An empty KMS, with a store of each type."""
        self.tally.histories += 1
        self.world = KeyWorld(self.control, directly=self.directly)
        self.stores = {
            store_type: self.control.create_store(
                custom_key_store_name=name, custom_key_store_type=store_type, connection_state="CONNECTED"
            )
            for store_type, name in NAMES.items()
        }
        for store_id in [None, *self.stores.values()]:
            self.control.create_keys(others_keys, custom_key_store_id=store_id)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.close()

    @rule(delay=st.sampled_from([0, 0, 2, 20, 60]))
    def new_keys_are_seen_late(self, delay: float) -> None:
        self.control.set_visibility_delay(delay)

    @rule(seconds=st.sampled_from([1.0, 30.0, LATER, DAY, 7 * DAY, 8 * DAY, 31 * DAY, 100 * DAY]))
    def time_passes(self, seconds: float) -> None:
        self.control.advance(seconds)

    @rule(store_type=st.sampled_from(sorted(NAMES)), alias=st.sampled_from([0, 0, 0, 1]), act=st.sampled_from(ACTS))
    def somebody_else_acts(self, store_type: str, alias: int, act: str) -> None:
        """Between tasks."""
        self.world.somebody.act(act, f"alias/{ALIASES[store_type][alias]}", self.stores[store_type])

    @rule(task=TASKS)
    def a_task(self, task: dict[str, Any]) -> None:
        self._run(task, KeyMishaps())

    @rule(task=TASKS, faults=st.lists(FAULTS, max_size=3), killed_at=KILLS, killed_after=st.booleans())
    def a_task_with_mishaps(
        self, task: dict[str, Any], faults: list[dict[str, Any]], killed_at: int, killed_after: bool
    ) -> None:
        self._run(task, KeyMishaps(faults, [], killed_at, killed_after))

    @rule(task=TASKS, faults=st.lists(FAULTS, max_size=1), others=st.lists(OTHERS, min_size=1, max_size=2))
    def a_task_that_others_join(
        self, task: dict[str, Any], faults: list[dict[str, Any]], others: list[dict[str, Any]]
    ) -> None:
        self._run(task, KeyMishaps(faults, others))

    def _run(self, task: dict[str, Any], mishaps: KeyMishaps) -> None:
        home: str = task["store_type"]
        other = EXTERNAL if home == HSM else HSM
        store_type = other if task["elsewhere"] else home
        options = {name: task[name] for name in ("state", "wait", "wait_timeout")}
        options["alias"] = ALIASES[home][task["alias"]]
        store_id = self.stores[store_type]
        options |= {"custom_key_store_id": store_id} if task["by_id"] else {"custom_key_store_name": NAMES[store_type]}
        if task["state"] == "absent":
            options["pending_window_in_days"] = task["pending_window_in_days"]
        elif store_type == EXTERNAL:
            options["xks_key_id"] = task["xks_key_id"]
        if task["state"] == "present" and task["rotate"] is not None:
            options["rotate"] = task["rotate"]
        run = self.world.task(options, store_id, mishaps, pause=task["pause"])
        for invariant in KEY_INVARIANTS:
            invariant(run)
        self.tally.add(run, checked=len(KEY_INVARIANTS))
