# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Added unavailability of the stores of a window: in addition to the time for KMS and for the work."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from dev.benchmark.measuring import Goal
from dev.benchmark.measuring import Result
from dev.benchmark.measuring import Setting
from dev.benchmark.measuring import in_rounds
from dev.benchmark.measuring import spread
from dev.benchmark.playing import Player
from dev.benchmark.window import REGIONS
from dev.environment import ROOT
from kms_emulator import HttpControl

ROUNDS = 5
CONNECT_SECONDS = 3.0
DISCONNECT_SECONDS = 2.0
QUOTA = 5.0
CONNECT, DISCONNECT = "ConnectCustomKeyStore", "DisconnectCustomKeyStore"
WORK = "Work of two seconds"


@dataclass(frozen=True)
class Window:
    """A window over some stores.

    Attributes:
        count: number of stores.
        regions: number of Regions.
        protection: what would reconnect the stores: one of PROTECTIONS.
    """

    count: int
    regions: int
    protection: str

    @property
    def stores(self) -> list[dict[str, str]]:
        return [{"name": f"store-{number}", "region": REGIONS[number % self.regions]} for number in range(self.count)]

    def added_seconds(self, setting: Setting) -> float:
        """Return the added unavailability of the worst store, in seconds."""
        controls = {region: HttpControl(setting.url, region_name=region) for region in REGIONS[: self.regions]}
        for control in controls.values():
            control.reset()
            control.set_rule("custom_key_store_quota", 1000)
            for operation in ("DescribeCustomKeyStores", DISCONNECT, CONNECT):
                control.set_quota(operation, QUOTA)
        control.set_transitions(connect_seconds=CONNECT_SECONDS, disconnect_seconds=DISCONNECT_SECONDS)
        for store in self.stores:
            control = controls[store["region"]]
            backing = {"CloudHsmClusterId": control.create_cluster()}
            control.create_store(custom_key_store_name=store["name"], connection_state="CONNECTED", parameters=backing)
        work = setting.folder / "work.yml"
        work.write_text(json.dumps([{"name": WORK, "ansible.builtin.command": "sleep 2"}]))
        variables = {
            "key_stores": self.stores,
            "tasks_file": str(work),
            "key_store_maintenance_keeper": self.protection != NEITHER,
        }
        if self.protection == LEASE:
            variables["key_store_maintenance_lease_role_arn"] = controls[REGIONS[0]].create_schedule_role()
        played = Player(setting.url, setting.folder).run(ROOT / "playbooks" / "window.yml", variables)
        began, ended = played.tasks[f"keyops.aws.key_store_maintenance : {WORK}"]
        time.sleep(0.2)  # wait for the end of the keeper
        needed = DISCONNECT_SECONDS + ended - began
        return max(seconds for control in controls.values() for seconds in _outages(control)) - needed


def _outages(control: HttpControl) -> list[float]:
    """Return the seconds from the disconnect request of each store to its connect request."""
    times: dict[str, dict[str, float]] = {}
    for request in control.requests():
        if request["operation"] in (CONNECT, DISCONNECT) and request["applied"]:
            times.setdefault(request["parameters"]["CustomKeyStoreId"], {})[request["operation"]] = request["time"]
    return [each[CONNECT] - each[DISCONNECT] for each in times.values()]


KEEPER, LEASE, NEITHER = "with the keeper", "with the keeper and a lease in AWS", "with neither"
PROTECTIONS = (KEEPER, LEASE, NEITHER)

MAX_LEASE_SECONDS = 0.3
"""Maximum seconds that a lease in AWS adds."""

WINDOWS = {
    "1": (1, 1, 0.6),
    "10, in one Region": (10, 1, 3.0),
    "40, in four Regions": (40, 4, 3.0),
}
"""Number of stores, number of Regions, and maximum added seconds."""


def run(setting: Setting) -> Result:
    chosen = list(WINDOWS.items())[: 1 if setting.quick else None]
    contenders = {
        (name, protection): partial(Window(count, regions, protection).added_seconds, setting)
        for name, (count, regions, _most) in chosen
        for protection in PROTECTIONS
    }
    added = in_rounds(contenders, 1 if setting.quick else ROUNDS)
    return Result(
        title="Added unavailability",
        text=f"""
The number of seconds that the worst store of a window is out of service for longer than necessary. The necessary time
consists of the time that KMS takes to disconnect the store ({DISCONNECT_SECONDS:.0f} s here), the maintenance tasks,
and the time that KMS takes to connect it. The added time consists of the wait for the other stores, the time until
the end of the disconnect is detected, and the overhead of Ansible and the collection between these steps. Each Region
accepts {QUOTA:.0f} requests of a kind per second, like KMS.

There are {ROUNDS} rounds: with the keeper, with a lease in AWS in addition, and with neither. The figures are
calculated from the times of the requests at the emulator.
""",
        header=("stores", *PROTECTIONS),
        rows=[[name, *(spread(added[name, protection], 2) for protection in PROTECTIONS)] for name, _window in chosen],
        goals=[goal for name, (_count, _regions, most) in chosen for goal in _goals(name, most, added)],
    )


def _goals(name: str, most: float, added: dict[tuple[str, str], list[float]]) -> Sequence[Goal]:
    ours, leased, without = (statistics.median(added[name, protection]) for protection in PROTECTIONS)
    return [
        Goal(f"Stores: {name}. At most {most} s.", f"{ours:.2f} s", ours <= most),
        Goal(
            f"Stores: {name}. No more with the keeper than without.",
            f"{ours:.2f} s and {without:.2f} s",
            ours <= without,
        ),
        Goal(
            f"Stores: {name}. A lease in AWS adds at most {MAX_LEASE_SECONDS} s.",
            f"{leased - ours:.2f} s",
            leased - ours <= MAX_LEASE_SECONDS,
        ),
    ]
