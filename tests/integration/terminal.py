# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(ansible-playbook) as a person runs it: in a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
from collections.abc import Iterator

from dev.environment import BIN
from tests.integration.harness import Ansible


@contextlib.contextmanager
def in_a_terminal(ansible: Ansible, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """Run it in a process group of its own, which has ended afterwards.

    Yields:
        The process, and the two ends of its pseudo-terminal: ours, and that of the process. Both are for the caller to close.
    """
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [str(BIN / "ansible-playbook"), *arguments],
        env=ansible.environment,
        cwd=ansible.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as playing:
        yield playing, ours, theirs


def all_of(terminal: int) -> str:
    """What our end of a terminal shows until all programs that have the other end open have ended. It is closed then."""
    shown = b""
    with contextlib.suppress(OSError):  # the terminal of programs that have ended
        while data := os.read(terminal, 65536):
            shown += data
    os.close(terminal)
    return shown.decode(errors="replace")
