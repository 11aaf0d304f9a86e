# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One description of all stores for all threads that wait, and one change at a time.

KMS allows five requests of an operation a second in an account and Region (R29). A dozen threads that describe or move their
stores without coordination would throttle each other, and all other users.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from .clock import Clock
from .kms import Client

SPACING = 0.25
"""Seconds between two descriptions: four a second, which leaves one for other users."""

TURN = 0.2
"""Seconds between two requests of an operation that changes a store: five a second."""

Stores = list[dict[str, Any]]


class SharedDescriptions:
    """A client for KMS, shared by several threads, each of which polls its own store.

    The first thread waits until the last description is long enough ago, and describes all stores. Threads that call meanwhile
    get the same answer. So an answer is never older than its call.

    Args:
        client: a boto3 client for KMS.
        clock: see C(Clock).
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._next: Future[Stores] = Future()
        self._has_leader = False
        self._not_before = clock.monotonic()
        self._turns: dict[str, float] = {}

    def wait_for_turn(self, operation: str) -> None:
        """Wait for the turn of this thread, in the order of the calls. Throttling would take longer, and change the order."""
        with self._lock:
            now = self._clock.monotonic()
            turn = max(now, self._turns.get(operation, now))
            self._turns[operation] = turn + TURN
        if turn > now:
            self._clock.sleep(turn - now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def describe_custom_key_stores(self, **which: str) -> dict[str, Any]:
        """The operation of the client, for one store by its id or name."""
        for store in self._all_stores():
            if which.items() <= store.items():
                return {"CustomKeyStores": [store]}
        return self._client.describe_custom_key_stores(**which)  # raises NotFound; or the store has just become visible

    def _all_stores(self) -> Stores:
        with self._lock:
            answer = self._next
            leads = not self._has_leader
            self._has_leader = True
            pause = self._not_before - self._clock.monotonic()
        if leads:
            self._fetch(answer, pause)
        return answer.result()

    def _fetch(self, answer: Future[Stores], pause: float) -> None:
        if pause > 0:
            self._clock.sleep(pause)
        with self._lock:  # calls from now on need a later description
            self._next = Future()
            self._has_leader = False
            self._not_before = self._clock.monotonic() + SPACING
        try:
            answer.set_result(self._listed())
        except BaseException as error:  # all threads that wait must get the error, or they would wait forever
            answer.set_exception(error)

    def _listed(self) -> Stores:
        page = self._client.describe_custom_key_stores()
        stores = list(page["CustomKeyStores"])
        while page.get("Truncated"):
            page = self._client.describe_custom_key_stores(Marker=page["NextMarker"])
            stores += page["CustomKeyStores"]
        return stores
