# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator's own time, so that tests need not wait for it."""

from __future__ import annotations

import time


class Clock:
    """Wall time plus an offset; can be frozen, and moved forward."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._frozen_at: float | None = None
        self._seconds_per_request = 0.0

    def now(self) -> float:
        """The emulator's time, in seconds since the epoch."""
        wall = time.time() if self._frozen_at is None else self._frozen_at
        return wall + self._offset

    def freeze(self, seconds_per_request: float) -> None:
        """Stop: from here on only requests, by this many seconds each, and advance() move the time."""
        self._seconds_per_request = seconds_per_request
        if self._frozen_at is None:
            self._frozen_at = time.time()

    def request_came(self) -> None:
        """Move on by what a request takes on a clock that was stopped."""
        self.advance(self._seconds_per_request)

    def advance(self, seconds: float) -> None:
        """Move the time forward by this many seconds, 0 or more."""
        self._offset += seconds
