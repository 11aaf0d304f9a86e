# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reconnects a store that a task disconnected for a change."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
from typing import Callable
from typing import Optional

from .history import History
from .lease import Lease
from .lease import Leases
from .model import IN_SERVICE
from .model import OUT_OF_SERVICE
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .plan import CONNECT
from .plan import DISCONNECT
from .plan import UPDATE
from .wait import WaitTimeout

_RUN_CONNECTED = " The store was in service before: to bring it back, run the task with state=connected."


class BringBack:
    """Records a store that a task disconnects for a change, until the store is in service again.

    A process that is killed leaves a lease, by which the next task reconnects the store. If a lease cannot be read or written,
    the task continues: the lease is for a rare case.

    Args:
        state: C(state) of the task. Only C(present) leaves the connection as it was found.
        history: what the task has described and changed.
        leases: where the leases are kept.
    """

    def __init__(self, state: str, history: History, leases: Leases) -> None:
        self._state = state
        self._history = history
        self._leases = leases
        self._opened = False

    @property
    def is_due(self) -> bool:
        """Must the task connect the store, although C(state) does not ask for it?"""
        return self._state == "present" and self._history.took_out_of_service(self._state)

    def find_interrupted(self, store: CustomKeyStore) -> None:
        """Find the lease of a task that was killed before it had reconnected the store."""
        if self._state != "present" or store.connection_state not in OUT_OF_SERVICE or self._history.interrupted:
            return
        with contextlib.suppress(CustomKeyStoreError):
            self._history.interrupted = self._leases.of(store.id)

    def before_disconnect(self) -> None:
        """Open a lease for a store that is about to be disconnected for a change."""
        store = self._history.store
        if self._state == "present" and store is not None and store.connection_state in IN_SERVICE:
            with contextlib.suppress(CustomKeyStoreError):
                self._opened = self._leases.of(store.id) is None
                self._leases.open(Lease.on(store))

    def after_refused_disconnect(self, custom_key_store_id: str) -> None:
        """End the lease of this task if another user has disconnected the store first: that user wants it out of service.

        An older lease is of a task that was killed after its disconnect, so this task has to reconnect the store.
        """
        if self._opened:
            self._leases.end(custom_key_store_id)

    def after_success(self, custom_key_store_id: Optional[str]) -> None:
        """End the lease: the store is in service again, or should stay out of service."""
        if custom_key_store_id is not None:
            self._leases.end(custom_key_store_id)

    def after_failure(
        self,
        error: CustomKeyStoreError,
        custom_key_store_id: Optional[str],
        *,
        last_request: str,
        reconnect: Callable[[], None],
    ) -> None:
        """Reconnect the store if the task has disconnected it, and add the outcome to the error.

        Args:
            error: why the task failed.
            custom_key_store_id: None if the store was not found.
            last_request: the last operation that was sent.
            reconnect: connects the store with its present settings; raises C(CustomKeyStoreError) if it cannot.
        """
        if self._history.took_out_of_service(self._state) and self._history.last_move != CONNECT:
            # After a timeout, KMS still works on the store. If KMS refused a connect, it would refuse another one.
            is_left = isinstance(error, WaitTimeout) or last_request == CONNECT
            error.message += _RUN_CONNECTED if is_left else self._reconnected(reconnect)
        store = self._history.store
        is_in_doubt = self._history.last_move == DISCONNECT  # the description may be from before that
        is_out = is_in_doubt or (store is not None and store.connection_state in OUT_OF_SERVICE)
        if custom_key_store_id is not None and not (is_out and self._state == "present"):
            self._leases.end(custom_key_store_id)

    def _reconnected(self, reconnect: Callable[[], None]) -> str:
        try:
            reconnect()
        except CustomKeyStoreError as error:
            return (
                f" The store was CONNECTED before and could NOT be connected again, so its KMS keys cannot be used."
                f" Fix that first: {error.message}"
            )
        return f" The store is CONNECTED again, with its {'new' if UPDATE in self._history.operations else 'old'} settings."
