# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request quotas (R29): the number of requests of an operation that KMS accepts per second."""

from __future__ import annotations

from dataclasses import dataclass

from .clock import Clock

ROUNDING = 1e-6
"""Tolerance for the rounding error of a time difference."""


@dataclass
class _Bucket:
    """A token bucket: holds one second's worth of requests, at least one, and refills steadily."""

    per_second: float
    tokens: float
    filled_at: float


class Quotas:
    """The quotas of each operation in one account and Region, by the emulator's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def set(self, operation: str, per_second: float | None) -> None:
        """Set the requests per second of an operation. None: no quota. Starts with a full bucket."""
        if per_second is None:
            self._buckets.pop(operation, None)
        else:
            self._buckets[operation] = _Bucket(per_second, max(1.0, per_second), self._clock.elapsed())

    def exceeded(self, operation: str) -> bool:
        """Count one request. Returns whether it exceeds the quota."""
        bucket = self._buckets.get(operation)
        if bucket is None:
            return False
        now = self._clock.elapsed()
        earned = (now - bucket.filled_at) * bucket.per_second
        bucket.tokens = min(max(1.0, bucket.per_second), bucket.tokens + earned)
        bucket.filled_at = now
        if bucket.tokens < 1 - ROUNDING:
            return True
        bucket.tokens -= 1
        return False
