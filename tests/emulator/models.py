# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom key stores: what they are, how they connect, and KMS's six operations on them."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Mapping
from threading import RLock
from typing import Any
from typing import cast

from moto.core.common_models import BaseModel
from moto.core.exceptions import JsonRESTError
from moto.core.utils import camelcase_to_underscores
from moto.kms.models import KmsBackend
from moto.kms.models import kms_backends
from moto.moto_api import state_manager
from moto.moto_api._internal import mock_random
from moto.moto_api._internal.managed_state_model import ManagedState

from .clock import Clock
from .exceptions import CustomKeyStoreHasCMKsException
from .exceptions import CustomKeyStoreInvalidStateException
from .exceptions import CustomKeyStoreNameInUseException
from .exceptions import CustomKeyStoreNotFoundException
from .exceptions import InvalidMarkerException
from .exceptions import LimitExceededException
from .exceptions import ValidationException
from .exceptions import error_for
from .injections import Injections
from .injections import Intruder
from .journal import Journal
from .rules import ERROR_CODES
from .rules import FAST_FAILURES
from .rules import MEMBERS_OF_TYPE
from .rules import NEVER
from .rules import REQUIRED_ON_CREATE
from .rules import VPC_MEMBERS
from .rules import ConnectionState
from .rules import Rules
from .rules import StoreType
from .visibility import Description
from .visibility import Visibility
from .visibility import sort_key

CONNECT_MODEL = "kms::connect_custom_key_store"
DISCONNECT_MODEL = "kms::disconnect_custom_key_store"

DEFAULT_PAGE = 100

Request = Mapping[str, Any]
"""The members of a KMS request, by KMS's names; checked against botocore's model, without nulls."""

PROXY_MEMBERS = {
    "XksProxyConnectivity": "Connectivity",
    "XksProxyUriEndpoint": "UriEndpoint",
    "XksProxyUriPath": "UriPath",
    "XksProxyVpcEndpointServiceName": "VpcEndpointServiceName",
    "XksProxyVpcEndpointServiceOwner": "VpcEndpointServiceOwner",
}
"""Members of create and update requests, and what DescribeCustomKeyStores calls them."""


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


