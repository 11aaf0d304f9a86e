# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out a plan: sends its requests, waits, and makes a new plan if another user moves the store."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from dataclasses import replace
from typing import Callable
from typing import ContextManager
from typing import Iterator
from typing import Optional
from typing import Tuple

from .bring_back import BringBack
from .clock import Clock
from .clock import Deadline
from .history import History
from .kms import NotFound
from .kms_stores import Kms
from .lease import Leases
from .model import ConnectionState
from .model import CustomKeyStoreError
from .model import DesiredStore
from .owner import Permit
from .owner import TakenOver
from .plan import CREATE
from .plan import DELETE
from .plan import DISCONNECT
from .plan import ENDS
from .plan import UPDATE
from .plan import Call
from .plan import Plan
from .plan import Step
from .plan import WaitFor
from .plan import WaitUntilShown
from .plan import make_plan
from .plan import plan_creation
from .plan import plan_deletion
from .plan import refuse_deletion_in_service
from .prechecks import Prechecks
from .properties import Change
from .properties import shows
from .properties import wants_creation
from .store_requests import Answer
from .store_requests import Requests
from .target import Target
from .wait import End
from .wait import WaitTimeout
from .wait import wait_for
from .wait import wait_until

MAX_DECISIONS = 15
"""How often a task makes a new plan because others move the store. With the pauses between, that outlasts stale descriptions."""


class ConnectFailed(CustomKeyStoreError):
    """The store ended up FAILED."""


class MustWait(Exception):
    """The task has to wait, and another process can take over the wait."""


@dataclass(frozen=True)
class Handover:
    """All that another process needs to continue a task. It may hold secrets.

    Attributes:
        history: see C(History).
        plan: the plan being applied; None if the task has to plan (again).
        position: how many of its steps are done.
        begun: has the task claimed the store?
        in_place: see C(make_plan()).
        unanswered: see C(Requests).
    """

    history: History
    plan: Optional[Plan]
    position: int
    begun: bool
    in_place: bool
    unanswered: Tuple[Change, ...]


