# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store of a task: which one it is, and its description."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from .history import History
from .kms import NotFound
from .kms_stores import Kms
from .model import CustomKeyStore
from .model import DesiredStore


class Target:
    """The store of a task.

    Once its id is known, the task describes it by the id only: a user may give its name to another store.

    Args:
        kms: the operations.
        desired: the options of the task; its id or name selects the store.
        history: records each description.

    Attributes:
        known_id: the id of the store; None as long as there is no such store.
    """

    def __init__(self, kms: Kms, desired: DesiredStore, history: History) -> None:
        self._kms = kms
        self._desired = desired
        self._history = history
        self.known_id = desired.custom_key_store_id

    @property
    def id(self) -> str:
        """The id of the store.

        Raises:
            RuntimeError: the store was not found yet.
        """
        if self.known_id is None:
            raise RuntimeError("plan() comes before run(): it finds the store first")
        return self.known_id

    def find(self) -> CustomKeyStore:
        """Describe the store by its id or name.

        Raises:
            NotFound: there is no such store.
            KmsError: the request to KMS failed.
        """
        return self._find(self.known_id)

    def find_new(self, custom_key_store_id: Optional[str]) -> bool:
        """Does KMS describe a store that was just created?

        Args:
            custom_key_store_id: None if the answer with the id was lost: then the name selects the store.
        """
        try:
            self._find(custom_key_store_id)
        except NotFound:
            return False
        return True

    def _find(self, custom_key_store_id: Optional[str]) -> CustomKeyStore:
        try:
            store = self._kms.describe(replace(self._desired, custom_key_store_id=custom_key_store_id))
        except NotFound:
            self._history.store = None
            raise
        self.known_id = store.id
        return self._history.described(store)

    def describe(self) -> CustomKeyStore:
        """Describe the store once more.

        Raises:
            NotFound: a user has deleted it.
            KmsError: the request to KMS failed.
        """
        return self._history.described(self._kms.describe_by_id(self.id))

    def is_gone(self) -> bool:
        """Has a deleted store disappeared from the descriptions?"""
        try:
            self._kms.describe_by_id(self.id)
        except NotFound:
            return True
        return False
