# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl-C, and the other signals that end a program: the first one ends what is done, later ones do not end what follows."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Interrupts:
    """While it is entered, signals raise KeyboardInterrupt, once, and not while they are held.

    Attributes:
        on_held: is called for a signal that is held.
        held: what is under way must come to its end.
    """

    on_held: Callable[[], None]
    held: bool = False
    _before: dict[signal.Signals, Any] = field(default_factory=dict)

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._came) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _came(self, _number: int, _frame: FrameType | None) -> None:
        if self.held:
            self.on_held()
            return
        # Before it is raised, so that no second one ends what the first one begins.
        self.held = True
        raise KeyboardInterrupt
