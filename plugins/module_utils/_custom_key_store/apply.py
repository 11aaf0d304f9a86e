# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""Carrying a plan out: the calls, the waits between them, and what others do to the store meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import Optional

from .api import InvalidState
from .api import Kms
from .api import KmsError
from .clock import Clock
from .clock import Deadline
from .diagnosis import ConnectionFailure
from .diagnosis import diagnose
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore
from .plan import CONNECT
from .plan import DISCONNECT
from .plan import Call
from .plan import Plan
from .plan import WaitFor
from .plan import make_plan
from .wait import End
from .wait import wait_for

MAX_DECISIONS = 10
"""How often a task decides anew because others move the store. With the pauses between, that outlasts stale readings."""

_EFFECTS = {
    CONNECT.operation: {ConnectionState.CONNECTING, ConnectionState.CONNECTED, ConnectionState.FAILED},
    DISCONNECT.operation: {ConnectionState.DISCONNECTING, ConnectionState.DISCONNECTED},
}
"""The states that show that an operation was applied."""


class ConnectFailed(CustomKeyStoreError):
    """The store ended up FAILED."""


@dataclass
class History:
    """What a task has seen and done, kept up to date for the result, however the task ends.

    Attributes:
        operations: the mutating operations that KMS accepted, in order.
        connection_states: the distinct states seen, in order; the first is the one found.
        found: the store as first described.
        store: the store as last described.
        failure: why it is or was FAILED, as last seen.
        lost: an operation whose answer was lost, and that no reading has shown to be applied yet.
    """

    operations: list[str] = field(default_factory=list)
    connection_states: list[ConnectionState] = field(default_factory=list)
    found: Optional[CustomKeyStore] = None
    store: Optional[CustomKeyStore] = None
    failure: Optional[ConnectionFailure] = None
    lost: Optional[str] = None

    def saw(self, store: CustomKeyStore) -> CustomKeyStore:
        """Remember a reading."""
        state = store.connection_state
        self.found = self.found or store
        self.store = store
        if self.connection_states[-1:] != [state]:
            self.connection_states.append(state)
        if state is ConnectionState.FAILED:
            self.failure = diagnose(store.connection_error_code or "UNKNOWN", store.type)
        if self.lost is not None and state in _EFFECTS[self.lost]:
            self.did(self.lost)
        return store

    def did(self, operation: str) -> None:
        """Remember that KMS accepted a mutating operation."""
        self.operations.append(operation)
        self.lost = None


class Runner:
    """Brings one store to what the task asks for.

    Args:
        kms: the operations.
        desired: what the task asks for.
        history: is kept up to date.
        clock: see there.
        deadline: see there.
    """

    def __init__(self, kms: Kms, desired: DesiredStore, history: History, clock: Clock, deadline: Deadline) -> None:
        self._kms = kms
        self._desired = desired
        self._history = history
        self._clock = clock
        self._deadline = deadline

    def plan(self) -> Plan:
        """Look at the store and decide.

        Raises:
            CustomKeyStoreError: there is no such store, KMS could not be asked, or the task is refused.
        """
        return make_plan(self._history.saw(self._kms.describe(self._desired)), self._desired)

    def run(self, plan: Plan) -> None:
        """Carry the plan out. When somebody else moves the store meanwhile, look and decide again, a bounded number of times.

        Raises:
            CustomKeyStoreError: it did not get there; C(history) tells how far.
        """
        for decision in range(1, MAX_DECISIONS + 1):
            if self._carry_out(plan):
                return
            if self._deadline.passed():
                break
            self._deadline.back_off(decision)
            plan = make_plan(self._look(), self._desired)
        raise CustomKeyStoreError(
            f"Somebody else keeps changing the connection of the custom key store {self._store}: this task decided"
            f" {decision} times what to do, and each time found the store moved. Find out who, and run the task again."
        )

    @property
    def _store(self) -> CustomKeyStore:
        if self._history.store is None:
            raise RuntimeError("plan() comes before run(): it looks at the store first")
        return self._history.store

    def _look(self) -> CustomKeyStore:
        return self._history.saw(self._kms.describe_by_id(self._store.id))

    def _carry_out(self, plan: Plan) -> bool:
        """True when all steps are done, False when the store is not where the plan took it to be."""
        for step in plan.steps:
            done = self._call(step) if isinstance(step, Call) else self._wait(step)
            if not done:
                return False
        if plan.steps and isinstance(plan.steps[-1], Call):
            self._look()  # nobody waits, but the result shows what the call has begun
        return True

    def _call(self, step: Call) -> bool:
        operation = {CONNECT: self._kms.connect, DISCONNECT: self._kms.disconnect}[step]
        try:
            operation(self._store.id)
        except InvalidState as error:
            if error.maybe_applied:
                self._history.lost = step.operation
            return False
        except KmsError as error:
            if error.maybe_applied:
                self._find_out(step.operation)
            raise
        self._history.did(step.operation)
        return True

    def _find_out(self, operation: str) -> None:
        """One last look at what became of an operation that KMS never answered.

        Where not even that is answered, the operation counts as made: better a needless look by the user than a store
        that is believed untouched.
        """
        self._history.lost = operation
        try:
            self._look()
        except KmsError:
            self._history.did(operation)

    def _wait(self, step: WaitFor) -> bool:
        end = wait_for(
            step.state,
            look=self._look,
            seen_before=self._history.connection_states,
            clock=self._clock,
            deadline=self._deadline,
        )
        if end is End.FAILED and step.state is ConnectionState.CONNECTED:
            raise ConnectFailed(f"The custom key store {self._store} could not be connected. {self._history.failure}")
        return end is End.REACHED
