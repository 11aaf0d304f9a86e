# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests that may be sent at all: none of them can lose anything, whatever KMS makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Members = dict[str, Any]
"""The members of a request or of an answer, by KMS's names."""

UNKNOWN_ID = "cks-00000000000000000"
UNKNOWN_NAME = "keyops-recording-of-no-store"
RANDOM_BYTES = 8

DESCRIBE = "DescribeCustomKeyStores"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"
UPDATE = "UpdateCustomKeyStore"
RANDOM = "GenerateRandom"

METHODS = {
    DESCRIBE: "describe_custom_key_stores",
    CONNECT: "connect_custom_key_store",
    DISCONNECT: "disconnect_custom_key_store",
    UPDATE: "update_custom_key_store",
    RANDOM: "generate_random",
}
"""The operations, and what boto3 calls them. There is no deletion, not even one that KMS must refuse, and nothing about keys."""

MEMBERS = {
    DESCRIBE: {"CustomKeyStoreId", "CustomKeyStoreName"},
    CONNECT: {"CustomKeyStoreId"},
    DISCONNECT: {"CustomKeyStoreId"},
    UPDATE: {
        "CustomKeyStoreId",
        "NewCustomKeyStoreName",
        "XksProxyConnectivity",
        "XksProxyUriEndpoint",
        "XksProxyUriPath",
        "XksProxyVpcEndpointServiceName",
    },
    RANDOM: {"CustomKeyStoreId", "NumberOfBytes"},
}
"""The members that a request may have: none is a secret. Another cluster is left out, too, as KMS may want its password then."""

PROXY_MEMBERS = {
    "XksProxyConnectivity": "Connectivity",
    "XksProxyUriEndpoint": "UriEndpoint",
    "XksProxyUriPath": "UriPath",
}
"""Members of an update that may only have the value that the key store has, and what XksProxyConfiguration calls them."""


def renamed(name: str) -> str:
    """The name that a key store has for some seconds. KMS allows 256 characters."""
    return f"{name[:240]}-renamed"


def check_harmless(operation: str, request: Members, store: Mapping[str, Any]) -> None:
    """Raises ValueError for a request that is not to be sent. Store: as it was described at first.

    The scenario has no other; this is for whoever changes it, and for recordings that somebody else has made.
    """
    if operation not in METHODS:
        raise ValueError(f"{operation} is none of the operations that a recording may have.")
    barred = sorted(set(request) - MEMBERS[operation])
    if barred:
        raise ValueError(f"{operation} may not have {', '.join(barred)} in a recording.")
    allowed = {
        "CustomKeyStoreId": {store["CustomKeyStoreId"], UNKNOWN_ID},
        "CustomKeyStoreName": {store["CustomKeyStoreName"], UNKNOWN_NAME},
        "NewCustomKeyStoreName": {store["CustomKeyStoreName"], renamed(store["CustomKeyStoreName"])},
        "NumberOfBytes": {RANDOM_BYTES},
        "XksProxyVpcEndpointServiceName": {""},
    }
    proxy = store.get("XksProxyConfiguration", {})
    allowed |= {member: {proxy.get(name)} for member, name in PROXY_MEMBERS.items()}
    wrong = sorted(member for member, value in request.items() if value not in allowed[member])
    if wrong:
        raise ValueError(f"{operation} may not change {', '.join(wrong)} in a recording.")
