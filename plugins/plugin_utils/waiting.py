# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""Runs a module that may take long, and tells in the terminal how far it is.

All waiting is done by the module. Where it has something to do, it goes on in the background of the managed host, and writes
down how far it is. So it goes on should the controller or the connection be lost: a store that was disconnected for a change is
brought back even so.
"""

from __future__ import annotations

import gc
import inspect
import json
import multiprocessing
import os
import secrets
import shlex
import time
from typing import Any
from typing import Callable

from ansible.errors import AnsibleActionFail
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import KILLED
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import RESULT_KEY
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import VARIABLE
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Job
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import ENTRIES
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import WRITTEN
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import VARIABLE as RUN_VARIABLE
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import token_of

INTERVAL = "keyops_aws_progress_seconds"
"""The variable with the seconds between two lines. Not more than 25, or else somebody who watches begins to wonder."""

LOST_AFTER = 300
"""Seconds without a connection to the managed host after which a task is given up. The job is not."""

QUICK_LOOKS = 100
"""How often the managed host looks ten times a second whether the job has ended; later it looks twice a second."""

LOCAL = ("local", "mitogen_local")
"""The connections to the host that Ansible itself runs on."""

STILL_RUNNING = 3
WAS_KILLED = 4

WAIT = r"""
ended() {{ [ -f {result} ]; }}
runs() {{
  kill -0 {pid} 2>/dev/null || return 1
  [ ! -r /proc/{pid}/stat ] || {{ read -r stat; }} 2>/dev/null < /proc/{pid}/stat || return 1
  case "$stat" in *') Z '*) return 1;; esac
}}
stat=
tries={tries}
while [ "$tries" -gt 0 ] && ! ended && runs; do sleep {pause} 2>/dev/null || sleep 1; tries=$((tries - 1)); done
if ! ended && runs; then date +%s; cat {progress}; exit {still_running}; fi
cat {errors} >&2
if ended; then cat {result}; code=$?; else code={was_killed}; rm -f {code} {end}; fi
rm -f {result} {progress} {errors} {part}
exit $code
"""
"""Waits where the job runs, so that its end is noticed at once. Prints the job's result, or the time and how far it is.

Between two looks it starts nothing but sleep, so that many who wait do not keep a host busy. A zombie does not run: not every
container has somebody who buries it.
"""


def wait_command(job: Job, seconds: float, *, quick: bool) -> str:
    """A shell command that waits for the end of a job, for about so many seconds."""
    pause = 0.1 if quick else 0.5
    return WAIT.strip().format(
        pid=job.pid,
        result=shlex.quote(job.result),
        progress=shlex.quote(job.progress),
        errors=shlex.quote(job.errors),
        part=shlex.quote(job.part),
        code=shlex.quote(job.code),
        end=shlex.quote(job.end),
        tries=max(1, round(seconds / pause)),
        pause=pause,
        still_running=STILL_RUNNING,
        was_killed=WAS_KILLED,
    )


class WaitingAction(ActionBase):
    """An action plugin that runs the module of its own name."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module.

        Returns:
            The module's result.

        Raises:
            AnsibleActionFail: the result could not be got.
        """
        outcome: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        if self._task.async_val or self._task.check_mode:
            outcome.update(self._run_module(task_vars, wrap_async=wrap_async))
        else:
            outcome.update(self._execute_with_progress(task_vars))
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return outcome

    def _execute_with_progress(
        self, task_vars: dict[str, Any], *, began: Callable[[Job], None] = lambda job: None, **module: Any
    ) -> dict[str, Any]:
        """Run the module, and wait for it if it goes on in the background.

        Args:
            task_vars: see there.
            began: is told of the job before it is waited for.
            module: C(module_name) and C(module_args), if it is not that of the task.

        Returns:
            The module's result.
        """
        folder = self.get_shell_option("async_dir", default="~/.ansible_async")
        path = self._connection._shell.join_path(folder, f"keyops-aws-{secrets.token_hex(8)}")
        job_environment = {VARIABLE: path, RUN_VARIABLE: self._run_token()}
        self._task.environment = [*(self._task.environment or []), job_environment]
        try:
            outcome = self._run_module(task_vars, **module)
        finally:
            self._task.environment = self._task.environment[:-1]
        if outcome.get(RESULT_KEY) is None:
            return outcome
        job = Job(**outcome[RESULT_KEY])
        began(job)
        return self._wait(job, task_vars)

    def _run_token(self) -> str:
        """What a job on this host recognizes the run of Ansible by; empty where the job is on another host."""
        if getattr(self._connection, "transport", "") not in LOCAL:
            return ""
        parent = multiprocessing.parent_process()  # this is a worker, which ends with its task
        return token_of(os.getpid() if parent is None or parent.pid is None else parent.pid) or ""

    def _run_module(self, task_vars: dict[str, Any], **module: Any) -> dict[str, Any]:
        """Run the module, and collect no garbage meanwhile.

        To pack a module makes so many objects that Python would search all that Ansible has in memory, again and again. The
        process is that of this task alone, and ends with it.
        """
        collects = gc.isenabled()
        gc.freeze()  # or else that search would come as soon as it may again
        gc.disable()
        try:
            outcome: dict[str, Any] = self._execute_module(task_vars=task_vars, **module)
        finally:
            if collects:
                gc.enable()
        return outcome

    def _wait(self, job: Job, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of the job, telling how far it is."""
        interval = min(max(_seconds(task_vars.get(INTERVAL), default=20), 1), 25)
        begin = connected = time.monotonic()
        while True:
            command = wait_command(job, interval, quick=time.monotonic() - begin < QUICK_LOOKS * 0.1)
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
        if answer["rc"] == WAS_KILLED:
            return {"failed": True, "msg": KILLED, "module_stderr": answer["stderr"]}
        if answer["rc"] != 0:
            raise AnsibleActionFail(
                f"The result of the task is not at {job.result} any more. Run the task again, it goes on from"
                " the state that it finds."
            )
        # From ansible-core 2.19 on, it must be told how the module's result is written.
        profile = ("legacy",) if "profile" in inspect.signature(self._parse_returned_data).parameters else ()
        return _without_internal_keys(self._parse_returned_data(answer, *profile))


def _without_internal_keys(parsed: Any) -> dict[str, Any]:
    """A parsed result of a module as an action plugin returns it; the same steps as in ActionBase._execute_module."""
    if hasattr(parsed, "as_result_dict"):  # from ansible-core 2.21 on
        parsed.remove_internal_keys()
        result: dict[str, Any] = parsed.as_result_dict(for_round_trip=True)
        return result
    from ansible.vars.clean import remove_internal_keys  # which 2.21 does not have any more

    remove_internal_keys(parsed)
    return dict(parsed)


def _seconds(value: Any, *, default: int) -> int:
    """A number of seconds; the module itself says what is wrong with a value that is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return default
