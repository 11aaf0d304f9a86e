# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role key_store_maintenance: every promise, through ansible-playbook."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dev.environment import BIN
from kms_emulator import HttpControl
from tests.integration.harness import Ansible
from tests.sdk import needs_last_usage

DISCONNECT = "DisconnectCustomKeyStore"
CONNECT = "ConnectCustomKeyStore"
RANDOM = "GenerateRandom"
NO_KEEPER = {"key_store_maintenance_keeper": False}
FAIL = [{"name": "Work", "ansible.builtin.fail": {"msg": "The work went wrong."}}]


@dataclass
class Outcome:
    """What a window left behind.

    Attributes:
        exit_code: of ansible-playbook.
        output: of ansible-playbook, its lines joined, as Ansible breaks long ones.
        message: of the task that fails at the end; empty if none does.
        rows: the summary, by the names of the stores.
    """

    exit_code: int
    output: str
    message: str
    rows: dict[str, dict[str, Any]]


@dataclass
class Window:
    """Runs windows over the stores that it has made."""

    ansible: Ansible
    ids: dict[str, str]

    @property
    def control(self) -> HttpControl:
        return self.ansible.control

    def store(self, name: str, state: str = "CONNECTED", *, external: bool = False, **options: Any) -> str:
        """Make a store, with a cluster if it is not external; returns its id."""
        backing = {} if external else {"CloudHsmClusterId": self.control.create_cluster()}
        self.ids[name] = self.control.create_store(
            custom_key_store_name=name,
            custom_key_store_type="EXTERNAL_KEY_STORE" if external else "AWS_CLOUDHSM",
            connection_state=state,
            parameters=backing,
            **options,
        )
        return self.ids[name]

    def playbook(self, stores: list[dict[str, Any]], work: list[dict[str, Any]], variables: dict[str, Any]) -> Path:
        """Write a playbook with the role, which also keeps what the role tells."""
        (self.ansible.folder / "work.yml").write_text(json.dumps(work))
        role = {
            "name": "Window",
            "ansible.builtin.import_role": {"name": "keyops.aws.key_store_maintenance"},
            "vars": {
                "key_store_maintenance_stores": stores,
                "key_store_maintenance_tasks_file": "work.yml",
                **variables,
            },
        }
        summary, path = "key_store_maintenance_summary | default([])", self.ansible.folder / "summary.json"
        keep = {
            "name": "Keep",
            "ansible.builtin.debug": {"msg": f"{{{{ {summary} | to_json | written_to('{path}') }}}}"},
            "tags": "always",
        }
        play = {
            "name": "Test",
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"name": "Around", "block": [role], "always": [keep]}],
        }
        path = self.ansible.folder / "window.yml"
        path.write_text(json.dumps([play]))
        return path

    def __call__(
        self,
        *arguments: str,
        names: list[str] | None = None,
        work: list[dict[str, Any]] | None = None,
        **variables: Any,
    ) -> Outcome:
        """Run a window over all stores, or those of some names."""
        self.control.clear_requests()
        stores = [{"name": name} for name in (self.ids if names is None else names)]
        prefixed = {f"key_store_maintenance_{name}": value for name, value in variables.items()}
        done = self.ansible.run(str(self.playbook(stores, work or [], prefixed)), *arguments)
        return self.outcome(done.exit_code, done.output)

    def outcome(self, exit_code: int, output: str) -> Outcome:
        """Read what the last run has kept and printed."""
        kept = self.ansible.folder / "summary.json"
        rows = json.loads(kept.read_text()) if kept.exists() else []
        joined = " ".join(output.split())
        last = joined.partition("Report failures]")[2].partition("msg: ")[2]
        message = last.partition("PLAY RECAP")[0].partition("TASK [")[0].strip().strip("'\"").replace("''", "'")
        return Outcome(exit_code, joined, message, {row["name"]: row for row in rows})

    def states(self) -> dict[str, str]:
        """The connection state of each store."""
        stores = self.ansible.kms().describe_custom_key_stores()["CustomKeyStores"]
        return {store["CustomKeyStoreName"]: store["ConnectionState"] for store in stores}

    def changes(self) -> list[str]:
        """What KMS was asked to change, in order."""
        operations = [request["operation"] for request in self.control.requests()]
        return [operation for operation in operations if operation in (DISCONNECT, CONNECT)]


