# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guides tell the reader to write is run as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import ConnectionState
from dev.environment import BIN
from dev.environment import ROOT
from kms_emulator import HttpControl
from tests.integration.guides import GUIDES
from tests.integration.guides import Reader
from tests.integration.guides import all_blocks
from tests.integration.guides import blocks
from tests.integration.harness import INFO_MODULE
from tests.integration.harness import KEY_MODULE
from tests.integration.harness import Ansible
from tests.integration.harness import PlaybookRun
from tests.sdk import needs_cluster_mode

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
VARIABLES = {
    "kmsuser_password": "CanaryOfKmsUser8642",
    "cluster_admin_password": "CanaryOfTheCryptoOfficer8642",
    "proxy_access_key_id": "ABCDEFGHIJKLMNOPQRST",
    "proxy_secret_access_key": "CanaryOfTheProxy0123456789abcdefghijklmnopqrstu",
    "access_key_id": "TSRQPONMLKJIHGFEDCBA",
    "raw_secret_access_key": "CanaryOfTheNewProxy9876543210zyxwvutsrqponmlkji",
}
SECRETS = [value for name, value in VARIABLES.items() if not name.endswith("_id")]

FOLLOWED = (
    "guide_before",
    "guide_cloudhsm_store",
    "guide_external_store",
    "guide_failed",
    "guide_first_window",
    "guide_life",
    "guide_replace_cluster",
    "guide_rotate_kmsuser_password",
)
"""The guides that are followed from the first block to the last."""

OTHERS = {
    "guide_alarms": {"yaml", "shell"},
    "guide_coming_from": {"yaml", "shell", "terraform"},
    "guide_emulator": {"shell", "python"},
    "guide_emulator_rules": {"shell"},
    "guide_hsm_type": {"yaml", "shell"},
    "guide_keys": {"yaml", "shell"},
    "guide_learned": {"shell"},
    "guide_permissions": {"json"},
    "guide_predict": {"yaml", "shell"},
    "guide_proof": {"shell"},
    "guide_record": {"json", "shell", "text"},
    "guide_rotate_xks_credential": {"yaml", "shell"},
    "guide_watch": {"yaml", "shell", "text"},
    "guide_windows": {"yaml", "shell", "ini", "text"},
}
"""Those that have tests of their own: the languages of their blocks. That of the permissions is test_permissions.py."""


def test_no_block_of_a_guide_is_left_out() -> None:
    """A block that is not run is in no language that could be, or is a part of what a test of its own puts together."""
    guides = [path for path in GUIDES.glob("*.rst") if not path.stem.startswith("runbook_")]  # test_runbooks.py
    found = {path.stem: all_blocks(path.stem) for path in guides}
    assert {guide for guide, its_blocks in found.items() if its_blocks} == {*FOLLOWED, *OTHERS}
    parts = [
        (guide, block.text.split(":")[0])
        for guide in FOLLOWED
        for block in found[guide]
        if block.kind not in ("tasks", "file", "shell")
    ]
    assert parts == [("guide_first_window", "module_defaults")]
    for guide, languages in OTHERS.items():
        assert {block.language for block in found[guide]} == languages
    for path in guides:
        assert path.read_text("utf-8").count(".. code-block::") == len(found[path.stem]), path.stem


@pytest.fixture
def prepared(ansible: Ansible) -> Ansible:
    """What the guides take for granted: the stores payments, invoices and broken, and the files and variables."""
    cluster_id = ansible.control.create_cluster(certificate=CERTIFICATE)
    ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    ansible.control.create_store(
        custom_key_store_name="invoices", custom_key_store_type="EXTERNAL_KEY_STORE", connection_state="CONNECTED"
    )
    ansible.control.create_store(
        custom_key_store_name="broken", connection_state="FAILED", connection_error_code="NETWORK_ERRORS"
    )
    (ansible.folder / "customerCA.crt").write_text(CERTIFICATE)
    (ansible.folder / "cluster").write_text(cluster_id)
    for name in ("add.yml", "remove.yml"):
        (ansible.folder / name).write_text(f"- name: Run {name}\n  ansible.builtin.debug:\n    msg: This is {name}.\n")
    return ansible


