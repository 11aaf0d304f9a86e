# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks, by their names and with variables only, as a user runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.harness import Ansible

NEW_PASSWORD = "CanaryOfTheNewPassword8642"
DISCONNECT = "DisconnectCustomKeyStore"
UPDATE = "UpdateCustomKeyStore"
CONNECT = "ConnectCustomKeyStore"


def run(ansible: Ansible, playbook: str, **variables: Any) -> str:
    """Run a playbook of the collection, which must succeed; returns its output."""
    ansible.control.clear_requests()
    (ansible.folder / "variables.json").write_text(json.dumps(variables))
    done = ansible.run(f"keyops.aws.{playbook}", "-e", "@variables.json", "-vvv")
    assert done.exit_code == 0, done.output[-3000:]
    return done.output


def changes(ansible: Ansible) -> list[str]:
    operations = [request["operation"] for request in ansible.control.requests()]
    return [operation for operation in operations if operation in (DISCONNECT, UPDATE, CONNECT)]


def store(ansible: Ansible, name: str) -> dict[str, Any]:
    (found,) = ansible.kms().describe_custom_key_stores(CustomKeyStoreName=name)["CustomKeyStores"]
    return dict(found)


def change_password(ansible: Ansible, cluster_id: str) -> str:
    """A file of tasks that change the password in the cluster, as a user's own would."""
    task = {
        "name": "Change it",
        "ansible.builtin.uri": {
            "url": f"{ansible.environment['AWS_URL']}/moto-api/kms/custom-key-stores/change-kmsuser-password",
            "method": "POST",
            "body_format": "json",
            "body": {"custom_key_store_or_cluster_id": cluster_id, "password": "{{ kmsuser_password }}"},
        },
        "no_log": True,
    }
    path = ansible.folder / "change_password.yml"
    path.write_text(json.dumps([task]))
    return str(path)


def test_a_window_around_a_file_of_tasks(ansible: Ansible) -> None:
    backing = {"CloudHsmClusterId": ansible.control.create_cluster()}
    ansible.control.create_store(custom_key_store_name="payments", connection_state="CONNECTED", parameters=backing)
    work = ansible.folder / "work.yml"
    work.write_text(json.dumps([{"name": "Work", "ansible.builtin.debug": {"msg": "This is the work."}}]))
    output = run(ansible, "window", key_store="payments", tasks_file=str(work))
    assert "This is the work." in output
    assert changes(ansible) == [DISCONNECT, CONNECT]


@pytest.mark.long
def test_rotate_the_password_of_kmsuser(ansible: Ansible) -> None:
    cluster_id = ansible.control.create_cluster()
    ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    output = run(
        ansible,
        "rotate_kmsuser_password",
        key_store="payments",
        kmsuser_password=NEW_PASSWORD,
        change_password_tasks_file=change_password(ansible, cluster_id),
    )
    assert changes(ansible) == [DISCONNECT, UPDATE, CONNECT]
    assert store(ansible, "payments")["ConnectionState"] == "CONNECTED"
    assert NEW_PASSWORD not in output


@pytest.mark.long
def test_a_store_that_failed_for_its_password_is_connected_with_the_new_one(ansible: Ansible) -> None:
    cluster_id = ansible.control.create_cluster()
    ansible.control.create_store(
        custom_key_store_name="payments",
        connection_state="FAILED",
        connection_error_code="INVALID_CREDENTIALS",
        parameters={"CloudHsmClusterId": cluster_id},
    )
    tasks_file = change_password(ansible, cluster_id)
    variables = {"kmsuser_password": NEW_PASSWORD, "change_password_tasks_file": tasks_file}
    run(ansible, "rotate_kmsuser_password", key_store="payments", **variables)
    assert changes(ansible) == [DISCONNECT, UPDATE, CONNECT]
    assert store(ansible, "payments")["ConnectionState"] == "CONNECTED"


@pytest.mark.long
def test_replace_the_cluster_and_nothing_the_second_time(ansible: Ansible) -> None:
    before = ansible.control.create_cluster()
    ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": before}
    )
    after = ansible.control.create_cluster(source_cluster_id=before)
    run(ansible, "replace_cluster", key_store="payments", cloud_hsm_cluster_id=after)
    assert changes(ansible) == [DISCONNECT, UPDATE, CONNECT]
    assert store(ansible, "payments")["CloudHsmClusterId"] == after
    assert store(ansible, "payments")["ConnectionState"] == "CONNECTED"
    run(ansible, "replace_cluster", key_store="payments", cloud_hsm_cluster_id=after)
    assert changes(ansible) == []


def test_rotate_the_credential_of_an_external_store(ansible: Ansible) -> None:
    ansible.control.create_store(
        custom_key_store_name="invoices", custom_key_store_type="EXTERNAL_KEY_STORE", connection_state="CONNECTED"
    )
    secret = "CanaryOfTheNewProxy9876543210zyxwvutsrqponmlkji"
    remove = ansible.folder / "remove.yml"
    remove.write_text(json.dumps([{"name": "Remove", "ansible.builtin.debug": {"msg": "The old one is refused."}}]))
    output = run(
        ansible,
        "rotate_xks_credential",
        key_store="invoices",
        access_key_id="TSRQPONMLKJIHGFEDCBA",
        raw_secret_access_key=secret,
        remove_credential_tasks_file=str(remove),
        minutes_until_used=0,
    )
    assert changes(ansible) == [UPDATE]
    assert store(ansible, "invoices")["XksProxyConfiguration"]["AccessKeyId"] == "TSRQPONMLKJIHGFEDCBA"
    assert "The old one is refused." in output
    assert secret not in output