@pytest.fixture
def window(ansible: Ansible) -> Window:
    ansible.control.set_transitions(connect_seconds=0.1, disconnect_seconds=0.1)
    return Window(ansible, {})


def test_a_window_over_three_stores(window: Window) -> None:
    window.store("payments")
    window.store("ledger")
    window.store("invoices", external=True)
    names = '\'{{ key_store_maintenance_window.stores | map(attribute="name") | join(" and ") }}\''
    work = {"name": "Work", "ansible.builtin.debug": {"msg": f"Working on {{{{ {names[1:-1][3:-3]} }}}}."}}
    done = window(work=[work])
    assert done.exit_code == 0, done.output
    assert "Working on payments and ledger and invoices." in done.output
    assert window.changes() == [DISCONNECT] * 3 + [CONNECT] * 3
    assert [request["operation"] for request in window.control.requests()].count(RANDOM) == 2
    assert window.states() == {"payments": "CONNECTED", "ledger": "CONNECTED", "invoices": "CONNECTED"}
    for name, row in done.rows.items():
        assert [row["before"], row["during"], row["after"]] == ["CONNECTED", "DISCONNECTED", "CONNECTED"]
        times = [datetime.datetime.fromisoformat(row[key]) for key in ("unavailable_from", "unavailable_until")]
        assert times[0] <= times[1]
        assert row["minutes_unavailable"] == round((times[1] - times[0]).total_seconds() / 60, 1)
        assert (row["error"], row["verified"]) == (None, name != "invoices")
    assert "payments us-east-1 CONNECTED DISCONNECTED CONNECTED" in done.output


def test_work_that_fails_does_not_keep_the_stores_from_coming_back(window: Window) -> None:
    """S20."""
    window.store("payments")
    window.store("ledger")
    done = window(work=FAIL)
    assert done.exit_code == 2
    assert done.message == "Work: The work went wrong."
    assert window.changes() == [DISCONNECT] * 2 + [CONNECT] * 2
    assert window.states() == {"payments": "CONNECTED", "ledger": "CONNECTED"}


@pytest.mark.long
def test_one_that_cannot_be_connected_again_does_not_keep_the_others_from_it(window: Window) -> None:
    """S20, with the reconnect failing, too: both failures are told."""
    for name in ("payments", "ledger", "archive"):
        window.store(name)
    window.control.set_connect_outcomes(window.ids["ledger"], ["INSUFFICIENT_CLOUDHSM_HSMS"])
    done = window(work=FAIL)
    assert done.exit_code == 2
    assert window.states() == {"payments": "CONNECTED", "ledger": "FAILED", "archive": "CONNECTED"}
    assert done.message.startswith(
        "Work: The work went wrong. 1 of 3 custom key stores could not be connected. ledger in"
    )
    assert "INSUFFICIENT_CLOUDHSM_HSMS" in done.message
    assert done.rows["ledger"]["after"] == "FAILED"
    assert "INSUFFICIENT_CLOUDHSM_HSMS" in done.rows["ledger"]["error"]
    assert done.rows["ledger"]["remedy"][0].startswith("Add")
    assert done.rows["ledger"]["unavailable_until"] is None
    assert done.rows["payments"]["error"] is None


@pytest.mark.long
def test_the_second_of_three_cannot_be_disconnected(window: Window) -> None:
    for name in ("payments", "ledger", "archive"):
        window.store(name)
    window.control.add_fault(DISCONNECT, error="AccessDeniedException", skip=1, times=1)
    done = window(work=[{"name": "Work", "ansible.builtin.debug": {"msg": "It must not come to this."}}])
    assert done.exit_code == 2
    assert "It must not come to this" not in done.output
    assert done.message.startswith(
        "1 of 3 custom key stores could not be disconnected. ledger in us-east-1: Disconnect"
    )
    assert "kms:DisconnectCustomKeyStore" in done.message
    assert set(window.states().values()) == {"CONNECTED"}
    assert [row["after"] for row in done.rows.values()] == ["CONNECTED"] * 3


