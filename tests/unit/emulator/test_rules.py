# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules around custom key stores that KMS enforces, one test each, by their numbers (R1 ...).

Not here: R10, R16's second factor, R19, R21, R23, R28: what AWS advises, or what no emulator can see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.emulator import Control

Connection = Callable[[str], tuple[str, str | None]]

EXTERNAL = "EXTERNAL_KEY_STORE"
PASSWORD = "first-password"  # noqa: S105
NEW_PASSWORD = "second-password"  # noqa: S105
ENDPOINT = "https://xks.example.com"
SERVICE = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789"
CREDENTIAL = {"AccessKeyId": "ABCDEFGHIJKLMNOPQRST", "RawSecretAccessKey": "raw+secret/access=key" * 3}
NEW_CREDENTIAL = {"AccessKeyId": "TSRQPONMLKJIHGFEDCBA", "RawSecretAccessKey": "other+secret/access=key" * 2}


def outcome(call: Callable[..., Any], **members: Any) -> str:
    """ "ok", or the error code."""
    try:
        call(**members)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def cloudhsm(cluster_id: str, **members: Any) -> dict[str, Any]:
    return {
        "CustomKeyStoreName": "hsm",
        "CloudHsmClusterId": cluster_id,
        "TrustAnchorCertificate": "certificate",
        "KeyStorePassword": PASSWORD,
        **members,
    }


def external(**members: Any) -> dict[str, Any]:
    return {
        "CustomKeyStoreName": "proxy",
        "CustomKeyStoreType": EXTERNAL,
        "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        "XksProxyUriEndpoint": ENDPOINT,
        "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyAuthenticationCredential": CREDENTIAL,
        **members,
    }


def private(**members: Any) -> dict[str, Any]:
    return external(
        XksProxyConnectivity="VPC_ENDPOINT_SERVICE", **{"XksProxyVpcEndpointServiceName": SERVICE, **members}
    )


def as_arguments(credential: dict[str, str]) -> dict[str, Any]:
    return {"access_key_id": credential["AccessKeyId"], "raw_secret_access_key": credential["RawSecretAccessKey"]}


class Cycle:
    """Connects and disconnects a store, with the clock moved to the end of each."""

    def __init__(self, kms: Any, control: Control, connection: Connection) -> None:
        self._kms = kms
        self._control = control
        self._connection = connection

    def connect(self, store_id: str) -> str:
        """The state or error code that a connect ends with, or the code of its refusal."""
        answer = outcome(self._kms.connect_custom_key_store, CustomKeyStoreId=store_id)
        self._control.advance(10)
        state, code = self._connection(store_id)
        return answer if answer != "ok" else code or state

    def disconnect(self, store_id: str) -> None:
        self._kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
        self._control.advance(10)

    def reconnect(self, store_id: str) -> str:
        self.disconnect(store_id)
        return self.connect(store_id)


@pytest.fixture
def cycle(kms: Any, control: Control, connection: Connection) -> Cycle:
    return Cycle(kms, control, connection)


@pytest.fixture
def store(kms: Any, control: Control) -> str:
    """A CloudHSM store, disconnected, whose password is PASSWORD."""
    return control.create_store(parameters={"KeyStorePassword": PASSWORD})


def test_r01_the_answer_says_nothing(kms: Any, store: str, connection: Connection) -> None:
    assert set(kms.connect_custom_key_store(CustomKeyStoreId=store)) == {"ResponseMetadata"}
    assert connection(store) == ("CONNECTING", None)


def test_r02_a_cluster_that_is_not_active_fails_fast(control: Control, connection: Connection, cycle: Cycle) -> None:
    cluster_id = control.create_cluster()
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id})
    control.set_cluster(cluster_id, state="DEGRADED")
    assert cycle.connect(store_id) == "CloudHsmClusterNotActiveException"
    assert connection(store_id) == ("DISCONNECTED", None)
    control.set_cluster(cluster_id, state="ACTIVE")
    assert cycle.connect(store_id) == "CONNECTED"


def test_r03_connected_is_not_health(kms: Any, control: Control, connection: Connection, cycle: Cycle) -> None:
    cluster_id = control.create_cluster()
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id}, connection_state="CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)
    control.set_cluster(cluster_id, active_hsms=0)
    assert connection(store_id) == ("CONNECTED", None)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p") == "KMSInvalidStateException"
    assert outcome(kms.generate_random, CustomKeyStoreId=store_id, NumberOfBytes=8) == "DependencyTimeoutException"
    assert cycle.reconnect(store_id) == "INSUFFICIENT_CLOUDHSM_HSMS"


