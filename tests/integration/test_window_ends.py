# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""However a window ends, the store is CONNECTED again, without anything being run again, and nothing is left on the host."""

from __future__ import annotations

import contextlib
import json
import keyword
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.environment import ROOT
from tests.integration.harness import GROUP_MODULE
from tests.integration.harness import MODULE
from tests.integration.terminal import in_a_terminal
from tests.integration.windows import CONNECT
from tests.integration.windows import DISCONNECT
from tests.integration.windows import LOST
from tests.integration.windows import PREFIX
from tests.integration.windows import ROLE
from tests.integration.windows import SLOW
from tests.integration.windows import UNTIL_DONE
from tests.integration.windows import Place
from tests.integration.windows import Tasks
from tests.integration.windows import long
from tests.integration.windows import meta
from tests.integration.windows import shell
from tests.integration.windows import until

NEEDS_END_ROLE = pytest.mark.skipif(version("ansible-core").startswith("2.17."), reason="has no end_role")


# ---- E1: what can be seen is refused


@pytest.mark.parametrize(
    ("work", "where"),
    [
        ([meta("end_play")], "work.yml:1 (meta: end_play)"),
        pytest.param([{**meta("end_host"), "when": "false"}], "(meta: end_host)", marks=pytest.mark.long),
        (
            [{"name": "Block", "block": [SLOW], "always": [{"name": "End", "action": "meta end_batch"}]}],
            "(meta: end_batch)",
        ),
        ([{"name": "Import", "import_tasks": "deep/more.yml"}], "deep/more.yml:3 (meta: end_play)"),
        ([{"name": "Import", "import_role": {"name": "ending"}}], "roles/ending/tasks/main.yml:3 (meta: end_play)"),
    ],
    ids=["plain", "conditional", "in a block", "imported", "imported role"],
)
def test_e1_a_task_that_ends_the_play_is_refused(place: Place, work: Tasks, where: str) -> None:
    ending = "---\n- block:\n    - meta: end_play\n"
    place.write("deep/more.yml", ending)
    place.write("roles/ending/tasks/main.yml", ending)
    assert place.play(place.window(work)) == 2
    assert "Nothing was disconnected. The key stores would not be connected at the end, because" in place.output
    assert where in place.output
    assert place.asked_for(DISCONNECT) == 0
    assert place.process_ids() == []


# ---- E2: what cannot be seen is brought back, and told


@pytest.mark.parametrize(
    "ending", ["end_play", "end_host", "end_batch", pytest.param("end_role", marks=NEEDS_END_ROLE)]
)
@pytest.mark.parametrize("kind", ["file", "role"])
@pytest.mark.long
def test_e2_a_play_that_is_ended_at_run_time(place: Place, ending: str, kind: str) -> None:
    place.write("deep/more.yml", [meta(ending)])
    place.write("roles/ending/tasks/main.yml", [meta(ending)])
    include = {"include_tasks": "deep/more.yml"} if kind == "file" else {"include_role": {"name": "ending"}}
    assert place.play(place.window([{"name": "Include", **include}])) == 0
    place.assert_back()
    if (kind, ending) == ("role", "end_role"):
        assert place.reports() == []  # that leaves the included role alone, and the window goes on
        return
    (report,) = place.reports()
    assert (report["reason"], report["connection_state"], report["msg"]) == ("gone", "CONNECTED", "")
    assert place.play(place.window([])) == 0
    assert "was not closed: its play had ended. The keeper connected it at 20" in place.output
    assert place.reports() == []
    place.assert_back()


# ---- E3 and E4: variables of the user


def names_in_role() -> list[str]:
    """Every word in the files of the role that could be a variable, but for its options."""
    words = set()
    for path in (ROOT / "roles" / "key_store_maintenance" / "tasks").glob("*.yml"):
        words |= set(re.findall(r"[a-z_]{3,}", path.read_text()))
    options = (ROOT / "roles" / "key_store_maintenance" / "defaults" / "main.yml").read_text()
    keywords = {*keyword.kwlist, "name", "when", "tags", "register", "block", "rescue", "always", "false", "true"}
    return sorted(
        word
        for word in words - keywords
        if not re.search(rf"^{word}:", options, re.MULTILINE) and word not in (f"{PREFIX}stores", "playbook_dir")
    )


