# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guides tell the reader to write is run as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.emulator import HttpControl
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
