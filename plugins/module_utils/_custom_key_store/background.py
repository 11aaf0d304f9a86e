# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a module in the background of the managed host, if the action plugin on the controller asks for that.

The module looks and decides. Where nothing is to do, it ends with its result, as any module. Where something is, it starts a new
process, hands over what it has found out, and ends: the new process makes the changes and waits, and leaves its result in a
file. What ends the module, the connection or Ansible does not end it. It is no fork, as boto3 does not survive one on macOS.
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
"""The environment variable with the path that the files of a job begin with. Without it, a task waits in the foreground."""

RESULT_KEY = "keyops_aws_job"
"""Where the module's result has the C(Job), if there is one."""

KILLED = (
    "The task was ended before it was done. What it had begun goes on in KMS: run the task again; it continues from the"
    " current state."
)

NO_ROOM = (
    "The task has ended, but there is no room for its result in the folder for background jobs on the managed host"
    " (ANSIBLE_ASYNC_DIR). Make room, and run the task again; it continues from the current state."
)

NO_ROOM_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

RESERVED_BYTES = 256 * 1024
"""The room that is taken for a result before anything is done. Few are longer."""

PREFIX = "keyops-aws-"
"""What the names of all files of jobs begin with."""

OLDEST_SECONDS = 8 * 86400.0
"""Longer than the longest lease, whose keeper needs its files."""

UNREAD_SECONDS = 600.0
"""How long a result is kept for a controller that has lost its connection."""

START = "from {package}.background import resume; resume()"
"""What the new process runs. What it needs to know comes through its standard input."""


@dataclass(frozen=True)
class Job:
    """A task that goes on in the background.

    Attributes:
        pid: its process id, on the managed host.
        began: when that process began, in the words of the system: the id may be used again. Empty where that is not known.
        part: the file with what it has written of its result.
        progress: the file that says how far it is, see C(Progress).
        result: the file with its result, which is there when it has ended.
        errors: the file with what it has written to the standard error.
        end: the file that asks its keeper, if it has one, to bring the stores back now.
        code: the file with the code that it runs, if Ansible has packed that.
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
        """The job whose files begin with this path.

        Args:
            path: see there.
            pid: see there.
            began: see there.
            stage: empty for the task itself; C(KEEPER) for what its keeper does when the task is done.
        """
        own = {kind: f"{path}{stage}.{kind}" for kind in ("part", "progress", "result", "errors")}
        return cls(pid=pid, began=began, end=f"{path}.end", code=f"{path}.zip", **own)

    def discard(self) -> None:
        """Remove the files with the result: nobody will read it."""
        for name in (self.part, self.result, self.errors, self.progress):
            with contextlib.suppress(OSError):
                os.unlink(name)


KEEPER = "-keeper"


@dataclass(frozen=True)
class _Handover:
    """What a new process needs to go on, beside its environment.

    Attributes:
        path: that the files of the job begin with.
        import_path: Python's, with a copy of the module's own code.
        module: the name of the module.
        arguments: of the module, as Ansible gave them; they may hold secrets.
        profile: how they are written, from ansible-core 2.19 on.
        state: what the module has found out, pickled.
    """

    path: str
    import_path: list[str]
    module: str
    arguments: bytes
    profile: Optional[str]
    state: bytes


class Worker:
    """The process that does a task: the module that Ansible started, or the one that goes on in its place.

    Attributes:
        run: the run of Ansible that waits for the result.
        handed_over: what the module has found out; None in the module itself.
        progress: tells of the waits.
        afterwards: what is left to do when the result of the task is there, in the background alone.
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
        """Does the action plugin ask for that, and can the host do it?"""
        path = os.path.expanduser(os.environ.get(VARIABLE, ""))
        return (
            not self.is_background and bool(path) and can_start_processes() and _can_be_written(os.path.dirname(path))
        )

    def hand_over(self, module: str, state: Callable[[], Any]) -> dict[str, Any]:
        """Let a new process go on, where that can be done.

        Args:
            module: the name of the module, as Python knows it.
            state: what C(handed_over) is there; anything that can be pickled.

        Returns:
            The result of the module, which must end with it; empty where no process goes on.
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
    """Can a new process find the code of this one? Not where it is in the memory of an interpreter alone, as with Mitogen."""
    return os.path.exists(_archive() or __file__)


def _archive() -> str:
    """The file that Ansible has packed the module into; empty where the code is in files of its own."""
    return str(getattr(globals().get("__loader__"), "archive", ""))


def _start(path: str, module: str, state: Callable[[], Any]) -> Optional[Job]:
    """Start a process that goes on with the task; None where there is no place for its files. The folder is there."""
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
            stderr=errors,  # until the process writes there itself
            start_new_session=True,  # what ends the module, or the connection to the host, does not end it
        )
    with contextlib.suppress(BrokenPipeError):  # it has died, which is found out soon enough
        pipe = cast(IO[bytes], process.stdin)
        pipe.write(pickle.dumps(handover))
        pipe.close()
    return Job.at(path, process.pid, began=began_of(process.pid))


def resume() -> None:
    """Go on with a task that another process has begun: what the new one runs."""
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
    """What is printed meanwhile is the result of the job, which is there when that has ended, in whatever way.

    It is done all the same where there is no place for the result any more: somebody may have removed the folder.
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
    """What was printed is all of the result."""
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
    os.dup2(nowhere, 1)  # what could not be written is not tried again at the end of the process
    os.close(nowhere)


def _reserve(path: str) -> None:
    """Take the room that a result needs: the disk may be full when there is one. Raises OSError if it is full already."""
    file = os.open(path, os.O_WRONLY)
    try:
        if os.write(file, b"\0" * RESERVED_BYTES) < RESERVED_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)  # some file systems find out only then
    finally:
        os.close(file)


def _lock(descriptor: int) -> None:
    """As long as the process lives, see sweep()."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(folder: str, *, now: Callable[[], float] = time.time) -> None:
    """Remove the files of jobs that have ended and whose result nobody has read.

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
    """Does the job still run? It may have written nothing for long."""
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
    """Wait until the result of a job was read, or nobody will.

    Args:
        job: see there.
        run: of Ansible, which may read it.
        sleep: waits that many seconds.

    Returns:
        Whether somebody has read it. If not, it is removed.
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
