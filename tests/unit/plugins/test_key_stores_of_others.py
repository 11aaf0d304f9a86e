# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users of other tools for KMS met with their key stores, each as a kind: it must not happen here, or be told well."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from unittest import mock

import boto3
import botocore.session
import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import remedy_of_state
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import explain_exception
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms import VERIFY_SECONDS
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import _RULES
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_info
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_key
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_stores
from ansible_collections.keyops.aws.plugins.plugin_utils import maintenance
from kms_emulator import Control
from tests.sdk import needs_european_endpoints
from tests.sdk import needs_hsm_type_changes
from tests.sdk import needs_last_usage
from tests.unit import harness
from tests.unit.harness import ModuleRunner
from tests.unit.options import CERTIFICATE
from tests.unit.options import CLOUDHSM
from tests.unit.options import CLUSTER
from tests.unit.options import KEY_ID
from tests.unit.options import OTHER_CLUSTER
from tests.unit.options import PASSWORD
from tests.unit.options import PUBLIC

DENIED = "AccessDeniedException"
DESCRIBE = "DescribeCustomKeyStores"
CHANGES = ("ConnectCustomKeyStore", "DisconnectCustomKeyStore", "UpdateCustomKeyStore", "DeleteCustomKeyStore")
KEY: dict[str, Any] = {"alias": "alias/cards", "custom_key_store_name": "payments"}


def kms() -> Any:
    return boto3.client("kms", region_name="us-east-1", aws_access_key_id="A", aws_secret_access_key="S")


def changes(run: ModuleRunner) -> list[str]:
    return [call for call in run.calls if call in CHANGES]


# ---- a last use that KMS records late (terraform-provider-aws #47823)


