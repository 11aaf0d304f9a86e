# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records when each task begins and ends."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: task_times
type: aggregate
short_description: Record when tasks begin and end
description:
  - For the benchmarks of this collection.
"""


class CallbackModule(CallbackBase):
    """Writes lines to a file: seconds of a clock that all processes share, begin or end, and the name of the task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, event: str, task: Any) -> None:
        with open(os.environ["TASK_TIMES"], "a", encoding="utf-8") as file:
            file.write(f"{time.monotonic()} {event} {task.get_name()}\n")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._write("begin", task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write("end", result._task)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._write("end", result._task)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write("end", result._task)
