# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes histories up: a store in some state, and tasks with mishaps, one after the other."""

from __future__ import annotations

from typing import Any
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import initialize
from hypothesis.stateful import rule

from kms_emulator import Control
from kms_emulator.custom_key_stores.rules import ERROR_CODES
from kms_emulator.custom_key_stores.rules import StoreType
from tests.histories.invariants import INVARIANTS
from tests.histories.tally import Tally
from tests.histories.world import CHANGES
from tests.histories.world import Mishaps
from tests.histories.world import World
from tests.unit.options import KINDS
from tests.unit.options import OTHER_CLUSTER
from tests.unit.options import OTHER_KEY_ID
from tests.unit.options import PASSWORD
from tests.unit.options import SECRET
from tests.unit.options import SERVICE

XKS = "xks_proxy_configuration"

STATES = ("CONNECTED", "CONNECTED", "CONNECTED", "CONNECTING", "DISCONNECTED", "DISCONNECTING", "FAILED", None)
"""In which a history begins; None: there is no store."""

CHANGED: dict[str, tuple[dict[str, Any], ...]] = {
    "cloudhsm": (
        {},
        {"cloud_hsm_cluster_id": OTHER_CLUSTER},
        {"key_store_password": PASSWORD, "update_credentials": "always"},
    ),
    "public": (
        {},
        {XKS: {"uri_path": "/invoices/kms/xks/v1"}},
        {XKS: {"uri_endpoint": "https://other.example.com"}},
        {XKS: {"access_key_id": OTHER_KEY_ID, "raw_secret_access_key": SECRET}},
    ),
    "vpc": (
        {},
        {XKS: {"vpc_endpoint_service_name": SERVICE[:-1] + "1"}},
        {XKS: {"uri_path": "/invoices/kms/xks/v1"}},
    ),
}
"""What a task may ask to be different, by the kind of store."""

SPOILT: tuple[dict[str, Any], ...] = (
    {"error": "ThrottlingException"},
    {"error": "AccessDeniedException"},
    *({"error": "KMSInternalException", "applied": applied} for applied in (False, True)),
    *({"error": "DependencyTimeoutException", "applied": applied} for applied in (False, True)),
    *({"drop": True, "applied": applied} for applied in (False, True, False, True)),
)
"""How an answer may be spoilt: arguments of Control.add_fault()."""

FAULTS = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(["DescribeCustomKeyStores", *CHANGES, "ListKeys"]),
        "skip": st.sampled_from([0, 0, 1, 3]),
        "times": st.sampled_from([1, 1, 2, 4, 50]),
    }
).flatmap(lambda fault: st.sampled_from([{**fault, **how} for how in SPOILT]))
OTHERS = st.fixed_dictionaries(
    {"operation": st.sampled_from(["DescribeCustomKeyStores", *CHANGES]), "skip": st.sampled_from([0, 1, 2, 5])}
).flatmap(
    lambda other: st.sampled_from(
        [
            {**other, "action": "ConnectCustomKeyStore", "parameters": {}},
            {**other, "action": "ConnectCustomKeyStore", "parameters": {}},
            {**other, "action": "DisconnectCustomKeyStore", "parameters": {}},
            {**other, "action": "DisconnectCustomKeyStore", "parameters": {}},
            {**other, "action": "DeleteCustomKeyStore", "parameters": {}},
            {**other, "action": "UpdateCustomKeyStore", "parameters": {"NewCustomKeyStoreName": "another name"}},
        ]
    )
)


@st.composite
def tasks(draw: st.DrawFn) -> dict[str, Any]:
    """Options of a task; C(changes) and C(whole) are numbers and flags that the kind of the store gives a meaning."""
    return {
        "state": draw(st.sampled_from(["present", "connected", "disconnected", "absent", "connected", "disconnected"])),
        "allow_disconnect": draw(st.booleans()),
        "wait": draw(st.sampled_from([True, True, True, False])),
        "wait_timeout": draw(st.sampled_from([1800, 1800, 1800, 600, 60, 5])),
        "change": draw(st.integers(0, 5)),
        "whole": draw(st.booleans()),
        "by_id": draw(st.booleans()),
        "rename": draw(st.sampled_from([False, False, True])),
    }


class Machine(RuleBasedStateMachine):
    """What makes histories up.

    Attributes:
        control: steers the emulator, in this process.
        directly: take the short way to the module?
        tally: counts over all histories.
    """

    control: ClassVar[Control]
    directly: ClassVar[bool]
    tally: ClassVar[Tally]