class Connection(ManagedState):  # type: ignore[misc]
    """A store's connection: moto's managed state, but by the emulator's clock, and with two models that take turns."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(DISCONNECT_MODEL, [(ConnectionState.DISCONNECTED, ConnectionState.DISCONNECTED)])
        self._clock = clock
        self._began_at = clock.now()
        self._error_code: str | None = None

    def rest(self, state: ConnectionState, error_code: str | None = None) -> None:
        """Be in a state, and stay there. The error code is for FAILED."""
        self._begin(self.model_name, state, state, error_code)

    def connect(self, outcome: str = ConnectionState.CONNECTED) -> None:
        """Begin to connect. Outcome: CONNECTED, NEVER, or the ConnectionErrorCode with which it will fail."""
        ends = {ConnectionState.CONNECTED: ConnectionState.CONNECTED, NEVER: ConnectionState.CONNECTING}
        end = ends.get(outcome, ConnectionState.FAILED)
        error_code = outcome if end is ConnectionState.FAILED else None
        self._begin(CONNECT_MODEL, ConnectionState.CONNECTING, end, error_code)

    def disconnect(self) -> None:
        """Begin to disconnect."""
        self._begin(DISCONNECT_MODEL, ConnectionState.DISCONNECTING, ConnectionState.DISCONNECTED, None)

    def _begin(self, model_name: str, start: ConnectionState, end: ConnectionState, error_code: str | None) -> None:
        self.model_name = model_name
        self._transitions = [(start, end)]
        self._status = start
        self._error_code = error_code
        self._tick = 0
        self._began_at = self._clock.now()

    @property
    def status(self) -> ConnectionState:
        """The state now. Moto's own reads the wall clock; its setter would leave the old state's transitions behind."""
        transition = state_manager.get_transition(self.model_name)
        if transition["progression"] != "time":
            return ConnectionState(super().status or "")
        if self._clock.now() >= self._began_at + transition["seconds"]:
            self._status = self._get_next_status(self._status)
        return ConnectionState(self._status or "")

    @property
    def error_code(self) -> str | None:
        """The ConnectionErrorCode: only while FAILED (R4)."""
        return self._error_code if self.status is ConnectionState.FAILED else None


class CustomKeyStore(BaseModel):  # type: ignore[misc]
    """One custom key store. Secrets are not kept: nothing here needs them, and moto's dashboard shows attributes."""

    def __init__(self, *, store_id: str, store_type: StoreType, request: Request, account_id: str, clock: Clock):
        self.custom_key_store_id = store_id
        self.custom_key_store_type = store_type
        self.custom_key_store_name: str = request["CustomKeyStoreName"]
        self.cloud_hsm_cluster_id: str | None = request.get("CloudHsmClusterId")
        self.trust_anchor_certificate: str | None = request.get("TrustAnchorCertificate")
        self.creation_date = round(clock.now(), 3)
        self.connection = Connection(clock)
        self.connect_outcomes: deque[str] = deque()
        self.xks_proxy_configuration: dict[str, str] = {}
        self._account_id = account_id
        self._update_proxy(request)

    def update(self, request: Request) -> None:
        """Take over what an accepted UpdateCustomKeyStore asks for."""
        self.custom_key_store_name = request.get("NewCustomKeyStoreName", self.custom_key_store_name)
        self.cloud_hsm_cluster_id = request.get("CloudHsmClusterId", self.cloud_hsm_cluster_id)
        self._update_proxy(request)

    def _update_proxy(self, request: Request) -> None:
        if self.custom_key_store_type is not StoreType.EXTERNAL_KEY_STORE:
            return
        proxy = self.xks_proxy_configuration
        proxy.update({name: request[member] for member, name in PROXY_MEMBERS.items() if member in request})
        if "XksProxyAuthenticationCredential" in request:
            proxy["AccessKeyId"] = request["XksProxyAuthenticationCredential"]["AccessKeyId"]
        if proxy["Connectivity"] == "VPC_ENDPOINT_SERVICE":
            # The caller's account, unless an owner was given (section 3.8).
            proxy.setdefault("VpcEndpointServiceOwner", self._account_id)
        else:
            proxy.pop("VpcEndpointServiceName", None)
            proxy.pop("VpcEndpointServiceOwner", None)

    def describe(self) -> Description:
        """The store as DescribeCustomKeyStores returns it; what does not fit its type or state is absent (R32)."""
        entry: Description = {
            "CustomKeyStoreId": self.custom_key_store_id,
            "CustomKeyStoreName": self.custom_key_store_name,
            "CloudHsmClusterId": self.cloud_hsm_cluster_id,
            "TrustAnchorCertificate": self.trust_anchor_certificate,
            "ConnectionState": self.connection.status,
            "ConnectionErrorCode": self.connection.error_code,
            "CreationDate": self.creation_date,
            "CustomKeyStoreType": self.custom_key_store_type,
            "XksProxyConfiguration": dict(self.xks_proxy_configuration) or None,
        }
        return {name: value for name, value in entry.items() if value is not None}


