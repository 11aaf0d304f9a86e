# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Duration of a window by the number of custom key stores, compared with sequential processing."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from dev.benchmark.measuring import Goal
from dev.benchmark.measuring import Result
from dev.benchmark.measuring import Setting
from dev.benchmark.measuring import in_rounds
from dev.benchmark.measuring import ratios
from dev.benchmark.measuring import spread
from dev.benchmark.playing import WITH_AWS_CLI
from dev.benchmark.playing import Player
from dev.benchmark.playing import Task
from dev.benchmark.playing import module
from dev.benchmark.playing import with_aws_cli
from dev.environment import ROOT
from kms_emulator import HttpControl

COUNTS = (1, 4, 12, 40)
ROUNDS = 3
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1")
CONNECT_SECONDS = 20.0
DISCONNECT_SECONDS = 1.0
MOVES = ("disconnect", "connect")

GOALS = {12: 1.5, 40: 3.0}
"""Maximum ratio to the duration with one store, by the number of stores."""


@dataclass(frozen=True)
class Window:
    """A window over some stores. Name: the prefix of their names."""

    setting: Setting
    name: str
    count: int

    @property
    def stores(self) -> list[dict[str, str]]:
        """Name and Region of each store, in all Regions in turn."""
        return [
            {"name": f"{self.name}-{number}", "region": REGIONS[number % len(REGIONS)]} for number in range(self.count)
        ]

    def create(self) -> None:
        """Create the stores, connected to healthy clusters."""
        for store in self.stores:
            control = HttpControl(self.setting.url, region_name=store["region"])
            backing = {"CloudHsmClusterId": control.create_cluster()}
            control.create_store(custom_key_store_name=store["name"], connection_state="CONNECTED", parameters=backing)

    @property
    def _player(self) -> Player:
        folder = self.setting.folder / self.name
        folder.mkdir(exist_ok=True)
        return Player(self.setting.url, folder)

    def role(self) -> float:
        """Return the seconds of a window with the role."""
        memory = self.setting.folder / self.name / "memory"
        variables = {"key_stores": self.stores, "key_store_maintenance_memory": str(memory)}
        return self._player.run(ROOT / "playbooks" / "window.yml", variables).seconds

    def loop(self) -> float:
        """Return the seconds of a window with a loop over tasks that wait."""
        tasks = [{**module(move, "{{ item.name }}", "{{ item.region }}"), "loop": self.stores} for move in MOVES]
        return self._player.play(tasks).seconds

    def cli(self) -> float:
        """Return the seconds of a window with the AWS CLI."""
        tasks: list[Task] = [
            {
                "ansible.builtin.include_tasks": str(WITH_AWS_CLI),
                "vars": with_aws_cli(move, "{{ each.name }}", "{{ each.region }}"),
                "loop": self.stores,
                "loop_control": {"loop_var": "each"},
            }
            for move in MOVES
        ]
        return self._player.play(tasks).seconds


def run(setting: Setting) -> Result:
    counts = COUNTS[:2] if setting.quick else COUNTS
    rounds = 1 if setting.quick else ROUNDS
    connect_seconds = 1.0 if setting.quick else CONNECT_SECONDS
    _reset(setting, connect_seconds)
    role = in_rounds({count: partial(_with_role, setting, connect_seconds, count) for count in counts}, rounds)
    sequential = _sequential(setting, counts, connect_seconds)
    return Result(
        title="A window",
        text=f"""
The duration of a window in seconds. Each store needs {connect_seconds:.0f} s to connect and {DISCONNECT_SECONDS:.0f}
s to disconnect. The stores are spread over {len(REGIONS)} Regions, and each Region accepts five requests of a kind
per second, like KMS. The role ``keyops.aws.key_store_maintenance`` is compared with two alternatives that process one
store after the other. Both do less: they do not check first whether all stores can be reconnected, and they do not
verify afterwards that the stores work. One is a loop over ``keyops.aws.kms_custom_key_store``, which waits for each
store. The other runs the tasks with the AWS CLI.

There are {rounds} rounds for the role. The alternatives take long and mostly wait, so they are measured once, three
of them at the same time. The ratio to the duration with one store is in brackets.
""",
        header=("stores", "role", "to one store", "loop", "AWS CLI"),
        rows=[_row(count, role, sequential) for count in counts],
        goals=[_goal(count, most, role) for count, most in GOALS.items() if count in counts],
    )


def _reset(setting: Setting, connect_seconds: float) -> None:
    for region in REGIONS:
        control = HttpControl(setting.url, region_name=region)
        control.reset()
        control.set_rule("custom_key_store_quota", 1000)
        for operation in ("DescribeCustomKeyStores", "DisconnectCustomKeyStore", "ConnectCustomKeyStore"):
            control.set_quota(operation, 5.0)
    control.set_transitions(connect_seconds=connect_seconds, disconnect_seconds=DISCONNECT_SECONDS)


def _with_role(setting: Setting, connect_seconds: float, count: int) -> float:
    _reset(setting, connect_seconds)
    window = Window(setting, f"role-of-{count}", count)
    window.create()
    return window.role()


def _sequential(setting: Setting, counts: Sequence[int], connect_seconds: float) -> Mapping[tuple[str, int], float]:
    """Return the seconds of each sequential alternative, by its kind and the number of stores.

    Three processes run at the same time, longest first. They mostly sleep.
    """
    _reset(setting, connect_seconds)
    runs: dict[tuple[str, int], Callable[[], float]] = {}
    for kind in ("loop", "cli"):
        for count in counts:
            window = Window(setting, f"{kind}-of-{count}", count)
            window.create()
            runs[kind, count] = window.loop if kind == "loop" else window.cli
    with ThreadPoolExecutor(3) as pool:  # runs in this order
        longest_first = sorted(runs, key=lambda each: -each[1])
        futures = {each: pool.submit(runs[each]) for each in longest_first}
        return {each: future.result() for each, future in futures.items()}


def _row(count: int, role: Mapping[int, Sequence[float]], sequential: Mapping[tuple[str, int], float]) -> list[str]:
    others = [
        f"{sequential[kind, count]:.0f} ({sequential[kind, count] / sequential[kind, COUNTS[0]]:.1f})"
        for kind in ("loop", "cli")
    ]
    return [str(count), spread(role[count], 1), spread(ratios(role[count], role[COUNTS[0]]), 2), *others]


def _goal(count: int, most: float, role: Mapping[int, Sequence[float]]) -> Goal:
    times = ratios(role[count], role[COUNTS[0]])
    return Goal(
        f"A window over {count} stores takes at most {most} times as long as one over a single store.",
        f"{spread(times, 2)} times",
        statistics.median(times) <= most,
    )
