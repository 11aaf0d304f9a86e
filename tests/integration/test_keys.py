# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS keys in stores, through ansible-playbook over HTTP: made once, found again, rotated, retired, and seen by other modules."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_key
from dev.environment import BIN
from tests.integration.harness import INFO_MODULE
from tests.integration.harness import KEY_MODULE
from tests.integration.harness import Ansible

HSM = "AWS_CLOUDHSM"
EXTERNAL = "EXTERNAL_KEY_STORE"
DAY = 86400.0
CHANGES = {"CreateKey", "CreateAlias", "UpdateAlias", "ScheduleKeyDeletion"}
DESCRIBE = ("DescribeKey", "DescribeCustomKeyStores")
OPTIONS: dict[str, dict[str, Any]] = {
    HSM: {"alias": "payments", "custom_key_store_name": "payments"},
    EXTERNAL: {"alias": "invoices", "custom_key_store_name": "invoices", "xks_key_id": "one"},
}
TYPES = pytest.mark.parametrize("store_type", OPTIONS)


@pytest.fixture
def stores(ansible: Ansible) -> dict[str, str]:
    """The ids of two stores that are connected, payments in CloudHSM and invoices outside, by their types."""
    return {
        store_type: ansible.control.create_store(
            custom_key_store_name=options["custom_key_store_name"],
            custom_key_store_type=store_type,
            connection_state="CONNECTED",
        )
        for store_type, options in OPTIONS.items()
    }


def changes(ansible: Ansible) -> list[str]:
    """What KMS carried out since the log was cleared, in order."""
    return [
        entry["operation"] for entry in ansible.control.requests() if entry["operation"] in CHANGES and entry["applied"]
    ]


def keys_of(ansible: Ansible, store_id: str) -> list[dict[str, Any]]:
    """All keys of a store, oldest first."""
    kms = ansible.kms()
    pages = kms.get_paginator("list_keys").paginate()
    found = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for page in pages for key in page["Keys"]]
    mine = [key for key in found if key.get("CustomKeyStoreId") == store_id]
    return sorted(mine, key=lambda key: (key["CreationDate"], key["KeyId"]))


@pytest.mark.parametrize("store_type", [HSM, pytest.param(EXTERNAL, marks=pytest.mark.long)])
@pytest.mark.long
def test_the_life_of_a_key(ansible: Ansible, stores: dict[str, str], store_type: str) -> None:
    """Each step with its exact requests, predicted by check mode, and no change when it is run again."""
    options = OPTIONS[store_type]
    predicted = ansible.module("--check", "--diff", module=KEY_MODULE, **options)
    assert changes(ansible) == []
    made = ansible.module("--diff", module=KEY_MODULE, **options)
    assert ansible.calls == [*DESCRIBE, *DESCRIBE, "ListKeys", "CreateKey", "CreateAlias", "DescribeKey"]
    assert made["operations"] == predicted["operations"] == ["CreateKey", "CreateAlias"]
    assert (made["changed"], predicted["changed"], made["diff"]) == (True, True, predicted["diff"])
    again = ansible.module(module=KEY_MODULE, **options)
    assert (again["changed"], again["key"], ansible.calls) == (False, made["key"], list(DESCRIBE))
    (key,) = keys_of(ansible, stores[store_type])
    assert key["KeyId"] == made["key"]["key_id"]

    found = ansible.module(module=INFO_MODULE, name=options["custom_key_store_name"], include_keys=True)
    (reported,) = found["custom_key_stores"][0]["keys"]
    assert (reported["aliases"], reported["creation_date"]) == ([options["alias"]], made["key"]["creation_date"])
    assert reported.get("xks_key_id") == options.get("xks_key_id")

    retired = {name: value for name, value in options.items() if name != "xks_key_id"}
    predicted = ansible.module("--check", module=KEY_MODULE, **retired, state="absent")
    gone = ansible.module(module=KEY_MODULE, **retired, state="absent")
    assert ansible.calls == [*DESCRIBE, "ScheduleKeyDeletion", "DescribeKey"]
    assert gone["operations"] == predicted["operations"] == ["ScheduleKeyDeletion"]
    assert ansible.module(module=KEY_MODULE, **retired, state="absent")["changed"] is False
    store = ansible.module(name=options["custom_key_store_name"], state="absent", allow_disconnect=True)
    assert store["failed"]
    assert f"{key['KeyId']} (PendingDeletion, will be deleted on {gone['key']['deletion_date']})" in store["msg"]


@pytest.mark.long
def test_a_year_of_nights(ansible: Ansible, stores: dict[str, str]) -> None:
    """A playbook that runs every 30th night of a year, on the clock of KMS: the host's does not matter."""
    options = {**OPTIONS[HSM], "rotate": {"older_than_days": 90}}
    seen = []
    for night in range(0, 366, 30):
        result = ansible.module(module=KEY_MODULE, **options)
        if result["changed"]:
            seen.append((night, result["operations"]))
        ansible.control.advance(30 * DAY)
    assert seen == [
        (0, ["CreateKey", "CreateAlias"]),
        *((night, ["CreateKey", "UpdateAlias"]) for night in (90, 180, 270, 360)),
    ]
    assert len(keys_of(ansible, stores[HSM])) == 5


