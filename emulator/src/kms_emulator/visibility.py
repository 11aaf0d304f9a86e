# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eventual consistency (R31): stores, and the KMS keys in them, may be seen as they were a while ago."""

from __future__ import annotations

from dataclasses import dataclass

from .clock import Clock
from .custom_key_stores.stores import Description
from .custom_key_stores.stores import sort_key


@dataclass(frozen=True)
class _Earlier:
    """What to show of something until some time (of the clock's elapsed()). None: it was not there."""

    description: Description | None
    until: float


class Visibility:
    """What is seen of stores and new keys, by their ids, instead of the truth. The delay is in seconds."""

    def __init__(self, clock: Clock) -> None:
        self.delay = 0.0
        self._clock = clock
        self._earlier: dict[str, list[_Earlier]] = {}

    def changing(self, identifier: str, before: Description | None) -> None:
        """A change was accepted; before it, the store looked like this, or (None) the store or key was not there."""
        if self.delay > 0:
            self._earlier.setdefault(identifier, []).append(_Earlier(before, self._clock.elapsed() + self.delay))

    def show_now(self, store_id: str) -> None:
        """Show the truth about a store from here on."""
        self._earlier.pop(store_id, None)

    def shown(self, truth: dict[str, Description]) -> list[Description]:
        """All stores as they are seen, oldest first. Truth: the stores as they are, by id."""
        seen: dict[str, Description | None] = {**truth, **self._views()}
        return sorted((entry for entry in seen.values() if entry is not None), key=sort_key)

    def connection_state(self, store_id: str, truth: str) -> str:
        """A store's connection state as its keys see it (R5). Truth: the one that it has."""
        description = self._views().get(store_id)
        return truth if description is None else str(description["ConnectionState"])

    def hidden(self) -> set[str]:
        """The ids of all that is there but not seen yet."""
        return {identifier for identifier, description in self._views().items() if description is None}

    def _views(self) -> dict[str, Description | None]:
        """What to show instead of the truth, for all that is not seen as it is."""
        now = self._clock.elapsed()
        for identifier, views in list(self._earlier.items()):
            views[:] = [view for view in views if view.until > now]
            if not views:
                del self._earlier[identifier]
        return {identifier: views[0].description for identifier, views in self._earlier.items()}