def options_of_role() -> list[str]:
    lines = (ROOT / "roles" / "key_store_maintenance" / "defaults" / "main.yml").read_text().splitlines()
    return [line.partition(":")[0] for line in lines if line.startswith(PREFIX)]


def test_e3_facts_that_are_set_during_the_work(place: Place) -> None:
    every = [*names_in_role(), *options_of_role(), f"{PREFIX}stores", f"{PREFIX}plan", f"{PREFIX}__state"]
    facts = {name: [] if name.endswith("stores") else "/no/such" for name in every}
    assert place.play(place.window([{"name": "Work", "ansible.builtin.set_fact": facts}])) == 0, place.output
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    place.assert_back()


@pytest.mark.parametrize("kind", ["extra variables", long("facts"), long("registered")])
@pytest.mark.parametrize("value", [[], long("text")], ids=["list", "text"])
@pytest.mark.long
def test_e4_variables_of_any_name_that_are_set_before(place: Place, kind: str, value: Any) -> None:
    old = [
        "stores",
        "lines",
        "items",
        "item",
        "message",
        "reasons",
        "no_file",
        "otherwise",
        "reached_by",
        "step",
        "window",
    ]
    every = dict.fromkeys([*names_in_role(), *old, f"{PREFIX}plan", f"{PREFIX}memory_of"], value)
    before: Tasks = []
    arguments: list[str] = []
    if kind == "facts":
        before = [{"name": "Set", "ansible.builtin.set_fact": every}]
    elif kind == "registered":
        before = [{"name": name, "ansible.builtin.command": "true", "register": name} for name in list(every)[:12]]
    else:
        arguments = ["-e", json.dumps(every)]
    work = [{"name": "Work", "ansible.builtin.command": "touch done"}]
    assert place.play(place.window(work, before=before), *arguments) == 0, place.output
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    assert (place.ansible.folder / "done").exists()
    place.assert_back()


# ---- E5: a host is lost, and other ends that Ansible knows


@pytest.mark.long
def test_e5_a_host_that_cannot_be_reached(place: Place) -> None:
    assert place.play(place.window([LOST])) == 4
    place.assert_back()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1


@pytest.mark.long
def test_e5_another_host_fails_and_any_error_is_fatal(place: Place) -> None:
    """One host has the window, the other one fails in the middle of it."""
    place.write(
        "hosts",
        "[all:vars]\nansible_connection=local\nansible_python_interpreter='{{ ansible_playbook_python }}'\n[all]\none\ntwo\n",
    )
    fails = {"name": "Fail", "ansible.builtin.command": "false", "when": "inventory_hostname == 'two'"}
    role = {"name": "Window", "ansible.builtin.include_role": {"name": ROLE}, "when": "inventory_hostname == 'one'"}
    own = {f"{PREFIX}stores": [{"name": "payments"}], f"{PREFIX}tasks_file": "work.yml"}
    place.write(
        "work.yml",
        [{"name": "Flush", "ansible.builtin.meta": "flush_handlers"}, SLOW | {"ansible.builtin.shell": "true"}],
    )
    handlers = [{"name": "Handler", "ansible.builtin.command": "false"}]
    notify = {"name": "Notify", "ansible.builtin.command": "true", "notify": "Handler"}
    play = {
        "name": "Test",
        "hosts": "all",
        "gather_facts": False,
        "any_errors_fatal": True,
        "handlers": handlers,
        "tasks": [notify, {**role, "vars": own}, fails],
    }
    assert place.play("-i", "hosts", str(place.write("play.yml", [play]))) != 0
    place.assert_back()


