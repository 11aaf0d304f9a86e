# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A window and a task do what they promise however Ansible runs them: strategies, keywords, connections, programs, callbacks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.environment import BIN
from dev.environment import COLLECTIONS
from tests.integration.guides import GUIDES
from tests.integration.harness import GROUP_MODULE
from tests.integration.harness import MODULE
from tests.integration.harness import WAIT_FOR_BEGUN
from tests.integration.terminal import all_of
from tests.integration.terminal import in_a_terminal
from tests.integration.ways import Done
from tests.integration.ways import environment_of
from tests.integration.ways import inventory
from tests.integration.ways import missing_for_ssh
from tests.integration.ways import run
from tests.integration.ways import sshd
from tests.integration.windows import CONNECT
from tests.integration.windows import DISCONNECT
from tests.integration.windows import PREFIX
from tests.integration.windows import ROLE
from tests.integration.windows import SLOW
from tests.integration.windows import Place
from tests.integration.windows import Tasks
from tests.integration.windows import long
from tests.integration.windows import shell
from tests.integration.windows import until

pytestmark = pytest.mark.versions

needs_ssh = pytest.mark.skipif(bool(missing_for_ssh()), reason=missing_for_ssh() or "has all")

OWN_STORE = [{"name": "{{ store }}"}]
"""The stores of a window on each of several hosts: the one with the host's own name."""

DONE = shell("touch done-{{ inventory_hostname }}")


def hosts_with_stores(place: Place, *names: str) -> None:
    place.ids.clear()
    for name in names:
        place.store(name)


def window_of_each(place: Place, work: Tasks, *, keywords: dict[str, Any] | None = None, **play: Any) -> str:
    """The playbook of windows on all hosts, each over the store of its own. Returns its path.

    Args:
        place: see there.
        work: see there.
        keywords: of the task that imports the role.
        play: keywords of the play.
    """
    path = place.window(work, play={"hosts": "all", **play}, stores=OWN_STORE)
    (content,) = yaml.safe_load(Path(path).read_text())
    content["tasks"][-1] |= keywords or {}
    return str(place.write("window.yml", [content]))


def operations(place: Place) -> list[str]:
    """What KMS was asked to change, in order."""
    return [
        request["operation"]
        for request in place.ansible.control.requests()
        if request["operation"] in (CONNECT, DISCONNECT)
    ]


# ---- several hosts


@pytest.mark.parametrize(
    ("play", "keywords"),
    [
        pytest.param({}, {}, id="linear", marks=pytest.mark.long),
        pytest.param({"serial": 1}, {}, id="serial", marks=pytest.mark.long),
        pytest.param({"strategy": "free"}, {}, id="free", marks=pytest.mark.long),
        pytest.param({"strategy": "host_pinned", "serial": 2}, {}, id="host_pinned", marks=pytest.mark.long),
        pytest.param({}, {"throttle": 1}, id="throttle", marks=pytest.mark.long),
        pytest.param({"order": "reverse_sorted"}, {"become": False}, id="order", marks=pytest.mark.long),
    ],
)
def test_several_hosts_have_a_window_each(place: Place, play: dict[str, Any], keywords: dict[str, Any]) -> None:
    hosts_with_stores(place, "one", "two", "three")
    path = window_of_each(place, [DONE], keywords=keywords, **play)
    done = run(place, "ansible-playbook", *inventory(place, "one", "two", "three"), path)
    assert done.exit_code == 0, done.reported
    assert sorted(operations(place)) == [CONNECT] * 3 + [DISCONNECT] * 3
    if "serial" in play and play["serial"] == 1:
        assert operations(place) == [DISCONNECT, CONNECT] * 3
    assert all((place.ansible.folder / f"done-{host}").exists() for host in ("one", "two", "three"))
    place.assert_back()