@pytest.fixture
def reader(prepared: Ansible) -> Reader:
    cluster_id = (prepared.folder / "cluster").read_text()
    prepared.environment |= {
        "SUBNET_A": "subnet-0123456789abcdef0",
        "SUBNET_B": "subnet-0fedcba9876543210",
        "CA_PASSWORD": "CanaryOfTheCertificate8642",
        "ADMIN_PASSWORD": VARIABLES["cluster_admin_password"],
        "KMSUSER_PASSWORD": VARIABLES["kmsuser_password"],
        "OLD_CLUSTER": cluster_id,
        "ANSIBLE_VERBOSITY": "3",
    }
    names = {
        "cluster-2a34b5cdefg": cluster_id,
        "cluster-7f65g4edcba": "$new_cluster",
        "ThisIsTheNewOne12": VARIABLES["kmsuser_password"],
        "ThisOneIsOfTheCryptoOfficer": VARIABLES["cluster_admin_password"],
        "ThisIsTheNewSecretOfTheProxyAndHas43LettersInIt": VARIABLES["raw_secret_access_key"],
    }
    return Reader(prepared, VARIABLES, names)


def states(ansible: Ansible) -> dict[str, str]:
    """The connection states of all stores, by their names."""
    found = ansible.kms().describe_custom_key_stores()["CustomKeyStores"]
    return {store["CustomKeyStoreName"]: store["ConnectionState"] for store in found}


CONNECTED = {"payments": "CONNECTED", "invoices": "CONNECTED", "broken": "FAILED"}
ENDS = {
    "guide_cloudhsm_store": {"payments": "CONNECTED"},
    "guide_external_store": {**CONNECTED, "receipts": "CONNECTED", "archive": "CONNECTED"},
    "guide_failed": {**CONNECTED, "broken": "CONNECTED"},
    "guide_life": {"invoices": "CONNECTED", "broken": "FAILED"},
}
"""How the stores end, where they do not end as they began."""


IN_MAKE_TEST = ("guide_first_window",)
"""The others take make test too long."""


def marks(guide: str) -> list[pytest.MarkDecorator]:
    needed = [needs_cluster_mode] if guide in ("guide_cloudhsm_store", "guide_replace_cluster") else []
    return needed if guide in IN_MAKE_TEST else [*needed, pytest.mark.long]


@pytest.mark.parametrize("guide", [pytest.param(guide, marks=marks(guide)) for guide in FOLLOWED])
def test_a_guide_can_be_followed(reader: Reader, guide: str) -> None:
    if guide == "guide_cloudhsm_store":
        reader.ansible.control.reset()  # from nothing
        reader.names["cluster-2a34b5cdefg"] = "$cluster_id"
    output = reader.follow(guide)
    assert states(reader.ansible) == ENDS.get(guide, CONNECTED)
    for secret in SECRETS:
        assert secret not in output


@pytest.mark.long
def test_the_guide_to_the_credential_of_a_proxy(reader: Reader) -> None:
    """Its last block is for a store that is FAILED. The play waits for KMS five minutes, and the test does not."""
    reader.names["-e key_store=invoices"] = "-e key_store=invoices -e minutes_until_used=0"
    *steps, last = reader.steps("guide_rotate_xks_credential")
    output = "".join(step() for step in steps)
    assert output.index("This is add.yml.") < output.index("This is remove.yml.")
    (store,) = reader.ansible.kms().describe_custom_key_stores(CustomKeyStoreName="invoices")["CustomKeyStores"]
    assert store["XksProxyConfiguration"]["AccessKeyId"] == VARIABLES["access_key_id"]
    assert store["ConnectionState"] == "CONNECTED"
    reader.ansible.control.set_connection_state(
        store["CustomKeyStoreId"], "FAILED", connection_error_code="INVALID_CREDENTIALS"
    )
    output += last()
    assert states(reader.ansible)["invoices"] == "CONNECTED"
    for secret in SECRETS:
        assert secret not in output


