# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this folder's tests share: the fixtures of the emulator."""

from __future__ import annotations

pytest_plugins = ["tests.emulator.fixtures"]
