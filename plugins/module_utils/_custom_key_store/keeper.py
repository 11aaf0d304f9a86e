# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper: the process that disconnected the stores keeps running, and reconnects them however their window ends.

It keeps all that a connect needs in memory. It makes no request to KMS until it acts. It acts once: when the play requests it at
the end of the window, when the play no longer runs, or when the lease expires.
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

POLL_SECONDS = 0.1
"""Seconds between two checks whether the play requests the reconnect. The stores are out of service meanwhile."""

POLLS_PER_CHECK = 10
"""Only every so many polls, the keeper checks the rest: the end of the play, and other windows that take stores over."""


class Reason(Enum):
    """Why the keeper acts."""

    ASKED = "asked"
    """The play has reached the end of the window."""

    GONE = "gone"
    """The play has ended before that."""

    OVER = "over"
    """The lease has expired, and the play may still run."""

    ENDED = "ended"
    """The keeper itself has to exit, as when the host shuts down."""

    LEFT = "left"
    """Other windows have taken over all stores: there is nothing to do."""


class Interrupted(CustomKeyStoreError):
    """The keeper must reconnect the stores before all of them are disconnected."""

    def __init__(self) -> None:
        super().__init__("The window ended before the store was disconnected.")


@dataclass
class Keeper:
    """Waits for the end of a window.

    Attributes:
        run: the play.
        until: when the lease expires.
        end: a file with which the play requests the reconnect.
        holder: the keeper's token in its leases.
        leases: see C(Leases).
        stores: the stores to reconnect: their leases, by id.
        in_service: describes a store: is it CONNECTED? Called only if its lease no longer exists.
        clock: see C(Clock).
        time: returns the time, for the lease.
        ended: did the keeper get a signal to exit?
        left: the ids of stores that another machine has taken over, as their leases in AWS say.
        ends_later: when the leases in AWS expire, by the clock of the host. Called only when the lease has expired.
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
        """From now on, reconnect the stores before the process exits on a signal. For the main thread."""

        def end(_number: int, _frame: object) -> None:
            self.ended = True

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, end)

    def reason(self) -> Optional[Reason]:
        """Why the keeper must reconnect the stores now; None as long as it must not."""
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
        """Raises Interrupted if the keeper must reconnect the stores now."""
        if self.reason() is not None:
            raise Interrupted

    def wait(self) -> Reason:
        """Wait until the keeper must reconnect the stores, or others have taken them over."""
        poll = 0
        while True:
            if poll % POLLS_PER_CHECK == 0 or os.path.exists(self.end):
                reason = self.reason()
                self._leave_to_others()
                if not self.stores:
                    return Reason.LEFT
                if reason is not None:
                    return reason
            self.clock.sleep(POLL_SECONDS)
            poll += 1

    def _leave_to_others(self) -> None:
        """Forget each store that another window has taken over, or that is in service again."""
        for custom_key_store_id in list(self.stores):
            with contextlib.suppress(CustomKeyStoreError):  # a lease that cannot be read changes nothing
                if not self._is_ours(custom_key_store_id):
                    del self.stores[custom_key_store_id]

    def _is_ours(self, custom_key_store_id: str) -> bool:
        if custom_key_store_id in self.left:
            return False
        lease = self.leases.of(custom_key_store_id)
        if lease is None:
            # The lease has ended; or a user has emptied the folder, and the store is still out of service.
            if self.in_service(custom_key_store_id):
                return False
            lease = self.leases.change(custom_key_store_id, lambda present: present or self.stores[custom_key_store_id])
        if lease is not None:
            self._follow(lease)
        return lease is not None and lease.holder == self.holder

    def _follow(self, lease: Lease) -> None:
        """Follow the lease: a user may have extended or shortened it."""
        known = self.stores[lease.custom_key_store_id]
        if lease.holder == self.holder and lease.until is not None and lease.until != known.until:
            self.stores[lease.custom_key_store_id] = lease
            self.until = datetime.datetime.fromisoformat(lease.until)
