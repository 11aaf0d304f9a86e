# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides whether a task in the background may still change a store. There are three reasons why it may not:

Each store has one owner at a time: on one host, the task that began last. From then on, the earlier task makes no more changes.
If no run of Ansible waits for a task any more, the task may connect a store, but never disconnect one.
If the lease in AWS that would connect a store again no longer exists, the task never disconnects the store.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import time
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from typing import Callable
from typing import Iterator
from typing import Optional
from typing import Tuple

from .file_lock import lock
from .kms import KmsError
from .model import IN_SERVICE
from .model import CustomKeyStore
from .run import Run

FOLDER = "~/.keyops-aws/owners"
"""On the managed host: a file for each store that a task works on."""

PATIENCE = 60.0
"""Seconds to wait for another task that makes a request. No request takes longer."""


@dataclass(frozen=True)
class Owner:
    """The task that works on a store.

    Attributes:
        token: unique for each task.
        wants: its option C(state).
        since: when it began, in ISO 8601.
        run: the token of the run of Ansible that waits for it, see C(Run); empty if unknown.
    """

    token: str
    wants: str
    since: str
    run: str = ""


class RunGone(KmsError):
    """No run of Ansible waits for the task any more."""

    def __init__(self) -> None:
        super().__init__("The run of Ansible that asked for it has ended, so this task disconnects no store.")


class TakenOver(KmsError):
    """A task that began later works on the store.

    Attributes:
        by: the later task; None if it has ended already.
    """

    def __init__(self, custom_key_store_id: str, by: Optional[Owner]) -> None:
        who = "" if by is None else f" at {by.since}, with state={by.wants}"
        super().__init__(
            f"Another task on this host began to work on the custom key store {custom_key_store_id}{who}, so this one makes no"
            " more changes to it. Check the store, and run the task again if the change is still needed."
        )
        self.by = by


Claims = Tuple[str, Tuple[str, ...]]
"""A token, and the ids of the stores that its task owns."""


class Ownership:
    """The ownership of the stores that one task works on.

    Args:
        folder: with C(~) for the home of the user. If it cannot be written, no store has an owner, and every task may change it.
        run: the run of Ansible that waits for the task.
        claims: of the process that this one continues, see C(hand_over()).
    """

    def __init__(self, folder: Optional[str], run: Run, claims: Optional[Claims] = None) -> None:
        self._run = run
        self._folder = None if folder is None else os.path.expanduser(folder)
        self._token, claimed = claims or (secrets.token_hex(8), ())
        self._claimed = set(claimed)

    def hand_over(self) -> Claims:
        """Hand over all stores to a process that continues the task."""
        claims = (self._token, tuple(self._claimed))
        self._claimed.clear()
        return claims

    def claim(self, custom_key_store_id: str, *, wants: str) -> None:
        """Become the owner of a store, in place of any earlier owner.

        Args:
            custom_key_store_id: which store.
            wants: the option C(state) of the task.
        """
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        with self._locked(custom_key_store_id) as file:
            own = Owner(self._token, wants, now, self._run.token or "")
            if file is not None and _replace(file, json.dumps(asdict(own))):
                self._claimed.add(custom_key_store_id)

    def end_abandoned(self, custom_key_store_id: str, *, wants: str) -> None:
        """Take over a store from a task whose run has ended. If a run still waits for the task, change nothing."""
        owner = self._owner(custom_key_store_id)
        if owner is not None and Run(owner.run).is_gone():
            self.claim(custom_key_store_id, wants=wants)

    def _owner(self, custom_key_store_id: str) -> Optional[Owner]:
        try:
            with open(self._path(custom_key_store_id), "rb") as file:
                return _read(file.fileno())
        except OSError:
            return None

    @contextlib.contextmanager
    def hold(self, custom_key_store_id: str) -> Iterator[None]:
        """Change a store in this block while no other task can take it over.

        Raises:
            TakenOver: another task has taken it over.
        """
        with self._locked(custom_key_store_id) as file:
            if file is not None and custom_key_store_id in self._claimed:
                self._refuse_other(custom_key_store_id, _read(file))
            yield

    def check(self, custom_key_store_id: str) -> None:
        """Raises TakenOver if another task owns the store now."""
        if custom_key_store_id in self._claimed:
            self._refuse_other(custom_key_store_id, self._owner(custom_key_store_id))

    def _refuse_other(self, custom_key_store_id: str, owner: Optional[Owner]) -> None:
        if owner is None or owner.token != self._token:
            raise TakenOver(custom_key_store_id, owner)

    def release(self) -> None:
        """Give up the ownership of all stores."""
        for custom_key_store_id in list(self._claimed):
            self._claimed.discard(custom_key_store_id)
            with self._locked(custom_key_store_id) as file:
                owner = None if file is None else _read(file)
                if owner is None or owner.token == self._token:  # the file is empty if its owner has just removed it
                    with contextlib.suppress(OSError):
                        os.unlink(self._path(custom_key_store_id))

    def _path(self, custom_key_store_id: str) -> str:
        return os.path.join(self._folder or "", f"{custom_key_store_id}.json")

    @contextlib.contextmanager
    def _locked(self, custom_key_store_id: str) -> Iterator[Optional[int]]:
        """The open file of a store, for one process at a time; None if it cannot be opened."""
        file = self._open(custom_key_store_id)
        try:
            yield file
        finally:
            if file is not None:
                os.close(file)  # this also ends the lock

    def _open(self, custom_key_store_id: str) -> Optional[int]:
        path = self._path(custom_key_store_id)
        end = time.monotonic() + PATIENCE
        while self._folder is not None:
            try:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                return None
            if not lock(file, end - time.monotonic()):
                os.close(file)
                return None
            with contextlib.suppress(OSError):
                if os.fstat(file).st_ino == os.stat(path).st_ino:
                    return file
            os.close(file)  # its owner has just removed the file
        return None


