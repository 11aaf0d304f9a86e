# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""Several stores at once, each in a thread of its own: it takes as long as the slowest, not as long as all together."""

from __future__ import annotations

import contextlib
import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any
from typing import Callable
from typing import Optional
from typing import Sequence

from . import result
from .api import Client
from .apply import Handover
from .apply import History
from .clock import Clock
from .lease import Lease
from .lease import Leases
from .lease import Report
from .model import AWS_CLOUDHSM
from .model import IN_SERVICE
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore
from .owner import Permit
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


@dataclass
class Seen:
    """What a task has found out about a store: all that another process needs to go on with it.

    Attributes:
        history: see there.
        plan: what is to be done; None where that could not be decided.
        error: why not, or why it could not be done.
        lease: of an earlier window that has taken the store out of service.
        report: what the keeper of an earlier window did.
        task: what the task about it hands over.
    """

    history: TimedHistory
    plan: Optional[Plan] = None
    error: Optional[CustomKeyStoreError] = None
    lease: Optional[Lease] = None
    report: Optional[Report] = None
    task: Optional[Handover] = None


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
    """What is to be done about one store of the group, and how that went.

    Args:
        member: the store.
        verify: prove that it works when it is connected?
        leases: of stores that are out of service.
        permit: see there.
        clock: see there.
        progress: see there.

    Attributes:
        lease: what run() keeps in mind of the store; None where it takes nothing out of service.
    """

    def __init__(
        self, member: Member, *, verify: bool, leases: Leases, permit: Permit, clock: Clock, progress: Progress
    ) -> None:
        self._member = member
        self._desired = member.desired
        self._verify = verify
        self._verified = False
        self.lease: Optional[Lease] = None
        self._leases = leases
        self._permit = permit
        self._clock = clock
        self._progress = progress
        self._seen = Seen(TimedHistory())
        self._task = self._new_task()

    def _new_task(self) -> Task:
        return Task(
            self._desired,
            client=self._member.client,
            place=self._member.place,
            history=self._history,
            clock=replace(self._clock, announce=self._progress.reporter(self._desired, self._history)),
            permit=self._permit,
        )

    @property
    def _history(self) -> TimedHistory:
        return self._seen.history

    @property
    def error(self) -> Optional[CustomKeyStoreError]:
        return self._seen.error

    @property
    def client(self) -> Client:
        return self._member.client

    @property
    def store(self) -> Optional[CustomKeyStore]:
        """As it was last seen; None where there is none."""
        return self._history.store

    def is_in_service(self) -> bool:
        """Looks. Raises CustomKeyStoreError where KMS could not be asked."""
        store = self.store
        return store is not None and self._task.kms.describe_by_id(store.id).connection_state in IN_SERVICE

    @property
    def is_done(self) -> bool:
        """Is nothing to be done?"""
        return self.error is not None or self._seen.plan is None or not self._seen.plan.steps

    def plan(self) -> None:
        """Look at the store and decide; keeps the error where that is not possible."""
        try:
            self._seen.plan = self._task.plan()
            if self._history.store is not None:
                self._seen.lease = self._leases.of(self._history.store.id)
                self._seen.report = self._leases.report(self._history.store.id)
                self._refuse_second_window(self._seen.lease)
        except CustomKeyStoreError as error:
            self._seen.error = error
        except Exception as error:
            self._seen.error = _unexpected(error)

    def _refuse_second_window(self, lease: Optional[Lease]) -> None:
        """Two windows at once would take the store from each other."""
        if self._desired.state == "disconnected" and lease is not None and lease.is_in_use:
            until = "" if lease.until is None else f", until {lease.until} at the latest"
            raise CustomKeyStoreError(
                f"The custom key store {self._history.store} is in another maintenance window, which began at"
                f" {lease.time}{until}. Wait for the end of its play, or end that play."
            )

    def hand_over(self) -> Seen:
        """What another process needs to go on in place of plan()."""
        return replace(self._seen, task=self._task.hand_over() if self._seen.plan is not None else None)

    @property
    def to_lease(self) -> Optional[Lease]:
        """What is to be kept in mind of a store that is about to be taken out of service, or that an earlier window has left."""
        store = self._history.store
        if self._desired.state != "disconnected" or store is None or self.error is not None:
            return None
        return self._seen.lease or (Lease.on(store) if store.connection_state in IN_SERVICE else None)

    def resume(self, seen: Seen) -> None:
        """Go on from there."""
        self._seen = seen
        self._task = self._new_task()
        if seen.task is not None:
            self._task.resume(seen.task)

    def open_lease(self, *, until: Optional[datetime.datetime], holder: str) -> None:
        """Keep the store in mind, if it is about to be taken out of service; keeps the error where that fails."""
        lease = self.to_lease
        if lease is not None:
            try:
                self._refuse_second_window(self._leases.of(lease.custom_key_store_id))
                run = self._permit.run.token or ""
                self.lease = self._leases.open(lease.held(until=until, holder=holder, run=run))
            except CustomKeyStoreError as error:
                self._seen.error = error

    def begin(self) -> None:
        """Become the owner of the store, and bring it back in place of the keeper that an earlier window may have left."""
        if self._seen.plan is not None and self.error is None:
            self._task.begin(self._seen.plan)
        if self._desired.state == "connected" and self._seen.lease is not None:
            with contextlib.suppress(CustomKeyStoreError):
                self._leases.open(self._seen.lease.held())

    def run(self) -> None:
        """Carry the plan out; keeps the error where that fails."""
        if self._seen.plan is None or self.error is not None:
            return
        try:
            self._task.run(self._seen.plan)
            if self._desired.state == "connected":
                self._back_in_service()
        except CustomKeyStoreError as error:
            self._seen.error = error
        except Exception as error:
            # One store must not keep the others from coming back, nor their results from being told.
            self._seen.error = _unexpected(error)
        finally:
            self._progress.done(self._desired)

    def hold_back(self) -> None:
        """Leave the store as it is."""
        store = self._history.store
        if store is not None and store.connection_state in IN_SERVICE and self._seen.lease is None:
            self._leases.end(store.id)
        if self.error is None:
            self._seen.plan = Plan((), store)

    def forget_report(self) -> None:
        """What a keeper did is in the result of this task."""
        if self._seen.report is not None:
            self._leases.forget_report(self._seen.report.custom_key_store_id)

    def _back_in_service(self) -> None:
        """A cluster that does not work can hide behind CONNECTED (R24)."""
        store = self._history.store
        if store is None or store.connection_state is not ConnectionState.CONNECTED:
            return
        self._leases.end(store.id)
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
        elif self._seen.plan is None:
            raise RuntimeError("plan() comes before to_result()")
        elif foretold:
            outcome = self._task.foretell(self._seen.plan)
        else:
            outcome = result.reached(self._history, self._seen.plan, waited=self._desired.wait)
        lease, report = self._seen.lease, self._seen.report
        return {
            "custom_key_store_id": self._history.store.id if self._history.store else self._desired.custom_key_store_id,
            "name": self._history.store.name if self._history.store else self._desired.name,
            "region": self._member.region,
            "failed": self.error is not None,
            "transitions": self._history.transitions(),
            "remembered": None if lease is None else lease.to_result(),
            "keeper_report": None if report is None else asdict(report),
            "verified": self._verified,
            **outcome,
        }


