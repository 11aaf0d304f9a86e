# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""Carrying a plan out: the calls, the waits between them, and what others do to the store meanwhile."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import Callable
from typing import ContextManager
from typing import Iterator
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Tuple

from .api import InUse
from .api import InvalidState
from .api import Kms
from .api import KmsError
from .api import NotFound
from .clock import Clock
from .clock import Deadline
from .lease import Lease
from .lease import Leases
from .model import IN_SERVICE
from .model import OUT_OF_SERVICE
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore
from .owner import Permit
from .owner import TakenOver
from .plan import CONNECT
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
from .plan import cluster_to_check
from .plan import endpoint_to_check
from .plan import make_plan
from .plan import plan_creation
from .plan import plan_deletion
from .plan import refuse_cluster
from .plan import refuse_cluster_in_use
from .plan import refuse_deletion_in_service
from .plan import refuse_endpoint
from .prediction import Check
from .prediction import Outcome
from .properties import Change
from .properties import shows
from .properties import wants_creation
from .wait import STALE_SECONDS
from .wait import End
from .wait import WaitTimeout
from .wait import wait_for
from .wait import wait_until

if TYPE_CHECKING:
    from .clusters import Cluster
    from .diagnosis import ConnectionFailure
    from .keys import Key

MAX_DECISIONS = 15
"""How often a task decides anew because others move the store. With the pauses between, that outlasts stale readings."""

_EFFECTS = {
    CONNECT: {ConnectionState.CONNECTING, ConnectionState.CONNECTED, ConnectionState.FAILED},
    DISCONNECT: {ConnectionState.DISCONNECTING, ConnectionState.DISCONNECTED},
}
"""The states that show that an operation was applied."""


HAS_KEYS = "CustomKeyStoreHasCMKsException"

_NOT_KNOWN = " Whether KMS has carried out {} is not known: look at the store before you rely on either."
_BRING_BACK = " The store was in service before: to bring it back, run the task with state=connected."


class ConnectFailed(CustomKeyStoreError):
    """The store ended up FAILED."""


@dataclass
class History:
    """What a task has seen and done, kept up to date for the result, however the task ends.

    Attributes:
        operations: the mutating operations that KMS accepted, in order.
        connection_states: the distinct states seen, in order; the first is the one found.
        found: the store as first described; None while none was found.
        store: the store as last described; None where there is none.
        failure: why it is or was FAILED, as last seen.
        interrupted: the lease of an earlier task that took the store out of service and was ended before it had brought it back.
        warnings: what the user is to be warned of.
    """

    operations: list[str] = field(default_factory=list)
    connection_states: list[ConnectionState] = field(default_factory=list)
    found: Optional[CustomKeyStore] = None
    store: Optional[CustomKeyStore] = None
    failure: Optional[ConnectionFailure] = None
    interrupted: Optional[Lease] = None
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Warn the user, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def saw(self, store: CustomKeyStore) -> CustomKeyStore:
        """Remember a reading."""
        state = store.connection_state
        if not self.operations and self.found is None:
            self.found = store
        self.store = store
        if self.connection_states[-1:] != [state]:
            self.connection_states.append(state)
        if state is ConnectionState.FAILED:
            from .diagnosis import diagnose  # long, and few tasks need it

            self.failure = diagnose(store.connection_error_code or "UNKNOWN", store.type)
        return store

    def did(self, operation: str) -> None:
        """Remember that KMS accepted a mutating operation."""
        self.operations.append(operation)


class MustWait(Exception):
    """The task has to wait, and another process can do that in place of this one."""


@dataclass(frozen=True)
class Handover:
    """All that another process needs to go on with a task. It may hold secrets.

    Attributes:
        history: see there.
        desired: what is still asked for.
        plan: what is being carried out; None where that has to be decided (again).
        position: how many steps of it are done.
        begun: was the store claimed?
        in_place: see C(make_plan()).
        sent: the changes of the last update.
        unsettled: those of an update whose answer was lost.
    """

    history: History
    desired: DesiredStore
    plan: Optional[Plan]
    position: int
    begun: bool
    in_place: bool
    sent: Tuple[Change, ...]
    unsettled: Tuple[Change, ...]


