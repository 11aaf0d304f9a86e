# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a maintenance window over three custom key stores of the emulator, and what KMS was asked for meanwhile.

Usage: python -m tests.demo [KEY_STORE]. With the name of a key store, the same window runs on your own AWS account, with
your own credentials, and no emulator.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.emulator import EmulatorServer
from tests.emulator import HttpControl
from tests.environment import BIN
from tests.environment import ROOT
from tests.environment import ansible_environment

DISCONNECT_SECONDS = 2
CONNECT_SECONDS = 7
STORES = {"payments": "AWS_CLOUDHSM", "ledger": "AWS_CLOUDHSM", "invoices": "EXTERNAL_KEY_STORE"}

PROGRESS_SECONDS = 3


def window(environment: dict[str, str], *variables: str) -> int:
    """Run a window; its output goes to the terminal, its exit code is returned."""
    command = ["ansible-playbook", "playbooks/window.yml", *(word for each in variables for word in ("-e", each))]
    print(f"$ {' '.join(command)}", flush=True)
    with subprocess.Popen([str(BIN / command[0]), *command[1:]], env=environment, cwd=ROOT) as playbook:
        try:
            return playbook.wait()
        except KeyboardInterrupt:
            playbook.wait()  # Ctrl-C reaches ansible-playbook as well: let it end by itself
            raise


def create_stores(control: HttpControl) -> None:
    control.set_transitions(connect_seconds=CONNECT_SECONDS, disconnect_seconds=DISCONNECT_SECONDS)
    for name, store_type in STORES.items():
        backing = {"CloudHsmClusterId": control.create_cluster()} if store_type == "AWS_CLOUDHSM" else {}
        control.create_store(
            custom_key_store_name=name,
            custom_key_store_type=store_type,
            connection_state="CONNECTED",
            parameters=backing,
        )


def tell_requests(control: HttpControl) -> None:
    """Print what KMS was asked to change, and how often it was asked for the states."""
    operations = [request["operation"] for request in control.requests()]
    print("\nWhat KMS was asked for:")
    for operation in dict.fromkeys(operations):
        print(f"  {operation} ({operations.count(operation)})")


def demo(folder: Path) -> int:
    """A window on the emulator, which lives in this process and so ends with it, however that ends."""
    with EmulatorServer() as server:
        control = HttpControl(server.url)
        create_stores(control)
        environment = {
            **ansible_environment(server.url),
            "ANSIBLE_FORCE_COLOR": str(sys.stdout.isatty() or "FORCE_COLOR" in os.environ),
            "ANSIBLE_ASYNC_DIR": str(folder / "jobs"),
        }
        print(
            f"An emulated AWS KMS is at {server.url}. It has three custom key stores that are CONNECTED: payments and ledger"
            f"\nin AWS CloudHSM, and invoices in an external key manager. To disconnect takes each {DISCONNECT_SECONDS} seconds,"
            f" and to connect {CONNECT_SECONDS}\n(in AWS it takes minutes).\n"
        )
        variables = {
            "key_stores": [{"name": name} for name in STORES],
            "tasks_file": str(ROOT / "tests" / "demo_work.yml"),
            "key_store_maintenance_memory": str(folder / "memory"),
            "keyops_aws_progress_seconds": PROGRESS_SECONDS,
        }
        (folder / "window.json").write_text(json.dumps(variables))
        try:
            exit_code = window(environment, f"@{folder / 'window.json'}")
        finally:
            until_no_job_runs(folder / "jobs")
        tell_requests(control)
    print("\nThe emulator is gone. To see a window on a key store of your own AWS account: make demo KEY_STORE=name")
    return exit_code


def until_no_job_runs(jobs: Path) -> None:
    """After Ctrl-C, what a task has begun goes on in the background: let it end before the emulator does."""
    for _turn in range(300):
        if not any('"finished": false' in job.read_text() for job in jobs.glob("j*") if job.suffix != ".tmp"):
            return
        time.sleep(0.1)


def main(arguments: list[str]) -> int:
    if arguments:
        return window(dict(os.environ), f"key_store={arguments[0]}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return demo(Path(folder))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
