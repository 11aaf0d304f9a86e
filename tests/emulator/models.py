# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS with custom key stores: the six operations on them, and what others do with them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from collections.abc import Mapping
from threading import RLock
from typing import Any
from typing import cast

from moto.core.exceptions import JsonRESTError
from moto.core.utils import camelcase_to_underscores
from moto.kms.models import kms_backends
from moto.moto_api import state_manager
from moto.moto_api._internal import mock_random

from .backing import Backing
from .checks import check_create
from .checks import check_key_in_store
from .checks import check_key_outside
from .checks import check_proxy_is_free
from .checks import check_proxy_update
from .checks import check_update
from .exceptions import CustomKeyStoreHasCMKsException
from .exceptions import CustomKeyStoreInvalidStateException
from .exceptions import CustomKeyStoreNameInUseException
from .exceptions import CustomKeyStoreNotFoundException
from .exceptions import DependencyTimeoutException
from .exceptions import KMSInvalidStateException
from .exceptions import LimitExceededException
from .exceptions import UnsupportedOperationException
from .exceptions import ValidationException
from .exceptions import XksKeyAlreadyInUseException
from .exceptions import XksKeyNotFoundException
from .exceptions import error_for
from .injections import Injections
from .injections import Intruder
from .journal import Journal
from .keys import CustomStoreKey
from .keys import KeyBackend
from .keys import another
from .paging import page
from .quotas import Quotas
from .rules import ERROR_CODES
from .rules import FAST_FAILURES
from .rules import ConnectionState
from .rules import Rules
from .rules import StoreType
from .stores import CONNECT_MODEL
from .stores import DISCONNECT_MODEL
from .stores import CustomKeyStore
from .stores import Request
from .stores import proxy_configuration
from .visibility import sort_key

DEFAULT_PAGE = 100


def install(*, connect_seconds: float = 2.0, disconnect_seconds: float = 2.0) -> None:
    """Make moto's KMS, in process and as a server, one with custom key stores. May be called again.

    Args: how long connecting and disconnecting take, in seconds, unless moto's state manager is told otherwise.
    The first call clears moto's KMS.
    """
    for model_name, seconds in ((CONNECT_MODEL, connect_seconds), (DISCONNECT_MODEL, disconnect_seconds)):
        state_manager.register_default_transition(model_name, {"progression": "time", "seconds": seconds})
    if kms_backends.backend is not CustomKeyStoreBackend:
        kms_backends.backend = CustomKeyStoreBackend
        # The accounts that are there already have remembered moto's own class.
        kms_backends.clear()


