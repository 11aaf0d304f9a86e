# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator's own time, so that tests need not wait for it."""

from __future__ import annotations

import datetime
import time


class Clock:
    """The time, which can be frozen and moved forward.

    It is told twice: now() is the date, and follows the wall clock, hence also one that freezegun makes up. elapsed() is for how
    long something takes, and goes on whatever the wall clock says: a transition that began in a frozen past ends after its
    seconds, and a key whose deletion was scheduled there is not gone in the present.
    """

    def __init__(self) -> None:
        self._offset = 0.0
        self._frozen_at: tuple[float, float] | None = None
        self.seconds_per_request = 0.0
        """What a request takes on a clock that was stopped."""

    def now(self) -> float:
        """The emulator's time, in seconds since the epoch."""
        return (time.time() if self._frozen_at is None else self._frozen_at[0]) + self._offset

    def date(self) -> datetime.datetime:
        """The same in UTC."""
        return datetime.datetime.fromtimestamp(self.now(), datetime.timezone.utc)

    def elapsed(self) -> float:
        """Seconds that have passed since any beginning."""
        return (_steady() if self._frozen_at is None else self._frozen_at[1]) + self._offset

    def freeze(self, seconds_per_request: float) -> None:
        """Stop: from here on only requests, by this many seconds each, and advance() move the time."""
        self.seconds_per_request = seconds_per_request
        if self._frozen_at is None:
            self._frozen_at = time.time(), _steady()

    def advance(self, seconds: float) -> None:
        """Move the time forward by this many seconds, 0 or more."""
        self._offset += seconds


def _steady() -> float:
    """The system's steady clock. freezegun replaces time.monotonic, but not this."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
