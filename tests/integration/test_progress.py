# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a terminal shows while a task waits, and that nothing else is different for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dev.environment import BIN
from tests.integration import terminal
from tests.integration.harness import GROUP_MODULE
from tests.integration.harness import INFO_MODULE
from tests.integration.harness import MODULE
from tests.integration.harness import WAIT_FOR_BEGUN
from tests.integration.harness import Ansible

EVERY_SECOND = ("-e", "keyops_aws_progress_seconds=1")
LINE = re.compile(
    r"^localhost: custom key store (cks-\w+) \(\"(\w+)\"\) is ([A-Z]+), (\d+) of at most (\d+) seconds\r?$",
    re.MULTILINE,
)


def jobs(ansible: Ansible) -> list[str]:
    """The files that background jobs have left in the user's home."""
    folder = ansible.folder / "home" / ".ansible_async"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def until_asked_for(ansible: Ansible, operation: str) -> None:
    """Wait until KMS was asked for it; it is an error if that takes half a minute."""
    deadline = time.monotonic() + 30
    while operation not in [request["operation"] for request in ansible.control.requests()]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_a_terminal(ansible: Ansible, tasks: list[dict[str, Any]], *arguments: str) -> str:
    """Run tasks in a pseudo-terminal, and return what it showed."""
    play = {"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
    (ansible.folder / "playbook.yml").write_text(json.dumps([play]))
    with terminal.in_a_terminal(ansible, "playbook.yml", *arguments) as (running, ours, theirs):
        os.close(theirs)
        shown = terminal.all_of(ours)
    assert running.returncode == 0, shown
    return shown


def test_a_terminal_shows_a_line_while_a_slow_connect_is_waited_for(ansible: Ansible) -> None:
    ansible.control.set_transitions(connect_seconds=8)
    store_id = ansible.control.create_store(custom_key_store_name="payments")
    task = {"name": "Connect", MODULE: {"name": "payments", "state": "connected", "wait_timeout": 600}}
    shown = in_a_terminal(ansible, [task], *EVERY_SECOND)
    lines = LINE.findall(shown)
    assert len(lines) >= 3, shown
    assert {line[:3] for line in lines} == {(store_id, "payments", "CONNECTING")}
    seconds = [int(line[3]) for line in lines]
    assert seconds == sorted(seconds)
    assert seconds[-1] >= 3
    assert {line[4] for line in lines} == {"600"}
    assert shown.index("TASK [Connect]") < shown.index(lines[0][0]) < shown.index("changed: [localhost]")
    assert jobs(ansible) == []


@pytest.mark.long
def test_the_waits_in_the_middle_of_a_sequence_are_shown_too(ansible: Ansible) -> None:
    ansible.control.set_transitions(connect_seconds=3, disconnect_seconds=3)
    cluster_id = ansible.control.create_cluster()
    ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    other = ansible.control.create_cluster(source_cluster_id=cluster_id)
    result = ansible.module(*EVERY_SECOND, name="payments", cloud_hsm_cluster_id=other, allow_disconnect=True)
    assert [line[2] for line in LINE.findall(ansible.output)].count("DISCONNECTING") >= 1
    assert [line[2] for line in LINE.findall(ansible.output)].count("CONNECTING") >= 1
    assert result["operations"] == ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]
    assert set(result) - {"deprecations"} == {  # some amazon.aws bring those with some ansible-core
        "changed",
        "connection_states",
        "custom_key_store",
        "failed",
        "operations",
    }


@pytest.mark.long
def test_several_stores_have_a_line_each(ansible: Ansible) -> None:
    ansible.control.set_transitions(connect_seconds=3)
    for name in ("payments", "ledger"):
        ansible.control.create_store(custom_key_store_name=name)
    stores = [{"name": "payments"}, {"name": "ledger"}]
    result = ansible.module(*EVERY_SECOND, module=GROUP_MODULE, state="connected", stores=stores)
    assert result["changed"] is True
    assert {line[1] for line in LINE.findall(ansible.output)} == {"payments", "ledger"}


