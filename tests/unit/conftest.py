# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the unit tests."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ansible.module_utils.common import warnings as common_warnings
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import token_of
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_info
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_key
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_stores
from kms_emulator import Control
from tests.unit.harness import ModuleRunner
from tests.unit.harness import SimulatedTime
from tests.unit.harness import no_needless_work


@pytest.fixture(autouse=True, scope="session")
def fast() -> Iterator[None]:
    """Leave out what only takes time."""
    with no_needless_work():
        yield


@pytest.fixture(autouse=True)
def nobody_outside() -> Iterator[None]:
    """No name is resolved, so that no test depends on the network. The proxies of external stores have such names."""
    resolve = socket.getaddrinfo

    def resolve_own(host: Any, *others: Any, **more: Any) -> Any:
        if host is None or host == "localhost" or host.startswith("127."):
            return resolve(host, *others, **more)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve_own)
        yield


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[Path]:
    """A home of its own for each test, in which a module may leave its notes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path / "home"))
        yield tmp_path / "home"


@pytest.fixture(autouse=True)
def no_earlier_warnings() -> None:
    """Ansible keeps the warnings of a module for its whole process, which is one for many tests here."""
    common_warnings._global_warnings.clear()


@pytest.fixture
def run(control: Control) -> ModuleRunner:
    """Runs the module against an empty KMS, on a clock that stands still but for the module's sleeps."""
    control.freeze_clock()
    return ModuleRunner(control, SimulatedTime(control))


@pytest.fixture
def run_info(control: Control) -> ModuleRunner:
    """The same for kms_custom_key_store_info."""
    control.freeze_clock()
    return ModuleRunner(control, SimulatedTime(control), kms_custom_key_store_info)


@pytest.fixture
def run_key(control: Control) -> ModuleRunner:
    """The same for kms_custom_key_store_key."""
    control.freeze_clock()
    return ModuleRunner(control, SimulatedTime(control), kms_custom_key_store_key)


@pytest.fixture
def run_stores(control: Control) -> ModuleRunner:
    """The same for kms_custom_key_stores."""
    control.freeze_clock()
    return ModuleRunner(control, SimulatedTime(control), kms_custom_key_stores)


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What the module warns of."""
    said: list[str] = []
    with mock.patch.object(AnsibleAWSModule, "warn", lambda _, text: said.append(text)):
        yield said


@pytest.fixture
def ended() -> str:
    """The token of a run of Ansible that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        token = token_of(process.pid)
        process.communicate(b"\n")
    assert token is not None
    return token
