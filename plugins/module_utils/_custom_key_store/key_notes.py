# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lets one task at a time create a KMS key for an alias on a host, and records what a killed task may have created."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from typing import Callable
from typing import Iterator
from typing import Optional

from .clock import Deadline
from .model import CustomKeyStoreError

FOLDER = "~/.keyops-aws/keys"
"""On the managed host: a file for each alias that a task creates a key for. The file has content as long as it is unknown whether
there is a new key."""


class Note:
    """The file of one alias, while this task holds its lock.

    Args:
        file: its descriptor; None if the file cannot be written. Then nothing is recorded.
    """

    def __init__(self, file: Optional[int]) -> None:
        self._file = file

    def creates(self) -> None:
        """Record that the task is about to create a key."""
        self._write(f"{time.time():.0f}")

    def settle(self) -> None:
        """Record that the outcome is known."""
        self._write("")

    def unsettled_seconds(self) -> Optional[float]:
        """How long ago an earlier task was about to create a key, if the outcome is unknown; None otherwise."""
        if self._file is None:
            return None
        try:
            return max(0.0, time.time() - float(os.pread(self._file, 100, 0).decode()))
        except (OSError, ValueError):
            return None

    def _write(self, text: str) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk must not prevent a new key
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, text.encode(), 0)
                os.fsync(self._file)


@contextlib.contextmanager
def noted(folder: Optional[str], which: str, deadline: Deadline, attempt: Callable[[int], None]) -> Iterator[Note]:
    """Wait until no other task on this host holds the file of an alias, and lock it.

    Args:
        folder: with C(~) for the home of the user; None to record nothing.
        which: store and alias.
        deadline: see C(Deadline).
        attempt: waits before the next attempt; called with the number of attempts so far.

    Raises:
        CustomKeyStoreError: another task held the file until the deadline.
    """
    file = None if folder is None else _open(os.path.expanduser(folder), which)
    try:
        tries = 0
        while file is not None and not _lock(file):
            tries += 1
            if deadline.passed():
                raise CustomKeyStoreError(
                    f"Another task on this host is making a KMS key for {which}, and was not done after"
                    f" {deadline.elapsed():.0f} seconds (wait_timeout={deadline.seconds:.0f}). Run the task again when it is."
                )
            attempt(tries)
        yield Note(file)
    finally:
        if file is not None:
            os.close(file)  # this also ends the lock


def _open(folder: str, which: str) -> Optional[int]:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        name = hashlib.sha256(which.encode()).hexdigest()
        return os.open(os.path.join(folder, name), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