def _unexpected(error: Exception) -> CustomKeyStoreError:
    return CustomKeyStoreError(
        f"An unexpected error, which should be reported to the maintainers of the collection: {type(error).__name__}: {error}"
    )


class Group:
    """Several stores that shall be where the task asks for, all at the same time.

    Args:
        tasks: one for each store.
        takes_away: shall they be disconnected? That is all or nothing at first: where one store cannot be found or is refused,
            none is touched. To connect is not: one store that cannot be connected does not keep the others from it.
    """

    def __init__(self, tasks: Sequence[StoreTask], *, takes_away: bool) -> None:
        self._tasks = tasks
        self._takes_away = takes_away

    def plan(self) -> None:
        """Look at all stores."""
        _all_at_once([task.plan for task in self._tasks])

    @property
    def is_done(self) -> bool:
        """Is nothing to be done, or nothing that may be done?"""
        return self._is_refused or all(task.is_done for task in self._tasks)

    @property
    def needs_keeper(self) -> bool:
        """Is any store to be kept in mind?"""
        return not self._is_refused and any(task.to_lease is not None for task in self._tasks)

    @property
    def _is_refused(self) -> bool:
        return self._takes_away and any(task.error is not None for task in self._tasks)

    def run(self, *, until: Optional[datetime.datetime] = None, holder: str = "") -> None:
        """Do it.

        Args:
            until: when a keeper brings those back that are disconnected.
            holder: that keeper's token.
        """
        if not self._is_refused:
            for task in self._tasks:
                task.open_lease(until=until, holder=holder)
                task.begin()
        if self._is_refused:
            for task in self._tasks:
                task.hold_back()
        else:
            _all_at_once([task.run for task in self._tasks])
        for task in self._tasks:
            task.forget_report()

    def to_results(self, *, foretold: bool) -> list[dict[str, Any]]:
        """What the task returns about each store, in their order.

        Args:
            foretold: what would be done, instead of what was.
        """
        if foretold and self._is_refused:
            for task in self._tasks:
                task.hold_back()
        return [task.to_result(foretold=foretold) for task in self._tasks]


def _all_at_once(jobs: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(min(len(jobs), AT_ONCE)) as pool:
        for job in [pool.submit(job) for job in jobs]:
            job.result()
