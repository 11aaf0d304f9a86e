# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time goes on while nobody asks: what is due is done by then."""

from __future__ import annotations

import threading
import traceback

from .models import backends

PERIOD = 0.2
"""Seconds of wall time between two looks."""


class Ticker:
    """Looks for what is due in all accounts and Regions, in a thread of its own."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name="emulator-ticker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End. May be called again."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while not self._ended.wait(PERIOD):
            try:
                tick()
            except Exception:
                # One failure shall not end all runs to come.
                traceback.print_exc()


def tick() -> None:
    """Do what is due. A lock is taken only where there is something to do."""
    for account in list(backends().values()):
        for backend in list(account.values()):
            if backend.agenda.is_due:
                with backend.lock:
                    backend.agenda.catch_up()
