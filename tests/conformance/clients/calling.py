# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How tests call KMS by each of the clients, and get what the client itself made of the answer."""

from __future__ import annotations

import base64
import datetime
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol

import pytest
from botocore import xform_name

from dev.environment import BIN
from kms_emulator.client import aws_variables

FOLDER = Path(__file__).parent

CLI_BLOBS = ("CiphertextBlob", "Plaintext")
CLI_DATES = ("CreationDate", "DeletionDate")
"""Members that AWS's command line has typed, and then prints as text."""

OLDEST_NODE = 20
"""What the JavaScript SDK needs."""


@dataclass
class Refusal(Exception):
    """KMS refused. What a client does not report is None."""

    code: str
    message: str
    kind: str | None = None
    """The name of the exception's class."""
    status: int | None = None
    request_id: str | None = None


class Client(Protocol):
    """One client of KMS."""

    @property
    def own_class(self) -> str | None:
        """The class of the errors that KMS's model does not list. None: a client without classes."""

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        """An answer with bytes and dates. Raises Refusal; skips the test if this client has no such operation."""

    def close(self) -> None:
        """End it."""


def client_environment(url: str) -> dict[str, str]:
    """Environment variables of a client: nothing of the user's."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
        "PYTHONNOUSERSITE": "1",
        **aws_variables(url),
    }


class Cli:
    """AWS's command line, which is started for each call."""

    own_class: str | None = None

    def __init__(self, url: str, home: Path) -> None:
        self._home = home
        config = home / "config"
        # Version 1 takes a value such as https://... for the place to read the value from, unless it is told not to.
        config.write_text("[default]\ncli_follow_urlparam = false\ncli_timestamp_format = iso8601\n")
        self._environment = {**client_environment(url), "AWS_CONFIG_FILE": str(config), "AWS_PAGER": ""}

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        words = [xform_name(operation, "-"), "--output", "json"]
        for name, value in members.items():
            words += [f"--{xform_name(name, '-')}", self._word(name, value)]
        done = subprocess.run(
            [str(BIN / "aws"), "kms", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == 0:
            answer: dict[str, Any] = json.loads(done.stdout or "{}", object_hook=_typed)
            return answer
        if "Invalid choice" in done.stderr:
            pytest.skip(f"This version of AWS's command line has no {operation}.")
        reported = re.search(rf"An error occurred \((.*?)\) when calling the {operation} operation: (.*)", done.stderr)
        assert reported, done.stderr
        raise Refusal(code=reported[1], message=reported[2])

    def _word(self, name: str, value: Any) -> str:
        if isinstance(value, bytes):
            path = self._home / name
            path.write_bytes(value)
            return f"fileb://{path}"
        return value if isinstance(value, str) else json.dumps(value)

    def close(self) -> None:
        """Nothing runs."""


def _typed(printed: dict[str, Any]) -> dict[str, Any]:
    blobs = {name: base64.b64decode(printed[name]) for name in CLI_BLOBS if name in printed}
    dates = {name: datetime.datetime.fromisoformat(printed[name]) for name in CLI_DATES if name in printed}
    return {**printed, **blobs, **dates}


class Program:
    """A program that calls KMS as boto.py does, and keeps running."""

    def __init__(self, command: list[str], environment: dict[str, str], *, own_class: str) -> None:
        self.own_class: str | None = own_class
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.version: str = self._line()["version"]

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"operation": operation, "members": members}, default=_bytes) + "\n")
        self._process.stdin.flush()
        line = self._line()
        if "unknown" in line:
            pytest.skip(f"Version {self.version} of this SDK has no {operation}.")
        if "error" in line:
            raise Refusal(**line["error"])
        answer: dict[str, Any] = line["answer"]
        return answer

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        text = self._process.stdout.readline()
        assert text, self._process.stderr.read()
        line: dict[str, Any] = json.loads(text, object_hook=_object)
        return line

    def close(self) -> None:
        self._process.communicate(timeout=10)


def _bytes(value: Any) -> dict[str, str]:
    return {"$bytes": base64.b64encode(value).decode()}


def _object(value: dict[str, Any]) -> Any:
    if "$bytes" in value:
        return base64.b64decode(value["$bytes"])
    return datetime.datetime.fromisoformat(value["$date"]) if "$date" in value else value


def boto(url: str, *, packages: Path | None = None) -> Program:
    """boto3 of a folder, or (None) of this environment."""
    own = {} if packages is None else {"PYTHONPATH": str(packages)}
    return Program(
        [sys.executable, str(FOLDER / "boto.py")], {**client_environment(url), **own}, own_class="ClientError"
    )


def javascript(url: str) -> Program:
    """The SDK for JavaScript. Skips the test where it cannot run."""
    modules = node_modules()
    return Program(
        ["node", str(FOLDER / "kms.mjs")],
        {**client_environment(url), "NODE_PATH": str(modules)},
        own_class="KMSServiceException",
    )


def node_modules() -> Path:
    """The packages of package-lock.json, installed inside this environment by the first process that wants them."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("The SDK for JavaScript needs node and npm, and one of them is missing.")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"The SDK for JavaScript needs node {OLDEST_NODE} or newer; this is {version}.")
    folder = Path(sys.prefix) / "node"
    folder.mkdir(exist_ok=True)
    wanted = (FOLDER / "package-lock.json").read_text(encoding="utf-8")
    installed = folder / "installed.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(FOLDER / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            installed.write_text(wanted, encoding="utf-8")
    return folder / "node_modules"
