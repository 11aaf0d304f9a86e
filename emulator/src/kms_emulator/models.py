# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS with custom key stores, with the emulator's own clock, injected faults, and the clusters and proxies of stores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

from moto.core.base_backend import backend_lock
from moto.core.exceptions import JsonRESTError
from moto.core.utils import camelcase_to_underscores
from moto.kms.models import kms_backends
from moto.moto_api import state_manager

from .agenda import Agenda
from .backing import EmulatedBacking
from .clock import Clock
from .custom_key_stores.keys import copy_key
from .custom_key_stores.models import CustomKeyStoreBackend
from .custom_key_stores.rules import ERROR_CODES
from .custom_key_stores.rules import ConnectionState
from .custom_key_stores.rules import StoreType
from .custom_key_stores.stores import CONNECT_MODEL
from .custom_key_stores.stores import DISCONNECT_MODEL
from .custom_key_stores.stores import CustomKeyStore
from .custom_key_stores.stores import Description
from .in_place import replace_backend
from .injections import Injections
from .injections import Intruder
from .journal import Journal
from .keys import Keys
from .keys import Usage
from .private_keys import install_private_keys
from .quotas import Quotas
from .trail.events import Events
from .visibility import Visibility


def install(*, connect_seconds: float = 2.0, disconnect_seconds: float = 2.0) -> None:
    """Add custom key stores to moto's KMS, in process and as a server. Idempotent.

    moto's EventBridge Scheduler then runs schedules, its IAM simulates policies, and its CloudTrail records changes of stores.
    Args: default durations of connects and disconnects, in seconds. moto's state manager can override them.
    The first call clears moto's KMS, EventBridge Scheduler and CloudTrail.
    """
    # Imported here because they import this module.
    from .scheduler.models import install_scheduler
    from .simulation import install_simulation
    from .trail.models import install_trail

    for model_name, seconds in ((CONNECT_MODEL, connect_seconds), (DISCONNECT_MODEL, disconnect_seconds)):
        state_manager.register_default_transition(model_name, {"progression": "time", "seconds": seconds})
    replace_backend(kms_backends, EmulatedBackend)
    install_private_keys()
    install_scheduler()
    install_simulation()
    install_trail()


