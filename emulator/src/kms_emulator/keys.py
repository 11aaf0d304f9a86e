# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KMS keys of one account and Region, and their last use."""

from __future__ import annotations

from typing import Any

from moto.kms.models import Key
from moto.moto_api._internal import mock_random


class Keys(dict[str, Key]):
    """moto's keys by ID. Caches the sorted IDs for the pages of ListKeys, and sorts again only after a change."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: list[str] = []

    def __setitem__(self, key_id: str, key: Key) -> None:
        super().__setitem__(key_id, key)
        self._ids = []

    def pop(self, key_id: str, *default: Any) -> Any:
        """Same as dict.pop()."""
        self._ids = []
        return super().pop(key_id, *default)

    def ids(self) -> list[str]:
        """Return all IDs, sorted. Do not modify the list."""
        if len(self._ids) != len(self):
            self._ids = sorted(self)
        return self._ids


class Usage:
    """The last use of each key, for GetKeyLastUsage (section 3.8)."""

    def __init__(self) -> None:
        self._since = 0.0
        self._last: dict[str, list[dict[str, Any]]] = {}
        self.delay = 0.0
        """Seconds until a use is visible. AWS does not document it. Users of the Terraform provider reported up to an hour."""

    def start(self, now: float) -> None:
        """Clear all uses, and track from now on (seconds since the epoch)."""
        self._since = round(now, 3)
        self._last.clear()

    def record(self, key: Key, operation: str, *, now: float, request_id: str) -> None:
        """Record a successful cryptographic operation with a key."""
        use = {
            "Operation": operation,
            "Timestamp": round(now, 3),
            "CloudTrailEventId": str(mock_random.uuid4()),
            "KmsRequestId": request_id,
        }
        self._last[key.id] = [*self._relevant(key.id, now), use]

    def _relevant(self, key_id: str, now: float) -> list[dict[str, Any]]:
        """Return the last visible use of a key, if any, and the later uses. Earlier uses are never needed again."""
        uses = self._last.get(key_id, [])
        old = [use for use in uses if use["Timestamp"] <= round(now, 3) - self.delay]
        return [*old[-1:], *uses[len(old) :]]

    def forget(self, key_id: str) -> None:
        """Remove a deleted key."""
        self._last.pop(key_id, None)

    def describe(self, key: Key, *, now: float) -> dict[str, Any]:
        """Return the response of GetKeyLastUsage for a key."""
        uses = self._relevant(key.id, now)
        is_visible = bool(uses) and uses[0]["Timestamp"] <= round(now, 3) - self.delay
        return {
            "KeyId": key.id,
            "KeyLastUsage": uses[0] if is_visible else {},
            "TrackingStartDate": max(self._since, key.creation_date),
            "KeyCreationDate": key.creation_date,
        }