def test_r04_the_error_code_is_there_only_while_failed(
    kms: Any, control: Control, store: str, connection: Connection
) -> None:
    control.set_connection_state(store, "FAILED", "INTERNAL_ERROR")
    control.set_rule("error_code_outlives_disconnect", True)
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    assert connection(store) == ("DISCONNECTING", "INTERNAL_ERROR")
    control.set_rule("error_code_outlives_disconnect", False)
    assert connection(store) == ("DISCONNECTING", None)


def test_r05_keys_follow_their_store(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    control.set_connection_state(store, "CONNECTED")
    keys = control.create_keys(3, custom_key_store_id=store)
    kms.disable_key(KeyId=keys[1])
    kms.schedule_key_deletion(KeyId=keys[2], PendingWindowInDays=7)

    def states() -> list[tuple[str, bool]]:
        found = [kms.describe_key(KeyId=key_id)["KeyMetadata"] for key_id in keys]
        return [(key["KeyState"], key["Enabled"]) for key in found]

    blob = kms.encrypt(KeyId=keys[0], Plaintext=b"plain")["CiphertextBlob"]
    before = [("Enabled", True), ("Disabled", False), ("PendingDeletion", False)]
    assert states() == before
    cycle.disconnect(store)
    assert states() == [("Unavailable", False), ("Unavailable", False), ("PendingDeletion", False)]
    assert outcome(kms.decrypt, CiphertextBlob=blob) == "KMSInvalidStateException"
    assert outcome(kms.generate_data_key, KeyId=keys[0], KeySpec="AES_256") == "KMSInvalidStateException"
    cycle.connect(store)
    assert states() == before
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"
    assert outcome(kms.encrypt, KeyId=keys[1], Plaintext=b"p") == "DisabledException"
    assert outcome(kms.encrypt, KeyId=keys[2], Plaintext=b"p") == "KMSInvalidStateException"


def test_r06_credential_and_path_change_in_place(kms: Any, control: Control) -> None:
    store_id = control.create_store(custom_key_store_type=EXTERNAL, connection_state="CONNECTED")
    change = {"CustomKeyStoreId": store_id, "XksProxyAuthenticationCredential": NEW_CREDENTIAL}
    assert outcome(kms.update_custom_key_store, **change) == "ok"
    control.set_rule("proxy_update_when_connected_is_valid", False)
    assert outcome(kms.update_custom_key_store, **change) == "CustomKeyStoreInvalidStateException"


def test_r07_failed_is_not_disconnected(kms: Any, control: Control, store: str) -> None:
    control.set_connection_state(store, "FAILED", "INTERNAL_ERROR")
    for call, members in (
        (kms.update_custom_key_store, {"NewCustomKeyStoreName": "new"}),
        (kms.delete_custom_key_store, {}),
        (kms.connect_custom_key_store, {}),
    ):
        assert outcome(call, CustomKeyStoreId=store, **members) == "CustomKeyStoreInvalidStateException"


@pytest.mark.parametrize(
    ("proxy", "expected", "code"),
    [
        ({"reachable": False}, "XksProxyUriUnreachableException", "XKS_PROXY_NOT_REACHABLE"),
        (
            {"access_key_id": NEW_CREDENTIAL["AccessKeyId"], "raw_secret_access_key": "another"},
            "XksProxyIncorrectAuthenticationCredentialException",
            "INVALID_CREDENTIALS",
        ),
        (
            {"failure": "XksProxyInvalidResponseException"},
            "XksProxyInvalidResponseException",
            "XKS_PROXY_INVALID_RESPONSE",
        ),
        (
            {"failure": "XksProxyInvalidConfigurationException"},
            "XksProxyInvalidConfigurationException",
            "XKS_PROXY_INVALID_CONFIGURATION",
        ),
    ],
)
def test_r08_update_asks_the_proxy_first(
    kms: Any, control: Control, cycle: Cycle, proxy: dict[str, Any], expected: str, code: str
) -> None:
    store_id = kms.create_custom_key_store(**external())["CustomKeyStoreId"]
    (before,) = kms.describe_custom_key_stores()["CustomKeyStores"]
    control.set_proxy(ENDPOINT, **proxy)
    change = {"CustomKeyStoreId": store_id, "XksProxyUriPath": "/other/kms/xks/v1"}
    assert outcome(kms.update_custom_key_store, **change) == expected
    assert kms.describe_custom_key_stores()["CustomKeyStores"] == [before]
    assert cycle.connect(store_id) == code
    cycle.disconnect(store_id)
    control.set_proxy(ENDPOINT)
    assert outcome(kms.update_custom_key_store, **change) == "ok"
    assert cycle.connect(store_id) == "CONNECTED"


def test_r09_to_a_public_endpoint(kms: Any, control: Control) -> None:
    store_id = kms.create_custom_key_store(**private())["CustomKeyStoreId"]
    change = {
        "CustomKeyStoreId": store_id,
        "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        "XksProxyUriEndpoint": "https://public.example.com",
    }
    assert outcome(kms.update_custom_key_store, **change, XksProxyVpcEndpointServiceName=SERVICE) == (
        "ValidationException"
    )
    assert outcome(kms.update_custom_key_store, **change) == "ok"


def test_r11_a_told_password_changes_nothing_in_the_cluster(kms: Any, store: str, cycle: Cycle) -> None:
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store) == "INVALID_CREDENTIALS"
    cycle.disconnect(store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=PASSWORD)
    assert cycle.connect(store) == "CONNECTED"


