# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS keys in custom key stores: their state follows the store's (R5), and what is known of their last use."""

from __future__ import annotations

import copy
import datetime
import math
from typing import Any

from moto.kms.models import Key
from moto.kms.models import KmsBackend
from moto.kms.utils import generate_key_id
from moto.kms.utils import generate_master_key
from moto.moto_api._internal import mock_random

from .clock import Clock
from .exceptions import DisabledException
from .exceptions import KMSInvalidStateException
from .paging import page
from .rules import ORIGINS
from .rules import ConnectionState
from .stores import CustomKeyStore
from .visibility import Visibility


class CustomStoreKey(Key):
    """A KMS key in a custom key store. Made from a key of moto's, as of its class; it takes that key's place."""

    store: CustomKeyStore
    xks_key_id: str | None

    @classmethod
    def move(cls, key: Key, store: CustomKeyStore, xks_key_id: str | None) -> CustomStoreKey:
        """Make a key one in a store."""
        state, enabled = key.key_state, key.enabled
        for name in ("key_state", "enabled"):
            # Properties here.
            key.__dict__.pop(name)
        key.__class__ = cls
        assert isinstance(key, cls)
        key.store = store
        key.xks_key_id = xks_key_id
        key.origin = ORIGINS[store.custom_key_store_type]
        key.key_state, key.enabled = state, enabled
        return key

    @property
    def key_state(self) -> str:
        """Unavailable while the store is not seen connected, except for a key that is pending deletion (R5)."""
        connected = self.store.seen_connection_state == ConnectionState.CONNECTED
        return self._own_state if connected or self._own_state == "PendingDeletion" else "Unavailable"

    @key_state.setter
    def key_state(self, state: str) -> None:
        self._own_state = state

    @property
    def enabled(self) -> bool:
        """Is the key's state Enabled?"""
        return self._enabled and self.key_state == "Enabled"

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._enabled = enabled

    def to_dict(self) -> dict[str, Any]:
        """The key as DescribeKey returns it."""
        answer: dict[str, Any] = super().to_dict()
        extra = {
            "CustomKeyStoreId": self.store.custom_key_store_id,
            "CloudHsmClusterId": self.store.cloud_hsm_cluster_id,
            "XksKeyConfiguration": {"Id": self.xks_key_id} if self.xks_key_id else None,
        }
        answer["KeyMetadata"].update({name: value for name, value in extra.items() if value is not None})
        return answer


def another(template: Key) -> Key:
    """A new key like another one, made without the time that moto takes for an asymmetric key that it never uses."""
    key = copy.copy(template)
    key.id = generate_key_id()
    key.arn = f"{template.arn.rsplit('/', 1)[0]}/{key.id}"
    key.key_material = generate_master_key()
    key.grants, key.rotations, key.aliases = {}, [], {}
    return key


def check_usable(key: Key) -> None:
    """Raises KMS's error if a key's state does not allow cryptographic operations."""
    if key.key_state == "Disabled":
        raise DisabledException()
    if key.key_state != "Enabled":
        raise KMSInvalidStateException(f"A KMS key that is {key.key_state} cannot be used.")


class Keys(dict[str, Key]):
    """moto's keys by their ids, with the ids in order for the pages of ListKeys: sorted after a change, not for each."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: list[str] = []

    def __setitem__(self, key_id: str, key: Key) -> None:
        super().__setitem__(key_id, key)
        self._ids = []

    def pop(self, key_id: str, *default: Any) -> Any:
        """As of any dictionary."""
        self._ids = []
        return super().pop(key_id, *default)

    def ids(self) -> list[str]:
        """All ids, sorted. Not to be changed."""
        if len(self._ids) != len(self):
            self._ids = sorted(self)
        return self._ids


class Usage:
    """The last use of each key, for GetKeyLastUsage (section 3.8)."""

    def __init__(self) -> None:
        self._since = 0.0
        self._last: dict[str, dict[str, Any]] = {}

    def start(self, now: float) -> None:
        """Forget all uses, and track them from now on: seconds since the epoch."""
        self._since = round(now, 3)
        self._last.clear()

    def record(self, key: Key, operation: str, *, now: float, request_id: str) -> None:
        """A cryptographic operation with a key succeeded."""
        self._last[key.id] = {
            "Operation": operation,
            "Timestamp": round(now, 3),
            "CloudTrailEventId": str(mock_random.uuid4()),
            "KmsRequestId": request_id,
        }

    def forget(self, key_id: str) -> None:
        """The key is gone."""
        self._last.pop(key_id, None)

    def describe(self, key: Key) -> dict[str, Any]:
        """GetKeyLastUsage's answer for a key."""
        return {
            "KeyId": key.id,
            "KeyLastUsage": self._last.get(key.id, {}),
            "TrackingStartDate": max(self._since, key.creation_date),
            "KeyCreationDate": key.creation_date,
        }


