# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The six operations, and KMS keys in custom key stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.moto_api import state_manager

CLOUDHSM: dict[str, Any] = {
    "CustomKeyStoreName": "hsm",
    "CloudHsmClusterId": "cluster-abcdefghijk",
    "TrustAnchorCertificate": "certificate",
    "KeyStorePassword": "kmsuser-password",
}
EXTERNAL: dict[str, Any] = {
    "CustomKeyStoreName": "proxy",
    "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
    "XksProxyConnectivity": "PUBLIC_ENDPOINT",
    "XksProxyUriEndpoint": "https://xks.example.com",
    "XksProxyUriPath": "/kms/xks/v1",
    "XksProxyAuthenticationCredential": {
        "AccessKeyId": "ABCDEFGHIJKLMNOPQRST",
        "RawSecretAccessKey": "raw+secret/access=key" * 3,
    },
}
MODELS = ("kms::connect_custom_key_store", "kms::disconnect_custom_key_store")


@pytest.fixture
def kms() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("kms", region_name="us-east-1")


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Make transitions immediate."""
    for model in MODELS:
        state_manager.set_transition(model, {"progression": "immediate"})
    yield
    for model in MODELS:
        state_manager.unset_transition(model)


def described(kms: Any, store_id: str) -> Any:
    (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
    return store


def refusal(call: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        call(**members)
    answer = error.value.response["Error"]
    return answer["Code"], answer["Message"]


def connected(kms: Any, request: dict[str, Any]) -> str:
    """Create and connect a store. Returns its ID."""
    store_id: str = kms.create_custom_key_store(**request)["CustomKeyStoreId"]
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    return store_id


def key_in(kms: Any, store_id: str, **members: Any) -> str:
    """Create a key in a store. Returns its ARN."""
    origin = "EXTERNAL_KEY_STORE" if members else "AWS_CLOUDHSM"
    made = kms.create_key(CustomKeyStoreId=store_id, Origin=origin, **members)["KeyMetadata"]
    return str(made["Arn"])


@pytest.mark.parametrize("request_", [CLOUDHSM, EXTERNAL], ids=["CloudHSM", "external"])
def test_life_of_a_store(kms: Any, request_: dict[str, Any]) -> None:
    store_id = kms.create_custom_key_store(**request_)["CustomKeyStoreId"]
    assert described(kms, store_id)["ConnectionState"] == "DISCONNECTED"
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert described(kms, store_id)["ConnectionState"] == "CONNECTED"
    kms.update_custom_key_store(CustomKeyStoreId=store_id, NewCustomKeyStoreName="renamed")
    assert described(kms, store_id)["CustomKeyStoreName"] == "renamed"
    code, _message = refusal(kms.delete_custom_key_store, CustomKeyStoreId=store_id)
    assert code == "CustomKeyStoreInvalidStateException"
    kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert described(kms, store_id)["ConnectionState"] == "DISCONNECTED"
    code, _message = refusal(kms.disconnect_custom_key_store, CustomKeyStoreId=store_id)
    assert code == "CustomKeyStoreInvalidStateException"
    kms.delete_custom_key_store(CustomKeyStoreId=store_id)
    code, _message = refusal(kms.describe_custom_key_stores, CustomKeyStoreId=store_id)
    assert code == "CustomKeyStoreNotFoundException"
    assert kms.describe_custom_key_stores()["CustomKeyStores"] == []


def test_a_transition_takes_as_many_descriptions_as_motos_state_manager_says(kms: Any) -> None:
    state_manager.set_transition(MODELS[0], {"progression": "manual", "times": 2})
    store_id = connected(kms, CLOUDHSM)
    assert [described(kms, store_id)["ConnectionState"] for _turn in range(3)] == [
        "CONNECTING",
        "CONNECTING",
        "CONNECTED",
    ]


def test_what_a_store_needs_to_be_created(kms: Any) -> None:
    code, message = refusal(kms.create_custom_key_store, CustomKeyStoreName="hsm")
    assert code == "ValidationException"
    assert "CloudHsmClusterId, KeyStorePassword, TrustAnchorCertificate" in message
    kms.create_custom_key_store(**CLOUDHSM)
    code, _message = refusal(kms.create_custom_key_store, **{**EXTERNAL, "CustomKeyStoreName": "hsm"})
    assert code == "CustomKeyStoreNameInUseException"


def test_a_cluster_of_motos_is_described(kms: Any) -> None:
    hsms = boto3.client("cloudhsmv2", region_name="us-east-1")
    cluster_id = hsms.create_cluster(HsmType="hsm2m.medium", SubnetIds=["subnet-12345678"])["Cluster"]["ClusterId"]
    connected(kms, {**CLOUDHSM, "CloudHsmClusterId": cluster_id})
    code, _message = refusal(
        kms.create_custom_key_store, **{**CLOUDHSM, "CustomKeyStoreName": "other", "CloudHsmClusterId": cluster_id}
    )
    assert code == "CloudHsmClusterInUseException"


@pytest.mark.parametrize(
    ("request_", "members"), [(CLOUDHSM, {}), (EXTERNAL, {"XksKeyId": "one"})], ids=["CloudHSM", "external"]
)
def test_life_of_a_key(kms: Any, request_: dict[str, Any], members: dict[str, Any]) -> None:
    store_id = connected(kms, request_)
    arn = key_in(kms, store_id, **members)
    metadata = kms.describe_key(KeyId=arn)["KeyMetadata"]
    assert (metadata["CustomKeyStoreId"], metadata["KeyState"], metadata["MultiRegion"]) == (store_id, "Enabled", False)
    assert metadata.get("XksKeyConfiguration", {}).get("Id") == members.get("XksKeyId")
    blob = kms.encrypt(KeyId=arn, Plaintext=b"plain")["CiphertextBlob"]
    kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert refusal(kms.decrypt, CiphertextBlob=blob) == ("KMSInvalidStateException", f"{arn} is unavailable.")
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"plain"
    kms.disable_key(KeyId=arn)
    assert refusal(kms.decrypt, CiphertextBlob=blob) == ("DisabledException", f"{arn} is disabled.")
    scheduled = kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    assert (scheduled["KeyId"], scheduled["KeyState"]) == (arn, "PendingDeletion")
    assert refusal(kms.enable_key, KeyId=arn) == ("KMSInvalidStateException", f"{arn} is pending deletion.")
    kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert refusal(kms.delete_custom_key_store, CustomKeyStoreId=store_id)[0] == "CustomKeyStoreHasCMKsException"


def test_what_a_key_in_a_store_never_can(kms: Any) -> None:
    arn = key_in(kms, connected(kms, CLOUDHSM))
    for call in (kms.enable_key_rotation, kms.disable_key_rotation, kms.get_key_rotation_status):
        code, message = refusal(call, KeyId=arn)
        assert code == "UnsupportedOperationException"
        assert message == f"{arn} origin is AWS_CLOUDHSM which is not valid for this operation."
    assert refusal(kms.replicate_key, KeyId=arn, ReplicaRegion="eu-west-1")[0] == "UnsupportedOperationException"
    pair = {"KeyId": arn, "KeyPairSpec": "RSA_2048"}
    assert refusal(kms.generate_data_key_pair, **pair)[0] == "UnsupportedOperationException"
    signing = {"KeyId": arn, "Message": b"message", "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
    assert refusal(kms.sign, **signing)[0] == "InvalidKeyUsageException"


def test_keys_that_do_not_fit_a_store(kms: Any) -> None:
    store_id = connected(kms, EXTERNAL)
    key_in(kms, store_id, XksKeyId="one")
    in_store = {"CustomKeyStoreId": store_id, "Origin": "EXTERNAL_KEY_STORE"}
    assert refusal(kms.create_key, **in_store, XksKeyId="one")[0] == "XksKeyAlreadyInUseException"
    assert refusal(kms.create_key, **in_store)[0] == "ValidationException"
    assert refusal(kms.create_key, Origin="AWS_CLOUDHSM")[0] == "ValidationException"
    kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert refusal(kms.create_key, **in_store, XksKeyId="two")[0] == "CustomKeyStoreInvalidStateException"


def test_random_bytes_of_a_cluster(kms: Any) -> None:
    store_id = connected(kms, CLOUDHSM)
    assert len(kms.generate_random(NumberOfBytes=16, CustomKeyStoreId=store_id)["Plaintext"]) == 16
    other = connected(kms, EXTERNAL)
    code, _message = refusal(kms.generate_random, NumberOfBytes=16, CustomKeyStoreId=other)
    assert code == "UnsupportedOperationException"
