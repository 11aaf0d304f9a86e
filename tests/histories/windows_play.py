# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays: a window with the steps of the role, its C(--tags reconnect), the playbook reconnect, and tasks of their own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from types import SimpleNamespace
from typing import Any

from ansible_collections.keyops.aws.plugins.action.maintenance_window import ActionModule
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Job
from ansible_collections.keyops.aws.plugins.plugin_utils import maintenance
from tests.histories.windows_host import Hosts
from tests.histories.windows_host import Machine
from tests.histories.windows_host import Result
from tests.histories.windows_time import Process

WORK_FAILS = {
    "ansible_failed_task": {"name": "Upgrade"},
    "ansible_failed_result": {"failed": True, "msg": "It broke."},
}


@dataclass
class Hold:
    """A store that a window has a lease of.

    Attributes:
        since: when it got it.
        in_aws: in AWS, too?
        machine: on which machine.
    """

    since: float
    in_aws: bool
    machine: Machine


@dataclass(eq=False, repr=False)
class Play:
    """One run of Ansible, and all that is known of how it went.

    Attributes:
        kind: C(window), C(tags), C(leased), C(task).
        machine: where it runs.
        options: of the role, or of the module.
        work: seconds; what the user's tasks take.
        work_fails: do they fail?
        is_local: does the managed host see whether the play is there?
        in_background: can the module go on in the background?
        process: of the play.
        jobs: its processes in the background.
        keeping: those of them that have told their result.
        results: what the user has seen: when, of which step, and the result.
        holds: the stores that it has a lease of, by their ids.
        held: the same, never forgotten.
        refused_lease: could a lease not be made, so that nothing may be disconnected?
        steps: those that were begun.
        is_over: has it come to its end?
        could_see: for a reconnect: the stores whose leases it could see when it began.
        began: when.
        requests: how many it has made, in all of its processes.
        killed_at: the number of the request at which something dies; 0: at none.
        killed_after: is that request carried out before?
        dies: what dies, see C(WindowWorld.kill()).
    """

    kind: str
    machine: Machine
    options: Result
    hosts: Hosts = field(repr=False)
    work: float = 0.0
    work_fails: bool = False
    is_local: bool = True
    in_background: bool = True
    process: Process = field(init=False, repr=False)
    jobs: list[Process] = field(default_factory=list, repr=False)
    keeping: list[Process] = field(default_factory=list, repr=False)
    results: list[tuple[float, str, Result]] = field(default_factory=list)
    holds: dict[str, Hold] = field(default_factory=dict)
    held: dict[str, Hold] = field(default_factory=dict)
    refused_lease: bool = False
    steps: list[str] = field(default_factory=list)
    is_over: bool = False
    could_see: frozenset[str] = frozenset()
    began: float = 0.0
    requests: int = 0
    killed_at: int = 0
    killed_after: bool = False
    dies: str = "play"

    def __repr__(self) -> str:
        return f"{self.kind} of {self.machine.name} since {self.began:.1f}"

    @property
    def is_alive(self) -> bool:
        """Is the play itself still there?"""
        return self.process.is_alive

    @property
    def has_keeper(self) -> bool:
        """Is its keeper, or what becomes that, still there?"""
        return any(job.is_alive for job in self.jobs)

    @property
    def knows_of_aws(self) -> bool:
        """Does it look for leases in AWS, at least for one store?"""
        asked = self.options.get("leases_in_aws") or self.options.get("lease_role_arn")
        return bool(asked or any(store.get("lease_role_arn") for store in self.options.get("stores", [])))

    @property
    def was_ended_by_force(self) -> bool:
        """Was all killed that could have brought its stores back?"""
        keeps = self.options.get("keeper", True)
        return self.process.was_killed and all(job.was_killed or not keeps for job in self.jobs)

    @property
    def is_at_work(self) -> bool:
        """Do the user's tasks run?"""
        return self.is_alive and self.steps[-1:] == ["work"]

    def started(self, job: Process) -> None:
        self.jobs.append(job)

    def has_result(self, job: Process) -> None:
        self.keeping.append(job)

    def note(self, step: str, result: Result) -> Result:
        """The user sees a result."""
        self.results.append((self.hosts.sim.now, step, result))
        return result

    def run_module(self, arguments: Result, *, check: bool = False) -> Result:
        return self.hosts.run(arguments, check=check, is_seen=self.is_local, in_background=self.in_background)

    # ---- what plays do

    def run_window(self) -> None:
        """Check, disconnect, work, note, reconnect, report: as C(roles/key_store_maintenance/tasks/main.yml) does."""
        if not self._step("check").get("failed") and not self._step("disconnect").get("failed"):
            self.steps.append("work")
            self.hosts.sim.sleep(self.work)
            if self.work_fails:
                self._step("note", WORK_FAILS)
        else:
            self._step("note", {"ansible_failed_task": {"name": "step"}, "ansible_failed_result": self.results[-1][2]})
        self.run_tags()

    def run_tags(self) -> None:
        """With C(--tags reconnect)."""
        self._step("reconnect")
        self._step("report")
        self.is_over = True

    def run_task(self) -> None:
        """The module alone."""
        self.steps.append(self.kind)
        self.note(self.kind, self.run_module(self.options))
        self.is_over = True

    def _step(self, name: str, variables: Mapping[str, Any] | None = None) -> Result:
        self.steps.append(name)
        step = Step(self, name)
        return self.note(name, step.do(dict(variables or {})))


class Step(ActionModule):
    """A step of the role, by its own code. What it does on the managed host is done there at once.

    Args:
        play: see there.
        name: of the step.
    """

    def __init__(self, play: Play, name: str) -> None:
        self._play = play
        self._host = play.machine.name
        self._connection = SimpleNamespace(transport="local" if play.is_local else "ssh")
        self._task = SimpleNamespace(args={**play.options, "step": name}, check_mode=False, diff=False)
        self._given = self._options()

    def do(self, variables: dict[str, Any]) -> Result:
        """Do it. The result is what the task returns."""
        steps: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "check": self._check,
            "disconnect": self._disconnect,
            "note": self._note,
            "reconnect": self._reconnect,
            "report": self._report,
        }
        return steps[self._given.step](variables)

    @property
    def _path(self) -> str:
        return os.path.join(self._play.machine.folder, f"window-{self._play.process.pid}.json")

    def _module_defaults(self) -> dict[str, Any]:
        return {}

    def _run_module(self, task_vars: dict[str, Any], **module: Any) -> dict[str, Any]:
        return self._play.run_module(module["module_args"], check=self._task.check_mode)

    def _execute_with_progress(
        self, task_vars: dict[str, Any], *, on_job: Callable[[Job], None] = lambda job: None, **module: Any
    ) -> dict[str, Any]:
        play = self._play
        job, result = play.hosts.begin(
            module["module_args"], check=False, is_seen=play.is_local, in_background=play.in_background
        )
        if job is None:
            return result
        on_job(job)
        return self._wait(job, task_vars)

    def _wait(self, job: Job, task_vars: dict[str, Any]) -> dict[str, Any]:
        return self._play.hosts.wait(job)

    def _low_level_execute_command(self, command: str, **_how: Any) -> dict[str, Any]:
        program, path = shlex.split(command)
        assert program == "touch"
        with open(path, "w", encoding="utf-8"):
            pass
        return {"rc": 0}


def shown(play: Play) -> None:
    """Lay out all that the user would be shown. Raises where that cannot be done."""
    for _when, step, result in play.results:
        if step == "check" and not result.get("failed"):
            maintenance.plan_table(result.get("stores", []))
        if step == "reconnect":
            maintenance.summary_table(result.get("summary") or [])