@pytest.mark.long
def test_e5_a_mistake_that_shows_at_run_time(place: Place) -> None:
    place.write("deep/more.yml", "- name: Broken\n  ansible.builtin.debug: [")
    include = {"name": "Include", "ansible.builtin.include_tasks": "deep/more.yml"}
    assert place.play(place.window([include])) != 0
    place.assert_back()
    assert place.asked_for(DISCONNECT) == 1


# ---- E6 and E7: killed


@pytest.mark.parametrize("name", ["SIGKILL", long("SIGINT"), long("SIGTERM"), long("SIGHUP")])
@pytest.mark.parametrize("whole_group", [True, long(False)], ids=["group", "alone"])
def test_e6_killed_during_the_work(place: Place, name: str, whole_group: bool) -> None:
    with place.playing(place.window([SLOW])) as playing:
        until((place.ansible.folder / "working").exists)
        kill = os.killpg if whole_group else os.kill
        kill(playing.pid, getattr(signal, name))
    assert playing.returncode != 0
    place.assert_back()
    assert [report["reason"] for report in place.reports()] == ["gone"]


@pytest.mark.parametrize("operation", [DISCONNECT, long(CONNECT)])
@pytest.mark.parametrize("delay", [0.5, long(0.0)])
def test_e7_killed_while_it_moves(place: Place, operation: str, delay: float) -> None:
    place.ansible.control.set_transitions(connect_seconds=3, disconnect_seconds=3)
    with place.playing(place.window([])) as playing:
        until(lambda: place.asked_for(operation) == 1)
        time.sleep(delay)
        os.killpg(playing.pid, signal.SIGKILL)
    place.assert_back()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1


@pytest.mark.long
def test_e7_killed_between_the_lease_and_the_disconnect(place: Place) -> None:
    """Ten stores take turns: the last ones have a lease, and have not been disconnected."""
    for number in range(9):
        place.store(f"store-{number}")
    with place.playing(place.window([])) as playing:
        until(lambda: place.asked_for(DISCONNECT) >= 3)
        os.killpg(playing.pid, signal.SIGKILL)
    place.assert_back()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) < 10


# ---- E9: the lease is over


@pytest.mark.long
def test_e9_the_work_outlasts_the_lease(place: Place) -> None:
    with place.playing(place.window([UNTIL_DONE], lease_minutes=1)) as playing:
        until(lambda: place.asked_for(CONNECT) == 1, 90)
        until(place.is_back)
        time.sleep(1)
        place.write("done", "")
    assert playing.returncode == 0, place.output
    assert "was over before the window was closed. The keeper connected it at 20" in place.output
    assert place.asked_for(CONNECT) == 1
    assert place.reports() == []
    place.assert_back()


# ---- E13 to E15: who begins last is the owner


@pytest.mark.long
def test_e13_interrupted_while_it_disconnects_and_reconnected_at_once(place: Place) -> None:
    place.ansible.control.set_transitions(connect_seconds=1, disconnect_seconds=10)
    for number in range(3):
        place.store(f"store-{number}")
    with place.playing(path := place.window([])) as playing:
        until(lambda: place.asked_for(DISCONNECT) == 4)
        os.killpg(playing.pid, signal.SIGINT)
    assert place.play(path, "--tags", "reconnect") == 0, place.output
    assert place.is_back()
    place.assert_back()
    assert place.asked_for(DISCONNECT) == 4


@pytest.mark.parametrize("with_role", [False, True], ids=["task", "role"])
@pytest.mark.long
def test_e14_a_task_that_is_out_of_time_and_the_opposite_at_once(place: Place, with_role: bool) -> None:
    place.ansible.control.set_transitions(connect_seconds=1, disconnect_seconds=12)
    if with_role:
        place.ansible.environment["ANSIBLE_TASK_TIMEOUT"] = "9"
        assert place.play(place.window([])) == 2
    else:
        out = {"name": "Out", MODULE: {"name": "payments", "state": "disconnected"}, "timeout": 6}
        back = {"name": "Back", MODULE: {"name": "payments", "state": "connected"}}
        play = {
            "name": "Test",
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"name": "Both", "block": [out], "always": [back]}],
        }
        assert place.play(str(place.write("play.yml", [play]))) == 2
        assert place.is_back()
    place.assert_back()
    assert place.asked_for(DISCONNECT) == 1


