# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to KMS about custom key stores: one method per operation."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from typing import Callable
from typing import ContextManager
from typing import Mapping
from typing import Optional

from .clock import Deadline
from .kms import VERIFY_SECONDS
from .kms import Client
from .kms import KmsService
from .kms import NotFound
from .kms_keys import KmsKeys
from .model import CustomKeyStore
from .model import DesiredStore

Guard = Callable[[str, str], ContextManager[None]]


class Kms(KmsService):
    """The operations of KMS on one custom key store.

    Args:
        client: a boto3 client for KMS, made with C(client_config()).
        deadline: until when a request is repeated that KMS throttled or did not answer.
        place: names Region and account; asked only when there is no such store.
        guard: is entered for each attempt to change a store, with its id and the operation, and may refuse it.

    Attributes:
        keys: the operations on KMS keys, by the same client.
    """

    def __init__(
        self,
        client: Client,
        deadline: Deadline,
        place: Callable[[], str],
        guard: Guard = lambda store, operation: nullcontext(),
    ) -> None:
        super().__init__(client, deadline)
        self.keys = KmsKeys(client, deadline)
        self._place = place
        self._guard = guard
        self._wait_for_turn = getattr(client, "wait_for_turn", lambda operation: None)  # where several share a client

    def describe(self, desired: DesiredStore) -> CustomKeyStore:
        """Find the store by its id, or by its name where no id is known.

        Raises:
            NotFound: there is none.
            KmsError: KMS could not be asked.
        """
        which = {"CustomKeyStoreId": desired.custom_key_store_id}
        if desired.custom_key_store_id is None:
            which = {"CustomKeyStoreName": desired.name}
        try:
            return self._describe(which)
        except NotFound as error:
            raise NotFound(
                f"There is no custom key store {desired} in {self._place()}."
                " Check the id or name, the Region, and whose credentials the task uses.",
                error=error.error,
            ) from error

    def describe_by_id(self, custom_key_store_id: str) -> CustomKeyStore:
        """The same for a store that was there before."""
        return self._describe({"CustomKeyStoreId": custom_key_store_id})

    def _describe(self, which: Mapping[str, Optional[str]]) -> CustomKeyStore:
        answer = self._call("DescribeCustomKeyStores", self._client.describe_custom_key_stores, which)
        return CustomKeyStore(answer["CustomKeyStores"][0])

    def describe_all(self, which: Mapping[str, str]) -> list[CustomKeyStore]:
        """All stores of the account and Region, oldest first, or those that are looked for; none where there is none.

        Args:
            which: C(CustomKeyStoreId) or C(CustomKeyStoreName), or nothing for all.

        Raises:
            KmsError: KMS could not be asked.
        """
        pages = self._pages("DescribeCustomKeyStores", self._client.describe_custom_key_stores, which)
        try:
            return [CustomKeyStore(entry) for page in pages for entry in page["CustomKeyStores"]]
        except NotFound:
            return []

    def create(self, members: Mapping[str, Any]) -> str:
        """Create a store and return its id. Repeating a lost request is safe, because names are unique.

        Raises:
            InUse: see there.
            KmsError: any other refusal; there is no store.
        """
        answer = self._call("CreateCustomKeyStore", self._client.create_custom_key_store, members)
        return str(answer["CustomKeyStoreId"])

    def change(self, operation: str, custom_key_store_id: str, members: Mapping[str, Any]) -> None:
        """Connect, disconnect, update or delete a store.

        Connecting and disconnecting are only begun: KMS answers at once, and the state tells how it ends (R1).

        Args:
            operation: of KMS's model.
            custom_key_store_id: which store.
            members: what the operation takes beside the id.

        Raises:
            InvalidState: see there.
            NotFound: the store is gone.
            KmsError: any other refusal; the store is as it was (R2).
        """
        method = self._method(operation)

        def guarded(**arguments: Any) -> dict[str, Any]:
            self._wait_for_turn(operation)
            with self._guard(custom_key_store_id, operation):
                return method(**arguments)

        self._call(operation, guarded, {"CustomKeyStoreId": custom_key_store_id, **members})

    def generate_random(self, custom_key_store_id: str) -> None:
        """Have one random byte made in the cluster behind a CloudHSM store: proves that it works, and touches no key (R24).

        Raises:
            KmsError: it does not work, or is not permitted.
        """
        members = {"CustomKeyStoreId": custom_key_store_id, "NumberOfBytes": 1}
        own = self.with_deadline(self._deadline.anew(VERIFY_SECONDS))
        own._call("GenerateRandom", self._client.generate_random, members)

    def with_deadline(self, deadline: Deadline) -> Kms:
        """The same with other time."""
        return Kms(self._client, deadline, self._place, self._guard)
