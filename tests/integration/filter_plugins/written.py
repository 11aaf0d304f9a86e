# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a result for the test: in Ansible's own process, as the copy module takes as long as the module under test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def written_to(text: str, path: str) -> int:
    """Write a file, and return the number of characters."""
    return Path(path).write_text(str(text), encoding="utf-8")


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"written_to": written_to}
