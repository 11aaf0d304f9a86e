# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module that may take long, and shows its progress in the terminal.

The module does all waiting. If it has something to do, it continues in the background of the managed host, and writes its
progress to a file. So it continues if the controller or the connection is lost: a store that was disconnected for a change is
still reconnected.
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
"""The variable with the seconds between two lines, 0 for no lines. At most 25, so that a user never waits long for a line."""

BACKGROUND = "keyops_aws_background"
"""The variable that makes a task wait in the foreground, if false."""

LOST_AFTER = 300
"""Seconds without an answer of the managed host after which the task fails. The job continues."""

RETRY_SECONDS = 5
"""Seconds before a retry if the managed host gave no answer."""

SILENT_MINUTES = 15
"""If a job has reported nothing for so long, the task fails. A job reports each 15 seconds."""

QUICK_POLLS = 100
"""How often the managed host polls the job ten times a second; later it polls twice a second."""

LOCAL = ("local", "mitogen_local")
"""The connections to the host that Ansible itself runs on."""

ANSWER = "keyops-aws:"
"""The beginning of the answer of the managed host. Without it, something else has answered, such as ssh."""

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
"""Waits on the host of the job, so that its end is noticed at once. Prints the status of the job, and its result, or the time and
its progress.

It is one line for any login shell, without the history character of csh. Between two polls it starts only sleep, so that many
waiting tasks do not load a host. A zombie does not run: not every container has a process that reaps it. A process with another
start time is another one, with the same id.
"""

LOST = (
    "The managed host gave no answer for {seconds} seconds. The task continues there in the background. Run it again when you"
    " can reach the host; it continues from the current state."
)

NO_REPORT = (
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
    """An action plugin that runs the module of the same name."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module.

        Returns:
            The module's result; or a failure if the result could not be read.
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
        self, task_vars: dict[str, Any], *, on_job: Callable[[Job], None] = lambda job: None, **module: Any
    ) -> dict[str, Any]:
        """Run the module, and wait for it if it continues in the background.

        Args:
            task_vars: the variables of the task.
            on_job: called with the job before the wait.
            module: C(module_name) and C(module_args), if it is not the module of the task.

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
        on_job(job)
        return self._wait(job, task_vars)

    def _run_token(self) -> str:
        """The token of the run of Ansible, for a job on this host; empty if the job is on another host."""
        if getattr(self._connection, "transport", "") not in LOCAL:
            return ""
        parent = multiprocessing.parent_process()  # this process is a worker, which ends with its task
        return token_of(os.getpid() if parent is None or parent.pid is None else parent.pid) or ""

    def _run_module(self, task_vars: dict[str, Any], **module: Any) -> dict[str, Any]:
        """Run the module without garbage collection.

        Ansible creates many objects when it packs a module, so Python would search all objects in memory again and again. The
        process is only for this task, and ends with it.
        """
        collects = gc.isenabled()
        gc.freeze()  # otherwise the search would start when collection is enabled again
        gc.disable()
        try:
            outcome: dict[str, Any] = self._execute_module(task_vars=task_vars, **module)
        finally:
            if collects:
                gc.enable()
        return outcome

    def _wait(self, job: Job, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of the job, and show its progress.

        Only the host knows the status of the job, so the request is repeated until it answers.
        """
        seconds = _seconds(task_vars.get(INTERVAL), default=20)
        interval = min(max(seconds, 1), 25)
        begin = connected = time.monotonic()
        shown: list[str] = []
        while True:
            command = wait_command(job, interval, quick=time.monotonic() - begin < QUICK_POLLS * 0.1)
            status, content, errors = self._ask_host(command)
            if status is None:
                if time.monotonic() - connected > LOST_AFTER:
                    return {"failed": True, "msg": LOST.format(seconds=LOST_AFTER)}
                time.sleep(RETRY_SECONDS)
                continue
            connected = time.monotonic()
            if status != RUNNING:
                return self._result(job, status, content, errors)
            if seconds > 0:
                shown = self._show_progress(content, task_vars, shown)

    def _ask_host(self, command: str) -> tuple[str | None, str, str]:
        """The status of a job as the host reports it, its content, and the standard error. None if the host gave no answer."""
        try:
            answer = self._low_level_execute_command(command)
        except AnsibleError:
            return None, "", ""
        _greeting, found, text = str(answer.get("stdout", "")).partition(ANSWER)  # a login script may greet
        if not found:
            return None, "", ""
        status, _newline, content = text.partition("\n")
        return status.strip(), content, str(answer.get("stderr", ""))

    def _show_progress(self, text: str, task_vars: dict[str, Any], shown: list[str]) -> list[str]:
        """Show a line for each store that the job waits for, except lines that were shown last. Returns the lines."""
        now, _newline, content = text.partition("\n")
        try:
            progress = json.loads(content)
            age = max(0.0, int(now) - float(progress[WRITTEN]))
            lines = [
                f"{task_vars.get('inventory_hostname', '')}: custom key store {store['store']} is {store['state']},"
                f" {int(store['elapsed'] + age)} of at most {store['allowed']} seconds"
                for store in progress[ENTRIES]
            ]
        except (ValueError, KeyError):
            return shown  # the job does not wait yet, or has just ended
        if not self._task.no_log:
            for line in lines:
                if line not in shown:
                    Display().display(line, stderr=True)  # a program that reads standard output may expect JSON
        return lines

    def _result(self, job: Job, status: str, content: str, errors: str) -> dict[str, Any]:
        if status == SILENT:
            return {"failed": True, "msg": NO_REPORT.format(pid=job.pid, minutes=SILENT_MINUTES)}
        with suppress(AnsibleError):  # the next task on that host removes the rest
            self._low_level_execute_command(remove_command(job, killed=status in (KILLED_JOB, GONE)))
        if status == GONE:
            return {"failed": True, "msg": RESULT_GONE.format(path=job.result)}
        if status == KILLED_JOB:
            return {"failed": True, "msg": KILLED, "module_stderr": errors}
        if "{" not in content and not errors:  # with errors, Ansible itself reports that the module has crashed
            return {"failed": True, "msg": NO_RESULT.format(path=job.result), "module_stderr": errors}
        # From ansible-core 2.19 on, it needs the profile of the module's result.
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
    """Turn a parsed result of a module into the result of an action plugin, with the same steps as ActionBase._execute_module."""
    if hasattr(parsed, "as_result_dict"):  # from ansible-core 2.21 on
        parsed.remove_internal_keys()
        result: dict[str, Any] = parsed.as_result_dict(for_round_trip=True)
        return result
    from ansible.vars.clean import remove_internal_keys  # 2.21 does not have this any more

    remove_internal_keys(parsed)
    return dict(parsed)


def _is_true(value: Any) -> bool:
    try:
        return bool(boolean(value))
    except TypeError:
        return True


def _seconds(value: Any, *, default: int) -> int:
    """A number of seconds; for an invalid value the default."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return default
