# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""External key store proxies, as far as KMS sees them (R8, R17, R22, R34). Of their secrets only salted hashes are kept."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field

from .custom_key_stores.exceptions import CustomKeyStoreInvalidStateException
from .custom_key_stores.exceptions import KmsError
from .custom_key_stores.exceptions import XksKeyInvalidConfigurationException
from .custom_key_stores.exceptions import XksKeyNotFoundException
from .custom_key_stores.exceptions import error_for
from .passwords import Hasher

UNREACHABLE_URI = "XksProxyUriUnreachableException"
INVALID_RESPONSE = "XksProxyInvalidResponseException"
INVALID_CONFIGURATION = "XksProxyInvalidConfigurationException"
INCORRECT_CREDENTIAL = "XksProxyIncorrectAuthenticationCredentialException"
VPC_NOT_FOUND = "XksProxyVpcEndpointServiceNotFoundException"
VPC_INVALID = "XksProxyVpcEndpointServiceInvalidConfigurationException"


@dataclass(frozen=True)
class Failure:
    """One way in which a proxy fails KMS.

    Attributes:
        text: what KMS says of it, whatever the operation. It is KMS's own, from the table "KMS exceptions" of the XKS proxy API
            specification, as clients match on it.
        of_stores: the exception of CreateCustomKeyStore and UpdateCustomKeyStore; None: it does not show in a health check.
        of_keys: the exception of CreateKey; None: CreateKey does not meet it.
        of_use: what cannot be done with a key then: ENCRYPT, DECRYPT. Each fails with KMSInvalidStateException.
        code: the ConnectionErrorCode of a connect; None: it succeeds.
        private: is it one of VPC endpoint services only?
    """

    text: str
    of_stores: str | None
    of_keys: str | None = CustomKeyStoreInvalidStateException.__name__
    of_use: frozenset[str] = frozenset({"ENCRYPT", "DECRYPT"})
    code: str | None = None
    private: bool = False


_REPORT = "If you see this error repeatedly, report it to your external key store proxy administrator."
_CANNOT_INTERPRET = f"AWS KMS cannot interpret the response from the external key store proxy. {_REPORT}"
_NOT_FOUND = (
    "The external key associated with this KMS key in an external key store was not found in its external key manager. If the"
    " external key ID associated with this KMS key is incorrect, create a new KMS key with the correct external key ID."
)
_NOT_ENABLED = (
    "The external key associated with this KMS key in an external key store is not enabled in the external key manager. Enable"
    " the external key in the external key manager and retry the request."
)
_NOT_SUPPORTED_BY_KEY = (
    "The external key associated with this KMS key in an external key store does not support the requested operation. Enable the"
    " operation on the key in your external key manager, and try the request again."
)
_WRONG_KEY = XksKeyInvalidConfigurationException.__name__

UNREACHABLE = "Unreachable"

FAILURES: dict[str, Failure] = {
    # What a proxy answers, by the names of the specification
    "ValidationException": Failure(_CANNOT_INTERPRET, INVALID_RESPONSE, code="XKS_PROXY_INVALID_RESPONSE"),
    "InvalidStateException": Failure(_NOT_ENABLED, None, _WRONG_KEY),
    "InvalidCiphertextException": Failure(
        "The external key store proxy rejected the request because the specified ciphertext or encryption context is corrupted,"
        " missing, or otherwise invalid.",
        None,
        None,
        frozenset({"DECRYPT"}),
    ),
    "InvalidKeyUsageException": Failure(_NOT_SUPPORTED_BY_KEY, None, _WRONG_KEY),
    "AuthenticationFailedException": Failure(
        "The external key store proxy rejected the request because it could not authenticate AWS KMS. Verify the XKS proxy"
        " authentication credentials for your external key store and update if necessary.",
        INCORRECT_CREDENTIAL,
        code="INVALID_CREDENTIALS",
    ),
    "AccessDeniedException": Failure(
        "The external key store proxy denied access to the operation. Verify that the user and the external key are both"
        " authorized for this operation, and try the request again.",
        None,
        # The specification has KMSInvalidStateException, which CreateKey does not declare; the developer guide has this.
        code="XKS_PROXY_ACCESS_DENIED",
    ),
    "KeyNotFoundException": Failure(_NOT_FOUND, None, XksKeyNotFoundException.__name__),
    "InvalidUriPathException": Failure(
        "The external key store proxy rejected the request because of an invalid URI path. Verify the URI path for your external"
        " key store and update if necessary.",
        INVALID_CONFIGURATION,
        code="XKS_PROXY_INVALID_CONFIGURATION",
    ),
    "UnsupportedOperationException": Failure(
        "The external key store proxy rejected the request because it does not support the requested operation. If you see this"
        " error repeatedly, report it to your external key store proxy administrator.",
        None,
        # The specification has XksKeyInvalidResponseException, which no model of KMS knows; the developer guide has this.
    ),
    "DependencyTimeoutException": Failure(
        f"The external key store proxy did not respond to the request in the time allotted. Retry the request. {_REPORT}",
        UNREACHABLE_URI,
        code="XKS_PROXY_TIMED_OUT",
    ),
    "ThrottlingException": Failure(
        "The external key store proxy rejected the request due to a very high request rate. Reduce the frequency of your calls"
        " using KMS keys in this external key store.",
        UNREACHABLE_URI,
        code="XKS_PROXY_NOT_REACHABLE",
    ),
    "InternalException": Failure(
        "The external key store proxy rejected the request because it cannot communicate with the external key manager. Verify"
        " that the external key store proxy configuration is correct and that the external key manager is available.",
        INVALID_RESPONSE,
        code="XKS_PROXY_NOT_REACHABLE",
    ),
    # What KMS finds itself
    "UndecryptableCiphertext": Failure(
        "The ciphertext that the external key store proxy submitted for decryption, or the encryption context, is corrupted,"
        " missing, or otherwise invalid.",
        None,
        None,
        frozenset({"DECRYPT"}),
    ),
    UNREACHABLE: Failure(
        "AWS KMS cannot communicate with the external key store proxy. This might be a transient network issue. If you see this"
        " error repeatedly, verify that your external key store proxy is active and is connected to the network, and that its"
        " endpoint URI is correct in your external key store.",
        UNREACHABLE_URI,
        code="XKS_PROXY_NOT_REACHABLE",
    ),
    "InvalidTls": Failure(
        "AWS KMS cannot establish a TLS connection to the external key store proxy. Verify the TLS configuration, including its"
        " certificate.",
        UNREACHABLE_URI,
        code="XKS_PROXY_INVALID_TLS_CONFIGURATION",
    ),
    "TimedOut": Failure(
        "AWS KMS rejected the request because the external key store proxy did not respond in time. Retry the request."
        f" {_REPORT}",
        UNREACHABLE_URI,
        code="XKS_PROXY_TIMED_OUT",
    ),
    "MalformedResponse": Failure(_CANNOT_INTERPRET, INVALID_RESPONSE, code="XKS_PROXY_INVALID_RESPONSE"),
    # Of VPC endpoint services: not in the specification's table, hence worded here
    VPC_NOT_FOUND: Failure(
        "AWS KMS does not find the VPC endpoint service.",
        VPC_NOT_FOUND,
        code="XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND",
        private=True,
    ),
    VPC_INVALID: Failure(
        "The VPC endpoint service is not configured as an external key store needs it.",
        VPC_INVALID,
        code="XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION",
        private=True,
    ),
}
"""What may be wrong with a proxy, by the name that set-proxy takes."""

