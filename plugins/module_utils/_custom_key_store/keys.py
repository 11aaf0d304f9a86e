# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""The KMS keys in a custom key store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from typing import Mapping
from typing import Optional
from typing import Tuple

from .api import Kms
from .api import KmsError

WORKERS = 10
"""As many as the connection pool of a boto3 client has connections."""


@dataclass(frozen=True)
class Key:
    """A KMS key.

    Attributes:
        id: the key id.
        state: C(KeyState) of KMS's model.
        deletion_date: when it will be deleted, in ISO 8601; None unless that is scheduled.
    """

    id: str
    state: str
    deletion_date: Optional[str]

    def __str__(self) -> str:
        deleted = f", will be deleted on {self.deletion_date}" if self.deletion_date else ""
        return f"{self.id} ({self.state}{deleted})"


def keys_in_store(kms: Kms, custom_key_store_id: str) -> Tuple[Key, ...]:
    """Find the keys of a store. KMS cannot filter by store, so each key of the account is described.

    Raises:
        KmsError: a key could not be described, so that nothing is proved.
    """
    with ThreadPoolExecutor(WORKERS) as pool:
        described = pool.map(lambda key_id: _describe(kms, key_id), kms.list_key_ids())
        return tuple(
            Key(metadata["KeyId"], metadata["KeyState"], _date(metadata.get("DeletionDate")))
            for metadata in described
            if metadata.get("CustomKeyStoreId") == custom_key_store_id
        )


def _describe(kms: Kms, key_id: str) -> Mapping[str, Any]:
    try:
        return kms.describe_key(key_id)
    except KmsError as error:
        if error.error is not None and error.error["code"] == "NotFoundException":
            return {}  # deleted since it was listed
        raise


def _date(value: object) -> Optional[str]:
    return value.isoformat() if hasattr(value, "isoformat") else None
