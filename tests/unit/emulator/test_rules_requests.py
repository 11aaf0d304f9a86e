# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of KMS by their numbers (R1 ...), for requests: who may make them, how many, and about what."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.core.authorization import enable_iam_authentication
from moto.core.utils import camelcase_to_underscores

from kms_emulator import Control
from tests.unit.emulator.stores import ENDPOINT
from tests.unit.emulator.stores import EXTERNAL
from tests.unit.emulator.stores import NEW_PASSWORD
from tests.unit.emulator.stores import Cycle
from tests.unit.emulator.stores import cloudhsm
from tests.unit.emulator.stores import external
from tests.unit.emulator.stores import outcome


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


def test_r29_request_quotas(kms: Any, control: Control) -> None:
    control.set_quota("DescribeCustomKeyStores", 5)
    describe = kms.describe_custom_key_stores
    assert [outcome(describe) for _turn in range(6)] == ["ok"] * 5 + ["ThrottlingException"]
    assert outcome(kms.list_keys) == "ok"
    control.advance(0.4)
    assert [outcome(describe) for _turn in range(3)] == ["ok", "ok", "ThrottlingException"]
    control.advance(100)
    assert [outcome(describe) for _turn in range(6)] == ["ok"] * 5 + ["ThrottlingException"]
    control.set_quota("DescribeCustomKeyStores", None)
    assert outcome(describe) == "ok"


def test_r30_quota_of_stores(kms: Any, control: Control) -> None:
    control.set_rule("custom_key_store_quota", 1)
    control.create_store(custom_key_store_type=EXTERNAL)
    assert outcome(kms.create_custom_key_store, **cloudhsm("cluster-abcdefghijk")) == "LimitExceededException"


def test_r32_an_unknown_store_is_an_error(kms: Any) -> None:
    describe = kms.describe_custom_key_stores
    assert describe()["CustomKeyStores"] == []
    assert outcome(describe, CustomKeyStoreName="none") == "CustomKeyStoreNotFoundException"


@pytest.fixture
def caller(control: Control) -> Callable[..., Any]:
    """Makes a client of KMS for a user of moto's IAM who may do these actions, and no others."""
    iam = boto3.client("iam", region_name="us-east-1")
    iam.create_user(UserName="operator")
    key = iam.create_access_key(UserName="operator")["AccessKey"]

    def make(*actions: str, **credentials: str) -> Any:
        statement = {"Effect": "Allow", "Action": [*actions, "sts:GetCallerIdentity"], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="operator", PolicyName="operator", PolicyDocument=policy)
        own = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        return boto3.client("kms", region_name="us-east-1", **{**own, **credentials})

    return make


SIX_OPERATIONS: dict[str, dict[str, Any]] = {
    "CreateCustomKeyStore": external(),
    "ConnectCustomKeyStore": {"CustomKeyStoreId": "cks-0"},
    "DisconnectCustomKeyStore": {"CustomKeyStoreId": "cks-0"},
    "DescribeCustomKeyStores": {},
    "UpdateCustomKeyStore": {"CustomKeyStoreId": "cks-0", "NewCustomKeyStoreName": "new"},
    "DeleteCustomKeyStore": {"CustomKeyStoreId": "cks-0"},
}