@pytest.mark.long
@pytest.mark.parametrize(
    "play",
    [
        {"any_errors_fatal": True},
        {"max_fail_percentage": 0},
        {"max_fail_percentage": 90},
        {"strategy": "free", "any_errors_fatal": True},
    ],
    ids=["any_errors_fatal", "max_fail_percentage", "max_fail_percentage not reached", "free"],
)
def test_one_of_two_hosts_fails(place: Place, play: dict[str, Any]) -> None:
    """The healthy one has its store back as well, and is not told of a mistake in the role."""
    hosts_with_stores(place, "one", "two")
    fails = {"name": "Fail", "ansible.builtin.command": "false", "when": "inventory_hostname == 'two'"}
    path = window_of_each(place, [fails, DONE], **play)
    done = run(place, "ansible-playbook", *inventory(place, "one", "two"), path)
    assert done.exit_code == 2
    assert "undefined" not in done.reported
    assert "[two]: FAILED! => " in done.reported
    healthy_fails = play == {"any_errors_fatal": True}  # Ansible itself does not support it with free
    ended = "The maintenance tasks were ended because of a failure on another host (any_errors_fatal)."
    assert (ended in done.reported) is healthy_fails
    assert (place.ansible.folder / "done-one").exists() is not healthy_fails
    place.assert_back()
    assert sorted(operations(place)) == [CONNECT] * 2 + [DISCONNECT] * 2
    assert place.reports() == []  # the plays themselves have done it


@pytest.mark.long
@pytest.mark.parametrize(
    "keywords", [{"run_once": True}, {"run_once": True, "delegate_to": "two"}], ids=["run_once", "delegated"]
)
def test_once_for_all_hosts(place: Place, keywords: dict[str, Any]) -> None:
    place.ids.clear()
    place.store("one")
    path = window_of_each(place, [shell("echo $$ >> work-{{ inventory_hostname }}")], keywords=keywords)
    done = run(place, "ansible-playbook", *inventory(place, "one", "two"), path)
    assert done.exit_code == 0, done.reported
    assert operations(place) == [DISCONNECT, CONNECT]
    place.assert_back()


@pytest.mark.long
def test_delegated_to_the_controller_for_a_host_that_is_not_there(place: Place) -> None:
    """As where the host of the play is what the work is done on."""
    arguments = inventory(place, "payments", ansible_connection="ssh", ansible_host="host.invalid")
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(BIN / "python")}
    delegated = {
        "delegate_to": "localhost",
        "vars": {f"{PREFIX}stores": OWN_STORE, f"{PREFIX}tasks_file": "work.yml", **local},
    }
    path = window_of_each(place, [SLOW], keywords=delegated)
    with place.playing(*arguments, path) as playing:
        until((place.ansible.folder / "working").exists)
        os.killpg(playing.pid, signal.SIGKILL)
    place.assert_back()
    assert [report["reason"] for report in place.reports()] == ["gone"]


# ---- keywords of a task


@pytest.mark.long
def test_a_task_is_tried_again_until_it_succeeds(place: Place) -> None:
    control = place.ansible.control
    control.set_connect_outcomes(place.ids["payments"], ["INTERNAL_ERROR"])
    place.ansible.kms().disconnect_custom_key_store(CustomKeyStoreId=place.ids["payments"])
    until(lambda: place.state() == "DISCONNECTED")
    retried = {"until": "result is success", "retries": 2, "delay": 0, "register": "result"}
    task = {"name": "Connect", MODULE: {"name": "payments", "state": "connected"}, **retried}
    check = {"name": "Check", "ansible.builtin.assert": {"that": "result.attempts == 2"}}
    done = place.ansible.playbook([task, check])
    assert done.exit_code == 0, done.output
    assert operations(place) == [DISCONNECT, CONNECT, DISCONNECT, CONNECT]


@pytest.mark.long
@pytest.mark.parametrize("poll", [0, 1])
def test_the_module_for_several_stores_in_the_background(place: Place, poll: int) -> None:
    place.store("ledger")
    stores = [{"name": name} for name in place.ids]
    asynchronous = {"async": 60, "poll": poll, "register": "begun"}
    begin = {"name": "Begin", GROUP_MODULE: {"stores": stores, "state": "disconnected"}, **asynchronous}
    done = place.ansible.playbook([begin] if poll else [begin, WAIT_FOR_BEGUN])
    assert done.exit_code == 0, done.output
    assert {place.state(name) for name in place.ids} == {"DISCONNECTED"}


