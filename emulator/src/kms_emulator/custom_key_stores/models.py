# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""moto's KMS with custom key stores: the six operations, and enforced key states."""

from __future__ import annotations

import datetime
import functools
import time
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any
from typing import cast

from moto.kms.models import Key
from moto.kms.models import KmsBackend
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
from .exceptions import LimitExceededException
from .exceptions import UnsupportedOperationException
from .exceptions import ValidationException
from .exceptions import XksKeyAlreadyInUseException
from .exceptions import error_for
from .key_states import ENABLED
from .key_states import PENDING_DELETION
from .key_states import USES
from .keys import CustomStoreKey
from .paging import page
from .rules import FAST_FAILURES
from .rules import ConnectionState
from .rules import Rules
from .rules import StoreType
from .stores import CONNECT_MODEL
from .stores import DISCONNECT_MODEL
from .stores import Connection
from .stores import CustomKeyStore
from .stores import Description
from .stores import Request
from .stores import proxy_configuration
from .stores import sort_key

DEFAULT_PAGE = 100

for _model in (CONNECT_MODEL, DISCONNECT_MODEL):
    state_manager.register_default_transition(_model, {"progression": "immediate"})


class CustomKeyStoreBackend(KmsBackend):
    """KMS of one account and Region, with custom key stores."""

    def __init__(self, region_name: str, account_id: str | None = None) -> None:
        super().__init__(region_name, account_id)
        self.rules = Rules()
        self.custom_key_stores: dict[str, CustomKeyStore] = {}
        self.backing: Backing = Backing(account_id=self.account_id, region_name=region_name, rules=self.rules)

    # Hooks for subclasses

    def now(self) -> float:
        """Return the time for responses, in seconds since the epoch."""
        return round(time.time(), 3)

    def elapsed(self) -> float:
        """Return the time for transitions, in seconds from an arbitrary start."""
        return time.monotonic()

    def visible_stores(self, actual: dict[str, Description]) -> list[Description]:
        """Return all stores as in DescribeCustomKeyStores, oldest first. Actual: their actual states, by ID."""
        return sorted(actual.values(), key=sort_key)

    def visible_state(self, store: CustomKeyStore) -> str:
        """Return the visible connection state of a store, which its keys follow."""
        return store.connection.status

    def before_change(self, identifier: str, before: Description | None) -> None:
        """Hook before a change of a store or key. Before: the store before the change; None: it is new."""

    # KMS operations. Each takes the members of the request, and returns those of the response.

    def create_custom_key_store(self, request: Request) -> dict[str, str]:
        """CreateCustomKeyStore. Returns an existing identical store (R27). Errors: section 3.7, R20, R22, R30."""
        store_type = StoreType(request.get("CustomKeyStoreType", StoreType.AWS_CLOUDHSM))
        check_create(request, store_type, self.rules)
        identical = self._find_identical(request) if store_type is StoreType.AWS_CLOUDHSM else None
        if identical is not None:
            return {"CustomKeyStoreId": identical.custom_key_store_id}
        self._check_name_is_free(request["CustomKeyStoreName"], owner=None)
        if len(self.custom_key_stores) >= self.rules.custom_key_store_quota:
            raise LimitExceededException("This account has as many custom key stores as it may have in this Region.")
        if store_type is StoreType.EXTERNAL_KEY_STORE:
            check_proxy_is_free(proxy_configuration(request), self._others(None))
        self.backing.check_new(request, store_type, self._others(None))
        return {"CustomKeyStoreId": self._add(request, store_type)}

    def _find_identical(self, request: Request) -> CustomKeyStore | None:
        """Return a disconnected CloudHSM store with all values of a create request, if any (R27)."""
        for store in self.custom_key_stores.values():
            if (
                store.has_values_of(request)
                and store.connection.status is ConnectionState.DISCONNECTED
                and self.backing.password_matches(store, request)
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
            creation_date=self.now(),
            connection=Connection(self.elapsed, self.rules),
        )
        self.custom_key_stores[store_id] = store
        self.backing.record_secrets(store, request)
        self.before_change(store_id, None)
        return store_id

    def describe_custom_key_stores(self, request: Request) -> dict[str, Any]:
        """DescribeCustomKeyStores: one store by ID or name, or all in pages. An unknown store is an error (R32)."""
        if "CustomKeyStoreId" in request and "CustomKeyStoreName" in request:
            raise ValidationException("Give the id or the name of a custom key store, not both.")
        wanted = {name: request[name] for name in ("CustomKeyStoreId", "CustomKeyStoreName") if name in request}
        visible = self.visible_stores({key: store.describe() for key, store in self.custom_key_stores.items()})
        entries = [entry for entry in visible if wanted.items() <= entry.items()]
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
                # For moto's transitions that progress with each describe request.
                self.custom_key_stores[entry["CustomKeyStoreId"]].connection.advance()
        return {"CustomKeyStores": found, **rest}

    def connect_custom_key_store(self, request: Request) -> dict[str, str]:
        """ConnectCustomKeyStore: from DISCONNECTED (section 3.1); may fail fast (R2)."""
        store = self._store(request)
        state = store.connection.status
        accepted = state in (ConnectionState.CONNECTED, ConnectionState.CONNECTING)
        if accepted and self.rules.connect_when_connected_is_valid:
            return {}
        self._check_state(store, {ConnectionState.DISCONNECTED}, "connected")
        outcome = self.backing.connect(store)
        if outcome in FAST_FAILURES:
            raise error_for(outcome)
        self._before_change(store)
        self._connect(store, outcome)
        return {}

    def _connect(self, store: CustomKeyStore, outcome: str) -> None:
        store.connection.connect(outcome, functools.partial(self.backing.on_connected, store))

    def disconnect_custom_key_store(self, request: Request) -> dict[str, str]:
        """DisconnectCustomKeyStore: aborts a connect, and is the only way to leave FAILED. Not idempotent (section 3.1)."""
        store = self._store(request)
        allowed = {ConnectionState.CONNECTED, ConnectionState.CONNECTING, ConnectionState.FAILED}
        self._check_state(store, allowed, "disconnected")
        self._before_change(store)
        store.connection.disconnect()
        return {}

    def update_custom_key_store(self, request: Request) -> dict[str, str]:
        """UpdateCustomKeyStore: atomic, by the table in section 3.2."""
        store = self._store(request)
        check_update(store, request, self.rules)
        self._check_update_state(store, set(request) - {"CustomKeyStoreId"})
        if store.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE:
            check_proxy_update(store, request)
            check_proxy_is_free(store.proxy_after(request), self._others(store))
        if "NewCustomKeyStoreName" in request:
            self._check_name_is_free(request["NewCustomKeyStoreName"], owner=store)
        self.backing.check_change(store, request, self._others(store))
        self._before_change(store)
        store.update(request)
        self.backing.record_secrets(store, request)
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
        """DeleteCustomKeyStore: only while DISCONNECTED and without KMS keys, including keys pending deletion (R26)."""
        store = self._store(request)
        self._check_state(store, {ConnectionState.DISCONNECTED}, "deleted")
        if any(self._keys_in(store)):
            raise CustomKeyStoreHasCMKsException()
        self._before_change(store)
        del self.custom_key_stores[store.custom_key_store_id]
        self.backing.forget(store)
        return {}

    # KMS keys

    def create_key(self, *args: Any, **kwargs: Any) -> Key:
        """moto's, with the creation date of this KMS's clock."""
        key = super().create_key(*args, **kwargs)
        key.creation_date = self.now()
        self.before_change(key.id, None)
        return key

    def store_for_key(self, request: Request) -> CustomKeyStore | None:
        """Return the store of CreateKey, if any. It must be CONNECTED, and support the key (section 3.1, R20, R34)."""
        if "CustomKeyStoreId" not in request:
            check_key_outside(request)
            return None
        store = self._store(request)
        check_key_in_store(request, store)
        self._check_state(store, {ConnectionState.CONNECTED}, "given a KMS key")
        if any(key.xks_key_id == request["XksKeyId"] for key in self._keys_in(store) if key.xks_key_id):
            raise XksKeyAlreadyInUseException()
        self.backing.check_new_key(store, request)
        return store

    def move_key(self, key: Key, store: CustomKeyStore, xks_key_id: str | None) -> CustomStoreKey:
        """Move a new key into a store."""
        return CustomStoreKey.move(key, store, xks_key_id, self.visible_state)

    def enable_key(self, key_id: str) -> None:
        """moto's, also for ARNs."""
        super().enable_key(self.get_key_id(key_id))

    def disable_key(self, key_id: str) -> None:
        """moto's, also for ARNs."""
        super().disable_key(self.get_key_id(key_id))

    def schedule_key_deletion(self, key_id: str, pending_window_in_days: int) -> float:
        """ScheduleKeyDeletion. Returns the deletion date, in seconds since the epoch."""
        key = self.keys[self.get_key_id(key_id)]
        due = self.now() + pending_window_in_days * 86400
        key.enabled = False
        key.key_state = PENDING_DELETION
        # moto expects UTC without a time zone.
        key.deletion_date = datetime.datetime.fromtimestamp(due, datetime.timezone.utc).replace(tzinfo=None)
        return due

    def cancel_key_deletion(self, key_id: str) -> None:
        """moto's, also for ARNs. The key is then Disabled."""
        super().cancel_key_deletion(self.get_key_id(key_id))

    def list_keys_page(self, limit: int, marker: str | None) -> dict[str, Any]:
        """ListKeys in pages; moto's has only one. Raises InvalidMarkerException."""
        prefix = f"keys {self.account_id} {self.region_name} "
        found, rest = page(self.key_ids(), str, limit=limit, marker=marker, prefix=prefix)
        return {"Keys": [{"KeyArn": self.keys[key_id].arn, "KeyId": key_id} for key_id in found], **rest}

    def key_ids(self) -> list[str]:
        """Return the IDs of all keys that ListKeys returns, sorted."""
        return sorted(self.keys)

    def check_use(self, operation: str, keys: list[Key]) -> None:
        """Check that KMS can use these keys, whose states allow it. ReEncrypt: source key first. Raises KMS's errors."""
        uses = [{"DECRYPT"}, {"ENCRYPT"}] if operation == "ReEncrypt" else [USES.get(operation, frozenset())]
        for key, use in zip(keys, uses, strict=False):
            if isinstance(key, CustomStoreKey) and key.key_state == ENABLED:
                self.backing.check_use(key, use)

    def check_random_source(self, request: Request) -> None:
        """Check that the store of GenerateRandom, if any, is a working CloudHSM store (R24)."""
        if "NumberOfBytes" not in request:
            raise ValidationException("NumberOfBytes is required.")
        if "CustomKeyStoreId" not in request:
            return
        store = self._store(request)
        if store.custom_key_store_type is not StoreType.AWS_CLOUDHSM:
            raise UnsupportedOperationException("Random bytes come from CloudHSM key stores only.")
        self._check_state(store, {ConnectionState.CONNECTED}, "asked for random bytes")
        if self.backing.failure(store) is not None:
            raise DependencyTimeoutException()

    # Shared by the operations

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

    def _keys_in(self, store: CustomKeyStore) -> Iterator[CustomStoreKey]:
        return (key for key in self.keys.values() if isinstance(key, CustomStoreKey) and key.store is store)

    def _before_change(self, store: CustomKeyStore) -> None:
        self.before_change(store.custom_key_store_id, store.describe())


def backends() -> Mapping[str, Mapping[str, CustomKeyStoreBackend]]:
    """Return the backends of KMS, by account, then by Region. moto's KMS must use CustomKeyStoreBackend."""
    # Imported here because moto's module may import this one.
    from moto.kms.models import kms_backends

    return cast(Mapping[str, Mapping[str, CustomKeyStoreBackend]], kms_backends)
