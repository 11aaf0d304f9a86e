# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""External key store proxies (R8, R17, R22, R34). Stores only salted hashes of their secrets."""

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
    """A failure of a proxy.

    Attributes:
        text: the error message of KMS, for all operations. It is AWS's text, from the table "KMS exceptions" of the XKS proxy API
            specification, because clients match on it.
        of_stores: the exception of CreateCustomKeyStore and UpdateCustomKeyStore; None: the health check does not detect it.
        of_keys: the exception of CreateKey; None: CreateKey succeeds.
        of_use: the operations with a key that fail with KMSInvalidStateException: ENCRYPT, DECRYPT.
        code: the ConnectionErrorCode of a connect; None: it succeeds.
        private: whether it applies to VPC endpoint services only.
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
    # Errors that a proxy returns, by the names of the specification
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
        # The specification has XksKeyInvalidResponseException, which no model of KMS has; the developer guide has this.
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
    # Failures that KMS detects
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
    # Failures of VPC endpoint services: not in the specification, so these are not AWS's texts
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
"""The failures of a proxy, by the name for set-proxy."""

BY_EXCEPTION = {
    INVALID_RESPONSE: "MalformedResponse",
    INVALID_CONFIGURATION: "InvalidUriPathException",
    VPC_NOT_FOUND: VPC_NOT_FOUND,
    VPC_INVALID: VPC_INVALID,
}
"""Names of failures, by the exception of CreateCustomKeyStore."""

KEY_SPEC = "AES_256"
KEY_STATUS = "ENABLED"
KEY_USAGE = frozenset({"ENCRYPT", "DECRYPT"})


@dataclass(frozen=True)
class Credential:
    """The credential with which KMS signs its requests to a proxy."""

    access_key_id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class ExternalKey:
    """A key of an external key manager, as its proxy describes it."""

    spec: str = KEY_SPEC
    status: str = KEY_STATUS
    usage: frozenset[str] = KEY_USAGE

    def check_for_key(self) -> None:
        """Check that it is valid for a KMS key. Raises XksKeyInvalidConfigurationException, with AWS's text."""
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
        """Return the failure of an operation with the KMS key, or None."""
        if self.status != KEY_STATUS:
            return FAILURES["InvalidStateException"]
        return None if self.usage >= set(uses) else FAILURES["InvalidKeyUsageException"]


@dataclass
class Proxy:
    """One proxy. Without credentials, it accepts any. If external_keys is None, each key ID exists and is valid."""

    failure: Failure | None = None
    credentials: frozenset[Credential] = frozenset()
    external_keys: frozenset[str] | None = None
    flawed_keys: dict[str, ExternalKey] = field(default_factory=dict)

    def external_key(self, key_id: str) -> ExternalKey | None:
        """Return the external key with this ID, if it exists."""
        exists = self.external_keys is None or key_id in self.external_keys
        return self.flawed_keys.get(key_id, ExternalKey()) if exists else None


class Proxies:
    """All proxies by endpoint, and the credentials that KMS has, by external key store ID."""

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._proxies: dict[str, Proxy] = {}
        self._credentials: dict[str, Credential] = {}

    def proxy_at(self, uri_endpoint: str) -> Proxy:
        """Return the proxy at an endpoint. By default, it accepts every request."""
        return self._proxies.setdefault(uri_endpoint.lower(), Proxy())

    def credential(self, access_key_id: str, raw_secret_access_key: str) -> Credential:
        """Return a credential with its secret hashed."""
        return Credential(access_key_id, self._hasher.digest(raw_secret_access_key))

    def set_credential(self, store_id: str, request_member: Mapping[str, str]) -> None:
        """Set a store's XksProxyAuthenticationCredential."""
        self._credentials[store_id] = self._credential_from(request_member)

    def forget(self, store_id: str) -> None:
        """Remove a deleted store."""
        self._credentials.pop(store_id, None)

    def failure(self, configuration: Mapping[str, str], *, store_id: str) -> Failure | None:
        """Return the failure of a store's proxy, or None."""
        return self._failure(configuration, self._credentials[store_id])

    def failure_with(self, configuration: Mapping[str, str], request_member: Mapping[str, str]) -> Failure | None:
        """Return the failure of a proxy with the XksProxyAuthenticationCredential of a request, or None."""
        return self._failure(configuration, self._credential_from(request_member))

    def _failure(self, configuration: Mapping[str, str], credential: Credential) -> Failure | None:
        proxy = self.proxy_at(configuration["UriEndpoint"])
        private = configuration["Connectivity"] == "VPC_ENDPOINT_SERVICE"
        if proxy.failure is not None and (private or not proxy.failure.private):
            return proxy.failure
        wrong = proxy.credentials and credential not in proxy.credentials
        return FAILURES["AuthenticationFailedException"] if wrong else None

    def _credential_from(self, request_member: Mapping[str, str]) -> Credential:
        return self.credential(request_member["AccessKeyId"], request_member["RawSecretAccessKey"])


def error_of(error_code: str, failure: Failure) -> KmsError:
    """Return the KMS error with the text of a proxy's failure."""
    return type(error_for(error_code))(failure.text)
