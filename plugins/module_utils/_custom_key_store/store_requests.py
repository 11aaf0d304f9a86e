# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The requests that change a store, and whether a request with a lost answer had its effect."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from enum import Enum
from typing import Optional
from typing import Tuple

from .clock import Clock
from .clock import Deadline
from .history import History
from .kms import InUse
from .kms import InvalidState
from .kms import KmsError
from .kms import NotFound
from .kms_stores import Kms
from .model import ConnectionState
from .model import CustomKeyStore
from .plan import CONNECT
from .plan import CREATE
from .plan import DELETE
from .plan import DISCONNECT
from .plan import UPDATE
from .plan import Call
from .properties import Change
from .properties import shows
from .target import Target
from .wait import STALE_SECONDS
from .wait import wait_until

_EFFECTS = {
    CONNECT: {ConnectionState.CONNECTING, ConnectionState.CONNECTED, ConnectionState.FAILED},
    DISCONNECT: {ConnectionState.DISCONNECTING, ConnectionState.DISCONNECTED},
}
"""The states that show that an operation was applied."""

_HAS_KEYS = "CustomKeyStoreHasCMKsException"

_NOT_KNOWN = " Whether KMS has carried out {} is not known: check the store before you rely on it."


class Answer(Enum):
    """The answer of KMS, and the next step of the task."""

    ACCEPTED = "accepted"
    """Continue the plan."""

    MOVED = "moved"
    """The store is not in the state that the plan expects: describe it and plan again."""

    NOT_IN_PLACE = "not in place"
    """No other user has moved the store: KMS changes this property only while DISCONNECTED. Plan again."""


class Requests:
    """Sends the requests of one task that change its store.

    Args:
        kms: the operations.
        target: the store.
        history: records what KMS accepts.
        clock: see C(Clock).

    Attributes:
        unanswered: the changes of an update with a lost answer that KMS does not report yet.
        last: the last operation sent to an existing store, whether KMS accepted it or not.
        is_unclear: does the task still poll for the effect of a request? No other process could continue from there.
    """

    def __init__(self, kms: Kms, target: Target, history: History, clock: Clock) -> None:
        self._kms = kms
        self._target = target
        self._history = history
        self._clock = clock
        self.unanswered: Tuple[Change, ...] = ()
        self.last = ""
        self.is_unclear = False

    def move(self, call: Call) -> Answer:
        """Connect or disconnect.

        Raises:
            KmsError: KMS refused it, or did not answer.
        """
        try:
            self._send(call)
        except InvalidState as error:
            if not error.maybe_applied:
                return Answer.MOVED
            self._history.accepted(call.operation)  # that has moved the store: only its answer was lost
        return Answer.ACCEPTED

    def update(self, call: Call, changes: Tuple[Change, ...]) -> Answer:
        """Change properties.

        Args:
            call: the request.
            changes: the same changes, as KMS will report them.

        Raises:
            KmsError: as above.
        """
        try:
            self._send(call, changes)
        except InvalidState as error:
            before, now = self._history.store, self._target.describe()
            if error.maybe_applied:
                self.unanswered = tuple(change for change in changes if change.shown)
            if self.settle(now) or before is None or before.connection_state is not now.connection_state:
                return Answer.MOVED
            return Answer.NOT_IN_PLACE
        self.unanswered = ()
        return Answer.ACCEPTED

    def settle(self, store: CustomKeyStore) -> bool:
        """Does the description show now that an update with a lost answer had its effect?"""
        if not self.unanswered or not shows(store, self.unanswered):
            return False
        self.unanswered = ()
        self._history.accepted(UPDATE)
        return True

    def create(self, call: Call) -> Optional[str]:
        """Create the store.

        Returns:
            Its id; None if the answer was lost, but the store exists. Then its name selects it.

        Raises:
            KmsError: as above.
        """
        created: Optional[str] = None
        try:
            created = self._kms.create(call.members)
        except InUse as error:
            if not error.maybe_applied:
                raise
        except KmsError as error:
            self._explain_lost_answer(error, CREATE)
            raise
        self._history.accepted(CREATE)
        return created

    def delete(self, call: Call) -> Answer:
        """Delete the store.

        Raises:
            KmsError: as above.
        """
        try:
            self._send(call)
        except InvalidState:
            return Answer.MOVED
        except NotFound as error:
            if error.maybe_applied:
                self._history.accepted(DELETE)
        except KmsError as error:
            if error.code == _HAS_KEYS and not self._history.took_out_of_service("absent"):  # it has to come back first
                from .keys import keys_in_words  # long, and few tasks need it

                error.message += keys_in_words(self._kms.keys, self._target.id)
            raise
        self._history.store = None
        return Answer.ACCEPTED

    def _send(self, call: Call, changes: Tuple[Change, ...] = ()) -> None:
        self.last = call.operation
        try:
            self._kms.change(call.operation, self._target.id, call.members)
        except InvalidState:
            raise
        except NotFound as error:
            if error.maybe_applied and call.operation != DELETE:  # somebody deleted the store after the first attempt
                self._history.accepted(call.operation)
                error.message += _NOT_KNOWN.format(call.operation)
            raise
        except KmsError as error:
            self._explain_lost_answer(error, call.operation, changes)
            raise
        self._history.accepted(call.operation)

    def _explain_lost_answer(self, error: KmsError, operation: str, changes: Tuple[Change, ...] = ()) -> None:
        """Add to an error whether KMS has applied the operation nevertheless.

        The task polls for as long as KMS may report the old state. If the outcome stays unknown, the operation counts as
        accepted: a needless check by the user is better than an unnoticed change.
        """
        if not error.maybe_applied:
            return
        self.is_unclear = True
        has_effect = self._wait_for_effect(operation, changes)
        if has_effect is False:
            error.message += f" KMS has not carried out {operation}."
            return
        self._history.accepted(operation)
        if has_effect is None:
            error.message += _NOT_KNOWN.format(operation)

    def _wait_for_effect(self, operation: str, changes: Tuple[Change, ...]) -> Optional[bool]:
        """Does KMS report the effect of an operation? None if unknown."""
        if operation == UPDATE and not any(change.shown for change in changes):
            return None
        deadline = Deadline(self._clock, STALE_SECONDS)
        try:
            return wait_until(lambda: self._has_effect(operation, changes), clock=self._clock, deadline=deadline)
        except KmsError:
            return None

    def _has_effect(self, operation: str, changes: Tuple[Change, ...]) -> bool:
        if operation == CREATE:
            return self._target.find_new(None)
        try:
            store = self._target.describe()
        except NotFound:
            self._history.store = None
            return operation == DELETE
        if operation == UPDATE:
            return shows(store, changes)
        return store.connection_state in _EFFECTS.get(operation, ())
