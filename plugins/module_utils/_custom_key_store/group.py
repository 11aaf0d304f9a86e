# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several stores at once, each in its own thread: the task takes as long as the slowest store."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import datetime
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from typing import Any
from typing import Callable
from typing import Mapping
from typing import Optional
from typing import Sequence

from . import result
from .apply import Handover
from .clock import Clock
from .history import History
from .kms import Client
from .kms import NotFound
from .lease import Lease
from .lease import Leases
from .lease import Report
from .lease import now
from .model import IN_SERVICE
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore
from .owner import Permit
from .plan import Plan
from .progress import Progress
from .run import token_of
from .schedule import end_report
from .schedule import is_in_use
from .schedule import machine
from .schedule import refuse_second_window
from .schedule import schedule_name
from .task import Task

if TYPE_CHECKING:
    from .schedule import AwsLeases
    from .verify import Proof

AT_ONCE = 100
"""The maximum number of stores at the same time. A waiting thread costs little."""


class InAnotherWindow(CustomKeyStoreError):
    """Another window works on the store, and connects it at its end."""


class LeaseLost(CustomKeyStoreError):
    """The lease in AWS would not connect the store again, so the task does not disconnect it."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(
            f"The lease in AWS of this window, the schedule {schedule_name(lease.custom_key_store_id)}, has ended or belongs to"
            " another window. Therefore, this task does not disconnect the key store. Run the window again."
        )


@dataclass
class TimedHistory(History):
    """A history with the time when each connection state was first reported.

    Attributes:
        times: of C(connection_states), in the same order.
    """

    times: list[datetime.datetime] = field(default_factory=list)

    def described(self, store: CustomKeyStore) -> CustomKeyStore:
        super().described(store)
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
    """The state of a task for one store: all that another process needs to continue it.

    Attributes:
        history: see C(TimedHistory).
        plan: what to do; None if the task could not plan.
        error: why it could not plan, or why it failed.
        lease: of an earlier window that has disconnected the store.
        in_aws: the same lease in EventBridge Scheduler.
        report: what the keeper of an earlier window did.
        task: the state that the C(Task) hands over.
    """

    history: TimedHistory
    plan: Optional[Plan] = None
    error: Optional[CustomKeyStoreError] = None
    lease: Optional[Lease] = None
    in_aws: Optional[Lease] = None
    report: Optional[Report] = None
    task: Optional[Handover] = None


@dataclass(frozen=True)
class Member:
    """One store of the group.

    Attributes:
        desired: what the user asks for.
        client: a boto3 client for KMS.
        region: of the store.
        place: returns the Region and account; called only if there is no such store.
        leases_in_aws: makes the client of its lease in AWS; None if it can have none.
        reads_leases_in_aws: does the task read its lease in AWS?
        makes_lease_in_aws: does the task make one?
        reached: the connection options of the store, without secrets.
        verify_key_id: the KMS key to verify an external store with; None to find one.
    """

    desired: DesiredStore
    client: Client
    region: str
    place: Callable[[], str]
    leases_in_aws: Optional[Callable[[], AwsLeases]] = None
    reads_leases_in_aws: bool = False
    makes_lease_in_aws: bool = False
    reached: Mapping[str, str] = field(default_factory=dict)
    verify_key_id: Optional[str] = None


class StoreTask:
    """The task for one store of the group, and its outcome.

    Args:
        member: the store.
        verify: verify that it works once it is connected?
        leases: of disconnected stores.
        permit: see C(Permit).
        clock: see C(Clock).
        progress: see C(Progress).
        read_only: make no change, as in check mode?
        extends: change only the lease of the store?
        may_be_gone: was the store found by its lease in AWS, so that a user may have deleted it?
        leaves_to_windows: leave the store as it is if another window on this host still works on it?

    Attributes:
        lease: the lease that the task opens; None if it does not disconnect the store.
        lease_in_aws: the same lease in EventBridge Scheduler; None if there is none.
    """

    def __init__(
        self,
        member: Member,
        *,
        verify: bool,
        leases: Leases,
        permit: Permit,
        clock: Clock,
        progress: Progress,
        read_only: bool = False,
        extends: bool = False,
        may_be_gone: bool = False,
        leaves_to_windows: bool = False,
    ) -> None:
        self._member = member
        self._read_only = read_only
        self._extends = extends
        self._may_be_gone = may_be_gone
        self._leaves_to_windows = leaves_to_windows
        self._desired = member.desired
        self._verify = verify
        self._proof: Optional[Proof] = None
        self.lease: Optional[Lease] = None
        self.lease_in_aws: Optional[Lease] = None
        self._lease_report: Optional[str] = None
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
            permit=replace(self._permit, check_lease=self._check_lease),
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
        """As last described; None if there is none."""
        return self._history.store

    def is_in_service(self) -> bool:
        """Describes the store. Raises CustomKeyStoreError if that fails."""
        store = self.store
        return store is not None and self._task.kms.describe_by_id(store.id).connection_state in IN_SERVICE

    @property
    def is_done(self) -> bool:
        """Is there nothing to do?"""
        return self.error is not None or self._seen.plan is None or not self._seen.plan.steps

    def plan(self) -> None:
        """Describe the store and plan. If that fails, keep the error."""
        try:
            self._seen.plan = self._task.plan()
            if self._history.store is not None:
                self._seen.lease = self._leases.of(self._history.store.id)
                self._seen.report = self._leases.report(self._history.store.id)
                self._refuse_second_window(self._seen.lease)
                self._leave_to_its_window(self._seen.lease)
                if self._reads_leases_in_aws:
                    self._seen.in_aws = self._find_in_aws(self._history.store.id)
        except CustomKeyStoreError as error:
            self._seen.error = error
        except Exception as error:
            self._seen.error = _unexpected(error)

    @property
    def _reads_leases_in_aws(self) -> bool:
        """Not if the task connects the store: it must not stay out of service while EventBridge Scheduler has a fault."""
        return self._desired.state == "disconnected" or self._read_only

    def _find_in_aws(self, custom_key_store_id: str) -> Optional[Lease]:
        """The lease of an earlier window. Raises CustomKeyStoreError if this task may not take it over."""
        if self._member.leases_in_aws is None or not self._member.reads_leases_in_aws:
            return None
        leases = self._member.leases_in_aws()
        try:
            lease = leases.of(custom_key_store_id)
        except CustomKeyStoreError:
            if self._desired.state == "connected" and self._seen.lease is not None:
                return None  # the lease on this host is enough to reconnect the store
            raise
        if lease is not None and self._desired.state == "disconnected" and not self._extends:
            refuse_second_window(lease, leases.now())
        return lease

    def _refuse_second_window(self, lease: Optional[Lease]) -> None:
        """Raises CustomKeyStoreError if another window has the store: each would undo the work of the other."""
        if self._desired.state == "disconnected" and not self._extends and lease is not None and lease.is_in_use:
            until = "" if lease.until is None else f", until {lease.until} at the latest"
            raise CustomKeyStoreError(
                f"The custom key store {self._history.store} is in another maintenance window, which began at"
                f" {lease.time}{until}. Wait for the end of its play, or end that play."
            )

    def _leave_to_its_window(self, lease: Optional[Lease]) -> None:
        """Raises InAnotherWindow for a store that another window has disconnected and still works on."""
        store = self._history.store
        if not self._leaves_to_windows or store is None or store.connection_state in IN_SERVICE:
            return
        if lease is not None and self._is_of_another_window(lease):
            raise InAnotherWindow(
                f"The custom key store {store} is in another maintenance window, which began at {lease.time}. This task left"
                " it as it is. That window connects it at its end."
            )

    def _check_lease(self) -> None:
        """Raises LeaseLost if the lease in AWS would not connect the store again: it has expired, or a user has ended it."""
        lease, leases = self.lease_in_aws, self._member.leases_in_aws
        if lease is not None and leases is not None and not leases().is_held(lease):
            raise LeaseLost(lease)

    def hand_over(self) -> Seen:
        """Returns what another process needs to continue after plan()."""
        return replace(self._seen, task=self._task.hand_over() if self._seen.plan is not None else None)

    @property
    def to_lease(self) -> Optional[Lease]:
        """The lease to open for a store that is about to be disconnected, or that an earlier window has left disconnected."""
        store = self._history.store
        if self._desired.state != "disconnected" or store is None or self.error is not None:
            return None
        earlier = self._seen.lease or self._seen.in_aws
        return earlier or (Lease.on(store) if store.connection_state in IN_SERVICE else None)

    def resume(self, handed_over: Seen) -> None:
        """Continue from the state that another process has handed over."""
        self._seen = handed_over
        self._task = self._new_task()
        if handed_over.task is not None:
            self._task.resume(handed_over.task)

    def open_lease(self, *, until: Optional[datetime.datetime], minutes: float, holder: str) -> None:
        """Open the lease of the store, if the task is about to disconnect it. If that fails, keep the error.

        Args:
            until: when its keeper reconnects it; None if it has no keeper.
            minutes: the duration of its lease in AWS.
            holder: the keeper's token.
        """
        lease, store = self.to_lease, self._history.store
        if lease is None or store is None:
            return
        try:
            self._refuse_second_window(self._leases.of(store.id))
            run = self._permit.run.token or ""
            keeper = (token_of(os.getpid()) or "") if holder else ""
            lease = replace(lease, name=store.name, reached=self._member.reached, keeper=keeper)
            lease = lease.held(until=until, holder=holder, run=run)
            if self._member.leases_in_aws is not None and self._member.makes_lease_in_aws:
                self.lease_in_aws = self._member.leases_in_aws().open(lease, minutes=minutes)
                lease = replace(lease, schedule=schedule_name(store.id), until=lease.until or self.lease_in_aws.until)
            self.lease = self._leases.change(store.id, partial(self._unless_in_another_window, lease))
        except CustomKeyStoreError as error:
            self._seen.error = error
        except Exception as error:
            self._seen.error = _unexpected(error)

    def _unless_in_another_window(self, lease: Lease, present: Optional[Lease]) -> Lease:
        """Returns the lease. Raises CustomKeyStoreError if another window has opened one meanwhile."""
        self._refuse_second_window(present)
        return lease

    def extend_lease(self, minutes: float) -> None:
        """Let the lease expire so many minutes from now. If that fails, keep the error."""
        store, lease, in_aws = self._history.store, self._seen.lease, self._seen.in_aws
        if store is None:
            return
        try:
            if lease is None and in_aws is None:
                raise CustomKeyStoreError(
                    f"The custom key store {store} is in no maintenance window that this host"
                    f"{' or AWS' if self._member.reads_leases_in_aws else ''} knows of, so there is no lease to extend."
                )
            until = (now() + datetime.timedelta(minutes=minutes)).isoformat(timespec="seconds")
            if in_aws is not None and self._member.leases_in_aws is not None:
                extended = self._member.leases_in_aws().end_at(store.id, seconds=minutes * 60)
                until = until if lease is not None or extended is None else str(extended.until)
            if lease is not None:
                self._leases.update(store.id, lambda present: replace(present, until=until))
            self._lease_report = f"The lease of its window ends at {until}."
        except CustomKeyStoreError as error:
            self._seen.error = error

    def forget_if_gone(self) -> None:
        """Delete the lease in AWS of a store that a user has deleted."""
        if not (self._may_be_gone and isinstance(self.error, NotFound)) or self._member.leases_in_aws is None:
            return
        store_id = str(self._desired.custom_key_store_id)
        self._seen.error, self._seen.plan = None, Plan((), None)
        self._lease_report = "There is no such custom key store any more, so its lease in AWS is of no use."
        if not self._read_only:
            try:
                self._member.leases_in_aws().end(store_id)
            except CustomKeyStoreError as error:
                self._seen.error = error

    def begin(self) -> None:
        """Claim the store, and take over from the keeper that an earlier window may have left."""
        if self._desired.state == "connected" and self._history.store is not None and self.error is None:
            self._hold_lease(self._history.store)
        if self._seen.plan is not None and self.error is None:
            self._task.begin(self._seen.plan)

    def _hold_lease(self, store: CustomKeyStore) -> None:
        """Record in the lease that this run connects the store: as long as this run lives, no other window takes the store."""
        try:
            self._leases.update(store.id, partial(self._held_while_connecting, store))
        except InAnotherWindow as error:
            self._seen.error = error
        except CustomKeyStoreError:
            pass  # the task connects the store even if the lease cannot be read or written

    def _held_while_connecting(self, store: CustomKeyStore, lease: Lease) -> Lease:
        """The lease while this task connects the store. Raises InAnotherWindow if this task must not connect it."""
        self._leave_to_its_window(lease)
        if store.connection_state in IN_SERVICE and self._is_of_another_window(lease):
            return lease  # that window is about to disconnect the store
        return lease.held(run=self._permit.run.token or "", connecting=True)

    def run(self) -> None:
        """Apply the plan. If that fails, keep the error."""
        if self._seen.plan is None or self.error is not None:
            return
        try:
            self._task.run(self._seen.plan)
            if self._desired.state == "connected":
                self._back_in_service()
        except CustomKeyStoreError as error:
            self._seen.error = error
            self._warn_of_remaining_lease()
        except Exception as error:
            # An error for one store must not stop the reconnect of the others, nor hide their results.
            self._seen.error = _unexpected(error)
        finally:
            self._progress.done(self._desired)

    def _warn_of_remaining_lease(self) -> None:
        """Add to the error that AWS still connects the store: a user who leaves it disconnected must know that."""
        store = self._history.store
        if store is None or self._desired.state != "connected" or not self._knows_of_leases_in_aws:
            return
        if store.connection_state is not ConnectionState.CONNECTED:
            self._lease_report = (
                f"If it has a lease in AWS, the schedule {schedule_name(store.id)}, that lease is still there: AWS connects the"
                " store at its end."
            )

    def hold_back(self) -> None:
        """Leave the store as it is."""
        store = self._history.store
        if store is not None and store.connection_state in IN_SERVICE:
            if self._seen.lease is None and self.lease is not None:
                self._end_own_lease(self.lease)
            if self.lease_in_aws is not None and self._seen.in_aws is None:
                self._seen.error = self._end_in_aws(store) or self._seen.error
        if self.error is None:
            self._seen.plan = Plan((), store)

    def _end_own_lease(self, lease: Lease) -> None:
        """End the lease, unless another window has replaced it by its own."""
        with contextlib.suppress(CustomKeyStoreError):
            self._leases.update(lease.custom_key_store_id, lambda present: None if present == lease else present)
        self.lease = None

    def forget_report(self) -> None:
        """Delete the keeper's report: it is in the result of this task."""
        if self._seen.report is not None:
            self._leases.forget_report(self._seen.report.custom_key_store_id)

    def _back_in_service(self) -> None:
        """End the lease of a connected store, and verify it: KMS may report CONNECTED for a cluster that does not work (R24)."""
        store = self._history.store
        if store is None or store.connection_state is not ConnectionState.CONNECTED:
            return
        is_of_another_window = self._end_lease(store) is not None
        if is_of_another_window and not self._history.operations:
            return  # that window has not disconnected it yet
        left_over = self._end_in_aws(store)
        if not is_of_another_window:
            self._verify_store(store)
        if left_over is not None:
            raise left_over

    def _end_lease(self, store: CustomKeyStore) -> Optional[Lease]:
        """End the lease of a store that is in service. Returns the lease if it stays because another window holds it."""
        with contextlib.suppress(CustomKeyStoreError):
            return self._leases.update(store.id, lambda lease: lease if self._is_of_another_window(lease) else None)
        return None

    def _is_of_another_window(self, lease: Lease) -> bool:
        """Does another window use this lease, or is it about to?"""
        return not lease.connecting and lease.is_in_use and lease.run != (self._permit.run.token or "")

    def _stays_in_aws(self, lease: Lease, store: CustomKeyStore, at: datetime.datetime) -> bool:
        """Does another window hold a lease in AWS?

        Args:
            lease: as EventBridge Scheduler has it.
            store: last described as CONNECTED.
            at: the time, by AWS's clock.
        """
        if lease.run == (self._permit.run.token or "") and lease.machine == machine():
            return False
        if not self._history.operations and is_in_use(lease, at):
            return True
        # Another window may have opened the lease since, and disconnected the store.
        return self._task.kms.describe_by_id(store.id).connection_state is not ConnectionState.CONNECTED

    @property
    def _knows_of_leases_in_aws(self) -> bool:
        """Does the task read leases in AWS, or has an earlier window on this host made one?"""
        return self._member.reads_leases_in_aws or (self._seen.lease is not None and bool(self._seen.lease.schedule))

    def _end_in_aws(self, store: CustomKeyStore) -> Optional[CustomKeyStoreError]:
        """Delete the lease in AWS. If that fails, returns the error: a lease that stays connects the store again."""
        if self._member.leases_in_aws is None or not self._knows_of_leases_in_aws:
            return None
        leases = self._member.leases_in_aws()
        try:
            ended = leases.end(store.id, unless=lambda lease: self._stays_in_aws(lease, store, leases.now()))
            self._lease_report = end_report(ended, self._seen.lease, at=leases.now())
        except CustomKeyStoreError as error:
            return CustomKeyStoreError(
                f"The custom key store {store} is CONNECTED, but its lease in AWS could not be deleted. {error.message} At its"
                " end, the lease would connect the key store even if somebody has disconnected it on purpose. Delete the schedule"
                f" {schedule_name(store.id)} of EventBridge Scheduler in {self._member.region}, or run the task again.",
                error=error.error,
            )
        return None

    def _verify_store(self, store: CustomKeyStore) -> None:
        if not self._verify:
            return
        from .verify import verify  # few tasks need it

        self._proof = verify(self._task.kms, store, self._member.verify_key_id)

    def to_result(self, *, predicted: bool) -> dict[str, Any]:
        """The result of this store.

        Args:
            predicted: return what the task would do, instead of what it did.
        """
        if self.error is not None:
            outcome = result.failed(self._history, self.error)
        elif self._seen.plan is None:
            raise RuntimeError("plan() comes before to_result()")
        elif predicted:
            outcome = self._task.predict(self._seen.plan)
        else:
            outcome = result.reached(self._history, self._seen.plan, waited=self._desired.wait)
        lease, report = self._remembered(), self._seen.report
        return {
            "custom_key_store_id": self._history.store.id if self._history.store else self._desired.custom_key_store_id,
            "name": self._history.store.name if self._history.store else self._desired.name,
            "region": self._member.region,
            "failed": self.error is not None,
            "transitions": self._history.transitions(),
            "remembered": None if lease is None else lease.to_result(),
            "keeper_report": None if report is None else asdict(report),
            "lease_report": self._lease_report,
            "verified": self._proof is not None and self._proof.verified,
            "verification": None if self._proof is None else self._proof.text,
            **outcome,
        }

    def _remembered(self) -> Optional[Lease]:
        """The lease of an earlier window. AWS does not know the name of the store."""
        store, lease = self._history.store, self._seen.lease or self._seen.in_aws
        return lease if lease is None or store is None else replace(lease, name=store.name)


