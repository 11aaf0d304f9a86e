# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verifies that a connected custom key store works. KMS reports CONNECTED even if the cluster or the proxy is down."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Optional
from typing import Tuple

from .keys import DENIED
from .keys import keys_in_stores
from .kms import KmsError
from .kms_stores import Kms
from .model import AWS_CLOUDHSM
from .model import CustomKeyStore
from .model import CustomKeyStoreError

ENABLED = "Enabled"


@dataclass(frozen=True)
class Proof:
    """The outcome of a verification.

    Attributes:
        verified: the store works.
        text: how that was verified; or why it could not be tried.
    """

    verified: bool
    text: str


def verify(kms: Kms, store: CustomKeyStore, key_id: Optional[str] = None) -> Proof:
    """Verify a store that is CONNECTED.

    For a store in AWS CloudHSM, its cluster generates a random byte. KMS has no such request for an external store: for that, one
    byte is encrypted under a KMS key of the store, and discarded.

    Args:
        kms: see C(Kms).
        store: the store.
        key_id: the id, ARN or alias of the KMS key to encrypt under; None for the first key that is Enabled.

    Raises:
        CustomKeyStoreError: the store does not work; or the given key cannot be used for this.
    """
    try:
        if store.type == AWS_CLOUDHSM:
            kms.generate_random(store.id)
            return Proof(True, "GenerateRandom has made a random byte in the cluster.")
        return _encrypt(kms, store, key_id)
    except CustomKeyStoreError as error:
        error.message = f"The custom key store {store} is CONNECTED, but does not work. {error.message}"
        raise


def _encrypt(kms: Kms, store: CustomKeyStore, wanted: Optional[str]) -> Proof:
    try:
        key_id, why_not = _named_key(kms, store, wanted) if wanted else _first_key(kms, store)
        if key_id is None:
            return Proof(False, why_not)
        kms.keys.encrypt(key_id)
    except KmsError as error:
        if error.code == DENIED:
            return Proof(False, error.message)
        raise
    return Proof(True, f"Encrypt has used the KMS key {key_id}.")


def _named_key(kms: Kms, store: CustomKeyStore, wanted: str) -> Tuple[Optional[str], str]:
    """The id of the key, as GetKeyLastUsage and CloudTrail report it."""
    key = kms.keys.describe_key(wanted)
    if key.get("CustomKeyStoreId") != store.id:
        return None, f"The KMS key {wanted} is not in this store. Correct verify_key_id."
    if key["KeyState"] != ENABLED:
        return None, f"The KMS key {wanted} is {key['KeyState']}, and must be {ENABLED}. Choose another verify_key_id."
    return str(key["KeyId"]), ""


def _first_key(kms: Kms, store: CustomKeyStore) -> Tuple[Optional[str], str]:
    found = keys_in_stores(kms.keys, [store.id], enough=lambda key: key.metadata["KeyState"] == ENABLED)
    if found.keys and found.keys[-1].metadata["KeyState"] == ENABLED:
        return found.keys[-1].id, ""
    states = Counter(str(key.metadata["KeyState"]) for key in found.keys)
    counts = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    reasons = [f"None of the KMS keys in it is {ENABLED}: {counts}."] if counts else []
    if found.worst_error is not None:
        reasons.append(
            f"{len(found.not_described)} KMS keys of the account could not be described, and may be in it."
            f" {found.worst_error.message}"
        )
    return None, " ".join(reasons or ["There is no KMS key in it, so there is nothing to encrypt under."])
