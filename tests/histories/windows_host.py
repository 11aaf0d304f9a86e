# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines on which the module for several stores runs, in the foreground and in the background, each with a disk and a clock."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import pickle
import shutil
import threading
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import clients
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import group
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import keeper
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import lease
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import leased
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import owner
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import run as run_module
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import schedule
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import window
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import RESULT_KEY
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import UNREAD_SECONDS
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Job
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Keeper
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import Ownership
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.progress import Progress
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.renewal import Renewal
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import Run
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import RENEW_SECONDS
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import AwsLeases
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_stores
from ansible_collections.keyops.aws.plugins.plugin_utils import maintenance
from tests.histories.windows_time import LONGEST_DOZE
from tests.histories.windows_time import Process
from tests.histories.windows_time import Simulation

Result = dict[str, Any]

NAMESPACE = "4026531836"
"""That of process ids: the same on all machines, where there are no containers."""

CONNECTION_OPTIONS = ("region", "profile", "access_key", "secret_key", "session_token", "endpoint_url")
TASK_DEFAULTS: Result = {
    **dict.fromkeys(CONNECTION_OPTIONS),
    **{name: option.get("default") for name, option in kms_custom_key_stores.argument_spec().items()},
}
STORE_OPTIONS = kms_custom_key_stores.argument_spec()["stores"]["options"]
ALIASES = {alias: name for name, option in STORE_OPTIONS.items() for alias in option.get("aliases", ())}


@dataclass(eq=False)
class Machine:
    """A machine.

    Attributes:
        name: of the host.
        folder: its disk.
        clock_error: seconds that its clock is ahead.
        boots: how often it has been started, or replaced.
        processes: all that have run since.
    """

    name: str
    folder: str
    clock_error: float
    boots: int = 0
    processes: list[Process] = field(default_factory=list, repr=False)
    pids: Iterator[int] = field(default_factory=lambda: itertools.count(100), repr=False)

    @property
    def memory(self) -> str:
        """The folder of the leases."""
        return os.path.join(self.folder, "memory")

    @property
    def owners(self) -> str:
        return os.path.join(self.folder, "owners")

    @property
    def boot_id(self) -> str:
        return f"{self.name}-{self.boots}"

    def process(self, owner: Any, role: str) -> Process:
        """A new one."""
        made = Process(self, next(self.pids), owner, role)
        self.processes.append(made)
        return made

    def loses_its_disk(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, exist_ok=True)


class Exit(SystemExit):
    """The module has printed its result."""

    def __init__(self, result: Result) -> None:
        super().__init__(0)
        self.result = result


class Worker:
    """See C(background.Worker)."""

    def __init__(self, hosts: Hosts, run: Run, path: str, state: bytes | None = None) -> None:
        self.run = run
        self.handed_over: Any = None if state is None else pickle.loads(state)  # noqa: S301
        self.progress = Progress(None)
        self.afterwards: Callable[[], None] | None = None
        self._hosts = hosts
        self._path = path

    @property
    def is_background(self) -> bool:
        return self.handed_over is not None

    def job(self, *, stage: str = "") -> Job:
        return Job.at(self._path if self.is_background else "", self._hosts.sim.process.pid, stage=stage)

    def hand_over(self, _module: str, state: Callable[[], Any]) -> dict[str, Any]:
        if not self._path or self.is_background:
            return {}
        return {RESULT_KEY: asdict(self._hosts.start_job(self._path, self.run, pickle.dumps(state())))}


class _Module:
    """What is used of C(AnsibleAWSModule)."""

    def __init__(self, hosts: Hosts, arguments: Result) -> None:
        self._hosts = hosts
        given = dict(arguments)
        self.check_mode = given.pop("_check", False)
        self._diff = given.pop("_diff", False)
        assert set(given) <= set(TASK_DEFAULTS), given
        self.params = {**TASK_DEFAULTS, **{name: value for name, value in given.items() if value is not None}}
        if self.params["stores"] is not None:
            self.params["stores"] = [_store(store) for store in self.params["stores"]]

    def client(self, service: str, config: Any = None) -> Any:
        return self._hosts.client(service)

    def exit_json(self, **result: Any) -> None:
        raise Exit(json.loads(json.dumps({"changed": False, **result})))

    def fail_json(self, **result: Any) -> None:
        raise Exit(json.loads(json.dumps({"changed": False, **result, "failed": True})))

    def log(self, line: str) -> None:
        self._hosts.log(line)


