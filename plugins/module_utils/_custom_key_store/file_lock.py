# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lock on an open file or folder, which ends when the file is closed or its process ends."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import fcntl
import time


def lock(file: int, seconds: float) -> bool:
    """Wait for the lock.

    Args:
        file: the descriptor of an open file or folder.
        seconds: how long to wait at most.

    Returns:
        Whether it is locked now. False if another process still holds the lock, or on a file system without locks.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        except OSError:
            return False
        else:
            return True