@needs_last_usage
def test_a_last_use_may_show_late(control: Control) -> None:
    control.freeze_clock()
    control.set_usage_delay(3600)
    store_id = control.create_store(connection_state="CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)

    def last() -> Any:
        return kms().get_key_last_usage(KeyId=key_id)["KeyLastUsage"].get("Operation")

    ciphertext = kms().encrypt(KeyId=key_id, Plaintext=b"4111")["CiphertextBlob"]
    control.advance(1800)
    kms().decrypt(CiphertextBlob=ciphertext)
    assert last() is None
    control.advance(1800)
    assert last() == "Encrypt"
    control.advance(1800)
    assert last() == "Decrypt"


@pytest.mark.parametrize(("minutes", "warned"), [(0, False), (1, True), (59, True), (60, False)])
def test_a_limit_that_can_miss_a_use_is_warned_of(minutes: int, warned: bool) -> None:
    limits = maintenance.Limits(now=maintenance.now(), min_active_hsms=0, max_recent_use_minutes=minutes)
    describe = {
        "custom_key_store_id": "cks-1",
        "name": "payments",
        "region": "us-east-1",
        "failed": False,
        "connection_states": ["CONNECTED"],
        "custom_key_store": {},
        "remembered": None,
        "keys": [],
    }
    window = maintenance.plan_window([describe], limits)
    assert window["refusals"] == []
    assert window["notes"] == (
        [
            f"key_store_maintenance_max_recent_use_minutes is {minutes}: KMS may record a use up to an hour late, so a limit"
            " under 60 minutes can miss one."
        ]
        if warned
        else []
    )


# ---- one key that may not be described forbids any deletion (community.aws #206)


@pytest.mark.parametrize("denied", ["DescribeKey", "ListKeys"])
@pytest.mark.parametrize("state", ["DISCONNECTED", "FAILED"])
def test_whether_a_store_out_of_service_may_be_deleted_is_for_kms_to_judge(
    run: ModuleRunner, warnings: list[str], denied: str, state: str
) -> None:
    code = "NETWORK_ERRORS" if state == "FAILED" else None
    run.control.create_store(custom_key_store_name="payments", connection_state=state, connection_error_code=code)
    run.control.create_keys(2)
    run.control.add_fault(denied, error=DENIED, times=None)
    predicted = run(name="payments", state="absent", check=True)
    result = run(name="payments", state="absent")
    assert "failed" not in result, result
    assert result["operations"] == predicted["operations"]
    assert result["operations"][-1] == "DeleteCustomKeyStore"
    assert "holds KMS keys is left to KMS" in warnings[0]
    assert f"Allow kms:{denied}" in warnings[0]


def test_the_keys_that_can_be_seen_are_named_where_kms_refuses_a_deletion(run: ModuleRunner) -> None:
    store_id = run.control.create_store(custom_key_store_name="payments")
    (mine,) = run.control.create_keys(1, custom_key_store_id=store_id)
    run.control.add_fault("DescribeKey", error=DENIED)
    result = run(name="payments", state="absent")
    assert result["changed"] is False
    assert result["error"]["code"] == "CustomKeyStoreHasCMKsException"
    assert "The custom key store still holds KMS keys" in result["msg"]
    assert f" It holds {mine} (Unavailable)." in result["msg"]


@pytest.mark.parametrize(
    ("denied", "words"),
    [
        (
            "DescribeKey",
            "These KMS keys of the account could not be described, and may be in it: {key}. DescribeKey of {key}",
        ),
        ("ListKeys", "Which keys it holds is not known. ListKeys failed with AccessDeniedException."),
    ],
)
def test_keys_that_cannot_be_seen_where_kms_refuses_a_deletion(run: ModuleRunner, denied: str, words: str) -> None:
    store_id = run.control.create_store(custom_key_store_name="payments")
    (key_id,) = run.control.create_keys(1, custom_key_store_id=store_id)
    run.control.add_fault(denied, error=DENIED, times=None)
    result = run(name="payments", state="absent")
    assert words.format(key=key_id) in result["msg"]
    assert f"Allow kms:{denied}" in result["msg"]


# ---- keys that may not be listed are not "no keys" (prowler #12711)


def test_keys_that_may_not_be_listed_are_never_no_keys(run: ModuleRunner, run_info: ModuleRunner) -> None:
    control = run.control
    control.create_store(
        custom_key_store_name="payments",
        connection_state="CONNECTED",
        parameters={"CloudHsmClusterId": control.create_cluster()},
    )
    control.add_fault("ListKeys", error=DENIED, times=None)
    reported = [
        run(name="payments", state="absent", allow_disconnect=True)["msg"],
        run_info(include_keys=True)["msg"],
        ModuleRunner(control, run.time, kms_custom_key_store_key)(**KEY)["msg"],
    ]
    for message in reported:
        assert "ListKeys failed with AccessDeniedException." in message
        assert "Allow kms:ListKeys" in message
    assert {"DisconnectCustomKeyStore", "CreateKey"}.isdisjoint(request["operation"] for request in control.requests())
    window = ModuleRunner(control, run.time, kms_custom_key_stores)
    describe = window(check=True, state="disconnected", stores=[{"name": "payments"}], include_keys=True)["stores"]
    assert "keys" not in describe[0]
    limits = maintenance.Limits(now=maintenance.now(), min_active_hsms=0, max_recent_use_minutes=60)
    (refusal,) = maintenance.plan_window(describe, limits)["refusals"]
    assert "its keys could not be listed. ListKeys failed with AccessDeniedException." in refusal


# ---- a cluster that is dead shows as a fault of KMS (aws-encryption-provider #129, #171)


@pytest.mark.parametrize("error", ["KMSInternalException", "DependencyTimeoutException"])
def test_a_store_that_does_not_work_is_reported_within_about_a_minute(run: ModuleRunner, error: str) -> None:
    run.module = kms_custom_key_stores
    run.control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    run.control.add_fault("GenerateRandom", error=error, times=None)
    result = run(state="connected", stores=[{"name": "payments"}], verify=True)
    assert '("payments") is CONNECTED, but does not work. GenerateRandom of cks-' in result["msg"]
    assert (
        "if the cluster behind the custom key store does not answer, although the store is CONNECTED" in result["msg"]
    )
    assert VERIFY_SECONDS <= run.time.now <= VERIFY_SECONDS + 15


def test_a_fault_that_passes_is_waited_out_after_the_time_of_the_task_is_up(run: ModuleRunner) -> None:
    """The connect may have taken all of it."""
    run.module = kms_custom_key_stores
    run.control.set_transitions(connect_seconds=9.9)
    run.control.create_store(custom_key_store_name="payments")
    run.control.add_fault("GenerateRandom", error="KMSInternalException", times=3)
    result = run(state="connected", stores=[{"name": "payments"}], verify=True, wait_timeout=10)
    assert [store["verified"] for store in result["stores"]] == [True]


# ---- a store that is disconnected for a change, and whose cluster cannot connect it again (R20, R25, R35)


CHANGE: dict[str, Any] = {"key_store_password": PASSWORD, "update_credentials": "always", "allow_disconnect": True}


def with_cluster(run: ModuleRunner, **cluster: Any) -> str:
    """Create a connected store, and put its cluster in this condition. Returns the id of the cluster."""
    cluster_id: str = run.control.create_cluster()
    run.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    run.control.set_cluster(cluster_id, **cluster)
    return cluster_id


@needs_hsm_type_changes
@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        (
            {"state": "MODIFY_IN_PROGRESS"},
            "is MODIFY_IN_PROGRESS, and must be ACTIVE. The type of its HSMs is being changed: wait until it is ACTIVE.",
        ),
        (
            {"state": "ROLLBACK_IN_PROGRESS"},
            "is ROLLBACK_IN_PROGRESS, and must be ACTIVE. A change of the type of its HSMs is",
        ),
        ({"state": "UPDATE_IN_PROGRESS"}, "is UPDATE_IN_PROGRESS, and must be ACTIVE. Wait until it is ACTIVE."),
        ({"state": "DELETED"}, "is DELETED, and must be ACTIVE. Create a cluster from a recent backup."),
        ({"active_hsms": 0}, "has no active HSM, and needs one. Add an HSM to it, and wait until that is ACTIVE."),
        ({"active_hsms": 1}, None),
    ],
)
def test_a_store_that_its_cluster_could_not_connect_again_stays_in_service(
    run: ModuleRunner, cluster: dict[str, Any], words: str | None
) -> None:
    with mock.patch.object(harness, "known_clusters", describe_clusters):
        cluster_id = with_cluster(run, **cluster)
        results = [run(name="payments", **CHANGE, check=check) for check in (True, False)]
    if words is None:
        assert [result["changed"] for result in results] == [True, True]
        return
    for result in results:
        assert '("payments") was left CONNECTED, because it could not be connected after the change: ' in result["msg"]
        assert f"the CloudHSM cluster {cluster_id} {words}" in result["msg"]
    assert run.calls == [DESCRIBE]