def both(ansible: Ansible, homes: list[Path], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the same task twice at the same time, each with a home; the results."""
    ansible.control.set_latency(0.2)
    runs = []
    for number, home in enumerate(homes):
        home.mkdir(exist_ok=True)
        result = ansible.folder / f"result{number}.json"
        tasks = [
            {"name": "Make", KEY_MODULE: options, "register": "result"},
            {
                "name": "Keep",
                "ansible.builtin.debug": {"msg": f"{{{{ result | to_json | written_to('{result}') }}}}"},
            },
        ]
        play = ansible.folder / f"play{number}.yml"
        play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        environment = {**ansible.environment, "HOME": str(home)}
        command = [str(BIN / "ansible-playbook"), str(play)]
        runs.append(
            (result, subprocess.Popen(command, env=environment, cwd=ansible.folder, stdout=subprocess.PIPE, text=True))
        )
    results = []
    for result, run in runs:
        output, _nothing = run.communicate(timeout=120)
        assert run.returncode == 0, output
        results.append(json.loads(result.read_text()))
    ansible.control.set_latency(0)
    return results


@pytest.mark.parametrize("store_type", [HSM, pytest.param(EXTERNAL, marks=pytest.mark.long)])
@pytest.mark.long
def test_two_runs_at_the_same_time_on_one_host(ansible: Ansible, stores: dict[str, str], store_type: str) -> None:
    home = Path(ansible.environment["HOME"])
    results = both(ansible, [home, home], OPTIONS[store_type])
    assert changes(ansible) == ["CreateKey", "CreateAlias"]
    assert sorted(result["changed"] for result in results) == [False, True]
    (key,) = keys_of(ansible, stores[store_type])
    assert {result["key"]["key_id"] for result in results} == {key["KeyId"]}


@pytest.mark.long
@TYPES
def test_two_runs_at_the_same_time_on_two_hosts(
    ansible: Ansible, stores: dict[str, str], store_type: str, tmp_path: Path
) -> None:
    """Nothing keeps the second from a key of its own in CloudHSM; but the alias has one, and the other is named."""
    results = both(ansible, [tmp_path / "one", tmp_path / "two"], OPTIONS[store_type])
    target = ansible.kms().describe_key(KeyId=f"alias/{OPTIONS[store_type]['alias']}")["KeyMetadata"]["KeyId"]
    assert {result["key"]["key_id"] for result in results} == {target}
    unnamed = [key["KeyId"] for key in keys_of(ansible, stores[store_type]) if key["KeyId"] != target]
    reported = json.dumps([result.get("warnings", []) for result in results])
    assert [key_id for key_id in unnamed if f"The KMS key {key_id}, which" not in reported] == []
    assert len(unnamed) <= (1 if store_type == HSM else 0)
    assert ansible.module(module=KEY_MODULE, **OPTIONS[store_type])["changed"] is False


@pytest.mark.long
@pytest.mark.parametrize("operation", ["CreateKey", "CreateAlias"])
@TYPES
def test_a_play_that_is_killed_and_run_again(
    ansible: Ansible, stores: dict[str, str], store_type: str, operation: str
) -> None:
    """All of its processes, between CreateKey and CreateAlias, and after that."""
    ansible.control.set_latency(0.3)
    ansible.control.add_fault("CreateAlias", error="ThrottlingException", times=2 if operation == "CreateKey" else 1)
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"name": "Make", KEY_MODULE: OPTIONS[store_type]}]}]
    path = ansible.folder / "play.yml"
    path.write_text(json.dumps(play))
    command = [str(BIN / "ansible-playbook"), str(path)]
    with subprocess.Popen(command, env=ansible.environment, cwd=ansible.folder, stdout=subprocess.DEVNULL) as run:
        while operation not in changes(ansible):
            assert run.poll() is None
        ansible.kill_all()
    ansible.control.set_latency(0)
    result = ansible.module(module=KEY_MODULE, **OPTIONS[store_type])
    assert result["operations"] == (["CreateAlias"] if operation == "CreateKey" else [])
    (key,) = keys_of(ansible, stores[store_type])
    assert result["key"]["key_id"] == key["KeyId"]


@pytest.mark.long
def test_the_examples_of_the_documentation(ansible: Ansible, stores: dict[str, str]) -> None:
    """In their order, in a place that has what they take for granted."""
    examples = yaml.safe_load(kms_custom_key_store_key.EXAMPLES)
    (archive,) = [task for task in examples if task[KEY_MODULE]["alias"] == "archive"]
    kms = ansible.kms()
    (retired,) = ansible.control.create_keys(1, custom_key_store_id=stores[HSM])
    kms.create_alias(AliasName="alias/archive", TargetKeyId=retired)
    archive[KEY_MODULE]["custom_key_store_id"] = stores[HSM]
    done = ansible.playbook(examples)
    assert done.exit_code == 0, done.output
    assert changes(ansible) == [
        *("CreateAlias", "CreateKey", "CreateAlias", "CreateKey", "CreateAlias"),
        *("CreateKey", "UpdateAlias", "ScheduleKeyDeletion"),
    ]
    ansible.control.clear_requests()
    assert ansible.playbook(examples[:1] + examples[2:]).exit_code == 0
    assert changes(ansible) == []


def test_one_clear_sentence_for_what_is_refused(ansible: Ansible, stores: dict[str, str]) -> None:
    disconnected = ansible.module(name="payments", state="disconnected")
    assert disconnected["changed"]
    result = ansible.module(module=KEY_MODULE, **OPTIONS[HSM])
    assert result["failed"]
    assert "is DISCONNECTED, and KMS creates keys only in one that is CONNECTED. Connect it" in result["msg"]
    assert changes(ansible) == []


def test_defaults_of_the_group_reach_the_module(ansible: Ansible, stores: dict[str, str]) -> None:
    tasks = [
        {
            "name": "With defaults",
            "module_defaults": {"group/keyops.aws.aws": {"region": "eu-central-1"}},
            "block": [{"name": "Make", KEY_MODULE: OPTIONS[HSM]}],
        }
    ]
    done = ansible.playbook(tasks)
    assert "in the Region eu-central-1" in " ".join(done.output.split())