@pytest.mark.long
def test_e15_interrupted_while_it_reconnects_and_the_whole_window_again(place: Place) -> None:
    place.ansible.control.set_transitions(connect_seconds=8, disconnect_seconds=1)
    with place.playing(place.window([])) as playing:
        until(lambda: place.asked_for(CONNECT) == 1)
        os.killpg(playing.pid, signal.SIGINT)
    place.ansible.control.set_transitions(connect_seconds=1)
    ten_seconds = f"for turn in 1 2 3 4 5 6 7 8 9 10; do echo turn; sleep 1; done > {place.ansible.folder}/turns"
    with place.playing(place.window([shell(ten_seconds)]), expected=0):
        until((place.ansible.folder / "turns").exists)
        for _turn in range(50):
            assert place.state() == "DISCONNECTED"
            time.sleep(0.1)
    assert "DISCONNECTED CONNECTED" in place.output
    place.assert_back()


# ---- what else a stranger may do


@pytest.mark.long
def test_the_home_is_emptied_during_the_work(place: Place) -> None:
    empty = shell("rm -rf $HOME/.ansible_async $HOME/.keyops-aws")
    assert place.play(place.window([empty])) == 0, place.output
    place.assert_back()
    assert place.play(place.window([empty, LOST])) == 4
    place.assert_back()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 2


@pytest.mark.long
def test_the_condition_of_the_role_is_changed_during_the_work(place: Place) -> None:
    """It is that of each task in the role, so that Ansible skips the reconnect as well."""
    path = place.window([{"name": "Work", "ansible.builtin.set_fact": {"wanted": False}}])
    (play,) = yaml.safe_load(Path(path).read_text())
    play["tasks"][0]["when"] = "wanted | default(true)"
    assert place.play(str(place.write("window.yml", [play]))) == 0, place.output
    place.assert_back()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1


@pytest.mark.long
def test_errors_are_ignored(place: Place) -> None:
    """Where the window is refused, the work is not done, whatever is to be ignored."""
    place.ansible.control.set_cluster(place.cluster(), active_hsms=0)
    path = place.window([{"name": "Work", "ansible.builtin.command": "touch done"}])
    (play,) = yaml.safe_load(Path(path).read_text())
    play["tasks"][0]["ignore_errors"] = True
    place.play(str(place.write("window.yml", [play])))
    assert "has 0 active HSMs" in place.output
    assert not (place.ansible.folder / "done").exists()
    assert place.asked_for(DISCONNECT) == 0


@pytest.mark.long
def test_the_keeper_is_terminated(place: Place) -> None:
    """As when the host is shut down: a connect that KMS has accepted goes on without it."""
    with place.playing(place.window([SLOW])) as playing:
        until((place.ansible.folder / "working").exists)
        os.killpg(playing.pid, signal.SIGSTOP)
        (keeper,) = place.process_ids()
        os.kill(keeper, signal.SIGTERM)
        until(place.is_back)
        os.killpg(playing.pid, signal.SIGKILL)
    place.assert_back()
    assert [report["reason"] for report in place.reports()] == ["ended"]


@pytest.mark.long
def test_a_second_window_at_the_same_time_is_refused(place: Place) -> None:
    with place.playing(path := place.window([SLOW])) as playing:
        until((place.ansible.folder / "working").exists)
        done = place.ansible.run(path)
        assert done.exit_code == 2
        reported = " ".join(done.output.split())
        assert "is in another maintenance window, which began at 20" in reported
        assert "Wait for the end of its play, or end that play." in reported
        assert place.state() == "DISCONNECTED"
        os.killpg(playing.pid, signal.SIGTERM)
    place.assert_back()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1


