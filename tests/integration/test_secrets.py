# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets appear in nothing that Ansible prints or writes, whichever way it prints, also where tasks fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.harness import MODULE
from tests.integration.harness import Ansible

PASSWORD = "CanaryOfKmsUser1357"
LONG = "CanaryThatIsTooLongForKmsUser13579"
SHORT = "Yellow"
PROXY_SECRET = "CanaryOfTheProxyWith43CharactersOrMore0123456789"
STORE = {
    "custom_key_store_type": "AWS_CLOUDHSM",
    "cloud_hsm_cluster_id": "cluster-2345abcdefg",
    "trust_anchor_certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
}
SECRETS = (PASSWORD, LONG, SHORT, PROXY_SECRET)


def task(name: str, options: dict[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"name": name, MODULE: {"debug_botocore_endpoint_logs": True, **options}, "ignore_errors": True, **keywords}


TASKS = [
    task("Create", {"name": "payments", **STORE, "key_store_password": "{{ password }}"}, register="created"),
    {"name": "Show", "ansible.builtin.debug": {"var": "created"}},
    task("Too long", {"name": "other", **STORE, "key_store_password": "{{ long }}"}),
    task("Too short", {"name": "other", **STORE, "key_store_password": "{{ short }}"}),
    task("Not a text", {"name": "other", **STORE, "key_store_password": {"value": "{{ password }}"}}),
    task("No such option", {"name": "other", "key_store_pasword": "x", "key_store_password": "{{ password }}"}),
    task("Not a choice", {"name": "other", "state": "conected", "key_store_password": "{{ password }}"}),
    task(
        "In a loop",
        {"name": "payments", "key_store_password": "{{ lookup('vars', item) }}", "update_credentials": "always"},
        loop=["password"],  # Ansible itself shows items
    ),
    task(
        "External",
        {
            "name": "invoices",
            "custom_key_store_type": "EXTERNAL_KEY_STORE",
            "xks_proxy_configuration": {
                "connectivity": "PUBLIC_ENDPOINT",
                "uri_endpoint": "https://xks.example.com",
                "uri_path": "/kms/xks/v1",
                "access_key_id": "ABCDEFGHIJKLMNOPQRST",
                "raw_secret_access_key": "{{ proxy_secret }}",
            },
        },
    ),
    {
        "name": "Refused by KMS",
        "block": [
            {
                "name": "Change the password",
                MODULE: {
                    "name": "payments",
                    "key_store_password": "{{ password }}",
                    "update_credentials": "always",
                    "wait_timeout": 5,
                },
            }
        ],
        "rescue": [{"name": "Tell", "ansible.builtin.debug": {"var": "ansible_failed_result"}}],
    },
]


@pytest.mark.parametrize(
    "callback",
    [
        "ansible.builtin.default",
        pytest.param("ansible.builtin.minimal", marks=pytest.mark.long),
        pytest.param("ansible.posix.json", marks=pytest.mark.long),
    ],
)
def test_no_secret_is_in_the_output(ansible: Ansible, callback: str) -> None:
    log = ansible.folder / "ansible.log"
    ansible.environment.update({"ANSIBLE_STDOUT_CALLBACK": callback, "ANSIBLE_LOG_PATH": str(log)})
    variables = {"password": PASSWORD, "long": LONG, "short": SHORT, "proxy_secret": PROXY_SECRET}
    (ansible.folder / "variables.json").write_text(json.dumps(variables))
    ansible.control.add_fault("UpdateCustomKeyStore", error="CloudHsmClusterNotActiveException", skip=1)
    done = ansible.playbook(TASKS, "-e", "@variables.json", "-vvvvv", "--diff")
    assert done.exit_code == 0, done.output[-3000:]
    shown = done.output + log.read_text() + json.dumps(ansible.control.requests())
    assert "CloudHsmClusterNotActiveException" in shown
    assert "key_store_password must have 7 to 32 characters" in shown
    assert [secret for secret in SECRETS if secret in shown] == []


@pytest.mark.long
@pytest.mark.parametrize("hidden", [False, True])
def test_a_misspelt_option_is_hidden_by_no_log_alone(ansible: Ansible, hidden: bool) -> None:
    """The guides say so: Ansible does not know that it is a secret."""
    misspelt = {"name": "Try", MODULE: {"name": "payments", "keystore_password": PASSWORD}, "no_log": hidden}
    assert PASSWORD not in ansible.playbook([misspelt]).output
    done = ansible.playbook([misspelt], "-vvv")
    assert done.exit_code == 2
    assert (PASSWORD in done.output) is not hidden
