# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events that are due at a given time: the runs of schedules."""

from __future__ import annotations

import math
from typing import Protocol

from .clock import Clock


class Runner(Protocol):
    """Runs events at their due time."""

    def run_due(self, now: float) -> float:
        """Run all events that are due. Returns the next due time, after now: seconds since the epoch, or infinity."""

    def forget(self) -> None:
        """Remove all events."""


class Agenda:
    """The next due time in one account and Region, by the clock's now(). Advances the clock and stops at each due time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runner: Runner | None = None
        self._next = math.inf

    def set_next(self, runner: Runner, due_at: float) -> None:
        """Set the runner and its next due time. Infinity: nothing is due."""
        self._runner = runner
        self._next = due_at

    def forget(self) -> None:
        """Remove all events."""
        self._next = math.inf
        if self._runner is not None:
            self._runner.forget()

    @property
    def is_due(self) -> bool:
        """Whether an event is due."""
        return self._next <= self._clock.now()

    def catch_up(self) -> None:
        """Run all events that are due."""
        if self.is_due:
            self._run(self._clock.now())

    def advance_by_request(self) -> None:
        """Advance a frozen clock by the duration of one request, and run all events that are due by then."""
        self.advance(self._clock.seconds_per_request)

    def advance(self, seconds: float) -> None:
        """Advance the clock and stop at each due time, so that a transition that an event starts begins at that time."""
        remaining = seconds
        while self._next <= self._clock.now() + remaining:
            step = min(max(self._next - self._clock.now(), 0), remaining)
            self._clock.advance(step)
            remaining -= step
            # Rounding may leave the clock slightly before the due time.
            self._run(max(self._next, self._clock.now()))
        self._clock.advance(remaining)

    def _run(self, now: float) -> None:
        if self._runner is not None:
            self._next = self._runner.run_due(now)
