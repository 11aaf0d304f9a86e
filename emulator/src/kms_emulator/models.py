# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS with custom key stores, as the emulator has it: on its own clock, with faults, and with all that is behind stores."""

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
from .custom_key_stores.keys import another
from .custom_key_stores.models import CustomKeyStoreBackend
from .custom_key_stores.rules import ERROR_CODES
from .custom_key_stores.rules import ConnectionState
from .custom_key_stores.rules import StoreType
from .custom_key_stores.stores import CONNECT_MODEL
from .custom_key_stores.stores import DISCONNECT_MODEL
from .custom_key_stores.stores import CustomKeyStore
from .custom_key_stores.stores import Description
from .in_place import put_in_place
from .injections import Injections
from .injections import Intruder
from .journal import Journal
from .keys import Keys
from .keys import Usage
from .quotas import Quotas
from .trail.events import Events
from .visibility import Visibility


def install(*, connect_seconds: float = 2.0, disconnect_seconds: float = 2.0) -> None:
    """Make moto's KMS, in process and as a server, one with custom key stores. May be called again.

    Its EventBridge Scheduler then runs schedules, its IAM simulates policies, and its CloudTrail knows who changed stores.
    Args: how long connecting and disconnecting take, in seconds, unless moto's state manager is told otherwise.
    The first call clears moto's KMS, its EventBridge Scheduler and its CloudTrail.
    """
    # Not imported above, as they import this module.
    from .scheduler.models import install_scheduler
    from .simulation import install_simulation
    from .trail.models import install_trail

    for model_name, seconds in ((CONNECT_MODEL, connect_seconds), (DISCONNECT_MODEL, disconnect_seconds)):
        state_manager.register_default_transition(model_name, {"progression": "time", "seconds": seconds})
    put_in_place(kms_backends, EmulatedBackend)
    install_scheduler()
    install_simulation()
    install_trail()


class EmulatedBackend(CustomKeyStoreBackend):
    """KMS of one account and Region. Whoever uses it holds its lock."""

    lock = backend_lock
    """That of moto, which holds it while it resets us, and takes it whenever we look for the backend of another service."""

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
        """Wall time before each request is handled, in seconds."""
        self._deletions: dict[str, float] = {}
        """When keys that are pending deletion will be gone: by the clock's elapsed(), by id."""
        self._next_deletion = math.inf

    def reset(self) -> None:
        """Forget all. Moto's own takes the attributes away meanwhile, which other threads may be using."""
        with self.lock:
            self.agenda.forget()
            self.backing.clusters.forget()
            self.__init__(self.region_name, self.account_id)  # type: ignore[misc]  # as moto itself resets

    # What is otherwise than without an emulator around

    def now(self) -> float:
        """The emulator's time, in seconds since the epoch."""
        return round(self.clock.now(), 3)

    def elapsed(self) -> float:
        """The emulator's time for what takes time, in seconds from any beginning."""
        return self.clock.elapsed()

    def seen(self, truth: dict[str, Description]) -> list[Description]:
        """All stores as they are seen, maybe late (R31), oldest first. Truth: the stores as they are, by id."""
        return self.visibility.shown(truth)

    def seen_state(self, store: CustomKeyStore) -> str:
        """The connection state that the KMS keys in a store follow: the one that is seen, maybe late (R5, R31)."""
        return self.visibility.connection_state(store.custom_key_store_id, store.connection.status)

    def changing(self, identifier: str, before: Description | None) -> None:
        """A store or a key changes: for a while, it may be seen as it was before."""
        self.visibility.changing(identifier, before)

    def key_ids(self) -> list[str]:
        """The ids of all keys that ListKeys shows, sorted."""
        hidden = self.visibility.hidden()
        key_ids = self.keys.ids()
        return [key_id for key_id in key_ids if key_id not in hidden] if hidden else key_ids

    def schedule_key_deletion(self, key_id: str, pending_window_in_days: int) -> float:
        """The key is gone after so many days (R26)."""
        due = super().schedule_key_deletion(key_id, pending_window_in_days)
        gone_at = self._deletions[self.get_key_id(key_id)] = self.elapsed() + pending_window_in_days * 86400
        self._next_deletion = min(self._next_deletion, gone_at)
        return due

    def cancel_key_deletion(self, key_id: str) -> None:
        """The key stays."""
        super().cancel_key_deletion(key_id)
        del self._deletions[self.get_key_id(key_id)]

    def forget_deleted_keys(self) -> None:
        """Let the keys go whose time has come."""
        now = self.elapsed()
        # Asked before each request, hence no look at every key.
        if now < self._next_deletion:
            return
        for key_id in [key_id for key_id, due in self._deletions.items() if due <= now]:
            del self._deletions[key_id]
            self.usage.forget(key_id)
            self.delete_key(key_id)
        self._next_deletion = min(self._deletions.values(), default=math.inf)

    # Steering

    def set_connection_state(self, store_id: str, state: str, error_code: str | None = None) -> None:
        """Put a store in a state at once, visibly. CONNECTING and DISCONNECTING then run on by time, to a good end.

        Raises ValueError for an unknown store or state, and for an error code without FAILED, or the other way round.
        """
        store = self.check_connection_state(store_id, state, error_code)
        if state == ConnectionState.CONNECTING:
            self._connect(store, ConnectionState.CONNECTED)
        elif state == ConnectionState.DISCONNECTING:
            store.connection.disconnect()
        else:
            store.connection.rest(ConnectionState(state), error_code)
        if state == ConnectionState.CONNECTED:
            self.backing.connected(store)
        self.visibility.show_now(store_id)

    def check_connection_state(self, store_id: str, state: str, error_code: str | None) -> CustomKeyStore:
        """The store, if set_connection_state may be called so. Raises ValueError as it does."""
        store = self.known_store(store_id)
        check_state(store.custom_key_store_type, state, error_code)
        return store

    def create_keys(self, count: int, store: CustomKeyStore | None) -> list[str]:
        """Create keys, in a store whatever its state, or outside of any. Returns their ids."""
        if count == 0:
            return []
        template = self.create_key(None, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "", None)
        keys = [template, *(another(template) for _turn in range(count - 1))]
        for key in keys:
            self.keys[key.id] = key
            self.visibility.show_now(key.id)
            if store is not None:
                external = store.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE
                self.move_key(key, store, f"external-{key.id}" if external else None)
        return [key.id for key in keys]

    def settle(self) -> None:
        """Let what was to happen by now happen, such as the rotation of a password by a connect."""
        for store in self.custom_key_stores.values():
            _settled = store.connection.status

    def known_store(self, store_id: str) -> CustomKeyStore:
        """The store with this id. Raises ValueError if there is none."""
        if store_id not in self.custom_key_stores:
            raise ValueError(
                f"There is no custom key store {store_id!r} in account {self.account_id}, Region {self.region_name}."
            )
        return self.custom_key_stores[store_id]

    def let_intruders_in(self, operation: str) -> None:
        """Apply what somebody else does just before a request of this operation; refusals are noted in intrusions."""
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
    """All of KMS: by account, then by Region. install() has put the class there."""
    return cast(Mapping[str, Mapping[str, EmulatedBackend]], kms_backends)


def check_state(store_type: StoreType, state: str, error_code: str | None) -> None:
    """Raises ValueError for an unknown connection state, and for an error code that does not fit it or the type."""
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
