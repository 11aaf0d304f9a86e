# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How all tests are run, and the fixtures of the emulator by the shorter names that they use."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl


def pytest_xdist_auto_num_workers() -> int:
    """One more than processors, as an integration test waits for half of its time."""
    return 1 + (os.cpu_count() or 1)


def pytest_collection_finish() -> None:
    """Python need not search what it has imported and collected for garbage, again and again, and the rest not as often."""
    gc.freeze()
    gc.set_threshold(10_000)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what tests have counted."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "counted":
                terminalreporter.section(report.nodeid)
                terminalreporter.write_line(text)


@pytest.fixture(scope="session")
def emulator_server(kms_server: EmulatorServer) -> EmulatorServer:
    """The emulator at a URL."""
    return kms_server


@pytest.fixture
def control(kms_control: Control) -> Control:
    """Steers the emulator in process."""
    return kms_control


@pytest.fixture
def http_control(kms_http_control: HttpControl) -> HttpControl:
    """Steers the emulator at its URL."""
    return kms_http_control
