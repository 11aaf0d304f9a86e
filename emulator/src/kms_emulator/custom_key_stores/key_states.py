# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations that the state and the origin of a KMS key allow (KMS developer guide, "Key states of AWS KMS keys"; R5, R33).

Two tables: the key states that each operation allows, and the operations that no key in a custom key store supports. The error
messages are AWS's texts, because clients match on them.
"""

from __future__ import annotations

from collections.abc import Callable

from moto.core.exceptions import JsonRESTError
from moto.kms.models import Key

from .exceptions import DisabledException
from .exceptions import InvalidKeyUsageException
from .exceptions import KMSInvalidStateException
from .exceptions import UnsupportedOperationException
from .rules import ORIGINS

ENABLED = "Enabled"
DISABLED = "Disabled"
PENDING_DELETION = "PendingDeletion"
UNAVAILABLE = "Unavailable"

ANY_STATE = frozenset({ENABLED, DISABLED, PENDING_DELETION, UNAVAILABLE})
NOT_PENDING = ANY_STATE - {PENDING_DELETION}

CRYPTOGRAPHIC_OPERATIONS = frozenset(
    {
        "Decapsulate",
        "Decrypt",
        "DeriveSharedSecret",
        "Encapsulate",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "ReEncrypt",
        "Sign",
        "Verify",
        "VerifyMac",
    }
)
"""Operations that use a key, and that GetKeyLastUsage reports."""

USES: dict[str, frozenset[str]] = {
    "Decrypt": frozenset({"DECRYPT"}),
    "Encrypt": frozenset({"ENCRYPT"}),
    "GenerateDataKey": frozenset({"ENCRYPT"}),
    "GenerateDataKeyWithoutPlaintext": frozenset({"ENCRYPT"}),
}
"""The required usage of an external key. ReEncrypt requires one of them from each of its two keys."""

STATES: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        CRYPTOGRAPHIC_OPERATIONS | {"GetPublicKey", "ReplicateKey", "UpdatePrimaryRegion"}, frozenset({ENABLED})
    ),
    **dict.fromkeys(
        (
            "CreateAlias",
            "DisableKey",
            "EnableKey",
            "ScheduleKeyDeletion",
            "TagResource",
            "UntagResource",
            "UpdateAlias",
            "UpdateKeyDescription",
        ),
        NOT_PENDING,
    ),
    "CreateGrant": frozenset({ENABLED, UNAVAILABLE}),
    "CancelKeyDeletion": frozenset({PENDING_DELETION}),
}
"""The key states that an operation allows. An unlisted operation allows any state, or supports no key in a store."""


def _origin(key: Key, operation: str) -> JsonRESTError:
    return UnsupportedOperationException(f"{key.arn} origin is {key.origin} which is not valid for this operation.")


def _usage(key: Key, operation: str) -> JsonRESTError:
    return InvalidKeyUsageException(f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}.")


def _spec(key: Key, operation: str) -> JsonRESTError:
    return UnsupportedOperationException(f"{key.arn} key spec is {key.key_spec} which is not valid for {operation}.")


def _single_region(key: Key, operation: str) -> JsonRESTError:
    return UnsupportedOperationException(f"{key.arn} is not a multi-Region primary key.")


LENIENT = frozenset(
    {
        "CreateAlias",
        "CreateGrant",
        "TagResource",
        "UntagResource",
        "UpdateAlias",
        "UpdateKeyDescription",
    }
)
"""Operations for which moto allows any state of a key outside of custom key stores. moto's own tests require that."""


ErrorFactory = Callable[[Key, str], JsonRESTError]

NEVER_IN_STORES: dict[str, ErrorFactory] = dict.fromkeys(
    (
        "DeleteImportedKeyMaterial",
        "DisableKeyRotation",
        "EnableKeyRotation",
        "GetKeyRotationStatus",
        "GetParametersForImport",
        "ImportKeyMaterial",
        "ListKeyRotations",
        "RotateKeyOnDemand",
    ),
    _origin,
) | dict.fromkeys(("ReplicateKey", "UpdatePrimaryRegion"), _single_region)
"""Rejected for a key in a custom key store, in any state (R33)."""

NEVER_WITH_SYMMETRIC_KEYS: dict[str, ErrorFactory] = {
    **dict.fromkeys(
        ("Decapsulate", "DeriveSharedSecret", "Encapsulate", "GenerateMac", "Sign", "Verify", "VerifyMac"), _usage
    ),
    "GetPublicKey": _spec,
}
"""Rejected for a symmetric encryption key, the only type in custom key stores, after the check of its state."""

NEVER_WITH_KEYS_OF_STORES = NEVER_WITH_SYMMETRIC_KEYS | dict.fromkeys(
    ("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"), _origin
)
"""The same for a key in a custom key store, which does not support data key pairs either."""


def in_store(key: Key) -> bool:
    """Whether a KMS key is in a custom key store."""
    return key.origin in ORIGINS.values()


def check_key(key: Key, operation: str) -> None:
    """Raises KMS's error if the origin or the state of a key does not allow an operation."""
    if in_store(key) and operation in NEVER_IN_STORES:
        raise NEVER_IN_STORES[operation](key, operation)
    if in_store(key) or operation not in LENIENT:
        check_state(key, operation)
    if in_store(key) and operation in NEVER_WITH_KEYS_OF_STORES:
        raise NEVER_WITH_KEYS_OF_STORES[operation](key, operation)


def check_state(key: Key, operation: str) -> None:
    """Raises KMS's error if the state of a key does not allow an operation."""
    state = key.key_state
    if state in STATES.get(operation, ANY_STATE):
        return
    if operation == "CancelKeyDeletion":
        raise KMSInvalidStateException(f"{key.arn} is not pending deletion.")
    if state == DISABLED:
        raise DisabledException(f"{key.arn} is disabled.")
    raise KMSInvalidStateException(
        f"{key.arn} is {'pending deletion' if state == PENDING_DELETION else 'unavailable'}."
    )
