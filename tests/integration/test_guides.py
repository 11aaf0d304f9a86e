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
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.emulator import HttpControl
from tests.environment import BIN
from tests.environment import ROOT
from tests.integration.harness import INFO_MODULE
from tests.integration.harness import Ansible

GUIDES = ROOT / "docs" / "docsite" / "rst"
TASKS = ("guide_first_window", "guide_before", "guide_life")
"""The guides whose blocks of YAML are tasks that can be run one after the other."""

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
VARIABLES = {
    "kmsuser_password": "CanaryOfKmsUser8642",
    "new_kmsuser_password": "CanaryOfKmsUser86421",
    "new_proxy_access_key_id": "TSRQPONMLKJIHGFEDCBA",
    "new_proxy_secret_access_key": "CanaryOfTheNewProxy9876543210zyxwvutsrqponmlkji",
}
SECRETS = [value for name, value in VARIABLES.items() if not name.endswith("_id")]


def blocks(guide: str, language: str) -> list[str]:
    """The code blocks of a guide in that language, in order."""
    text = (GUIDES / f"{guide}.rst").read_text()
    pattern = rf"^( *)\.\. code-block:: {language}\n\n((?:\1 +.*\n|\n)+)"
    return [textwrap.dedent(found[2]) for found in re.finditer(pattern, text, re.MULTILINE)]


@pytest.fixture
def prepared(ansible: Ansible) -> Ansible:
    """What the guides take for granted: the stores payments and invoices, connected, and the files and variables."""
    cluster_id = ansible.control.create_cluster(certificate=CERTIFICATE)
    ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    ansible.control.create_store(
        custom_key_store_name="invoices", custom_key_store_type="EXTERNAL_KEY_STORE", connection_state="CONNECTED"
    )
    (ansible.folder / "customerCA.crt").write_text(CERTIFICATE)
    change_password = {
        "name": "Change the password in the cluster",
        "ansible.builtin.uri": {
            "url": f"{ansible.environment['AWS_URL']}/moto-api/kms/custom-key-stores/change-kmsuser-password",
            "method": "POST",
            "body_format": "json",
            "body": {"custom_key_store_or_cluster_id": cluster_id, "password": "{{ new_kmsuser_password }}"},
        },
        "no_log": True,
    }
    (ansible.folder / "change_kmsuser_password.yml").write_text(json.dumps([change_password]))
    (ansible.folder / "variables.json").write_text(json.dumps({**VARIABLES, "cluster_id": cluster_id}))
    return ansible


@pytest.mark.parametrize("guide", TASKS)
def test_the_tasks_of_a_guide_work_one_after_the_other(prepared: Ansible, guide: str) -> None:
    cluster_id = json.loads((prepared.folder / "variables.json").read_text())["cluster_id"]
    tasks: list[dict[str, Any]] = []
    for block in blocks(guide, "yaml"):
        content = yaml.safe_load(block.replace("cluster-2a34b5cdefg", cluster_id))
        tasks += content if isinstance(content, list) else []
    assert tasks
    done = prepared.playbook(tasks, "-e", "@variables.json", "-vvv")
    assert done.exit_code == 0, done.output[-3000:]
    for secret in SECRETS:
        assert secret not in done.output


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
    look = {"name": "Look", INFO_MODULE: {"name": "payments"}, "register": "found"}
    check = {"name": "Found", "ansible.builtin.assert": {"that": "found.custom_key_stores | length == 1"}}
    done = ansible.playbook([{"name": "With options", "block": [look, check], **options}])
    assert done.exit_code == 0, done.output
    assert [request["operation"] for request in control.requests()] == ["DescribeCustomKeyStores"]
    assert ansible.calls == []
    control.reset()


def test_the_commands_of_the_guide_work(prepared: Ansible) -> None:
    commands = [line for block in blocks("guide_before", "shell") for line in block.splitlines() if line]
    assert commands
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "ansible-playbook"
        done = prepared.run(*arguments)
        assert done.exit_code == 0, done.output


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


def test_the_windows_of_the_guide(accounts: Ansible) -> None:
    """Over several stores, over Regions and an account in which a role is taken, and brought back by a tag."""
    one, work, many, check = (yaml.safe_load(block) for block in blocks("guide_windows", "yaml"))
    tag, ready = blocks("guide_windows", "shell")
    (accounts.folder / "work.yml").write_text(json.dumps(work))
    one[0]["post_tasks"] = check
    runs = []
    for play in (one, many):
        (accounts.folder / "window.yml").write_text(json.dumps(play))
        runs.append(accounts.run("window.yml"))
    assert "payments in us-east-1 was CONNECTED" in runs[0].output
    _program, *arguments = shlex.split(tag)
    runs.append(accounts.run(*arguments))
    _program, *arguments = shlex.split(ready.replace("$PWD", str(accounts.folder)))
    runs.append(accounts.run(*arguments))
    for done in runs:
        assert done.exit_code == 0, done.output
    url = accounts.environment["AWS_URL"]
    other = HttpControl(url, account_id="222222222222", region_name="us-west-2")
    assert [request["operation"] for request in other.requests() if "Describe" not in request["operation"]] == [
        "DisconnectCustomKeyStore",
        "ConnectCustomKeyStore",
        "GenerateRandom",
    ]


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
    """All at a free port, and with an environment for make that is ready."""
    start, *rest = blocks("guide_emulator", "shell")
    assert start.strip() == "make emulator"
    environment = plain_environment(tmp_path)
    command = shell(environment, f"{start.strip()} --silent --dry-run --old-file=.venv/ready")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    emulator = subprocess.Popen(
        [*shlex.split(command), "--port", str(port)], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE
    )
    with emulator:
        assert emulator.stdout is not None
        assert emulator.stdout.readline() == f"KMS emulator ready at http://127.0.0.1:{port}\n"
        output = shell(environment, "".join(rest).replace("127.0.0.1:5566", f"127.0.0.1:{port}"))
        emulator.terminate()
        assert " DescribeCustomKeyStores payments ok\n" in emulator.stdout.read()
    assert emulator.returncode == 0
    assert '"ConnectionState": "CONNECTED"' in output
    assert '"operation": "DescribeCustomKeyStores"' in output
    assert '"account_id": "123456789012", "region": "us-east-1"' in output


def test_the_python_of_the_guide_to_the_emulator_works(tmp_path: Path) -> None:
    (program,) = blocks("guide_emulator", "python")
    shell(plain_environment(tmp_path), f"python -c {shlex.quote(program)}")


def test_one_rule_of_the_emulator_is_tested_as_the_guide_says(tmp_path: Path) -> None:
    (command,) = blocks("guide_emulator_rules", "shell")
    output = shell(plain_environment(tmp_path), f"{command.strip()} -n 0 -p no:cacheprovider")
    assert re.search(r"\b[1-9]\d* passed\b", output)
