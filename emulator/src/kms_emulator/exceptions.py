# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that any AWS service can return, and errors that a test injects. The class name is the error code."""

from __future__ import annotations

from typing import ClassVar

from moto.core.exceptions import JsonRESTError

from .custom_key_stores.exceptions import KmsError
from .custom_key_stores.exceptions import error_for as kms_error_for


class AccessDeniedException(KmsError):
    default_message = "The caller is not authorized to perform this action."


class InternalFailure(KmsError):
    code = 500
    default_message = "The emulator failed."


class InvalidSignatureException(KmsError):
    default_message = "The signature of the request does not match the secret access key."


class SerializationException(KmsError):
    default_message = "The body of the request cannot be read."


class ThrottlingException(KmsError):
    default_message = "Too many requests of this operation."


class UnrecognizedClientException(KmsError):
    default_message = "The security token included in the request is not valid."


class UnknownOperationException(KmsError):
    default_message = "KMS has no such operation."


class InjectedError(KmsError):
    """An injected error whose code has no class here."""

    server_faults: ClassVar[dict[str, int]] = {
        "KeyUnavailableException": 500,
        "ServiceUnavailable": 503,
        "ServiceUnavailableException": 503,
    }

    def __init__(self, error_code: str) -> None:
        JsonRESTError.__init__(self, error_code, "The emulator was told to answer with this error.")
        self.code = self.server_faults.get(error_code, 400)


def error_for(error_code: str) -> KmsError:
    """Return the error for an error code, known or unknown."""
    if error_code == InjectedError.__name__:
        return InjectedError(error_code)
    try:
        return kms_error_for(error_code)
    except KeyError:
        return InjectedError(error_code)
