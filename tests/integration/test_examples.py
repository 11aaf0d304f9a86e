# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of how users test their own playbooks with the emulator: each is copied, and run as a user would run it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from dev.environment import BIN
from dev.environment import ROOT

EXAMPLES = ROOT / "tests" / "examples"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples elsewhere, as a user makes one."""
    copy = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return copy


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's environment, with the tools of this one, and nothing of the test run around."""
    foreign = ("AWS_", "ANSIBLE_", "MOLECULE_", "PYTEST_", "PYTHON")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**own, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), "NO_COLOR": "1"}


def run(environment: dict[str, str], folder: Path, *command: str) -> tuple[str, str]:
    """The output of a command that must succeed, and what it wrote to standard error."""
    done = subprocess.run(
        command, env=environment, cwd=folder, text=True, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def nobody_listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(10)
        return client.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.long
def test_pytest(environment: dict[str, str], examples: Path) -> None:
    output, _ignored = run(environment, examples / "pytest", "pytest")
    assert re.search(r"\b2 passed\b", output)


@pytest.mark.long
def test_molecule(environment: dict[str, str], examples: Path) -> None:
    port = free_port()
    _ignored, log = run({**environment, "EMULATOR_PORT": str(port)}, examples, "molecule", "test")
    steps = ["destroy", "create", "converge", "idempotence", "verify", "destroy"]
    assert re.findall(r"\[default > (\w+)\] Executed: Successful", log) == steps
    assert nobody_listens(port)


@pytest.mark.long
def test_shell(environment: dict[str, str], examples: Path) -> None:
    output, _ignored = run({**environment, "AWS_PROFILE": "of-the-user"}, examples, "shell/window.sh")
    assert output.endswith("\nThe store was disconnected and connected.\n")
    (port,) = re.findall(r"ready at http://127\.0\.0\.1:(\d+)\n", output)
    assert nobody_listens(int(port))


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.*")), ids=lambda path: path.name)
def test_an_example_can_be_read_in_a_minute(path: Path) -> None:
    if path.is_file() and path.suffix != ".pyc":
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 50
