# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""Notes of the stores that were taken out of service, for a later run, should this one be killed before it brings them back.

A folder has one file for each such store. KMS has no place for it: custom key stores have no tags.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from typing import Optional

from .model import CustomKeyStore
from .model import CustomKeyStoreError

Note = dict[str, str]
"""C(custom_key_store_id), C(name), C(connection_state) that it was found in, and C(time) of the disconnect, in ISO 8601."""


class Notes:
    """The notes in a folder. A store has none where there is no folder to keep it in.

    Args:
        folder: made when it is needed, with C(~) for the home of the user; None to note nothing.
        expires_after: seconds after which a note does not count any more; None for never.
    """

    def __init__(self, folder: Optional[str], *, expires_after: Optional[float] = None) -> None:
        self._folder = None if folder is None else os.path.expanduser(folder)
        self._expires_after = expires_after

    def of(self, custom_key_store_id: str) -> Optional[Note]:
        """The note of a store, or None.

        Raises:
            CustomKeyStoreError: it cannot be read.
        """
        if self._folder is None:
            return None
        path = self._path(custom_key_store_id)
        try:
            with open(path, encoding="utf-8") as file:
                note: Note = dict(json.load(file))
                return None if self._has_expired(note) else note
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError) as error:
            raise CustomKeyStoreError(
                f"The note {path} cannot be read: {error}. It tells whether the store was in service before it was"
                " disconnected. Make it readable; or remove it if the store is where it should be."
            ) from error

    def _has_expired(self, note: Note) -> bool:
        age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(note["time"])
        return self._expires_after is not None and age.total_seconds() > self._expires_after

    def write(self, store: CustomKeyStore) -> None:
        """Note, before it is disconnected, that a store is in service.

        Raises:
            CustomKeyStoreError: it cannot be written.
        """
        if self._folder is None:
            return
        note = {
            "custom_key_store_id": store.id,
            "name": store.name,
            "connection_state": store.connection_state.value,
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        path = self._path(store.id)
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            with open(f"{path}.tmp", "w", encoding="utf-8") as file:
                json.dump(note, file)
                file.flush()
                os.fsync(file.fileno())  # the machine may go down, too
            os.replace(f"{path}.tmp", path)
        except OSError as error:
            raise CustomKeyStoreError(
                f"The note {path} cannot be written: {error.strerror}. Without it, a run that is killed would not know that"
                " the store was in service. Name a folder that can be written to."
            ) from error

    def remove(self, custom_key_store_id: str) -> None:
        """Forget a store that is back in service. A note that stays does no harm as long as the store is in service."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path(custom_key_store_id))

    def _path(self, custom_key_store_id: str) -> str:
        return os.path.join(self._folder or "", f"{custom_key_store_id}.json")
