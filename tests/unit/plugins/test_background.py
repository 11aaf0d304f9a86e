# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that goes on in the background when it waits: in processes of their own, as Ansible runs modules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.environment import ROOT

PROGRAM = """
import os, signal, sys, time
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import background
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import DesiredStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.apply import History

def task(progress):
    wait = progress.reporter(DesiredStore("connected", name="payments"), History())
    {body}

background.run(task)
"""


def run(body: str, path: Path | None) -> subprocess.CompletedProcess[str]:
    """A module with this task, which may use progress and wait(elapsed, allowed)."""
    variables = {} if path is None else {"KEYOPS_AWS_JOB": str(path)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        env={**os.environ, **variables},
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("in_background", [True, False])
def test_without_a_wait_nothing_is_different(tmp_path: Path, in_background: bool) -> None:
    done = run(
        "print('{}'); sys.stderr.write('hint'); sys.exit(3)", tmp_path / "jobs" / "job" if in_background else None
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "{}\n", "hint")
    assert list(tmp_path.glob("jobs/*")) == []


@pytest.mark.parametrize("in_background", [True, False])
def test_a_crash_shows_its_traceback(tmp_path: Path, in_background: bool) -> None:
    done = run("raise ValueError('oops')", tmp_path / "job" if in_background else None)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ValueError: oops" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_waits_goes_on_when_the_module_has_ended(tmp_path: Path) -> None:
    go = tmp_path / "go"
    body = f"wait(1, 2)\n    while not os.path.exists({str(go)!r}): time.sleep(0.05)\n    print('{{}}'); sys.exit(0)"
    done = run(body, tmp_path / "jobs" / "job")
    assert done.returncode == 0
    job = json.loads(done.stdout)["keyops_aws_job"]
    assert os.getpgid(job["pid"]) == job["pid"]
    assert json.loads(Path(job["progress"]).read_text())["stores"][0]["elapsed"] == 1
    assert not Path(job["result"]).exists()
    modes = {path.stat().st_mode & 0o77 for path in (tmp_path / "jobs", Path(job["part"]), Path(job["errors"]))}
    assert modes == {0}
    go.touch()
    deadline = time.monotonic() + 30
    while not Path(job["result"]).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert Path(job["result"]).read_text() == "{}\n"


def test_a_module_ends_before_its_process_is_tidied_up(tmp_path: Path) -> None:
    go = tmp_path / "go"
    tidy_up = f"while not os.path.exists({str(go)!r}): time.sleep(0.05)"
    done = run(
        f"import atexit; atexit.register(exec, {tidy_up!r}, globals()); print('{{}}'); sys.exit(0)", tmp_path / "job"
    )
    go.touch()
    assert (done.returncode, done.stdout) == (0, "{}\n")
    assert list(tmp_path.iterdir()) == [go]


@pytest.mark.parametrize(
    ("imported", "needed", "not_needed"),
    [
        ("plugin_utils.waiting", "background", ("botocore", "apply", "model")),
        ("modules.kms_custom_key_store", "apply", ("diagnosis", "keys")),
    ],
)
def test_only_what_each_task_needs_is_imported(imported: str, needed: str, not_needed: tuple[str, ...]) -> None:
    program = f"import sys, ansible_collections.keyops.aws.plugins.{imported}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    private = "ansible_collections.keyops.aws.plugins.module_utils._custom_key_store."
    names = {name.removeprefix(private) for name in done.stdout.split()}
    assert needed in names
    assert names.isdisjoint(not_needed)


def test_a_task_that_is_killed_before_it_waits(tmp_path: Path) -> None:
    done = run("os.kill(os.getpid(), signal.SIGKILL)", tmp_path / "job")
    assert json.loads(done.stdout) == {
        "failed": True,
        "msg": "The task was ended before it was done. What it had begun goes on in KMS: run the task again, it goes on from"
        " the state that it finds.",
    }
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_its_files_it_waits_in_the_foreground(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("wait(1, 2); print('{}')", tmp_path / "file" / "job")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{}\n", "")
