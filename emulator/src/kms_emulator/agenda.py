# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to happen by itself at some time: the runs of schedules."""

from __future__ import annotations

import math
from typing import Protocol

from .clock import Clock


class Runner(Protocol):
    """Who has things to run."""

    def run_due(self, moment: float) -> float:
        """Run what is due by a moment. Returns when the next is due, which is later: seconds since the epoch, or infinity."""

    def forget(self) -> None:
        """Have nothing to run any more."""


class Agenda:
    """When the next thing is due in one account and Region, by the clock's now(). Moves the clock, and stops there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runner: Runner | None = None
        self._next = math.inf

    def expect(self, runner: Runner, moment: float) -> None:
        """From now on, the next thing to run is due at this moment; infinity: there is none."""
        self._runner = runner
        self._next = moment

    def forget(self) -> None:
        """Nothing is due any more."""
        self._next = math.inf
        if self._runner is not None:
            self._runner.forget()

    @property
    def is_due(self) -> bool:
        """Is there something to run now?"""
        return self._next <= self._clock.now()

    def catch_up(self) -> None:
        """Run what is due by now."""
        if self.is_due:
            self._run(self._clock.now())

    def request_came(self) -> None:
        """Move on by what a request takes on a clock that was stopped, and run what is due by then."""
        self.advance(self._clock.seconds_per_request)

    def advance(self, seconds: float) -> None:
        """Move the clock forward, from one due time to the next: what is begun at one of them takes its time from there."""
        left = seconds
        while self._next <= self._clock.now() + left:
            step = min(max(self._next - self._clock.now(), 0), left)
            self._clock.advance(step)
            left -= step
            # The sum of two times may lack a little.
            self._run(max(self._next, self._clock.now()))
        self._clock.advance(left)

    def _run(self, moment: float) -> None:
        if self._runner is not None:
            self._next = self._runner.run_due(moment)
