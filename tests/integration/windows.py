# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows on a host of their own: run, killed, and looked after."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.environment import BIN
from tests.integration.harness import Ansible

CONNECT, DISCONNECT = "ConnectCustomKeyStore", "DisconnectCustomKeyStore"
ROLE = "keyops.aws.key_store_maintenance"
PREFIX = "key_store_maintenance_"

PATIENCE = 60
"""Seconds in which a store must be back when its play is gone."""

Tasks = list[dict[str, Any]]


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for it. Raises AssertionError if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, condition
        time.sleep(0.05)


@dataclass
class Place:
    """A host with key stores of its own, on which windows are run.

    Attributes:
        ansible: see there.
        ids: of the stores by name.
    """

    ansible: Ansible
    ids: dict[str, str] = field(default_factory=dict)

    def store(self, name: str = "payments") -> None:
        control = self.ansible.control
        self.ids[name] = control.create_store(
            custom_key_store_name=name,
            connection_state="CONNECTED",
            parameters={"CloudHsmClusterId": control.create_cluster()},
        )

    def write(self, name: str, content: Any) -> Path:
        path = self.ansible.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    def window(
        self, work: Tasks, *, before: Tasks | None = None, play: dict[str, Any] | None = None, **options: Any
    ) -> str:
        """Write the playbook of a window over all stores. Returns its path."""
        self.write("work.yml", work)
        own = {
            f"{PREFIX}stores": [{"name": name} for name in self.ids],
            f"{PREFIX}tasks_file": "work.yml",
            **{f"{PREFIX}{name}": value for name, value in options.items()},
        }
        role = {"name": "Window", "ansible.builtin.import_role": {"name": ROLE}, "vars": own}
        content = {
            "name": "Test",
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [*(before or []), role],
            **(play or {}),
        }
        return str(self.write("window.yml", [content]))

    @contextlib.contextmanager
    def playing(
        self, *arguments: str, expected: int | None = None, output: str = "output"
    ) -> Iterator[subprocess.Popen[bytes]]:
        """ansible-playbook in a process group of its own, which has ended afterwards. Its output goes to that file."""
        with (
            (self.ansible.folder / output).open("wb") as reported,
            subprocess.Popen(
                [str(BIN / "ansible-playbook"), *arguments],
                env=self.ansible.environment,
                cwd=self.ansible.folder,
                stdin=subprocess.DEVNULL,
                stdout=reported,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as playing,
        ):
            try:
                yield playing
                playing.wait(120)
            except BaseException:
                os.killpg(playing.pid, signal.SIGKILL)  # else it would be waited for
                raise
        if expected is not None:
            assert playing.returncode == expected, self.output_of(output)

    def play(self, *arguments: str) -> int:
        """Run ansible-playbook to its end. Returns the exit code."""
        with self.playing(*arguments) as playing:
            pass
        return int(playing.returncode)

    @property
    def output(self) -> str:
        return self.output_of("output")

    def output_of(self, name: str) -> str:
        """What a run has told, on one line."""
        return " ".join((self.ansible.folder / name).read_text().split())

    def asked_for(self, operation: str) -> int:
        """How often KMS was asked for it."""
        return [request["operation"] for request in self.ansible.control.requests()].count(operation)

    def state(self, name: str = "payments") -> str:
        answer = self.ansible.kms().describe_custom_key_stores(CustomKeyStoreName=name)
        return str(answer["CustomKeyStores"][0]["ConnectionState"])

    def is_back(self) -> bool:
        return {self.state(name) for name in self.ids} == {"CONNECTED"}

    def process_ids(self) -> list[int]:
        """The processes of this collection that have the home of this test."""
        home = f"HOME={self.ansible.environment['HOME']}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                of_home = home in (path / "environ").read_bytes().split(b"\0")
                if of_home and "_custom_key_store" in (path / "cmdline").read_text():
                    found.append(int(path.name))
        return found

    def cluster(self) -> str:
        (store,) = self.ansible.kms().describe_custom_key_stores()["CustomKeyStores"]
        return str(store["CloudHsmClusterId"])

    def left_behind(self) -> list[str]:
        """The files of this collection in the home, but for what a keeper tells the next run."""
        home = Path(self.ansible.environment["HOME"])
        files = [
            path
            for folder in (".keyops-aws", ".ansible_async")
            for path in (home / folder).rglob("*")
            if path.is_file()
        ]
        return [str(path.relative_to(home)) for path in files if path.suffix != ".report"]

    def assert_back(self) -> None:
        """The stores are back, nothing that could take them out again is left, and nothing else."""
        until(self.is_back)
        until(lambda: not self.process_ids(), 20)
        assert self.left_behind() == []
        assert self.is_back()

    def reports(self) -> list[dict[str, Any]]:
        """What keepers have left for the next run."""
        folder = Path(self.ansible.environment["HOME"]) / ".keyops-aws" / "maintenance"
        return [json.loads(path.read_text()) for path in folder.glob("*.report")]


def long(value: Any) -> Any:
    """A value with which a test is one of C(make long)."""
    return pytest.param(value, marks=pytest.mark.long)


def shell(script: str) -> dict[str, Any]:
    return {"name": "Work", "ansible.builtin.shell": script}


SLOW = shell("touch working; sleep 60")
UNTIL_DONE = shell("touch working; until [ -e done ]; do sleep 0.1; done")


def meta(what: str) -> dict[str, Any]:
    return {"name": "End", "ansible.builtin.meta": what}


LOST = {
    "name": "Work elsewhere",
    "ansible.builtin.ping": {},
    "delegate_to": "host.invalid",
    "vars": {"ansible_connection": "ssh", "ansible_ssh_executable": "/bin/false"},
}
