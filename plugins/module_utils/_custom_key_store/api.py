# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""One function per KMS operation."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from typing import Callable
from typing import ContextManager
from typing import Iterator
from typing import Mapping
from typing import Optional
from typing import Protocol

try:
    import botocore
    import botocore.exceptions
except ImportError:
    pass  # AnsibleAWSModule says which library is missing

from .clock import Deadline
from .model import CustomKeyStore
from .model import DesiredStore
from .service import Service
from .service import ServiceError

Guard = Callable[[str, str], ContextManager[None]]

INVALID_STATE = "CustomKeyStoreInvalidStateException"
NOT_FOUND = "CustomKeyStoreNotFoundException"
IN_USE = (
    "CustomKeyStoreNameInUseException",
    "CloudHsmClusterInUseException",
    "XksProxyUriInUseException",
    "XksProxyUriEndpointInUseException",
    "XksProxyVpcEndpointServiceInUseException",
)

VERIFY_SECONDS = 60.0
"""How long a proof that a store works is tried again: a cluster that is dead shows as a fault of KMS, and would for ever."""

LAST_USAGE_SINCE = "1.42.97"
"""A botocore that knows GetKeyLastUsage."""


class Client(Protocol):
    """What is used of boto3's KMS client."""

    def describe_custom_key_stores(self, **kwargs: str) -> dict[str, Any]: ...

    def describe_key(self, **kwargs: str) -> dict[str, Any]: ...

    def list_keys(self, **kwargs: Any) -> dict[str, Any]: ...

    def list_aliases(self, **kwargs: Any) -> dict[str, Any]: ...

    def get_key_last_usage(self, **kwargs: str) -> dict[str, Any]: ...

    def create_custom_key_store(self, **kwargs: Any) -> dict[str, Any]: ...

    def create_key(self, **kwargs: Any) -> dict[str, Any]: ...

    def create_alias(self, **kwargs: str) -> dict[str, Any]: ...

    def update_alias(self, **kwargs: str) -> dict[str, Any]: ...

    def schedule_key_deletion(self, **kwargs: Any) -> dict[str, Any]: ...

    def list_resource_tags(self, **kwargs: Any) -> dict[str, Any]: ...

    def get_key_policy(self, **kwargs: str) -> dict[str, Any]: ...

    def generate_random(self, **kwargs: Any) -> dict[str, Any]: ...

    def encrypt(self, **kwargs: Any) -> dict[str, Any]: ...


class KmsError(ServiceError):
    """KMS refused an operation for good, or could not be asked."""


class InvalidState(KmsError):
    """KMS does not do this in the store's connection state: somebody else has moved the store, or our lost request has."""


class NotFound(KmsError):
    """There is no such custom key store."""


class InUse(KmsError):
    """Another store has what this one was to be created with; after a lost answer, that is the one we created."""