BY_EXCEPTION = {
    INVALID_RESPONSE: "MalformedResponse",
    INVALID_CONFIGURATION: "InvalidUriPathException",
    VPC_NOT_FOUND: VPC_NOT_FOUND,
    VPC_INVALID: VPC_INVALID,
}
"""The same by the exception of creating a store with it: for each, the failure that stands for it."""

KEY_SPEC = "AES_256"
KEY_STATUS = "ENABLED"
KEY_USAGE = frozenset({"ENCRYPT", "DECRYPT"})


@dataclass(frozen=True)
class Credential:
    """What KMS signs its requests to a proxy with."""

    access_key_id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class ExternalKey:
    """A key of an external key manager, as its proxy describes it to KMS."""

    spec: str = KEY_SPEC
    status: str = KEY_STATUS
    usage: frozenset[str] = KEY_USAGE

    def check_for_key(self) -> None:
        """Is it good for a KMS key? Raises XksKeyInvalidConfigurationException, with KMS's own text."""
        if self.spec != KEY_SPEC:
            raise XksKeyInvalidConfigurationException(
                f"The key spec of the external key must be {KEY_SPEC}. The key spec of specified external key is {self.spec}."
            )
        if self.status != KEY_STATUS:
            raise XksKeyInvalidConfigurationException(
                f"The status of the external key must be {KEY_STATUS}. The status of specified external key is {self.status}."
            )
        if not self.usage >= KEY_USAGE:
            usage = ", ".join(sorted(self.usage))
            raise XksKeyInvalidConfigurationException(
                "The key usage of the external key must include ENCRYPT and DECRYPT."
                f" The key use of specified external key is {usage}."
            )

    def failure(self, uses: Iterable[str]) -> Failure | None:
        """Why a KMS key cannot be used with it."""
        if self.status != KEY_STATUS:
            return FAILURES["InvalidStateException"]
        return None if self.usage >= set(uses) else FAILURES["InvalidKeyUsageException"]


@dataclass
class Proxy:
    """One proxy. Without credentials, it accepts any; external_keys None: it has any key, each without a flaw."""

    failure: Failure | None = None
    credentials: frozenset[Credential] = frozenset()
    external_keys: frozenset[str] | None = None
    flawed_keys: dict[str, ExternalKey] = field(default_factory=dict)

    def external_key(self, key_id: str) -> ExternalKey | None:
        """The external key with this id, if there is one."""
        there = self.external_keys is None or key_id in self.external_keys
        return self.flawed_keys.get(key_id, ExternalKey()) if there else None


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

    def failure(self, configuration: Mapping[str, str], *, told_to: str) -> Failure | None:
        """What KMS finds wrong with a store's proxy. Told_to: id of the store."""
        return self._failure(configuration, self._told[told_to])

    def failure_with(self, configuration: Mapping[str, str], request_member: Mapping[str, str]) -> Failure | None:
        """The same with an XksProxyAuthenticationCredential that KMS is asked to use."""
        return self._failure(configuration, self._of(request_member))

    def _failure(self, configuration: Mapping[str, str], credential: Credential) -> Failure | None:
        proxy = self.configured(configuration["UriEndpoint"])
        private = configuration["Connectivity"] == "VPC_ENDPOINT_SERVICE"
        if proxy.failure is not None and (private or not proxy.failure.private):
            return proxy.failure
        wrong = proxy.credentials and credential not in proxy.credentials
        return FAILURES["AuthenticationFailedException"] if wrong else None

    def _of(self, request_member: Mapping[str, str]) -> Credential:
        return self.credential(request_member["AccessKeyId"], request_member["RawSecretAccessKey"])


def error_of(error_code: str, failure: Failure) -> KmsError:
    """An error of KMS's with the text of a proxy's failure."""
    return type(error_for(error_code))(failure.text)
