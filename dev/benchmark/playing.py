# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-playbook and measures its time."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from dev.environment import BIN
from dev.environment import ROOT
from dev.environment import ansible_environment

HERE = Path(__file__).parent
WITH_AWS_CLI = HERE / "move_with_aws_cli.yml"
STATES = {"connect": "CONNECTED", "disconnect": "DISCONNECTED"}

Task = Mapping[str, Any]


@dataclass(frozen=True)
class Played:
    """Times of one run of ansible-playbook, in seconds of a clock that all processes share.

    Attributes:
        begin: start of the process.
        first_task: start of the first task.
        last_result: result of the last task.
        end: end of the process.
        tasks: start and result of each task, by name. If a name occurs twice, the last task.
    """

    begin: float
    first_task: float
    last_result: float
    end: float
    tasks: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds from the start of the first task to the result of the last."""
        return self.last_result - self.first_task


@dataclass
class Player:
    """Runs playbooks against an emulator, with a separate home folder.

    Attributes:
        folder: the home folder, for playbooks and their files.
        environment: additional variables of ansible-playbook.
    """

    url: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def play(self, tasks: Sequence[Task], variables: Mapping[str, Any] | None = None) -> Played:
        """Run these tasks in a play on localhost."""
        play = {"name": "Measure", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
        path = self.folder / "playbook.yml"
        path.write_text(json.dumps([play]))  # JSON is YAML
        return self.run(path, variables or {})

    def run(self, playbook: Path, variables: Mapping[str, Any]) -> Played:
        """Run a playbook. Raises RuntimeError if it fails."""
        task_times = self.folder / "task_times"
        task_times.unlink(missing_ok=True)
        given = self.folder / "variables.json"
        given.write_text(json.dumps(dict(variables)))
        environment = {
            **ansible_environment(self.url),
            "HOME": str(self.folder),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_times",
            "TASK_TIMES": str(task_times),
            **self.environment,
        }
        command = [str(BIN / "ansible-playbook"), str(playbook), "-e", f"@{given}"]
        begin = time.monotonic()
        done = subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, check=False)
        end = time.monotonic()
        if done.returncode != 0:
            raise RuntimeError(f"{done.stdout}\n{done.stderr}")
        events = [line.split(" ", 2) for line in task_times.read_text("utf-8").splitlines()]
        first_task = next(float(at) for at, event, _name in events if event == "begin")
        ends = {name: float(at) for at, event, name in events if event == "end"}
        tasks = {name: (float(at), ends[name]) for at, event, name in events if event == "begin" and name in ends}
        return Played(begin, first_task, float(events[-1][0]), end, tasks)


def module(move: str, store: str, region: str) -> Task:
    """Return a task with our module that connects or disconnects a store."""
    options = {"name": store, "region": region, "state": STATES[move].lower()}
    return {"name": "Move with our module", "keyops.aws.kms_custom_key_store": options}


def with_aws_cli(move: str, store: str, region: str) -> dict[str, Any]:
    """Return the variables for the tasks with the AWS CLI."""
    return {"aws": str(BIN / "aws"), "store": store, "region": region, "move": move, "wanted": STATES[move]}
