# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of KMS by their numbers (R1 ...), for what is behind a store, clusters and proxies."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.session
import pytest

from kms_emulator import Control
from tests.unit.emulator.stores import ENDPOINT
from tests.unit.emulator.stores import EXTERNAL
from tests.unit.emulator.stores import NEW_CREDENTIAL
from tests.unit.emulator.stores import PASSWORD
from tests.unit.emulator.stores import SERVICE
from tests.unit.emulator.stores import Cycle
from tests.unit.emulator.stores import cloudhsm
from tests.unit.emulator.stores import external
from tests.unit.emulator.stores import outcome
from tests.unit.emulator.stores import private


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
    first, second = (control.create_cluster(certificate="certificate") for _turn in range(2))
    control.create_store(parameters=cloudhsm(first))
    for cluster_id in (first, second):
        assert outcome(kms.create_custom_key_store, **cloudhsm(cluster_id, CustomKeyStoreName="other")) == (
            "CloudHsmClusterInUseException"
        )


def test_r20_clusters_as_cloudhsm_describes_them(control: Control) -> None:
    cloudhsm_client = boto3.client("cloudhsmv2", region_name="us-east-1")
    cluster_id = control.create_cluster(active_hsms=3, network=True)
    (cluster,) = cloudhsm_client.describe_clusters(Filters={"clusterIds": [cluster_id]})["Clusters"]
    assert (cluster["ClusterId"], cluster["State"]) == (cluster_id, "ACTIVE")
    assert [hsm["AvailabilityZone"] for hsm in cluster["Hsms"]] == ["us-east-1a", "us-east-1b", "us-east-1a"]
    assert all(cluster["SubnetMapping"][hsm["AvailabilityZone"]] == hsm["SubnetId"] for hsm in cluster["Hsms"])
    control.set_cluster(cluster_id, active_hsms=1, state="UPDATE_IN_PROGRESS")
    (after,) = cloudhsm_client.describe_clusters()["Clusters"]
    assert (after["Hsms"], after["State"]) == (cluster["Hsms"][:1], "UPDATE_IN_PROGRESS")
    control.reset()
    assert cloudhsm_client.describe_clusters()["Clusters"] == []


def described(cluster_id: str) -> dict[str, Any]:
    """As CloudHSM describes a cluster, as far as this SDK knows of that."""
    client = boto3.client("cloudhsmv2", region_name="us-east-1")
    (cluster,) = client.describe_clusters(Filters={"clusterIds": [cluster_id]})["Clusters"]
    return dict(cluster)


KNOWN = frozenset(
    getattr(botocore.session.get_session().get_service_model("cloudhsmv2").shape_for("Cluster"), "members", ())
)
"""What the SDK knows of clusters. The oldest that is supported knows neither mode nor network type."""


def test_r20_a_cluster_of_another_kind(control: Control) -> None:
    cluster_id = control.create_cluster(hsm_type="hsm1.medium", network_type="DUALSTACK")
    first = described(cluster_id)
    expected = {"HsmType": "hsm1.medium", "Mode": "FIPS", "NetworkType": "DUALSTACK"}
    assert {name: first.get(name) for name in expected} == {
        name: value if name in KNOWN else None for name, value in expected.items()
    }
    assert not {"HsmTypeRollbackExpiration", "SubnetMapping", "SecurityGroup"} & set(first)
    assert {hsm["HsmType"] for hsm in first["Hsms"] if "HsmType" in hsm} <= {"hsm1.medium"}


@pytest.mark.skipif("HsmTypeRollbackExpiration" not in KNOWN, reason="the SDK does not know of it")
def test_r20_a_change_of_the_hsm_type_as_cloudhsm_describes_it(control: Control) -> None:
    control.freeze_clock()
    cluster_id = control.create_cluster(hsm_type="hsm1.medium")

    def seen(**change: Any) -> tuple[str, list[str], float]:
        control.set_cluster(cluster_id, **change)
        cluster = described(cluster_id)
        types = [hsm["HsmType"] for hsm in cluster["Hsms"]]
        return cluster["HsmType"], types, cluster["HsmTypeRollbackExpiration"].timestamp()

    old, new = "hsm1.medium", "hsm2m.medium"
    cluster_type, types, until = seen(state="MODIFY_IN_PROGRESS", hsm_type=new)
    assert (cluster_type, types) == (new, [old, old])
    control.advance(3600)
    assert seen(state="ACTIVE") == (new, [new, new], until)
    assert seen(rollback_seconds=0)[2] == pytest.approx(until - 23 * 3600)
    assert seen(state="ROLLBACK_IN_PROGRESS", hsm_type=old)[:2] == (old, [new, new])
    assert seen(state="ACTIVE")[:2] == (old, [old, old])


def test_r20_its_network_is_in_ec2_if_it_is_asked_for(control: Control) -> None:
    ec2 = boto3.client("ec2", region_name="us-east-1")
    cluster = described(control.create_cluster(availability_zones=3, network=True))
    found = ec2.describe_subnets(SubnetIds=list(cluster["SubnetMapping"].values()))["Subnets"]
    assert {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in found} == cluster["SubnetMapping"]
    assert {subnet["VpcId"] for subnet in found} == {cluster["VpcId"]}
    (group,) = ec2.describe_security_groups(GroupIds=[cluster["SecurityGroup"]])["SecurityGroups"]
    (rule,) = group["IpPermissions"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 2223, 2225)
    assert [pair["GroupId"] for pair in rule["UserIdGroupPairs"]] == [group["GroupId"]]


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
