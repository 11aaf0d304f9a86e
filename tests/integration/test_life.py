# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a store through ansible-playbook over HTTP, each task predicted, done, and done again; no secret anywhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from tests.integration.harness import MODULE
from tests.integration.harness import Ansible

DESCRIBE = "DescribeCustomKeyStores"
CREATE = "CreateCustomKeyStore"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"
UPDATE = "UpdateCustomKeyStore"
DELETE = "DeleteCustomKeyStore"
CHANGES = (CREATE, CONNECT, DISCONNECT, UPDATE, DELETE)

PASSWORD = "CanaryOfKmsUser8642"
SECRET = "CanaryOfTheProxy0123456789abcdefghijklmnopqrstuv"
NEW_SECRET = "CanaryOfTheNewProxy9876543210zyxwvutsrqponmlkji"
CANARIES = (PASSWORD, SECRET, NEW_SECRET)

CLOUDHSM: dict[str, Any] = {
    "name": "payments",
    "custom_key_store_type": "AWS_CLOUDHSM",
    "cloud_hsm_cluster_id": "cluster-2345abcdefg",
    "trust_anchor_certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "key_store_password": PASSWORD,
}
EXTERNAL: dict[str, Any] = {
    "name": "payments",
    "custom_key_store_type": "EXTERNAL_KEY_STORE",
    "xks_proxy_configuration": {
        "connectivity": "PUBLIC_ENDPOINT",
        "uri_endpoint": "https://xks.example.com",
        "uri_path": "/payments/kms/xks/v1",
        "access_key_id": "ABCDEFGHIJKLMNOPQRST",
        "raw_secret_access_key": SECRET,
    },
}


@dataclass(frozen=True)
class Scenario:
    """A task on a store.

    Attributes:
        store: the options that the store was created with; None for none.
        state: the connection state that it is in.
        options: of the task.
        calls: the operations of the real run, each run of the same told once.
        again: whether a second run is a change as well.
        fault: an operation that KMS refuses, and with what.
        message: of the failure.
    """

    store: dict[str, Any] | None
    state: str
    options: dict[str, Any]
    calls: list[str]
    again: bool = False
    fault: tuple[str, str] | None = None
    message: str | None = None


SCENARIOS = {
    "s11": Scenario(
        CLOUDHSM,
        "CONNECTED",
        {"key_store_password": PASSWORD, "update_credentials": "always", "allow_disconnect": True},
        [DESCRIBE, DISCONNECT, DESCRIBE, UPDATE, CONNECT, DESCRIBE],
        again=True,
    ),
    "s11_without_force": Scenario(
        CLOUDHSM, "CONNECTED", {"key_store_password": PASSWORD, "allow_disconnect": True}, [DESCRIBE]
    ),
    "s12": Scenario(
        CLOUDHSM,
        "CONNECTED",
        {"cloud_hsm_cluster_id": "cluster-7654gfedcba", "allow_disconnect": True},
        [DESCRIBE, DISCONNECT, DESCRIBE, UPDATE, DESCRIBE, CONNECT, DESCRIBE],
        fault=(UPDATE, "CloudHsmClusterNotRelatedException"),
        message="The store is CONNECTED again, with its old settings.",
    ),
    "s13": Scenario(
        EXTERNAL,
        "CONNECTED",
        {"xks_proxy_configuration": {"access_key_id": "TSRQPONMLKJIHGFEDCBA", "raw_secret_access_key": NEW_SECRET}},
        [DESCRIBE, UPDATE, DESCRIBE],
    ),
    "s14": Scenario(
        EXTERNAL,
        "CONNECTED",
        {"xks_proxy_configuration": {"uri_endpoint": "https://other.example.com"}},
        [DESCRIBE],
        message="To change xks_proxy_configuration.uri_endpoint, the custom key store",
    ),
    "s14_allowed": Scenario(
        EXTERNAL,
        "CONNECTED",
        {"xks_proxy_configuration": {"uri_endpoint": "https://other.example.com"}, "allow_disconnect": True},
        [DESCRIBE, DISCONNECT, DESCRIBE, UPDATE, CONNECT, DESCRIBE],
    ),
    "s15": Scenario(CLOUDHSM, "CONNECTED", {"name": "invoices"}, [DESCRIBE, UPDATE, DESCRIBE]),
    "s16": Scenario(None, "", {**CLOUDHSM, "state": "connected"}, [DESCRIBE, CREATE, DESCRIBE, CONNECT, DESCRIBE]),
    "s16_external": Scenario(
        None, "", {**EXTERNAL, "state": "connected"}, [DESCRIBE, CREATE, DESCRIBE, CONNECT, DESCRIBE]
    ),
    "s18": Scenario(
        CLOUDHSM, "FAILED", {"state": "absent"}, [DESCRIBE, "ListKeys", DISCONNECT, DESCRIBE, DELETE, DESCRIBE]
    ),
}
"""S22, the twin in check mode, is a part of each."""