def apart(ansible: Ansible, command: list[str]) -> tuple[str, str]:
    """What a command writes to its standard output and error."""
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ansible.folder,
        env=ansible.environment,
        text=True,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("shown", [True, False])
def test_the_standard_output_is_left_to_what_reads_it(ansible: Ansible, shown: bool) -> None:
    """One line for each host, as other programs expect it of this callback. The log has the lines for people, too."""
    ansible.control.set_transitions(connect_seconds=6)
    ansible.control.create_store(custom_key_store_name="payments")
    ansible.environment["ANSIBLE_LOG_PATH"] = str(ansible.folder / "log")
    seconds = 1 if shown else 0
    module = ["-m", MODULE, "-a", "name=payments state=connected", "-e", f"keyops_aws_progress_seconds={seconds}"]
    output, errors = apart(ansible, ["ansible", "localhost", "--one-line", *module])
    (line,) = output.strip().splitlines()
    assert line.startswith("localhost | CHANGED => {")
    assert json.loads(line.partition(" => ")[2])["operations"] == ["ConnectCustomKeyStore"]
    assert bool(LINE.findall(errors)) is shown
    assert ("is CONNECTING" in (ansible.folder / "log").read_text()) is shown


@pytest.mark.long
def test_a_task_can_be_kept_in_the_foreground(ansible: Ansible) -> None:
    ansible.control.set_transitions(connect_seconds=3)
    ansible.control.create_store(custom_key_store_name="payments")
    result = ansible.module(*EVERY_SECOND, "-e", "keyops_aws_background=false", name="payments", state="connected")
    assert result["connection_states"][-1] == "CONNECTED"
    assert LINE.findall(ansible.output) == []


def test_no_log_shows_nothing(ansible: Ansible) -> None:
    ansible.control.set_transitions(connect_seconds=3)
    ansible.control.create_store(custom_key_store_name="payments")
    task = {"name": "Connect", MODULE: {"name": "payments", "state": "connected"}, "no_log": True}
    done = ansible.playbook([task], *EVERY_SECOND)
    assert done.exit_code == 0
    assert "payments" not in done.output


@pytest.mark.long
def test_async_and_loops_and_defaults_work_as_with_any_module(ansible: Ansible) -> None:
    """The same tasks as with any module: nothing of the waiting is in the way."""
    for name in ("payments", "ledger", "archive"):
        ansible.control.create_store(custom_key_store_name=name)
    defaults = {"module_defaults": {"group/keyops.aws.aws": {"region": "us-east-1"}}}
    ansible.environment.pop("AWS_REGION")
    begin = {
        "name": "Begin",
        MODULE: {"name": "payments", "state": "connected"},
        "async": 60,
        "poll": 0,
        "register": "begun",
    }
    others = {
        "name": "Others",
        MODULE: {"name": "{{ item }}", "state": "connected"},
        "loop": ["ledger", "archive"],
        "register": "others",
    }
    polled = {"name": "Polled", MODULE: {"name": "payments", "state": "disconnected"}, "async": 60, "poll": 1}
    check = {
        "name": "Check",
        "ansible.builtin.assert": {
            "that": [
                "ended.operations == ['ConnectCustomKeyStore']",
                "others.results | map(attribute='changed') == [true, true]",
            ]
        },
    }
    done = ansible.playbook([{"name": "All", "block": [begin, others, WAIT_FOR_BEGUN, check, polled], **defaults}])
    assert done.exit_code == 0, done.output
    states = [store["ConnectionState"] for store in ansible.kms().describe_custom_key_stores()["CustomKeyStores"]]
    assert sorted(states) == ["CONNECTED", "CONNECTED", "DISCONNECTED"]


