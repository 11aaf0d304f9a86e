# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a keeper does about its leases in AWS. It never waits for them: the stores are out of service meanwhile."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import datetime
import threading
from dataclasses import replace
from typing import Callable
from typing import Iterator
from typing import Mapping
from typing import Optional
from typing import Tuple

from .keeper import Keeper
from .lease import Lease
from .model import CustomKeyStoreError
from .schedule import RENEW_SECONDS
from .schedule import AwsLeases

SHORT_PATIENCE = 5.0
"""Seconds in which a request is retried that a connect waits for."""

MINUTE = datetime.timedelta(minutes=1)


class Renewal:
    """Renews the leases in AWS of one window.

    Args:
        keeper: of the window. Its C(ends_later) is set.
        leases: of each store that has a lease in AWS, by its id: what it is kept with, and the lease as it was made.
    """

    def __init__(self, keeper: Keeper, leases: Mapping[str, Tuple[Callable[[], AwsLeases], Lease]]) -> None:
        self._keeper = keeper
        self._leases = leases
        if leases:
            keeper.ends_later = self._ends_later

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Meanwhile, renew all leases each minute, so that other machines check that the keeper is alive."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(RENEW_SECONDS):
                self.renew()

        if self._leases:
            threading.Thread(target=renew, daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def renew(self) -> None:
        """Renew all leases once. A store that another machine has taken over is left to that."""
        for each, (make, lease) in self._leases.items():
            if each in self._keeper.stores:
                with contextlib.suppress(CustomKeyStoreError):  # others see soon enough that it was not renewed
                    there = make().renew(lease)
                    if there is not None and there.holder != lease.holder:
                        self._keeper.left.add(each)

    def _ends_later(self) -> Optional[datetime.datetime]:
        """When the leases end by the clock of the host, if somebody has extended them in AWS; None if nobody has."""
        later = None
        for make, lease in self._leases.values():
            with contextlib.suppress(CustomKeyStoreError):
                leases = replace(make(), patience=SHORT_PATIENCE)
                there = leases.of(lease.custom_key_store_id)
                if there is None or there.until is None or there.holder != lease.holder or there.until == lease.until:
                    continue
                left = datetime.datetime.fromisoformat(there.until) - leases.now()
                ends = self._keeper.time() + left - MINUTE  # AWS rounds up
                later = ends if later is None else max(later, ends)
        return later

    def put_off(self, *, seconds: float) -> None:
        """Before the stores are connected: AWS must not try that as well, unless this keeper dies over it.

        Args:
            seconds: how long the connect takes at most.
        """
        soon = self._keeper.time() + datetime.timedelta(seconds=seconds)
        for each, (make, lease) in self._leases.items():
            ends = datetime.datetime.fromisoformat(lease.until) if lease.until else soon
            if each in self._keeper.stores and ends <= soon:
                with contextlib.suppress(CustomKeyStoreError):
                    leases = replace(make(), patience=SHORT_PATIENCE)
                    leases.end_at(each, seconds=seconds, later_only=True)
