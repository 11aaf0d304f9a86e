# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may disturb a history, and where: at each request, one kind after the other."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.histories.invariants import LEGAL
from tests.histories.world import CHANGES

CONNECT, DESCRIBE, UPDATE = "ConnectCustomKeyStore", "DescribeCustomKeyStores", "UpdateCustomKeyStore"

ACTS = {
    "connects": CONNECT,
    "disconnects": "DisconnectCustomKeyStore",
    "updates": UPDATE,
    "renames": UPDATE,
    "deletes": "DeleteCustomKeyStore",
}
"""What somebody else may do to the store."""

SPOILT: dict[str, dict[str, Any]] = {
    "throttled": {"error": "ThrottlingException"},
    "refused": {"error": "AccessDeniedException"},
    "fault-before": {"error": "KMSInternalException"},
    "fault-after": {"error": "KMSInternalException", "applied": True},
    "dropped-before": {"drop": True},
    "dropped-after": {"drop": True, "applied": True},
    "not-in-place": {"error": "CustomKeyStoreInvalidStateException"},
}
"""How the answer to a request may be spoilt: arguments of Control.add_fault(). The last: KMS refuses a change that one of its
documents allows while CONNECTED, and another does not (R6)."""

STALE = {"stale-1": 1, "stale-3": 3}
"""For how many looks KMS shows the store as it was before the last change (R31)."""

FAILS, TIME, KILLED_BEFORE, KILLED_AFTER = "connect-will-fail", "time-runs-out", "killed-before", "killed-after"
NOT_IN_PLACE = "not-in-place"

ORDER: dict[str, int] = {
    **{f"{act}-before": 0 for act in ACTS},
    FAILS: 1,
    TIME: 2,
    KILLED_BEFORE: 3,
    **dict.fromkeys((*SPOILT, *STALE), 4),
    **{f"{act}-after": 5 for act in ACTS},
    KILLED_AFTER: 6,
}
"""All kinds, and in which order those at one request come."""


@dataclass(frozen=True)
class Disturbance:
    """One thing that goes wrong.

    Attributes:
        number: of the request, counted over all runs of a history, from 1.
        kind: a key of ORDER.
    """

    number: int
    kind: str

    def __str__(self) -> str:
        return f"{self.number}:{self.kind}"

    @classmethod
    def of(cls, text: str) -> Disturbance:
        """The disturbance that is written so, see C(__str__).

        Raises:
            ValueError: none is.
        """
        number, _colon, kind = text.partition(":")
        if kind not in ORDER or not number.isdigit():
            raise ValueError(
                f"There is no disturbance {text!r}; there are such as 2:throttled; or: {', '.join(ORDER)}."
            )
        return cls(int(number), kind)

    @property
    def act(self) -> str | None:
        """What somebody else does; None for the other kinds."""
        act = self.kind.rpartition("-")[0]
        return act if act in ACTS else None

    def may_follow(self, last: Disturbance) -> bool:
        """May it come after another one? Each pair in one order only, but for two acts, which do not commute."""
        mine, others = (self.number, ORDER[self.kind]), (last.number, ORDER[last.kind])
        return mine > others or (mine == others and self.act is not None)


@dataclass
class Step:
    """A request of a history.

    Attributes:
        number: see C(Disturbance).
        operation: of KMS.
        begin: when, in seconds of the task's clock.
        end: the same, when it was answered.
        before: the connection state just before KMS got it; None where there is no store.
        after: the same just after, with what somebody else did then.
        outdated: was there a change before it, so that KMS may show what was?
        outcome: as in the log of the emulator; C(not made) where the process died before.
    """

    number: int
    operation: str
    begin: float
    end: float = 0.0
    before: str | None = None
    after: str | None = None
    outdated: bool = False
    outcome: str = "not made"


def following(store: str, steps: Sequence[Step], last: Disturbance | None) -> list[Disturbance]:
    """What may come next in a history, in a fixed order.

    What cannot make a difference is left out:
    - A request that changes nothing has no effect, so before and after it are the same for its answer to be spoilt, and for the
      process to be killed: one that has just read an answer has done nothing with it yet.
    - What KMS refuses to somebody else has not happened. A check in judge.py sees to it that nothing that is run is refused.
    - Where no time passes from one request to the next, an act just after the first is one just before the second. After the
      last request of a task there is nothing that the task could notice.
    - Nothing is out of date before the first change. Had somebody changed the store just before the task began, and it asked for
      what it is shown, no look could tell: of that, nothing can be demanded.

    Args:
        store: the type of the store.
        steps: the requests of the history.
        last: its last disturbance; None where it has none.
    """
    found: list[Disturbance] = []
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        passes = after is not None and after.begin > step.end
        for kind in _kinds(store, step, passes):
            disturbance = Disturbance(step.number, kind)
            if last is None or disturbance.may_follow(last):
                found.append(disturbance)
    return found


def _kinds(store: str, step: Step, passes: bool) -> Iterator[str]:
    yield from (f"{act}-before" for act in ACTS if allows(store, step.before, act))
    if step.outcome == "not made":
        return  # the process is gone; what can still happen is what somebody does before
    if step.operation == CONNECT and step.before is not None:
        yield FAILS
    yield from (TIME, KILLED_BEFORE)
    changes = step.operation in CHANGES
    spoilt = dict(SPOILT)
    if (step.operation, step.before) != (UPDATE, "CONNECTED"):
        del spoilt[NOT_IN_PLACE]
    yield from (kind for kind, fault in spoilt.items() if changes or not fault.get("applied"))
    if step.operation == DESCRIBE and step.outdated:
        yield from STALE
    if passes:
        yield from (f"{act}-after" for act in ACTS if allows(store, step.after, act))
    if changes:
        yield KILLED_AFTER


def allows(store: str, state: str | None, act: str) -> bool:
    """Does KMS let somebody do this to a store of a type in a state? None: there is no store."""
    if store == "cloudhsm" and act == "updates":
        return state == "DISCONNECTED"  # nothing but the name can be changed in any other
    return state in LEGAL[ACTS[act]]