@pytest.mark.long
def test_async_does_not_reach_the_tasks_of_the_role(place: Place) -> None:
    """Ansible itself does not hand it on, so that the window is waited for."""
    path = place.window([DONE])
    (content,) = yaml.safe_load(Path(path).read_text())
    content["tasks"][-1] |= {"async": 60, "poll": 0}
    assert place.play(str(place.write("window.yml", [content]))) == 0, place.output
    assert operations(place) == [DISCONNECT, CONNECT]
    place.assert_back()


@pytest.mark.long
@pytest.mark.parametrize("killed", [False, True])
def test_become(place: Place, killed: bool) -> None:
    play = {"become": True, "become_method": "su", "become_flags": "-m"}  # with the home of this test
    with place.playing(place.window([SLOW if killed else DONE], play=play)) as playing:
        if killed:
            until((place.ansible.folder / "working").exists)
            os.killpg(playing.pid, signal.SIGKILL)
    assert killed or playing.returncode == 0, place.output
    place.assert_back()
    assert operations(place) == [DISCONNECT, CONNECT]
    assert [report["reason"] for report in place.reports()] == (["gone"] if killed else [])


@pytest.mark.long
@pytest.mark.parametrize("on_role", [False, True], ids=["play", "role"])
def test_a_timeout_of_each_task(place: Place, on_role: bool) -> None:
    """The user's task takes too long: Ansible ends it, and the window brings the stores back."""
    path = place.window([{**SLOW, "timeout": 2}])
    if on_role:
        path = place.window([SLOW])
        (content,) = yaml.safe_load(Path(path).read_text())
        content["tasks"][-1]["timeout"] = 20
        path = str(place.write("window.yml", [content]))
    assert place.play(path) == 2
    place.assert_back()
    assert operations(place) == [DISCONNECT, CONNECT]


@pytest.mark.long
def test_options_that_are_left_out_are_those_of_module_defaults(place: Place) -> None:
    place.ansible.environment["AWS_REGION"] = "eu-west-1"
    left_out = dict.fromkeys(("region", "profile", "assume_role_arn"), "{{ not_there | default(omit) }}")
    defaults = {"module_defaults": {"group/keyops.aws.aws": {"region": "us-east-1"}}}
    path = place.window([DONE], play=defaults, stores=[{"name": "payments", **left_out}])
    assert place.play(path) == 0, place.output
    assert operations(place) == [DISCONNECT, CONNECT]
    place.assert_back()


# ---- connections


@needs_ssh
@pytest.mark.long
@pytest.mark.parametrize("pipelining", ["true", "false"], ids=["pipelined", "files"])
@pytest.mark.parametrize("login_shell", ["/bin/sh", "/bin/bash", "/usr/bin/tcsh"])
def test_by_ssh(place: Place, login_shell: str, pipelining: str) -> None:
    if shutil.which(login_shell) is None:
        pytest.skip(f"needs {login_shell} (apt-get install {Path(login_shell).name})")
    with sshd(place, shell=login_shell) as server:
        arguments = inventory(place, "payments", **server.variables())
        path = window_of_each(place, [DONE])
        done = run(place, "ansible-playbook", *arguments, path, environment={"ANSIBLE_PIPELINING": pipelining})
        assert done.exit_code == 0, done.reported
        assert operations(place) == [DISCONNECT, CONNECT]
        place.assert_back()


@needs_ssh
@pytest.mark.long
def test_by_ssh_the_lease_ends_a_window_whose_play_is_killed(place: Place) -> None:
    with sshd(place) as server:
        path = window_of_each(place, [shell(f"touch {place.ansible.folder}/working; sleep 60")])
        (content,) = yaml.safe_load(Path(path).read_text())
        content["tasks"][-1]["vars"][f"{PREFIX}lease_minutes"] = 1
        with place.playing(
            *inventory(place, "payments", **server.variables()), str(place.write("window.yml", [content]))
        ) as playing:
            until((place.ansible.folder / "working").exists)
            os.killpg(playing.pid, signal.SIGKILL)
        until(place.is_back, 90)
        place.assert_back()
        assert [report["reason"] for report in place.reports()] == ["over"]


