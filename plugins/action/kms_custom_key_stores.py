# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module of the same name, waits for it, and shows its progress."""

from __future__ import annotations

from ansible_collections.keyops.aws.plugins.plugin_utils.waiting import WaitingAction


class ActionModule(WaitingAction):
    """Runs the module of the same name, and shows its progress."""
