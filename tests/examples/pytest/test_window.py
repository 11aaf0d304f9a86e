# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of a playbook, with pytest. The fixtures are those of the package kms-emulator."""

from __future__ import annotations

import subprocess
from pathlib import Path

from kms_emulator import HttpControl

PLAYBOOK = Path(__file__).parent.parent / "window.yml"


def run(environment: dict[str, str]) -> int:
    """Run the playbook; the exit code."""
    command = ["ansible-playbook", str(PLAYBOOK), "-e", "key_store=payments"]
    return subprocess.run(command, env=environment, timeout=120, check=False).returncode


def calls(control: HttpControl) -> list[str]:
    """What KMS was asked to change, in order."""
    operations = [request["operation"] for request in control.requests()]
    return [operation for operation in operations if operation != "DescribeCustomKeyStores"]


def test_the_store_is_back_after_the_window(kms_http_control: HttpControl, kms_environment: dict[str, str]) -> None:
    kms_http_control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    kms_http_control.set_transitions(connect_seconds=0.5, disconnect_seconds=0.5)
    assert run(kms_environment) == 0
    assert calls(kms_http_control) == ["DisconnectCustomKeyStore", "ConnectCustomKeyStore"]


def test_a_connect_that_fails_is_not_tried_again(
    kms_http_control: HttpControl, kms_environment: dict[str, str]
) -> None:
    store_id = kms_http_control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    kms_http_control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    kms_http_control.set_connect_outcomes(store_id, ["INVALID_CREDENTIALS"])
    assert run(kms_environment) != 0
    assert calls(kms_http_control) == ["DisconnectCustomKeyStore", "ConnectCustomKeyStore"]
