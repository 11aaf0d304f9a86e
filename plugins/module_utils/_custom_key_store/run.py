# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run of Ansible that a task belongs to: does it still run?

A task can check that only if Ansible runs on the same host, that is, with C(connection: local).
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import os
import subprocess
from typing import Optional

VARIABLE = "KEYOPS_AWS_RUN"
"""The environment variable with the token of the run. Without it, a task cannot check whether the run still exists."""

_GONE = ""


class Run:
    """The process of Ansible that waits for a task.

    Args:
        token: of C(token_of()), made on the host of Ansible; None or empty if that is another host.
    """

    def __init__(self, token: Optional[str]) -> None:
        self.token = token
        self._pid, self._began = 0, _GONE
        if token:
            pid, namespace, began = token.split(":", 2)
            if namespace == _namespace():  # in another namespace, the number means another process
                self._pid, self._began = int(pid), began

    @property
    def pid(self) -> int:
        """Its process id; 0 if unknown."""
        return self._pid

    @property
    def is_visible(self) -> bool:
        return self._pid != 0

    def is_gone(self) -> bool:
        """Has it ended, for any reason? False if unknown."""
        return self.is_visible and began_of(self._pid) != self._began


def token_of(pid: int) -> Optional[str]:
    """A token that identifies this process on the host, for C(Run); None if the system does not report it.

    Args:
        pid: the id of a running process.
    """
    began = began_of(pid)
    return f"{pid}:{_namespace()}:{began}" if began != _GONE else None


def _namespace() -> str:
    """The namespace of process ids of this process, if the system has namespaces."""
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""


def began_of(pid: int) -> str:
    """When a process started, as the system reports it: a reused id has another time. Empty if the process has ended.

    A zombie has ended.
    """
    if not os.path.exists("/proc/self/stat"):
        return _began_by_ps(pid)
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return _GONE
    return _GONE if fields[0] in "ZX" else fields[19]


def _began_by_ps(pid: int) -> str:
    """The same without /proc, as on macOS."""
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout  # noqa: S603 - of the system
    state, _space, began = output.decode(errors="replace").strip().partition(" ")
    return _GONE if state.startswith("Z") else began.strip()
