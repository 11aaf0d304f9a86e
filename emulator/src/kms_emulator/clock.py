# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator's own clock, so that tests need not wait."""

from __future__ import annotations

import datetime
import time

RESOLUTION = 2.0**-20
"""Seconds. A power of two, so that whole seconds are added and subtracted without rounding."""


class Clock:
    """A clock that can be frozen and advanced.

    now() is the date. It follows the wall clock, including one that freezegun replaces. elapsed() measures durations, and does
    not depend on the wall clock: a transition that began under freezegun ends after its seconds, and a key whose deletion was
    scheduled under freezegun is not deleted early.
    """

    def __init__(self) -> None:
        self._offset = 0.0
        self._frozen_at: tuple[float, float] | None = None
        self.seconds_per_request = 0.0
        """Seconds by which a request advances a frozen clock."""

    def now(self) -> float:
        """The emulator's time, in seconds since the epoch."""
        return (time.time() if self._frozen_at is None else self._frozen_at[0]) + self._offset

    def date(self) -> datetime.datetime:
        """Return the emulator's time in UTC."""
        return datetime.datetime.fromtimestamp(self.now(), datetime.timezone.utc)

    def elapsed(self) -> float:
        """Seconds since an arbitrary start."""
        return (_monotonic() if self._frozen_at is None else self._frozen_at[1]) + self._offset

    def freeze(self, seconds_per_request: float) -> None:
        """Freeze the clock. Only advance() and requests, by this number of seconds each, then advance it."""
        self.seconds_per_request = seconds_per_request
        if self._frozen_at is None:
            self._frozen_at = time.time(), _monotonic()

    def advance(self, seconds: float) -> None:
        """Advance the clock by this number of seconds, 0 or more."""
        self._offset += seconds


def _monotonic() -> float:
    """Return the system's monotonic clock, as a multiple of RESOLUTION. freezegun replaces time.monotonic, but not this.

    Otherwise, rounding makes (700.1 + 900) - 700.1 less than 900.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC) // RESOLUTION * RESOLUTION