@pytest.mark.long
def test_a_store_that_another_window_has_by_now_is_left_to_it(place: Place) -> None:
    """The first window lost its keeper, and somebody connected its store, before the second one began."""
    place.ansible.control.set_transitions(connect_seconds=1, disconnect_seconds=1)
    with place.playing(path := place.window([UNTIL_DONE])) as first:
        until((place.ansible.folder / "working").exists)
        (keeper,) = place.process_ids()
        os.kill(keeper, signal.SIGKILL)
        assert place.ansible.run(path, "--tags", "reconnect").exit_code == 0
        second = place.window([shell("touch second; until [ -e end ]; do sleep 0.1; done")])
        with place.playing(second, output="second-output", expected=0):
            until((place.ansible.folder / "second").exists)
            place.write("done", "")
            first.wait(60)
            assert first.returncode == 2
            assert "This task left it as it is. That window connects it at its end." in place.output
            assert place.state() == "DISCONNECTED"
            place.write("end", "")
    place.assert_back()
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 2


@pytest.mark.long
def test_a_reconnect_that_is_killed_names_its_stores(place: Place) -> None:
    place.ansible.control.set_transitions(connect_seconds=5)
    with place.playing(path := place.window([], keeper=False)) as playing:
        until(lambda: place.asked_for(CONNECT) == 1)
        for process in place.process_ids():
            os.kill(process, signal.SIGKILL)
    assert playing.returncode == 2
    store_id = place.ids["payments"]
    assert (
        f"These key stores may be out of service: payments ({store_id}). Run the playbook again with --tags reconnect."
        in place.output
    )
    assert place.play(path, "--tags", "reconnect") == 0
    place.assert_back()


ELSEWHERE = """
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = "name: elsewhere\\nshort_description: A host that only seems to be another one\\noptions: {}"

class Connection(Local):
    transport = "elsewhere"
"""


