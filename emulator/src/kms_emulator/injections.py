# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Injected faults, and actions by other callers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from random import Random
from typing import Any
from typing import Protocol
from typing import TypeVar


@dataclass
class Fault:
    """A fault of the next requests of an operation, after skipping some."""

    operation: str
    error: str | None
    """AWS error code of the response. None: drop the connection."""
    applied: bool
    """Whether the request takes effect before the fault."""
    skip: int
    times: float
    """Maximum number of requests. Infinity: no limit."""
    probability: float = 1.0
    """Of the fault, for each request after the skipped ones."""
    chance: Random = field(default_factory=Random, repr=False)

    def applies(self) -> bool:
        """Decide at random whether the fault applies to this request."""
        return self.chance.random() < self.probability


@dataclass
class Intruder:
    """An action by another caller, just before a request of an operation."""

    operation: str
    skip: int
    action: str
    parameters: dict[str, Any]
    times: float = 1

    def applies(self) -> bool:
        """Return True: the action precedes each request that is due."""
        return True


class _Counted(Protocol):
    operation: str
    skip: int
    times: float

    def applies(self) -> bool: ...


Counted = TypeVar("Counted", bound=_Counted)


@dataclass
class Injections:
    """The injected faults and actions of one account and Region."""

    faults: list[Fault] = field(default_factory=list)
    intruders: list[Intruder] = field(default_factory=list)

    def fault_for(self, operation: str) -> Fault | None:
        """Return the fault for this request, if any. If several are due, the oldest one applies, and the others remain."""
        return next(iter(_due(self.faults, operation, at_most=1)), None)

    def intruders_for(self, operation: str) -> list[Intruder]:
        """Return the actions that precede this request."""
        return _due(self.intruders, operation, at_most=len(self.intruders))


def _due(injections: Iterable[Counted], operation: str, *, at_most: int) -> list[Counted]:
    """Count one request of an operation. Returns the injections that apply to it."""
    due: list[Counted] = []
    for injection in injections:
        if injection.operation != operation:
            continue
        if injection.skip > 0:
            injection.skip -= 1
        elif injection.times > 0 and len(due) < at_most and injection.applies():
            injection.times -= 1
            due.append(injection)
    return due
