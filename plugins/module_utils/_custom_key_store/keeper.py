# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper: the process that disconnected stores stays, and reconnects them however their window ends.

It holds what it needs to connect them in memory. It asks KMS for nothing until it acts, and it acts once: when the play asks for
it at the end of the window, when the play is gone, or when the lease is over.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import datetime
import os
import signal
from dataclasses import dataclass
from dataclasses import field
from enum import Enum
from typing import Callable
from typing import Optional

from .clock import Clock
from .lease import Lease
from .lease import Leases
from .lease import now
from .model import CustomKeyStoreError
from .run import Run

LOOK_SECONDS = 0.1
"""How often to look whether the play asks for the stores. They are out of service meanwhile."""

RARE_LOOKS = 10
"""Only each so many looks at what comes by itself: the end of the play, and other windows that take stores over."""


class Reason(Enum):
    """Why the keeper acts."""

    ASKED = "asked"
    """The play has come to the end of the window."""

    GONE = "gone"
    """The play has ended without that."""

    OVER = "over"
    """The lease is over, and the play may still be at work."""

    ENDED = "ended"
    """The keeper itself shall end, as when the host is shut down."""

    LEFT = "left"
    """Others have taken all stores over: there is nothing to do."""


class Interrupted(CustomKeyStoreError):
    """The stores must come back before all of them are disconnected."""

    def __init__(self) -> None:
        super().__init__("The window ended before the store was disconnected.")


@dataclass
class Keeper:
    """Waits for the end of a window.

    Attributes:
        run: the play.
        until: when the lease is over.
        end: a file; when it is there, the play asks for the stores.
        holder: the keeper's token in its leases.
        leases: see there.
        stores: the ids of the stores to bring back.
        in_service: looks whether a store is CONNECTED. Asked only where its lease has vanished.
        clock: see there.
        time: now, for the lease.
        ended: was the keeper told to end?
        left: the ids of stores that another machine has taken over, as their leases in AWS say.
        ends_later: when the lease is over as its leases in AWS say, by the clock of the host. Asked only when it is over.
    """

    run: Run
    until: datetime.datetime
    end: str
    holder: str
    leases: Leases
    stores: dict[str, Lease] = field(default_factory=dict)
    in_service: Callable[[str], bool] = lambda custom_key_store_id: False
    clock: Clock = field(default_factory=Clock)
    time: Callable[[], datetime.datetime] = now
    ended: bool = False
    left: set[str] = field(default_factory=set)
    ends_later: Callable[[], Optional[datetime.datetime]] = lambda: None

    def listen(self) -> None:
        """From now on, do not die of a signal that asks for an end: bring the stores back first. For the main thread."""

        def end(_number: int, _frame: object) -> None:
            self.ended = True

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, end)

    def reason(self) -> Optional[Reason]:
        """Why the stores must come back now; None as long as they need not."""
        if os.path.exists(self.end):
            return Reason.ASKED
        if self.run.is_gone():
            return Reason.GONE
        if self.ended:
            return Reason.ENDED
        return Reason.OVER if self._is_over() else None

    def _is_over(self) -> bool:
        if self.time() < self.until:
            return False
        later = self.ends_later()
        if later is not None:
            self.until = max(self.until, later)
        return self.time() >= self.until

    def check(self) -> None:
        """Raises Interrupted where the stores must come back now."""
        if self.reason() is not None:
            raise Interrupted

    def wait(self) -> Reason:
        """Wait until the stores must come back, or others care for them."""
        look = 0
        while True:
            if look % RARE_LOOKS == 0 or os.path.exists(self.end):
                reason = self.reason()
                self._leave_to_others()
                if not self.stores:
                    return Reason.LEFT
                if reason is not None:
                    return reason
            self.clock.sleep(LOOK_SECONDS)
            look += 1

    def _leave_to_others(self) -> None:
        """Forget each store that another window has taken over, or that is in service again."""
        for custom_key_store_id in list(self.stores):
            with contextlib.suppress(CustomKeyStoreError):  # one that cannot be read says nothing
                if not self._is_ours(custom_key_store_id):
                    del self.stores[custom_key_store_id]

    def _is_ours(self, custom_key_store_id: str) -> bool:
        if custom_key_store_id in self.left:
            return False
        lease = self.leases.of(custom_key_store_id)
        if lease is None:
            # It has ended; or somebody has emptied the folder, and the store is still out of service.
            if self.in_service(custom_key_store_id):
                return False
            lease = self.leases.change(custom_key_store_id, lambda present: present or self.stores[custom_key_store_id])
        if lease is not None:
            self._follow(lease)
        return lease is not None and lease.holder == self.holder

    def _follow(self, lease: Lease) -> None:
        """Somebody may have extended the lease, or shortened it."""
        known = self.stores[lease.custom_key_store_id]
        if lease.holder == self.holder and lease.until is not None and lease.until != known.until:
            self.stores[lease.custom_key_store_id] = lease
            self.until = datetime.datetime.fromisoformat(lease.until)
