# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One description of all stores for all threads that wait for one, and one change after the other.

KMS allows five requests of an operation a second in an account and Region (R29): a dozen stores that are looked at or moved
without regard for each other would throttle each other, and everybody else.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

from .clock import Clock
from .kms import Client

SPACING = 0.25
"""Seconds between two looks: four a second, which leaves one for others."""

TURN = 0.2
"""Seconds between two requests of an operation that changes a store: five a second."""

Stores = list[dict[str, Any]]


class SharedDescriptions:
    """A client for KMS, for several threads, each of which looks at a store of its own.

    Who looks first waits until the last look is long enough ago, and looks at all stores; who comes meanwhile is shown the same.
    So an answer is never older than the question.

    Args:
        client: a boto3 client for KMS.
        clock: see there.
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
        """Who comes first goes first. To be throttled would take longer, and strike any of them, in any order."""
        with self._lock:
            now = self._clock.monotonic()
            turn = max(now, self._turns.get(operation, now))
            self._turns[operation] = turn + TURN
        if turn > now:
            self._clock.sleep(turn - now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def describe_custom_key_stores(self, **which: str) -> dict[str, Any]:
        """As the client's, for one store by its id or name."""
        for store in self._all_stores():
            if which.items() <= store.items():
                return {"CustomKeyStores": [store]}
        return self._client.describe_custom_key_stores(
            **which
        )  # raises that there is none; or it is just becoming visible

    def _all_stores(self) -> Stores:
        with self._lock:
            answer = self._next
            leads = not self._has_leader
            self._has_leader = True
            pause = self._not_before - self._clock.monotonic()
        if leads:
            self._look(answer, pause)
        return answer.result()

    def _look(self, answer: Future[Stores], pause: float) -> None:
        if pause > 0:
            self._clock.sleep(pause)
        with self._lock:  # who comes from now on needs a later look
            self._next = Future()
            self._has_leader = False
            self._not_before = self._clock.monotonic() + SPACING
        try:
            answer.set_result(self._listed())
        except BaseException as error:  # whatever it is, all who wait get it: none may wait for ever
            answer.set_exception(error)

    def _listed(self) -> Stores:
        page = self._client.describe_custom_key_stores()
        stores = list(page["CustomKeyStores"])
        while page.get("Truncated"):
            page = self._client.describe_custom_key_stores(Marker=page["NextMarker"])
            stores += page["CustomKeyStores"]
        return stores
