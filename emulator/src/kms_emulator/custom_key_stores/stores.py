# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom key stores and their connections."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from moto.core.common_models import BaseModel
from moto.moto_api import state_manager
from moto.moto_api._internal.managed_state_model import ManagedState

from .rules import NEVER
from .rules import ConnectionState
from .rules import Rules
from .rules import StoreType

CONNECT_MODEL = "kms::connect_custom_key_store"
DISCONNECT_MODEL = "kms::disconnect_custom_key_store"

Request = Mapping[str, Any]
"""The members of a KMS request, by KMS's names, without nulls."""

Description = dict[str, Any]
"""One entry of the DescribeCustomKeyStores response."""

PROXY_MEMBERS = {
    "XksProxyConnectivity": "Connectivity",
    "XksProxyUriEndpoint": "UriEndpoint",
    "XksProxyUriPath": "UriPath",
    "XksProxyVpcEndpointServiceName": "VpcEndpointServiceName",
    "XksProxyVpcEndpointServiceOwner": "VpcEndpointServiceOwner",
}
"""Members of create and update requests, and their names in DescribeCustomKeyStores."""


def proxy_configuration(request: Request) -> dict[str, str]:
    """Return the proxy members of a create or update request, by the names of XksProxyConfiguration."""
    return {name: request[member] for member, name in PROXY_MEMBERS.items() if member in request}


class Connection(ManagedState):
    """A store's connection: moto's managed state, with alternating models for connect and disconnect.

    Elapsed: returns the time for transitions, in seconds from an arbitrary start.
    """

    def __init__(self, elapsed: Callable[[], float], rules: Rules) -> None:
        super().__init__(DISCONNECT_MODEL, [(ConnectionState.DISCONNECTED, ConnectionState.DISCONNECTED)])
        self._elapsed = elapsed
        self._rules = rules
        self._began_at = elapsed()
        self._error_code: str | None = None
        self._on_connected: Callable[[], None] | None = None

    def set_state(self, state: ConnectionState, error_code: str | None = None) -> None:
        """Set a state without a transition. The error code is for FAILED."""
        self._begin(self.model_name, state, state, error_code)

    def connect(self, outcome: str = ConnectionState.CONNECTED, on_connected: Callable[[], None] | None = None) -> None:
        """Begin to connect. Outcome: CONNECTED, NEVER, or the ConnectionErrorCode of the failure.

        On_connected is called once if the connect succeeds, before the new state is visible.
        """
        ends = {ConnectionState.CONNECTED: ConnectionState.CONNECTED, NEVER: ConnectionState.CONNECTING}
        end = ends.get(outcome, ConnectionState.FAILED)
        error_code = outcome if end is ConnectionState.FAILED else None
        self._begin(CONNECT_MODEL, ConnectionState.CONNECTING, end, error_code)
        self._on_connected = on_connected

    def disconnect(self) -> None:
        """Begin to disconnect."""
        error_code = self.error_code
        self._begin(DISCONNECT_MODEL, ConnectionState.DISCONNECTING, ConnectionState.DISCONNECTED, error_code)

    def _begin(self, model_name: str, start: ConnectionState, end: ConnectionState, error_code: str | None) -> None:
        self.model_name = model_name
        self._transitions = [(start, end)]
        self._status = start
        self._error_code = error_code
        self._tick = 0
        self._on_connected = None
        self._began_at = self._elapsed()

    @property
    def status(self) -> ConnectionState:
        """The current state. moto's uses the wall clock, and its setter does not reset the transitions of the old state."""
        state = self._state()
        if state is ConnectionState.CONNECTED and self._on_connected is not None:
            on_connected, self._on_connected = self._on_connected, None
            on_connected()
        return state

    def _state(self) -> ConnectionState:
        transition = state_manager.get_transition(self.model_name)
        if transition["progression"] != "time":
            return ConnectionState(super().status or "")
        if self._elapsed() >= self._began_at + transition["seconds"]:
            self._status = self._get_next_status(self._status)
        return ConnectionState(self._status or "")

    @property
    def error_code(self) -> str | None:
        """The ConnectionErrorCode: only while FAILED (R4), unless a rule keeps it after a disconnect."""
        states = {ConnectionState.FAILED}
        if self._rules.error_code_outlives_disconnect:
            states |= {ConnectionState.DISCONNECTING, ConnectionState.DISCONNECTED}
        return self._error_code if self.status in states else None


class CustomKeyStore(BaseModel):
    """One custom key store. It does not store secrets, because moto's dashboard shows its attributes."""

    def __init__(
        self,
        *,
        store_id: str,
        store_type: StoreType,
        request: Request,
        account_id: str,
        creation_date: float,
        connection: Connection,
    ) -> None:
        self.custom_key_store_id = store_id
        self.custom_key_store_type = store_type
        self.custom_key_store_name: str = request["CustomKeyStoreName"]
        self.cloud_hsm_cluster_id: str | None = request.get("CloudHsmClusterId")
        self.trust_anchor_certificate: str | None = request.get("TrustAnchorCertificate")
        self.creation_date = creation_date
        self.connection = connection
        self.xks_proxy_configuration: dict[str, str] = {}
        self._account_id = account_id
        if store_type is StoreType.EXTERNAL_KEY_STORE:
            self.xks_proxy_configuration = self.proxy_after(request)

    def update(self, request: Request) -> None:
        """Apply an accepted UpdateCustomKeyStore request."""
        self.custom_key_store_name = request.get("NewCustomKeyStoreName", self.custom_key_store_name)
        self.cloud_hsm_cluster_id = request.get("CloudHsmClusterId", self.cloud_hsm_cluster_id)
        if self.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE:
            self.xks_proxy_configuration = self.proxy_after(request)

    def proxy_after(self, request: Request) -> dict[str, str]:
        """Return an external store's XksProxyConfiguration after this create or update request."""
        proxy = dict(self.xks_proxy_configuration)
        proxy.update(proxy_configuration(request))
        if "XksProxyAuthenticationCredential" in request:
            proxy["AccessKeyId"] = request["XksProxyAuthenticationCredential"]["AccessKeyId"]
        if proxy["Connectivity"] == "VPC_ENDPOINT_SERVICE":
            # Default: the caller's account (section 3.8).
            proxy.setdefault("VpcEndpointServiceOwner", self._account_id)
        else:
            proxy.pop("VpcEndpointServiceName", None)
            proxy.pop("VpcEndpointServiceOwner", None)
        return proxy

    def has_values_of(self, request: Request) -> bool:
        """Whether the store has all non-secret values of a request to create a CloudHSM store (R27)."""
        members = ("CustomKeyStoreName", "CloudHsmClusterId", "TrustAnchorCertificate")
        mine = (self.custom_key_store_name, self.cloud_hsm_cluster_id, self.trust_anchor_certificate)
        return mine == tuple(request[member] for member in members)

    def describe(self) -> Description:
        """Return the store as in DescribeCustomKeyStores, without members that do not apply to its type or state (R32)."""
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


def sort_key(description: Description) -> str:
    """Return a sort key that orders stores by age, for a stable order of pages."""
    return f"{description['CreationDate']:017.3f} {description['CustomKeyStoreId']}"
