# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The terminal in which a user started Ansible, for output after Ctrl-C."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import os
from typing import Optional

from .run import Run


class Terminal:
    """The standard error of a run of Ansible, if that is a terminal on this host.

    Args:
        run: see C(Run). It must still run.
    """

    def __init__(self, run: Run) -> None:
        self._file: Optional[int] = None
        with contextlib.suppress(OSError):  # no /proc; or the run belongs to another user
            file = os.open(f"/proc/{run.pid}/fd/2", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            if os.isatty(file):
                self._file = file
            else:
                os.close(file)

    def write_line(self, line: str) -> None:
        """Show a line. If there is no terminal any more, do nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.write(self._file, f"\r\n{line}\r\n".encode())
