# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that goes on in the background: in processes of their own, as Ansible runs modules."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import background
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Job
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import Run
from dev.environment import ROOT

MODULE = """
import json, os, sys, time
from ansible.module_utils import basic
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import background

def main(worker=None):
    worker = worker or background.Worker()
    job = None if worker.handed_over else worker.hand_over("job_module", lambda: {{"found": "DISCONNECTED"}})
    if job:
        print(json.dumps(job))
        sys.exit(0)
    {body}

if __name__ == "__main__":
    basic._ANSIBLE_ARGS = b'{{"secret": "CanaryOfArguments"}}'
    main()
"""
RESULT = "print(json.dumps([worker.handed_over, worker.is_background, basic._ANSIBLE_ARGS.decode()])); sys.exit(3)"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run(body: str, folder: Path, path: Path | None, *, room: int | None = None) -> subprocess.CompletedProcess[str]:
    """A module with this task, which may use worker. Room: bytes that each file may have at most, as on a disk that is full."""
    (folder / "job_module.py").write_text(MODULE.format(body=body))
    variables = {} if path is None else {"KEYOPS_AWS_JOB": str(path)}
    return subprocess.run(
        [sys.executable, str(folder / "job_module.py")],
        env={**os.environ, **variables, "PYTHONPATH": str(folder)},
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=None if room is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )


@pytest.fixture(autouse=True)
def tidy(tmp_path: Path) -> Iterator[None]:
    """No job waits for somebody to read its result when its test is over."""
    yield
    for path in tmp_path.glob("jobs/*.result"):
        path.unlink()


def started(body: str, folder: Path, *, room: int | None = None) -> dict[str, Any]:
    """The job that a module with this task has left."""
    done = run(body, folder, folder / "jobs" / "job", room=room)
    assert (done.returncode, done.stderr) == (0, "")
    job: dict[str, Any] = json.loads(done.stdout)["keyops_aws_job"]
    return job


def test_without_the_action_plugin_it_is_done_in_the_foreground(tmp_path: Path) -> None:
    done = run(RESULT, tmp_path, None)
    assert (done.returncode, json.loads(done.stdout)[:2]) == (3, [None, False])


def test_another_process_goes_on_with_what_was_found(tmp_path: Path) -> None:
    job = started(RESULT, tmp_path)
    until(Path(job["result"]).exists)
    handed_over, is_background, arguments = json.loads(Path(job["result"]).read_text())
    assert (handed_over, is_background) == ({"found": "DISCONNECTED"}, True)
    assert arguments == '{"secret": "CanaryOfArguments"}'
    assert not any(
        "Canary" in path.read_text("latin-1") for path in (tmp_path / "jobs").iterdir() if path.suffix != ".result"
    )


def test_its_files_are_its_users_alone_and_gone_when_it_is_read(tmp_path: Path) -> None:
    job = started("print('{}')", tmp_path)
    until(Path(job["result"]).exists)
    paths = (tmp_path / "jobs", Path(job["result"]), Path(job["errors"]))
    assert {path.stat().st_mode & 0o77 for path in paths} == {0}
    for name in ("result", "errors"):
        Path(job[name]).unlink()
    until(lambda: not Path(f"/proc/{job['pid']}").exists())
    assert list((tmp_path / "jobs").iterdir()) == []


def test_it_is_not_ended_by_what_ends_the_module(tmp_path: Path) -> None:
    job = started("time.sleep(60)", tmp_path)
    assert os.getpgid(job["pid"]) == job["pid"] == os.getsid(job["pid"])
    os.kill(job["pid"], 9)


def test_a_crash_leaves_its_traceback(tmp_path: Path) -> None:
    job = started("raise ValueError('oops')", tmp_path)
    until(Path(job["result"]).exists)
    assert Path(job["result"]).read_text() == ""
    assert "ValueError: oops" in Path(job["errors"]).read_text()