@pytest.mark.parametrize("desired", ["present", "connected", "disconnected"])
@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        (
            {"active_hsms": 1},
            "has 1 active HSMs, in 1 Availability Zones, and needs 2 in different zones. Add HSMs to it,",
        ),
        (
            {"active_hsms": 2, "availability_zones": 1},
            "has 2 active HSMs, in 1 Availability Zones, and needs 2 in different zones. Add HSMs to it,",
        ),
        ({"state": "UNINITIALIZED"}, "is UNINITIALIZED, and must be ACTIVE. Initialize and activate it."),
        (None, "does not exist. There is no CloudHSM cluster"),
    ],
)
def test_a_new_cluster_is_checked_before_the_disconnect(
    run: ModuleRunner, desired: str, cluster: dict[str, Any] | None, words: str
) -> None:
    present = with_cluster(run)
    new = OTHER_CLUSTER
    if cluster is not None:
        new = run.control.create_cluster(source_cluster_id=present, **cluster)
    with mock.patch.object(harness, "known_clusters", describe_clusters):
        result = run(name="payments", state=desired, cloud_hsm_cluster_id=new, allow_disconnect=True)
    assert f"the CloudHSM cluster {new} {words}" in result["msg"]
    assert run.calls == [DESCRIBE]


def test_a_new_cluster_that_another_store_has_costs_no_outage(run: ModuleRunner) -> None:
    with_cluster(run)
    new = run.control.create_cluster()
    run.control.create_store(custom_key_store_name="ledger", parameters={"CloudHsmClusterId": new})
    result = run(name="payments", cloud_hsm_cluster_id=new, allow_disconnect=True)
    assert (
        f"was left CONNECTED, because the CloudHSM cluster {new} belongs to the custom key store cks-" in result["msg"]
    )
    assert result["msg"].endswith("Choose another cluster, or delete that store.")
    assert set(run.calls) == {DESCRIBE}


