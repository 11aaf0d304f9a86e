# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of ansible-test integration, run on the emulator; ansible-test runs the same ones on AWS."""

from __future__ import annotations

import json

import pytest

from dev.environment import ROOT
from tests.integration.harness import Ansible

TARGETS = sorted(path.name for path in (ROOT / "tests" / "integration" / "targets").iterdir())


@pytest.mark.parametrize(
    ("store_type", "state"), [("AWS_CLOUDHSM", "CONNECTED"), ("EXTERNAL_KEY_STORE", "DISCONNECTED")]
)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.long
def test_target(ansible: Ansible, target: str, store_type: str, state: str) -> None:
    store_id = ansible.control.create_store(connection_state=state, custom_key_store_type=store_type)
    role = str(ROOT / "tests" / "integration" / "targets" / target)
    variables = json.dumps({"kms_custom_key_store_id": store_id})
    run = ansible.playbook([{"name": target, "ansible.builtin.include_role": {"name": role}}], "-e", variables)
    assert run.exit_code == 0, run.output
    assert "failed=0" in run.output
    assert ansible.module(id=store_id)["custom_key_store"]["connection_state"] == state