def _read(file: int) -> Optional[Owner]:
    try:
        return Owner(**json.loads(os.pread(file, 10_000, 0)))
    except (ValueError, TypeError):
        return None


def _replace(file: int, content: str) -> bool:
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, content.encode(), 0)
    except OSError:  # a full disk must not keep a store disconnected
        return False
    return True


@dataclass(frozen=True)
class Permit:
    """The permission that a task needs before each change of a store, and before each further wait.

    Attributes:
        ownership: of the stores that the task works on.
        run: the run of Ansible that waits for the task.
        check_lease: raises C(CustomKeyStoreError) if the lease that would connect a store again no longer exists.
    """

    ownership: Ownership = field(default_factory=lambda: Ownership(None, Run(None)))
    run: Run = field(default_factory=lambda: Run(None))
    check_lease: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def to_change(
        self, custom_key_store_id: str, *, disconnects: bool, store: Optional[CustomKeyStore]
    ) -> Iterator[None]:
        """Change a store in this block.

        Args:
            custom_key_store_id: which store.
            disconnects: would the change disconnect it, or abort a connect?
            store: as last described.

        Raises:
            CustomKeyStoreError: another task owns it, no run waits for the task any more, or its lease does not exist.
        """
        takes_out = disconnects and store is not None and store.connection_state in IN_SERVICE
        if takes_out:
            self.check_lease()
        with self.ownership.hold(custom_key_store_id):
            if takes_out and self.run.is_gone():
                raise RunGone
            yield

    def to_wait(self, custom_key_store_id: str, *, wants: str) -> None:
        """Check that the task should wait longer.

        Args:
            custom_key_store_id: for which store.
            wants: the option C(state) of the task.

        Raises:
            KmsError: there is no reason to wait.
        """
        if wants == "disconnected" and self.run.is_gone():
            raise RunGone  # KMS continues by itself, and no run waits for the result
        try:
            self.ownership.check(custom_key_store_id)
        except TakenOver as error:
            if error.by is not None and error.by.wants != wants:
                raise
