# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hundred tasks of ansible-playbook at once, in forks and in the background, against five requests a second."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from dev.environment import BIN
from tests.integration.harness import MODULE
from tests.integration.harness import Ansible

HOSTS = 50
TASKS_OF_A_HOST = 4


def test_all_finish_and_none_fails_for_throttling(ansible: Ansible) -> None:
    control = ansible.control
    control.set_transitions(connect_seconds=5)
    stores = [control.create_store(custom_key_store_name=f"store-{number}") for number in range(10)]
    for operation in ("DescribeCustomKeyStores", "ConnectCustomKeyStore"):
        control.set_quota(operation, 5.0)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {f"host{number}": {**local, "store": f"store-{number % 10}"} for number in range(HOSTS)}
    (ansible.folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    connect: dict[str, Any] = {MODULE: {"name": "{{ store }}", "state": "connected"}}
    in_background = range(TASKS_OF_A_HOST - 1)
    begin = {"name": "Begin", **connect, "async": 1800, "poll": 0}
    wait = {"name": "Wait", "register": "ended", "until": "ended is finished", "retries": 400, "delay": 2}
    tasks = [
        *({**begin, "register": f"begun_{number}"} for number in in_background),
        {"name": "Connect", **connect},
        *(
            {**wait, "ansible.builtin.async_status": {"jid": f"{{{{ begun_{number}.ansible_job_id }}}}"}}
            for number in in_background
        ),
    ]
    play = {"name": "Load", "hosts": "all", "gather_facts": False, "tasks": tasks}
    (ansible.folder / "load.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [str(BIN / "ansible-playbook"), "-i", "hosts.yml", "--forks", str(HOSTS), "load.yml"],
        cwd=ansible.folder,
        env=ansible.environment,
        text=True,
        capture_output=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[:4000]
    described = ansible.kms().describe_custom_key_stores()["CustomKeyStores"]
    assert [store["ConnectionState"] for store in described] == ["CONNECTED"] * len(stores)
    requests = control.requests()
    assert [each["outcome"] for each in requests].count("ThrottlingException") > 0
    connects = [each for each in requests if each["operation"] == "ConnectCustomKeyStore" and each["applied"]]
    assert len(connects) == len(stores)