def test_the_cluster_that_is_replaced_may_be_broken(run: ModuleRunner) -> None:
    present = with_cluster(run)
    new = run.control.create_cluster(source_cluster_id=present)
    run.control.set_cluster(present, active_hsms=0)
    result = run(name="payments", cloud_hsm_cluster_id=new, allow_disconnect=True)
    assert result["connection_states"][-1] == "CONNECTED"


@needs_hsm_type_changes
def test_a_disconnect_alone_is_never_kept_from_anybody(run: ModuleRunner) -> None:
    """It is also how somebody stops all use of the keys in an emergency."""
    cluster_id = with_cluster(run, state="MODIFY_IN_PROGRESS")
    with mock.patch.object(kms_custom_key_store, "describe_clusters") as describe:
        assert run(name="payments", state="disconnected", cloud_hsm_cluster_id=cluster_id)["changed"] is True
    describe.assert_not_called()


@needs_hsm_type_changes
@pytest.mark.parametrize("options", [{}, {"allow_disconnect": True}, {"state": "connected", "allow_disconnect": True}])
def test_a_task_that_changes_nothing_describes_no_cluster(run: ModuleRunner, options: dict[str, Any]) -> None:
    cluster_id = with_cluster(run, state="MODIFY_IN_PROGRESS")
    with mock.patch.object(kms_custom_key_store, "describe_clusters") as describe:
        assert run(name="payments", cloud_hsm_cluster_id=cluster_id, **options)["changed"] is False
    describe.assert_not_called()
    assert run.calls == [DESCRIBE]


def test_a_cluster_that_may_not_be_described_gives_a_warning(run: ModuleRunner, warnings: list[str]) -> None:
    new = run.control.create_cluster(source_cluster_id=with_cluster(run))
    unknown = mock.Mock(
        side_effect=lambda _client, ids: {each: Cluster(each, problem="Not permitted.") for each in ids}
    )
    with mock.patch.object(harness, "known_clusters", unknown):
        result = run(name="payments", cloud_hsm_cluster_id=new, allow_disconnect=True)
    assert result["connection_states"][-1] == "CONNECTED"
    assert len(warnings) == 1
    assert warnings[0].endswith("again was not checked before the disconnect. Not permitted.")


def test_each_state_of_a_cluster_has_its_remedy() -> None:
    model = botocore.session.get_session().get_service_model("cloudhsmv2")
    states = set(model.shape_for("ClusterState").metadata["enum"]) - {"ACTIVE"}
    reported = {state: remedy_of_state(state).lower() for state in states}
    assert {state for state in states if "initialize and" in reported[state]} == {"CREATE_IN_PROGRESS", "UNINITIALIZED"}
    for state in states - {"CREATE_IN_PROGRESS", "INITIALIZE_IN_PROGRESS", "DELETE_IN_PROGRESS"}:
        assert ("wait until it is active" in reported[state]) == state.endswith("_IN_PROGRESS")
    assert "MODIFY_IN_PROGRESS), wait until it is ACTIVE" in explain_exception(
        "CloudHsmClusterNotActiveException", "ConnectCustomKeyStore"
    )


# ---- a connect that takes longer than AWS says


@pytest.mark.parametrize("module", [kms_custom_key_store, kms_custom_key_stores])
def test_a_connect_of_more_than_half_an_hour(run: ModuleRunner, module: ModuleType) -> None:
    run.module = module
    run.control.set_transitions(connect_seconds=2400)
    run.control.create_store(custom_key_store_name="payments")
    which: dict[str, Any] = {"name": "payments"}
    options = which if module is kms_custom_key_store else {"stores": [which]}
    result = run(state="connected", **options)
    assert (
        '("payments") was still CONNECTING after 1800 seconds (wait_timeout=1800), on its way to CONNECTED.'
        in result["msg"]
    )
    assert (
        "KMS goes on with it: run the task again to join the wait, with a longer wait_timeout if need be."
        in result["msg"]
    )
    again = run(state="connected", **options)
    assert "failed" not in again
    assert changes(run) == []


# ---- the last use of a key: who it was, and which keys nobody uses