class CustomKeyStoreBackend(KmsBackend):  # type: ignore[misc]
    """KMS of one account and Region, with custom key stores. Whoever uses it holds its lock."""

    def __init__(self, region_name: str, account_id: str | None = None) -> None:
        super().__init__(region_name, account_id)
        if not hasattr(self, "lock"):
            self.lock = RLock()
        self.clock = Clock()
        self.rules = Rules()
        self.custom_key_stores: dict[str, CustomKeyStore] = {}
        self.visibility = Visibility(self.clock)
        self.journal = Journal(account_id=self.account_id, region_name=region_name, clock=self.clock)
        self.injections = Injections()
        self.intrusions: list[dict[str, str]] = []
        self.latency = 0.0
        """Wall time before each request is handled, in seconds."""

    def reset(self) -> None:
        """Forget all. Moto's own takes the attributes away meanwhile, which other threads may be using."""
        with self.lock:
            self.__init__(self.region_name, self.account_id)  # type: ignore[misc]

    # KMS's operations. Each takes the members of its request, and returns those of its answer.

    def create_custom_key_store(self, request: Request) -> dict[str, str]:
        """CreateCustomKeyStore: required members by type, unique name, quota of stores (R30)."""
        store_type = StoreType(request.get("CustomKeyStoreType", StoreType.AWS_CLOUDHSM))
        _check_members_of_type(request, store_type)
        missing = [member for member in REQUIRED_ON_CREATE[store_type] if member not in request]
        if missing:
            raise ValidationException(f"A custom key store of type {store_type} needs {', '.join(missing)}.")
        if store_type is StoreType.EXTERNAL_KEY_STORE:
            _check_vpc_members(request, request["XksProxyConnectivity"], has_service=False)
        self._check_name_is_free(request["CustomKeyStoreName"], owner=None)
        if len(self.custom_key_stores) >= self.rules.custom_key_store_quota:
            raise LimitExceededException("This account has as many custom key stores as it may have in this Region.")
        return {"CustomKeyStoreId": self._add(request, store_type)}

    def _add(self, request: Request, store_type: StoreType) -> str:
        store_id = f"cks-{mock_random.get_random_hex(17)}"
        self.custom_key_stores[store_id] = CustomKeyStore(
            store_id=store_id, store_type=store_type, request=request, account_id=self.account_id, clock=self.clock
        )
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
        page = self._page(entries, request)
        for entry in page["CustomKeyStores"]:
            if entry["CustomKeyStoreId"] in self.custom_key_stores:
                # For moto's transitions that progress by how often they are looked at.
                self.custom_key_stores[entry["CustomKeyStoreId"]].connection.advance()
        return page

    def _page(self, entries: list[Description], request: Request) -> dict[str, Any]:
        prefix = f"{self.account_id} {self.region_name} "
        if "Marker" in request:
            last = _decoded_marker(request["Marker"], prefix)
            entries = [entry for entry in entries if sort_key(entry) > last]
        limit = request.get("Limit", DEFAULT_PAGE)
        page: dict[str, Any] = {"CustomKeyStores": entries[:limit], "Truncated": len(entries) > limit}
        if page["Truncated"]:
            text = prefix + sort_key(entries[limit - 1])
            page["NextMarker"] = base64.urlsafe_b64encode(text.encode()).decode()
        return page

    def connect_custom_key_store(self, request: Request) -> dict[str, str]:
        """ConnectCustomKeyStore: from DISCONNECTED (section 3.1); may fail fast (R2)."""
        store = self._store(request)
        state = store.connection.status
        under_way = state in (ConnectionState.CONNECTED, ConnectionState.CONNECTING)
        if under_way and self.rules.connect_when_connected_is_valid:
            return {}
        self._check_state(store, {ConnectionState.DISCONNECTED}, "connected")
        outcome = store.connect_outcomes.popleft() if store.connect_outcomes else ConnectionState.CONNECTED
        if outcome in FAST_FAILURES:
            raise error_for(outcome)
        self._changing(store)
        store.connection.connect(outcome)
        return {}

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
        members = set(request) - {"CustomKeyStoreId"}
        if not members:
            raise ValidationException("The request names no property to change.")
        _check_members_of_type(request, store.custom_key_store_type)
        self._check_update_state(store, members)
        if store.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE:
            _check_proxy_update(store, request)
        if "NewCustomKeyStoreName" in request:
            self._check_name_is_free(request["NewCustomKeyStoreName"], owner=store)
        self._changing(store)
        store.update(request)
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
        if any(getattr(key, "custom_key_store_id", None) == store.custom_key_store_id for key in self.keys.values()):
            raise CustomKeyStoreHasCMKsException()
        self._changing(store)
        del self.custom_key_stores[store.custom_key_store_id]
        return {}

    # Steering

    def set_connection_state(self, store_id: str, state: str, error_code: str | None = None) -> None:
        """Put a store in a state at once, visibly. CONNECTING and DISCONNECTING then run on by time, to a good end.

        Raises ValueError for an unknown store or state, and for an error code without FAILED, or the other way round.
        """
        store = self.check_connection_state(store_id, state, error_code)
        if state == ConnectionState.CONNECTING:
            store.connection.connect()
        elif state == ConnectionState.DISCONNECTING:
            store.connection.disconnect()
        else:
            store.connection.rest(ConnectionState(state), error_code)
        self.visibility.show_now(store_id)

    def check_connection_state(self, store_id: str, state: str, error_code: str | None) -> CustomKeyStore:
        """The store, if set_connection_state may be called so. Raises ValueError as it does."""
        store = self.known_store(store_id)
        if state not in list(ConnectionState):
            raise ValueError(f"There is no connection state {state!r}; there are: {', '.join(ConnectionState)}.")
        if (state == ConnectionState.FAILED) != (error_code is not None):
            raise ValueError("A connection error code is needed for FAILED, and for no other connection state.")
        if error_code is not None:
            check_error_code(store, error_code)
        return store

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
        for other in self.custom_key_stores.values():
            if other.custom_key_store_name == name and other is not owner:
                raise CustomKeyStoreNameInUseException()

    def _changing(self, store: CustomKeyStore) -> None:
        self.visibility.changing(store.custom_key_store_id, store.describe())


