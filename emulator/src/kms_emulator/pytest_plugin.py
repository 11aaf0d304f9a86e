# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin for tests that need KMS with custom key stores. Installing the package enables it.

For code that runs in the test's own process: kms_control. For programs such as ansible-playbook: kms_http_control, and
kms_environment for their environment. A test must use only one of both, because a process has only one KMS.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# Importing moto takes a second. Test runs that do not need it should not wait for it.
if TYPE_CHECKING:
    from .client import HttpControl
    from .control import Control
    from .server import EmulatorServer


@pytest.fixture(scope="session")
def kms_server() -> Iterator[EmulatorServer]:
    """The emulator at a URL, for the whole test run."""
    from .server import EmulatorServer

    with EmulatorServer() as server:
        yield server


@pytest.fixture
def kms_control() -> Iterator[Control]:
    """Controls KMS in process, empty at the start of each test. boto3 clients that the test creates use it."""
    from moto import mock_aws

    from .control import Control
    from .models import install

    install()
    with mock_aws():
        control = Control()
        control.reset()
        yield control
        control.reset()


@pytest.fixture
def kms_http_control(kms_server: EmulatorServer) -> Iterator[HttpControl]:
    """Controls the emulator at the URL of kms_server, empty at the start of each test."""
    from .client import HttpControl

    control = HttpControl(kms_server.url)
    control.reset()
    yield control
    control.reset()


@pytest.fixture
def kms_environment(kms_http_control: HttpControl) -> dict[str, str]:
    """Environment variables for a program that uses the emulator: those of this process, without its AWS settings."""
    from .client import aws_variables

    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**own, **aws_variables(kms_http_control.base_url)}