class CustomKeyStoreBackend(KeyBackend):
    """KMS of one account and Region, with custom key stores. Whoever uses it holds its lock."""

    def __init__(self, region_name: str, account_id: str | None = None) -> None:
        super().__init__(region_name, account_id)
        if not hasattr(self, "lock"):
            self.lock = RLock()
        self.rules = Rules()
        self.custom_key_stores: dict[str, CustomKeyStore] = {}
        self.journal = Journal(account_id=self.account_id, region_name=region_name, clock=self.clock)
        self.injections = Injections()
        self.quotas = Quotas(self.clock)
        self.backing = Backing(account_id=self.account_id, region_name=region_name, rules=self.rules)
        self.intrusions: list[dict[str, str]] = []
        self.latency = 0.0
        """Wall time before each request is handled, in seconds."""

    def reset(self) -> None:
        """Forget all. Moto's own takes the attributes away meanwhile, which other threads may be using."""
        with self.lock:
            self.backing.clusters.forget()
            self.__init__(self.region_name, self.account_id)  # type: ignore[misc]  # as moto itself resets

    # KMS's operations. Each takes the members of its request, and returns those of its answer.

    def create_custom_key_store(self, request: Request) -> dict[str, str]:
        """CreateCustomKeyStore, or the store that is there already (R27). Errors: section 3.7, R20, R22, R30."""
        store_type = StoreType(request.get("CustomKeyStoreType", StoreType.AWS_CLOUDHSM))
        check_create(request, store_type, self.rules)
        twin = self._twin(request) if store_type is StoreType.AWS_CLOUDHSM else None
        if twin is not None:
            return {"CustomKeyStoreId": twin.custom_key_store_id}
        self._check_name_is_free(request["CustomKeyStoreName"], owner=None)
        if len(self.custom_key_stores) >= self.rules.custom_key_store_quota:
            raise LimitExceededException("This account has as many custom key stores as it may have in this Region.")
        if store_type is StoreType.EXTERNAL_KEY_STORE:
            check_proxy_is_free(proxy_configuration(request), self._others(None))
        self.backing.check_new(request, store_type, self._others(None))
        return {"CustomKeyStoreId": self._add(request, store_type)}

    def _twin(self, request: Request) -> CustomKeyStore | None:
        """A disconnected CloudHSM store with all the values of a create request (R27)."""
        for store in self.custom_key_stores.values():
            if (
                store.has_values_of(request)
                and store.connection.status is ConnectionState.DISCONNECTED
                and self.backing.passwords.was_told(store.custom_key_store_id, request["KeyStorePassword"])
            ):
                return store
        return None

    def _add(self, request: Request, store_type: StoreType) -> str:
        store_id = f"cks-{mock_random.get_random_hex(17)}"
        store = CustomKeyStore(
            store_id=store_id,
            store_type=store_type,
            request=request,
            account_id=self.account_id,
            clock=self.clock,
            rules=self.rules,
            visibility=self.visibility,
        )
        self.custom_key_stores[store_id] = store
        self.backing.tell(store, request)
        self.visibility.changing(store_id, None)
        return store_id

    def describe_custom_key_stores(self, request: Request) -> dict[str, Any]:
        """DescribeCustomKeyStores: one by id or name, else all by pages; an unknown one is an error (R32)."""
        if "CustomKeyStoreId" in request and "CustomKeyStoreName" in request:
            raise ValidationException("Give the id or the name of a custom key store, not both.")
        wanted = {name: request[name] for name in ("CustomKeyStoreId", "CustomKeyStoreName") if name in request}
        seen = self.visibility.shown({key: store.describe() for key, store in self.custom_key_stores.items()})
        entries = [entry for entry in seen if wanted.items() <= entry.items()]
        if wanted and not entries:
            raise CustomKeyStoreNotFoundException()
        found, rest = page(
            entries,
            sort_key,
            limit=request.get("Limit", DEFAULT_PAGE),
            marker=request.get("Marker"),
            prefix=f"{self.account_id} {self.region_name} ",
        )
        for entry in found:
            if entry["CustomKeyStoreId"] in self.custom_key_stores:
                # For moto's transitions that progress by how often they are looked at.
                self.custom_key_stores[entry["CustomKeyStoreId"]].connection.advance()
        return {"CustomKeyStores": found, **rest}

    def connect_custom_key_store(self, request: Request) -> dict[str, str]:
        """ConnectCustomKeyStore: from DISCONNECTED (section 3.1); may fail fast (R2)."""
        store = self._store(request)
        state = store.connection.status
        under_way = state in (ConnectionState.CONNECTED, ConnectionState.CONNECTING)
        if under_way and self.rules.connect_when_connected_is_valid:
            return {}
        self._check_state(store, {ConnectionState.DISCONNECTED}, "connected")
        outcome = store.connect_outcomes.popleft() if store.connect_outcomes else self.backing.connect(store)
        if outcome in FAST_FAILURES:
            raise error_for(outcome)
        self._changing(store)
        self._connect(store, outcome)
        return {}

    def _connect(self, store: CustomKeyStore, outcome: str) -> None:
        store.connection.connect(outcome, functools.partial(self.backing.connected, store))

    def disconnect_custom_key_store(self, request: Request) -> dict[str, str]:
        """DisconnectCustomKeyStore: aborts a connect; the only way out of FAILED; not idempotent (section 3.1)."""
        store = self._store(request)
        allowed = {ConnectionState.CONNECTED, ConnectionState.CONNECTING, ConnectionState.FAILED}
        self._check_state(store, allowed, "disconnected")
        self._changing(store)
        store.connection.disconnect()
        return {}

    def update_custom_key_store(self, request: Request) -> dict[str, str]:
        """UpdateCustomKeyStore: all or nothing, by the table in section 3.2."""
        store = self._store(request)
        check_update(store, request, self.rules)
        self._check_update_state(store, set(request) - {"CustomKeyStoreId"})
        if store.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE:
            check_proxy_update(store, request)
            check_proxy_is_free(store.proxy_after(request), self._others(store))
        if "NewCustomKeyStoreName" in request:
            self._check_name_is_free(request["NewCustomKeyStoreName"], owner=store)
        self.backing.check_change(store, request, self._others(store))
        self._changing(store)
        store.update(request)
        self.backing.tell(store, request)
        return {}

    def _check_update_state(self, store: CustomKeyStore, members: set[str]) -> None:
        if store.connection.status is ConnectionState.DISCONNECTED:
            return
        self._check_state(store, self.rules.update_states(store.custom_key_store_type), "updated")
        barred = members - self.rules.changeable_when_connected(store.custom_key_store_type)
        if barred:
            raise CustomKeyStoreInvalidStateException(
                f"The custom key store must be DISCONNECTED to change {', '.join(sorted(barred))}."
            )

    def delete_custom_key_store(self, request: Request) -> dict[str, str]:
        """DeleteCustomKeyStore: only while DISCONNECTED, and without any KMS key, pending deletion or not (R26)."""
        store = self._store(request)
        self._check_state(store, {ConnectionState.DISCONNECTED}, "deleted")
        if any(self._keys_in(store)):
            raise CustomKeyStoreHasCMKsException()
        self._changing(store)
        del self.custom_key_stores[store.custom_key_store_id]
        self.backing.forget(store)
        return {}

    # What other operations of KMS do with custom key stores

    def store_for_key(self, request: Request) -> CustomKeyStore | None:
        """The store that CreateKey names, if any: CONNECTED, and fit for such a key (section 3.1, R20)."""
        if "CustomKeyStoreId" not in request:
            check_key_outside(request)
            return None
        store = self._store(request)
        check_key_in_store(request, store)
        self._check_state(store, {ConnectionState.CONNECTED}, "given a KMS key")
        if store.cloud_hsm_cluster_id is not None:
            self.backing.clusters.check_hsms(store.cloud_hsm_cluster_id)
        else:
            self._check_external_key(store, request["XksKeyId"])
        return store

    def _check_external_key(self, store: CustomKeyStore, xks_key_id: str) -> None:
        if any(key.xks_key_id == xks_key_id for key in self._keys_in(store)):
            raise XksKeyAlreadyInUseException()
        known = self.backing.proxies.configured(store.xks_proxy_configuration["UriEndpoint"]).external_keys
        if known is not None and xks_key_id not in known:
            raise XksKeyNotFoundException()

    def _keys_in(self, store: CustomKeyStore) -> Iterator[CustomStoreKey]:
        return (key for key in self.keys.values() if isinstance(key, CustomStoreKey) and key.store is store)

    def check_random_source(self, request: Request) -> None:
        """The store that GenerateRandom names, if any, must be a CloudHSM store that works (R24)."""
        if "NumberOfBytes" not in request:
            raise ValidationException("GenerateRandom needs NumberOfBytes.")
        if "CustomKeyStoreId" not in request:
            return
        store = self._store(request)
        if store.custom_key_store_type is not StoreType.AWS_CLOUDHSM:
            raise UnsupportedOperationException("Random bytes come from CloudHSM key stores only.")
        self._check_state(store, {ConnectionState.CONNECTED}, "asked for random bytes")
        if self.backing.failure(store) is not None:
            raise DependencyTimeoutException()

    def note_use(self, operation: str, key_ids: list[str], request_id: str) -> None:
        """As for any key; but a key in a store is of no use either if KMS cannot reach what is behind the store."""
        for key_id in key_ids:
            key = self.keys[self.any_id_to_key_id(key_id)]
            if isinstance(key, CustomStoreKey) and self.backing.failure(key.store) is not None:
                raise KMSInvalidStateException("KMS does not reach what is behind the custom key store.")
        super().note_use(operation, key_ids, request_id)

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
            if store is not None:
                external = store.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE
                CustomStoreKey.move(key, store, f"external-{key.id}" if external else None)
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

    # What the operations share

    def _store(self, request: Request) -> CustomKeyStore:
        store_id = request["CustomKeyStoreId"]
        if store_id not in self.custom_key_stores:
            raise CustomKeyStoreNotFoundException()
        return self.custom_key_stores[store_id]

    def _check_state(
        self, store: CustomKeyStore, allowed: set[ConnectionState] | frozenset[ConnectionState], participle: str
    ) -> None:
        state = store.connection.status
        if state not in allowed:
            raise CustomKeyStoreInvalidStateException(
                f"A custom key store that is {state} cannot be {participle}; it must be {' or '.join(sorted(allowed))}."
            )

    def _check_name_is_free(self, name: str, owner: CustomKeyStore | None) -> None:
        stores = self._others(owner)
        if self.rules.names_are_unique_in_all_regions:
            elsewhere = [other for other in backends()[self.account_id].values() if other is not self]
            stores += [store for other in elsewhere for store in list(other.custom_key_stores.values())]
        if any(store.custom_key_store_name == name for store in stores):
            raise CustomKeyStoreNameInUseException()

    def _others(self, owner: CustomKeyStore | None) -> list[CustomKeyStore]:
        return [store for store in self.custom_key_stores.values() if store is not owner]

    def _changing(self, store: CustomKeyStore) -> None:
        self.visibility.changing(store.custom_key_store_id, store.describe())


def backends() -> Mapping[str, Mapping[str, CustomKeyStoreBackend]]:
    """All of KMS: by account, then by Region. install() has put the class there."""
    return cast(Mapping[str, Mapping[str, CustomKeyStoreBackend]], kms_backends)


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
