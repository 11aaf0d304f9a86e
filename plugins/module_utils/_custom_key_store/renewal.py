# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Renews the leases in AWS of a keeper, and never waits for AWS: the stores are out of service meanwhile."""

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
"""How long to retry a request before a connect, in seconds."""

MINUTE = datetime.timedelta(minutes=1)


class Renewal:
    """Renews the leases in AWS of one window.

    Args:
        keeper: of the window. The renewal sets its C(ends_later).
        leases: for each store with a lease in AWS, by store id: what makes the client, and the lease as it was opened.
    """

    def __init__(self, keeper: Keeper, leases: Mapping[str, Tuple[Callable[[], AwsLeases], Lease]]) -> None:
        self._keeper = keeper
        self._leases = leases
        if leases:
            keeper.ends_later = self._ends_later

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """In this block, renew all leases each minute, so that other machines know that the keeper runs."""
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
        """Renew all leases once. Leave a store that another machine has taken over to that machine."""
        for each, (make, lease) in self._leases.items():
            if each in self._keeper.stores:
                with contextlib.suppress(CustomKeyStoreError):  # other machines will notice that it was not renewed
                    present = make().renew(lease)
                    if present is not None and present.holder != lease.holder:
                        self._keeper.left.add(each)

    def _ends_later(self) -> Optional[datetime.datetime]:
        """When the leases expire by the clock of the host, if a user has extended them in AWS; None otherwise."""
        later = None
        for make, lease in self._leases.values():
            with contextlib.suppress(CustomKeyStoreError):
                leases = replace(make(), patience=SHORT_PATIENCE)
                present = leases.of(lease.custom_key_store_id)
                if (
                    present is None
                    or present.until is None
                    or present.holder != lease.holder
                    or present.until == lease.until
                ):
                    continue
                left = datetime.datetime.fromisoformat(present.until) - leases.now()
                ends = self._keeper.time() + left - MINUTE  # AWS rounds up
                later = ends if later is None else max(later, ends)
        return later

    def put_off(self, *, seconds: float) -> None:
        """Extend the leases before the keeper connects the stores, so that AWS does so only if the keeper dies meanwhile.

        Args:
            seconds: the maximum duration of the connect.
        """
        soon = self._keeper.time() + datetime.timedelta(seconds=seconds)
        for each, (make, lease) in self._leases.items():
            ends = datetime.datetime.fromisoformat(lease.until) if lease.until else soon
            if each in self._keeper.stores and ends <= soon:
                with contextlib.suppress(CustomKeyStoreError):
                    leases = replace(make(), patience=SHORT_PATIENCE)
                    leases.end_at(each, seconds=seconds, later_only=True)
