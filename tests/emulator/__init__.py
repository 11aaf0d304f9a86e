# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS KMS with custom key stores, on moto.

In process: install(), then moto's mock_aws as always, and Control to steer it.
As a server: EmulatorServer, or `python -m tests.emulator`, and HttpControl to steer it.
"""

from __future__ import annotations

from .client import HttpControl
from .control import Control
from .models import install
from .server import EmulatorServer

__all__ = ["Control", "EmulatorServer", "HttpControl", "install"]
