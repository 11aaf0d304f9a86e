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

VisibleState = Callable[[CustomKeyStore], str]
"""Returns the visible connection state of a store, which its KMS keys follow."""


class CustomStoreKey(Key):
    """A KMS key in a custom key store. Created from a key of moto's class, which it replaces."""

    store: CustomKeyStore
    xks_key_id: str | None
    _visible_state: VisibleState

    @classmethod
    def move(
        cls, key: Key, store: CustomKeyStore, xks_key_id: str | None, visible_state: VisibleState
    ) -> CustomStoreKey:
        """Move a key into a store, in place."""
        state, enabled = key.key_state, key.enabled
        for name in ("key_state", "enabled"):
            # They are properties of this class.
            key.__dict__.pop(name)
        key.__class__ = cls
        moved = cast(CustomStoreKey, key)
        moved.store = store
        moved.xks_key_id = xks_key_id
        moved._visible_state = visible_state
        moved.origin = ORIGINS[store.custom_key_store_type]
        moved.key_state, moved.enabled = state, enabled
        return moved

    @property
    def key_state(self) -> str:
        """Unavailable unless the visible state of the store is CONNECTED, or the key is pending deletion (R5)."""
        connected = self._visible_state(self.store) == ConnectionState.CONNECTED
        return self._own_state if connected or self._own_state == PENDING_DELETION else UNAVAILABLE

    @key_state.setter
    def key_state(self, state: str) -> None:
        self._own_state = state

    @property
    def enabled(self) -> bool:
        """Whether the key's state is Enabled."""
        return self._enabled and self.key_state == ENABLED

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._enabled = enabled

    def to_dict(self) -> dict[str, Any]:
        """Return the key as in DescribeKey, without members that do not apply."""
        answer: dict[str, Any] = super().to_dict()
        extra = {
            "CustomKeyStoreId": self.store.custom_key_store_id,
            "CloudHsmClusterId": self.store.cloud_hsm_cluster_id,
            "XksKeyConfiguration": {"Id": self.xks_key_id} if self.xks_key_id else None,
        }
        metadata = {**answer["KeyMetadata"], **extra}
        answer["KeyMetadata"] = {name: value for name, value in metadata.items() if value is not None}
        return answer


def copy_key(template: Key) -> Key:
    """Create a new key from a template. Faster than CreateKey, which checks the request."""
    key = copy.copy(template)
    key.id = generate_key_id()
    key.arn = f"{template.arn.rsplit('/', 1)[0]}/{key.id}"
    key.key_material = generate_master_key()
    key.grants, key.rotations, key.aliases = {}, [], {}
    return key
