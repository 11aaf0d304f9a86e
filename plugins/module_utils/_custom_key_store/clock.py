# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Time for everything that waits: passed in, so that a test of 20 minutes takes none."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Callable

LONGEST_PAUSE = 15.0
"""Seconds. No sleep is longer, so that a task notices the end of a transition or of a throttling no later than that."""

SHORTEST_PAUSE = 0.001
"""Seconds. A shorter sleep may not advance the clock, so that a wait for a deadline would never end."""


@dataclass(frozen=True)
class Clock:
    """The source of time.

    Attributes:
        monotonic: seconds, never going back; only differences have a meaning.
        sleep: waits that many seconds.
        random: uniformly distributed in 0.0 to 1.0, for jitter.
        announce: called before each pause with the seconds elapsed, and the seconds allowed.
        check: called before each pause; raises C(CustomKeyStoreError) if the task should not wait any longer.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    announce: Callable[[float, float], None] = lambda elapsed, allowed: None
    check: Callable[[], None] = lambda: None


class Deadline:
    """The time that one task may wait, all its waits together."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._start = clock.monotonic()
        self.seconds = seconds

    def elapsed(self) -> float:
        """Seconds since the task began."""
        return self._clock.monotonic() - self._start

    def anew(self, seconds: float) -> Deadline:
        """A new deadline by the same clock, which starts now."""
        return Deadline(self._clock, seconds)

    def passed(self) -> bool:
        return self.elapsed() >= self.seconds

    def pause(self, seconds: float) -> None:
        """Sleep for C(seconds), but no longer than until the deadline, so that there is always a last poll."""
        self._clock.check()
        self._clock.announce(self.elapsed(), self.seconds)
        self._clock.sleep(max(SHORTEST_PAUSE, min(seconds, self.seconds - self.elapsed())))

    def back_off(self, attempt: int) -> None:
        """Sleep before a retry: half a second at first, doubling, half of it jitter.

        Args:
            attempt: the number of attempts so far, from 1.
        """
        longest = min(0.5 * 2.0 ** min(attempt - 1, 10), LONGEST_PAUSE)
        self.pause(longest * (0.5 + 0.5 * self._clock.random()))
