# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS's rules for custom key stores, as tables. The rule numbers (R1 ...) and sections (3.1 ...) are the project's."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

CHANGES = (
    "CreateCustomKeyStore",
    "ConnectCustomKeyStore",
    "DisconnectCustomKeyStore",
    "UpdateCustomKeyStore",
    "DeleteCustomKeyStore",
)
"""The operations that change a custom key store."""


class ConnectionState(StrEnum):
    """The five connection states of a custom key store."""

    CONNECTED = "CONNECTED"
    CONNECTING = "CONNECTING"
    DISCONNECTED = "DISCONNECTED"
    DISCONNECTING = "DISCONNECTING"
    FAILED = "FAILED"


class StoreType(StrEnum):
    """The two types of custom key store."""

    AWS_CLOUDHSM = "AWS_CLOUDHSM"
    EXTERNAL_KEY_STORE = "EXTERNAL_KEY_STORE"


ERROR_CODES_OF_BOTH = frozenset({"INTERNAL_ERROR", "NETWORK_ERRORS", "INVALID_CREDENTIALS"})

ERROR_CODES: dict[StoreType, frozenset[str]] = {
    StoreType.AWS_CLOUDHSM: ERROR_CODES_OF_BOTH
    | {
        "CLUSTER_NOT_FOUND",
        "INSUFFICIENT_CLOUDHSM_HSMS",
        "INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET",
        "SUBNET_NOT_FOUND",
        "USER_LOCKED_OUT",
        "USER_LOGGED_IN",
        "USER_NOT_FOUND",
    },
    StoreType.EXTERNAL_KEY_STORE: ERROR_CODES_OF_BOTH
    | {
        "XKS_PROXY_ACCESS_DENIED",
        "XKS_PROXY_INVALID_CONFIGURATION",
        "XKS_PROXY_INVALID_RESPONSE",
        "XKS_PROXY_INVALID_TLS_CONFIGURATION",
        "XKS_PROXY_NOT_REACHABLE",
        "XKS_PROXY_TIMED_OUT",
        "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION",
        "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND",
    },
}
"""The possible ConnectionErrorCodes of each store type (section 3.6)."""

FAST_FAILURES = frozenset({"CloudHsmClusterNotActiveException", "CloudHsmClusterInvalidConfigurationException"})
"""Exceptions that ConnectCustomKeyStore raises at once. The store remains DISCONNECTED (R2)."""

NEVER = "NEVER"
"""The outcome of a connect that remains CONNECTING."""

REQUIRED_ON_CREATE: dict[StoreType, tuple[str, ...]] = {
    StoreType.AWS_CLOUDHSM: ("CloudHsmClusterId", "KeyStorePassword", "TrustAnchorCertificate"),
    StoreType.EXTERNAL_KEY_STORE: (
        "XksProxyConnectivity",
        "XksProxyUriEndpoint",
        "XksProxyUriPath",
        "XksProxyAuthenticationCredential",
    ),
}
"""Required members of CreateCustomKeyStore for each store type, in addition to the name."""

ORIGINS: dict[StoreType, str] = {
    StoreType.AWS_CLOUDHSM: "AWS_CLOUDHSM",
    StoreType.EXTERNAL_KEY_STORE: "EXTERNAL_KEY_STORE",
}
"""The Origin of KMS keys in each store type."""

VPC_MEMBERS = ("XksProxyVpcEndpointServiceName", "XksProxyVpcEndpointServiceOwner")
"""Members for a VPC endpoint service only."""

MEMBERS_OF_TYPE: dict[StoreType, frozenset[str]] = {
    StoreType.AWS_CLOUDHSM: frozenset(REQUIRED_ON_CREATE[StoreType.AWS_CLOUDHSM]),
    StoreType.EXTERNAL_KEY_STORE: frozenset((*REQUIRED_ON_CREATE[StoreType.EXTERNAL_KEY_STORE], *VPC_MEMBERS)),
}
"""Members of CreateCustomKeyStore and UpdateCustomKeyStore for one store type only."""


