# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to go wrong: faults in answers, and changes by somebody else."""

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
    """The next requests of an operation (after some that are let pass) get no proper answer."""

    operation: str
    error: str | None
    """AWS error code of the answer; None: the connection is dropped."""
    applied: bool
    """Does the request take effect before its answer gets lost?"""
    skip: int
    times: float
    """How often at most; infinity: always."""
    probability: float = 1.0
    """How likely a request that is due is hit."""
    chance: Random = field(default_factory=Random, repr=False)

    def strikes(self) -> bool:
        """Is this request hit?"""
        return self.chance.random() < self.probability


@dataclass
class Intruder:
    """Somebody else's change, just before a request of an operation is handled."""

    operation: str
    skip: int
    action: str
    parameters: dict[str, Any]
    times: float = 1

    def strikes(self) -> bool:
        """Is this request preceded? Always."""
        return True


class _Counted(Protocol):
    operation: str
    skip: int
    times: float

    def strikes(self) -> bool: ...


Counted = TypeVar("Counted", bound=_Counted)


@dataclass
class Injections:
    """All that is to go wrong in one account and Region."""

    faults: list[Fault] = field(default_factory=list)
    intruders: list[Intruder] = field(default_factory=list)

    def fault_for(self, operation: str) -> Fault | None:
        """The fault for this request, if any. Of several that are due, the oldest; the others wait."""
        return next(iter(_due(self.faults, operation, at_most=1)), None)

    def intruders_for(self, operation: str) -> list[Intruder]:
        """The intruders that come before this request."""
        return _due(self.intruders, operation, at_most=len(self.intruders))


def _due(injections: Iterable[Counted], operation: str, *, at_most: int) -> list[Counted]:
    """Count one request of an operation, and pick the injections that are due with it."""
    due: list[Counted] = []
    for injection in injections:
        if injection.operation != operation:
            continue
        if injection.skip > 0:
            injection.skip -= 1
        elif injection.times > 0 and len(due) < at_most and injection.strikes():
            injection.times -= 1
            due.append(injection)
    return due
