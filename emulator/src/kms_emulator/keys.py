# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KMS keys of one account and Region, many of them, and what is known of their last use."""

from __future__ import annotations

from typing import Any

from moto.kms.models import Key
from moto.moto_api._internal import mock_random


class Keys(dict[str, Key]):
    """moto's keys by their ids, with the ids in order for the pages of ListKeys: sorted after a change, not for each."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: list[str] = []

    def __setitem__(self, key_id: str, key: Key) -> None:
        super().__setitem__(key_id, key)
        self._ids = []

    def pop(self, key_id: str, *default: Any) -> Any:
        """As of any dictionary."""
        self._ids = []
        return super().pop(key_id, *default)

    def ids(self) -> list[str]:
        """All ids, sorted. Not to be changed."""
        if len(self._ids) != len(self):
            self._ids = sorted(self)
        return self._ids


class Usage:
    """The last use of each key, for GetKeyLastUsage (section 3.8)."""

    def __init__(self) -> None:
        self._since = 0.0
        self._last: dict[str, list[dict[str, Any]]] = {}
        self.delay = 0.0
        """How long after a use it shows: AWS's own documents do not say; users of the Terraform provider saw up to an hour."""

    def start(self, now: float) -> None:
        """Forget all uses, and track them from now on: seconds since the epoch."""
        self._since = round(now, 3)
        self._last.clear()

    def record(self, key: Key, operation: str, *, now: float, request_id: str) -> None:
        """A cryptographic operation with a key succeeded."""
        use = {
            "Operation": operation,
            "Timestamp": round(now, 3),
            "CloudTrailEventId": str(mock_random.uuid4()),
            "KmsRequestId": request_id,
        }
        self._last[key.id] = [*self._shown(key.id, now), use]

    def _shown(self, key_id: str, now: float) -> list[dict[str, Any]]:
        """The last use of a key that shows, if one does, and those after it: no others are ever asked for again."""
        uses = self._last.get(key_id, [])
        old = [use for use in uses if use["Timestamp"] <= round(now, 3) - self.delay]
        return [*old[-1:], *uses[len(old) :]]

    def forget(self, key_id: str) -> None:
        """The key is gone."""
        self._last.pop(key_id, None)

    def describe(self, key: Key, *, now: float) -> dict[str, Any]:
        """GetKeyLastUsage's answer for a key."""
        uses = self._shown(key.id, now)
        is_shown = bool(uses) and uses[0]["Timestamp"] <= round(now, 3) - self.delay
        return {
            "KeyId": key.id,
            "KeyLastUsage": uses[0] if is_shown else {},
            "TrackingStartDate": max(self._since, key.creation_date),
            "KeyCreationDate": key.creation_date,
        }
