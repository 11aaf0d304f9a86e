# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.environment import ROOT
from dev.environment import ansible_environment
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.integration.harness import Ansible
from tests.integration.windows import Place


@pytest.fixture
def ansible(emulator_server: EmulatorServer, http_control: HttpControl, tmp_path: Path) -> Ansible:
    """Runs ansible-playbook against an empty KMS in which transitions take 0.3 seconds, with a home of its own."""
    http_control.set_transitions(connect_seconds=0.3, disconnect_seconds=0.3)
    home = tmp_path / "home"
    home.mkdir()
    return Ansible(
        tmp_path,
        http_control,
        {
            **ansible_environment(emulator_server.url),
            "HOME": str(home),
            "ANSIBLE_ASYNC_DIR": str(home / ".ansible_async"),
            "ANSIBLE_FILTER_PLUGINS": str(ROOT / "tests" / "integration" / "filter_plugins"),
        },
    )


@pytest.fixture
def place(ansible: Ansible) -> Place:
    """A host with a connected store, payments, for windows in which transitions take a second."""
    ansible.control.set_transitions(connect_seconds=1, disconnect_seconds=1)
    place = Place(ansible)
    place.store()
    return place
