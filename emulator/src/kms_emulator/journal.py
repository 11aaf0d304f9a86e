# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of all KMS requests."""

from __future__ import annotations

import copy
from typing import Any

from .clock import Clock

Record = dict[str, Any]
"""number, time (seconds since the epoch), operation, parameters, account_id, region, outcome, applied."""


class Journal:
    """Every KMS request of one account and Region, in order of arrival."""

    def __init__(self, *, account_id: str, region_name: str, clock: Clock) -> None:
        self._account_id = account_id
        self._region_name = region_name
        self._clock = clock
        self._records: list[Record] = []

    def open(self, operation: str, parameters: Any) -> Record:
        """Log a request on arrival, with masked parameters. The caller sets outcome and applied."""
        record: Record = {
            "number": len(self._records) + 1,
            "time": self._clock.now(),
            "operation": operation,
            "parameters": parameters,
            "account_id": self._account_id,
            "region": self._region_name,
            # Remains only if the emulator itself fails: over HTTP, the client receives status 500.
            "outcome": "InternalFailure",
            "applied": False,
        }
        self._records.append(record)
        return record

    def records(self) -> list[Record]:
        """A copy of the log."""
        return copy.deepcopy(self._records)

    @property
    def count(self) -> int:
        """Number of logged requests."""
        return len(self._records)

    def clear(self) -> None:
        """Clear the log. The next request has number 1."""
        self._records = []
