# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a store through main(): create, update, rename, rotate, replace, delete, and putting back.

The names of the tests begin with the number of the acceptance scenario where there is one.
"""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import explain_exception
from tests.sdk import needs_owner
from tests.unit.harness import ModuleRunner
from tests.unit.options import CERTIFICATE
from tests.unit.options import CLOUDHSM
from tests.unit.options import CLUSTER
from tests.unit.options import KEY_ID
from tests.unit.options import KINDS
from tests.unit.options import OTHER_CLUSTER
from tests.unit.options import OTHER_KEY_ID
from tests.unit.options import PASSWORD
from tests.unit.options import PROXY
from tests.unit.options import PUBLIC
from tests.unit.options import SECRET
from tests.unit.options import SERVICE
from tests.unit.options import VPC

DESCRIBE = "DescribeCustomKeyStores"
CREATE = "CreateCustomKeyStore"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"
UPDATE = "UpdateCustomKeyStore"
DELETE = "DeleteCustomKeyStore"
LIST_KEYS = "ListKeys"


@pytest.fixture(autouse=True)
def seconds(run: ModuleRunner) -> None:
    """Transitions take 10 seconds."""
    run.control.set_transitions(connect_seconds=10, disconnect_seconds=10)


def created(run: ModuleRunner, kind: str, state: str) -> str:
    """Create a store of that kind by the module, put it in that state, and return its id."""
    result = run(**KINDS[kind])
    assert result["operations"] == [CREATE], result
    store_id = str(result["custom_key_store"]["custom_key_store_id"])
    run.control.set_connection_state(store_id, state, "NETWORK_ERRORS" if state == "FAILED" else None)
    return store_id


def predicted_and_done(run: ModuleRunner, **options: Any) -> dict[str, Any]:
    """Run in check mode, then for real, with the same prediction and end; no secret in either."""
    predicted = run(**options, check=True, diff=True)
    assert not {CREATE, CONNECT, DISCONNECT, UPDATE, DELETE} & set(run.calls)
    result = run(**options, diff=True)
    for key in ("changed", "operations", "diff"):
        assert predicted[key] == result[key], key
    printed = json.dumps([predicted, result])
    assert PASSWORD not in printed
    assert SECRET not in printed
    return result


def patched(kind: str, **changes: Any) -> dict[str, Any]:
    """The options of a kind with other values; those of the proxy by their own names."""
    proxy_keys = {*PROXY, "vpc_endpoint_service_name", "vpc_endpoint_service_owner"}
    proxy = {key: value for key, value in changes.items() if key in proxy_keys}
    options = {**KINDS[kind], **{key: value for key, value in changes.items() if key not in proxy_keys}}
    if proxy:
        options["xks_proxy_configuration"] = {**options["xks_proxy_configuration"], **proxy}
    return options


# ---- create


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["present", "disconnected"])
def test_create(run: ModuleRunner, kind: str, state: str) -> None:
    options = {**KINDS[kind], "state": state}
    result = predicted_and_done(run, **options)
    assert run.calls == [DESCRIBE, CREATE, DESCRIBE]
    assert result["custom_key_store"]["connection_state"] == "DISCONNECTED"
    assert result["diff"]["before"] == {}
    again = run(**options)
    assert run.calls == [DESCRIBE]
    assert again["changed"] is False


def test_what_is_created_is_what_was_asked_for(run: ModuleRunner) -> None:
    store = run(**VPC)["custom_key_store"]
    expected = {key: value for key, value in VPC["xks_proxy_configuration"].items() if key != "raw_secret_access_key"}
    assert store["xks_proxy_configuration"] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_s16_create_and_connect_waits_until_the_store_is_visible(run: ModuleRunner, kind: str) -> None:
    run.control.set_visibility_delay(5)
    result = predicted_and_done(run, **KINDS[kind], state="connected")
    assert run.calls_and_polls == [DESCRIBE, CREATE, DESCRIBE, CONNECT, DESCRIBE]
    assert result["operations"] == [CREATE, CONNECT]
    assert result["custom_key_store"]["custom_key_store_id"].startswith("cks-")
    assert result["connection_states"] == ["DISCONNECTED", "CONNECTING", "CONNECTED"]
    assert run(**KINDS[kind], state="connected")["changed"] is False
    assert run.calls == [DESCRIBE]


@pytest.mark.parametrize("fault", [{"drop": True}, {"error": "KMSInternalException"}])
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("delay", [0, 30])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.long
def test_a_lost_answer_to_create_makes_one_store(
    run: ModuleRunner, kind: str, delay: int, applied: bool, fault: dict[str, Any]
) -> None:
    run.control.set_visibility_delay(delay)
    run.control.add_fault(CREATE, applied=applied, **fault)
    result = run(**KINDS[kind])
    assert "failed" not in result, result
    assert result["operations"] == [CREATE]
    run.control.advance(60)
    stores = boto3.client("kms", region_name="us-east-1").describe_custom_key_stores()["CustomKeyStores"]
    assert [store["CustomKeyStoreId"] for store in stores] == [result["custom_key_store"]["custom_key_store_id"]]
    assert run(**KINDS[kind])["changed"] is False


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (
            {"cloud_hsm_cluster_id": CLUSTER},
            "trust_anchor_certificate, key_store_password",
        ),
        (
            {"custom_key_store_type": "AWS_CLOUDHSM"},
            "cloud_hsm_cluster_id, trust_anchor_certificate, key_store_password",
        ),
        (
            {"xks_proxy_configuration": {"connectivity": "VPC_ENDPOINT_SERVICE"}},
            "custom_key_store_type, xks_proxy_configuration.uri_endpoint, xks_proxy_configuration.uri_path,"
            " xks_proxy_configuration.access_key_id, xks_proxy_configuration.raw_secret_access_key,"
            " xks_proxy_configuration.vpc_endpoint_service_name",
        ),
    ],
)
@pytest.mark.parametrize("state", ["present", "connected", "disconnected"])
def test_all_missing_options_are_named_at_once(
    run: ModuleRunner, state: str, options: dict[str, Any], missing: str
) -> None:
    for check in (True, False):
        result = run(name="payments", state=state, check=check, **options)
        assert run.calls == [DESCRIBE]
        assert result["msg"].startswith('There is no custom key store named "payments" in the Region us-east-1')
        assert result["msg"].endswith(f"To create it, the task also needs {missing}.")


def test_an_id_that_is_not_there_creates_nothing(run: ModuleRunner) -> None:
    result = run(**CLOUDHSM, id="cks-00000000000000000")
    assert run.calls == [DESCRIBE]
    assert "There is no custom key store with the id cks-00000000000000000" in result["msg"]


# ---- update: each property, each state, allowed or not, as the documentation of UpdateCustomKeyStore has it

IN_PLACE = {
    ("cloudhsm", "name"): {"name": "invoices"},
    ("public", "name"): {"name": "invoices"},
    ("public", "uri_path"): {"uri_path": "/invoices/kms/xks/v1"},
    ("public", "access_key_id"): {"access_key_id": OTHER_KEY_ID},
    ("public", "raw_secret_access_key"): {"raw_secret_access_key": SECRET[::-1], "update_credentials": "always"},
}
OFFLINE = {
    ("cloudhsm", "cloud_hsm_cluster_id"): {"cloud_hsm_cluster_id": OTHER_CLUSTER},
    ("cloudhsm", "key_store_password"): {"key_store_password": PASSWORD, "update_credentials": "always"},
    ("public", "uri_endpoint"): {"uri_endpoint": "https://other.example.com"},
    ("public", "connectivity"): {
        "connectivity": "VPC_ENDPOINT_SERVICE",
        "uri_endpoint": "https://other.example.com",
        "vpc_endpoint_service_name": SERVICE,
    },
    ("vpc", "vpc_endpoint_service_name"): {"vpc_endpoint_service_name": SERVICE[:-1] + "1"},
    ("vpc", "vpc_endpoint_service_owner"): {"vpc_endpoint_service_owner": "012345678901"},
}
SECRETS = ("key_store_password", "raw_secret_access_key")
STATES = ["CONNECTED", "CONNECTING", "DISCONNECTED", "DISCONNECTING", "FAILED"]


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("kind", "option"),
    [
        pytest.param(*both, marks=needs_owner if both[1] == "vpc_endpoint_service_owner" else [])
        for both in (*IN_PLACE, *OFFLINE)
    ],
)
@pytest.mark.long
def test_each_property_in_each_state(run: ModuleRunner, kind: str, option: str, state: str, allowed: bool) -> None:
    changes = {**IN_PLACE, **OFFLINE}[kind, option]
    store_id = created(run, kind, state)
    run.control.set_connect_outcomes(store_id, ["CONNECTED"])  # whatever the password of kmsuser is by now
    options = {**patched(kind, **changes), "id": store_id, "allow_disconnect": allowed}
    in_service = state in ("CONNECTED", "CONNECTING")
    if in_service and (kind, option) in OFFLINE and not allowed:
        for check in (True, False):
            result = run(**options, check=check)
            assert run.calls == [DESCRIBE]
            assert result["changed"] is False
            assert (
                f'the custom key store {store_id} ("payments") must be disconnected, and it is {state}' in result["msg"]
            )
            assert option in result["msg"].split(", the custom key store")[0]
            assert "set allow_disconnect=true" in result["msg"]
        return
    result = predicted_and_done(run, **options)
    down = [DISCONNECT] if state == "FAILED" or (in_service and (kind, option) in OFFLINE) else []
    up = [CONNECT] if in_service and (kind, option) in OFFLINE else []
    assert result["operations"] == [*down, UPDATE, *up], result
    assert result["custom_key_store"]["connection_state"] == ("CONNECTED" if in_service else "DISCONNECTED")
    if option not in SECRETS:
        assert run(**options)["changed"] is False
        assert run.calls == [DESCRIBE]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("desired", ["connected", "disconnected"])
def test_properties_together_with_a_connection_state(run: ModuleRunner, state: str, desired: str) -> None:
    store_id = created(run, "cloudhsm", state)
    options = {**patched("cloudhsm", cloud_hsm_cluster_id=OTHER_CLUSTER), "id": store_id, "allow_disconnect": True}
    result = predicted_and_done(run, **options, state=desired)
    down = [DISCONNECT] if state in ("CONNECTED", "CONNECTING", "FAILED") else []
    up = [CONNECT] if desired == "connected" else []
    assert result["operations"] == [*down, UPDATE, *up]
    assert result["custom_key_store"]["connection_state"] == desired.upper()
    assert run(**options, state=desired)["changed"] is False


def test_disconnected_with_a_change_needs_no_permission(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, state="disconnected")
    assert result["operations"] == [DISCONNECT, UPDATE]


def test_only_what_differs_is_sent(run: ModuleRunner) -> None:
    store_id = created(run, "public", "CONNECTED")
    run(**patched("public", uri_path="/invoices/kms/xks/v1"))
    sent = next(request["parameters"] for request in run.control.requests() if request["operation"] == UPDATE)
    assert sent == {"CustomKeyStoreId": store_id, "XksProxyUriPath": "/invoices/kms/xks/v1"}


def test_from_public_to_vpc_and_back(run: ModuleRunner) -> None:
    created(run, "public", "CONNECTED")
    there = predicted_and_done(run, **VPC, allow_disconnect=True)
    assert there["operations"] == [DISCONNECT, UPDATE, CONNECT]
    back = predicted_and_done(run, **PUBLIC, allow_disconnect=True)
    assert back["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert set(back["custom_key_store"]["xks_proxy_configuration"]) == set(PROXY) - {"raw_secret_access_key"}


def test_a_change_in_place_that_kms_refuses_falls_back_only_if_allowed(run: ModuleRunner) -> None:
    run.control.set_rule("rename_when_connected_is_valid", False)
    store_id = created(run, "cloudhsm", "CONNECTED")
    refused = run(id=store_id, name="invoices")
    assert run.calls_and_polls == [DESCRIBE, UPDATE, DESCRIBE]
    assert refused["changed"] is False
    assert refused["msg"].startswith("To change name, the custom key store")
    result = run(id=store_id, name="invoices", allow_disconnect=True)
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert result["custom_key_store"]["custom_key_store_name"] == "invoices"
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"


def test_s13_a_new_credential_is_waited_for_until_it_shows(run: ModuleRunner) -> None:
    created(run, "public", "CONNECTED")
    run.control.set_visibility_delay(60)
    result = predicted_and_done(run, **patched("public", access_key_id=OTHER_KEY_ID))
    assert run.calls_and_polls == [DESCRIBE, UPDATE, DESCRIBE]
    assert result["custom_key_store"]["xks_proxy_configuration"]["access_key_id"] == OTHER_KEY_ID
    assert run(**patched("public", access_key_id=OTHER_KEY_ID))["changed"] is False


@pytest.mark.parametrize("kind", ["cloudhsm", "public"])
def test_secrets_are_sent_to_an_existing_store_only_on_request(run: ModuleRunner, kind: str) -> None:
    created(run, kind, "DISCONNECTED")
    assert run(**KINDS[kind])["operations"] == []
    for _turn in range(2):
        result = predicted_and_done(run, **KINDS[kind], update_credentials="always")
        assert result["operations"] == [UPDATE]
        assert "********" in json.dumps(result["diff"]["after"])


def test_s11_a_new_password_in_one_go(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.set_connect_outcomes(store_id, ["CONNECTED"])  # the password was changed in the cluster, too
    result = predicted_and_done(
        run, id=store_id, key_store_password=PASSWORD, update_credentials="always", allow_disconnect=True
    )
    assert run.calls_and_polls == [DESCRIBE, DISCONNECT, DESCRIBE, UPDATE, CONNECT, DESCRIBE]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    assert result["diff"]["after"]["key_store_password"] == "********"
    assert run(id=store_id, key_store_password=PASSWORD, allow_disconnect=True)["changed"] is False


def test_a_new_password_is_the_remedy_of_a_lockout(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "DISCONNECTED")
    run.control.set_connect_outcomes(store_id, ["CONNECTED"])
    run.control.set_connection_state(store_id, "FAILED", "USER_LOCKED_OUT")
    assert run(id=store_id, key_store_password=PASSWORD, state="connected")["failed"] is True
    result = run(id=store_id, key_store_password=PASSWORD, update_credentials="always", state="connected")
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert result["connection_error"]["code"] == "USER_LOCKED_OUT"


# ---- what can never change, or is incomplete


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (
            "cloudhsm",
            {"custom_key_store_type": "EXTERNAL_KEY_STORE"},
            "custom_key_store_type AWS_CLOUDHSM, which can never",
        ),
        (
            "public",
            {"custom_key_store_type": "AWS_CLOUDHSM"},
            "custom_key_store_type EXTERNAL_KEY_STORE, which can never",
        ),
        (
            "cloudhsm",
            {"trust_anchor_certificate": "another"},
            "another trust_anchor_certificate, which can never change",
        ),
        (
            "public",
            {"cloud_hsm_cluster_id": CLUSTER},
            "cannot be given for a custom key store of the type EXTERNAL_KEY",
        ),
        (
            "public",
            {"xks_proxy_configuration": {"access_key_id": OTHER_KEY_ID}},
            "xks_proxy_configuration.raw_secret_access_key is needed: KMS takes both together. Give the secret, too.",
        ),
        (
            "public",
            {"xks_proxy_configuration": {"connectivity": "VPC_ENDPOINT_SERVICE"}},
            "KMS needs another xks_proxy_configuration.uri_endpoint and xks_proxy_configuration.vpc_endpoint_service_name as",
        ),
    ],
)
def test_changes_that_cannot_be(run: ModuleRunner, kind: str, options: dict[str, Any], words: str) -> None:
    created(run, kind, "CONNECTED")
    result = run(name="payments", allow_disconnect=True, **options)
    assert run.calls == [DESCRIBE]
    assert result["failed"] is True
    assert words in result["msg"]


def test_white_space_in_the_certificate_does_not_matter(run: ModuleRunner) -> None:
    created(run, "cloudhsm", "CONNECTED")
    options = {**CLOUDHSM, "trust_anchor_certificate": CERTIFICATE.replace("\n", "\r\n") + "\n"}
    assert run(**options)["changed"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cloud_hsm_cluster_id": CLUSTER, "xks_proxy_configuration": {"uri_path": "/kms/xks/v1"}},
            "cloud_hsm_cluster_id and xks_proxy_configuration do not go together",
        ),
        (
            {"custom_key_store_type": "EXTERNAL_KEY_STORE", "key_store_password": PASSWORD},
            "key_store_password cannot be given for a custom key store of the type EXTERNAL_KEY_STORE: leave it out.",
        ),
        ({"cloud_hsm_cluster_id": "cluster-1890"}, "cloud_hsm_cluster_id must have 19 to 24 characters, but has 12"),
        (
            {"cloud_hsm_cluster_id": "cluster-1890abcdefg"},
            "cloud_hsm_cluster_id has characters or a form that KMS does",
        ),
        ({"key_store_password": "short1"}, "key_store_password must have 7 to 32 characters, but has 6"),
        ({"trust_anchor_certificate": "x" * 5001}, "trust_anchor_certificate must have 1 to 5000 characters"),
        ({"xks_proxy_configuration": {"uri_endpoint": "http://xks.example.com"}}, "give https:// and a host name"),
        ({"xks_proxy_configuration": {"uri_path": "/payments/kms/xks"}}, "give a path that begins with /"),
        (
            {"xks_proxy_configuration": {"access_key_id": "abcdefghijklmnopqrst"}},
            "access_key_id has characters or a form",
        ),
        ({"xks_proxy_configuration": {"vpc_endpoint_service_owner": "1"}}, "must have 12 characters, but has 1"),
        (
            {"xks_proxy_configuration": {"vpc_endpoint_service_name": "x" * 20}},
            "give a name such as com.amazonaws.vpce",
        ),
        ({"xks_proxy_configuration": {"raw_secret_access_key": SECRET}}, "needs xks_proxy_configuration.access_key_id"),
        (
            {"xks_proxy_configuration": {"connectivity": "PUBLIC_ENDPOINT", "vpc_endpoint_service_name": SERVICE}},
            "vpc_endpoint_service_name cannot be given with connectivity=PUBLIC_ENDPOINT: leave it out.",
        ),
    ],
)
def test_options_that_are_refused_before_any_request(run: ModuleRunner, options: dict[str, Any], message: str) -> None:
    result = run(name="payments", **options)
    assert run.calls == []
    assert result["failed"] is True
    assert message in result["msg"]


def test_a_wrong_secret_is_not_repeated(run: ModuleRunner) -> None:
    wrong = "Canary!Secret!" + "x" * 40
    result = run(name="payments", xks_proxy_configuration={"access_key_id": KEY_ID, "raw_secret_access_key": wrong})
    assert "raw_secret_access_key has characters or a form that KMS does not take" in result["msg"]
    assert wrong not in json.dumps(result)


@needs_owner
def test_the_owner_of_a_service_needs_a_newer_botocore(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnsibleAWSModule, "botocore_at_least", lambda self, desired: False)
    result = run(**VPC)
    assert run.calls == []
    assert "botocore>=1.40.70" in result["msg"]
    assert "vpc_endpoint_service_owner" in result["msg"]


# ---- putting back


@pytest.mark.parametrize("desired", ["present", "connected"])
@pytest.mark.parametrize("error", ["CloudHsmClusterNotRelatedException", "CloudHsmClusterNotActiveException"])
def test_s12_an_update_that_kms_refuses_leaves_the_store_connected(run: ModuleRunner, desired: str, error: str) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.add_fault(UPDATE, error=error)
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True, state=desired)
    assert run.calls_and_polls == [DESCRIBE, DISCONNECT, DESCRIBE, UPDATE, DESCRIBE, CONNECT, DESCRIBE]
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert result["error"]["code"] == error
    assert result["msg"].startswith(f"UpdateCustomKeyStore of {store_id} failed with {error}. ")
    assert " The store is CONNECTED again, with its old settings." in result["msg"]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    assert result["custom_key_store"]["cloud_hsm_cluster_id"] == CLUSTER


def test_a_store_that_cannot_be_brought_back_is_reported_clearly(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.add_fault(UPDATE, error="CloudHsmClusterNotRelatedException")
    run.control.set_connect_outcomes(store_id, ["CLUSTER_NOT_FOUND"])
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert result["error"]["code"] == "CloudHsmClusterNotRelatedException"
    assert "could NOT be connected again, so its KMS keys cannot be used. Fix that first: " in result["msg"]
    assert "CLUSTER_NOT_FOUND: KMS cannot find the CloudHSM cluster" in result["msg"]
    assert result["connection_error"]["code"] == "CLUSTER_NOT_FOUND"


def test_throttling_until_the_time_is_up_does_not_leave_the_store_disconnected(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.add_fault(UPDATE, error="ThrottlingException", times=100000)
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True, wait_timeout=60)
    assert result["failed"] is True
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"


def test_a_timeout_in_the_middle_says_how_to_bring_the_store_back(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.set_transitions(disconnect_seconds=1000)
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True, wait_timeout=60)
    assert result["operations"] == [DISCONNECT]
    assert "The store was in service before: to bring it back, run the task with state=connected." in result["msg"]


LOST = [{"drop": True}, {"error": "KMSInternalException"}]


@pytest.mark.parametrize("desired", ["present", "connected"])
@pytest.mark.parametrize("operation", [DISCONNECT, UPDATE, CONNECT])
@pytest.mark.parametrize("fault", LOST)
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("delay", [0, 30])
@pytest.mark.parametrize("change", [{"cloud_hsm_cluster_id": OTHER_CLUSTER}, {"key_store_password": PASSWORD}])
@pytest.mark.long
def test_a_lost_answer_in_the_middle_never_leaves_the_store_disconnected(
    run: ModuleRunner,
    change: dict[str, Any],
    delay: int,
    applied: bool,
    fault: dict[str, Any],
    operation: str,
    desired: str,
) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.set_connect_outcomes(store_id, ["CONNECTED"])
    run.control.set_visibility_delay(delay)
    run.control.add_fault(operation, applied=applied, **fault)
    result = run(id=store_id, **change, update_credentials="always", allow_disconnect=True, state=desired)
    assert "failed" not in result, result
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    run.control.advance(60)
    assert run(id=store_id)["custom_key_store"]["connection_state"] == "CONNECTED"


@pytest.mark.parametrize("before", [UPDATE, CONNECT])
def test_somebody_else_connects_in_the_middle_of_a_change(run: ModuleRunner, before: str) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.add_intruder(before, action=CONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert "failed" not in result, result
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    assert result["custom_key_store"]["cloud_hsm_cluster_id"] == OTHER_CLUSTER
    assert result["operations"].count(UPDATE) == 1


def test_a_connect_that_is_refused_after_the_change_is_not_tried_twice(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.add_fault(CONNECT, error="AccessDeniedException")
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert run.calls.count(CONNECT) == 1
    assert result["operations"] == [DISCONNECT, UPDATE]
    assert "Allow kms:ConnectCustomKeyStore in an IAM policy of the caller." in result["msg"]
    assert "The store was in service before: to bring it back, run the task with state=connected." in result["msg"]


def test_a_stale_reading_does_not_hide_that_the_store_is_out_of_service(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.set_visibility_delay(60)
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True, wait_timeout=5)
    assert result["operations"] == [DISCONNECT]
    assert "was still CONNECTED after 5 seconds" in result["msg"]
    assert "The store was in service before: to bring it back, run the task with state=connected." in result["msg"]


def test_putting_back_waits_for_a_stale_reading_to_end(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.set_visibility_delay(30)
    run.control.add_fault(DESCRIBE, error="AccessDeniedException", skip=2)  # of the looks before the disconnect
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert " The store is CONNECTED again, with its old settings." in result["msg"]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"


@pytest.mark.parametrize("operation", [UPDATE, DELETE])
@pytest.mark.parametrize("applied", [False, True])
def test_what_became_of_a_request_without_a_response_is_found(run: ModuleRunner, operation: str, applied: bool) -> None:
    store_id = created(run, "cloudhsm", "DISCONNECTED")
    run.control.set_visibility_delay(60)
    run.control.add_fault(operation, drop=True, applied=applied, times=1000)
    change: dict[str, Any] = {"state": "absent"} if operation == DELETE else {"cloud_hsm_cluster_id": OTHER_CLUSTER}
    result = run(id=store_id, wait_timeout=60, **change)
    assert f"{operation} got no answer from KMS" in result["msg"]
    assert (f"KMS has not carried out {operation}." in result["msg"]) is not applied
    assert result["operations"] == ([operation] if applied else [])
    assert result["changed"] is applied


def test_an_update_whose_answer_was_lost_before_somebody_moves_the_store(run: ModuleRunner) -> None:
    """The second request is refused for the new state, and the first has had its effect."""
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.add_fault(UPDATE, drop=True, applied=True)
    run.control.add_intruder(UPDATE, skip=1, action=DISCONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, name="renamed", state="connected")
    assert result["operations"] == [UPDATE, CONNECT]
    assert result["custom_key_store"]["custom_key_store_name"] == "renamed"


def test_the_same_where_kms_shows_it_late(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "DISCONNECTED")
    run.control.set_visibility_delay(30)
    run.control.add_fault(UPDATE, drop=True, applied=True)
    run.control.add_intruder(UPDATE, skip=1, action=CONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, name="renamed", state="disconnected")
    assert result["operations"].count(UPDATE) == 1


def test_an_update_whose_answer_was_lost_before_somebody_deletes_the_store(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "DISCONNECTED")
    run.control.add_fault(UPDATE, drop=True, applied=True)
    run.control.add_intruder(UPDATE, skip=1, action=DELETE, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, name="renamed")
    assert "The custom key store is not there any more" in result["msg"]
    assert "Whether KMS has carried out UpdateCustomKeyStore is not known" in result["msg"]
    assert result["changed"] is True


def test_what_became_of_a_password_without_an_answer_is_not_known(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "DISCONNECTED")
    run.control.add_fault(UPDATE, drop=True, times=1000)
    result = run(id=store_id, wait_timeout=60, key_store_password=PASSWORD, update_credentials="always")
    assert "Whether KMS has carried out UpdateCustomKeyStore is not known: check the store before you" in result["msg"]
    assert result["changed"] is True


@pytest.mark.parametrize("applied", [False, True])
def test_what_became_of_a_creation_without_a_response_is_found(run: ModuleRunner, applied: bool) -> None:
    run.control.add_fault(CREATE, error="KMSInternalException", applied=applied, times=1000)
    result = run(**PUBLIC, wait_timeout=60)
    assert result["changed"] is applied
    if not applied:
        assert "KMS has not carried out CreateCustomKeyStore." in result["msg"]


# ---- rename


def test_s15_rename(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    result = predicted_and_done(run, id=store_id, name="invoices")
    assert run.calls_and_polls == [DESCRIBE, UPDATE, DESCRIBE]
    assert result["custom_key_store"]["custom_key_store_name"] == "invoices"
    assert run(id=store_id, name="invoices")["changed"] is False


def test_a_name_that_is_in_use(run: ModuleRunner) -> None:
    run.control.create_store(custom_key_store_name="invoices")
    store_id = created(run, "cloudhsm", "CONNECTED")
    result = run(id=store_id, name="invoices")
    assert result["changed"] is False
    assert "Another custom key store of the account and Region has this name. Give another name." in result["msg"]


# ---- delete


def test_absent_already(run: ModuleRunner) -> None:
    result = predicted_and_done(run, name="payments", state="absent")
    assert run.calls == [DESCRIBE]
    assert result["changed"] is False
    assert result["custom_key_store"] == {}


@pytest.mark.parametrize(
    ("state", "calls"),
    [
        ("DISCONNECTED", [DESCRIBE, LIST_KEYS, DELETE, DESCRIBE]),
        ("DISCONNECTING", [DESCRIBE, LIST_KEYS, DESCRIBE, DELETE, DESCRIBE]),
        ("FAILED", [DESCRIBE, LIST_KEYS, DISCONNECT, DESCRIBE, DELETE, DESCRIBE]),
        ("CONNECTED", [DESCRIBE, LIST_KEYS, DISCONNECT, DESCRIBE, DELETE, DESCRIBE]),
        ("CONNECTING", [DESCRIBE, LIST_KEYS, DISCONNECT, DESCRIBE, DELETE, DESCRIBE]),
    ],
)
@pytest.mark.parametrize("delay", [0, 20])
def test_s18_delete(run: ModuleRunner, state: str, calls: list[str], delay: int) -> None:
    store_id = created(run, "cloudhsm", state)
    run.control.set_visibility_delay(delay)
    result = predicted_and_done(run, id=store_id, state="absent", allow_disconnect=True)
    assert run.calls_and_polls == calls
    assert result["changed"] is True
    assert result["operations"] == [call for call in calls if call in (DISCONNECT, DELETE)]
    assert result["custom_key_store"] == {}
    assert result["diff"]["after"] == {}
    assert run(id=store_id, state="absent")["changed"] is False
    assert run.calls == [DESCRIBE]


@pytest.mark.parametrize("state", ["CONNECTED", "CONNECTING"])
def test_delete_of_a_connected_store_must_be_allowed(run: ModuleRunner, state: str) -> None:
    store_id = created(run, "cloudhsm", state)
    for check in (True, False):
        result = run(id=store_id, state="absent", check=check)
        assert run.calls == [DESCRIBE]
        assert f"is {state}, and only one that is DISCONNECTED can be deleted." in result["msg"]


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_to_delete(run: ModuleRunner, applied: bool) -> None:
    store_id = created(run, "cloudhsm", "DISCONNECTED")
    run.control.add_fault(DELETE, drop=True, applied=applied)
    result = run(id=store_id, state="absent")
    assert "failed" not in result
    assert result["operations"] == [DELETE]


def test_a_delete_that_kms_refuses_leaves_the_store_connected(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.add_fault(DELETE, error="CustomKeyStoreHasCMKsException")
    result = run(id=store_id, state="absent", allow_disconnect=True)
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert "The custom key store still holds KMS keys" in result["msg"]
    assert " The store is CONNECTED again, with its old settings." in result["msg"]


def test_s17_a_store_that_holds_keys_is_refused_before_any_change(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.create_keys(3)
    run.control.create_keys(2, custom_key_store_id=store_id)
    for check in (True, False):
        result = run(id=store_id, state="absent", allow_disconnect=True, check=check)
        assert run.calls[:2] == [DESCRIBE, LIST_KEYS]
        assert run.calls[2:] == ["DescribeKey"] * 5
        assert result["changed"] is False
        assert "because it holds 2 KMS keys: " in result["msg"]


def test_a_key_that_may_not_be_described_proves_nothing(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "CONNECTED")
    run.control.create_keys(3)
    run.control.add_fault("DescribeKey", error="AccessDeniedException")
    result = run(id=store_id, state="absent", allow_disconnect=True)
    assert DISCONNECT not in run.calls
    assert "Allow kms:DescribeKey in the key policy, or in an IAM policy of the caller" in result["msg"]


def test_a_key_that_is_gone_since_it_was_listed_does_not_matter(run: ModuleRunner) -> None:
    store_id = created(run, "cloudhsm", "DISCONNECTED")
    run.control.create_keys(3)
    run.control.add_fault("DescribeKey", error="NotFoundException")
    assert run(id=store_id, state="absent")["operations"] == [DELETE]


# ---- every exception of creating, changing and deleting

ERRORS = {
    CREATE: [
        "CloudHsmClusterInUseException",
        "CustomKeyStoreNameInUseException",
        "CloudHsmClusterNotFoundException",
        "CloudHsmClusterNotActiveException",
        "IncorrectTrustAnchorException",
        "CloudHsmClusterInvalidConfigurationException",
        "LimitExceededException",
        "XksProxyUriInUseException",
        "XksProxyUriEndpointInUseException",
        "XksProxyUriUnreachableException",
        "XksProxyIncorrectAuthenticationCredentialException",
        "XksProxyVpcEndpointServiceInUseException",
        "XksProxyVpcEndpointServiceNotFoundException",
        "XksProxyVpcEndpointServiceInvalidConfigurationException",
        "XksProxyInvalidResponseException",
        "XksProxyInvalidConfigurationException",
    ],
    DELETE: ["CustomKeyStoreHasCMKsException"],
}
ERRORS[UPDATE] = [
    *(
        error
        for error in ERRORS[CREATE]
        if error.startswith(("CloudHsmClusterNot", "CloudHsmClusterInv", "Xks", "Custom"))
    ),
    "CloudHsmClusterNotRelatedException",
]


@pytest.mark.parametrize(
    ("operation", "error"), [(operation, error) for operation, errors in ERRORS.items() for error in errors]
)
def test_every_exception_names_cause_and_remedy(run: ModuleRunner, operation: str, error: str) -> None:
    if operation != CREATE:
        created(run, "cloudhsm", "DISCONNECTED")
    options = {
        CREATE: CLOUDHSM,
        UPDATE: {"name": "payments", "cloud_hsm_cluster_id": OTHER_CLUSTER},
        DELETE: {"name": "payments", "state": "absent"},
    }[operation]
    run.control.add_fault(operation, error=error)
    result = run(**options)
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["error"]["code"] == error
    explanation = explain_exception(error, operation)
    assert explanation != explain_exception("SomethingNew", operation)
    assert explanation in result["msg"]
    assert PASSWORD not in json.dumps(result)