def _store(given: Result) -> Result:
    named = {ALIASES.get(name, name): value for name, value in given.items()}
    assert set(named) <= set(STORE_OPTIONS), given
    return {**dict.fromkeys(STORE_OPTIONS), **named}


class Hosts:
    """What machines share: the time, the services, and who looks on.

    Args:
        sim: runs their processes.
        date: tells the right time.
        client: a client for a service.
        log: is told what a host writes to its log.
        crashed: is told of an error that nobody has caught.
    """

    def __init__(
        self,
        sim: Simulation,
        date: Callable[[], datetime.datetime],
        client: Callable[[str], Any],
        log: Callable[[str], None],
        crashed: Callable[[str], None],
    ) -> None:
        self.sim = sim
        self.date = date
        self.client = client
        self.log = log
        self._crashed = crashed
        self._paths = itertools.count(1)
        self._results: dict[str, Result] = {}
        self._ended_jobs: dict[str, Process] = {}
        self._worker = threading.local()

    @property
    def machine(self) -> Machine:
        """That of the process that runs."""
        machine: Machine = self.sim.process.machine
        return machine

    def now(self) -> datetime.datetime:
        """By the clock of the machine."""
        error = self.machine.clock_error if self.sim.has_current else 0.0
        return self.date() + datetime.timedelta(seconds=error)

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.sim.now, sleep=self.sim.sleep, random=lambda: 0.5)

    # ---- the module

    def run(self, arguments: Result, *, check: bool, is_seen: bool, in_background: bool) -> Result:
        """Run the module in the process that runs, which is a play, and wait for what goes on in its place.

        Args:
            arguments: of the module.
            check: in check mode.
            is_seen: does the module see whether the play is there?
            in_background: may another process go on?
        """
        job, result = self.begin(arguments, check=check, is_seen=is_seen, in_background=in_background)
        return result if job is None else self.wait(job)

    def begin(self, arguments: Result, *, check: bool, is_seen: bool, in_background: bool) -> tuple[Job | None, Result]:
        """The same without the wait: the job, or the result."""
        path = os.path.join(self.machine.folder, f"job-{next(self._paths)}") if in_background and not check else ""
        run = Run(run_module.token_of(self.sim.process.pid) if is_seen else None)
        self.sim.process.arguments = {**arguments, "_check": check, "_diff": False}
        result = self._main(Worker(self, run, path))
        if RESULT_KEY in result:
            return Job(**result[RESULT_KEY]), {}
        return None, result

    def _main(self, worker: Worker) -> Result:
        try:
            kms_custom_key_stores.main(worker)  # type: ignore[arg-type]
        except Exit as end:
            return end.result
        raise AssertionError("the module ended without a result")

    def start_job(self, path: str, run: Run, state: bytes) -> Job:
        play = self.sim.process
        process = play.machine.process(play.owner, "job")
        process.arguments = dict(play.arguments)
        play.owner.started(process)
        self._ended_jobs[path] = process
        self.sim.start(process, partial(self._resume, path, run, state))
        return Job.at(path, process.pid)

    def _resume(self, path: str, run: Run, state: bytes) -> None:
        worker = Worker(self, run, path, state)
        with self.result_of(worker.job()):
            kms_custom_key_stores.main(worker)  # type: ignore[arg-type]
        self.sim.process.owner.has_result(self.sim.process)
        if worker.afterwards is not None:
            worker.afterwards()
        self.was_read(worker.job(), run)
        with contextlib.suppress(OSError):
            os.unlink(worker.job().end)

    @contextlib.contextmanager
    def result_of(self, job: Job) -> Iterator[None]:
        try:
            yield
        except Exit as end:
            self._results[job.result] = end.result
        except Exception:
            self._crashed(traceback.format_exc())

    def was_read(self, job: Job, run: Run) -> bool:
        begin = self.sim.now
        while job.result in self._results:
            if run.is_gone() or self.sim.now - begin >= UNREAD_SECONDS:
                del self._results[job.result]
                return False
            self.sim.doze()
        return True

    def wait(self, job: Job) -> Result:
        """The result of a job, as the play gets it."""
        process = self._ended_jobs[job.end.removesuffix(".end")]
        while job.result not in self._results:
            if not process.is_alive:
                # Without changed, as what it has changed is not known.
                return {"failed": True, "msg": "The task was ended early."}
            self.sim.doze()
        return self._results.pop(job.result)

    # ---- what stands in for the world around the module

    def _keeper(self, **given: Any) -> Keeper:
        made = _Keeper(**given, time=self.now)
        made.process = self.sim.process
        made.clock = Clock(monotonic=lambda: self.sim.now, sleep=lambda seconds: self._doze(made))
        return made

    def _doze(self, made: _Keeper) -> None:
        left = (made.until - self.now()).total_seconds()
        self.sim.doze(min(left, LONGEST_DOZE) if left > 0 else LONGEST_DOZE)

    def _ownership(self, _folder: str, run: Run) -> Ownership:
        made = _Ownership(self.machine.owners, run)
        made.process = self.sim.process
        return made

    @contextlib.contextmanager
    def _renewing(self, renewal: Renewal) -> Iterator[None]:
        ended: list[bool] = []

        def renew() -> None:
            while not ended:
                self.sim.sleep(RENEW_SECONDS)
                if not ended:
                    renewal.renew()

        if renewal._leases:
            self.sim.start_thread(renew)
        try:
            yield
        finally:
            ended.append(True)

    def _began_of(self, pid: int) -> str:
        found = [process for process in self.machine.processes if process.pid == pid and process.is_alive]
        return found[0].began if found else ""

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile, the module runs on these machines."""
        shown = _dates(self.now)
        sim_time = SimpleNamespace(monotonic=lambda: self.sim.now, sleep=self.sim.sleep)

        def renewing(
            renewal: Renewal,
        ) -> AbstractContextManager[None]:  # a method of its own, which is bound to a renewal
            return self._renewing(renewal)

        replaced: list[tuple[Any, str, Any]] = [
            (group, "_all_at_once", lambda jobs: [job() for job in jobs]),
            *((module, "now", self.now) for module in (group, window, schedule, lease, maintenance)),
            *((module, "datetime", shown) for module in (group, leased, owner)),
            (group, "os", SimpleNamespace(getpid=lambda: self.sim.process.pid)),
            (run_module, "began_of", self._began_of),
            (run_module, "_namespace", lambda: NAMESPACE),
            *((module, "machine", lambda: self.machine.boot_id) for module in (group, schedule)),
            (schedule, "platform", SimpleNamespace(node=lambda: self.machine.name)),
            (window, "Keeper", self._keeper),
            (window, "Ownership", self._ownership),
            (window, "Progress", lambda _path: Progress(None)),
            (window, "result_of", self.result_of),
            (window, "was_read", self.was_read),
            (window, "Terminal", lambda _run: mock.Mock()),
            (clients, "AwsLeases", lambda client, role_arn: AwsLeases(client, role_arn=role_arn, clock=self.clock())),
            (owner, "time", sim_time),
            (keeper, "POLLS_PER_CHECK", 1),
            (Renewal, "going_on", renewing),
            (kms_custom_key_stores, "Clock", self.clock),
            (kms_custom_key_stores, "AnsibleAWSModule", lambda **_spec: _Module(self, self.sim.process.arguments)),
            (os, "fsync", lambda _file: None),
        ]
        with contextlib.ExitStack() as stack:
            for target, name, value in replaced:
                stack.enter_context(mock.patch.object(target, name, value))
            yield


class _Keeper(Keeper):
    """Is told to end by the history, not by a signal."""

    process: Process

    def listen(self) -> None:
        self.process.keeper = self


class _Ownership(Ownership):
    """A process that was killed gives nothing up."""

    process: Process

    def release(self) -> None:
        if self.process.is_alive:
            super().release()


def _dates(now: Callable[[], datetime.datetime]) -> Any:
    class Shown(datetime.datetime):
        @classmethod
        def now(cls, _zone: Any = None) -> datetime.datetime:  # type: ignore[override]
            return now()

    return SimpleNamespace(datetime=Shown, timezone=datetime.timezone, timedelta=datetime.timedelta)
