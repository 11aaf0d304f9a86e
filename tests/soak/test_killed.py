# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All processes of ansible-playbook are killed at each request of a window and of a change, and the same play is run again."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from dev.environment import BIN
from tests.integration.harness import MODULE
from tests.integration.harness import Ansible

MOST_REQUESTS = 60
ROLE = "keyops.aws.key_store_maintenance"


def was_killed_at(ansible: Ansible, play: dict[str, Any], number: int) -> bool:
    """Run a play, and kill it when KMS was asked so often. False: it had ended before."""
    ansible.control.clear_requests()
    (ansible.folder / "play.yml").write_text(json.dumps([play]))
    command = [str(BIN / "ansible-playbook"), "play.yml"]
    with subprocess.Popen(
        command,
        cwd=ansible.folder,
        env=ansible.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        while running.poll() is None:
            if ansible.request_count >= number:
                ansible.kill_all()
                running.wait()
                return True
            time.sleep(0.01)
    return False


def states(ansible: Ansible) -> dict[str, str]:
    stores = ansible.kms().describe_custom_key_stores()["CustomKeyStores"]
    return {store["CustomKeyStoreName"]: store["ConnectionState"] for store in stores}


def run_again(ansible: Ansible) -> str:
    done = ansible.run("play.yml")
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("what", ["window", "change"])
def test_killed_at_each_request_and_run_again(ansible: Ansible, what: str) -> None:
    control = ansible.control
    tried = 0
    for number in range(1, MOST_REQUESTS):
        control.reset()
        control.set_latency(0.05)  # so that it dies at the request, and not much later
        control.set_transitions(connect_seconds=0.5, disconnect_seconds=0.5)
        cluster_id = control.create_cluster()
        control.create_store(
            custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
        )
        control.create_store(custom_key_store_name="off")
        other = control.create_cluster(source_cluster_id=cluster_id)
        play: dict[str, Any] = {"name": "Test", "hosts": "localhost", "gather_facts": False}
        if what == "window":
            stores = [{"name": "payments"}, {"name": "off"}]
            play["roles"] = [{"role": ROLE, "vars": {"key_store_maintenance_stores": stores}}]
        else:
            options = {"name": "payments", "cloud_hsm_cluster_id": other, "allow_disconnect": True}
            play["tasks"] = [{"name": "Change", MODULE: options}]
        if not was_killed_at(ansible, play, number):
            break
        tried += 1
        control.set_latency(0)
        run_again(ansible)
        assert states(ansible) == {"payments": "CONNECTED", "off": "DISCONNECTED"}, number
        if what == "change":
            assert "changed=0" in run_again(ansible)
    assert 5 <= tried < MOST_REQUESTS - 1
