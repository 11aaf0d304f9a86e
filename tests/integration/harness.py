# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-playbook against the emulator's HTTP server: the way that a user goes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from dev.environment import BIN
from kms_emulator import HttpControl

MODULE = "keyops.aws.kms_custom_key_store"
INFO_MODULE = "keyops.aws.kms_custom_key_store_info"
GROUP_MODULE = "keyops.aws.kms_custom_key_stores"
KEY_MODULE = "keyops.aws.kms_custom_key_store_key"

WAIT_FOR_BEGUN: dict[str, Any] = {
    "name": "Wait",
    "ansible.builtin.async_status": {"jid": "{{ begun.ansible_job_id }}"},
    "register": "ended",
    "until": "ended is finished",
    "retries": 60,
    "delay": 1,
}
"""A task that waits for the one with C(async) that was registered as C(begun)."""


@dataclass
class PlaybookRun:
    """What one run of ansible-playbook left behind."""

    exit_code: int
    output: str


@dataclass
class Ansible:
    """Runs playbooks in a folder of their own.

    Attributes:
        folder: for playbooks and results; Ansible's working directory.
        control: steers the emulator.
        environment: of ansible-playbook.
        output: of the last run.
    """

    folder: Path
    control: HttpControl
    environment: dict[str, str]
    output: str = ""

    def kms(self, region: str = "us-east-1") -> Any:
        """A boto3 client for the emulator, for what no task does."""
        return boto3.client(
            "kms",
            endpoint_url=self.environment["AWS_URL"],
            region_name=region,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def playbook(self, tasks: list[dict[str, Any]], *arguments: str) -> PlaybookRun:
        """Run these tasks in one play on localhost."""
        play = {"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
        path = self.folder / "playbook.yml"
        path.write_text(json.dumps([play]))  # JSON is YAML
        return self.run(str(path), *arguments)

    def run(self, *arguments: str) -> PlaybookRun:
        """Run ansible-playbook with these arguments."""
        command = [str(BIN / "ansible-playbook"), *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, text=True, capture_output=True, timeout=120, check=False
        )
        self.output = done.stdout + done.stderr
        return PlaybookRun(done.returncode, self.output)

    def module(
        self, *arguments: str, module: str = MODULE, variables: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Run one task with a module and return its result; the emulator's log then has its requests."""
        (result,) = self.results([{module: options, "vars": variables or {}}], *arguments)
        return result

    def results(self, tasks: list[dict[str, Any]], *arguments: str) -> list[dict[str, Any]]:
        """Run tasks in one play, also where one fails, and return their results; the emulator's log then has their requests."""
        self.control.clear_requests()
        path = self.folder / "results.json"
        names = [f"result_{number}" for number in range(len(tasks))]
        tried = [
            {"name": "Try", **task, "register": name, "ignore_errors": True}
            for name, task in zip(names, tasks, strict=True)
        ]
        kept = f"{{{{ [{', '.join(names)}] | to_json | written_to('{path}') }}}}"
        done = self.playbook([*tried, {"name": "Keep the results", "ansible.builtin.debug": {"msg": kept}}], *arguments)
        assert done.exit_code == 0, done.output
        results: list[dict[str, Any]] = json.loads(path.read_text())
        return results

    def kill_all(self) -> None:
        """SIGKILL for each process of this test's home: the controller, and what goes on in the background."""
        home = f"HOME={self.environment['HOME']}".encode()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if home in (path / "environ").read_bytes().split(b"\0"):
                    os.kill(int(path.name), signal.SIGKILL)

    @property
    def calls(self) -> list[str]:
        """The KMS operations of the last run, in order, each run of looks told once."""
        calls = [request["operation"] for request in self.control.requests()]
        return [call for call, before in zip(calls, ["", *calls]) if call != before]

    @property
    def request_count(self) -> int:
        return len(self.control.requests())
