# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module that may take long, and tells in the terminal how far it is.

All waiting is done by the module. Where it has something to do, it goes on in the background of the managed host, and writes
down how far it is. So it goes on should the controller or the connection be lost: a store that was disconnected for a change is
brought back even so.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import gc
import inspect
import json
import multiprocessing
import os
import secrets
import shlex
import time
from contextlib import suppress
from typing import Any
from typing import Callable

from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
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
"""The variable with the seconds between two lines, 0 for none. Not more than 25, or else who watches begins to wonder."""

BACKGROUND = "keyops_aws_background"
"""The variable with which a task waits in the foreground: false."""

LOST_AFTER = 300
"""Seconds without an answer of the managed host after which a task is given up. The job is not."""

RETRY_SECONDS = 5
"""Seconds after which the managed host is asked again that gave no answer."""

SILENT_MINUTES = 15
"""A job that has reported nothing for so long is given up. It tells something each 15 seconds."""

QUICK_LOOKS = 100
"""How often the managed host looks ten times a second whether the job has ended; later it looks twice a second."""

LOCAL = ("local", "mitogen_local")
"""The connections to the host that Ansible itself runs on."""

ANSWER = "keyops-aws:"
"""What the answer of the managed host begins with. Without it, something else has answered, such as ssh."""

RUNNING, ENDED, KILLED_JOB, GONE, SILENT = "running", "ended", "killed", "gone", "silent"

WAIT = (
    "ended() {{ [ -f {result} ]; }}",
    "runs() {{ kill -0 {pid} 2>/dev/null || return 1",
    "if [ -r /proc/{pid}/stat ]",
    "then {{ read -r stat; }} 2>/dev/null < /proc/{pid}/stat || return 1",
    """case "$stat" in *') Z '*|*') X '*) return 1;; esac""",
    """set -- ${{stat##*') '}}""",
    """[ -z {began} ] || [ "${{20}}" = {began} ] || return 1""",
    """else case "$(ps -o stat= -p {pid} 2>/dev/null)" in Z*|'') return 1;; esac""",
    "fi",
    "}}",
    "stat=",
    "tries={tries}",
    'while [ "$tries" -gt 0 ] && runs',
    "do if ended; then break; fi",
    "sleep {pause} 2>/dev/null || sleep 1",
    "tries=$((tries - 1))",
    "done",
    "if ended; then echo {answer}ended",
    "cat {errors} >&2",
    "cat {result}",
    'elif runs; then if [ -e {progress} ] && [ -z "$(find {progress} -mmin -{silent} 2>/dev/null)" ]',
    "then echo {answer}silent",
    "else echo {answer}running",
    "date +%s",
    "cat {progress} 2>/dev/null",
    "fi",
    "elif [ -e {part} ]; then echo {answer}killed",
    "cat {errors} >&2",
    "else echo {answer}gone",
    "fi",
)
"""Waits where the job runs, so that its end is noticed at once. Tells what became of the job, and its result, or the time and how
far it is.

It is one line for any login shell, without the character that csh takes for its history. Between two looks it starts nothing but
sleep, so that many who wait do not keep a host busy. A zombie does not run: not every container has somebody who buries it. A
process that began at another time is another one, with the same id.
"""

LOST = (
    "The managed host gave no answer for {seconds} seconds. The task continues there in the background. Run it again when you"
    " can reach the host; it continues from the current state."
)

TOLD_NOTHING = (
    "The process {pid} of the task on the managed host has reported nothing for {minutes} minutes, so this task no longer"
    " waits for it. The process still runs: check what it does, end it if it hangs, and run the task again; it"
    " continues from the current state."
)

RESULT_GONE = (
    "The result of the task is not at {path} any more: somebody has removed it on the managed host. Run the task again; it"
    " continues from the current state."
)

NO_RESULT = (
    "The result of the task at {path} on the managed host cannot be read."
    " Run the task again; it continues from the current state."
)


def wait_command(job: Job, seconds: float, *, quick: bool) -> str:
    """A shell command that waits for the end of a job, for about so many seconds."""
    pause = 0.1 if quick else 0.5
    script = "; ".join(WAIT)  # Ansible adds more commands, so it must not end with a semicolon
    return script.format(
        pid=job.pid,
        began=shlex.quote(job.began),
        answer=ANSWER,
        result=shlex.quote(job.result),
        progress=shlex.quote(job.progress),
        errors=shlex.quote(job.errors),
        part=shlex.quote(job.part),
        silent=SILENT_MINUTES,
        tries=max(1, round(seconds / pause)),
        pause=pause,
    )


