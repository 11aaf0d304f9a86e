# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eventual consistency (R31): DescribeCustomKeyStores may show a store as it was a while ago."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .clock import Clock

Description = dict[str, Any]
"""One entry of DescribeCustomKeyStores' answer."""


@dataclass(frozen=True)
class _Earlier:
    """What to show of a store until some time (seconds since the epoch). None: it was not there."""

    description: Description | None
    until: float


class Visibility:
    """What DescribeCustomKeyStores shows instead of the truth. The delay is in seconds."""

    def __init__(self, clock: Clock) -> None:
        self.delay = 0.0
        self._clock = clock
        self._earlier: dict[str, list[_Earlier]] = {}

    def changing(self, store_id: str, before: Description | None) -> None:
        """A change of a store was accepted; before it, the store looked like this."""
        if self.delay > 0:
            self._earlier.setdefault(store_id, []).append(_Earlier(before, self._clock.now() + self.delay))

    def show_now(self, store_id: str) -> None:
        """Show the truth about a store from here on."""
        self._earlier.pop(store_id, None)

    def shown(self, truth: dict[str, Description]) -> list[Description]:
        """All stores as they are seen, oldest first. Truth: the stores as they are, by id."""
        now = self._clock.now()
        seen: dict[str, Description | None] = dict(truth)
        for store_id, views in self._earlier.items():
            views[:] = [view for view in views if view.until > now]
            if views:
                seen[store_id] = views[0].description
        return sorted((entry for entry in seen.values() if entry is not None), key=sort_key)


def sort_key(description: Description) -> str:
    """Text that orders stores by age, for a stable order of pages."""
    return f"{description['CreationDate']:017.3f} {description['CustomKeyStoreId']}"