class Histories(Machine):
    """A store, what becomes of it, and what must hold after each task."""

    @initialize(
        kind=st.sampled_from(sorted(KINDS)),
        state=st.sampled_from(STATES),
        code=st.integers(0, 50),
        has_key=st.sampled_from([False, False, False, True]),
        in_place=st.booleans(),
    )
    def begin(self, kind: str, state: str | None, code: int, has_key: bool, in_place: bool) -> None:
        """An empty KMS, and a store in it."""
        self.tally.histories += 1
        self.world = World(self.control, directly=self.directly)
        self.kind = kind
        self.delay = 0.0
        self.good_ends = True
        self.in_place = in_place
        self.control.set_transitions(connect_seconds=10, disconnect_seconds=10)
        if not in_place:
            self.control.set_rule("rename_when_connected_is_valid", False)
            self.control.set_rule("proxy_update_when_connected_is_valid", False)
        if state is None:
            return
        made = self.world.task({**KINDS[kind], "state": "disconnected"}, Mishaps(), undisturbed=True)
        assert not made.done.failed, made.done.message
        store_type = StoreType.AWS_CLOUDHSM if kind == "cloudhsm" else StoreType.EXTERNAL_KEY_STORE
        codes = sorted(ERROR_CODES[store_type])
        assert self.world.store_id is not None
        self.control.set_connection_state(
            self.world.store_id, state, codes[code % len(codes)] if state == "FAILED" else None
        )
        if has_key:
            self.control.create_keys(1, custom_key_store_id=self.world.store_id)

    @rule(
        connect_seconds=st.sampled_from([0, 3, 10, 120, 1500]),
        disconnect_seconds=st.sampled_from([0, 3, 60]),
        delay=st.sampled_from([0, 0, 2, 30, 60]),
        ends=st.lists(st.sampled_from(["CONNECTED", "CONNECTED", "INTERNAL_ERROR", "NEVER"]), max_size=4),
    )
    def the_weather_changes(
        self, connect_seconds: float, disconnect_seconds: float, delay: float, ends: list[str]
    ) -> None:
        """How long transitions take, how the next connects end, and how late changes are seen."""
        self.control.set_transitions(connect_seconds=connect_seconds, disconnect_seconds=disconnect_seconds)
        self.control.set_visibility_delay(delay)
        self.delay = delay
        if self.world.store_id is not None:
            known = {"INTERNAL_ERROR": "INTERNAL_ERROR" if self.kind == "cloudhsm" else "XKS_PROXY_TIMED_OUT"}
            self.control.set_connect_outcomes(self.world.store_id, [known.get(end, end) for end in ends])
            self.good_ends = set(ends) <= {"CONNECTED"}

    @rule(seconds=st.sampled_from([1.0, 30.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.control.advance(seconds)

    @rule(task=tasks())
    def a_task(self, task: dict[str, Any]) -> None:
        self._run(task, Mishaps())

    @rule(task=tasks(), faults=st.lists(FAULTS, max_size=3), others=st.lists(OTHERS, max_size=2))
    def a_task_with_mishaps(
        self, task: dict[str, Any], faults: list[dict[str, Any]], others: list[dict[str, Any]]
    ) -> None:
        self._run(task, Mishaps(faults, others))

    def _run(self, task: dict[str, Any], mishaps: Mishaps) -> None:
        undisturbed = self.delay == 0 and self.good_ends and self.in_place
        run = self.world.task(self._options(task), mishaps, undisturbed=undisturbed)
        for invariant in INVARIANTS:
            invariant(run)
        self.tally.add(run, checked=len(INVARIANTS))

    def _options(self, task: dict[str, Any]) -> dict[str, Any]:
        """The task in options of the module."""
        changes = CHANGED[self.kind]
        same = ("state", "allow_disconnect", "wait", "wait_timeout")
        options = {"name": self.world.name or "payments", **{name: task[name] for name in same}}
        if task["whole"]:
            options = {**KINDS[self.kind], **options}  # under the name that it has by now
        change = changes[task["change"] % len(changes)] if task["state"] != "absent" else {}
        proxy = {**options.get(XKS, {}), **change.get(XKS, {})}
        options.update(change)
        if proxy:
            options[XKS] = proxy
        if task["by_id"] and self.world.store_id is not None:
            options["id"] = self.world.store_id
            if task["rename"]:
                options["name"] = "renamed" if options["name"] == "payments" else "payments"
        return options