def test_r11_passwords_of_letters_and_digits_only(kms: Any, control: Control, store: str) -> None:
    control.set_rule("password_must_be_alphanumeric", True)
    change = {"CustomKeyStoreId": store, "KeyStorePassword": NEW_PASSWORD}
    assert outcome(kms.update_custom_key_store, **change) == "ValidationException"
    assert outcome(kms.update_custom_key_store, **{**change, "KeyStorePassword": "abcDEF123"}) == "ok"


def test_r12_a_connect_rotates_the_password(kms: Any, store: str, cycle: Cycle) -> None:
    assert cycle.connect(store) == "CONNECTED"
    assert cycle.reconnect(store) == "CONNECTED"
    cycle.disconnect(store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=PASSWORD)
    assert cycle.connect(store) == "INVALID_CREDENTIALS"


def test_r12_an_aborted_connect_does_not(kms: Any, store: str, cycle: Cycle) -> None:
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    cycle.disconnect(store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=PASSWORD)
    assert cycle.connect(store) == "CONNECTED"


def test_r13_five_wrong_logins_lock_the_user(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    control.change_kmsuser_password(store, NEW_PASSWORD)
    codes = []
    for _ in range(6):
        codes.append(cycle.connect(store))
        cycle.disconnect(store)
    assert codes == ["INVALID_CREDENTIALS"] * 5 + ["USER_LOCKED_OUT"]
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store) == "USER_LOCKED_OUT"
    control.change_kmsuser_password(store, NEW_PASSWORD)
    assert cycle.reconnect(store) == "CONNECTED"


def test_r14_reconnecting_rotates_without_knowing_it(store: str, cycle: Cycle) -> None:
    assert [cycle.connect(store), cycle.reconnect(store)] == ["CONNECTED", "CONNECTED"]


def test_r15_to_a_known_password(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    cycle.connect(store)
    cycle.disconnect(store)
    control.change_kmsuser_password(store, NEW_PASSWORD)
    control.set_kmsuser_logged_in(store, True)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store) == "USER_LOGGED_IN"
    control.set_kmsuser_logged_in(store, False)
    assert cycle.reconnect(store) == "CONNECTED"


def test_r16_kmsuser_must_exist(kms: Any, control: Control, store: str, cycle: Cycle) -> None:
    control.delete_kmsuser(store)
    assert cycle.connect(store) == "USER_NOT_FOUND"
    with pytest.raises(ValueError, match="has no kmsuser"):
        control.change_kmsuser_password(store, NEW_PASSWORD)
    control.create_kmsuser(store, NEW_PASSWORD)
    with pytest.raises(ValueError, match="has a kmsuser"):
        control.create_kmsuser(store, NEW_PASSWORD)
    cycle.disconnect(store)
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store) == "CONNECTED"


