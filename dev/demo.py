# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a maintenance window over three custom key stores of the emulator, and another window whose play is killed.

Usage: python -m dev.demo [KEY_STORE]. With the name of a key store, the same window runs in your own AWS account, with
your own credentials and without the emulator.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3

from dev.environment import BIN
from dev.environment import ROOT
from dev.environment import ansible_environment
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl

DISCONNECT_SECONDS = 1
CONNECT_SECONDS = 2
STORES = {"payments": "AWS_CLOUDHSM", "ledger": "AWS_CLOUDHSM", "invoices": "EXTERNAL_KEY_STORE"}

PROGRESS_SECONDS = 1


def command(*arguments: str) -> list[str]:
    """Print and return the command for a window."""
    words = ["ansible-playbook", "playbooks/window.yml", *arguments]
    print(f"$ {' '.join(words)}", flush=True)
    return [str(BIN / words[0]), *words[1:]]


def window(environment: dict[str, str], *arguments: str) -> int:
    """Run a window with its output on the terminal. Returns its exit code."""
    with subprocess.Popen(command(*arguments), env=environment, cwd=ROOT) as playbook:
        try:
            return playbook.wait()
        except KeyboardInterrupt:
            playbook.wait()  # Ctrl-C reaches ansible-playbook as well: wait until it ends
            raise


def killed_window(environment: dict[str, str], working: Path, *arguments: str) -> None:
    """Run a window, and kill it after its work has begun."""
    with subprocess.Popen(command(*arguments), env=environment, cwd=ROOT, start_new_session=True) as playbook:
        try:
            while not working.exists() and playbook.poll() is None:
                time.sleep(0.1)
        finally:
            os.killpg(playbook.pid, signal.SIGKILL)
    print("\nansible-playbook was killed with SIGKILL, with all that it had started.\n", flush=True)


def watch(environment: dict[str, str]) -> bool:
    """Print each state change until all stores are CONNECTED. Returns whether they were within a minute."""
    kms = boto3.client(
        "kms",
        endpoint_url=environment["AWS_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    began, states = time.monotonic(), dict.fromkeys(STORES, "")
    while set(states.values()) != {"CONNECTED"} and time.monotonic() < began + 60:
        for store in kms.describe_custom_key_stores()["CustomKeyStores"]:
            name, state = store["CustomKeyStoreName"], store["ConnectionState"]
            if states[name] != state:
                states[name] = state
                print(f"  {time.monotonic() - began:4.1f} s  {name:8}  {state}", flush=True)
        time.sleep(0.2)
    return set(states.values()) == {"CONNECTED"}


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


def print_requests(control: HttpControl) -> None:
    """Print the operations that KMS received, and how often."""
    operations = [request["operation"] for request in control.requests()]
    print("\nRequests to KMS:")
    for operation in dict.fromkeys(operations):
        print(f"  {operation} ({operations.count(operation)})")


def demo(folder: Path) -> int:
    """Run two windows against an emulator in this process, so that it always ends with the process."""
    with EmulatorServer() as server:
        control = HttpControl(server.url)
        create_stores(control)
        environment = {
            **ansible_environment(server.url),
            "HOME": str(folder),
            "ANSIBLE_FORCE_COLOR": str(sys.stdout.isatty() or "FORCE_COLOR" in os.environ),
        }
        print(
            f"An emulated AWS KMS is at {server.url}. It has three custom key stores that are CONNECTED: payments and ledger"
            f"\nin AWS CloudHSM, and invoices in an external key manager. Each takes {DISCONNECT_SECONDS} second to disconnect"
            f" and {CONNECT_SECONDS} seconds\nto connect (in AWS it takes minutes).\n"
        )
        variables = {
            "key_stores": [{"name": name} for name in STORES],
            "tasks_file": str(ROOT / "dev" / "demo_work.yml"),
            "keyops_aws_progress_seconds": PROGRESS_SECONDS,
        }
        (folder / "window.json").write_text(json.dumps(variables))
        working = folder / "working"
        (folder / "slow.json").write_text(json.dumps({"working": str(working)}))
        ours, slow = ("-e", f"@{folder / 'window.json'}"), ("-e", f"@{folder / 'slow.json'}")
        try:
            exit_code = window(environment, *ours)
            print_requests(control)
            print("\nThe same window again. This time, ansible-playbook is killed while its tasks run.\n", flush=True)
            killed_window(environment, working, *ours, *slow)
            print(
                "A small process that is still running on this machine, the keeper, reconnects the key stores:",
                flush=True,
            )
            exit_code = exit_code or (0 if watch(environment) else 1)
            print("\nThe next window says what happened:\n", flush=True)
            exit_code = exit_code or window(environment, *ours, "--tags", "preflight")
        finally:
            wait_for_keepers(folder)
    print("\nThe emulator is gone. To see a window on a key store of your own AWS account: make demo KEY_STORE=name")
    return exit_code


def wait_for_keepers(folder: Path) -> None:
    """Wait until keepers end: after Ctrl-C, they still have to reconnect the stores before the emulator ends."""
    for _turn in range(300):
        if not list(folder.glob(".ansible_async/keyops-aws-*")):
            return
        time.sleep(0.1)


def main(arguments: list[str]) -> int:
    if arguments:
        return window(dict(os.environ), "-e", f"key_store={arguments[0]}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return demo(Path(folder))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
