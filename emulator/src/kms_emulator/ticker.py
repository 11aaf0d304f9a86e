# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs due events while there are no requests."""

from __future__ import annotations

import threading
import traceback

from .models import backends

PERIOD = 0.2
"""Seconds of wall time between two checks."""


class Ticker:
    """Runs due events of all accounts and Regions, in a separate thread."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="emulator-ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread. Idempotent."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while not self._ended.wait(PERIOD):
            try:
                tick()
            except Exception:
                # A failure must not stop later runs.
                traceback.print_exc()


def tick() -> None:
    """Run due events. Acquires a lock only if an event is due."""
    for account in list(backends().values()):
        for backend in list(account.values()):
            if backend.agenda.is_due:
                with backend.lock:
                    backend.agenda.catch_up()