@needs_last_usage
def test_the_event_of_the_last_use_is_reported(run_info: ModuleRunner, control: Control) -> None:
    control.freeze_clock()
    (key_id,) = control.create_keys(1, custom_key_store_id=control.create_store(connection_state="CONNECTED"))
    kms().encrypt(KeyId=key_id, Plaintext=b"4111")
    reported = kms().get_key_last_usage(KeyId=key_id)["KeyLastUsage"]
    (key,) = run_info(include_keys=True)["custom_key_stores"][0]["keys"]
    assert key["last_usage"] == {
        "operation": "Encrypt",
        "timestamp": reported["Timestamp"].isoformat(),
        "cloud_trail_event_id": reported["CloudTrailEventId"],
        "kms_request_id": reported["KmsRequestId"],
    }


def test_the_id_of_the_external_key_is_reported(run_info: ModuleRunner, control: Control) -> None:
    store_id = control.create_store(custom_key_store_type="EXTERNAL_KEY_STORE", connection_state="CONNECTED")
    kms().create_key(Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=store_id, XksKeyId="cards-2026")
    (key,) = run_info(include_keys=True)["custom_key_stores"][0]["keys"]
    assert key["xks_key_id"] == "cards-2026"


@needs_last_usage
def test_keys_that_nobody_has_used_for_some_days(run_info: ModuleRunner, control: Control, warnings: list[str]) -> None:
    control.freeze_clock()
    store_id = control.create_store(connection_state="CONNECTED")
    old, used, unknown = control.create_keys(3, custom_key_store_id=store_id)
    control.advance(20 * 86400)
    (new,) = control.create_keys(1, custom_key_store_id=store_id)
    kms().encrypt(KeyId=used, Plaintext=b"4111")
    control.advance(10 * 86400 + 1)  # the time in an answer of KMS has whole seconds

    def found(days: int) -> set[str]:
        store = run_info(include_keys=True, unused_for_days=days)["custom_key_stores"][0]
        return {key["key_id"] for key in store["keys"]}

    assert found(10) == {old, used, unknown, new}
    assert found(11) == {old, unknown}
    assert found(31) == set()
    assert warnings == []
    control.start_usage_tracking()
    assert found(1) == set()
    control.add_fault("GetKeyLastUsage", error=DENIED, times=1)
    assert len(found(1)) == 1
    assert warnings == [
        "Of 1 KMS keys it is not known when they were used last, see last_usage.unknown: they may have been used in the last 1"
        " days, and are returned anyway."
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"unused_for_days": 30},
            "unused_for_days chooses among the keys: set include_keys=true, too, or leave it out.",
        ),
        ({"unused_for_days": 0, "include_keys": True}, "unused_for_days is 0, and must be from 1 to 36500."),
        (
            {"unused_for_days": 10**9, "include_keys": True},
            "unused_for_days is 1000000000, and must be from 1 to 36500.",
        ),
    ],
)
def test_a_number_of_days_that_means_nothing(run_info: ModuleRunner, options: dict[str, Any], message: str) -> None:
    assert run_info(**options)["msg"] == message
    assert run_info.calls == []


# ---- values as users copy them


@pytest.mark.parametrize("port", [":8443", ":443", ":443/kms"])
def test_a_port_in_the_address_of_the_proxy(run: ModuleRunner, port: str) -> None:
    result = run(name="payments", xks_proxy_configuration={"uri_endpoint": f"https://proxy.example.com{port}"})
    assert result["msg"] == (
        "xks_proxy_configuration.uri_endpoint has a port, and KMS connects to a proxy on port 443 and no other:"
        " give https:// and a host name, and nothing after it."
    )
    assert run.calls == []


