# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pytest plugin for tests that need KMS with custom key stores. It is there as soon as the package is installed.

For code that runs in the test's own process: kms_control. For programs such as ansible-playbook: kms_http_control, and
kms_environment to start them with. One test uses one of both ways, as there is one KMS in a process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# moto takes a second to import, which test runs that do not need it shall not pay.
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
    """KMS in process, empty: boto3 clients made in the test reach it, and this steers it."""
    from moto import mock_aws

    from .control import Control
    from .models import install

    install()
    with mock_aws():
        steering = Control()
        steering.reset()
        yield steering
        steering.reset()


@pytest.fixture
def kms_http_control(kms_server: EmulatorServer) -> Iterator[HttpControl]:
    """Steers the emulator at the URL of kms_server, empty at the start of each test."""
    from .client import HttpControl

    steering = HttpControl(kms_server.url)
    steering.reset()
    yield steering
    steering.reset()


@pytest.fixture
def kms_environment(kms_http_control: HttpControl) -> dict[str, str]:
    """Environment variables for a program that shall use the emulator: this process's, without its AWS settings."""
    from .client import aws_variables

    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**own, **aws_variables(kms_http_control.base_url)}
