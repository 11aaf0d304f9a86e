# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The password of kmsuser in each cluster, and the one that KMS has (R11 to R16). Stores only salted hashes."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

WRONG_LOGINS_ALLOWED = 5
"""Number of wrong logins that lock kmsuser (R13)."""


class Hasher:
    """Hashes secrets with a random salt."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)

    def digest(self, secret: str) -> bytes:
        """Return the hash of a secret."""
        return hashlib.blake2b(secret.encode(errors="surrogatepass"), salt=self._salt).digest()


@dataclass
class Kmsuser:
    """KMS's crypto user in one cluster. Its password is unknown until KMS receives one for the cluster."""

    password: bytes | None = field(default=None, repr=False)
    wrong_logins: int = 0
    logged_in: bool = False
    """Whether another client than KMS is logged in as this user."""
    second_factor: bool = False
    """Whether a login requires a second factor. KMS has none, so its logins fail (R16)."""

    def log_in(self, password: bytes) -> str | None:
        """Log in with the password that KMS has. Returns the ConnectionErrorCode if the login fails."""
        if self.wrong_logins >= WRONG_LOGINS_ALLOWED:
            return "USER_LOCKED_OUT"
        if self.logged_in:
            return "USER_LOGGED_IN"
        if self.second_factor or self.password not in (None, password):
            self.wrong_logins += 1
            return "INVALID_CREDENTIALS"
        self.password = password
        self.wrong_logins = 0
        return None


@dataclass
class StorePasswords:
    """The passwords that KMS has for one store: the one to log in with, and the one that the owner set last."""

    current: bytes = field(repr=False)
    set_by_owner: bytes = field(repr=False)


class Passwords:
    """kmsuser in all clusters, by cluster ID, and the passwords that KMS has, by custom key store ID."""

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self._users: dict[str, Kmsuser | None] = {}
        self._store_passwords: dict[str, StorePasswords] = {}
        self._backups: dict[str, Kmsuser | None] = {}
        """The users before a change of the HSM type, by cluster ID."""

    # Actions of KMS

    def set_password(self, store_id: str, cluster_id: str, password: str) -> None:
        """Set the password that KMS uses. The cluster does not change (R11), unless its password is still unknown."""
        hashed = self._hasher.digest(password)
        self._store_passwords[store_id] = StorePasswords(hashed, hashed)
        user = self._user(cluster_id)
        if user is not None and user.password is None:
            user.password = hashed

    def matches(self, store_id: str, password: str) -> bool:
        """Whether this is the password that the owner of the store set last. For R27."""
        return self._store_passwords[store_id].set_by_owner == self._hasher.digest(password)

    def forget(self, store_id: str) -> None:
        """Remove a deleted store."""
        self._store_passwords.pop(store_id, None)

    def log_in(self, store_id: str, cluster_id: str) -> str | None:
        """Log in to a cluster. Returns the ConnectionErrorCode if the login fails."""
        user = self._user(cluster_id)
        return "USER_NOT_FOUND" if user is None else user.log_in(self._store_passwords[store_id].current)

    def rotate(self, store_id: str, cluster_id: str) -> None:
        """Change the password to one that only KMS knows (R12)."""
        user = self._user(cluster_id)
        if user is not None:
            user.password = self._store_passwords[store_id].current = os.urandom(16)

    # Actions of the cluster's crypto officer. They raise ValueError if kmsuser does not exist, or (create) if it exists.

    def change(self, cluster_id: str, password: str) -> None:
        """Change the password in the cluster, and unlock the user (R15)."""
        user = self._present(cluster_id)
        user.password = self._hasher.digest(password)
        user.wrong_logins = 0

    def create(self, cluster_id: str, password: str, *, second_factor: bool) -> None:
        """Create the user in the cluster (R16)."""
        if self._user(cluster_id) is not None:
            raise ValueError(f"Cluster {cluster_id} has a kmsuser; delete it first.")
        self._users[cluster_id] = Kmsuser(self._hasher.digest(password), second_factor=second_factor)

    def delete(self, cluster_id: str) -> None:
        """Delete the user from the cluster."""
        self._present(cluster_id)
        self._users[cluster_id] = None

    def set_logged_in(self, cluster_id: str, logged_in: bool) -> None:
        """Log in to the cluster as kmsuser, or log out."""
        self._present(cluster_id).logged_in = logged_in

    def restore(self, cluster_id: str, source_cluster_id: str) -> None:
        """Copy the users of the source cluster to a cluster created from its current backup (R25)."""
        user = self._user(source_cluster_id)
        self._users[cluster_id] = replace(user, logged_in=False) if user is not None else None

    def back_up(self, cluster_id: str) -> None:
        """Back up the users of a cluster before its HSM type changes, for a rollback (R35)."""
        user = self._user(cluster_id)
        self._backups[cluster_id] = replace(user) if user is not None else None

    def roll_back(self, cluster_id: str) -> None:
        """Restore the users from before the HSM type change, if there was one (R35)."""
        if cluster_id in self._backups:
            self._users[cluster_id] = self._backups.pop(cluster_id)

    def _user(self, cluster_id: str) -> Kmsuser | None:
        return self._users.setdefault(cluster_id, Kmsuser())

    def _present(self, cluster_id: str) -> Kmsuser:
        user = self._user(cluster_id)
        if user is None:
            raise ValueError(f"Cluster {cluster_id} has no kmsuser.")
        return user
