# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steering KMS keys."""

from __future__ import annotations

from .commands import LONGEST
from .commands import Commands
from .commands import command

MOST_KEYS = 100_000
"""As many as KMS lets an account have in a Region, unless it is asked for more."""


class KeyCommands(Commands):
    """The part of Control for KMS keys."""

    @command
    def create_keys(self, count: int, *, custom_key_store_id: str | None = None) -> list[str]:
        """Create many symmetric keys quickly, in a store whatever its connection state, and return their ids."""
        if not 0 <= count <= MOST_KEYS:
            raise ValueError(f"A number of keys must be 0 or more, and at most {MOST_KEYS}.")
        backend = self._backend
        store = backend.known_store(custom_key_store_id) if custom_key_store_id is not None else None
        return backend.create_keys(count, store)

    @command
    def start_usage_tracking(self) -> None:
        """Forget when keys were used: GetKeyLastUsage tracks from now on. Before, it does from each key's creation."""
        self._backend.usage.start(self._backend.clock.now())

    @command
    def set_usage_delay(self, seconds: float) -> None:
        """How long after a use of a key GetKeyLastUsage tells it: with AWS up to an hour, and here it is 0 at first."""
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"A time must be 0 seconds or more, and at most {LONGEST}.")
        self._backend.usage.delay = seconds
