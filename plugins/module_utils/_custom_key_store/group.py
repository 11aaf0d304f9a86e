# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""Several stores at once, each in a thread of its own: it takes as long as the slowest, not as long as all together."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any
from typing import Callable
from typing import Optional
from typing import Sequence

from . import result
from .api import Client
from .apply import History
from .clock import Clock
from .model import AWS_CLOUDHSM
from .model import IN_SERVICE
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore
from .notes import Note
from .notes import Notes
from .plan import Plan
from .progress import Progress
from .task import Task

AT_ONCE = 100
"""How many stores at most are worked on at the same time. A thread that waits costs little."""


@dataclass
class TimedHistory(History):
    """A history that knows when each connection state was first seen.

    Attributes:
        times: of C(connection_states), in the same order.
    """

    times: list[datetime.datetime] = field(default_factory=list)

    def saw(self, store: CustomKeyStore) -> CustomKeyStore:
        super().saw(store)
        if len(self.times) < len(self.connection_states):
            self.times.append(datetime.datetime.now(datetime.timezone.utc))
        return store

    def transitions(self) -> list[dict[str, str]]:
        """For the result: C(connection_state) and C(time), in ISO 8601."""
        return [
            {"connection_state": state.value, "time": time.isoformat(timespec="seconds")}
            for state, time in zip(self.connection_states, self.times)
        ]


@dataclass(frozen=True)
class Member:
    """One store of the group.

    Attributes:
        desired: what is asked for.
        client: a boto3 client for KMS.
        region: where the store is.
        place: names Region and account; asked only when there is no such store.
    """

    desired: DesiredStore
    client: Client
    region: str
    place: Callable[[], str]


class StoreTask:
    """What is to be done about one store of the group, and how that went."""

    def __init__(self, member: Member, *, verify: bool, notes: Notes, clock: Clock, progress: Progress) -> None:
        self._desired = member.desired
        self._region = member.region
        self._verify = verify
        self._verified = False
        self._notes = notes
        self._note: Optional[Note] = None
        self._progress = progress
        self._history = TimedHistory()
        self._task = Task(
            member.desired,
            client=member.client,
            place=member.place,
            history=self._history,
            clock=replace(clock, announce=progress.reporter(member.desired, self._history)),
        )
        self._plan: Optional[Plan] = None
        self.error: Optional[CustomKeyStoreError] = None

    def plan(self) -> None:
        """Look at the store and decide; keeps the error where that is not possible."""
        try:
            self._plan = self._task.plan()
            if self._history.store is not None:
                self._note = self._notes.of(self._history.store.id)
        except CustomKeyStoreError as error:
            self.error = error

    def note(self) -> None:
        """Note that the store is in service, if it is about to be taken out of it; keeps the error where that fails."""
        store = self._history.store
        if self._desired.state == "disconnected" and store is not None and store.connection_state in IN_SERVICE:
            try:
                self._notes.write(store)
            except CustomKeyStoreError as error:
                self.error = error

    def run(self) -> None:
        """Carry the plan out; keeps the error where that fails."""
        if self._plan is None or self.error is not None:
            return
        try:
            self._task.run(self._plan)
            if self._desired.state == "connected":
                self._back_in_service()
        except CustomKeyStoreError as error:
            self.error = error
        finally:
            self._progress.done(self._desired)

    def hold_back(self) -> None:
        """Leave the store as it is."""
        store = self._history.store
        if store is not None and store.connection_state in IN_SERVICE:
            self._notes.remove(store.id)
        if self.error is None:
            self._plan = Plan((), store)

    def _back_in_service(self) -> None:
        """A cluster that does not work can hide behind CONNECTED (R24)."""
        store = self._history.store
        if store is None or store.connection_state is not ConnectionState.CONNECTED:
            return
        self._notes.remove(store.id)
        if not self._verify or store.type != AWS_CLOUDHSM:
            return
        try:
            self._task.kms.generate_random(store.id)
        except CustomKeyStoreError as error:
            error.message = f"The custom key store {store} is CONNECTED, but does not work. {error.message}"
            raise
        self._verified = True

    def to_result(self, *, foretold: bool) -> dict[str, Any]:
        """What the task returns about this store.

        Args:
            foretold: what would be done, instead of what was.
        """
        if self.error is not None:
            outcome = result.failed(self._history, self.error)
        elif self._plan is None:
            raise RuntimeError("plan() comes before to_result()")
        elif foretold:
            outcome = self._task.foretell(self._plan)
        else:
            outcome = result.reached(self._history, self._plan, waited=self._desired.wait)
        return {
            "custom_key_store_id": self._history.store.id if self._history.store else self._desired.custom_key_store_id,
            "name": self._history.store.name if self._history.store else self._desired.name,
            "region": self._region,
            "failed": self.error is not None,
            "transitions": self._history.transitions(),
            "remembered": self._note,
            "verified": self._verified,
            **outcome,
        }


def bring_about(
    members: Sequence[Member], *, verify: bool, notes: Notes, clock: Clock, progress: Progress, check_mode: bool
) -> list[dict[str, Any]]:
    """Bring stores to what is asked for, all at the same time.

    To disconnect is all or nothing at first: where one store cannot be found or is refused, none is touched. To connect is
    not: one store that cannot be connected does not keep the others from it.

    Returns:
        What the task returns about each store, in their order.
    """
    tasks = [StoreTask(member, verify=verify, notes=notes, clock=clock, progress=progress) for member in members]
    _all_at_once([task.plan for task in tasks])
    takes_away = any(member.desired.state == "disconnected" for member in members)
    if takes_away and not check_mode and not _refused(tasks):
        for task in tasks:
            task.note()
    if takes_away and _refused(tasks):
        for task in tasks:
            task.hold_back()
    elif not check_mode:
        _all_at_once([task.run for task in tasks])
    return [task.to_result(foretold=check_mode) for task in tasks]


def _refused(tasks: Sequence[StoreTask]) -> bool:
    return any(task.error is not None for task in tasks)


def _all_at_once(jobs: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(min(len(jobs), AT_ONCE)) as pool:
        for job in [pool.submit(job) for job in jobs]:
            job.result()
