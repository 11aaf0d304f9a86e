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
        deadline: until when to retry a request that KMS throttled or did not answer.
        place: returns the Region and account; called only if there is no such store.
        guard: a context for each attempt to change a store, made with its id and the operation; may refuse the attempt.

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
        self._wait_for_turn = getattr(
            client, "wait_for_turn", lambda operation: None
        )  # if several stores share a client

    def describe(self, desired: DesiredStore) -> CustomKeyStore:
        """Describe the store by its id, or by its name if the id is unknown.

        Raises:
            NotFound: there is none.
            KmsError: the request to KMS failed.
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
        """Describe a store that was described before."""
        return self._describe({"CustomKeyStoreId": custom_key_store_id})

    def _describe(self, which: Mapping[str, Optional[str]]) -> CustomKeyStore:
        answer = self._call("DescribeCustomKeyStores", self._client.describe_custom_key_stores, which)
        return CustomKeyStore(answer["CustomKeyStores"][0])

    def describe_all(self, which: Mapping[str, str]) -> list[CustomKeyStore]:
        """Describe all stores of the account and Region, oldest first, or the one that matches; empty if none does.

        Args:
            which: C(CustomKeyStoreId) or C(CustomKeyStoreName), or nothing for all.

        Raises:
            KmsError: the request to KMS failed.
        """
        pages = self._pages("DescribeCustomKeyStores", self._client.describe_custom_key_stores, which)
        try:
            return [CustomKeyStore(entry) for page in pages for entry in page["CustomKeyStores"]]
        except NotFound:
            return []

    def create(self, members: Mapping[str, Any]) -> str:
        """Create a store and return its id. A request with a lost answer can be repeated, because names are unique.

        Raises:
            InUse: see C(InUse).
            KmsError: any other refusal; there is no store.
        """
        answer = self._call("CreateCustomKeyStore", self._client.create_custom_key_store, members)
        return str(answer["CustomKeyStoreId"])

    def change(self, operation: str, custom_key_store_id: str, members: Mapping[str, Any]) -> None:
        """Connect, disconnect, update or delete a store.

        KMS answers a connect or disconnect at once, before it has ended. The connection state shows the outcome (R1).

        Args:
            operation: of KMS's model.
            custom_key_store_id: which store.
            members: of the operation, apart from the id.

        Raises:
            InvalidState: see C(InvalidState).
            NotFound: the store does not exist any more.
            KmsError: any other refusal; the store is unchanged (R2).
        """
        method = self._method(operation)

        def guarded(**arguments: Any) -> dict[str, Any]:
            self._wait_for_turn(operation)
            with self._guard(custom_key_store_id, operation):
                return method(**arguments)

        self._call(operation, guarded, {"CustomKeyStoreId": custom_key_store_id, **members})

    def generate_random(self, custom_key_store_id: str) -> None:
        """Generate one random byte in the cluster of a CloudHSM store: verifies that it works, without a key (R24).

        Raises:
            KmsError: the cluster does not work, or the request is not permitted.
        """
        members = {"CustomKeyStoreId": custom_key_store_id, "NumberOfBytes": 1}
        own = self.with_deadline(self._deadline.anew(VERIFY_SECONDS))
        own._call("GenerateRandom", self._client.generate_random, members)

    def with_deadline(self, deadline: Deadline) -> Kms:
        """The same operations with another deadline."""
        return Kms(self._client, deadline, self._place, self._guard)