def test_r17_a_credential_rotates_without_downtime(kms: Any, control: Control) -> None:
    old, new = (as_arguments(credential) for credential in (CREDENTIAL, NEW_CREDENTIAL))
    control.set_proxy(ENDPOINT, **old)
    store_id = kms.create_custom_key_store(**external())["CustomKeyStoreId"]
    control.set_connection_state(store_id, "CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)
    change = {"CustomKeyStoreId": store_id, "XksProxyAuthenticationCredential": NEW_CREDENTIAL}
    refused = "XksProxyIncorrectAuthenticationCredentialException"
    assert outcome(kms.update_custom_key_store, **change) == refused
    control.set_proxy(ENDPOINT, **new, keep_credentials=True)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p") == "ok"
    assert outcome(kms.update_custom_key_store, **change) == "ok"
    control.set_proxy(ENDPOINT, **new)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p") == "ok"


def test_r18_credentials_have_a_form(kms: Any) -> None:
    short = {**CREDENTIAL, "AccessKeyId": "lowercase-letters-are-no"}
    assert outcome(kms.create_custom_key_store, **external(XksProxyAuthenticationCredential=short)) == (
        "ValidationException"
    )


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({}, "ok"),
        ({"state": "INITIALIZED"}, "CloudHsmClusterNotActiveException"),
        ({"active_hsms": 1}, "CloudHsmClusterInvalidConfigurationException"),
        ({"availability_zones": 1}, "CloudHsmClusterInvalidConfigurationException"),
        ({"certificate": "another"}, "IncorrectTrustAnchorException"),
    ],
)
def test_r20_the_cluster_must_be_fit(kms: Any, control: Control, cluster: dict[str, Any], expected: str) -> None:
    cluster_id = control.create_cluster(**{"certificate": "certificate", **cluster})
    assert outcome(kms.create_custom_key_store, **cloudhsm(cluster_id)) == expected


def test_r20_a_cluster_must_exist(kms: Any, control: Control, cycle: Cycle) -> None:
    control.set_rule("clusters_must_exist", True)
    assert outcome(kms.create_custom_key_store, **cloudhsm("cluster-nosuchcluster")) == (
        "CloudHsmClusterNotFoundException"
    )
    cluster_id = control.create_cluster(certificate="certificate")
    store_id = kms.create_custom_key_store(**cloudhsm(cluster_id))["CustomKeyStoreId"]
    boto3.client("cloudhsmv2", region_name="us-east-1").delete_cluster(ClusterId=cluster_id)
    assert cycle.connect(store_id) == "CLUSTER_NOT_FOUND"


def test_r20_a_key_needs_two_hsms(kms: Any, control: Control) -> None:
    cluster_id = control.create_cluster()
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id}, connection_state="CONNECTED")
    control.set_cluster(cluster_id, active_hsms=1)
    assert outcome(kms.create_key, CustomKeyStoreId=store_id, Origin="AWS_CLOUDHSM") == (
        "CloudHsmClusterInvalidConfigurationException"
    )


def test_r20_one_store_for_each_cluster_and_its_relatives(kms: Any, control: Control) -> None:
    first, second = (control.create_cluster(certificate="certificate") for _ in range(2))
    control.create_store(parameters=cloudhsm(first))
    for cluster_id in (first, second):
        assert outcome(kms.create_custom_key_store, **cloudhsm(cluster_id, CustomKeyStoreName="other")) == (
            "CloudHsmClusterInUseException"
        )


def test_r20_clusters_as_cloudhsm_describes_them(control: Control) -> None:
    cloudhsm_client = boto3.client("cloudhsmv2", region_name="us-east-1")
    cluster_id = control.create_cluster(active_hsms=3)
    (cluster,) = cloudhsm_client.describe_clusters(Filters={"clusterIds": [cluster_id]})["Clusters"]
    assert (cluster["ClusterId"], cluster["State"]) == (cluster_id, "ACTIVE")
    assert [hsm["AvailabilityZone"] for hsm in cluster["Hsms"]] == ["us-east-1a", "us-east-1b", "us-east-1a"]
    assert all(cluster["SubnetMapping"][hsm["AvailabilityZone"]] == hsm["SubnetId"] for hsm in cluster["Hsms"])
    control.set_cluster(cluster_id, active_hsms=1, state="UPDATE_IN_PROGRESS")
    (after,) = cloudhsm_client.describe_clusters()["Clusters"]
    assert (after["Hsms"], after["State"]) == (cluster["Hsms"][:1], "UPDATE_IN_PROGRESS")
    control.reset()
    assert cloudhsm_client.describe_clusters()["Clusters"] == []


