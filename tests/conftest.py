# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How all tests are run."""

from __future__ import annotations

import os
from typing import Any


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many workers as processors: half of what an integration test does is wait."""
    return 2 * (os.cpu_count() or 1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what tests have counted."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == "counted":
                terminalreporter.section(report.nodeid)
                terminalreporter.write_line(text)