class KeyBackend(KmsBackend):
    """moto's KMS keys by the emulator's clock: creation, deletion after the waiting period, and last use."""

    def __init__(self, region_name: str, account_id: str | None = None) -> None:
        super().__init__(region_name, account_id)
        self.clock = Clock()
        self.visibility = Visibility(self.clock)
        self.usage = Usage()
        self.keys: Keys = Keys()
        self._deletions: dict[str, float] = {}
        """When keys that are pending deletion will be gone: seconds since the epoch, by id."""
        self._next_deletion = math.inf

    def create_key(self, *args: Any, **kwargs: Any) -> Key:
        """moto's, but created now."""
        key = super().create_key(*args, **kwargs)
        key.creation_date = round(self.clock.now(), 3)
        return key

    def enable_key(self, key_id: str) -> None:
        """moto's, for ARNs, too."""
        super().enable_key(self.get_key_id(key_id))

    def disable_key(self, key_id: str) -> None:
        """moto's, for ARNs, too."""
        super().disable_key(self.get_key_id(key_id))

    def schedule_key_deletion(self, key_id: str, pending_window_in_days: int) -> float:
        """ScheduleKeyDeletion: the key is gone after so many days (R26). Returns when: seconds since the epoch."""
        key = self.keys[self.get_key_id(key_id)]
        if key.key_state == "PendingDeletion":
            raise KMSInvalidStateException("The KMS key is pending deletion.")
        due = self._deletions[key.id] = self.clock.now() + pending_window_in_days * 86400
        self._next_deletion = min(self._next_deletion, due)
        key.enabled = False
        key.key_state = "PendingDeletion"
        # moto wants it without a zone, and means UTC.
        key.deletion_date = datetime.datetime.fromtimestamp(due, datetime.timezone.utc).replace(tzinfo=None)
        return due

    def cancel_key_deletion(self, key_id: str) -> None:
        """CancelKeyDeletion: the key is Disabled then."""
        key_id = self.get_key_id(key_id)
        if self._deletions.pop(key_id, None) is None:
            raise KMSInvalidStateException("The KMS key is not pending deletion.")
        super().cancel_key_deletion(key_id)

    def forget_deleted_keys(self) -> None:
        """Let the keys go whose time has come."""
        now = self.clock.now()
        # Asked before each request, hence no look at every key.
        if now < self._next_deletion:
            return
        for key_id in [key_id for key_id, due in self._deletions.items() if due <= now]:
            del self._deletions[key_id]
            self.usage.forget(key_id)
            self.delete_key(key_id)
        self._next_deletion = min(self._deletions.values(), default=math.inf)

    def list_keys_page(self, limit: int, marker: str | None) -> dict[str, Any]:
        """ListKeys' answer, in pages; moto's own has but one. Raises InvalidMarkerException."""
        hidden = self.visibility.hidden()
        key_ids = self.keys.ids()
        if hidden:
            key_ids = [key_id for key_id in key_ids if key_id not in hidden]
        prefix = f"keys {self.account_id} {self.region_name} "
        found, rest = page(key_ids, str, limit=limit, marker=marker, prefix=prefix)
        return {"Keys": [{"KeyArn": self.keys[key_id].arn, "KeyId": key_id} for key_id in found], **rest}

    def note_use(self, operation: str, key_ids: list[str], request_id: str) -> None:
        """A cryptographic operation has worked with these keys. Raises KMS's error if their states do not allow it."""
        keys = [self.keys[self.any_id_to_key_id(key_id)] for key_id in key_ids]
        for key in keys:
            check_usable(key)
        for key in keys:
            self.usage.record(key, operation, now=self.clock.now(), request_id=request_id)