def kept(ansible: Ansible, *arguments: str, **options: Any) -> dict[str, Any]:
    """Run the task as verbosely as can be and look for canaries in all that it leaves behind."""
    log = ansible.folder / "ansible.log"
    ansible.environment["ANSIBLE_LOG_PATH"] = str(log)
    result = ansible.module("-vvvv", *arguments, **options)
    written = [ansible.output, json.dumps(result), log.read_text(), json.dumps(ansible.control.requests())]
    for canary in CANARIES:
        assert [text for text in written if canary in text] == []
    log.unlink()
    return result


def clusters_made(ansible: Ansible) -> dict[str, str]:
    """Clusters in place of those of the scenarios: a store whose cluster is not there is not disconnected for a change."""
    cluster_id = ansible.control.create_cluster(certificate=CLOUDHSM["trust_anchor_certificate"])
    other = ansible.control.create_cluster(source_cluster_id=cluster_id)
    return {"cluster-2345abcdefg": cluster_id, "cluster-7654gfedcba": other}


IN_MAKE_TEST = ("s12",)
"""The others take make test too long; each of them has a test in one process as well."""


@pytest.mark.parametrize(
    "name", [name if name in IN_MAKE_TEST else pytest.param(name, marks=pytest.mark.long) for name in SCENARIOS]
)
def test_scenario(ansible: Ansible, name: str) -> None:
    scenario = SCENARIOS[name]
    control = ansible.control
    options = {**scenario.options}
    if scenario.store is not None:
        clusters = clusters_made(ansible)
        options = {key: clusters.get(str(value), value) for key, value in options.items()}
        created = kept(ansible, **{key: clusters.get(str(value), value) for key, value in scenario.store.items()})
        assert created["operations"] == [CREATE]
        options["id"] = created["custom_key_store"]["custom_key_store_id"]
        control.set_connection_state(
            options["id"], scenario.state, "NETWORK_ERRORS" if scenario.state == "FAILED" else None
        )
        control.set_connect_outcomes(options["id"], ["CONNECTED", "CONNECTED"])  # whatever kmsuser's password is by now

    predicted = kept(ansible, "--check", "--diff", **options)
    assert not set(CHANGES) & set(ansible.calls)
    if scenario.fault is not None:
        control.add_fault(scenario.fault[0], error=scenario.fault[1])
    result = kept(ansible, "--diff", **options)
    assert ansible.calls == scenario.calls
    expected = [call for call in scenario.calls if call in CHANGES]
    if scenario.fault is not None:
        expected.remove(scenario.fault[0])
        assert result["error"]["code"] == scenario.fault[1]
        assert scenario.message in result["msg"]
        assert result["custom_key_store"]["connection_state"] == scenario.state
        return
    assert result["operations"] == predicted["operations"] == expected
    assert result["changed"] is predicted["changed"] is bool(expected)
    assert result["diff"] == predicted["diff"]
    if scenario.message is not None:
        assert scenario.message in result["msg"]
        assert result["msg"] == predicted["msg"]
        return
    again = kept(ansible, **options)
    assert again["changed"] is scenario.again
    if not scenario.again:
        assert ansible.request_count == 1


@pytest.mark.long
def test_s17_a_store_that_holds_keys_is_not_touched(ansible: Ansible) -> None:
    store_id = kept(ansible, **CLOUDHSM, state="connected")["custom_key_store"]["custom_key_store_id"]
    kms = ansible.kms()
    ids = [
        kms.create_key(CustomKeyStoreId=store_id, Origin="AWS_CLOUDHSM")["KeyMetadata"]["KeyId"] for _turn in range(3)
    ]
    kms.create_key()  # one elsewhere
    deleted = kms.schedule_key_deletion(KeyId=ids[0], PendingWindowInDays=7)["DeletionDate"]
    for arguments in (("--check",), ()):
        result = ansible.module(*arguments, id=store_id, state="absent", allow_disconnect=True)
        assert ansible.calls == [DESCRIBE, "ListKeys", "DescribeKey"]
        assert result["failed"] is True
        assert result["changed"] is False
        assert "cannot be deleted and was left as it is, because it holds 3 KMS keys: " in result["msg"]
        assert f"{ids[0]} (PendingDeletion, will be deleted on {deleted.isoformat()[:10]}" in result["msg"]
        assert all(key_id in result["msg"] for key_id in ids)
    assert ansible.module(id=store_id)["custom_key_store"]["connection_state"] == "CONNECTED"


