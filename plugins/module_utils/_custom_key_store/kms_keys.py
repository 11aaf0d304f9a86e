# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to KMS about KMS keys: one method per operation."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from typing import Any
from typing import Iterator
from typing import Mapping

from .kms import VERIFY_SECONDS
from .kms import KmsError
from .kms import KmsService
from .kms import sdk_version

LAST_USAGE_SINCE = "1.42.97"
"""The first version of botocore with GetKeyLastUsage."""


class KmsKeys(KmsService):
    """The operations of KMS on KMS keys."""

    def list_key_ids(self) -> Iterator[str]:
        """The ids of all KMS keys of the account and Region, page by page."""
        for page in self._pages("ListKeys", self._client.list_keys, {"Limit": 1000}):
            yield from (entry["KeyId"] for entry in page["Keys"])

    def list_aliases(self) -> Iterator[dict[str, Any]]:
        """All aliases of the account and Region, page by page: C(AliasListEntry) of KMS's model."""
        for page in self._pages("ListAliases", self._client.list_aliases, {"Limit": 100}):
            yield from page["Aliases"]

    def describe_key(self, key_id: str) -> dict[str, Any]:
        """C(KeyMetadata) of a KMS key."""
        answer = self._call("DescribeKey", self._client.describe_key, {"KeyId": key_id})
        return dict(answer["KeyMetadata"])

    def key_last_usage(self, key_id: str) -> dict[str, Any]:
        """C(GetKeyLastUsageResponse): the last successful cryptographic operation with a KMS key.

        Raises:
            KmsError: not permitted, not supported, or the SDK is too old.
        """
        method = getattr(self._client, "get_key_last_usage", None)
        if method is None:
            raise KmsError(
                f"botocore {sdk_version()} does not know GetKeyLastUsage: install {LAST_USAGE_SINCE} or newer"
                " on the managed host."
            )
        return self._call("GetKeyLastUsage", method, {"KeyId": key_id})

    def encrypt(self, key_id: str) -> None:
        """Encrypt one byte under a KMS key, and discard it: verifies that the store of the key works.

        Raises:
            KmsError: the store does not work, or the request is not permitted.
        """
        own = KmsKeys(self._client, self._deadline.anew(VERIFY_SECONDS))
        own._call("Encrypt", self._client.encrypt, {"KeyId": key_id, "Plaintext": b"\0"})

    def create_key(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """Create a KMS key, and return its C(KeyMetadata). A request that may have had its effect is never repeated.

        Raises:
            KmsError: refused; or, with C(maybe_applied), not answered.
        """
        answer = self._call("CreateKey", self._client.create_key, members, repeats_unclear=False)
        return dict(answer["KeyMetadata"])

    def point_alias(self, operation: str, alias: str, key_id: str) -> None:
        """Create an alias, or point it to another key. Repeating either is safe.

        Args:
            operation: C(CreateAlias) or C(UpdateAlias).
            alias: with C(alias/).
            key_id: the key to point to.
        """
        self._call(operation, self._method(operation), {"AliasName": alias, "TargetKeyId": key_id})

    def schedule_deletion(self, key_id: str, pending_window_in_days: int) -> None:
        """Schedule the deletion of a KMS key after so many days."""
        arguments = {"KeyId": key_id, "PendingWindowInDays": pending_window_in_days}
        self._call("ScheduleKeyDeletion", self._client.schedule_key_deletion, arguments)

    def list_tags(self, key_id: str) -> dict[str, str]:
        """The tags of a KMS key."""
        pages = self._pages("ListResourceTags", self._client.list_resource_tags, {"KeyId": key_id})
        return {tag["TagKey"]: tag["TagValue"] for page in pages for tag in page["Tags"]}

    def key_policy(self, key_id: str) -> str:
        """The key policy of a KMS key, in JSON."""
        answer = self._call("GetKeyPolicy", self._client.get_key_policy, {"KeyId": key_id, "PolicyName": "default"})
        return str(answer["Policy"])
