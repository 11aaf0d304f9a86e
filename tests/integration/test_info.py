# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See before you act, through ansible-playbook over HTTP: the info module, its examples, and the playbook that shows the impact.

The names of the tests begin with the number of the acceptance scenario where there is one.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
import yaml

from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_info
from kms_emulator import HttpControl
from tests.integration.harness import INFO_MODULE
from tests.integration.harness import Ansible
from tests.sdk import needs_last_usage

DESCRIBE = "DescribeCustomKeyStores"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"


@pytest.fixture
def used_key(ansible: Ansible) -> str:
    """The id of a key that was used, in the connected store payments, which holds one more; there are others outside."""
    cluster_id = ansible.control.create_cluster()
    store_id = ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    used: str
    used, _ignored = ansible.control.create_keys(2, custom_key_store_id=store_id)
    ansible.control.create_keys(40)
    kms = ansible.kms()
    kms.create_alias(AliasName="alias/cards", TargetKeyId=used)
    kms.encrypt(KeyId=used, Plaintext=b"4111")
    return used


@needs_last_usage
def test_s19_keys_and_their_last_use(ansible: Ansible, used_key: str) -> None:
    result = ansible.module(module=INFO_MODULE, name="payments", include_keys=True, include_cloud_hsm_cluster=True)
    assert result["changed"] is False
    (store,) = result["custom_key_stores"]
    keys = {key["key_id"]: key for key in store["keys"]}
    used = keys.pop(used_key)
    (unused,) = keys.values()
    assert used["aliases"] == ["cards"]
    assert used["last_usage"]["operation"] == "Encrypt"
    assert unused["last_usage"] is None
    assert store["cloud_hsm_cluster"]["active_hsms"] == 2
    calls = Counter(request["operation"] for request in ansible.control.requests())
    assert calls == {DESCRIBE: 1, "ListKeys": 1, "DescribeKey": 42, "ListAliases": 1, "GetKeyLastUsage": 2}


@pytest.mark.long
@pytest.mark.parametrize("arguments", [("--check",), ("--check", "--diff", "-vvvv")])
def test_check_mode_returns_the_same(ansible: Ansible, used_key: str, arguments: tuple[str, ...]) -> None:
    real = ansible.module(module=INFO_MODULE, include_keys=True)
    assert ansible.module(*arguments, module=INFO_MODULE, include_keys=True) == real


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        pytest.param("GetKeyLastUsage", "last_usage", marks=needs_last_usage),
        ("ListAliases", "aliases"),
        ("DescribeKey", "key_id"),
    ],
)
@pytest.mark.long
def test_s19_what_is_not_permitted_is_reported_and_does_not_fail(
    ansible: Ansible, used_key: str, operation: str, part: str
) -> None:
    ansible.control.add_fault(operation, error="AccessDeniedException", times=None)
    result = ansible.module(module=INFO_MODULE, name="payments", include_keys=True)
    assert "failed" not in result or not result["failed"]
    keys = result["custom_key_stores"][0]["keys"]
    if part == "last_usage":
        assert all(f"Allow kms:{operation} in the key policy" in key["last_usage"]["unknown"] for key in keys)
        assert len(keys) == 2
    elif part == "aliases":
        assert [key["aliases"] for key in keys] == [None, None]
        assert any("Allow kms:ListAliases" in warning for warning in result["warnings"])
    else:
        assert keys == []
        assert len(result["keys_not_described"]) == 42
        assert any(warning.startswith("42 KMS keys of the account could not") for warning in result["warnings"])


@pytest.mark.long
def test_s24_twelve_stores_in_three_regions_at_five_requests_a_second(ansible: Ansible) -> None:
    regions = ("us-east-1", "eu-west-1", "ap-southeast-2")
    controls = {region: HttpControl(ansible.environment["AWS_URL"], region_name=region) for region in regions}
    for region, control in controls.items():
        control.reset()
        for operation in (DESCRIBE, CONNECT, DISCONNECT):
            control.set_quota(operation, 5)
        for number in range(4):
            control.create_store(custom_key_store_name=f"{region}-{number}")
    ansible.control.set_transitions(connect_seconds=0.5)
    connect: dict[str, Any] = {
        "name": "Connect them all",
        "keyops.aws.kms_custom_key_store": {
            "region": "{{ item[0].item }}",
            "custom_key_store_id": "{{ item[1].custom_key_store_id }}",
            "state": "connected",
        },
        "loop": "{{ found.results | subelements('custom_key_stores') }}",
        "async": 60,
        "poll": 0,
        "register": "begun",
    }
    tasks: list[dict[str, Any]] = [
        {
            "name": "Find them all",
            INFO_MODULE: {"region": "{{ item }}"},
            "loop": list(regions),
            "register": "found",
        },
        connect,
        {
            "name": "Wait for all",
            "ansible.builtin.async_status": {"jid": "{{ item.ansible_job_id }}"},
            "loop": "{{ begun.results }}",
            "register": "job",
            "until": "job is finished",
            "retries": 60,
            "delay": 1,
        },
    ]
    done = ansible.playbook(tasks)
    assert done.exit_code == 0, done.output[-3000:]
    for control in controls.values():
        requests = control.requests()
        assert [request["operation"] for request in requests].count(CONNECT) >= 4
        assert sum(request["operation"] == CONNECT and request["outcome"] == "ok" for request in requests) == 4
    for region, control in controls.items():
        described = ansible.kms(region).describe_custom_key_stores()["CustomKeyStores"]
        assert [store["ConnectionState"] for store in described] == ["CONNECTED"] * 4
        control.reset()