@pytest.mark.long
def test_a_password_that_kmsuser_does_not_have(ansible: Ansible) -> None:
    """The whole of R15 with the emulator's own model of kmsuser: a connect makes the password in the playbook worthless."""
    ansible.control.set_transitions(connect_seconds=1, disconnect_seconds=0.2)
    cluster_id = clusters_made(ansible)["cluster-2345abcdefg"]
    ansible.control.change_kmsuser_password(cluster_id, PASSWORD)
    store = {**CLOUDHSM, "cloud_hsm_cluster_id": cluster_id}
    store_id = kept(ansible, **store, state="connected")["custom_key_store"]["custom_key_store_id"]
    wrong = kept(
        ansible,
        id=store_id,
        key_store_password=PASSWORD,
        update_credentials="always",
        allow_disconnect=True,
    )
    assert wrong["failed"] is True
    assert wrong["connection_error"]["code"] == "INVALID_CREDENTIALS"
    ansible.control.change_kmsuser_password(cluster_id, "CanaryThatWasChanged1")
    fixed = kept(
        ansible,
        id=store_id,
        key_store_password="CanaryThatWasChanged1",
        update_credentials="always",
        state="connected",
    )
    assert fixed["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert fixed["custom_key_store"]["connection_state"] == "CONNECTED"


@pytest.mark.long
def test_secrets_in_a_loop_and_with_logs_of_botocore(ansible: Ansible) -> None:
    tasks = [
        {
            "name": "Many",
            MODULE: {
                "name": "{{ item.name }}",
                "cloud_hsm_cluster_id": "{{ item.cluster }}",
                "trust_anchor_certificate": CLOUDHSM["trust_anchor_certificate"],
                "key_store_password": "{{ item.password }}",
                "debug_botocore_endpoint_logs": True,
            },
            "loop": [{"name": "one", "cluster": "cluster-2345abcdefg", "password": "{{ secret }}"}],
            "loop_control": {"label": "{{ item.name }}"},
        }
    ]
    (ansible.folder / "secrets.json").write_text(json.dumps({"secret": PASSWORD}))
    run = ansible.playbook(tasks, "-e", "@secrets.json", "--diff")
    assert run.exit_code == 0, run.output
    assert PASSWORD not in run.output


# ---- the examples of the documentation

EXAMPLES: list[dict[str, Any]] = yaml.safe_load(kms_custom_key_store.EXAMPLES)
VARIABLES = {
    "kmsuser_password": PASSWORD,
    "new_kmsuser_password": PASSWORD + "1",
    "proxy_access_key_id": "ABCDEFGHIJKLMNOPQRST",
    "proxy_secret_access_key": SECRET,
    "new_proxy_access_key_id": "TSRQPONMLKJIHGFEDCBA",
    "new_proxy_secret_access_key": NEW_SECRET,
}


@pytest.mark.long
def test_the_examples_work_one_after_the_other_and_change_nothing_when_run_again(
    ansible: Ansible, tmp_path: Path
) -> None:
    clusters = clusters_made(ansible)
    store_id = ansible.control.create_store(
        custom_key_store_name="payments",
        connection_state="CONNECTED",
        parameters={"CloudHsmClusterId": clusters["cluster-2345abcdefg"]},
    )
    ansible.control.set_connect_outcomes(store_id, ["CONNECTED"] * 20)
    (tmp_path / "customerCA.crt").write_text(CLOUDHSM["trust_anchor_certificate"])
    (tmp_path / "change_kmsuser_password.yml").write_text("[]\n")
    (tmp_path / "variables.json").write_text(json.dumps(VARIABLES))
    tasks: list[dict[str, Any]] = []
    names = {
        "cks-1234567890abcdef0": store_id,
        "card-payments": "payments",
        "cluster-7f65g4edcba": clusters["cluster-7654gfedcba"],
    }
    named = json.dumps(EXAMPLES)
    for name, here in names.items():
        named = named.replace(name, here)
    for number, example in enumerate(json.loads(named)):
        tasks.append({**example, "register": "first"})
        always = example.get(MODULE, {}).get("update_credentials") == "always"
        if MODULE in example and not always:
            tasks.append({**example, "name": f"Again: {number}", "register": "again"})
            tasks.append({"name": "Unchanged", "ansible.builtin.assert": {"that": "again is not changed"}})
    run = ansible.playbook(tasks, "-e", "@variables.json", "-vvv")
    assert run.exit_code == 0, run.output[-3000:]
    assert "failed=0" in run.output
    for secret in VARIABLES.values():
        assert secret not in run.output or secret in ("ABCDEFGHIJKLMNOPQRST", "TSRQPONMLKJIHGFEDCBA")