@pytest.mark.long
@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_local_with_pipelining_and_without(place: Place, pipelining: str) -> None:
    place.ansible.environment["ANSIBLE_PIPELINING"] = pipelining
    assert place.play(place.window([DONE])) == 0, place.output
    assert operations(place) == [DISCONNECT, CONNECT]
    place.assert_back()


@needs_ssh
@pytest.mark.long
@pytest.mark.parametrize("home", ["/proc", "/dev/null/home"])
def test_a_home_that_cannot_be_written(place: Place, home: str) -> None:
    """Nothing is disconnected that nobody could remember. A single task needs no home."""
    with sshd(place, HOME=home) as server:
        variables = {"ansible_remote_tmp": str(place.ansible.folder / "remote"), **server.variables()}
        arguments = inventory(place, "payments", **variables)
        done = run(place, "ansible-playbook", *arguments, window_of_each(place, [DONE]))
        assert done.exit_code == 2, done.reported
        assert "None of the stores was changed." in done.reported or "Nothing was disconnected." in done.reported
        assert f"{home}/.keyops-aws/maintenance" in done.reported
        assert "Traceback" not in done.reported
        assert operations(place) == []
        one = run(place, "ansible", "payments", *arguments, "-m", MODULE, "-a", "name=payments state=disconnected")
        assert one.exit_code == 0, one.reported
        assert operations(place) == [DISCONNECT]


@pytest.mark.parametrize("with_role", [False, long(True)], ids=["task", "role"])
def test_an_interpreter_without_boto3(place: Place, with_role: bool) -> None:
    python = place.ansible.folder / "bare"
    subprocess.run([str(BIN / "python"), "-m", "venv", "--without-pip", str(python)], check=True)
    arguments = inventory(place, "payments", ansible_python_interpreter=str(python / "bin" / "python"))
    if with_role:
        done = run(place, "ansible-playbook", *arguments, window_of_each(place, [DONE]))
        assert "Nothing was disconnected." in done.reported
        assert not (place.ansible.folder / "done-payments").exists()
    else:
        done = run(place, "ansible", "payments", *arguments, "-m", MODULE, "-a", "name=payments state=disconnected")
    assert done.exit_code == 2
    assert "Failed to import the required Python library (botocore and boto3)" in done.reported
    assert "bare/bin/python" in done.reported
    assert operations(place) == []


# ---- from the middle, and step by step


STEPS_OF_ROLE = (
    "Validating arguments against arg spec main",
    "Check the window before anything is disconnected",
    "Show the plan",
    "Disconnect the key stores",
    "Run the maintenance tasks",
    "Check that the window has begun",
    "Run your tasks",
)


@pytest.mark.long
def test_step_by_step(place: Place) -> None:
    done = run(place, "ansible-playbook", place.window([DONE]), "--step", given="y\nc\n")
    assert done.exit_code == 0, done.reported
    assert operations(place) == [DISCONNECT, CONNECT]
    place.assert_back()


@pytest.mark.long
def test_step_by_step_and_no_to_the_reconnect(place: Place) -> None:
    """The keeper does it when the play has ended."""
    answers = "y\n" * len(STEPS_OF_ROLE) + "y\n" + "n\n" * 4
    done = run(place, "ansible-playbook", place.window([DONE]), "--step", given=answers)
    assert (place.ansible.folder / "done-localhost").exists(), done.reported
    place.assert_back()
    assert operations(place) == [DISCONNECT, CONNECT]


@pytest.mark.parametrize(
    "step",
    [
        long("Show the plan"),
        "Disconnect the key stores",
        "Run the maintenance tasks",
    ],
)
def test_started_in_the_middle(place: Place, step: str) -> None:
    """The window was not checked, so that nothing is disconnected, and the work that relies on it is not done."""
    done = run(place, "ansible-playbook", place.window([DONE]), "--start-at-task", f"{ROLE} : {step}")
    assert operations(place) == []
    assert not (place.ansible.folder / "done-localhost").exists()
    assert done.exit_code == 2, done.reported
    assert "Nothing was disconnected, because the window was not checked before." in done.reported


