# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The KMS keys in custom key stores, and their last use.

KMS cannot list the keys of a store: several threads describe each key of the account. Only the matching keys, and a few requests
ahead, are kept in memory.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import datetime
from collections import deque
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any
from typing import Callable
from typing import Collection
from typing import Iterable
from typing import Iterator
from typing import Mapping
from typing import Optional
from typing import Tuple
from typing import TypeVar

from .kms import KmsError
from .kms_keys import KmsKeys
from .model import plain
from .service import CONNECTIONS

AHEAD = 2 * CONNECTIONS
"""How many requests the threads get before their answers are read."""

DENIED = "AccessDeniedException"

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Key:
    """A KMS key in a custom key store.

    Attributes:
        metadata: C(KeyMetadata) of KMS's model.
    """

    metadata: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.metadata["KeyId"])

    @property
    def custom_key_store_id(self) -> str:
        return str(self.metadata["CustomKeyStoreId"])

    @property
    def xks_key_id(self) -> Optional[str]:
        """The id of the external key; None for a key in AWS CloudHSM."""
        external: Optional[Mapping[str, str]] = self.metadata.get("XksKeyConfiguration")
        return external["Id"] if external is not None else None

    def to_result(self) -> dict[str, Any]:
        """The key for a task's result, with the names of M(amazon.aws.kms_key_info). Missing values are left out."""
        result = {
            "key_id": self.id,
            "key_arn": self.metadata["Arn"],
            "key_state": self.metadata["KeyState"],
            "creation_date": plain(self.metadata["CreationDate"]),
        }
        if self.xks_key_id is not None:
            result["xks_key_id"] = self.xks_key_id
        if "DeletionDate" in self.metadata:
            result["deletion_date"] = plain(self.metadata["DeletionDate"])
        return result

    def __str__(self) -> str:
        deletion_date = plain(self.metadata.get("DeletionDate"))
        deleted = f", will be deleted on {deletion_date}" if deletion_date else ""
        return f"{self.id} ({self.metadata['KeyState']}{deleted})"


@dataclass(frozen=True)
class KeysInStores:
    """The keys found in one pass over the account.

    Attributes:
        keys: the keys of the given stores, in the order of ListKeys.
        not_described: keys that could not be described, and so may be in any store, with the reason.
    """

    keys: Tuple[Key, ...]
    not_described: Mapping[str, KmsError]

    @property
    def worst_error(self) -> Optional[KmsError]:
        """Why a key could not be described. A missing permission comes last. None if each key could be described."""
        errors = sorted(self.not_described.values(), key=lambda error: error.code == DENIED)
        return errors[0] if errors else None

    def missing(self) -> list[dict[str, str]]:
        """For a task's result: C(key_id) and C(reason) of each key that could not be described."""
        return [{"key_id": key_id, "reason": error.message} for key_id, error in self.not_described.items()]


@dataclass(frozen=True)
class Usage:
    """What may depend on a key: its aliases, and its last use.

    Attributes:
        aliases: without C(alias/), sorted; None if they could not be listed.
        last: C(operation), C(timestamp) and, if KMS reports them, C(cloud_trail_event_id) and C(kms_request_id) of the last use;
            or C(unknown), the reason; or None if never used.
        tracking_start_date: since when KMS records the use of the key, in ISO 8601; None if the last use is unknown.
    """

    aliases: Optional[Tuple[str, ...]]
    last: Optional[Mapping[str, str]]
    tracking_start_date: Optional[str]

    @property
    def is_unknown(self) -> bool:
        return self.last is not None and "unknown" in self.last

    def was_unused_since(self, since: datetime.datetime) -> bool:
        """Does KMS report no use after that time? False if KMS began to record later. True if the last use is unknown."""
        if self.is_unknown:
            return True
        known = self.last["timestamp"] if self.last is not None else self.tracking_start_date
        return known is not None and datetime.datetime.fromisoformat(known) <= since

    def to_result(self) -> dict[str, Any]:
        aliases = None if self.aliases is None else list(self.aliases)
        result: dict[str, Any] = {"aliases": aliases, "last_usage": self.last}
        if self.tracking_start_date is not None:
            result["tracking_start_date"] = self.tracking_start_date
        return result


@dataclass(frozen=True)
class Usages:
    """The use of several keys.

    Attributes:
        by_key: by key id.
        aliases_error: why the aliases could not be listed; None if they could.
    """

    by_key: Mapping[str, Usage] = field(default_factory=dict)
    aliases_error: Optional[KmsError] = None


def keys_in_stores(
    kms: KmsKeys, custom_key_store_ids: Collection[str], *, enough: Callable[[Key], bool] = lambda key: False
) -> KeysInStores:
    """Find the keys of the given stores, in one pass over all keys of the account and Region.

    Args:
        kms: see C(KmsKeys).
        custom_key_store_ids: of the stores.
        enough: returns true for a key that ends the pass. That key is the last one of the result.

    Raises:
        KmsError: the keys could not be listed.
    """
    keys: list[Key] = []
    not_described: dict[str, KmsError] = {}
    with _each_of(lambda key_id: (key_id, _describe(kms, key_id)), kms.list_key_ids()) as answers:
        for key_id, described in answers:
            if isinstance(described, KmsError):
                not_described[key_id] = described
            elif described.get("CustomKeyStoreId") in custom_key_store_ids:
                keys.append(Key(described))
                if enough(keys[-1]):
                    break
    return KeysInStores(tuple(keys), not_described)


