# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin for tests that need KMS with custom key stores: name it in pytest_plugins of a conftest.py.

For code that runs in the test's own process: control. For programs such as ansible-playbook: http_control, and
aws_environment to start them with. One test uses one of both ways, as there is one KMS in a process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from moto import mock_aws

from .client import HttpControl
from .client import aws_variables
from .control import Control
from .models import install
from .server import EmulatorServer


@pytest.fixture(scope="session")
def emulator_server() -> Iterator[EmulatorServer]:
    """The emulator at a URL, for the whole test run."""
    with EmulatorServer() as server:
        yield server


@pytest.fixture
def control() -> Iterator[Control]:
    """KMS in process, empty: boto3 clients made in the test reach it, and this steers it."""
    install()
    with mock_aws():
        steering = Control()
        steering.reset()
        yield steering
        steering.reset()


@pytest.fixture
def http_control(emulator_server: EmulatorServer) -> Iterator[HttpControl]:
    """Steers the emulator at emulator_server's URL, empty at the start of each test."""
    steering = HttpControl(emulator_server.url)
    steering.reset()
    yield steering
    steering.reset()


@pytest.fixture
def aws_environment(http_control: HttpControl) -> dict[str, str]:
    """Environment variables for a program that shall use the emulator: this process's, without its AWS settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**own, **aws_variables(http_control.base_url)}
