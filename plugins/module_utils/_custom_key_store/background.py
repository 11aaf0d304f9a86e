# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module in the background of the managed host, if the action plugin on the controller requests it.

The module describes and plans. If there is nothing to do, it returns its result, as any module. Otherwise it starts a new
process, hands over its state, and exits. The new process makes the changes, waits, and writes its result to a file. It survives
the end of the module, of the connection and of Ansible. It is not a fork, because boto3 does not survive a fork on macOS.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import errno
import fcntl
import importlib
import json
import os
import pickle  # from this process to the one that it starts, through a pipe between the two
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from dataclasses import dataclass
from typing import IO
from typing import Any
from typing import Callable
from typing import Iterator
from typing import Optional
from typing import cast

from .progress import Progress
from .run import VARIABLE as RUN_VARIABLE
from .run import Run
from .run import began_of

VARIABLE = "KEYOPS_AWS_JOB"
"""The environment variable with the path prefix of the files of a job. Without it, a task waits in the foreground."""

RESULT_KEY = "keyops_aws_job"
"""The key of the C(Job) in the module's result, if there is one."""

KILLED = (
    "The task was ended early. KMS continues the operations that it has accepted. Run the task again: it continues from the"
    " current state."
)

NO_ROOM = (
    "The task has ended, but there is no room for its result in the folder for background jobs on the managed host"
    " (ANSIBLE_ASYNC_DIR). Make room, and run the task again; it continues from the current state."
)

NO_ROOM_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

RESERVED_BYTES = 256 * 1024
"""The space that a job reserves for its result before it changes anything. Few results are longer."""

PREFIX = "keyops-aws-"
"""The prefix of the names of all files of jobs."""

OLDEST_SECONDS = 8 * 86400.0
"""Longer than the longest lease, whose keeper needs its files."""

UNREAD_SECONDS = 600.0
"""How long a job keeps its result for a controller that has lost its connection."""

START = "from {package}.background import resume; resume()"
"""The program of the new process. Its input comes through its standard input."""


@dataclass(frozen=True)
class Job:
    """A task that continues in the background.

    Attributes:
        pid: its process id, on the managed host.
        began: when that process started, as the system reports it: the id may be reused. Empty if unknown.
        part: the file with the result as far as the job has written it.
        progress: the file with its progress, see C(Progress).
        result: the file with its result, which exists once the job has ended.
        errors: the file with its standard error.
        end: the file that asks its keeper, if it has one, to reconnect the stores now.
        code: the file with the code that it runs, if Ansible has packed the module.
    """

    pid: int
    began: str
    part: str
    progress: str
    result: str
    errors: str
    end: str
    code: str

    @classmethod
    def at(cls, path: str, pid: int, *, began: str = "", stage: str = "") -> Job:
        """The job with this path prefix.

        Args:
            path: the prefix of its files.
            pid: see C(Job).
            began: see C(Job).
            stage: empty for the task itself; C(KEEPER) for its keeper, which works after the task.
        """
        own = {kind: f"{path}{stage}.{kind}" for kind in ("part", "progress", "result", "errors")}
        return cls(pid=pid, began=began, end=f"{path}.end", code=f"{path}.zip", **own)

    def discard(self) -> None:
        """Remove the files with the result: no controller will read it."""
        for name in (self.part, self.result, self.errors, self.progress):
            with contextlib.suppress(OSError):
                os.unlink(name)


KEEPER = "-keeper"


@dataclass(frozen=True)
class _Handover:
    """What a new process needs to continue, apart from its environment.

    Attributes:
        path: the prefix of the files of the job.
        import_path: Python's, with a copy of the module's own code.
        module: the name of the module.
        arguments: of the module, as Ansible gave them; they may hold secrets.
        profile: the serialization profile of the arguments, from ansible-core 2.19 on.
        state: the state of the module, pickled.
    """

    path: str
    import_path: list[str]
    module: str
    arguments: bytes
    profile: Optional[str]
    state: bytes