class Kms(Service):
    """The operations of KMS on one custom key store.

    Args:
        client: a boto3 client for KMS, made with C(client_config()).
        deadline: until when a request is repeated that KMS throttled or did not answer.
        place: names Region and account; asked only when there is no such store.
        guard: is entered for each attempt to change a store, with its id and the operation, and may refuse it.
    """

    name = "KMS"
    error = KmsError
    errors = {INVALID_STATE: InvalidState, NOT_FOUND: NotFound, **dict.fromkeys(IN_USE, InUse)}
    naming = ("AliasName", "CustomKeyStoreId", "CustomKeyStoreName", "KeyId")

    def __init__(
        self,
        client: Client,
        deadline: Deadline,
        place: Callable[[], str],
        guard: Guard = lambda store, operation: nullcontext(),
    ) -> None:
        super().__init__(deadline)
        self._client = client
        self._place = place
        self._guard = guard
        self._wait_for_turn = getattr(client, "wait_for_turn", lambda operation: None)  # where several share a client

    def explain(self, code: str, operation: str, text: str) -> str:
        from .diagnosis import explain_exception  # long, and few tasks need it

        return explain_exception(code, operation, text)

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
        method = getattr(self._client, botocore.xform_name(operation))

        def guarded(**arguments: Any) -> dict[str, Any]:
            self._wait_for_turn(operation)
            with self._guard(custom_key_store_id, operation):
                answer: dict[str, Any] = method(**arguments)
                return answer

        self._call(operation, guarded, {"CustomKeyStoreId": custom_key_store_id, **members})

    def list_key_ids(self) -> Iterator[str]:
        """The ids of all KMS keys of the account and Region, page by page."""
        for page in self._pages("ListKeys", self._client.list_keys, {"Limit": 1000}):
            yield from (entry["KeyId"] for entry in page["Keys"])

    def list_aliases(self) -> Iterator[dict[str, Any]]:
        """All aliases of the account and Region, page by page: C(AliasListEntry) of KMS's model."""
        for page in self._pages("ListAliases", self._client.list_aliases, {"Limit": 100}):
            yield from page["Aliases"]

    def _pages(
        self, operation: str, method: Callable[..., dict[str, Any]], arguments: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """A page fails and is repeated alone; botocore's paginator would begin with the first again."""
        page: dict[str, Any] = {}
        while not page or page.get("Truncated"):
            marker = {"Marker": page["NextMarker"]} if page else {}
            page = self._call(operation, method, {**arguments, **marker})
            yield page

    def describe_key(self, key_id: str) -> dict[str, Any]:
        """C(KeyMetadata) of a KMS key."""
        answer = self._call("DescribeKey", self._client.describe_key, {"KeyId": key_id})
        return dict(answer["KeyMetadata"])

    def key_last_usage(self, key_id: str) -> dict[str, Any]:
        """C(GetKeyLastUsageResponse): the last successful cryptographic operation with a KMS key.

        Raises:
            KmsError: not permitted, not possible, or the SDK is too old.
        """
        method = getattr(self._client, "get_key_last_usage", None)
        if method is None:
            raise KmsError(
                f"botocore {botocore.__version__} does not know GetKeyLastUsage: install {LAST_USAGE_SINCE} or newer"
                " on the managed host."
            )
        return self._call("GetKeyLastUsage", method, {"KeyId": key_id})

    def generate_random(self, custom_key_store_id: str) -> None:
        """Have one random byte made in the cluster behind a CloudHSM store: proves that it works, and touches no key (R24).

        Raises:
            KmsError: it does not work, or is not permitted.
        """
        members = {"CustomKeyStoreId": custom_key_store_id, "NumberOfBytes": 1}
        own = self.with_deadline(self._deadline.anew(VERIFY_SECONDS))
        own._call("GenerateRandom", self._client.generate_random, members)

    def encrypt(self, key_id: str) -> None:
        """Encrypt one byte under a KMS key, and throw it away: proves that the store of the key works.

        Raises:
            KmsError: it does not work, or is not permitted.
        """
        own = self.with_deadline(self._deadline.anew(VERIFY_SECONDS))
        own._call("Encrypt", self._client.encrypt, {"KeyId": key_id, "Plaintext": b"\0"})

    def create_key(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """Create a KMS key, and return its C(KeyMetadata). Never asked twice where the first may have had its effect.

        Raises:
            KmsError: refused; or, with C(maybe_applied), not answered.
        """
        answer = self._call("CreateKey", self._client.create_key, members, repeats_unclear=False)
        return dict(answer["KeyMetadata"])

    def point_alias(self, operation: str, alias: str, key_id: str) -> None:
        """Create an alias, or have it stand for another key. Repeating either is safe.

        Args:
            operation: C(CreateAlias) or C(UpdateAlias).
            alias: with C(alias/).
            key_id: that it shall stand for.
        """
        method = getattr(self._client, botocore.xform_name(operation))
        self._call(operation, method, {"AliasName": alias, "TargetKeyId": key_id})

    def schedule_deletion(self, key_id: str, pending_window_in_days: int) -> None:
        """Have a KMS key deleted after so many days."""
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

    def with_deadline(self, deadline: Deadline) -> Kms:
        """The same with other time."""
        return Kms(self._client, deadline, self._place, self._guard)


def place(region: str, sts: Any) -> str:
    """Where a store was looked for, for a message: the Region, and the account where AWS STS tells it.

    Args:
        region: its name.
        sts: a boto3 client for AWS STS.
    """
    account = caller_account(sts)
    return f"the Region {region}" if account is None else f"the Region {region} of the account {account}"


def caller_account(sts: Any) -> Optional[str]:
    """The account that the credentials belong to, or None where AWS STS does not tell.

    Args:
        sts: a boto3 client for AWS STS.
    """
    try:
        return str(sts.get_caller_identity()["Account"])
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return None