class Runner:
    """Brings one store to the state that the task asks for.

    Args:
        kms: the operations.
        desired: what the task asks for.
        history: the runner keeps it up to date.
        clock: see C(Clock).
        deadline: see C(Deadline).
        leases: of stores that a task disconnects for a change, in case it is killed before it has reconnected them.
        permit: see C(Permit).
        hands_over: may the runner raise C(MustWait) if another process could continue?
        prechecks: the checks before a disconnect; None checks the keys only.
    """

    def __init__(
        self,
        kms: Kms,
        desired: DesiredStore,
        history: History,
        clock: Clock,
        deadline: Deadline,
        leases: Leases,
        permit: Permit,
        hands_over: bool = False,
        prechecks: Optional[Prechecks] = None,
    ) -> None:
        self._kms = kms
        self._desired = desired
        self._history = history
        self._clock = clock
        self._deadline = deadline
        self._leases = leases
        self._permit = permit
        self._hands_over = hands_over
        self._prechecks = prechecks or Prechecks(kms, history)
        self._target = Target(kms, desired, history)
        self._requests = Requests(kms, self._target, history, clock)
        self._bring_back = BringBack(desired.state, history, leases)
        self._plan: Optional[Plan] = None
        self._position = 0
        self._begun = False
        self._in_place = True
        self._can_be_resumed = False

    # ---- between processes

    def hand_over(self) -> Handover:
        """Returns what another process needs to continue from here."""
        return Handover(
            history=self._history,
            plan=self._plan,
            position=self._position,
            begun=self._begun,
            in_place=self._in_place,
            unanswered=self._requests.unanswered,
        )

    def resume(self, handover: Handover) -> None:
        """Continue from there. The runner must have been created with the same history."""
        self._plan, self._position = handover.plan, handover.position
        self._begun, self._in_place = handover.begun, handover.in_place
        self._requests.unanswered = handover.unanswered
        if self._history.store is not None:
            self._target.known_id = self._history.store.id

    def may_change(self, custom_key_store_id: str, operation: str) -> ContextManager[None]:
        """The guard of C(Kms)."""
        return self._permit.to_change(
            custom_key_store_id, disconnects=operation == DISCONNECT, store=self._history.store
        )

    def check(self) -> None:
        """Raises MustWait if another process can wait, and KmsError if the task should not wait any longer."""
        is_clear = not self._kms.is_unclear and not self._requests.is_unclear
        if self._hands_over and self._can_be_resumed and is_clear:
            raise MustWait
        if self._target.known_id is not None:
            self._permit.to_wait(self._target.known_id, wants=self._desired.state)

    @contextlib.contextmanager
    def _resumable(self) -> Iterator[None]:
        """In this block, another process could continue from the present step."""
        self._can_be_resumed = True
        try:
            yield
        finally:
            self._can_be_resumed = False

    # ---- decisions

    def plan(self) -> Plan:
        """Describe the store and make a plan.

        Raises:
            CustomKeyStoreError: there is no such store, the request to KMS failed, or the task is refused.
        """
        self._plan = None
        with self._resumable():
            return self._decide()

    def _decide(self) -> Plan:
        try:
            store = self._target.find()
        except NotFound as error:
            return self._plan_without_store(error)
        self._requests.settle(store)
        self._bring_back.find_interrupted(store)
        if self._desired.state == "absent":
            refuse_deletion_in_service(store, self._desired)
            return plan_deletion(store, self._desired, self._prechecks.keys_of(store))
        plan = make_plan(store, self._still_desired(), in_place=self._in_place)
        self._prechecks.check(store, plan)
        return plan

    def _plan_without_store(self, error: NotFound) -> Plan:
        if self._desired.state == "absent":
            return Plan((), None)
        if self._target.known_id is not None or not wants_creation(self._desired.given):
            raise error
        return plan_creation(self._desired, error)

    def _still_desired(self) -> DesiredStore:
        """What the task still asks for.

        The task sends properties once: KMS may still report the old values, and a connect may have made a password invalid (R12).
        """
        desired = replace(self._desired, given={}) if self._history.has_sent_properties else self._desired
        return replace(desired, state="connected") if self._bring_back.is_due else desired

    # ---- carrying out

    def begin(self, plan: Plan) -> None:
        """Claim a store that the plan moves. If the store is in its end state already, end what would move it again.

        If several runners begin one after the other, before all run at the same time, they make their requests in that order.
        Otherwise run() claims the store.
        """
        self._begun = True
        if self._target.known_id is None:
            return
        if plan.moves:
            self._permit.ownership.claim(self._target.known_id, wants=self._desired.state)
        elif self._desired.state in ENDS:
            self._permit.ownership.end_abandoned(self._target.known_id, wants=self._desired.state)

    def run(self, plan: Plan) -> None:
        """Apply the plan. If it fails after a disconnect, reconnect the store.

        Raises:
            CustomKeyStoreError: the store did not reach the end of the plan; C(history) has the steps that it reached.
        """
        if not self._begun:
            self.begin(plan)
        try:
            self._run(plan)
        except TakenOver:
            raise  # the store is in the hands of somebody else, and so is its lease
        except CustomKeyStoreError as error:
            self._bring_back.after_failure(
                error, self._target.known_id, last_request=self._requests.last, reconnect=self._reconnect
            )
            raise
        self._bring_back.after_success(self._target.known_id)

    def _run(self, plan: Plan) -> None:
        """If another user moves the store meanwhile, describe and plan again, a bounded number of times."""
        taken: Optional[TakenOver] = None
        for decision in range(1, MAX_DECISIONS + 1):
            try:
                if self._carry_out(plan):
                    return
            except TakenOver as error:
                taken = self._let_it_be_done(error, taken)
            if self._deadline.passed():
                break
            self._plan = None
            with self._resumable():
                self._deadline.back_off(decision)
            plan = self.plan()
        raise taken or CustomKeyStoreError(
            f"Somebody else keeps changing the connection of the custom key store {self._history.store}: in {decision} attempts,"
            " its state changed each time. Find out who changes it, and run the task again."
        )

    def _let_it_be_done(self, error: TakenOver, before: Optional[TakenOver]) -> TakenOver:
        """Returns the error if the other task wants the same state, so that this task waits for it. Raises it otherwise."""
        has_ended_before = before is not None and before.by is None
        wants_else = error.by is not None and error.by.wants != self._desired.state
        if has_ended_before or wants_else:
            raise error
        return error

    def _reconnect(self) -> None:
        """Connect the store with its present settings, with the full timeout again."""
        deadline = self._deadline.anew(self._deadline.seconds)
        connected = DesiredStore("connected", self._target.id)
        kms = self._kms.with_deadline(deadline)
        runner = Runner(kms, connected, self._history, self._clock, deadline, self._leases, self._permit)
        reached = runner._wait_for_state(ConnectionState.DISCONNECTED)  # or else a description from before hides it
        store = self._history.store  # not described again, as that may be out of date, too
        runner._run(make_plan(store, connected) if reached and store is not None else runner.plan())

    def _carry_out(self, plan: Plan) -> bool:
        """Returns True if all steps are done, and False if the store is not in the state that the plan expects."""
        if self._plan is not plan:
            self._plan, self._position = plan, 0
            if self._hands_over and len(plan.operations) > 1:
                raise MustWait  # who takes a store out of service must not be ended before it is back
        for step in plan.steps[self._position :]:
            with self._resumable():
                done = self._request(step, plan) if isinstance(step, Call) else self._wait(step)
            if not done:
                return False
            self._position += 1
        if self._desired.wait and not self._is_where_it_should_be():
            return False
        last = plan.steps[-1] if plan.steps else None
        if isinstance(last, Call) and last.operation not in (CREATE, DELETE):
            self._target.describe()  # nobody waits, but the result shows what the call has begun
        return True

    def _is_where_it_should_be(self) -> bool:
        """Another user may have moved the store while the task waited for something else."""
        wanted, store = self._still_desired().state, self._history.store
        return wanted not in ENDS or store is None or store.connection_state is ENDS[wanted]

    # ---- requests

    def _request(self, call: Call, plan: Plan) -> bool:
        if call.operation == CREATE:
            return self._create(call)
        if call.operation == DELETE:
            answer = self._requests.delete(call)
        elif call.operation == UPDATE:
            answer = self._requests.update(call, plan.changes)
        else:
            if call.operation == DISCONNECT:
                self._bring_back.before_disconnect()
            answer = self._requests.move(call)
            if call.operation == DISCONNECT and answer is Answer.MOVED:
                self._bring_back.after_refused_disconnect(self._target.id)
        if answer is Answer.NOT_IN_PLACE:
            self._in_place = False
        return answer is Answer.ACCEPTED

    def _create(self, call: Call) -> bool:
        custom_key_store_id = self._requests.create(call)
        self._can_be_resumed = False  # another process would create it again
        if not self._until(lambda: self._target.find_new(custom_key_store_id)):
            raise WaitTimeout(
                f"KMS accepted the request to create the custom key store {self._desired}, but does not show it yet."
                " Run the task again."
            )
        self._permit.ownership.claim(self._target.id, wants=self._desired.state)
        store = self._history.store  # the plan takes it to be DISCONNECTED, as KMS creates it
        return store is None or store.connection_state is ConnectionState.DISCONNECTED

    # ---- waits

    def _wait(self, step: Step) -> bool:
        if isinstance(step, WaitFor):
            return self._wait_for_state(step.state)
        # KMS has accepted the change. If KMS reports it after the deadline, the task still succeeds.
        if isinstance(step, WaitUntilShown):
            wanted, store = step.changes, self._history.store
            if store is None or not shows(store, wanted):
                self._until(lambda: shows(self._target.describe(), wanted))
        else:
            self._until(self._target.is_gone)
        return True

    def _until(self, condition: Callable[[], bool]) -> bool:
        return wait_until(condition, clock=self._clock, deadline=self._deadline)

    def _wait_for_state(self, state: ConnectionState) -> bool:
        end = wait_for(
            state,
            describe=self._target.describe,
            seen_before=self._history.connection_states,
            clock=self._clock,
            deadline=self._deadline,
        )
        if end is End.FAILED and state is ConnectionState.CONNECTED:
            raise ConnectFailed(
                f"The custom key store {self._history.store} could not be connected. {self._history.failure}"
            )
        return end is End.REACHED
