# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-playbook, and takes the time."""

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
    """Moments of one run of ansible-playbook, in seconds of a clock that all processes share.

    Attributes:
        begin: of the process.
        first_task: when its first task began.
        last_result: when the result of its last task was there.
        end: of the process.
        tasks: when each task began and its result was there, by its name; of a name that comes twice, the last one.
    """

    begin: float
    first_task: float
    last_result: float
    end: float
    tasks: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """From the begin of the first task to the result of the last."""
        return self.last_result - self.first_task


@dataclass
class Player:
    """Runs playbooks, with a home of their own, against an emulator.

    Attributes:
        folder: for playbooks, and what they leave.
        environment: of ansible-playbook, beside what all have.
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
        moments = self.folder / "moments"
        moments.unlink(missing_ok=True)
        given = self.folder / "variables.json"
        given.write_text(json.dumps(dict(variables)))
        environment = {
            **ansible_environment(self.url),
            "HOME": str(self.folder),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "moments",
            "MOMENTS": str(moments),
            **self.environment,
        }
        command = [str(BIN / "ansible-playbook"), str(playbook), "-e", f"@{given}"]
        begin = time.monotonic()
        done = subprocess.run(command, env=environment, cwd=ROOT, text=True, capture_output=True, check=False)
        end = time.monotonic()
        if done.returncode != 0:
            raise RuntimeError(f"{done.stdout}\n{done.stderr}")
        seen = [line.split(" ", 2) for line in moments.read_text("utf-8").splitlines()]
        first_task = next(float(at) for at, what, _name in seen if what == "begin")
        ends = {name: float(at) for at, what, name in seen if what == "end"}
        tasks = {name: (float(at), ends[name]) for at, what, name in seen if what == "begin" and name in ends}
        return Played(begin, first_task, float(seen[-1][0]), end, tasks)


def module(move: str, store: str, region: str) -> Task:
    """A task with our module that connects or disconnects a store."""
    options = {"name": store, "region": region, "state": STATES[move].lower()}
    return {"name": "Move with our module", "keyops.aws.kms_custom_key_store": options}


def with_aws_cli(move: str, store: str, region: str) -> dict[str, Any]:
    """Variables for the tasks that do the same with the AWS CLI."""
    return {"aws": str(BIN / "aws"), "store": store, "region": region, "move": move, "wanted": STATES[move]}
