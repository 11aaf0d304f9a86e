# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The progress of a waiting task: a small file that the action plugin on the controller reads."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from typing import TYPE_CHECKING
from typing import Callable
from typing import Mapping
from typing import Optional

if TYPE_CHECKING:  # the controller imports this file for each task, and should not load these
    from .history import History
    from .model import DesiredStore

ENTRIES = "stores"
WRITTEN = "written"


class Progress:
    """The file with the stores that a task waits for.

    It holds C(written), seconds since the epoch, and C(stores), a list of C(store), C(state), C(elapsed) and C(allowed), the
    last two in seconds.

    Args:
        path: of the file; None to write nothing.
        begins: called once, when the task begins to wait.
        now: returns seconds since the epoch.
    """

    def __init__(
        self,
        path: Optional[str],
        *,
        begins: Callable[[], object] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._begins = begins
        self._begun = False
        self._now = now
        self._waiting: dict[str, Mapping[str, object]] = {}
        self._lock = threading.Lock()

    def reporter(self, desired: DesiredStore, history: History) -> Callable[[float, float], None]:
        """Returns C(Clock.announce) for this store: called before each pause with the seconds elapsed and allowed."""

        def announce(elapsed: float, allowed: float) -> None:
            store = history.store
            self._record(
                str(desired),
                {
                    "store": f"with the name {desired.name}" if store is None else str(store),
                    "state": "not visible yet" if store is None else store.connection_state.value,
                    "elapsed": elapsed,  # not rounded, because the reader adds the time since then
                    "allowed": round(allowed),
                },
            )

        return announce

    def done(self, desired: DesiredStore) -> None:
        """Remove this store: the task does not wait for it any more."""
        self._record(str(desired), None)

    def close(self) -> None:
        """Remove the file: the task has ended."""
        if self._path is not None:
            _quietly(os.unlink, self._path)

    def _record(self, which: str, entry: Optional[Mapping[str, object]]) -> None:
        if self._path is None:
            return
        with self._lock:
            self._waiting.pop(which, None)
            if entry is not None:
                self._waiting[which] = entry
            content = json.dumps({WRITTEN: self._now(), ENTRIES: list(self._waiting.values())})
            _quietly(_replace, self._path, content)
            _quietly(os.utime, self._path)  # on a full disk, the new time of the file still shows that the task runs
            if entry is not None and not self._begun:
                self._begun = True
                self._begins()


def _replace(path: str, content: str) -> None:
    """Replace the file at once, so that a reader never gets half of it."""
    draft = f"{path}.tmp"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(content)
    os.replace(draft, path)


def _quietly(action: Callable[..., None], *arguments: str) -> None:
    """Ignore errors of the file system: a full disk must not keep a store disconnected."""
    with contextlib.suppress(OSError):
        action(*arguments)