class EmulatedBackend(CustomKeyStoreBackend):
    """KMS of one account and Region. The caller must hold its lock."""

    lock = backend_lock
    """moto's lock. moto holds it during a reset, and acquires it to look up the backend of another service."""

    def __init__(self, region_name: str, account_id: str | None = None) -> None:
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.visibility = Visibility(self.clock)
        self.usage = Usage()
        super().__init__(region_name, account_id)
        self.keys: Keys = Keys()
        self.backing: EmulatedBacking = EmulatedBacking(
            account_id=self.account_id, region_name=region_name, rules=self.rules
        )
        self.journal = Journal(account_id=self.account_id, region_name=region_name, clock=self.clock)
        self.trail = Events(account_id=self.account_id, region_name=region_name, clock=self.clock)
        self.injections = Injections()
        self.quotas = Quotas(self.clock)
        self.intrusions: list[dict[str, str]] = []
        self.latency = 0.0
        """Wall time before the handling of each request, in seconds."""
        self._deletions: dict[str, float] = {}
        """Deletion times of keys that are pending deletion, by ID: times of the clock's elapsed()."""
        self._next_deletion = math.inf

    def reset(self) -> None:
        """Reset all state. moto's own method deletes the attributes meanwhile, and other threads may use them."""
        with self.lock:
            self.agenda.forget()
            self.backing.clusters.forget()
            self.__init__(self.region_name, self.account_id)  # type: ignore[misc]  # as moto itself resets

    # Overrides

    def now(self) -> float:
        """The emulator's time, in seconds since the epoch."""
        return round(self.clock.now(), 3)

    def elapsed(self) -> float:
        """The emulator's time for durations, in seconds from an arbitrary start."""
        return self.clock.elapsed()

    def visible_stores(self, actual: dict[str, Description]) -> list[Description]:
        """Return the visible state of all stores, with the visibility delay (R31), oldest first. Actual: by store ID."""
        return self.visibility.visible_stores(actual)

    def visible_state(self, store: CustomKeyStore) -> str:
        """Return the visible connection state of a store, which its KMS keys follow (R5, R31)."""
        return self.visibility.connection_state(store.custom_key_store_id, store.connection.status)

    def before_change(self, identifier: str, before: Description | None) -> None:
        """Keep the state before a change of a store or key visible for the visibility delay."""
        self.visibility.before_change(identifier, before)

    def key_ids(self) -> list[str]:
        """Return the IDs of all keys that ListKeys returns, sorted."""
        hidden = self.visibility.hidden()
        key_ids = self.keys.ids()
        return [key_id for key_id in key_ids if key_id not in hidden] if hidden else key_ids

    def schedule_key_deletion(self, key_id: str, pending_window_in_days: int) -> float:
        """Delete the key after this number of days (R26)."""
        due = super().schedule_key_deletion(key_id, pending_window_in_days)
        deleted_at = self._deletions[self.get_key_id(key_id)] = self.elapsed() + pending_window_in_days * 86400
        self._next_deletion = min(self._next_deletion, deleted_at)
        return due

    def cancel_key_deletion(self, key_id: str) -> None:
        """Keep the key."""
        super().cancel_key_deletion(key_id)
        del self._deletions[self.get_key_id(key_id)]

    def forget_deleted_keys(self) -> None:
        """Delete the keys whose waiting period has ended."""
        now = self.elapsed()
        # Called before each request, so do not iterate over all keys.
        if now < self._next_deletion:
            return
        for key_id in [key_id for key_id, due in self._deletions.items() if due <= now]:
            del self._deletions[key_id]
            self.usage.forget(key_id)
            self.delete_key(key_id)
        self._next_deletion = min(self._deletions.values(), default=math.inf)

    # Control

    def set_connection_state(self, store_id: str, state: str, error_code: str | None = None) -> None:
        """Set the connection state of a store, visible at once. CONNECTING and DISCONNECTING then end successfully.

        Raises ValueError for an unknown store or state, for an error code without FAILED, and for FAILED without one.
        """
        store = self.check_connection_state(store_id, state, error_code)
        if state == ConnectionState.CONNECTING:
            self._connect(store, ConnectionState.CONNECTED)
        elif state == ConnectionState.DISCONNECTING:
            store.connection.disconnect()
        else:
            store.connection.set_state(ConnectionState(state), error_code)
        if state == ConnectionState.CONNECTED:
            self.backing.on_connected(store)
        self.visibility.show_now(store_id)

    def check_connection_state(self, store_id: str, state: str, error_code: str | None) -> CustomKeyStore:
        """Check the arguments of set_connection_state. Returns the store. Raises the same errors."""
        store = self.get_store(store_id)
        check_state(store.custom_key_store_type, state, error_code)
        return store

    def create_keys(self, count: int, store: CustomKeyStore | None) -> list[str]:
        """Create keys, in a store in any state, or in no store. Returns their IDs."""
        if count == 0:
            return []
        template = self.create_key(None, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "", None)
        keys = [template, *(copy_key(template) for _turn in range(count - 1))]
        for key in keys:
            self.keys[key.id] = key
            self.visibility.show_now(key.id)
            if store is not None:
                external = store.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE
                self.move_key(key, store, f"external-{key.id}" if external else None)
        return [key.id for key in keys]

    def apply_transitions(self) -> None:
        """Apply all transitions that have ended, such as the rotation of a password after a connect."""
        for store in self.custom_key_stores.values():
            _status = store.connection.status

    def get_store(self, store_id: str) -> CustomKeyStore:
        """Return the store with this ID. Raises ValueError if it does not exist."""
        if store_id not in self.custom_key_stores:
            raise ValueError(
                f"There is no custom key store {store_id!r} in account {self.account_id}, Region {self.region_name}."
            )
        return self.custom_key_stores[store_id]

    def run_intruders(self, operation: str) -> None:
        """Run the actions by other callers that precede a request of this operation. Logs their outcomes in intrusions."""
        for intruder in self.injections.intruders_for(operation):
            outcome = self._outcome(intruder)
            self.intrusions.append({"before": operation, "action": intruder.action, "outcome": outcome})

    def _outcome(self, intruder: Intruder) -> str:
        try:
            if intruder.action == "SetConnectionState":
                wanted = intruder.parameters
                store_id, state = wanted["CustomKeyStoreId"], wanted["ConnectionState"]
                self.set_connection_state(store_id, state, wanted.get("ConnectionErrorCode"))
            else:
                getattr(self, camelcase_to_underscores(intruder.action))(intruder.parameters)
        except JsonRESTError as error:
            return str(error.relative_error_type)
        except ValueError as error:
            return str(error)
        return "ok"


def backends() -> Mapping[str, Mapping[str, EmulatedBackend]]:
    """Return the backends of KMS, by account, then by Region. install() must have replaced moto's class."""
    return cast(Mapping[str, Mapping[str, EmulatedBackend]], kms_backends)


def check_state(store_type: StoreType, state: str, error_code: str | None) -> None:
    """Raises ValueError for an unknown connection state, and for an error code that is not valid for it or for the type."""
    if state not in list(ConnectionState):
        raise ValueError(f"There is no connection state {state!r}; there are: {', '.join(ConnectionState)}.")
    if (state == ConnectionState.FAILED) != (error_code is not None):
        raise ValueError("A connection error code is needed for FAILED, and for no other connection state.")
    if error_code is not None:
        check_error_code(store_type, error_code)


def check_error_code(store_type: StoreType, error_code: str) -> None:
    """Raises ValueError if a store of this type cannot have this ConnectionErrorCode (section 3.6)."""
    fitting = ERROR_CODES[store_type]
    if error_code not in fitting:
        raise ValueError(
            f"A custom key store of type {store_type} has no connection error code {error_code!r};"
            f" it has: {', '.join(sorted(fitting))}."
        )