def test_stores_are_left_as_they_were_found(window: Window) -> None:
    """S21, and what is reported."""
    window.store("payments")
    window.store("off", "DISCONNECTED")
    window.store("broken", "FAILED", connection_error_code="NETWORK_ERRORS")
    done = window()
    assert done.exit_code == 0, done.output
    assert window.states() == {"payments": "CONNECTED", "off": "DISCONNECTED", "broken": "FAILED"}
    assert window.changes() == [DISCONNECT, CONNECT]
    assert "broken: Its last connect failed with NETWORK_ERRORS:" in done.output
    assert "broken: The window leaves it as it is." in done.output
    assert done.rows["off"]["minutes_unavailable"] is None
    assert done.rows["broken"]["after"] == "FAILED"


def kill_in_the_middle(window: Window, *, at: str) -> None:
    """Kill ansible-playbook with SIGKILL when a file of the folder appears, or KMS was asked for an operation."""
    command = [str(BIN / "ansible-playbook"), str(window.ansible.folder / "window.yml")]
    with subprocess.Popen(
        command,
        env=window.ansible.environment,
        cwd=window.ansible.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        for _turn in range(600):
            asked = [request["operation"] for request in window.control.requests()]
            if at in asked or (window.ansible.folder / at).exists():
                break
            time.sleep(0.05)
        running.kill()
    assert running.returncode == -9


@pytest.mark.long
def test_killed_in_the_middle_of_the_work_and_run_again(window: Window) -> None:
    window.store("payments")
    window.store("ledger")
    window.store("off", "DISCONNECTED")
    slow = {
        "name": "Work",
        "ansible.builtin.shell": "touch working; if [ ! -e again ]; then sleep 60; fi",
        "args": {"chdir": str(window.ansible.folder)},
    }
    stores = [{"name": name} for name in window.ids]
    window.playbook(stores, [slow], NO_KEEPER)
    kill_in_the_middle(window, at="working")
    left = {"payments": "DISCONNECTED", "ledger": "DISCONNECTED", "off": "DISCONNECTED"}
    assert window.states() == left
    (window.ansible.folder / "again").touch()
    done = window(work=[slow])
    assert done.exit_code == 0, done.output
    assert window.states() == {"payments": "CONNECTED", "ledger": "CONNECTED", "off": "DISCONNECTED"}
    assert done.rows["payments"]["before"] == "DISCONNECTED"
    assert done.rows["payments"]["minutes_unavailable"] is not None
    assert "payments: It was in service until 20" in done.output
    window.control.clear_requests()
    assert window(work=[]).rows["off"]["after"] == "DISCONNECTED"  # nothing of it is remembered any more


@pytest.mark.long
def test_killed_and_brought_back_by_tag_alone(window: Window) -> None:
    """Outside of the window's time, with a store that has vanished since, and without doing the work again."""
    window.store("payments")
    window.store("ledger")
    slow = {"name": "Work", "ansible.builtin.shell": f"touch {window.ansible.folder}/working; sleep 60"}
    window.playbook([{"name": name} for name in window.ids], [slow], NO_KEEPER)
    kill_in_the_middle(window, at="working")
    window.ansible.kms().delete_custom_key_store(CustomKeyStoreId=window.ids["ledger"])
    done = window("--tags", "reconnect", work=FAIL, not_after="2020-01-01T00:00:00Z")
    assert window.states() == {"payments": "CONNECTED"}
    assert window.changes() == [CONNECT]
    assert done.rows["payments"]["after"] == "CONNECTED"
    assert "The work went wrong" not in done.output


@pytest.mark.long
def test_killed_while_it_connects_the_stores_come_back_all_the_same(window: Window) -> None:
    window.control.set_transitions(connect_seconds=3)
    window.store("payments")
    window.playbook([{"name": "payments"}], [], {})
    kill_in_the_middle(window, at=CONNECT)
    deadline = time.monotonic() + 20
    notes = window.ansible.folder / "home" / ".keyops-aws" / "maintenance"
    while list(notes.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(notes.iterdir()) == []
    assert window.states() == {"payments": "CONNECTED"}


@pytest.mark.parametrize(
    ("variable", "offset", "text"),
    [
        ("not_before", 1, "nothing may be disconnected before 20"),
        ("not_after", -1, "nothing may be disconnected after 20"),
    ],
)
def test_nothing_is_disconnected_outside_of_the_window(window: Window, variable: str, offset: int, text: str) -> None:
    window.store("payments")
    limit = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=offset)
    limits: dict[str, Any] = {variable: limit.isoformat(timespec="seconds")}
    done = window(**limits)
    assert done.exit_code == 2
    assert done.message.startswith("Nothing was disconnected. It is 20")
    assert text in done.message
    assert window.changes() == []


@needs_last_usage
def test_all_that_forbids_a_window_is_reported_at_once(window: Window) -> None:
    """A key in use, a cluster that could not connect the store again, and a file that is not there."""
    store_id = window.store("payments")
    window.control.start_usage_tracking()
    (key_id,) = window.control.create_keys(1, custom_key_store_id=store_id)
    window.ansible.kms().encrypt(KeyId=key_id, Plaintext=b"used")
    cluster_id = window.control.create_cluster()
    window.control.create_store(
        custom_key_store_name="ledger", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    window.control.set_cluster(cluster_id, active_hsms=0)
    done = window(names=["payments", "ledger"], max_recent_use_minutes=5, tasks_file="no/such/file.yml")
    assert done.exit_code == 2
    assert f"its key {key_id} was used at 20" in done.message
    assert "(Encrypt), less than 5 minutes ago." in done.message
    assert f"cluster {cluster_id} has 0 active HSMs, and needs 1 to connect it again." in done.message
    assert "no/such/file.yml, which key_store_maintenance_tasks_file names; a relative path begins" in done.message
    assert window.changes() == []


def test_check_mode_shows_the_window_and_changes_nothing(window: Window) -> None:
    window.store("payments")
    window.store("off", "DISCONNECTED")
    done = window("--check", "--diff", work=[{"name": "Work", "ansible.builtin.debug": {"msg": "I would work."}}])
    assert done.exit_code == 0, done.output
    assert f"payments {window.ids['payments']} us-east-1 CONNECTED disconnect, work, connect" in done.output
    assert f"off {window.ids['off']} us-east-1 DISCONNECTED left as it is" in done.output
    assert "I would work." in done.output
    assert window.changes() == []
    assert not (window.ansible.folder / "home" / ".keyops-aws").exists()


def test_preflight_alone_and_a_window_that_would_not_be_ended(window: Window) -> None:
    window.store("payments")
    alone = window("--tags", "preflight", work=FAIL)
    assert alone.exit_code == 0, alone.output
    assert "disconnect, work, connect" in alone.output
    assert window.changes() == []
    cut = window("--skip-tags", "reconnect")
    assert cut.exit_code == 2
    assert "With --skip-tags reconnect, the play would not reconnect the key stores." in cut.output
    assert window.changes() == []


@pytest.mark.parametrize(
    "work", ["- name: Broken\n  ansible.builtin.debug: [", '- name: Unknown\n  no.such.module:\n    msg: ""']
)
def test_a_mistake_in_the_work_is_found_before_anything_is_disconnected(window: Window, work: str) -> None:
    window.store("payments")
    window.playbook([{"name": "payments"}], [], {})
    (window.ansible.folder / "work.yml").write_text(work)
    done = window.ansible.run(str(window.ansible.folder / "window.yml"))
    assert done.exit_code != 0
    assert window.changes() == []


def test_a_store_that_is_not_there(window: Window) -> None:
    window.store("payments")
    done = window(names=["payments", "nothing"])
    assert done.exit_code == 2
    assert 'There is no custom key store named "nothing" in the Region us-east-1' in done.message
    assert window.changes() == []


def test_a_variable_with_a_wrong_type(window: Window) -> None:
    done = window(names=["payments"], min_active_hsms="many")
    assert done.exit_code == 2
    assert "'key_store_maintenance_min_active_hsms' is of type" in done.output
    assert "unable to convert to int" in done.output
    assert window.control.requests() == []


@pytest.mark.long
def test_twelve_stores_in_three_regions_with_five_requests_a_second(window: Window) -> None:
    """S24, with other credentials for each Region, which appear in no output."""
    secrets = {}
    stores = []
    controls = []
    for region in ("us-east-1", "eu-central-1", "ap-southeast-2"):
        control = HttpControl(window.ansible.environment["AWS_URL"], region_name=region)
        control.reset()
        controls.append(control)
        secrets[region] = f"CanaryOfTheSecretKeyIn{region}0123456789"
        for number in range(4):
            name = f"store-{number}"
            control.create_store(
                custom_key_store_name=name,
                connection_state="CONNECTED",
                parameters={"CloudHsmClusterId": control.create_cluster()},
            )
            credential = {"access_key": "AKIAIOSFODNN7OTHERS0", "secret_key": secrets[region]}
            stores.append({"name": name, "region": region, **credential})
        for operation in ("DescribeCustomKeyStores", DISCONNECT, CONNECT):
            control.set_quota(operation, 5.0)
    window.control.set_transitions(connect_seconds=0.5, disconnect_seconds=0.5)
    path = window.playbook(stores, [], {})
    done = window.ansible.run(str(path), "-vvvv")
    outcome = window.outcome(done.exit_code, done.output)
    assert done.exit_code == 0, done.output[-3000:]
    rows = json.loads((window.ansible.folder / "summary.json").read_text())
    assert [(row["name"], row["region"], row["after"]) for row in rows] == [
        (store["name"], store["region"], "CONNECTED") for store in stores
    ]
    assert "ThrottlingException" not in outcome.output
    for secret in secrets.values():
        assert secret not in done.output
    for control in controls:
        operations = [request["operation"] for request in control.requests() if request["outcome"] == "ok"]
        assert (operations.count(DISCONNECT), operations.count(CONNECT)) == (4, 4)
        control.reset()


@pytest.mark.long
def test_hosts_one_after_the_other_and_two_windows_in_a_play(window: Window) -> None:
    """serial: each host with a store of its own; and nothing of one window is left in the next."""
    window.store("payments")
    window.store("ledger")
    role = {"ansible.builtin.include_role": {"name": "keyops.aws.key_store_maintenance"}}
    play = {
        "name": "Test",
        "hosts": "all",
        "gather_facts": False,
        "serial": 1,
        "tasks": [
            {"name": "First", **role, "vars": {"key_store_maintenance_stores": [{"name": "{{ own_store }}"}]}},
            {
                "name": "Second, refused",
                "block": [
                    {
                        "name": "Window",
                        **role,
                        "vars": {
                            "key_store_maintenance_stores": [{"name": "{{ own_store }}"}],
                            "key_store_maintenance_not_after": "2020-01-01T00:00:00Z",
                        },
                    }
                ],
                "rescue": [
                    {"name": "Rows", "ansible.builtin.debug": {"msg": "{{ key_store_maintenance_summary[0].during }}"}}
                ],
            },
        ],
    }
    (window.ansible.folder / "serial.yml").write_text(json.dumps([play]))
    (window.ansible.folder / "hosts").write_text(
        '[all:vars]\nansible_connection=local\nansible_python_interpreter="{{ ansible_playbook_python }}"\n'
        "[all]\none own_store=payments\ntwo own_store=ledger\n"
    )
    done = window.ansible.run("-i", "hosts", "serial.yml")
    assert done.exit_code == 0, done.output
    assert window.changes() == [DISCONNECT, CONNECT] * 2
    assert done.output.count("msg: CONNECTED") == 2
    assert window.states() == {"payments": "CONNECTED", "ledger": "CONNECTED"}