@pytest.mark.long
def test_a_play_that_starts_in_the_middle_shows_how_to_reconnect(place: Place) -> None:
    step = f"{ROLE} : Disconnect the key stores"
    done = run(place, "ansible-playbook", place.window([DONE]), "--start-at-task", step)
    assert "--tags reconnect" in done.reported


@pytest.mark.long
def test_step_by_step_and_no_to_the_disconnect(place: Place) -> None:
    answers = "y\n" * 3 + "n\n" + "c\n"
    done = run(place, "ansible-playbook", place.window([DONE]), "--step", given=answers)
    assert operations(place) == [], done.reported
    assert not (place.ansible.folder / "done-localhost").exists()
    assert "The maintenance tasks were not run, because the key stores were not disconnected before." in done.reported


# ---- other programs


def test_ad_hoc(place: Place) -> None:
    one = run(place, "ansible", "localhost", "-m", MODULE, "-a", "name=payments state=disconnected")
    assert one.exit_code == 0, one.reported
    assert f"operations: - {DISCONNECT}" in one.reported
    assert operations(place) == [DISCONNECT]


@pytest.mark.long
@pytest.mark.parametrize("task", ["include_role", "import_role"])
def test_ad_hoc_with_the_role(place: Place, task: str) -> None:
    place.write("work.yml", [DONE])
    variables = json.dumps(
        {f"{PREFIX}stores": [{"name": "payments"}], f"{PREFIX}tasks_file": str(place.ansible.folder / "work.yml")}
    )
    done = run(place, "ansible", "localhost", "-m", task, "-a", f"name={ROLE}", "-e", variables)
    assert done.exit_code == 0, done.reported
    assert "undefined" not in done.reported
    assert operations(place) == [DISCONNECT, CONNECT]
    place.assert_back()


@pytest.mark.long
def test_ansible_console(place: Place) -> None:
    given = f"{MODULE} name=payments state=disconnected\n{MODULE} name=payments state=connected\nexit\n"
    done = run(place, "ansible-console", "localhost", given=given)
    assert done.exit_code == 0, done.reported
    assert operations(place) == [DISCONNECT, CONNECT]
    assert place.is_back()


@pytest.mark.long
def test_ansible_console_with_the_role(place: Place) -> None:
    variables = json.dumps({f"{PREFIX}stores": [{"name": "payments"}]})
    done = run(place, "ansible-console", "localhost", "-e", variables, given=f"include_role name={ROLE}\nexit\n")
    assert done.exit_code == 0, done.reported
    assert operations(place) == [DISCONNECT, CONNECT]
    place.assert_back()


@needs_ssh
@pytest.mark.long
@pytest.mark.parametrize(
    ("connection", "at"),
    [
        ("local", "work"),
        ("local", "disconnect"),
        ("ssh", "work"),
        ("ssh", "disconnect"),
    ],
)
def test_ctrl_c_shows_what_reconnects_the_stores(place: Place, connection: str, at: str) -> None:
    place.ansible.control.set_transitions(connect_seconds=1, disconnect_seconds=5 if at == "disconnect" else 1)
    with sshd(place) as server:
        arguments = inventory(place, "payments", **(server.variables() if connection == "ssh" else {}))
        path = window_of_each(place, [shell(f"touch {place.ansible.folder}/working; sleep 60")])
        (content,) = yaml.safe_load(Path(path).read_text())
        content["tasks"][-1]["vars"][f"{PREFIX}lease_minutes"] = 1
        playbook = str(place.write("window.yml", [content]))
        with in_a_terminal(place.ansible, *arguments, playbook) as (playing, ours, theirs):
            os.close(theirs)
            until(
                (place.ansible.folder / "working").exists if at == "work" else lambda: place.asked_for(DISCONNECT) == 1
            )
            os.killpg(playing.pid, signal.SIGINT)
            shown = all_of(ours)
        reported = " ".join(shown.split())
        until(place.is_back, 90)
        if connection == "local":
            place.assert_back()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    early = "as soon as Ansible has ended, or at" if connection == "local" else "at"
    assert f"If this play ends early, a keeper connects the stores again {early} " in reported
    if connection == "local":  # on another host, the keeper has no terminal
        out = "The play has ended, and these key stores are out of service: payments. Their keeper connects them now."
        assert out in reported
        assert "payments in us-east-1 is CONNECTED." in reported