# ---- the impact of a disconnect


@needs_last_usage
@pytest.mark.long
def test_the_playbook_shows_the_impact_and_then_disconnects(ansible: Ansible, used_key: str) -> None:
    done = ansible.run("keyops.aws.disconnect", "-e", "key_store=payments")
    assert done.exit_code == 0, done.output
    assert "payments is CONNECTED and holds 2 KMS keys." in done.output
    row = next(line for line in done.output.splitlines() if used_key in line)
    state, *when, operation, aliases = row.split(used_key)[1].split()
    assert (state, len(when), operation, aliases) == ("Enabled", 2, "Encrypt", "cards")
    assert re.search(r"Enabled +never +since \d{4}-\d\d-\d\d$", done.output, re.MULTILINE)
    operations = [request["operation"] for request in ansible.control.requests()]
    assert operations.index("GetKeyLastUsage") < operations.index(DISCONNECT)
    assert ansible.module(name="payments")["custom_key_store"]["connection_state"] == "DISCONNECTED"


@pytest.mark.long
def test_the_playbook_in_check_mode_shows_the_impact_alone(ansible: Ansible, used_key: str) -> None:
    done = ansible.run("keyops.aws.disconnect", "-e", "key_store=payments", "--check")
    assert done.exit_code == 0, done.output
    assert used_key in done.output
    assert DISCONNECT not in [request["operation"] for request in ansible.control.requests()]


@needs_last_usage
@pytest.mark.long
def test_the_table_in_the_format_of_json(ansible: Ansible, used_key: str) -> None:
    """As Ansible prints results unless it is told otherwise: a line of the table is a line of the output."""
    ansible.environment["ANSIBLE_CALLBACK_RESULT_FORMAT"] = "json"
    done = ansible.run("keyops.aws.disconnect", "-e", "key_store=payments", "--check")
    assert re.search(rf'^ +"{used_key}  Enabled .* cards",$', done.output, re.MULTILINE), done.output


@pytest.mark.long
@pytest.mark.parametrize(
    ("operation", "shown"),
    [
        pytest.param("GetKeyLastUsage", "unknown", marks=needs_last_usage),
        pytest.param("ListAliases", "Encrypt", marks=needs_last_usage),
        ("DescribeKey", "0 KMS keys"),
    ],
)
def test_the_playbook_shows_what_is_not_known(ansible: Ansible, used_key: str, operation: str, shown: str) -> None:
    ansible.control.add_fault(operation, error="AccessDeniedException", times=None)
    done = ansible.run("keyops.aws.disconnect", "-e", "key_store=payments", "--check")
    assert done.exit_code == 0, done.output
    assert shown in done.output


def test_the_playbook_stops_where_there_is_no_such_store(ansible: Ansible) -> None:
    done = ansible.run("keyops.aws.disconnect", "-e", "key_store=nobody")
    assert done.exit_code != 0
    assert "There is no custom key store named nobody. Check the name, the Region" in done.output
    assert ansible.calls == [DESCRIBE]


# ---- the examples of the documentation

EXAMPLES: list[dict[str, Any]] = yaml.safe_load(kms_custom_key_store_info.EXAMPLES)


@pytest.mark.long
def test_the_examples_work(ansible: Ansible, used_key: str) -> None:
    ansible.control.create_store(
        custom_key_store_name="broken",
        custom_key_store_type="EXTERNAL_KEY_STORE",
        connection_state="FAILED",
        connection_error_code="XKS_PROXY_TIMED_OUT",
    )
    done = ansible.playbook(EXAMPLES)
    assert done.exit_code == 0, done.output
    assert "broken: FAILED" in done.output
    assert "XKS_PROXY_TIMED_OUT" in done.output
    assert used_key in done.output
    assert "All assertions passed" in done.output


@pytest.mark.long
def test_the_example_stops_where_the_cluster_has_no_active_hsm(ansible: Ansible, used_key: str) -> None:
    described = ansible.kms().describe_custom_key_stores()["CustomKeyStores"]
    ansible.control.set_cluster(described[0]["CloudHsmClusterId"], active_hsms=0)
    done = ansible.playbook(EXAMPLES)
    assert done.exit_code != 0
    assert "The cluster is not ready" in done.output
