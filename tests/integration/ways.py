# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs and connections than C(ansible-playbook) on this host: what the tests of the ways to run need."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dev.environment import BIN
from tests.integration.windows import Place

SSHD = "/usr/sbin/sshd"
FOREIGN = ("AWS_", "KEYOPS_")
"""What the names of those variables begin with that the other end of a connection must have."""


@dataclass
class Done:
    """What a program has left."""

    exit_code: int
    output: str
    errors: str

    @property
    def reported(self) -> str:
        """Both, in one line."""
        return " ".join((self.output + self.errors).split())


def run(
    place: Place,
    program: str | Path,
    *arguments: str,
    given: str = "",
    seconds: float = 120,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run a program of this environment, or one with a path, to its end. It is killed, with all that it has, after a time.

    Args:
        place: see there.
        program: its name or path.
        arguments: see there.
        given: its standard input.
        seconds: until it is killed.
        environment: what it has beside that of the place.

    Raises:
        TimeoutError: it was killed.
    """
    path = program if isinstance(program, Path) else BIN / program
    with subprocess.Popen(
        [str(path), *arguments],
        env={**place.ansible.environment, **(environment or {})},
        cwd=place.ansible.folder,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as running:
        try:
            output, errors = running.communicate(given, seconds)
        except subprocess.TimeoutExpired as error:
            os.killpg(running.pid, signal.SIGKILL)
            output, errors = running.communicate()
            raise TimeoutError(f"{program} did not end: {output}{errors}") from error
    return Done(running.returncode, output, errors)


def inventory(place: Place, *hosts: str, **variables: Any) -> list[str]:
    """The arguments of a program for these hosts: on this machine and with this Python, but for what variables say."""
    own = {"ansible_connection": "local", "ansible_python_interpreter": str(BIN / "python"), **variables}
    content = {"all": {"hosts": {host: {"store": host} for host in hosts}, "vars": own}}
    return ["-i", str(place.write("inventory.yml", content))]


# ---- ssh


def missing_for_ssh() -> str:
    """Why there can be no connection by ssh; empty where there can be."""
    if os.geteuid() != 0:
        return "needs root, to start an sshd"
    needed = [name for name in (SSHD, "ssh", "ssh-keygen") if shutil.which(name) is None]
    return f"needs {' and '.join(needed)} (apt-get install openssh-server)" if needed else ""


@dataclass
class Sshd:
    """A server on this machine that lets a key in that it was made for, with the environment of a place.

    Attributes:
        folder: for its keys and its log.
        port: see there.
    """

    folder: Path
    port: int

    def variables(self) -> dict[str, str]:
        """With which Ansible reaches a host by it."""
        options = ("ControlMaster=no", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        return {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": str(self.port),
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "user"),
            "ansible_ssh_args": f"-F {os.devnull} " + " ".join(f"-o {option}" for option in options),
        }


@contextlib.contextmanager
def sshd(place: Place, *, shell: str = "/bin/sh", **environment: str) -> Iterator[Sshd]:
    """An sshd for the time of a test.

    Args:
        place: whose environment and home its sessions have.
        shell: the login shell.
        environment: what its sessions have beside that.
    """
    folder = place.ansible.folder / "sshd"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    own = {
        name: value for name, value in place.ansible.environment.items() if name == "HOME" or name.startswith(FOREIGN)
    }
    variables = " ".join(f'"{name}={value}"' for name, value in {**own, **environment}.items())
    # What a shell gets as its command is what sshd would give it were it that of the user in /etc/passwd.
    (folder / "login").write_text(f'#!/bin/sh\nexec {shell} -c "$SSH_ORIGINAL_COMMAND"\n')
    (folder / "login").chmod(0o700)
    lines = [
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/user.pub",
        f"PidFile {folder}/pid",
        "StrictModes no",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "UsePAM no",
        "PrintMotd no",
        "MaxStartups 100",
        "Subsystem sftp /usr/lib/openssh/sftp-server",
        f"ForceCommand {folder}/login",
        f"SetEnv {variables}",
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    Path("/run/sshd").mkdir(exist_ok=True)  # for which its package has a unit of systemd
    server = subprocess.Popen([SSHD, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")])
    try:
        _until_open(port, folder / "log")
        yield Sshd(folder, port)
    finally:
        server.terminate()
        server.wait(20)


def _until_open(port: int, log: Path) -> None:
    end = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


# ---- programs in environments of their own


@functools.cache
def environment_of(name: str, *packages: str) -> Path:
    """A virtual environment beside the programs of the tests, made with these packages where it is not there yet.

    Returns:
        The folder with its programs. The test is skipped where the packages cannot be had.
    """
    folder = Path(sys.prefix) / name
    ready = folder / "ready"
    with (Path(sys.prefix) / f"{name}.lock").open("w") as lock:  # tests run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists() or ready.read_text() != " ".join(packages):
            _make_environment(folder, packages)
            ready.write_text(" ".join(packages))
    return folder / "bin"


def _make_environment(folder: Path, packages: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *packages], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs {' and '.join(packages)} from PyPI: {done.stderr.strip().splitlines()[-1]}")