def test_without_a_place_for_its_files_it_waits_in_the_foreground(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("print(worker.is_background)", tmp_path, tmp_path / "file" / "job")
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_on_a_full_disk_it_waits_in_the_foreground(tmp_path: Path) -> None:
    done = run("print(worker.is_background)", tmp_path, tmp_path / "jobs" / "job", room=background.RESERVED_BYTES - 1)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
    assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.parametrize("body", ["print('x' * 2**20)", "print('x' * 8192 * 40, flush=True)"])
def test_a_result_that_finds_no_room_says_so(tmp_path: Path, body: str) -> None:
    """Nothing of what was done is claimed to be known."""
    job = started(body, tmp_path, room=background.RESERVED_BYTES)
    until(Path(job["result"]).exists)
    assert json.loads(Path(job["result"]).read_text()) == {
        "failed": True,
        "changed": True,
        "msg": "The task has ended, but there is no room for its result in the folder for background jobs on the managed host"
        " (ANSIBLE_ASYNC_DIR). Make room, and run the task again; it continues from the current state.",
    }


def test_a_result_has_room_on_a_disk_that_has_become_full(tmp_path: Path) -> None:
    """What was reserved is enough for it."""
    job = started("print(json.dumps('x' * 200000))", tmp_path, room=background.RESERVED_BYTES)
    until(Path(job["result"]).exists)
    assert json.loads(Path(job["result"]).read_text()) == "x" * 200000


def test_files_of_jobs_that_nobody_reads_are_swept(tmp_path: Path) -> None:
    kinds = ("part", "progress", "result", "errors", "zip", "end")
    paths = [tmp_path / f"{name}.{kind}" for name in ("keyops-aws-1", "keyops-aws-2", "another") for kind in kinds]
    for path in paths:
        path.touch()
    minutes = 60.0

    def sweep(age: float) -> list[str]:
        background.sweep(str(tmp_path), now=lambda: time.time() + age)
        return sorted({path.stem for path in tmp_path.iterdir()})

    assert sweep(5 * minutes) == ["another", "keyops-aws-1", "keyops-aws-2"]
    with (tmp_path / "keyops-aws-2.errors").open("r+") as file:
        background._lock(file.fileno())  # as the job does while it runs
        assert sweep(11 * minutes) == ["another", "keyops-aws-2"]
    assert sweep(11 * minutes) == ["another"]
    (tmp_path / "keyops-aws-3.zip").touch()  # a keeper has its code there
    assert sweep(7 * 24 * 60 * minutes) == ["another", "keyops-aws-3"]
    assert sweep(9 * 24 * 60 * minutes) == ["another"]
    background.sweep(str(tmp_path / "none"))


def test_a_job_that_runs_is_not_swept(tmp_path: Path) -> None:
    job = started("time.sleep(60)", tmp_path)
    until(lambda: background._is_locked(job["errors"]))
    os.kill(job["pid"], 9)
    until(lambda: not background._is_locked(job["errors"]))


def test_where_no_new_process_could_find_the_code_it_waits_in_the_foreground(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with Mitogen, where the code is in the memory of an interpreter alone."""
    monkeypatch.setenv("KEYOPS_AWS_JOB", str(tmp_path / "job"))
    monkeypatch.setattr(background, "__file__", "master:/background.py")
    assert background.Worker().hand_over("any", lambda: None) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_result_that_nobody_reads_is_removed(tmp_path: Path, is_gone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job.at(str(tmp_path / "job"), 1)
    Path(job.result).touch()
    monkeypatch.setattr(Run, "is_gone", lambda self: is_gone)
    sleeps: list[float] = []
    assert background.was_read(job, Run(None), sleep=sleeps.append) is False
    assert list(tmp_path.iterdir()) == []
    assert sum(sleeps) == (0 if is_gone else pytest.approx(600, abs=1))


def test_a_result_that_is_read_is_noticed(tmp_path: Path) -> None:
    job = Job.at(str(tmp_path / "job"), 1)
    Path(job.result).touch()
    assert background.was_read(job, Run(None), sleep=lambda _seconds: os.unlink(job.result)) is True


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
