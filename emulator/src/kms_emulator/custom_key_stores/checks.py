# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of requests for custom key stores, in addition to the constraints of botocore's model."""

from __future__ import annotations

from collections.abc import Iterable

from .exceptions import UnsupportedOperationException
from .exceptions import ValidationException
from .exceptions import XksProxyUriEndpointInUseException
from .exceptions import XksProxyUriInUseException
from .exceptions import XksProxyVpcEndpointServiceInUseException
from .rules import MEMBERS_OF_TYPE
from .rules import ORIGINS
from .rules import REQUIRED_ON_CREATE
from .rules import VPC_MEMBERS
from .rules import Rules
from .rules import StoreType
from .stores import CustomKeyStore
from .stores import Request

ORIGINS_IN_STORES = frozenset(ORIGINS.values())


def check_create(request: Request, store_type: StoreType, rules: Rules) -> None:
    """Check that the members of CreateCustomKeyStore fit together. Raises ValidationException."""
    _check_members_of_type(request, store_type)
    missing = [member for member in REQUIRED_ON_CREATE[store_type] if member not in request]
    if missing:
        raise ValidationException(f"A custom key store of type {store_type} needs {', '.join(missing)}.")
    if store_type is StoreType.EXTERNAL_KEY_STORE:
        _check_vpc_members(request, request["XksProxyConnectivity"], has_service=False)
    _check_password(request, rules)


def check_update(store: CustomKeyStore, request: Request, rules: Rules) -> None:
    """Check that UpdateCustomKeyStore has a change, and only members that fit the store. Raises ValidationException."""
    if not set(request) - {"CustomKeyStoreId"}:
        raise ValidationException("The request names no property to change.")
    _check_members_of_type(request, store.custom_key_store_type)
    _check_password(request, rules)


def check_proxy_update(store: CustomKeyStore, request: Request) -> None:
    """Check that connectivity changes only together with the endpoint (section 3.2). Raises ValidationException."""
    before = store.xks_proxy_configuration
    connectivity = request.get("XksProxyConnectivity", before["Connectivity"])
    if connectivity != before["Connectivity"] and request.get("XksProxyUriEndpoint") in (None, before["UriEndpoint"]):
        raise ValidationException("A change of XksProxyConnectivity needs another XksProxyUriEndpoint, too.")
    _check_vpc_members(request, connectivity, has_service="VpcEndpointServiceName" in before)


def check_proxy_is_free(wanted: dict[str, str], others: Iterable[CustomKeyStore]) -> None:
    """Raises KMS's errors if another store's proxy has the same address or VPC endpoint service.

    Stores can share a public endpoint if the paths differ, but not a private DNS name (CreateCustomKeyStore).
    """
    for other in others:
        used = other.xks_proxy_configuration
        if not used:
            continue
        if used["UriEndpoint"].lower() == wanted["UriEndpoint"].lower():
            if used["UriPath"] == wanted["UriPath"]:
                raise XksProxyUriInUseException()
            if "VPC_ENDPOINT_SERVICE" in (used["Connectivity"], wanted["Connectivity"]):
                raise XksProxyUriEndpointInUseException()
        if used.get("VpcEndpointServiceName", "") == wanted.get("VpcEndpointServiceName"):
            raise XksProxyVpcEndpointServiceInUseException()


def check_key_in_store(request: Request, store: CustomKeyStore) -> None:
    """Check that the members of CreateKey fit the store. Raises ValidationException or UnsupportedOperationException."""
    origin = ORIGINS[store.custom_key_store_type]
    if request.get("Origin") != origin:
        raise ValidationException(f"The Origin of a KMS key in this custom key store must be {origin}.")
    if (store.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE) != ("XksKeyId" in request):
        raise ValidationException("XksKeyId is needed in an external key store, and goes with no other Origin.")
    spec = request.get("KeySpec", request.get("CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"))
    usage = request.get("KeyUsage", "ENCRYPT_DECRYPT")
    if (spec, usage, request.get("MultiRegion", False)) != ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", False):
        raise UnsupportedOperationException(
            "A custom key store holds symmetric encryption KMS keys of a single Region only."
        )


def check_key_outside(request: Request) -> None:
    """Check the members of CreateKey without CustomKeyStoreId. Raises ValidationException."""
    if request.get("Origin") in ORIGINS_IN_STORES or "XksKeyId" in request:
        raise ValidationException("This Origin, and XksKeyId, need a CustomKeyStoreId.")


def _check_members_of_type(request: Request, store_type: StoreType) -> None:
    unsuited = {member for other in StoreType if other is not store_type for member in MEMBERS_OF_TYPE[other]}
    wrong = sorted(unsuited & set(request))
    if wrong:
        raise ValidationException(f"A custom key store of type {store_type} has no {', '.join(wrong)}.")


def _check_vpc_members(request: Request, connectivity: str, *, has_service: bool) -> None:
    given = [member for member in VPC_MEMBERS if member in request]
    if connectivity == "PUBLIC_ENDPOINT" and given:
        raise ValidationException(f"With PUBLIC_ENDPOINT there is no {', '.join(given)}.")
    if connectivity == "VPC_ENDPOINT_SERVICE" and not has_service and VPC_MEMBERS[0] not in request:
        raise ValidationException(f"VPC_ENDPOINT_SERVICE needs {VPC_MEMBERS[0]}.")


def _check_password(request: Request, rules: Rules) -> None:
    password = request.get("KeyStorePassword", "")
    if rules.password_must_be_alphanumeric and password and not (password.isascii() and password.isalnum()):
        raise ValidationException("KeyStorePassword may have letters and digits only.")
