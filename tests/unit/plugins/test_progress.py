# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a waiting module writes down, and how the controller waits for it and shows it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Job
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.history import History
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import DesiredStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import Progress
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import began_of
from ansible_collections.keyops.aws.plugins.plugin_utils import waiting
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import WaitingAction
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import remove_command
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import wait_command

DESCRIBED = {
    "CustomKeyStoreId": "cks-1",
    "CustomKeyStoreName": "payments",
    "ConnectionState": "CONNECTING",
    "CustomKeyStoreType": "AWS_CLOUDHSM",
}


def history() -> History:
    seen = History()
    seen.described(CustomKeyStore(DESCRIBED))
    return seen


def test_what_is_waited_for_is_written_down_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = Progress(str(path), now=lambda: 1000.0)
    payments, ledger = DesiredStore(state="connected", name="payments"), DesiredStore(state="connected", name="ledger")
    progress.reporter(payments, history())(61.4, 1800)
    progress.reporter(ledger, History())(0.2, 1800)
    first = {"store": 'cks-1 ("payments")', "state": "CONNECTING", "elapsed": 61.4, "allowed": 1800}
    second = {"store": "with the name ledger", "state": "not visible yet", "elapsed": 0.2, "allowed": 1800}
    assert json.loads(path.read_text()) == {"written": 1000.0, "stores": [first, second]}
    progress.done(payments)
    assert json.loads(path.read_text())["stores"] == [second]
    progress.close()
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_the_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    progress = Progress(str(tmp_path / "file" / "progress"))
    progress.reporter(DesiredStore(state="connected", name="payments"), history())(1, 2)
    progress.close()


def test_the_first_wait_is_reported_once(tmp_path: Path) -> None:
    reported = []
    progress = Progress(str(tmp_path / "progress"), begins=lambda: reported.append((tmp_path / "progress").exists()))
    payments = DesiredStore(state="connected", name="payments")
    progress.done(payments)
    assert reported == []
    for elapsed in range(3):
        progress.reporter(payments, history())(elapsed, 2)
    assert reported == [True]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """A job whose process is there, and that has said how far it is."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        made = Job.at(str(tmp_path / "the job"), process.pid)
        Path(made.progress).write_text('{"written": 1}')
        Path(made.errors).write_text("a warning")
        yield made
        process.kill()


def wait(job: Job, seconds: float, *, quick: bool) -> subprocess.CompletedProcess[str]:
    command = wait_command(job, seconds, quick=quick)
    return subprocess.run(["/bin/sh", "-c", command], text=True, capture_output=True, timeout=30, check=False)


def test_a_job_that_has_ended_is_not_waited_for(job: Job, tmp_path: Path) -> None:
    Path(job.result).write_text('{"changed": true}')
    done = wait(job, 3600, quick=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, 'keyops-aws:ended\n{"changed": true}', "a warning")
    subprocess.run(["/bin/sh", "-c", remove_command(job, killed=False)], check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_runs_reports_its_progress(job: Job) -> None:
    status, now, reported = wait(job, 0.1, quick=True).stdout.split("\n")
    assert status == "keyops-aws:running"
    assert abs(int(now) - time.time()) < 30
    assert reported == '{"written": 1}'


def test_a_job_without_a_report_for_long(job: Job) -> None:
    long_ago = time.time() - 60 * (waiting.SILENT_MINUTES + 1)
    os.utime(job.progress, (long_ago, long_ago))
    assert wait(job, 0.1, quick=True).stdout == "keyops-aws:silent\n"
    Path(job.progress).unlink()  # it has just ended to wait
    assert wait(job, 0.1, quick=True).stdout.startswith("keyops-aws:running\n")


def test_a_job_whose_process_is_gone_without_a_result(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as gone:
        pass
    job = Job.at(str(tmp_path / "the job"), gone.pid)
    Path(job.part).write_text('{"chan')
    Path(job.errors).write_text("Killed")
    Path(job.code).touch()
    done = wait(job, 3600, quick=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "keyops-aws:killed\n", "Killed")
    subprocess.run(["/bin/sh", "-c", remove_command(job, killed=True)], check=True)
    assert list(tmp_path.iterdir()) == []
    assert wait(job, 3600, quick=False).stdout == "keyops-aws:gone\n"


def test_a_job_that_is_a_zombie_has_ended(tmp_path: Path) -> None:
    """As in a container whose first process is ansible-playbook."""
    process = subprocess.Popen(["/bin/true"])  # waited for below
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        job = Job.at(str(tmp_path / "the job"), process.pid, began=began_of(os.getpid()))
        Path(job.part).touch()
        Path(job.errors).touch()
        assert wait(job, 3600, quick=False).stdout == "keyops-aws:killed\n"
    finally:
        process.wait()


def test_another_process_with_the_same_id_is_not_the_job(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        job = Job.at(str(tmp_path / "the job"), process.pid, began=began_of(process.pid))
        Path(job.part).touch()
        Path(job.errors).touch()
        assert wait(job, 0.1, quick=True).stdout.startswith("keyops-aws:running\n")
        another = replace(job, began="1")
        assert wait(another, 3600, quick=False).stdout == "keyops-aws:killed\n"
        process.kill()


def test_it_polls_often_at_first_and_never_stops(job: Job) -> None:
    assert "tries=200;" in wait_command(job, 20, quick=True)
    assert "tries=40;" in wait_command(job, 20, quick=False)
    assert "tries=1;" in wait_command(job, 0, quick=False)


def test_any_login_shell_can_pass_it_on(job: Job) -> None:
    """csh takes no quoted text of several lines, and ! for its history."""
    command = wait_command(job, 20, quick=True)
    assert "\n" not in command
    assert "!" not in command


def action(*, no_log: bool = False) -> WaitingAction:
    """As Ansible would make it for a task, without all that these tests do not need."""
    made: WaitingAction = WaitingAction.__new__(WaitingAction)
    made._task = SimpleNamespace(no_log=no_log, args={})
    return made


def reported(*seen: str, no_log: bool = False) -> list[str]:
    """The lines that are shown for what the wait command has printed, one time after the other."""
    shown: list[str] = []
    with mock.patch.object(waiting, "Display") as display:
        for content in seen:
            shown = action(no_log=no_log)._show_progress(content, {"inventory_hostname": "localhost"}, shown)
    return [call.args[0] for call in display.return_value.display.call_args_list]


def test_a_line_for_each_store_that_counts_on_since_it_was_written() -> None:
    stores = [
        {"store": 'cks-1 ("payments")', "state": "CONNECTING", "elapsed": 61, "allowed": 1800},
        {"store": 'cks-2 ("ledger")', "state": "DISCONNECTING", "elapsed": 7, "allowed": 60},
    ]
    seen = "1010\n" + json.dumps({"written": 1000.0, "stores": stores})
    assert reported(seen) == [
        'localhost: custom key store cks-1 ("payments") is CONNECTING, 71 of at most 1800 seconds',
        'localhost: custom key store cks-2 ("ledger") is DISCONNECTING, 17 of at most 60 seconds',
    ]
    assert reported(seen, no_log=True) == []


def test_no_line_twice() -> None:
    """Two reports of the same second, and one that was written between two full seconds."""

    def seen(now: int, written: float, elapsed: float) -> str:
        store = {"store": "cks-1", "state": "CONNECTING", "elapsed": elapsed, "allowed": 60}
        return f"{now}\n" + json.dumps({"written": written, "stores": [store]})

    assert reported(seen(1011, 1010.3, 0.4), seen(1011, 1010.9, 1.0), seen(1012, 1011.9, 2.0)) == [
        f"localhost: custom key store cks-1 is CONNECTING, {elapsed} of at most 60 seconds" for elapsed in (1, 2)
    ]


@pytest.mark.parametrize(
    "seen", ["", "1010\n", "1010\n{", "1010\n{}", "now\n" + json.dumps({"written": 1, "stores": []})]
)
def test_nothing_is_shown_where_nothing_is_known(seen: str) -> None:
    assert reported(seen) == []


UNREACHABLE = "Failed to connect to the host via ssh."


class Host:
    """A managed host that gives these answers, one after the other, and then says that the result is gone."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.commands: list[str] = []

    def __call__(self, command: str) -> dict[str, Any]:
        self.commands.append(command)
        if self.answers[:1] == [UNREACHABLE]:
            del self.answers[0]
            raise AnsibleConnectionFailure(UNREACHABLE)
        answer = self.answers.pop(0) if self.answers else "keyops-aws:gone\n"
        return answer if isinstance(answer, dict) else {"rc": 0, "stdout": answer, "stderr": ""}