class Worker:
    """The process that runs a task: the module that Ansible started, or the background process that continues it.

    Attributes:
        run: the run of Ansible that waits for the result.
        handed_over: the state of the module; None in the module itself.
        progress: reports the waits.
        afterwards: what to do once the result of the task is written; in the background only.
    """

    def __init__(self, *, handover: Optional[_Handover] = None) -> None:
        self.run = Run(os.environ.get(RUN_VARIABLE))
        self.handed_over: Any = None
        self.progress = Progress(None)
        self.afterwards: Optional[Callable[[], None]] = None
        self._path = "" if handover is None else handover.path
        if handover is not None:
            self.handed_over = pickle.loads(handover.state)  # noqa: S301 - from the pipe
            self.progress = Progress(self.job().progress)

    @property
    def is_background(self) -> bool:
        return bool(self._path)

    def job(self, *, stage: str = "") -> Job:
        return Job.at(self._path, os.getpid(), stage=stage)

    @property
    def can_hand_over(self) -> bool:
        """Does the action plugin request a background process, and can the host start one?"""
        path = os.path.expanduser(os.environ.get(VARIABLE, ""))
        return (
            not self.is_background and bool(path) and can_start_processes() and _can_be_written(os.path.dirname(path))
        )

    def hand_over(self, module: str, state: Callable[[], Any]) -> dict[str, Any]:
        """Let a new process continue, if possible.

        Args:
            module: the name of the module, as Python knows it.
            state: makes the value of C(handed_over) in the new process; anything that can be pickled.

        Returns:
            The result with which the module must exit; empty if no process continues.
        """
        if not self.can_hand_over:
            return {}
        job = _start(os.path.expanduser(os.environ[VARIABLE]), module, state)
        return {} if job is None else {RESULT_KEY: asdict(job)}


def _can_be_written(folder: str) -> bool:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def can_start_processes() -> bool:
    """Can a new process import the code of this one? Not if the code is only in the memory of an interpreter, as with Mitogen."""
    return os.path.exists(_archive() or __file__)


def _archive() -> str:
    """The file that Ansible has packed the module into; empty if the code is in separate files."""
    return str(getattr(globals().get("__loader__"), "archive", ""))


def _start(path: str, module: str, state: Callable[[], Any]) -> Optional[Job]:
    """Start a process that continues the task; None if its files cannot be written. The folder must exist."""
    from ansible.module_utils import basic

    sweep(os.path.dirname(path))
    job = Job.at(path, 0)
    code = _archive() and job.code
    try:
        for name in (job.part, job.errors, job.progress):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o600))
        _reserve(job.part)
        if code:  # Ansible removes its own when the module ends
            shutil.copyfile(_archive(), code)
    except OSError:  # such as a full disk
        job.discard()
        with contextlib.suppress(OSError):
            os.unlink(job.code)
        return None
    handover = _Handover(
        path=path,
        import_path=[code if each == _archive() else each for each in sys.path],
        module=module,
        arguments=basic._ANSIBLE_ARGS,
        profile=getattr(basic, "_ANSIBLE_PROFILE", None),
        state=pickle.dumps(state()),
    )
    package = __name__.rpartition(".")[0]
    program = f"import sys; sys.path[:] = {handover.import_path!r}; {START.format(package=package)}"
    with open(job.errors, "wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - Python itself
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,  # until the process opens that file itself
            start_new_session=True,  # what ends the module, or the connection to the host, does not end it
        )
    with contextlib.suppress(BrokenPipeError):  # the process has died, which the caller notices later
        pipe = cast(IO[bytes], process.stdin)
        pipe.write(pickle.dumps(handover))
        pipe.close()
    return Job.at(path, process.pid, began=began_of(process.pid))


