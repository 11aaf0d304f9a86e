# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a waiting module writes down, and how the controller waits for it and shows it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.apply import History
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Job
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import DesiredStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import Progress
from ansible_collections.keyops.aws.plugins.plugin_utils import waiting
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import STILL_RUNNING
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import WAS_KILLED
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import WaitingAction
from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import wait_command

DESCRIBED = {
    "CustomKeyStoreId": "cks-1",
    "CustomKeyStoreName": "payments",
    "ConnectionState": "CONNECTING",
    "CustomKeyStoreType": "AWS_CLOUDHSM",
}


def history() -> History:
    seen = History()
    seen.saw(CustomKeyStore(DESCRIBED))
    return seen


def test_what_is_waited_for_is_written_down_and_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = Progress(str(path), now=lambda: 1000.0)
    payments, ledger = DesiredStore(state="connected", name="payments"), DesiredStore(state="connected", name="ledger")
    progress.reporter(payments, history())(61.4, 1800)
    progress.reporter(ledger, History())(0.2, 1800)
    first = {"store": 'cks-1 ("payments")', "state": "CONNECTING", "elapsed": 61, "allowed": 1800}
    second = {"store": "with the name ledger", "state": "not visible yet", "elapsed": 0, "allowed": 1800}
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


def test_the_first_wait_is_told_once(tmp_path: Path) -> None:
    told = []
    progress = Progress(str(tmp_path / "progress"), begins=lambda: told.append((tmp_path / "progress").exists()))
    payments = DesiredStore(state="connected", name="payments")
    progress.done(payments)
    assert told == []
    for elapsed in range(3):
        progress.reporter(payments, history())(elapsed, 2)
    assert told == [True]


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
    assert (done.returncode, done.stdout, done.stderr) == (0, '{"changed": true}', "a warning")
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_runs_tells_how_far_it_is(job: Job) -> None:
    done = wait(job, 0.1, quick=True)
    assert done.returncode == STILL_RUNNING
    now, _newline, told = done.stdout.partition("\n")
    assert abs(int(now) - time.time()) < 30
    assert told == '{"written": 1}'


def test_a_job_whose_process_is_gone_without_a_result(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/true"]) as gone:
        pass
    job = Job.at(str(tmp_path / "the job"), gone.pid)
    Path(job.part).write_text('{"chan')
    Path(job.errors).write_text("Killed")
    done = wait(job, 3600, quick=False)
    assert (done.returncode, done.stdout, done.stderr) == (WAS_KILLED, "", "Killed")
    assert list(tmp_path.iterdir()) == []


def test_it_looks_often_at_first_and_never_not_at_all(job: Job) -> None:
    assert "tries=200\n" in wait_command(job, 20, quick=True)
    assert "tries=40\n" in wait_command(job, 20, quick=False)
    assert "tries=1\n" in wait_command(job, 0, quick=False)


def action(*, no_log: bool = False) -> WaitingAction:
    """As Ansible would make it for a task, without all that these tests do not need."""
    made: WaitingAction = WaitingAction.__new__(WaitingAction)
    made._task = SimpleNamespace(no_log=no_log, args={})
    return made


def told(seen: str, *, no_log: bool = False) -> list[str]:
    """The lines that are shown for what the wait command has printed."""
    with mock.patch.object(waiting, "Display") as display:
        action(no_log=no_log)._tell(seen, {"inventory_hostname": "localhost"})
    return [call.args[0] for call in display.return_value.display.call_args_list]


def test_a_line_for_each_store_that_counts_on_since_it_was_written() -> None:
    stores = [
        {"store": 'cks-1 ("payments")', "state": "CONNECTING", "elapsed": 61, "allowed": 1800},
        {"store": 'cks-2 ("ledger")', "state": "DISCONNECTING", "elapsed": 7, "allowed": 60},
    ]
    seen = "1010\n" + json.dumps({"written": 1000.0, "stores": stores})
    assert told(seen) == [
        'localhost: custom key store cks-1 ("payments") is CONNECTING, 71 of at most 1800 seconds',
        'localhost: custom key store cks-2 ("ledger") is DISCONNECTING, 17 of at most 60 seconds',
    ]
    assert told(seen, no_log=True) == []


@pytest.mark.parametrize(
    "seen", ["", "1010\n", "1010\n{", "1010\n{}", "now\n" + json.dumps({"written": 1, "stores": []})]
)
def test_nothing_is_shown_where_nothing_is_known(seen: str) -> None:
    assert told(seen) == []


def test_a_result_that_is_gone_and_a_module_that_was_killed() -> None:
    job = Job.at("/jobs/j1", 1)
    with pytest.raises(AnsibleActionFail) as caught:
        action()._result(job, {"rc": 1, "stdout": "", "stderr": ""})
    assert str(caught.value).startswith(
        "The result of the task is not at /jobs/j1.result any more. Run the task again, it goes on from the state that it finds."
    )
    result = action()._result(job, {"rc": WAS_KILLED, "stdout": "", "stderr": "Killed"})
    assert result == {
        "failed": True,
        "msg": "The task was ended before it was done. What it had begun goes on in KMS: run the task again, it goes on from"
        " the state that it finds.",
        "module_stderr": "Killed",
    }