@pytest.mark.long
def test_on_another_host_the_keeper_waits_for_the_end_of_the_lease(place: Place) -> None:
    place.write("connection_plugins/elsewhere.py", ELSEWHERE)
    elsewhere = {"ansible_connection": "elsewhere", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    path = place.window([LOST], play={"vars": elsewhere}, lease_minutes=1)
    assert place.play(path) == 4
    assert re.search(r"a keeper connects the stores again at [\d: -]+ \(UTC\) at the latest", place.output)
    time.sleep(5)
    assert place.state() == "DISCONNECTED"
    until(place.is_back, 90)
    place.assert_back()
    assert [report["reason"] for report in place.reports()] == ["over"]


# ---- what the keeper tells, and what it does not


LOG = Path("/dev/log")


@contextlib.contextmanager
def log_of_host() -> Iterator[list[str]]:
    """The lines that are written to it meanwhile. They are read at once, or else who writes would wait."""
    lines: list[str] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                lines.append(log.recv(65536).decode(errors="replace"))

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.settimeout(0.2)
        log.bind(str(LOG))
        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield lines
        finally:
            LOG.unlink()
            ended.set()
            reader.join()


@pytest.mark.skipif(os.geteuid() != 0 or LOG.exists(), reason="needs a host whose log this test can be")
@pytest.mark.long
def test_what_the_keeper_did_is_in_the_log_of_the_host(place: Place) -> None:
    name = f"payments-{os.getpid()}"  # other tests write into the same log meanwhile
    place.store(name)
    with log_of_host() as lines:
        assert place.play(place.window([LOST])) == 4
        place.assert_back()
    reported = [line for line in lines if f"{name} in us-east-1: The window that began at 20" in line]
    assert len(reported) == 1, lines
    assert "was not closed: its play had ended. The keeper connected it at 20" in reported[0]


@pytest.mark.long
def test_ctrl_c_shows_what_happens_next(place: Place) -> None:
    path = place.window([SLOW])
    with in_a_terminal(place.ansible, path) as (playing, ours, theirs):
        shown = b""
        while b"TASK [keyops.aws.key_store_maintenance : Work]" not in shown:
            shown += os.read(ours, 65536)
        until((place.ansible.folder / "working").exists)
        os.killpg(playing.pid, signal.SIGINT)
        os.close(theirs)  # from now on, only the keeper has it open
        while b"payments in us-east-1 is CONNECTED." not in shown:
            shown += os.read(ours, 65536)
    os.close(ours)
    reported = b"The play has ended, and these key stores are out of service: payments. Their keeper connects them now."
    assert reported in shown
    place.assert_back()


@pytest.mark.long
def test_a_keeper_that_cannot_connect_says_so(place: Place) -> None:
    place.ansible.control.set_connect_outcomes(place.ids["payments"], ["INSUFFICIENT_CLOUDHSM_HSMS"])
    assert place.play(path := place.window([LOST])) == 4
    until(lambda: place.state() == "FAILED")
    until(lambda: not place.process_ids(), 20)
    (report,) = place.reports()
    assert report["connection_state"] == "FAILED"
    assert "INSUFFICIENT_CLOUDHSM_HSMS" in report["msg"]
    assert place.asked_for(CONNECT) == 1  # it acts once
    assert place.play(path, "--tags", "reconnect") == 0, place.output
    assert "The keeper tried to connect it at 20" in place.output
    place.assert_back()


@pytest.mark.long
def test_credentials_are_in_memory_only(place: Place) -> None:
    secret = "CanaryOfTheSecretKeyOfAStore0123456789"
    stores = [{"name": "payments", "access_key": "AKIAIOSFODNN7OTHERS0", "secret_key": secret}]
    path = place.window([UNTIL_DONE], stores=stores)
    home = Path(place.ansible.environment["HOME"])
    with place.playing(path, "-vvvv", expected=0):
        until((place.ansible.folder / "working").exists)
        (keeper,) = place.process_ids()
        command = Path(f"/proc/{keeper}/cmdline").read_text() + Path(f"/proc/{keeper}/environ").read_text()
        written = [file for file in home.rglob("*") if file.is_file() and secret in file.read_text("latin-1")]
        place.write("done", "")
    assert secret not in command
    assert written == []
    assert secret not in place.output
    place.assert_back()


@pytest.mark.long
def test_the_keeper_has_the_credentials_that_the_window_began_with(place: Place) -> None:
    stores = [{"name": "payments", "access_key": "AKIAIOSFODNN7OTHERS0", "secret_key": "CanaryOfASecretKey0123456789"}]
    facts = {f"{PREFIX}stores": [], "ansible_python_interpreter": "/no/such"}
    assert place.play(place.window([{"name": "Work", "ansible.builtin.set_fact": facts}], stores=stores)) == 0, (
        place.output
    )
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    place.assert_back()


# ---- the keeper can be switched off, and is not needed by what runs again


@pytest.mark.long
def test_without_a_keeper_the_tag_brings_the_stores_back(place: Place) -> None:
    assert place.play(path := place.window([LOST], keeper=False)) == 4
    until(lambda: not place.process_ids(), 20)
    assert place.state() == "DISCONNECTED"
    assert place.play(path, "--tags", "reconnect") == 0, place.output
    place.assert_back()


@pytest.mark.long
def test_a_keeper_that_is_killed_is_not_needed(place: Place) -> None:
    with place.playing(place.window([UNTIL_DONE]), expected=0):
        until((place.ansible.folder / "working").exists)
        (keeper,) = place.process_ids()
        os.kill(keeper, signal.SIGKILL)
        place.write("done", "")
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    place.assert_back()


@pytest.mark.long
def test_the_region_of_module_defaults_is_that_of_preflight_too(place: Place) -> None:
    """The cluster has no active HSM: what looks into another Region would see no cluster."""
    place.ansible.control.set_cluster(place.cluster(), active_hsms=0)
    place.ansible.environment["AWS_REGION"] = "eu-west-1"
    for defaults in ("group/keyops.aws.aws", GROUP_MODULE):
        path = place.window([], play={"module_defaults": {defaults: {"region": "us-east-1"}}})
        assert place.play(path) == 2
        assert "has 0 active HSMs, and needs 1 to connect it again." in place.output
    assert place.asked_for(DISCONNECT) == 0