def backends() -> Mapping[str, Mapping[str, CustomKeyStoreBackend]]:
    """All of KMS: by account, then by Region. install() has put the class there."""
    return cast(Mapping[str, Mapping[str, CustomKeyStoreBackend]], kms_backends)


def check_error_code(store: CustomKeyStore, error_code: str) -> None:
    """Raises ValueError if a store of this type cannot have this ConnectionErrorCode (section 3.6)."""
    fitting = ERROR_CODES[store.custom_key_store_type]
    if error_code not in fitting:
        raise ValueError(
            f"A custom key store of type {store.custom_key_store_type} has no connection error code {error_code!r};"
            f" it has: {', '.join(sorted(fitting))}."
        )


def _decoded_marker(marker: str, prefix: str) -> str:
    try:
        text = base64.urlsafe_b64decode(marker).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidMarkerException() from error
    if not text.startswith(prefix):
        raise InvalidMarkerException()
    return text.removeprefix(prefix)


def _check_members_of_type(request: Request, store_type: StoreType) -> None:
    unsuited = {member for other in StoreType if other is not store_type for member in MEMBERS_OF_TYPE[other]}
    wrong = sorted(unsuited & set(request))
    if wrong:
        raise ValidationException(f"A custom key store of type {store_type} has no {', '.join(wrong)}.")


def _check_proxy_update(store: CustomKeyStore, request: Request) -> None:
    """Connectivity changes only together with the endpoint (section 3.2)."""
    before = store.xks_proxy_configuration
    connectivity = request.get("XksProxyConnectivity", before["Connectivity"])
    if connectivity != before["Connectivity"] and request.get("XksProxyUriEndpoint") in (None, before["UriEndpoint"]):
        raise ValidationException("A change of XksProxyConnectivity needs another XksProxyUriEndpoint, too.")
    _check_vpc_members(request, connectivity, has_service="VpcEndpointServiceName" in before)


def _check_vpc_members(request: Request, connectivity: str, *, has_service: bool) -> None:
    given = [member for member in VPC_MEMBERS if member in request]
    if connectivity == "PUBLIC_ENDPOINT" and given:
        raise ValidationException(f"With PUBLIC_ENDPOINT there is no {', '.join(given)}.")
    if connectivity == "VPC_ENDPOINT_SERVICE" and not has_service and VPC_MEMBERS[0] not in request:
        raise ValidationException(f"VPC_ENDPOINT_SERVICE needs {VPC_MEMBERS[0]}.")