# ---- what reads the output


@pytest.mark.parametrize("with_role", [False, long(True)], ids=["task", "role"])
@pytest.mark.parametrize("callback", ["ansible.posix.json", long("ansible.posix.jsonl")])
def test_callbacks_of_json_write_nothing_else(place: Place, callback: str, with_role: bool) -> None:
    place.ansible.control.set_transitions(connect_seconds=1, disconnect_seconds=3)
    task = {"name": "Out", MODULE: {"name": "payments", "state": "disconnected"}}
    play = {"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": [task]}
    path = place.window([DONE]) if with_role else str(place.write("play.yml", [play]))
    log = place.ansible.folder / "log"
    environment = {"ANSIBLE_STDOUT_CALLBACK": callback, "ANSIBLE_LOG_PATH": str(log)}
    done = run(place, "ansible-playbook", path, "-e", "keyops_aws_progress_seconds=1", environment=environment)
    assert done.exit_code == 0, done.reported
    lines = done.output.strip().splitlines()
    reported = [json.loads(line) for line in lines] if callback.endswith("jsonl") else [json.loads(done.output)]
    assert reported[-1]["stats"]["localhost"]["failures"] == 0
    assert "is DISCONNECTING, " in done.errors
    assert "is DISCONNECTING, " in log.read_text()


# ---- Mitogen


MITOGEN_SECONDS = 90.0


def with_mitogen(place: Place, path: str) -> Done:
    """Run a playbook with Mitogen, in an environment with the versions of this one. A hang is a failure."""
    packages = [f"{name}=={version(name)}" for name in ("ansible-core", "boto3")]
    programs = environment_of("mitogen", "mitogen==0.3.54", *packages)
    (strategies,) = programs.parent.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy")
    own = {
        "ANSIBLE_STRATEGY_PLUGINS": str(strategies),
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
    }
    return run(place, programs / "ansible-playbook", path, seconds=MITOGEN_SECONDS, environment=own)


@pytest.mark.long
def test_mitogen_runs_a_window_without_a_keeper(place: Place) -> None:
    done = with_mitogen(place, place.window([DONE], keeper=False))
    assert done.exit_code == 0, done.reported
    assert operations(place) == [DISCONNECT, CONNECT]
    place.assert_back()


@pytest.mark.long
def test_mitogen_cannot_have_a_keeper_and_says_so(place: Place) -> None:
    done = with_mitogen(place, place.window([DONE]))
    assert done.exit_code == 2
    assert "Nothing was disconnected, because no keeper could be started." in done.reported
    assert "where modules do not run as files (Mitogen)" in done.reported
    assert not (place.ansible.folder / "done-localhost").exists()
    assert operations(place) == []
    place.assert_back()


@pytest.mark.long
def test_mitogen_runs_a_task(place: Place) -> None:
    task = {"name": "Disconnect", MODULE: {"name": "payments", "state": "disconnected"}, "register": "result"}
    check = {"name": "Check", "ansible.builtin.assert": {"that": f"result.operations == ['{DISCONNECT}']"}}
    play = {"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": [task, check]}
    done = with_mitogen(place, str(place.write("play.yml", [play])))
    assert done.exit_code == 0, done.reported
    assert place.state() == "DISCONNECTED"


# ---- the guide


TEST = re.compile(r"``(?:(test_\w+\.py)::)?(test_\w+)``")


def test_the_guide_names_every_test_and_no_other() -> None:
    text = (GUIDES / "guide_ways_to_run.rst").read_text("utf-8")
    own = Path(__file__).name
    named: dict[str, set[str]] = {}
    for file, test in TEST.findall(text):
        named.setdefault(file or own, set()).add(test)
    there = {
        file: set(re.findall(r"(?m)^def (test_\w+)", (Path(__file__).parent / file).read_text("utf-8")))
        for file in named
    }
    for file, tests in named.items():
        assert tests <= there[file], file
    assert there[own] - named[own] == {"test_the_guide_names_every_test_and_no_other"}