def waited(host: Host, monkeypatch: pytest.MonkeyPatch, *, every: float = 100.0) -> dict[str, Any]:
    """What comes of a wait whose pauses, and whose requests, take so many seconds each."""
    made = action()
    clock = iter(every * number for number in range(1000))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(made, "_low_level_execute_command", host, raising=False)
    return made._wait(Job.at("/jobs/j1", 1), {})


NO_ANSWER = [
    {"rc": -13, "stdout": "", "stderr": ""},
    {"rc": 255, "stdout": "", "stderr": "Connection reset"},
    {"rc": 137, "stdout": "", "stderr": ""},
    {"rc": 1, "stdout": "Unmatched '''.", "stderr": ""},
    UNREACHABLE,
]


@pytest.mark.parametrize("answer", NO_ANSWER, ids=["-13", "255", "137", "another shell", "exception"])
def test_only_the_host_can_say_what_became_of_a_job(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(answer, "Welcome!\nkeyops-aws:killed\n", "")
    assert waited(host, monkeypatch)["msg"].startswith("The task was ended early.")
    assert len(host.commands) == 3  # the third removes its files


@pytest.mark.parametrize("answer", NO_ANSWER, ids=["-13", "255", "137", "another shell", "exception"])
def test_a_host_that_never_answers_is_given_up(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = waited(Host(*[answer] * 50), monkeypatch)
    assert result == {
        "failed": True,
        "msg": "The managed host gave no answer for 300 seconds. The task continues there in the background. Run it again when"
        " you can reach the host; it continues from the current state.",
    }


def test_a_job_without_a_report_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host("keyops-aws:running\n1\n{}", "keyops-aws:silent\n")
    assert waited(host, monkeypatch) == {
        "failed": True,
        "msg": "The process 1 of the task on the managed host has reported nothing for 15 minutes, so this task no longer waits"
        " for it. The process still runs: check what it does, end it if it hangs, and run the task"
        " again; it continues from the current state.",
    }
    assert len(host.commands) == 2  # nothing is removed


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            "keyops-aws:gone\n",
            "The result of the task is not at /jobs/j1.result any more: somebody has removed it on the",
        ),
        (
            "keyops-aws:ended\n",
            "The result of the task at /jobs/j1.result on the managed host cannot be read. Run the task",
        ),
    ],
)
def test_a_result_that_is_gone_or_empty(answer: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    result = waited(Host(answer), monkeypatch)
    assert result["failed"] is True
    assert result["msg"].startswith(text)


def test_a_module_that_was_killed() -> None:
    made = action()
    made._low_level_execute_command = Host()
    assert made._result(Job.at("/jobs/j1", 1), "killed", "", "Killed") == {
        "failed": True,
        "msg": "The task was ended early. KMS continues the operations that it has accepted. Run the task again: it continues"
        " from the current state.",
        "module_stderr": "Killed",
    }