def resume() -> None:
    """Continue a task that another process has begun: the entry point of the new process."""
    from ansible.module_utils import basic

    handover: _Handover = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the pipe
    basic._ANSIBLE_ARGS = handover.arguments
    if handover.profile is not None:
        basic._ANSIBLE_PROFILE = handover.profile
    worker = Worker(handover=handover)
    try:
        with result_of(worker.job()):
            importlib.import_module(handover.module).main(worker)
        if worker.afterwards is not None:
            worker.afterwards()
        was_read(worker.job(), worker.run)
    finally:
        for name in (worker.job().code, worker.job().end, worker.job().progress):
            with contextlib.suppress(OSError):
                os.unlink(name)


@contextlib.contextmanager
def result_of(job: Job) -> Iterator[None]:
    """In this block, standard output goes to the result of the job. The result file exists once the job has ended in any way.

    The block also runs if the result cannot be written any more: the user may have removed the folder.
    """
    for name, descriptor in ((os.devnull, 0), (job.part, 1), (job.errors, 2)):
        source = _open(name)
        os.dup2(source, descriptor)
        os.close(source)
    with contextlib.suppress(OSError):
        _reserve(job.part)
    _lock(2)
    has_room = True
    try:
        yield
    except SystemExit:
        pass
    except BaseException as error:
        import traceback

        has_room = getattr(error, "errno", None) not in NO_ROOM_ERRORS
        with contextlib.suppress(OSError):
            traceback.print_exc()
    finally:
        _end_result(has_room)
        with contextlib.suppress(OSError):
            os.replace(job.part, job.result)


def _end_result(has_room: bool) -> None:
    """Close the result: all of it was printed."""
    try:
        sys.stdout.flush()
    except OSError:
        has_room = False
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    with contextlib.suppress(OSError):
        if not has_room:
            os.lseek(1, 0, os.SEEK_SET)
            os.write(1, json.dumps({"failed": True, "changed": True, "msg": NO_ROOM}).encode())
        os.ftruncate(1, os.lseek(1, 0, os.SEEK_CUR))
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)  # so that Python does not retry a failed write at the end of the process
    os.close(nowhere)


def _reserve(path: str) -> None:
    """Reserve the space for a result: the disk may be full when the result is known. Raises OSError if it is full already."""
    file = os.open(path, os.O_WRONLY)
    try:
        if os.write(file, b"\0" * RESERVED_BYTES) < RESERVED_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)  # some file systems report a full disk only then
    finally:
        os.close(file)


def _lock(descriptor: int) -> None:
    """Lock the file as long as the process lives, see sweep()."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(folder: str, *, now: Callable[[], float] = time.time) -> None:
    """Remove the files of ended jobs whose result no controller has read.

    Args:
        folder: of the jobs.
        now: seconds since the epoch.
    """
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(PREFIX):
                with contextlib.suppress(OSError):
                    _sweep(os.path.join(folder, name), now())


def _sweep(path: str, now: float) -> None:
    age = now - os.stat(path).st_mtime
    if age > OLDEST_SECONDS:  # older than any window
        os.unlink(path)
    elif path.endswith(".errors") and age > UNREAD_SECONDS and not _is_locked(path):
        Job.at(path[: -len(".errors")], 0).discard()
        for kind in ("zip", "end"):
            with contextlib.suppress(OSError):
                os.unlink(f"{path[: -len('.errors')]}.{kind}")


def _is_locked(path: str) -> bool:
    """Does the job still run? It may not have written anything for a long time."""
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def _open(name: str) -> int:
    try:
        return os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_RDWR)


def was_read(job: Job, run: Run, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until a controller has read the result of a job, or will not read it any more.

    Args:
        job: see C(Job).
        run: of Ansible, which may read it.
        sleep: waits that many seconds.

    Returns:
        Whether a controller has read it. If not, the result is removed.
    """
    waited = 0.0
    while os.path.exists(job.result):
        if run.is_gone() or waited >= UNREAD_SECONDS:
            job.discard()
            return False
        pause = 0.1 if waited < 5.0 else 1.0
        sleep(pause)
        waited += pause
    return True
