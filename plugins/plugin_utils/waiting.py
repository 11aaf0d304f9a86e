# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""Runs a module that may take long, and tells in the terminal how far it is.

All waiting is done by the module. It runs as one of Ansible's own background jobs, writes down how far it is, and goes on should
the controller or the connection be lost: a store that was disconnected for a change is brought back even so.
"""

from __future__ import annotations

import inspect
import json
import secrets
import shlex
import time
from dataclasses import dataclass
from typing import Any
from typing import Optional

from ansible.errors import AnsibleActionFail
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.vars.clean import remove_internal_keys

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import ENTRIES
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import VARIABLE
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import WRITTEN

INTERVAL = "keyops_aws_progress_seconds"
"""The variable with the seconds between two lines. Not more than 25, or else somebody who watches begins to wonder."""

SECONDS_FOR_THE_REST = 3600
"""What a task may take beside its wait_timeout, such as putting a store back. Then Ansible ends the job."""

LOST_AFTER = 300
"""Seconds without a connection to the managed host after which a task is given up. The job is not."""

QUICK_LOOKS = 100
"""How often the managed host looks ten times a second whether the job has ended; later it looks twice a second."""

STILL_RUNNING = 3
KILLED = 4

WAIT = r"""
runs() {{
  read -r result 2>/dev/null <{job}
  case $result in *'"finished": 0'*|*'"finished": false'*) return 0 ;; esac
  return 1
}}
alive() {{
  pid=; read -r pid 2>/dev/null <{progress}
  pid=${{pid#*\"pid\": }}; pid=${{pid%%[!0-9]*}}
  [ -z "$pid" ] || kill -0 "$pid" 2>/dev/null
}}
tries={tries}
while [ "$tries" -gt 0 ] && runs && alive; do sleep {pause} 2>/dev/null || sleep 1; tries=$((tries - 1)); done
alive || sleep 1
if runs && alive; then date +%s; cat {progress} 2>/dev/null; exit {still_running}; fi
if runs; then rm -f {job} {progress}; exit {killed}; fi
cat {job} && rm -f {job} {progress}
"""
"""Waits where the job runs, so that its end is noticed at once. Prints the job's result, or the time and how far it is.
Between two looks it starts nothing but sleep, so that many who wait do not keep a host busy.

Where the module was killed, Ansible's wrapper says so a moment later; unless it was killed, too, as when the host went down.
"""


@dataclass
class Job:
    """The module, running in the background.

    Attributes:
        result_path: where Ansible says whether it runs, and keeps its result, on the managed host.
        progress_path: where the module says how far it is.
        time_limit: seconds after which Ansible ends it.
    """

    result_path: str
    progress_path: str
    time_limit: int

    def wait_command(self, seconds: float, *, quick: bool) -> str:
        """A shell command that waits for the end, for about so many seconds."""
        pause = 0.1 if quick else 0.5
        return WAIT.strip().format(
            job=shlex.quote(self.result_path),
            progress=shlex.quote(self.progress_path),
            tries=max(1, round(seconds / pause)),
            pause=pause,
            still_running=STILL_RUNNING,
            killed=KILLED,
        )


class WaitingAction(ActionBase):  # type: ignore[misc]
    """An action plugin that runs the module of its own name."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """Run the module.

        Returns:
            The module's result.

        Raises:
            AnsibleActionFail: the result could not be got.
        """
        outcome: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        in_background = bool(self._task.async_val) and not self._connection.has_native_async
        job = None if self._task.async_val or self._runs_in_foreground() else self._begin(task_vars)
        if job is not None:
            outcome.update(self._wait(job, task_vars))
            return outcome
        outcome.update(self._execute_module(task_vars=task_vars, wrap_async=in_background))
        if not in_background:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return outcome

    def _runs_in_foreground(self) -> bool:
        """In check mode nothing is waited for; and some connections have no shell that could look after a job."""
        connection = self._connection
        return bool(self._task.check_mode or connection.always_pipeline_modules or connection.has_native_async)

    def _begin(self, task_vars: dict[str, Any]) -> Optional[Job]:
        """Start the module as a job. None where the managed host has no place for jobs, so that nothing was started."""
        folder = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        progress_path = self._connection._shell.join_path(folder, f"keyops-aws-{secrets.token_hex(8)}.progress")
        time_limit = _seconds(self._task.args.get("wait_timeout"), default=1800) + SECONDS_FOR_THE_REST
        self._task.environment = [*(self._task.environment or []), {VARIABLE: progress_path}]
        self._task.async_val = time_limit
        try:
            started = self._execute_module(task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
            self._task.environment = self._task.environment[:-1]
        return Job(started["results_file"], progress_path, time_limit) if started.get("started") else None

    def _wait(self, job: Job, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of the job, telling how far it is."""
        interval = min(max(_seconds(task_vars.get(INTERVAL), default=20), 1), 25)
        begin = connected = time.monotonic()
        while time.monotonic() - begin < job.time_limit + LOST_AFTER:
            command = job.wait_command(interval, quick=time.monotonic() - begin < QUICK_LOOKS * 0.1)
            try:
                answer = self._low_level_execute_command(command)
            except AnsibleConnectionFailure:
                if time.monotonic() - connected > LOST_AFTER:
                    raise
                time.sleep(interval)
                continue
            connected = time.monotonic()
            if answer["rc"] != STILL_RUNNING:
                return self._result(job, answer)
            self._tell(answer["stdout"], task_vars)
        raise AnsibleActionFail(f"The task has not ended after {job.time_limit} seconds. {_RUN_AGAIN}")

    def _tell(self, seen: str, task_vars: dict[str, Any]) -> None:
        """Show a line for each store that is waited for."""
        now, _newline, content = seen.partition("\n")
        try:
            progress = json.loads(content)
            age = max(0, int(now) - int(progress[WRITTEN]))
            lines = [
                f"{task_vars.get('inventory_hostname', '')}: custom key store {store['store']} is {store['state']},"
                f" {store['elapsed'] + age} of at most {store['allowed']} seconds"
                for store in progress[ENTRIES]
            ]
        except (ValueError, KeyError):
            return  # not begun to wait yet, or just ended
        if not self._task.no_log:
            for line in lines:
                Display().display(line)

    def _result(self, job: Job, answer: dict[str, Any]) -> dict[str, Any]:
        if answer["rc"] == KILLED:
            return {"failed": True, "msg": _KILLED}
        if answer["rc"] != 0:
            raise AnsibleActionFail(f"The result of the task is not at {job.result_path} any more. {_RUN_AGAIN}")
        # From ansible-core 2.19 on, it must be told how the module's result is written.
        profile = ("legacy",) if "profile" in inspect.signature(self._parse_returned_data).parameters else ()
        result: dict[str, Any] = self._parse_returned_data(answer, *profile)
        remove_internal_keys(result)
        # That of a module is shown only where there is no result.
        stderr = result.pop("stderr", "")
        if "cmd" in result and result.get("failed"):
            return {"failed": True, "msg": _KILLED, "module_stderr": stderr}
        return result


_RUN_AGAIN = "What it had begun goes on in KMS: run the task again, it goes on from the state that it finds."
_KILLED = f"The task was ended before it was done. {_RUN_AGAIN}"


def _seconds(value: Any, *, default: int) -> int:
    """A number of seconds; the module itself says what is wrong with a value that is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return default