def test_r22_the_proxy_is_asked_at_create_if_it_is_public(kms: Any, control: Control, cycle: Cycle) -> None:
    control.set_proxy(ENDPOINT, reachable=False)
    assert outcome(kms.create_custom_key_store, **external()) == "XksProxyUriUnreachableException"
    store_id = kms.create_custom_key_store(**private())["CustomKeyStoreId"]
    assert cycle.connect(store_id) == "XKS_PROXY_NOT_REACHABLE"


@pytest.mark.parametrize("reason", ["NotFound", "InvalidConfiguration"])
def test_r22_the_vpc_endpoint_service_must_be_fit(kms: Any, control: Control, reason: str) -> None:
    failure = f"XksProxyVpcEndpointService{reason}Exception"
    control.set_proxy(ENDPOINT, failure=failure)
    assert outcome(kms.create_custom_key_store, **private()) == failure
    assert outcome(kms.create_custom_key_store, **external()) == "ok"


@pytest.mark.parametrize(
    ("used", "wanted", "expected"),
    [
        (external(), external(), "XksProxyUriInUseException"),
        (external(), external(XksProxyUriPath="/other/kms/xks/v1"), "ok"),
        (external(), private(XksProxyUriPath="/other/kms/xks/v1"), "XksProxyUriEndpointInUseException"),
        (
            private(),
            private(XksProxyUriPath="/other/kms/xks/v1", XksProxyVpcEndpointServiceName=f"{SERVICE}9"),
            "XksProxyUriEndpointInUseException",
        ),
        (
            private(),
            private(XksProxyUriEndpoint="https://other.example.com"),
            "XksProxyVpcEndpointServiceInUseException",
        ),
    ],
)
def test_r22_addresses_are_unique(kms: Any, used: dict[str, Any], wanted: dict[str, Any], expected: str) -> None:
    kms.create_custom_key_store(**used)
    wanted = {**wanted, "CustomKeyStoreName": "other"}
    assert outcome(kms.create_custom_key_store, **wanted) == expected


def test_r24_random_bytes(kms: Any, control: Control, store: str) -> None:
    random = kms.generate_random
    assert outcome(random, CustomKeyStoreId=store, NumberOfBytes=8) == "CustomKeyStoreInvalidStateException"
    control.set_connection_state(store, "CONNECTED")
    assert len(random(CustomKeyStoreId=store, NumberOfBytes=8)["Plaintext"]) == 8
    other = control.create_store(custom_key_store_type=EXTERNAL, connection_state="CONNECTED")
    assert outcome(random, CustomKeyStoreId=other, NumberOfBytes=8) == "UnsupportedOperationException"
    assert outcome(random, CustomKeyStoreId="cks-0", NumberOfBytes=8) == "CustomKeyStoreNotFoundException"
    assert outcome(random) == "ValidationException"


def test_r25_a_cluster_from_a_backup_takes_over(kms: Any, control: Control, cycle: Cycle) -> None:
    cluster_id = control.create_cluster()
    old_backup = control.create_cluster(source_cluster_id=cluster_id)
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id, "KeyStorePassword": PASSWORD})
    assert cycle.connect(store_id) == "CONNECTED"
    recent_backup = control.create_cluster(source_cluster_id=cluster_id)
    cycle.disconnect(store_id)
    control.set_cluster(cluster_id, state="DELETED")
    assert cycle.connect(store_id) == "CLUSTER_NOT_FOUND"
    cycle.disconnect(store_id)
    unrelated = control.create_cluster()
    update = kms.update_custom_key_store
    assert outcome(update, CustomKeyStoreId=store_id, CloudHsmClusterId=unrelated) == (
        "CloudHsmClusterNotRelatedException"
    )
    assert outcome(update, CustomKeyStoreId=store_id, CloudHsmClusterId=recent_backup) == "ok"
    assert cycle.connect(store_id) == "CONNECTED"
    cycle.disconnect(store_id)
    control.change_kmsuser_password(old_backup, PASSWORD)
    assert outcome(update, CustomKeyStoreId=store_id, CloudHsmClusterId=old_backup) == "ok"
    assert cycle.connect(store_id) == "INVALID_CREDENTIALS"