def _unexpected(error: Exception) -> CustomKeyStoreError:
    return CustomKeyStoreError(
        f"An unexpected error. Report it to the maintainers of the collection: {type(error).__name__}: {error}"
    )


class Group:
    """Several stores that the task moves to the same state, all at the same time.

    Args:
        tasks: one for each store.
        disconnects: does the task disconnect them? If so, and one store is not found or is refused, none is changed. If the task
            connects them, one store that fails does not stop the others.
    """

    def __init__(self, tasks: Sequence[StoreTask], *, disconnects: bool) -> None:
        self._tasks = tasks
        self._disconnects = disconnects

    def plan(self) -> None:
        """Describe all stores, and plan."""
        _all_at_once([task.plan for task in self._tasks])
        for task in self._tasks:
            task.forget_if_gone()

    @property
    def is_done(self) -> bool:
        """Is there nothing to do, or nothing that the task may do?"""
        return self._is_refused or all(task.is_done for task in self._tasks)

    @property
    def needs_keeper(self) -> bool:
        """Does any store need a lease?"""
        return not self._is_refused and any(task.to_lease is not None for task in self._tasks)

    @property
    def _is_refused(self) -> bool:
        return self._disconnects and any(task.error is not None for task in self._tasks)

    def run(self, *, until: Optional[datetime.datetime] = None, minutes: float = 0.0, holder: str = "") -> None:
        """Apply the plans.

        Args:
            until: when a keeper reconnects the disconnected stores.
            minutes: the duration of leases in AWS, if there are any.
            holder: the keeper's token.
        """
        if not self._is_refused:
            _all_at_once(
                [partial(task.open_lease, until=until, minutes=minutes, holder=holder) for task in self._tasks]
            )
            for task in self._tasks:
                task.begin()
        if self._is_refused:
            for task in self._tasks:
                task.hold_back()
        else:
            _all_at_once([task.run for task in self._tasks])
        for task in self._tasks:
            task.forget_report()

    def to_results(self, *, predicted: bool) -> list[dict[str, Any]]:
        """The result of each store, in order.

        Args:
            predicted: return what the task would do, instead of what it did.
        """
        if predicted and self._is_refused:
            for task in self._tasks:
                task.hold_back()
        return [task.to_result(predicted=predicted) for task in self._tasks]


def _all_at_once(jobs: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(max(1, min(len(jobs), AT_ONCE))) as pool:
        for job in [pool.submit(job) for job in jobs]:
            job.result()
