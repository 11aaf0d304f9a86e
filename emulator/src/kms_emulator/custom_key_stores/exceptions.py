# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS's errors for custom key stores. The class name is the error code.

The messages that clients are known to match on are AWS's texts. The others are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from moto.core.exceptions import JsonRESTError


class KmsError(JsonRESTError):
    """An error response of KMS, with HTTP 400 unless a subclass overrides it."""

    code: int = 400
    default_message: ClassVar[str] = "The request failed."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(type(self).__name__, message or self.default_message)


class CloudHsmClusterInUseException(KmsError):
    default_message = "Another custom key store uses this cluster, or one that shares a backup history with it."


class CloudHsmClusterInvalidConfigurationException(KmsError):
    default_message = "The CloudHSM cluster is not configured as a custom key store needs it."


class CloudHsmClusterNotActiveException(KmsError):
    default_message = "The CloudHSM cluster is not active."


class CloudHsmClusterNotFoundException(KmsError):
    default_message = "There is no such CloudHSM cluster in this account and Region."


class CloudHsmClusterNotRelatedException(KmsError):
    default_message = "The CloudHSM cluster shares no backup history with the cluster of this custom key store."


class CustomKeyStoreHasCMKsException(KmsError):
    default_message = "The custom key store still holds KMS keys."


class CustomKeyStoreInvalidStateException(KmsError):
    default_message = "The connection state of the custom key store does not allow this."


class CustomKeyStoreNameInUseException(KmsError):
    default_message = "Another custom key store of this account and Region has this name."


class CustomKeyStoreNotFoundException(KmsError):
    default_message = "There is no such custom key store in this account and Region."


class DependencyTimeoutException(KmsError):
    code = 503
    default_message = "Something that KMS depends on did not answer in time."


class DisabledException(KmsError):
    default_message = "The KMS key is disabled."


class DryRunOperationException(KmsError):
    code = 412
    default_message = "The request would have succeeded, but the DryRun option is set."


class IncorrectKeyException(KmsError):
    default_message = "The key ID in the request does not identify a CMK that can perform this operation."


class IncorrectTrustAnchorException(KmsError):
    default_message = "The trust anchor certificate is not the one of the CloudHSM cluster."


class InvalidMarkerException(KmsError):
    default_message = "The marker did not come from an earlier answer of this operation."


class InvalidKeyUsageException(KmsError):
    default_message = "The usage of the KMS key does not allow this."


class KMSInternalException(KmsError):
    code = 500
    default_message = "KMS had an internal error; the request can be retried."


class KMSInvalidStateException(KmsError):
    default_message = "The state of the KMS key does not allow this."


class LimitExceededException(KmsError):
    default_message = "A quota of this account and Region is used up."


class NotFoundException(KmsError):
    default_message = "There is no such KMS key in this account and Region."


class UnsupportedOperationException(KmsError):
    default_message = "This is not supported for a resource of this type."


class ValidationException(KmsError):
    default_message = "The request is not valid."


class XksKeyAlreadyInUseException(KmsError):
    default_message = "Another KMS key of this external key store uses this external key."


class XksKeyInvalidConfigurationException(KmsError):
    default_message = "The external key is not such as a KMS key needs it."


class XksKeyNotFoundException(KmsError):
    default_message = "The external key store proxy does not find the external key."


class XksProxyIncorrectAuthenticationCredentialException(KmsError):
    default_message = "The external key store proxy refused the authentication credential."


class XksProxyInvalidConfigurationException(KmsError):
    default_message = "The external key store proxy is not configured as an external key store needs it."


class XksProxyInvalidResponseException(KmsError):
    default_message = "KMS cannot read the answer of the external key store proxy."


class XksProxyUriEndpointInUseException(KmsError):
    default_message = "Another external key store of this account and Region uses this endpoint."


class XksProxyUriInUseException(KmsError):
    default_message = "Another external key store of this account and Region uses this endpoint with this path."


class XksProxyUriUnreachableException(KmsError):
    default_message = "KMS does not reach the external key store proxy."


class XksProxyVpcEndpointServiceInUseException(KmsError):
    default_message = "Another external key store of this Region uses this VPC endpoint service."


class XksProxyVpcEndpointServiceInvalidConfigurationException(KmsError):
    default_message = "The VPC endpoint service is not configured as an external key store needs it."


class XksProxyVpcEndpointServiceNotFoundException(KmsError):
    default_message = "KMS does not find the VPC endpoint service."


def error_for(error_code: str) -> KmsError:
    """Return the error for an error code. Raises KeyError for a code without a class."""
    return {error.__name__: error for error in _subclasses(KmsError)}[error_code]()


def _subclasses(error: type[KmsError]) -> Iterator[type[KmsError]]:
    for subclass in error.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
