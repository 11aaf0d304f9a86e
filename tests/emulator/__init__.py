# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator by its former name. It is the package kms_emulator now."""

from __future__ import annotations

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator import install

__all__ = ["Control", "EmulatorServer", "HttpControl", "install"]
