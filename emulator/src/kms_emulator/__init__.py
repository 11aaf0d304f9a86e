# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS KMS with custom key stores, on moto.

In process: call install(), use moto's mock_aws as usual, and control the emulator with Control.
As a server: use EmulatorServer or the command kms-emulator, and control it with HttpControl.
With pytest: use the fixtures of pytest_plugin, which need no import.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from .client import HttpControl
    from .control import Control
    from .models import install
    from .server import EmulatorServer

__all__ = ["Control", "EmulatorServer", "HttpControl", "install"]

_MODULES = {"Control": "control", "EmulatorServer": "server", "HttpControl": "client", "install": "models"}


def __getattr__(name: str) -> Any:
    """Import on first use: pytest imports this package for its plugin, and importing moto takes a second."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