class Runner:
    """Brings one store to what the task asks for.

    Args:
        kms: the operations.
        desired: what the task asks for.
        history: is kept up to date.
        clock: see there.
        deadline: see there.
        leases: of stores that a task was to bring back, should it be killed before it has.
        permit: see there.
        hands_over: may it raise C(MustWait) where another process could go on?
        look_at_cluster: describes the CloudHSM cluster with an id; None: no cluster is looked at.
        check_endpoint: checks an external key store proxy with a configuration; None: none is checked.
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
        look_at_cluster: Optional[Callable[[str], Cluster]] = None,
        check_endpoint: Optional[Callable[[Mapping[str, Any]], Sequence[Check]]] = None,
    ) -> None:
        self._look_at_cluster = look_at_cluster
        self._check_endpoint = check_endpoint
        self._hands_over = hands_over
        self._plan: Optional[Plan] = None
        self._position = 0
        self._can_be_resumed = False
        self._leases = leases
        self._permit = permit
        self._kms = kms
        self._desired = desired
        self._history = history
        self._clock = clock
        self._deadline = deadline
        self._in_place = True
        self._begun = False
        self._known_id = desired.custom_key_store_id
        self._last_call = ""
        self._sent: Tuple[Change, ...] = ()
        self._unsettled: Tuple[Change, ...] = ()

    def plan(self) -> Plan:
        """Look at the store and decide.

        Raises:
            CustomKeyStoreError: there is no such store, KMS could not be asked, or the task is refused.
        """
        self._plan, self._position = None, 0
        with self._resumable():
            return self._decide()

    @contextlib.contextmanager
    def _resumable(self) -> Iterator[None]:
        """Meanwhile, another process could go on from where this one is."""
        self._can_be_resumed = True
        try:
            yield
        finally:
            self._can_be_resumed = False

    def _decide(self) -> Plan:
        try:
            store = self._history.saw(self._find())
        except NotFound as error:
            self._history.store = None
            return self._plan_without_store(error)
        self._known_id = store.id
        self._settled(store)
        if self._desired.state == "present" and store.connection_state in OUT_OF_SERVICE:
            self._history.interrupted = self._history.interrupted or self._lease_of(store)
        if self._desired.state != "absent":
            plan = make_plan(store, self._still_desired(), in_place=self._in_place)
            self._check_cluster(store, plan)
            self._check_proxy(store, plan)
            return plan
        refuse_deletion_in_service(store, self._desired)
        return plan_deletion(store, self._desired, self._keys_of(store))

    def _check_cluster(self, store: CustomKeyStore, plan: Plan) -> None:
        """Refuse to take a store out of service that could not come back."""
        needed = cluster_to_check(store, plan)
        if needed is None or self._look_at_cluster is None:
            return
        cluster_id, zones = needed
        cluster = self._look_at_cluster(cluster_id)
        refuse_cluster(cluster, store, zones=zones)
        if cluster_id != store.description["CloudHsmClusterId"]:
            refuse_cluster_in_use(cluster_id, store, self._kms.describe_all({}))
        if not cluster.is_known:
            self._history.warn(
                f"Whether the CloudHSM cluster {cluster_id} could connect the custom key store {store} again was not looked at"
                f" before the disconnect. {cluster.problem}"
            )

    def _check_proxy(self, store: CustomKeyStore, plan: Plan) -> None:
        """The same for the proxy of an external store. What cannot be checked from this host, KMS may reach nevertheless."""
        configuration = endpoint_to_check(store, plan)
        if configuration is None or self._check_endpoint is None:
            return
        checks = self._check_endpoint(configuration)
        refuse_endpoint(checks, store)
        if all(check.outcome is Outcome.UNKNOWN for check in checks):
            why = " ".join(check.text for check in checks)
            self._history.warn(
                f"Whether KMS could connect the custom key store {store} again was not checked before the disconnect. {why}"
            )
        for check in checks:
            if check.outcome is Outcome.WARNING:
                self._history.warn(check.text)

    def _keys_of(self, store: CustomKeyStore) -> Sequence[Key]:
        """The KMS keys in a store that is to be deleted.

        Before a store is taken out of service, it has to be proved that it holds none. Of one that is out of service already,
        KMS judges, and those are named that the caller may see.
        """
        from .keys import DENIED  # long, and few tasks need it
        from .keys import keys_in_store
        from .keys import keys_in_stores

        if store.connection_state in IN_SERVICE:
            return keys_in_store(self._kms, store.id)
        unseen: Optional[KmsError]
        try:
            found = keys_in_stores(self._kms, [store.id])
            keys, unseen = found.keys, found.worst_error
        except KmsError as error:
            keys, unseen = (), error
        if unseen is not None and unseen.code != DENIED:
            raise unseen
        if unseen is not None:
            self._history.warn(f"Whether the custom key store {store} holds KMS keys is left to KMS. {unseen.message}")
        return keys

    def hand_over(self) -> Handover:
        """What another process needs to go on from here."""
        return Handover(
            history=self._history,
            desired=self._desired,
            plan=self._plan,
            position=self._position,
            begun=self._begun,
            in_place=self._in_place,
            sent=self._sent,
            unsettled=self._unsettled,
        )

    def resume(self, handover: Handover) -> None:
        """Go on from there. The history is the one that this was made with."""
        self._desired, self._plan, self._position = handover.desired, handover.plan, handover.position
        self._begun, self._in_place = handover.begun, handover.in_place
        self._sent, self._unsettled = handover.sent, handover.unsettled
        if self._history.store is not None:
            self._known_id = self._history.store.id

    def may_change(self, custom_key_store_id: str, operation: str) -> ContextManager[None]:
        """The guard of C(Kms)."""
        return self._permit.to_change(
            custom_key_store_id, disconnects=operation == DISCONNECT, store=self._history.store
        )

    def check(self) -> None:
        """Raises MustWait where another process can wait, and KmsError where the task should not wait any longer."""
        if self._hands_over and self._can_be_resumed and not self._kms.is_unclear:
            raise MustWait
        if self._known_id is not None:
            self._permit.to_wait(self._known_id, wants=self._desired.state)

    def _still_desired(self) -> DesiredStore:
        """What is left to ask for: who has taken a store out of service brings it back, whatever comes between.

        So does who repeats a task that was ended before it had.
        """
        if self._desired.state == "present" and self._took_out_of_service():
            return replace(self._desired, state="connected")
        return self._desired

    def _find(self) -> CustomKeyStore:
        """Once its id is known, a store is looked for by that alone: a name can be given to another one."""
        return self._kms.describe(replace(self._desired, custom_key_store_id=self._known_id))

    def _plan_without_store(self, error: NotFound) -> Plan:
        if self._desired.state == "absent":
            return Plan((), None)
        if self._known_id is not None or not wants_creation(self._desired.given):
            raise error
        return plan_creation(self._desired, error)

    def run(self, plan: Plan) -> None:
        """Carry the plan out, and put the store back in service where that fails after it was taken out.

        Raises:
            CustomKeyStoreError: it did not get there; C(history) tells how far.
        """
        if not self._begun:
            self.begin(plan)
        try:
            self._run(plan)
        except TakenOver:
            raise  # the store is in the hands of somebody else, and so is its lease
        except CustomKeyStoreError as error:
            if self._took_out_of_service() and self._moves()[-1:] != [CONNECT]:
                error.message += (
                    _BRING_BACK if isinstance(error, WaitTimeout) or self._last_call == CONNECT else self._put_back()
                )
            self._tidy_leases(in_doubt=self._moves()[-1:] == [DISCONNECT])  # a reading may be from before that
            raise
        self._tidy_leases()

    def begin(self, plan: Plan) -> None:
        """Become the owner of a store that is to be moved; where it is there already, end what would move it away again.

        Where several begin one after the other, before all are carried out at the same time, they make their requests in that
        order. Else run() does it.
        """
        self._begun = True
        if self._known_id is None:
            return
        if plan.moves:
            self._permit.ownership.claim(self._known_id, wants=self._desired.state)
        elif self._desired.state in ENDS:
            self._permit.ownership.end_abandoned(self._known_id, wants=self._desired.state)

    def _lease_of(self, store: CustomKeyStore) -> Optional[Lease]:
        """A lease that cannot be read or written must not keep anybody from anything: it is for a rare case."""
        with contextlib.suppress(CustomKeyStoreError):
            return self._leases.of(store.id)
        return None

    def _open_lease(self) -> None:
        """Keep in mind a store that is about to be disconnected and shall be connected again."""
        store = self._history.store
        if self._desired.state == "present" and store is not None and store.connection_state in IN_SERVICE:
            with contextlib.suppress(CustomKeyStoreError):
                self._leases.open(Lease.on(store))

    def _tidy_leases(self, *, in_doubt: bool = False) -> None:
        """Forget a store that is not out of service any more, or shall be; of one that is FAILED the user is told."""
        store = self._history.store
        out_of_service = in_doubt or (store is not None and store.connection_state in OUT_OF_SERVICE)
        if self._known_id is not None and not (out_of_service and self._desired.state == "present"):
            self._leases.end(self._known_id)

    def _run(self, plan: Plan) -> None:
        """When somebody else moves the store meanwhile, look and decide again, a bounded number of times."""
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
            f"Somebody else keeps changing the connection of the custom key store {self._history.store}: this task decided"
            f" {decision} times what to do, and each time found the store moved. Find out who, and run the task again."
        )

    def _let_it_be_done(self, error: TakenOver, before: Optional[TakenOver]) -> TakenOver:
        """Another task that works on the store may want the same: where it has done it, this one has nothing more to do."""
        has_ended_before = before is not None and before.by is None
        wants_else = error.by is not None and error.by.wants != self._desired.state
        if has_ended_before or wants_else:
            raise error
        return error

    def _took_out_of_service(self) -> bool:
        """Has this task disconnected a store that was in service, without being asked to leave it so?"""
        found = self._history.found
        if self._history.interrupted is not None:
            return self._desired.state == "present"
        return (
            self._desired.state != "disconnected"
            and DISCONNECT in self._history.operations
            and found is not None
            and found.connection_state in IN_SERVICE
        )

    def _moves(self) -> list[str]:
        """What this task has done to the connection. A reading may be out of date; this is not."""
        return [operation for operation in self._history.operations if operation in (CONNECT, DISCONNECT)]

    def _put_back(self) -> str:
        """Connect the store with the settings that it has, and say how that went."""
        deadline = Deadline(self._clock, self._deadline.seconds)  # however much of the task's own time is left
        connected = DesiredStore("connected", self._id, wait_timeout=self._desired.wait_timeout)
        kms = self._kms.with_deadline(deadline)
        runner = Runner(kms, connected, self._history, self._clock, deadline, self._leases, self._permit)
        try:
            reached = runner._wait_for_state(ConnectionState.DISCONNECTED)  # or else a reading from before hides it
            store = self._history.store  # not looked at again, as that look may be out of date, too
            runner._run(make_plan(store, connected) if reached and store is not None else runner.plan())
        except CustomKeyStoreError as error:
            return (
                f" The store was CONNECTED before and could NOT be connected again, so its KMS keys cannot be used."
                f" Mend that first: {error.message}"
            )
        return f" The store is CONNECTED again, with its {'new' if UPDATE in self._history.operations else 'old'} settings."

    @property
    def _id(self) -> str:
        if self._known_id is None:
            raise RuntimeError("plan() comes before run(): it finds the store first")
        return self._known_id

    def _look(self) -> CustomKeyStore:
        return self._history.saw(self._kms.describe_by_id(self._id))

    def _carry_out(self, plan: Plan) -> bool:
        """True when all steps are done, False when the store is not where the plan took it to be."""
        if self._plan is not plan:
            self._sent, self._plan, self._position = plan.changes, plan, 0
            if self._hands_over and len(plan.operations) > 1:
                raise MustWait  # who takes a store out of service must not be ended before it is back
        for step in plan.steps[self._position :]:
            with self._resumable():
                done = self._call(step) if isinstance(step, Call) else self._wait(step)
            if not done:
                return False
            self._position += 1
        if self._desired.wait and not self._is_where_it_should_be():
            return False
        last = plan.steps[-1] if plan.steps else None
        if isinstance(last, Call) and last.operation not in (CREATE, DELETE):
            self._look()  # nobody waits, but the result shows what the call has begun
        return True

    def _is_where_it_should_be(self) -> bool:
        """Somebody else may have moved the store while the task waited for something else."""
        wanted, store = self._still_desired().state, self._history.store
        return wanted not in ENDS or store is None or store.connection_state is ENDS[wanted]

    # ---- calls

    def _call(self, step: Call) -> bool:
        self._last_call = step.operation
        special: dict[str, Callable[[Call], bool]] = {CREATE: self._create, DELETE: self._delete, UPDATE: self._update}
        return special.get(step.operation, self._move)(step)

    def _change(self, step: Call) -> None:
        try:
            self._kms.change(step.operation, self._id, step.members)
        except InvalidState:
            raise
        except NotFound as error:
            if (
                error.maybe_applied and step.operation != DELETE
            ):  # somebody has deleted the store since the first attempt
                self._history.did(step.operation)
                error.message += _NOT_KNOWN.format(step.operation)
            raise
        except KmsError as error:
            if error.maybe_applied:
                error.message += self._find_out(step.operation)
            raise
        self._history.did(step.operation)

    def _move(self, step: Call) -> bool:
        """Connect or disconnect."""
        if step.operation == DISCONNECT:
            self._open_lease()
        try:
            self._change(step)
        except InvalidState as error:
            if not error.maybe_applied:
                return False
            self._history.did(step.operation)  # that has moved the store: only its answer was lost
        return True

    def _update(self, step: Call) -> bool:
        try:
            self._change(step)
        except InvalidState as error:
            before, now = self._history.store, self._look()
            if error.maybe_applied:
                self._unsettled = tuple(change for change in self._sent if change.shown)
            if not self._settled(now) and before is not None and before.connection_state is now.connection_state:
                self._in_place = False  # nobody has moved the store: KMS does not change this in place
            return False
        self._unsettled = ()
        self._send_nothing_more()
        return True

    def _settled(self, store: CustomKeyStore) -> bool:
        """Does the store show by now that an update whose answer was lost had its effect?"""
        if not self._unsettled or not shows(store, self._unsettled):
            return False
        self._unsettled = ()
        self._history.did(UPDATE)
        self._send_nothing_more()
        return True

    def _send_nothing_more(self) -> None:
        """All is sent. Should the rest have to be decided anew, nothing is sent twice.

        Neither because KMS still shows the old values, nor a password that a connect has made worthless meanwhile (R12).
        """
        self._desired = replace(self._desired, given={})

    def _create(self, step: Call) -> bool:
        try:
            custom_key_store_id: Optional[str] = self._kms.create(step.members)
        except InUse as error:
            if not error.maybe_applied:
                raise
            custom_key_store_id = None  # ours, whose answer was lost: it is found by its name
        except KmsError as error:
            if error.maybe_applied:
                error.message += self._find_out(CREATE)
            raise
        self._history.did(CREATE)
        self._can_be_resumed = False
        if not self._until(lambda: self._sees(custom_key_store_id)):
            raise WaitTimeout(
                f"KMS accepted to create the custom key store {self._desired}, but does not show it yet. Run the task again."
            )
        self._send_nothing_more()
        store = self._history.store  # the plan takes it to be DISCONNECTED, as KMS creates it
        return store is None or store.connection_state is ConnectionState.DISCONNECTED

    def _sees(self, custom_key_store_id: Optional[str]) -> bool:
        """Does KMS show the new store already?"""
        try:
            store = self._kms.describe(replace(self._desired, custom_key_store_id=custom_key_store_id))
        except NotFound:
            return False
        self._known_id = self._history.saw(store).id
        self._permit.ownership.claim(self._known_id, wants=self._desired.state)
        return True

    def _delete(self, step: Call) -> bool:
        try:
            self._change(step)
        except InvalidState:
            return False
        except NotFound as error:
            if error.maybe_applied:
                self._history.did(DELETE)
        except KmsError as error:
            if error.code == HAS_KEYS and not self._took_out_of_service():  # which would have to come back first
                from .keys import keys_in_words

                error.message += keys_in_words(self._kms, self._id)
            raise
        self._history.store = None
        return True

    def _find_out(self, operation: str) -> str:
        """What became of an operation that KMS never answered: looks for as long as KMS may show the state from before.

        Where that cannot be found out, it counts as made: better a needless look by the user than a store that is believed
        untouched.

        Returns:
            A sentence for the user.
        """
        self._can_be_resumed = False  # what was asked for is not known there
        tells = operation != UPDATE or any(change.shown for change in self._sent)
        try:
            deadline = Deadline(self._clock, STALE_SECONDS)
            if tells and not wait_until(lambda: self._has_effect(operation), clock=self._clock, deadline=deadline):
                return f" KMS has not carried out {operation}."
        except KmsError:
            tells = False
        self._history.did(operation)
        if tells:
            return ""
        return _NOT_KNOWN.format(operation)

    def _has_effect(self, operation: str) -> bool:
        if operation == CREATE:
            return self._sees(None)
        try:
            store = self._look()
        except NotFound:
            self._history.store = None
            return operation == DELETE
        if operation == UPDATE:
            return shows(store, self._sent)
        return store.connection_state in _EFFECTS.get(operation, ())

    # ---- waits

    def _wait(self, step: Step) -> bool:
        if isinstance(step, WaitFor):
            return self._wait_for_state(step.state)
        # KMS has accepted the change. If it shows it even later than that, the task has done its part.
        if isinstance(step, WaitUntilShown):
            wanted, store = step.changes, self._history.store
            if store is None or not shows(store, wanted):
                self._until(lambda: shows(self._look(), wanted))
        else:
            self._until(self._is_gone)
        return True

    def _is_gone(self) -> bool:
        try:
            self._kms.describe_by_id(self._id)
        except NotFound:
            return True
        return False

    def _until(self, condition: Callable[[], bool]) -> bool:
        return wait_until(condition, clock=self._clock, deadline=self._deadline)

    def _wait_for_state(self, state: ConnectionState) -> bool:
        end = wait_for(
            state,
            look=self._look,
            seen_before=self._history.connection_states,
            clock=self._clock,
            deadline=self._deadline,
        )
        if end is End.FAILED and state is ConnectionState.CONNECTED:
            raise ConnectFailed(
                f"The custom key store {self._history.store} could not be connected. {self._history.failure}"
            )
        return end is End.REACHED