LIMITS: dict[str, tuple[str, ...]] = {
    "name": ("p", "p" * 256),
    "cloud_hsm_cluster_id": ("cluster-" + "2" * 11, "cluster-" + "Z" * 16),
    "trust_anchor_certificate": ("c", CERTIFICATE.ljust(5000, "A")),
    "key_store_password": ("p" * 7, "P" * 32),
    "uri_endpoint": ("https://ab", "https://" + "a" * 108 + ".example.com"),
    "uri_path": ("/kms/xks/v1", "/" + "p" * 115 + "/kms/xks/v12", "/example-prefix/a_b/kms/xks/v1"),
    "vpc_endpoint_service_name": (
        "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0",
        "eu.amazonaws.vpce.eusc-de-east-1.vpce-svc-".ljust(64, "0"),
    ),
    "access_key_id": ("A" * 20, "ABCDEFGHIJKLMNOPQRSTUVWXYZ27", "7" * 30),
    "raw_secret_access_key": ("s" * 43, "S/+=" * 16),
}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        pytest.param(option, value, marks=needs_european_endpoints if value.startswith("eu.") else ())
        for option in LIMITS
        for value in LIMITS[option]
    ],
)
def test_a_value_at_its_limits_is_taken(run: ModuleRunner, option: str, value: str) -> None:
    """KMS's model checks them, too: botocore and the emulator have it."""
    rule = _RULES.get(option) or _RULES[f"xks_proxy_configuration.{option}"]
    assert rule.shortest <= len(value) <= rule.longest
    options = {**(CLOUDHSM if option in CLOUDHSM else PUBLIC)}
    if option in CLOUDHSM:
        options[option] = value
    else:
        proxy = {**options["xks_proxy_configuration"], option: value}
        if option == "vpc_endpoint_service_name":
            proxy["connectivity"] = "VPC_ENDPOINT_SERVICE"
        options["xks_proxy_configuration"] = proxy
    assert run(**options)["operations"] == ["CreateCustomKeyStore"]


# ---- the store of a cluster that was built anew


@pytest.mark.parametrize("state", ["present", "connected"])
@pytest.mark.parametrize("found", ["CONNECTED", "DISCONNECTED"])
def test_the_store_of_an_earlier_cluster_is_not_touched(run: ModuleRunner, state: str, found: str) -> None:
    run.control.create_store(
        custom_key_store_name="payments",
        connection_state=found,
        parameters={"CloudHsmClusterId": CLUSTER, "TrustAnchorCertificate": CERTIFICATE},
    )
    built_anew = {
        **CLOUDHSM,
        "cloud_hsm_cluster_id": OTHER_CLUSTER,
        "trust_anchor_certificate": CERTIFICATE.replace("MIIB", "MIIC"),
    }
    result = run(**built_anew, state=state, allow_disconnect=True)
    assert run.calls == [DESCRIBE]
    assert "has another trust_anchor_certificate, which can never change" in result["msg"]
    assert result["msg"].endswith(
        f" It also has another cluster: {CLUSTER}, not {OTHER_CLUSTER}. It may be the key store of an earlier cluster, and its"
        f" keys may need that cluster. To create a key store for {OTHER_CLUSTER}, give it another name. Or rename this key store"
        " (custom_key_store_id and another name). Or delete this key store (state=absent) after its KMS keys are deleted."
    )


# ---- credentials


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken", "RequestExpired"])
def test_credentials_that_expire_in_the_middle(run: ModuleRunner, code: str) -> None:
    run.control.create_store(custom_key_store_name="payments")
    run.control.set_transitions(connect_seconds=100)
    run.control.add_fault(DESCRIBE, error=code, skip=3)
    result = run(name="payments", state="connected")
    assert result["operations"] == ["ConnectCustomKeyStore"]
    assert "he session token has expired" in result["msg"]
    assert (
        "Get new credentials, and run the task again. KMS continues the operations that it has accepted"
        in result["msg"]
    )
    assert "run its play with --tags reconnect to reconnect the key stores." in result["msg"]


MODULES: dict[ModuleType, dict[str, Any]] = {
    kms_custom_key_store: {"name": "payments"},
    kms_custom_key_store_info: {},
    kms_custom_key_store_key: KEY,
}


@pytest.mark.parametrize("module", MODULES)
def test_a_profile_beside_credentials_in_the_environment(
    run: ModuleRunner, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    """amazon.aws #1353: it is refused by amazon.aws, without saying where the credentials come from."""
    run.module = module
    monkeypatch.setattr(harness, "CREDENTIALS", {"region": "us-east-1"})
    for variable in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CanaryOfTheEnvironment")
    result = run(**MODULES[module], profile="production")
    assert (
        "production by the option profile, and credentials by the environment variable AWS_ACCESS_KEY_ID"
        in result["msg"]
    )
    assert "the environment variable AWS_SECRET_ACCESS_KEY" in result["msg"]
    assert "CanaryOfTheEnvironment" not in str(result)
    assert run.calls == []
    monkeypatch.setenv("AWS_PROFILE", "staging")
    result = run(**MODULES[module], access_key=KEY_ID, secret_key="secret")
    assert "staging by the environment variable AWS_PROFILE" in result["msg"]