def remove_command(job: Job, *, killed: bool) -> str:
    """A shell command that removes the files of a job whose result was read, or that was killed."""
    names = [job.result, job.progress, job.errors, job.part, *([job.code, job.end] if killed else [])]
    return f"rm -f {' '.join(shlex.quote(name) for name in names)}"


class WaitingAction(ActionBase):
    """An action plugin that runs the module of its own name."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module.

        Returns:
            The module's result. Where that could not be got, one that says so.
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
        if not _is_true(self._templar.template(task_vars.get(BACKGROUND, True))):
            return self._run_module(task_vars, **module)
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
        """Wait for the end of the job, telling how far it is.

        Only the host itself can say what became of the job. Until it does, it is asked again.
        """
        told = _seconds(task_vars.get(INTERVAL), default=20)
        interval = min(max(told, 1), 25)
        begin = connected = time.monotonic()
        shown: list[str] = []
        while True:
            command = wait_command(job, interval, quick=time.monotonic() - begin < QUICK_LOOKS * 0.1)
            status, content, errors = self._ask_host(command)
            if status is None:
                if time.monotonic() - connected > LOST_AFTER:
                    return {"failed": True, "msg": LOST.format(seconds=LOST_AFTER)}
                time.sleep(RETRY_SECONDS)
                continue
            connected = time.monotonic()
            if status != RUNNING:
                return self._result(job, status, content, errors)
            if told > 0:
                shown = self._show_progress(content, task_vars, shown)

    def _ask_host(self, command: str) -> tuple[str | None, str, str]:
        """What the host says of a job, what comes with that, and its standard error. None where it gave no answer."""
        try:
            answer = self._low_level_execute_command(command)
        except AnsibleError:
            return None, "", ""
        said, found, told = str(answer.get("stdout", "")).partition(ANSWER)
        del said  # a login script may greet
        if not found:
            return None, "", ""
        status, _newline, content = told.partition("\n")
        return status.strip(), content, str(answer.get("stderr", ""))

    def _show_progress(self, seen: str, task_vars: dict[str, Any], shown: list[str]) -> list[str]:
        """Show a line for each store that is waited for, but none of those that were shown last. Returns the lines."""
        now, _newline, content = seen.partition("\n")
        try:
            progress = json.loads(content)
            age = max(0.0, int(now) - float(progress[WRITTEN]))
            lines = [
                f"{task_vars.get('inventory_hostname', '')}: custom key store {store['store']} is {store['state']},"
                f" {int(store['elapsed'] + age)} of at most {store['allowed']} seconds"
                for store in progress[ENTRIES]
            ]
        except (ValueError, KeyError):
            return shown  # not begun to wait yet, or just ended
        if not self._task.no_log:
            for line in lines:
                if line not in shown:
                    Display().display(line, stderr=True)  # what reads the standard output may expect JSON there
        return lines

    def _result(self, job: Job, status: str, content: str, errors: str) -> dict[str, Any]:
        if status == SILENT:
            return {"failed": True, "msg": TOLD_NOTHING.format(pid=job.pid, minutes=SILENT_MINUTES)}
        with suppress(AnsibleError):  # the next task on that host removes what stays
            self._low_level_execute_command(remove_command(job, killed=status in (KILLED_JOB, GONE)))
        if status == GONE:
            return {"failed": True, "msg": RESULT_GONE.format(path=job.result)}
        if status == KILLED_JOB:
            return {"failed": True, "msg": KILLED, "module_stderr": errors}
        if "{" not in content and not errors:  # with those, Ansible itself says that the module has crashed
            return {"failed": True, "msg": NO_RESULT.format(path=job.result), "module_stderr": errors}
        # From ansible-core 2.19 on, it must be told how the module's result is written.
        profile = ("legacy",) if "profile" in inspect.signature(self._parse_returned_data).parameters else ()
        answer = {
            "rc": 0,
            "stdout": content,
            "stdout_lines": content.splitlines(),
            "stderr": errors,
            "stderr_lines": [],
        }
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


def _is_true(value: Any) -> bool:
    try:
        return bool(boolean(value))
    except TypeError:
        return True


def _seconds(value: Any, *, default: int) -> int:
    """A number of seconds; the module itself says what is wrong with a value that is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return default
