# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands for KMS keys."""

from __future__ import annotations

from .commands import LONGEST
from .commands import Commands
from .commands import command

MOST_KEYS = 100_000
"""The default quota of KMS keys in an account and Region."""


class KeyCommands(Commands):
    """The part of Control for KMS keys."""

    @command
    def create_keys(self, count: int, *, custom_key_store_id: str | None = None) -> list[str]:
        """Create many symmetric keys quickly, in a store in any connection state. Returns their IDs."""
        if not 0 <= count <= MOST_KEYS:
            raise ValueError(f"A number of keys must be 0 or more, and at most {MOST_KEYS}.")
        backend = self._backend
        store = backend.get_store(custom_key_store_id) if custom_key_store_id is not None else None
        return backend.create_keys(count, store)

    @command
    def start_usage_tracking(self) -> None:
        """Clear the usage of all keys, and track from now on. The default is to track from the creation of each key."""
        self._backend.usage.start(self._backend.clock.now())

    @command
    def set_usage_delay(self, seconds: float) -> None:
        """Set the delay after which GetKeyLastUsage returns a use of a key (default: 0). In AWS, it is up to an hour."""
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"A time must be 0 seconds or more, and at most {LONGEST}.")
        self._backend.usage.delay = seconds
