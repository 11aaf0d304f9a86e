# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a window takes with 1 and with 12 custom key stores, each of which takes 20 seconds to connect.

Usage: python -m tests.benchmark.window [STORES ...]. The whole of ansible-playbook is measured, its start included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.emulator import EmulatorServer
from tests.emulator import HttpControl
from tests.environment import BIN
from tests.environment import ROOT
from tests.environment import ansible_environment

CONNECT_SECONDS = 20.0
GOAL = 1.5
"""How many times as long as with one store a window with twelve may take."""


def measure(url: str, count: int, folder: Path) -> float:
    """Seconds that a window over so many stores takes."""
    control = HttpControl(url)
    control.reset()
    control.set_rule("custom_key_store_quota", max(count, 10))
    control.set_transitions(connect_seconds=CONNECT_SECONDS, disconnect_seconds=1)
    for operation in ("DescribeCustomKeyStores", "DisconnectCustomKeyStore", "ConnectCustomKeyStore"):
        control.set_quota(operation, 5.0)
    names = [f"store-{number}" for number in range(count)]
    for name in names:
        backing = {"CloudHsmClusterId": control.create_cluster()}
        control.create_store(custom_key_store_name=name, connection_state="CONNECTED", parameters=backing)
    variables = {
        "key_stores": [{"name": name} for name in names],
        "key_store_maintenance_memory": str(folder / "memory"),
    }
    command = [str(BIN / "ansible-playbook"), "playbooks/window.yml", "-e", json.dumps(variables)]
    environment = {**ansible_environment(url), "ANSIBLE_ASYNC_DIR": str(folder / "jobs")}
    begin = time.perf_counter()
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - begin


def main(counts: Sequence[int]) -> int:
    """Measure each count of stores, and print it next to one store, and to one store after the other."""
    print(f"A window whose connects take {CONNECT_SECONDS:.0f} s each, with five requests of a kind a second")
    print(f"{'stores':>8} {'window':>10} {'next to one':>12} {'connects in a row':>18}")
    with EmulatorServer() as server, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        seconds = {count: measure(server.url, count, Path(folder)) for count in counts}
    for count, taken in seconds.items():
        print(f"{count:>8} {taken:>8.1f} s {taken / seconds[counts[0]]:>12.2f} {count * CONNECT_SECONDS:>16.0f} s")
    print(f"Goal: twelve stores in at most {GOAL} times the time of one.")
    return 0 if seconds.get(12, 0) <= GOAL * seconds[counts[0]] else 1


if __name__ == "__main__":
    sys.exit(main([int(each) for each in sys.argv[1:]] or [1, 12]))