@pytest.mark.long
def test_the_guide_to_keys(reader: Reader) -> None:
    """From nothing. The key in AWS CloudHSM gets old between the first part and the second."""
    control, kms = reader.ansible.control, reader.ansible.kms()
    control.reset()
    cluster_id = control.create_cluster(certificate=CERTIFICATE)
    control.change_kmsuser_password(cluster_id, VARIABLES["kmsuser_password"])
    reader.names["cluster-2a34b5cdefg"] = cluster_id

    def key_id(alias: str) -> str:
        return str(kms.describe_key(KeyId=f"alias/{alias}")["KeyMetadata"]["KeyId"])

    *make, use, change, write, each_night, find_and_retire, cancel = reader.steps("guide_keys")
    output = "".join(step() for step in [*make, use])
    assert states(reader.ansible) == {"payments": "CONNECTED", "invoices": "CONNECTED"}
    old = {alias: key_id(alias) for alias in ("payments", "invoices")}

    control.advance(365 * 86400)
    output += change()
    for alias, old_key in old.items():
        assert key_id(alias) != old_key
        encrypted = (reader.ansible.folder / f"byte.{alias}").read_bytes()
        assert kms.decrypt(CiphertextBlob=encrypted)["KeyId"].endswith(old_key)
    new = key_id("payments")
    assert f"{old['payments']} decrypts what was encrypted until now." in output

    write()
    reported = each_night()
    assert reported.count("  not due  ") == 2
    reported = find_and_retire()
    assert f"{old['payments']}, Enabled, of " in reported
    assert f"{new} will be deleted on " in reported
    assert kms.describe_key(KeyId=new)["KeyMetadata"]["KeyState"] == "PendingDeletion"

    reader.names["1234abcd-12ab-34cd-56ef-1234567890ab"] = old["payments"]
    output += reported + cancel()
    assert kms.describe_key(KeyId=new)["KeyMetadata"]["KeyState"] == "Enabled"
    assert kms.describe_key(KeyId=old["payments"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
    back = reader.ansible.module(
        module=KEY_MODULE, alias="invoices", custom_key_store_name="invoices", xks_key_id="invoices-2026", rotate={}
    )
    assert back["operations"] == ["UpdateAlias"]
    assert key_id("invoices") == old["invoices"]
    for secret in SECRETS:
        assert secret not in output


@pytest.mark.long
def test_the_shell_of_the_guide_for_those_who_come_from_there(reader: Reader) -> None:
    """It works, and what it does not do is true."""
    script, window, work, terraform, *ours = all_blocks("guide_coming_from")
    assert terraform.language == "terraform"
    for block in (script, window, work):
        reader.write(block)
    (reader.ansible.folder / "work.sh").write_text("#!/bin/sh\necho Working.\n")
    (reader.ansible.folder / "work.sh").chmod(0o755)
    script_at_once = "sleep() { :; }\nexport -f sleep\nbash window.sh"
    assert "Working." in reader.shell(script_at_once)
    assert "Working." in reader.shell("ansible-playbook window.yml")
    assert states(reader.ansible)["payments"] == "CONNECTED"
    (reader.ansible.folder / "work.sh").write_text("#!/bin/sh\nexit 1\n")
    reader.shell("ansible-playbook window.yml", succeeds=False)
    assert states(reader.ansible)["payments"] == "CONNECTED"
    reader.shell(script_at_once, succeeds=False)
    assert states(reader.ansible)["payments"] == "DISCONNECTED"
    again = reader.shell(script_at_once, succeeds=False)
    assert "CustomKeyStoreInvalidStateException" in again
    reader.run_tasks("".join(block.text for block in ours))
    assert states(reader.ansible)["payments"] == "CONNECTED"


def test_the_picture_of_the_states_has_each_state() -> None:
    picture = ElementTree.parse(GUIDES / "connection_states.svg").getroot()  # noqa: S314  it is ours
    boxes = [each for each in picture.iter() if "state" in each.get("class", "").split()]
    assert sorted("".join(box.itertext()) for box in boxes) == sorted(ConnectionState.__members__)


def test_the_connection_options_of_the_guide_reach_the_modules(ansible: Ansible, tmp_path: Path) -> None:
    (options,) = (yaml.safe_load(block) for block in blocks("guide_first_window", "yaml")[2:])
    region = options["module_defaults"]["group/keyops.aws.aws"]["region"]
    control = HttpControl(ansible.environment["AWS_URL"], region_name=region)
    control.reset()
    control.create_store(custom_key_store_name="payments")
    secret = ansible.environment.pop("AWS_SECRET_ACCESS_KEY")
    key_id = ansible.environment.pop("AWS_ACCESS_KEY_ID")
    credentials = tmp_path / "credentials"
    credentials.write_text(f"[security]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n")
    ansible.environment["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials)
    describe = {"name": "Look", INFO_MODULE: {"name": "payments"}, "register": "found"}
    check = {"name": "Found", "ansible.builtin.assert": {"that": "found.custom_key_stores | length == 1"}}
    done = ansible.playbook([{"name": "With options", "block": [describe, check], **options}])
    assert done.exit_code == 0, done.output
    assert [request["operation"] for request in control.requests()] == ["DescribeCustomKeyStores"]
    assert ansible.calls == []
    control.reset()


@pytest.fixture
def accounts(prepared: Ansible) -> Iterator[Ansible]:
    """What the guide to windows takes for granted beside that: a second store, other Regions, and another account."""
    url = prepared.environment["AWS_URL"]
    places = [("123456789012", "us-east-1"), ("123456789012", "eu-central-1"), ("222222222222", "us-west-2")]
    controls = [HttpControl(url, account_id=account, region_name=region) for account, region in places]
    names = [["ledger"], ["payments"], ["archive"]]
    for control, made_here in zip(controls, names):
        for name in made_here:
            cluster_id = control.create_cluster()
            control.create_store(
                custom_key_store_name=name,
                connection_state="CONNECTED",
                parameters={"CloudHsmClusterId": cluster_id},
            )
    (config,) = blocks("guide_windows", "ini")
    (prepared.folder / "config").write_text(config)
    prepared.environment["AWS_CONFIG_FILE"] = str(prepared.folder / "config")
    yield prepared
    for control in controls[1:]:
        control.reset()


def run_line(ansible: Ansible, line: str) -> PlaybookRun:
    """Run a line of a guide that begins with ansible-playbook."""
    program, *arguments = shlex.split(line.replace("$PWD", str(ansible.folder)))
    assert program == "ansible-playbook"
    return ansible.run(*arguments)


@pytest.mark.long
def test_the_windows_of_the_guide(accounts: Ansible) -> None:
    """Over several stores, over Regions and an account in which a role is taken, and brought back by a tag and a playbook."""
    one, work, many, _leased, check = (yaml.safe_load(block) for block in blocks("guide_windows", "yaml"))
    _prepare, _extend, tag, reconnect, ready = blocks("guide_windows", "shell")
    (accounts.folder / "work.yml").write_text(json.dumps(work))
    one[0]["post_tasks"] = check
    runs = []
    for play in (one, many):
        (accounts.folder / "window.yml").write_text(json.dumps(play))
        runs.append(accounts.run("window.yml"))
    assert "payments in us-east-1 was CONNECTED" in runs[0].output
    runs += [run_line(accounts, line) for line in (tag, reconnect, ready)]
    for done in runs:
        assert done.exit_code == 0, done.output
    url = accounts.environment["AWS_URL"]
    other = HttpControl(url, account_id="222222222222", region_name="us-west-2")
    assert [request["operation"] for request in other.requests() if "Describe" not in request["operation"]] == [
        "DisconnectCustomKeyStore",
        "ConnectCustomKeyStore",
        "GenerateRandom",
    ]


@pytest.mark.long
def test_the_window_of_the_guide_with_a_lease_in_aws(accounts: Ansible) -> None:
    """Its role is made as the guide says, and while the work goes on, it gets more time."""
    _one, _work, _many, leased, _check = (yaml.safe_load(block) for block in blocks("guide_windows", "yaml"))
    prepare, extend, *_others = blocks("guide_windows", "shell")
    made = run_line(accounts, prepare)
    assert made.exit_code == 0, made.output
    assert leased[0]["roles"][0]["vars"]["key_store_maintenance_lease_role_arn"] in made.output
    (accounts.folder / "window.yml").write_text(json.dumps(leased))
    (accounts.folder / "work.yml").write_text(
        json.dumps([{"name": "Extend the lease", "ansible.builtin.command": f"{BIN}/{extend.strip()}"}])
    )
    done = accounts.run("window.yml", "-v")
    assert done.exit_code == 0, done.output
    assert "payments in us-east-1: The lease of its window ends at 20" in done.output
    asked = [request["operation"] for request in accounts.control.requests()]
    begin, extended, end = (asked.index(f"{each}Schedule") for each in ("Create", "Update", "Delete"))
    assert begin < asked.index("DisconnectCustomKeyStore") < extended < asked.index("ConnectCustomKeyStore") < end
    assert accounts.control.schedules() == []


def plain_environment(home: Path) -> dict[str, str]:
    """The environment of a user who has the tools of this one, and no settings of AWS, Ansible or pytest."""
    foreign = ("AWS_", "ANSIBLE_", "PYTEST_", "PYTHON")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**own, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(home)}


def shell(environment: dict[str, str], script: str) -> str:
    """The output of lines for a shell in the checkout, each of which must succeed."""
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_emulator_is_started_and_steered_as_the_guide_says(tmp_path: Path) -> None:
    """All at a free port. That the first line is enough in a fresh environment is shown by tests/conformance."""
    (install, start), *rest = (block.strip().splitlines() for block in blocks("guide_emulator", "shell"))
    assert install == "pip install ./emulator"
    environment = plain_environment(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    emulator = subprocess.Popen(
        [*shlex.split(start), "--port", str(port)], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE
    )
    with emulator:
        assert emulator.stdout is not None
        assert emulator.stdout.readline() == f"KMS emulator ready at http://127.0.0.1:{port}\n"
        script = "\n".join(line for block in rest for line in block)
        output = shell(environment, script.replace("127.0.0.1:5566", f"127.0.0.1:{port}"))
        emulator.terminate()
        assert " DescribeCustomKeyStores payments ok\n" in emulator.stdout.read()
    assert emulator.returncode == 0
    assert '"ConnectionState": "CONNECTED"' in output
    assert '"operation": "DescribeCustomKeyStores"' in output
    assert '"account_id": "123456789012", "region": "us-east-1"' in output


def test_the_python_of_the_guide_to_the_emulator_works(tmp_path: Path) -> None:
    program, *_for_moto = blocks("guide_emulator", "python")
    shell(plain_environment(tmp_path), f"python -c {shlex.quote(program)}")


@pytest.mark.long
def test_one_rule_of_the_emulator_is_tested_as_the_guide_says(tmp_path: Path) -> None:
    (command,) = blocks("guide_emulator_rules", "shell")
    output = shell(plain_environment(tmp_path), f"{command.strip()} -n 0 -p no:cacheprovider")
    assert re.search(r"\b[1-9]\d* passed\b", output)


@pytest.mark.long
def test_the_guide_to_the_hsm_type(prepared: Ansible) -> None:
    """Its tasks, before and after the change, and its playbook."""
    describe, seen, task = (yaml.safe_load(block) for block in blocks("guide_hsm_type", "yaml"))
    *_modify, replace = (block for block in blocks("guide_hsm_type", "shell") if "replace_cluster" in block)
    control = prepared.control
    old = (prepared.folder / "cluster").read_text()
    control.set_cluster(old, hsm_type="hsm1.medium")
    for tasks in (describe, [{**seen[0], "retries": 2, "delay": 1}, seen[1]]):
        done = prepared.playbook(tasks)
        assert done.exit_code == 0, done.output
        control.set_cluster(old, hsm_type="hsm2m.medium")
    new = control.create_cluster(source_cluster_id=old, hsm_type="hsm2m.medium")
    done = run_line(prepared, replace.replace("$new_cluster", new))
    assert done.exit_code == 0, done.output
    task[0]["keyops.aws.kms_custom_key_store"]["cloud_hsm_cluster_id"] = new
    done = prepared.playbook(task)
    assert done.exit_code == 0, done.output
    found = prepared.kms().describe_custom_key_stores(CustomKeyStoreName="payments")["CustomKeyStores"]
    assert (found[0]["CloudHsmClusterId"], found[0]["ConnectionState"]) == (new, "CONNECTED")
