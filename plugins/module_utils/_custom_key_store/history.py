# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task has described and changed so far."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Optional

from .model import IN_SERVICE
from .model import ConnectionState
from .model import CustomKeyStore
from .plan import CONNECT
from .plan import CREATE
from .plan import DISCONNECT
from .plan import UPDATE

if TYPE_CHECKING:
    from .diagnosis import ConnectionFailure
    from .lease import Lease


@dataclass
class History:
    """What a task has described and changed, kept up to date for the result, however the task ends.

    Attributes:
        operations: the mutating operations that KMS accepted, in order.
        connection_states: the states that KMS reported, in order, without repetitions; the first is the one found.
        found: the store as first described; None until one is found.
        store: the store as last described; None if there is none.
        failure: why the store is or was FAILED, as last reported.
        interrupted: the lease of an earlier task that disconnected the store and was killed before it had reconnected it.
        warnings: for the user.
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

    def described(self, store: CustomKeyStore) -> CustomKeyStore:
        """Record what KMS answered to DescribeCustomKeyStores."""
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

    def accepted(self, operation: str) -> None:
        """Record that KMS accepted a mutating operation."""
        self.operations.append(operation)

    @property
    def last_move(self) -> str:
        """The last operation of the task that changed the connection. Unlike a description, it is never out of date."""
        moves = [operation for operation in self.operations if operation in (CONNECT, DISCONNECT)]
        return moves[-1] if moves else ""

    @property
    def has_sent_properties(self) -> bool:
        """Has KMS accepted the properties that the task asks for?"""
        return CREATE in self.operations or UPDATE in self.operations

    def took_out_of_service(self, desired_state: str) -> bool:
        """Must the task reconnect the store? True if this task, or an earlier task that was killed, disconnected it for a change.

        Args:
            desired_state: C(state) of the task.
        """
        if self.interrupted is not None:
            return desired_state == "present"
        return (
            desired_state != "disconnected"
            and DISCONNECT in self.operations
            and self.found is not None
            and self.found.connection_state in IN_SERVICE
        )