@dataclasses.dataclass
class Rules:
    """Rules on which AWS's documents disagree (section 3.9), by default in the safer interpretation, and other settings for
    the strictness of the emulator."""

    connect_when_connected_is_valid: bool = False
    """3.9(3): ConnectCustomKeyStore on CONNECTED or CONNECTING is accepted and changes nothing."""
    rename_when_connected_is_valid: bool = True
    """3.9(1): a CloudHSM store can be renamed while CONNECTED. An external one always can."""
    proxy_update_when_connected_is_valid: bool = True
    """3.9(2): an external store's credential and path can change while CONNECTED."""
    proxy_update_in_any_state_is_valid: bool = False
    """3.9(7): the changes that an external store allows while CONNECTED, it allows in any state."""
    empty_vpc_service_name_is_valid: bool = False
    """3.9(4): with PUBLIC_ENDPOINT, XksProxyVpcEndpointServiceName can be an empty string. (It can always be null.)"""
    vpc_service_of_another_account_is_valid: bool = True
    """3.9(5): the VPC endpoint service can belong to another account. Otherwise, a connect fails as if it did not exist."""
    error_code_outlives_disconnect: bool = False
    """3.9(6): the ConnectionErrorCode of a failed connect remains until the next connect, not only while FAILED."""
    password_must_be_alphanumeric: bool = False
    """3.9(8): KeyStorePassword can have letters and digits only."""
    names_are_unique_in_all_regions: bool = False
    """3.9(10): a custom key store's name is unique in the account, not only in its Region."""
    external_failures_of_use_are_internal: bool = False
    """3.9(11): a proxy failure on use of a key is a KMSInternalException, not a KMSInvalidStateException."""
    connect_is_refused_while_hsms_change: bool = True
    """3.9(12): during a change of the HSM type or its rollback, a cluster is not active, and a connect is rejected. Otherwise,
    the connect ends FAILED with INTERNAL_ERROR, because passwords cannot be changed then (R35)."""
    rollback_restores_password: bool = True
    """R35: a rollback of the HSM type restores the password of kmsuser from before the change."""
    clusters_must_exist: bool = False
    """Not a disputed rule: each CloudHSM cluster must exist in CloudHSM v2. By default, only clusters that a test has
    created are checked, and any other ID is of a healthy cluster."""
    custom_key_store_quota: int = 10
    """3.9(9): the maximum number of custom key stores in an account and Region (R30)."""

    def set(self, name: str, value: bool | int) -> None:
        """Set one rule. Raises ValueError for an unknown rule, or a value of the wrong type."""
        known = {field.name: type(field.default) for field in dataclasses.fields(self)}
        if name not in known:
            raise ValueError(f"There is no rule {name!r}; there are: {', '.join(sorted(known))}.")
        if not isinstance(value, known[name]) or isinstance(value, bool) is not (known[name] is bool):
            raise ValueError(
                f"The value of {name} must be {'true or false' if known[name] is bool else 'a whole number'}."
            )
        if value < 0:
            raise ValueError(f"The value of {name} must be 0 or more.")
        setattr(self, name, value)

    def changeable_when_connected(self, store_type: StoreType) -> frozenset[str]:
        """Return the members of UpdateCustomKeyStore that do not require the state DISCONNECTED (section 3.2)."""
        if store_type is StoreType.AWS_CLOUDHSM:
            return frozenset({"NewCustomKeyStoreName"} if self.rename_when_connected_is_valid else ())
        proxy = {"XksProxyAuthenticationCredential", "XksProxyUriPath"}
        return frozenset({"NewCustomKeyStoreName"} | (proxy if self.proxy_update_when_connected_is_valid else set()))

    def update_states(self, store_type: StoreType) -> frozenset[ConnectionState]:
        """Return the states in which UpdateCustomKeyStore accepts at least one change (section 3.1, R7)."""
        if store_type is StoreType.EXTERNAL_KEY_STORE and self.proxy_update_in_any_state_is_valid:
            return frozenset(ConnectionState)
        return frozenset({ConnectionState.CONNECTED, ConnectionState.DISCONNECTED})
