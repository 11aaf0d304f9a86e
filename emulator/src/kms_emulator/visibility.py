# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eventual consistency (R31): responses may have an earlier state of stores and of the KMS keys in them."""

from __future__ import annotations

from dataclasses import dataclass

from .clock import Clock
from .custom_key_stores.stores import Description
from .custom_key_stores.stores import sort_key


@dataclass(frozen=True)
class _Earlier:
    """An earlier state that is visible until a time of the clock's elapsed(). None: it did not exist."""

    description: Description | None
    until: float


class Visibility:
    """The earlier states of stores and new keys that are still visible, by ID. The delay is in seconds."""

    def __init__(self, clock: Clock) -> None:
        self.delay = 0.0
        self._clock = clock
        self._earlier: dict[str, list[_Earlier]] = {}

    def before_change(self, identifier: str, before: Description | None) -> None:
        """Keep the state before a change visible for the delay. None: the store or key did not exist."""
        if self.delay > 0:
            self._earlier.setdefault(identifier, []).append(_Earlier(before, self._clock.elapsed() + self.delay))

    def show_now(self, store_id: str) -> None:
        """Make the actual state of a store visible."""
        self._earlier.pop(store_id, None)

    def visible_stores(self, actual: dict[str, Description]) -> list[Description]:
        """Return the visible state of all stores, oldest first. Actual: their actual states, by ID."""
        visible: dict[str, Description | None] = {**actual, **self._earlier_states()}
        return sorted((entry for entry in visible.values() if entry is not None), key=sort_key)

    def connection_state(self, store_id: str, actual: str) -> str:
        """Return the visible connection state of a store, which its keys follow (R5). Actual: its actual state."""
        description = self._earlier_states().get(store_id)
        return actual if description is None else str(description["ConnectionState"])

    def hidden(self) -> set[str]:
        """Return the IDs of all stores and keys that are not visible yet."""
        return {identifier for identifier, description in self._earlier_states().items() if description is None}

    def _earlier_states(self) -> dict[str, Description | None]:
        """Return the earlier states that are still visible, by ID."""
        now = self._clock.elapsed()
        for identifier, states in list(self._earlier.items()):
            states[:] = [state for state in states if state.until > now]
            if not states:
                del self._earlier[identifier]
        return {identifier: states[0].description for identifier, states in self._earlier.items()}