def keys_in_store(kms: KmsKeys, custom_key_store_id: str) -> Tuple[Key, ...]:
    """List the keys of a store completely.

    Raises:
        KmsError: a key could not be described, so the list may be incomplete.
    """
    found = keys_in_stores(kms, [custom_key_store_id])
    for error in found.not_described.values():
        raise error
    return found.keys


def keys_in_words(kms: KmsKeys, custom_key_store_id: str) -> str:
    """The keys of a store for a message, in sentences, as far as the caller may describe them."""
    try:
        found = keys_in_stores(kms, [custom_key_store_id])
    except KmsError as error:
        return f" Which keys it holds is not known. {error.message}"
    text = f" It holds {', '.join(str(key) for key in found.keys)}." if found.keys else ""
    if found.worst_error is not None:
        names = ", ".join(found.not_described)
        text += f" These KMS keys of the account could not be described, and may be in it: {names}. {found.worst_error.message}"
    return text


def usages(kms: KmsKeys, keys: Collection[Key]) -> Usages:
    """Find what may depend on some keys. Values that KMS does not report are unknown in the result; nothing is raised."""
    if not keys:
        return Usages()
    with ThreadPoolExecutor(1) as executor:
        naming = executor.submit(_aliases, kms, {key.id for key in keys})
        with _each_of(lambda key: (key.id, _usage(kms, key.id)), keys) as answers:
            by_key = dict(answers)
        aliases = naming.result()
    if isinstance(aliases, KmsError):
        return Usages(by_key, aliases)
    named = {key_id: replace(usage, aliases=tuple(sorted(aliases[key_id]))) for key_id, usage in by_key.items()}
    return Usages(named)


def unused_among(keys: Collection[Key], uses: Usages, *, days: int, now: datetime.datetime) -> Tuple[Key, ...]:
    """The keys without a use that KMS reports in so many days, and the keys whose last use is unknown."""
    since = now - datetime.timedelta(days=days)
    return tuple(key for key in keys if uses.by_key[key.id].was_unused_since(since))


def results_by_store(keys: Collection[Key], uses: Usages) -> dict[str, list[dict[str, Any]]]:
    """Keys and their use for a task's result, by store id."""
    results: dict[str, list[dict[str, Any]]] = {}
    for key in keys:
        results.setdefault(key.custom_key_store_id, []).append({**key.to_result(), **uses.by_key[key.id].to_result()})
    return results


@contextmanager
def _each_of(ask: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Iterator[Answer]]:
    """Make a request for each item, as many at once as there are connections. Yields the answers in the order of the items."""
    pool = ThreadPoolExecutor(CONNECTIONS)

    def answers() -> Iterator[Answer]:
        asked: deque[Future[Answer]] = deque()
        for item in items:
            asked.append(pool.submit(ask, item))
            if len(asked) >= AHEAD:
                yield asked.popleft().result()
        while asked:
            yield asked.popleft().result()

    try:
        yield answers()
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, the remaining requests are not needed


def _describe(kms: KmsKeys, key_id: str) -> Any:
    """C(KeyMetadata), empty for a key that was deleted since it was listed; or the error."""
    try:
        return kms.describe_key(key_id)
    except KmsError as error:
        return {} if error.code == "NotFoundException" else error


def _usage(kms: KmsKeys, key_id: str) -> Usage:
    """The last use of a key, without its aliases."""
    try:
        answer = kms.key_last_usage(key_id)
    except KmsError as error:
        return Usage(None, {"unknown": error.message}, None)
    last = answer.get("KeyLastUsage")
    used = {name: str(plain(last[member])) for member, name in _OF_USE.items() if member in last} if last else None
    return Usage(None, used, plain(answer["TrackingStartDate"]))


_OF_USE = {
    "Operation": "operation",
    "Timestamp": "timestamp",
    "CloudTrailEventId": "cloud_trail_event_id",
    "KmsRequestId": "kms_request_id",
}
"""The names in the result, by the members of C(KeyLastUsageData)."""


def _aliases(kms: KmsKeys, key_ids: Collection[str]) -> Any:
    """What C(aliases_of()) returns, without C(alias/); or the error."""
    try:
        return {key_id: [name[len("alias/") :] for name in names] for key_id, names in aliases_of(kms, key_ids).items()}
    except KmsError as error:
        return error


def aliases_of(kms: KmsKeys, key_ids: Collection[str]) -> dict[str, list[str]]:
    """The aliases of each of these keys, out of all aliases of the account and Region.

    Raises:
        KmsError: they could not be listed.
    """
    names: dict[str, list[str]] = {key_id: [] for key_id in key_ids}
    for alias in kms.list_aliases():
        if alias.get("TargetKeyId") in names:
            names[alias["TargetKeyId"]].append(alias["AliasName"])
    return names
