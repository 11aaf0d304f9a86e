# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""A module that goes on in the background from its first wait on, where the action plugin on the controller asks for that.

The module does its task in a child process. Where that ends without a wait, its result is the module's, as always. As soon as it
waits, the module ends and says where the child leaves its result. So a task that need not wait costs nothing more.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict
from dataclasses import dataclass
from typing import Callable

from .progress import Progress

VARIABLE = "KEYOPS_AWS_JOB"
"""The environment variable with the path that the files of a job begin with. Without it, a task waits in the foreground."""

RESULT_KEY = "keyops_aws_job"
"""Where the module's result has the C(Job), if there is one."""

WAITS = b"w"
"""What the child tells its parent when it begins to wait."""

DONE = b"d"
"""What it tells when its result is there, with the exit code: nobody need wait until the process is tidied up, too."""

KILLED = (
    "The task was ended before it was done. What it had begun goes on in KMS: run the task again, it goes on from the state"
    " that it finds."
)


@dataclass(frozen=True)
class Job:
    """A task that goes on in the background.

    Attributes:
        pid: its process id, on the managed host.
        part: the file with what it has written of its result.
        progress: the file that says how far it is, see C(Progress).
        result: the file with its result, which is there when it has ended.
        errors: the file with what it has written to the standard error.
    """

    pid: int
    part: str
    progress: str
    result: str
    errors: str

    @classmethod
    def at(cls, path: str, pid: int) -> Job:
        """The job whose files begin with this path."""
        return cls(pid, *(f"{path}.{kind}" for kind in ("part", "progress", "result", "errors")))


def run(task: Callable[[Progress], None]) -> None:
    """Do a task, and where the environment asks for it, its waits in the background.

    Args:
        task: prints its result and exits, as modules do; tells C(Progress) of its waits.
    """
    path = os.path.expanduser(os.environ.get(VARIABLE, ""))
    if not path or not _can_be_written(path):
        task(Progress(None))
        return
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_child(task, path, writer)
        return
    os.close(writer)
    # Nothing of the parent's is tidied up: all of that, such as the code that is still to be imported, is the child's now.
    os._exit(_run_parent(path, child, reader))


def _can_be_written(path: str) -> bool:
    """A place for a file that nobody else can read."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        job = Job.at(path, 0)
        for name in (job.part, job.errors):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o600))
    except OSError:
        return False
    return True


def _run_child(task: Callable[[Progress], None], path: str, writer: int) -> None:
    job = Job.at(path, os.getpid())
    os.setsid()  # what ends the module, or the connection to the host, does not end the task
    # The user's connection would be held open by whoever has its streams.
    for source, target in ((os.devnull, 0), (job.part, 1), (job.errors, 2)):
        descriptor = os.open(source, os.O_RDWR)
        os.dup2(descriptor, target)
        os.close(descriptor)
    code: object = None
    try:
        task(Progress(job.progress, begins=lambda: os.write(writer, WAITS)))
    except SystemExit as end:
        code = end.code
        raise
    finally:
        sys.stdout.flush()
        os.replace(job.part, job.result)
        if isinstance(code, int):  # anything else is a crash, whose traceback is still to be written
            with contextlib.suppress(OSError):  # after a wait, nobody listens any more
                os.write(writer, DONE + str(code).encode())


def _run_parent(path: str, child: int, reader: int) -> int:
    """Wait until the child waits or has ended; either way print what is the module's result. Returns the exit code."""
    job = Job.at(path, child)
    told = os.read(reader, 10)
    if told.startswith(WAITS):
        _print(json.dumps({RESULT_KEY: asdict(job)}))
        return 0
    if told.startswith(DONE):
        code = int(told[len(DONE) :])
        _print(_content(job.result))
    else:
        code = _wait_for_end(job, child)
    sys.stderr.write(_content(job.errors))
    for name in (job.part, job.result, job.errors, job.progress):
        with contextlib.suppress(OSError):
            os.unlink(name)
    return code


def _wait_for_end(job: Job, child: int) -> int:
    """A task that has ended in another way than modules do. Returns the exit code."""
    _pid, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        _print(_content(job.result))
        return os.WEXITSTATUS(status)
    _print(json.dumps({"failed": True, "msg": KILLED}))
    return 1


def _content(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
