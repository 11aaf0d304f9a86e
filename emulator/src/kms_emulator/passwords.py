# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kmsuser's password: what it is in each cluster, and what KMS was told (R11 to R16). Only salted hashes are kept."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

WRONG_LOGINS_ALLOWED = 5
"""So many wrong logins lock kmsuser (R13)."""


class Hasher:
    """Hashes secrets, with a salt of its own."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)

    def hashed(self, secret: str) -> bytes:
        """The hash of a secret."""
        return hashlib.blake2b(secret.encode(errors="surrogatepass"), salt=self._salt).digest()


@dataclass
class Kmsuser:
    """KMS's crypto user in one cluster. Nothing is known of its password until KMS is told one for the cluster."""

    password: bytes | None = field(default=None, repr=False)
    wrong_logins: int = 0
    logged_in: bool = False
    """Is somebody else than KMS logged in as this user?"""
    second_factor: bool = False
    """Does a login need more than the password? KMS has no more, so its logins fail (R16)."""

    def log_in(self, told: bytes) -> str | None:
        """Log in as KMS does, with the password it was told. Returns the ConnectionErrorCode if that fails."""
        if self.wrong_logins >= WRONG_LOGINS_ALLOWED:
            return "USER_LOCKED_OUT"
        if self.logged_in:
            return "USER_LOGGED_IN"
        if self.second_factor or self.password not in (None, told):
            self.wrong_logins += 1
            return "INVALID_CREDENTIALS"
        self.password = told
        self.wrong_logins = 0
        return None


@dataclass
class Told:
    """What KMS knows of one store's kmsuser: the password to log in with, and the one that its owner gave last."""

    current: bytes = field(repr=False)
    by_owner: bytes = field(repr=False)


class Passwords:
    """kmsuser in all clusters, by cluster id, and what KMS was told, by id of the custom key store."""

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._users: dict[str, Kmsuser | None] = {}
        self._told: dict[str, Told] = {}
        self._backups: dict[str, Kmsuser | None] = {}
        """Of clusters whose HSM type was changed, from before that."""

    # What KMS does

    def tell(self, store_id: str, cluster_id: str, password: str) -> None:
        """Take note of a password. It changes nothing in the cluster (R11), unless none is known there yet."""
        told = self._hasher.hashed(password)
        self._told[store_id] = Told(told, told)
        user = self._user(cluster_id)
        if user is not None and user.password is None:
            user.password = told

    def was_told(self, store_id: str, password: str) -> bool:
        """Is this the password that the store's owner gave last? For R27."""
        return self._told[store_id].by_owner == self._hasher.hashed(password)

    def forget(self, store_id: str) -> None:
        """The store is gone."""
        self._told.pop(store_id, None)

    def log_in(self, store_id: str, cluster_id: str) -> str | None:
        """Log in to a cluster. Returns the ConnectionErrorCode if that fails."""
        user = self._user(cluster_id)
        return "USER_NOT_FOUND" if user is None else user.log_in(self._told[store_id].current)

    def rotate(self, store_id: str, cluster_id: str) -> None:
        """Change the password to one that only KMS knows (R12)."""
        user = self._user(cluster_id)
        if user is not None:
            user.password = self._told[store_id].current = os.urandom(16)

    # What the cluster's crypto officer does. All raise ValueError if there is no such user, or (create) if there is.

    def change(self, cluster_id: str, password: str) -> None:
        """Change the password in the cluster, which unlocks the user (R15)."""
        user = self._present(cluster_id)
        user.password = self._hasher.hashed(password)
        user.wrong_logins = 0

    def create(self, cluster_id: str, password: str, *, second_factor: bool) -> None:
        """Create the user in the cluster (R16)."""
        if self._user(cluster_id) is not None:
            raise ValueError(f"Cluster {cluster_id} has a kmsuser; delete it first.")
        self._users[cluster_id] = Kmsuser(self._hasher.hashed(password), second_factor=second_factor)

    def delete(self, cluster_id: str) -> None:
        """Delete the user from the cluster."""
        self._present(cluster_id)
        self._users[cluster_id] = None

    def set_logged_in(self, cluster_id: str, logged_in: bool) -> None:
        """Log in to the cluster as kmsuser, or out."""
        self._present(cluster_id).logged_in = logged_in

    def restore(self, cluster_id: str, source_cluster_id: str) -> None:
        """A cluster was made from a backup of another: its users are those of the other, as of now (R25)."""
        user = self._user(source_cluster_id)
        self._users[cluster_id] = replace(user, logged_in=False) if user is not None else None

    def back_up(self, cluster_id: str) -> None:
        """The HSM type of a cluster is about to be changed. Its users are kept for a rollback (R35)."""
        user = self._user(cluster_id)
        self._backups[cluster_id] = replace(user) if user is not None else None

    def roll_back(self, cluster_id: str) -> None:
        """That is rolled back: the users are those of before, if there was a change (R35)."""
        if cluster_id in self._backups:
            self._users[cluster_id] = self._backups.pop(cluster_id)

    def _user(self, cluster_id: str) -> Kmsuser | None:
        return self._users.setdefault(cluster_id, Kmsuser())

    def _present(self, cluster_id: str) -> Kmsuser:
        user = self._user(cluster_id)
        if user is None:
            raise ValueError(f"Cluster {cluster_id} has no kmsuser.")
        return user