def test_a_host_that_has_no_place_for_jobs_waits_all_the_same(ansible: Ansible) -> None:
    ansible.control.create_store(custom_key_store_name="payments")
    (ansible.folder / "file").touch()
    ansible.environment["ANSIBLE_ASYNC_DIR"] = str(ansible.folder / "file" / "jobs")
    result = ansible.module(name="payments", state="connected")
    assert result["connection_states"][-1] == "CONNECTED"
    assert ansible.calls.count("ConnectCustomKeyStore") == 1


def test_the_controller_dies_and_a_sequence_is_carried_to_its_end(ansible: Ansible) -> None:
    ansible.control.set_transitions(connect_seconds=0.5, disconnect_seconds=2)
    cluster_id = ansible.control.create_cluster()
    ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    other = ansible.control.create_cluster(source_cluster_id=cluster_id)
    change = {MODULE: {"name": "payments", "cloud_hsm_cluster_id": other, "allow_disconnect": True}}
    play = {"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": [{"name": "Change", **change}]}
    (ansible.folder / "playbook.yml").write_text(json.dumps([play]))
    with subprocess.Popen(
        [str(BIN / "ansible-playbook"), "playbook.yml"],
        cwd=ansible.folder,
        env=ansible.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        until_asked_for(ansible, "DisconnectCustomKeyStore")
        running.kill()
    deadline = time.monotonic() + 30
    store: dict[str, Any] = {}
    while store.get("ConnectionState") != "CONNECTED" or store["CloudHsmClusterId"] != other:
        assert time.monotonic() < deadline, store
        time.sleep(0.2)
        (store,) = ansible.kms().describe_custom_key_stores()["CustomKeyStores"]


def processes(ansible: Ansible) -> list[int]:
    """The ids of the processes in which this test's task goes on."""
    home = f"HOME={ansible.environment['HOME']}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            command = (path / "cmdline").read_text()
            if "_custom_key_store.background" in command and home in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
    return found


def test_a_module_that_is_killed_is_noticed(ansible: Ansible) -> None:
    """As by an administrator, or by the lack of memory."""
    ansible.control.set_transitions(connect_seconds=3600)
    ansible.control.create_store(custom_key_store_name="payments")

    def kill() -> None:
        until_asked_for(ansible, "ConnectCustomKeyStore")
        while ansible.request_count < 5:  # by then it waits in the background
            time.sleep(0.05)
        for process in processes(ansible):
            os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = ansible.module(*EVERY_SECOND, name="payments", state="connected")
    killer.join()
    assert result["failed"] is True
    assert result["msg"] == (
        "The task was ended early. KMS continues the operations that it has accepted. Run the task again: it continues from the"
        " current state."
    )
    assert jobs(ansible) == []


def test_verbose_output_of_the_waiting_has_no_secret(ansible: Ansible) -> None:
    secret = "CanaryOfKmsUser97531"
    cluster_id = ansible.control.create_cluster()
    store_id = ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    ansible.control.change_kmsuser_password(store_id, secret)
    ansible.environment["ANSIBLE_LOG_PATH"] = str(ansible.folder / "log")
    result = ansible.module(
        "-vvvvv",
        "--diff",
        *EVERY_SECOND,
        name="payments",
        state="connected",
        key_store_password=secret,
        update_credentials="always",
        allow_disconnect=True,
    )
    assert result["operations"] == ["DisconnectCustomKeyStore", "UpdateCustomKeyStore", "ConnectCustomKeyStore"]
    written = (ansible.folder / "playbook.yml", ansible.folder / "results.json")
    assert secret in written[0].read_text()
    assert secret not in written[1].read_text()
    assert secret not in ansible.output
    assert secret not in (ansible.folder / "log").read_text()


def test_the_info_module_is_not_made_to_wait(ansible: Ansible) -> None:
    """It has no progress to show, and is run as any module."""
    ansible.module(module=INFO_MODULE)
    assert jobs(ansible) == []