@pytest.mark.parametrize("operation", SIX_OPERATIONS)
def test_r21_the_caller_needs_the_action(caller: Callable[..., Any], operation: str) -> None:
    members = SIX_OPERATIONS[operation]
    kms = caller(*(f"kms:{other}" for other in SIX_OPERATIONS if other != operation))
    call = getattr(kms, camelcase_to_underscores(operation))
    with enable_iam_authentication(), pytest.raises(ClientError) as error:
        call(**members)
    answer = error.value.response
    assert answer["Error"]["Code"] == "AccessDeniedException"
    assert f"is not authorized to perform kms:{operation}." in answer["Error"]["Message"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    caller(f"kms:{operation}")
    with enable_iam_authentication():
        assert outcome(call, **members) == (
            "CustomKeyStoreNotFoundException" if "CustomKeyStoreId" in members else "ok"
        )


def test_r21_a_cloudhsm_store_needs_permission_to_describe_clusters(
    control: Control, caller: Callable[..., Any]
) -> None:
    ours = ("kms:CreateCustomKeyStore", "kms:ConnectCustomKeyStore")
    request = cloudhsm("cluster-abcdefghijk")
    store_id = control.create_store()
    proxied = control.create_store(custom_key_store_type=EXTERNAL)
    kms = caller(*ours)
    with enable_iam_authentication():
        assert outcome(kms.create_custom_key_store, **external()) == "ok"
        assert outcome(kms.connect_custom_key_store, CustomKeyStoreId=proxied) == "ok"
        with pytest.raises(ClientError, match="not authorized to perform cloudhsm:DescribeClusters."):
            kms.create_custom_key_store(**request)
        assert outcome(kms.connect_custom_key_store, CustomKeyStoreId=store_id) == "AccessDeniedException"
    caller(*ours, "cloudhsm:DescribeClusters")
    with enable_iam_authentication():
        assert outcome(kms.create_custom_key_store, **request) == "ok"
        assert outcome(kms.connect_custom_key_store, CustomKeyStoreId=store_id) == "ok"


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({"aws_secret_access_key": "another"}, "InvalidSignatureException"),
        ({"aws_access_key_id": "AKIAUNKNOWNUNKNOWNUN"}, "UnrecognizedClientException"),
    ],
)
def test_r21_the_caller_must_be_known(caller: Callable[..., Any], credentials: dict[str, str], expected: str) -> None:
    kms = caller("kms:*", **credentials)
    with enable_iam_authentication():
        assert outcome(kms.describe_custom_key_stores) == expected


def test_r21_stores_of_another_account_are_not_found(kms: Any, control: Control) -> None:
    foreign = Control(account_id="210987654321").create_store(connection_state="CONNECTED")
    which = {"CustomKeyStoreId": foreign}
    answers = [
        outcome(getattr(kms, camelcase_to_underscores(operation)), **{**members, **which})
        for operation, members in SIX_OPERATIONS.items()
        if operation != "CreateCustomKeyStore"
    ]
    answers.append(outcome(kms.create_key, **which, Origin="AWS_CLOUDHSM"))
    answers.append(outcome(kms.generate_random, **which, NumberOfBytes=8))
    assert answers == ["CustomKeyStoreNotFoundException"] * 7


@pytest.mark.parametrize("store_type", ["AWS_CLOUDHSM", EXTERNAL])
def test_r33_what_a_key_in_a_store_never_can(kms: Any, control: Control, store_type: str) -> None:
    store_id = control.create_store(custom_key_store_type=store_type, connection_state="CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)
    for call in (kms.enable_key_rotation, kms.disable_key_rotation, kms.get_key_rotation_status):
        assert outcome(call, KeyId=key_id) == "UnsupportedOperationException"
    assert outcome(kms.replicate_key, KeyId=key_id, ReplicaRegion="eu-west-1") == "UnsupportedOperationException"
    assert outcome(kms.delete_imported_key_material, KeyId=key_id) == "UnsupportedOperationException"
    kms.schedule_key_deletion(KeyId=key_id)
    for call in (kms.enable_key, kms.disable_key):
        assert outcome(call, KeyId=key_id) == "KMSInvalidStateException"


def test_r34_a_key_needs_a_proxy_that_answers(kms: Any, control: Control) -> None:
    store_id = control.create_store(
        custom_key_store_type=EXTERNAL, connection_state="CONNECTED", parameters={"XksProxyUriEndpoint": ENDPOINT}
    )
    request = {"CustomKeyStoreId": store_id, "Origin": EXTERNAL, "XksKeyId": "one"}
    control.set_proxy(ENDPOINT, reachable=False)
    assert outcome(kms.create_key, **request) == "CustomKeyStoreInvalidStateException"
    control.set_proxy(ENDPOINT)
    assert outcome(kms.create_key, **request) == "ok"


@pytest.mark.parametrize("change", [{"state": "DEGRADED"}, {"state": "DELETED"}, {"active_hsms": 1}])
def test_r34_a_key_needs_a_healthy_cluster(kms: Any, control: Control, change: dict[str, Any]) -> None:
    cluster_id = control.create_cluster()
    store_id = control.create_store(connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id})
    control.set_cluster(cluster_id, **change)
    refused = outcome(kms.create_key, CustomKeyStoreId=store_id, Origin="AWS_CLOUDHSM")
    assert refused == "CloudHsmClusterInvalidConfigurationException"
