# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""External key store proxies, as far as KMS sees them (R8, R17, R22). Of their secrets only salted hashes are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from .passwords import Hasher

UNREACHABLE = "XksProxyUriUnreachableException"
INCORRECT_CREDENTIAL = "XksProxyIncorrectAuthenticationCredentialException"
VPC_FAILURES = frozenset(
    {"XksProxyVpcEndpointServiceNotFoundException", "XksProxyVpcEndpointServiceInvalidConfigurationException"}
)
FAILURES: dict[str, str] = {
    UNREACHABLE: "XKS_PROXY_NOT_REACHABLE",
    INCORRECT_CREDENTIAL: "INVALID_CREDENTIALS",
    "XksProxyInvalidResponseException": "XKS_PROXY_INVALID_RESPONSE",
    "XksProxyInvalidConfigurationException": "XKS_PROXY_INVALID_CONFIGURATION",
    "XksProxyVpcEndpointServiceNotFoundException": "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND",
    "XksProxyVpcEndpointServiceInvalidConfigurationException": "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION",
}
"""What is wrong with a proxy: the exception of create and update, and the ConnectionErrorCode of connect."""


@dataclass(frozen=True)
class Credential:
    """What KMS signs its requests to a proxy with."""

    access_key_id: str
    secret: bytes = field(repr=False)


@dataclass
class Proxy:
    """One proxy. Without credentials, it accepts any; external_keys None: it has any key."""

    failure: str | None = None
    credentials: frozenset[Credential] = frozenset()
    external_keys: frozenset[str] | None = None


class Proxies:
    """All proxies by their host, and the credentials that KMS was told, by id of the external key store."""

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._proxies: dict[str, Proxy] = {}
        self._told: dict[str, Credential] = {}

    def configured(self, uri_endpoint: str) -> Proxy:
        """The proxy at an endpoint. One that nobody has configured is fine with everything."""
        return self._proxies.setdefault(uri_endpoint.lower(), Proxy())

    def credential(self, access_key_id: str, raw_secret_access_key: str) -> Credential:
        """A credential with its secret hashed."""
        return Credential(access_key_id, self._hasher.hashed(raw_secret_access_key))

    def tell(self, store_id: str, request_member: Mapping[str, str]) -> None:
        """Take note of a store's XksProxyAuthenticationCredential."""
        self._told[store_id] = self._of(request_member)

    def forget(self, store_id: str) -> None:
        """The store is gone."""
        self._told.pop(store_id, None)

    def failure(self, configuration: Mapping[str, str], *, told_to: str) -> str | None:
        """What KMS finds wrong with a store's proxy: one of FAILURES. Told_to: id of the store."""
        return self._failure(configuration, self._told[told_to])

    def failure_with(self, configuration: Mapping[str, str], request_member: Mapping[str, str]) -> str | None:
        """The same with an XksProxyAuthenticationCredential that KMS is asked to use."""
        return self._failure(configuration, self._of(request_member))

    def _failure(self, configuration: Mapping[str, str], credential: Credential) -> str | None:
        proxy = self.configured(configuration["UriEndpoint"])
        private = configuration["Connectivity"] == "VPC_ENDPOINT_SERVICE"
        if proxy.failure is not None and (private or proxy.failure not in VPC_FAILURES):
            return proxy.failure
        return INCORRECT_CREDENTIAL if proxy.credentials and credential not in proxy.credentials else None

    def _of(self, request_member: Mapping[str, str]) -> Credential:
        return self.credential(request_member["AccessKeyId"], request_member["RawSecretAccessKey"])
