# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS keys in custom key stores: their state follows the store's (R5)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from typing import cast

from moto.kms.models import Key
from moto.kms.utils import generate_key_id
from moto.kms.utils import generate_master_key

from .key_states import ENABLED
from .key_states import PENDING_DELETION
from .key_states import UNAVAILABLE
from .rules import ORIGINS
from .rules import ConnectionState
from .stores import CustomKeyStore

SeenState = Callable[[CustomKeyStore], str]
"""Tells the connection state of a store that the KMS keys in it follow."""


class CustomStoreKey(Key):
    """A KMS key in a custom key store. Made from a key of moto's, as of its class; it takes that key's place."""

    store: CustomKeyStore
    xks_key_id: str | None
    _seen_state: SeenState

    @classmethod
    def move(cls, key: Key, store: CustomKeyStore, xks_key_id: str | None, seen_state: SeenState) -> CustomStoreKey:
        """Make a key one in a store."""
        state, enabled = key.key_state, key.enabled
        for name in ("key_state", "enabled"):
            # Properties here.
            key.__dict__.pop(name)
        key.__class__ = cls
        moved = cast(CustomStoreKey, key)
        moved.store = store
        moved.xks_key_id = xks_key_id
        moved._seen_state = seen_state
        moved.origin = ORIGINS[store.custom_key_store_type]
        moved.key_state, moved.enabled = state, enabled
        return moved

    @property
    def key_state(self) -> str:
        """Unavailable while the store is not seen connected, except for a key that is pending deletion (R5)."""
        connected = self._seen_state(self.store) == ConnectionState.CONNECTED
        return self._own_state if connected or self._own_state == PENDING_DELETION else UNAVAILABLE

    @key_state.setter
    def key_state(self, state: str) -> None:
        self._own_state = state

    @property
    def enabled(self) -> bool:
        """Is the key's state Enabled?"""
        return self._enabled and self.key_state == ENABLED

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._enabled = enabled

    def to_dict(self) -> dict[str, Any]:
        """The key as DescribeKey returns it; what does not fit its kind is absent."""
        answer: dict[str, Any] = super().to_dict()
        extra = {
            "CustomKeyStoreId": self.store.custom_key_store_id,
            "CloudHsmClusterId": self.store.cloud_hsm_cluster_id,
            "XksKeyConfiguration": {"Id": self.xks_key_id} if self.xks_key_id else None,
        }
        metadata = {**answer["KeyMetadata"], **extra}
        answer["KeyMetadata"] = {name: value for name, value in metadata.items() if value is not None}
        return answer


def another(template: Key) -> Key:
    """A new key like another one, made without the time that moto takes for an asymmetric key that it never uses."""
    key = copy.copy(template)
    key.id = generate_key_id()
    key.arn = f"{template.arn.rsplit('/', 1)[0]}/{key.id}"
    key.key_material = generate_master_key()
    key.grants, key.rotations, key.aliases = {}, [], {}
    return key
