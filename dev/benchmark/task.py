# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cost of one task: nothing to do, disconnect, and connect, compared with the alternatives and with the limit."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dev.benchmark.measuring import Goal
from dev.benchmark.measuring import Result
from dev.benchmark.measuring import Setting
from dev.benchmark.measuring import in_rounds
from dev.benchmark.measuring import ratios
from dev.benchmark.measuring import spread
from dev.benchmark.playing import STATES
from dev.benchmark.playing import WITH_AWS_CLI
from dev.benchmark.playing import Player
from dev.benchmark.playing import module
from dev.benchmark.playing import with_aws_cli
from dev.environment import ansible_environment
from kms_emulator import HttpControl

ROUNDS = 11
STORE = "payments"
REGION = "us-east-1"
DESCRIBE, CONNECT, DISCONNECT = "DescribeCustomKeyStores", "ConnectCustomKeyStore", "DisconnectCustomKeyStore"
REQUESTS = {
    "": [DESCRIBE],
    "connect": [DESCRIBE, CONNECT, DESCRIBE],
    "disconnect": [DESCRIBE, DISCONNECT, DESCRIBE],
}
"""The requests that each contender must send, so that all of them do the same checks."""

MIN_SPEEDUP = 2.5
"""Minimum speedup over the tasks with the AWS CLI."""

OURS, CLI, INFO, PING, LIMIT = (
    "keyops.aws.kms_custom_key_store",
    "AWS CLI in ansible.builtin.command",
    "amazon.aws.kms_key_info",
    "ansible.builtin.ping",
    "boto3 in a script, without Ansible",
)

SCRIPT = """
import sys, time
import boto3
name, region, wanted = sys.argv[1:]
kms = boto3.client("kms", region_name=region)
def describe():
    return kms.describe_custom_key_stores(CustomKeyStoreName=name)["CustomKeyStores"][0]
store = describe()
if store["ConnectionState"] != wanted:
    move = kms.connect_custom_key_store if wanted == "CONNECTED" else kms.disconnect_custom_key_store
    move(CustomKeyStoreId=store["CustomKeyStoreId"])
    while describe()["ConnectionState"] != wanted:
        time.sleep(5)
"""

Row = Sequence[str]


@dataclass
class Work:
    """One store of the emulator, and the change to make.

    Attributes:
        move: connect or disconnect.
        needed: whether the store needs the change.
    """

    setting: Setting
    player: Player
    control: HttpControl
    store_id: str
    move: str
    needed: bool

    def contenders(self) -> Mapping[str, Callable[[], float]]:
        """Return the contenders. Each makes the change once, and returns its seconds."""
        found: dict[str, Callable[[], float]] = {
            OURS: partial(self._measure, self._ours),
            CLI: partial(self._measure, self._cli),
            LIMIT: partial(self._measure, self._script),
        }
        if not self.needed:
            found[INFO] = partial(self._play, {"amazon.aws.kms_key_info": {"region": REGION}})
            found[PING] = partial(self._play, {"ansible.builtin.ping": {}})
        return found

    def _measure(self, contender: Callable[[], float]) -> float:
        """Set the initial state of the store, run a contender, and check its requests. Returns its seconds."""
        wanted = STATES[self.move]
        (other,) = set(STATES.values()) - {wanted}
        self.control.set_connection_state(self.store_id, other if self.needed else wanted)
        self.control.clear_requests()
        seconds = contender()
        requests = [request["operation"] for request in self.control.requests()]
        if requests != REQUESTS[self.move if self.needed else ""]:
            raise RuntimeError(f"{contender} sent other requests: {requests}")
        return seconds

    def _play(self, task: Mapping[str, Any]) -> float:
        return self.player.play([{"name": "Measure", **task}]).seconds

    def _ours(self) -> float:
        return self._play(module(self.move, STORE, REGION))

    def _cli(self) -> float:
        return self.player.play([{"import_tasks": str(WITH_AWS_CLI)}], with_aws_cli(self.move, STORE, REGION)).seconds

    def _script(self) -> float:
        command = [sys.executable, "-c", SCRIPT, STORE, REGION, STATES[self.move]]
        begin = time.monotonic()
        subprocess.run(command, env=ansible_environment(self.setting.url), check=True)
        return time.monotonic() - begin


def run(setting: Setting) -> Result:
    control = HttpControl(setting.url)
    control.reset()
    control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    store_id = control.create_store(custom_key_store_name=STORE)
    player = Player(setting.url, setting.folder)
    works = {
        name: Work(setting, player, control, store_id, move, needed)
        for name, move, needed in (
            ("nothing to do", "disconnect", False),
            ("disconnect", "disconnect", True),
            ("connect", "connect", True),
        )
    }
    field = {(name, contender): run for name, work in works.items() for contender, run in work.contenders().items()}
    rounds = 1 if setting.quick else ROUNDS
    measured = in_rounds(field, rounds)
    by_work = {
        name: {contender: measured[work, contender] for work, contender in field if work == name} for name in works
    }
    return Result(
        title="One task",
        text=f"""
The time in seconds from the start of a task to its result. State transitions take no time here, so the figures show
what is added to the time that KMS needs. There are {rounds} rounds. In each round, each contender does each work
once, in its own run of ``ansible-playbook``. The start and the end of that run do not count.

All contenders for a work send the same requests to KMS: they describe the store, connect or disconnect it if
necessary, and poll until it reaches the state. The tasks with the AWS CLI are in
``dev/benchmark/move_with_aws_cli.yml``. ``kms_key_info`` runs in an account without keys, which is the lowest cost
of a task of ``amazon.aws`` with a request. ``ping`` shows the cost of Ansible itself. The script shows the cost of
Python, boto3 and KMS.
""",
        header=("work", "contender", "seconds", "seconds above ping", "times as long as keyops.aws"),
        rows=[row for name, seconds in by_work.items() for row in _rows(name, seconds, by_work["nothing to do"][PING])],
        goals=_goals(by_work),
    )


def _rows(name: str, seconds: Mapping[str, list[float]], ping: Sequence[float]) -> list[Row]:
    rows: list[Row] = []
    for contender, values in seconds.items():
        above = spread([value - floor for value, floor in zip(values, ping, strict=True)], 2)
        times = spread(ratios(values, seconds[OURS]), 2)
        above_cell = "" if contender in (PING, LIMIT) else above
        rows.append((name, contender, spread(values, 2), above_cell, "" if contender == OURS else times))
    return rows


def _goals(by_work: Mapping[str, Mapping[str, list[float]]]) -> list[Goal]:
    idle = by_work["nothing to do"]
    above = {name: [value - ping for value, ping in zip(idle[name], idle[PING], strict=True)] for name in (OURS, INFO)}
    share = ratios(above[OURS], above[INFO])
    goals = [
        Goal(
            "A task with nothing to do costs no more above ``ping`` than ``amazon.aws.kms_key_info``.",
            f"{spread(share, 2)} times as much",
            statistics.median(share) <= 1,
        )
    ]
    for move in ("disconnect", "connect"):
        faster = ratios(by_work[move][CLI], by_work[move][OURS])
        goals.append(
            Goal(
                f"A {move} is at least {MIN_SPEEDUP} times as fast as the tasks with the AWS CLI.",
                f"{spread(faster, 2)} times",
                statistics.median(faster) >= MIN_SPEEDUP,
            )
        )
    return goals
