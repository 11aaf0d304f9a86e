# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a maintenance window on a custom key store of the emulator, and what KMS was asked for meanwhile.

Usage: python -m tests.demo [KEY_STORE]. With the name of a key store, the same window runs on your own AWS account, with
your own credentials, and no emulator.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.emulator import EmulatorServer
from tests.emulator import HttpControl
from tests.environment import BIN
from tests.environment import ROOT
from tests.environment import ansible_environment

SECONDS = {"connect_seconds": 4.0, "disconnect_seconds": 2.0}


def window(key_store: str, environment: dict[str, str], *more: str) -> int:
    """Run the playbook of a first window; its output goes to the terminal, its exit code is returned."""
    command = ["ansible-playbook", "playbooks/first_window.yml", "-e", f"key_store={key_store}", *more]
    print(f"$ {' '.join(command)}", flush=True)
    with subprocess.Popen([str(BIN / command[0]), *command[1:]], env=environment, cwd=ROOT) as playbook:
        try:
            return playbook.wait()
        except KeyboardInterrupt:
            playbook.wait()  # Ctrl-C reaches ansible-playbook as well: let it end by itself
            raise


def tell_requests(control: HttpControl) -> None:
    """Print what KMS was asked for since the last time; looks at the same store that follow each other in one line."""
    print("\nWhat KMS was asked for:")
    requests = [request["operation"] for request in control.requests()]
    while requests:
        count = next((index for index, each in enumerate(requests) if each != requests[0]), len(requests))
        print(f"  {requests[0]}" + (f"  ({count} times)" if count > 1 else ""))
        requests = requests[count:]
    control.clear_requests()
    print()


def demo() -> int:
    """Two windows on the emulator, which lives in this process and so ends with it, however that ends."""
    with EmulatorServer() as server:
        control = HttpControl(server.url)
        control.set_transitions(**SECONDS)
        control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
        environment = {**ansible_environment(server.url), "ANSIBLE_FORCE_COLOR": str(sys.stdout.isatty())}
        print(
            f"An emulated AWS KMS is at {server.url}. It has one custom key store, payments, which is CONNECTED;"
            f"\nto disconnect takes it {SECONDS['disconnect_seconds']:.0f} seconds, and to connect"
            f" {SECONDS['connect_seconds']:.0f} (in AWS it takes minutes).\n"
        )
        print("== A maintenance window: disconnect, work, connect again")
        first = window("payments", environment)
        tell_requests(control)
        print("== The connecting part once more: there is nothing to do, and nothing is changed")
        second = window("payments", environment, "--tags", "connect")
        tell_requests(control)
    print("The emulator is gone. To see it on a store of your own AWS account: make demo KEY_STORE=name")
    return first or second


if __name__ == "__main__":
    try:
        sys.exit(window(sys.argv[1], dict(os.environ)) if len(sys.argv) > 1 else demo())
    except KeyboardInterrupt:
        sys.exit(130)