def test_r26_a_store_goes_after_its_keys(kms: Any, control: Control, store: str) -> None:
    (key_id,) = control.create_keys(1, custom_key_store_id=store)
    delete = kms.delete_custom_key_store
    assert outcome(delete, CustomKeyStoreId=store) == "CustomKeyStoreHasCMKsException"
    kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    assert outcome(kms.schedule_key_deletion, KeyId=key_id) == "KMSInvalidStateException"
    control.advance(7 * 86400 - 1)
    assert outcome(delete, CustomKeyStoreId=store) == "CustomKeyStoreHasCMKsException"
    control.advance(1)
    assert outcome(kms.describe_key, KeyId=key_id) == "NotFoundException"
    assert outcome(delete, CustomKeyStoreId=store) == "ok"


def test_r26_a_deletion_may_be_cancelled(kms: Any, control: Control) -> None:
    (key_id,) = control.create_keys(1)
    assert outcome(kms.cancel_key_deletion, KeyId=key_id) == "KMSInvalidStateException"
    kms.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    kms.cancel_key_deletion(KeyId=key_id)
    control.advance(8 * 86400)
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"] == "Disabled"


def test_r27_create_again_finds_the_disconnected_twin(kms: Any, control: Control, cycle: Cycle) -> None:
    request = cloudhsm("cluster-abcdefghijk")
    store_id = kms.create_custom_key_store(**request)["CustomKeyStoreId"]
    assert kms.create_custom_key_store(**request)["CustomKeyStoreId"] == store_id
    assert outcome(kms.create_custom_key_store, **{**request, "KeyStorePassword": NEW_PASSWORD}) == (
        "CustomKeyStoreNameInUseException"
    )
    cycle.connect(store_id)
    assert outcome(kms.create_custom_key_store, **request) == "CustomKeyStoreNameInUseException"
    assert outcome(kms.create_custom_key_store, **{**request, "CustomKeyStoreName": "other"}) == (
        "CloudHsmClusterInUseException"
    )
    assert len(kms.describe_custom_key_stores()["CustomKeyStores"]) == 1


def test_r27_names_in_other_regions(kms: Any, control: Control) -> None:
    Control(region_name="eu-west-1").create_store(custom_key_store_name="hsm")
    control.set_rule("names_are_unique_in_all_regions", True)
    request = cloudhsm("cluster-abcdefghijk")
    assert outcome(kms.create_custom_key_store, **request) == "CustomKeyStoreNameInUseException"
    control.set_rule("names_are_unique_in_all_regions", False)
    assert outcome(kms.create_custom_key_store, **request) == "ok"


def test_r29_request_quotas(kms: Any, control: Control) -> None:
    control.set_quota("DescribeCustomKeyStores", 5)
    describe = kms.describe_custom_key_stores
    assert [outcome(describe) for _ in range(6)] == ["ok"] * 5 + ["ThrottlingException"]
    assert outcome(kms.list_keys) == "ok"
    control.advance(0.4)
    assert [outcome(describe) for _ in range(3)] == ["ok", "ok", "ThrottlingException"]
    control.advance(100)
    assert [outcome(describe) for _ in range(6)] == ["ok"] * 5 + ["ThrottlingException"]
    control.set_quota("DescribeCustomKeyStores", None)
    assert outcome(describe) == "ok"


def test_r30_quota_of_stores(kms: Any, control: Control) -> None:
    control.set_rule("custom_key_store_quota", 1)
    control.create_store(custom_key_store_type=EXTERNAL)
    assert outcome(kms.create_custom_key_store, **cloudhsm("cluster-abcdefghijk")) == "LimitExceededException"


def test_r31_a_change_is_seen_later(kms: Any, control: Control, store: str, connection: Connection) -> None:
    control.set_visibility_delay(5)
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    assert connection(store) == ("DISCONNECTED", None)
    control.advance(5)
    assert connection(store) == ("CONNECTING", None)


def test_r32_an_unknown_store_is_an_error(kms: Any) -> None:
    describe = kms.describe_custom_key_stores
    assert describe()["CustomKeyStores"] == []
    assert outcome(describe, CustomKeyStoreName="none") == "CustomKeyStoreNotFoundException"


def test_39_a_service_of_another_account(kms: Any, control: Control, cycle: Cycle) -> None:
    request = private(XksProxyVpcEndpointServiceOwner="210987654321")
    store_id = kms.create_custom_key_store(**request)["CustomKeyStoreId"]
    control.set_rule("vpc_service_of_another_account_is_valid", False)
    assert cycle.connect(store_id) == "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND"
    control.set_rule("vpc_service_of_another_account_is_valid", True)
    assert cycle.reconnect(store_id) == "CONNECTED"
