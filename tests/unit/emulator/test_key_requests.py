# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KMS answers to requests about keys, where moto answers otherwise, or not at all."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from freezegun import freeze_time

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.sdk import knows
from tests.sdk import needs_no_policy_name
from tests.unit.emulator.stores import EXTERNAL
from tests.unit.emulator.stores import outcome
from tests.unit.emulator.stores import post

GRANTEE = "arn:aws:iam::123456789012:role/user"
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NO_SUCH_KEY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def key(control: Control) -> str:
    """The id of a key in a CloudHSM store that is connected."""
    store_id = control.create_store(connection_state="CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)
    return key_id


def arn_of(kms: Any, key_id: str) -> str:
    return str(kms.describe_key(KeyId=key_id)["KeyMetadata"]["Arn"])


def test_a_new_key_in_a_store_has_the_members_of_its_kind(kms: Any, control: Control) -> None:
    store_id = control.create_store(connection_state="CONNECTED")
    made = kms.create_key(CustomKeyStoreId=store_id, Origin="AWS_CLOUDHSM")["KeyMetadata"]
    assert (made["KeyUsage"], made["MultiRegion"]) == ("ENCRYPT_DECRYPT", False)
    assert made["EncryptionAlgorithms"] == ["SYMMETRIC_DEFAULT"]
    assert {"SigningAlgorithms", "XksKeyConfiguration", "DeletionDate"} & set(made) == set()


def test_the_deletion_of_a_key_is_scheduled_and_cancelled(kms: Any, key: str) -> None:
    arn = arn_of(kms, key)
    scheduled = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert (scheduled["KeyId"], scheduled["KeyState"], scheduled["PendingWindowInDays"]) == (arn, "PendingDeletion", 7)
    assert scheduled["DeletionDate"] == kms.describe_key(KeyId=key)["KeyMetadata"]["DeletionDate"]
    assert kms.cancel_key_deletion(KeyId=key)["KeyId"] == arn
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    assert kms.schedule_key_deletion(KeyId=arn)["PendingWindowInDays"] == 30


@pytest.mark.parametrize(("days", "limit"), [(6, "greater than or equal to 7"), (31, "less than or equal to 30")])
def test_a_waiting_period_that_there_is_not(kms: Any, key: str, days: int, limit: str) -> None:
    with pytest.raises(ClientError) as error:
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=days)
    assert error.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": f"1 validation error detected: Value '{days}' at 'pendingWindowInDays' failed to satisfy constraint: "
        f"Member must have value {limit}",
    }
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"


DRY_RUNS: dict[str, Callable[[Any, str, bytes], Any]] = {
    "CreateGrant": lambda kms, key, blob: kms.create_grant(
        KeyId=key, GranteePrincipal=GRANTEE, Operations=["Decrypt"], DryRun=True
    ),
    "Decrypt": lambda kms, key, blob: kms.decrypt(CiphertextBlob=blob, DryRun=True),
    "Encrypt": lambda kms, key, blob: kms.encrypt(KeyId=key, Plaintext=b"plain", DryRun=True),
    "GenerateDataKey": lambda kms, key, blob: kms.generate_data_key(KeyId=key, KeySpec="AES_256", DryRun=True),
    "GenerateDataKeyWithoutPlaintext": lambda kms, key, blob: kms.generate_data_key_without_plaintext(
        KeyId=key, KeySpec="AES_256", DryRun=True
    ),
    "ReEncrypt": lambda kms, key, blob: kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=key, DryRun=True),
}


@pytest.mark.parametrize("operation", DRY_RUNS)
def test_a_dry_run_is_no_use(kms: Any, control: Control, key: str, operation: str) -> None:
    blob = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    control.start_usage_tracking()
    with pytest.raises(kms.exceptions.DryRunOperationException) as error:
        DRY_RUNS[operation](kms, key, blob)
    assert error.value.response["Error"]["Message"] == "The request would have succeeded, but the DryRun option is set."
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert kms.list_grants(KeyId=key)["Grants"] == []
    if knows("GetKeyLastUsage"):
        assert kms.get_key_last_usage(KeyId=key)["KeyLastUsage"] == {}
    kms.disable_key(KeyId=key)
    with pytest.raises(kms.exceptions.DisabledException):
        DRY_RUNS[operation](kms, key, blob)


def test_a_policy_with_its_name(kms: Any, key: str) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    kms.put_key_policy(KeyId=key, Policy=policy, PolicyName="default")
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == policy
    with pytest.raises(kms.exceptions.NotFoundException):
        kms.get_key_policy(KeyId=key, PolicyName="another")


@needs_no_policy_name
def test_a_policy_needs_no_name_over_http(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    store_id = http_control.create_store(connection_state="CONNECTED")
    (key,) = http_control.create_keys(1, custom_key_store_id=store_id)
    assert post(emulator_server.url, "PutKeyPolicy", json.dumps({"KeyId": key, "Policy": "{}"})) == (200, None)
    status, answer = post(emulator_server.url, "GetKeyPolicy", json.dumps({"KeyId": key}))
    assert (status, answer["Policy"]) == (200, "{}")


def test_an_alias_made_with_an_arn_is_found_by_it(kms: Any, key: str) -> None:
    arn = arn_of(kms, key)
    kms.create_alias(AliasName="alias/mine", TargetKeyId=arn)
    for key_id in (arn, key):
        (alias,) = kms.list_aliases(KeyId=key_id)["Aliases"]
        assert (alias["AliasName"], alias["TargetKeyId"]) == ("alias/mine", key)
    assert kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["Arn"] == arn
    assert kms.describe_key(KeyId=alias["AliasArn"])["KeyMetadata"]["Arn"] == arn


def test_a_request_id_is_a_uuid(kms: Any, key: str) -> None:
    seen = {kms.describe_key(KeyId=key)["ResponseMetadata"]["RequestId"] for _turn in range(2)}
    with pytest.raises(ClientError) as error:
        kms.describe_key(KeyId=NO_SUCH_KEY)
    seen.add(error.value.response["ResponseMetadata"]["RequestId"])
    assert len(seen) == 3
    assert [request_id for request_id in seen if not re.fullmatch(UUID, request_id)] == []


def test_each_side_of_a_re_encryption_has_its_own_algorithm(kms: Any, key: str) -> None:
    pair = kms.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["KeyId"]
    rsa = "RSAES_OAEP_SHA_256"
    blob = kms.encrypt(KeyId=pair, Plaintext=b"plain", EncryptionAlgorithm=rsa)["CiphertextBlob"]
    request = {"CiphertextBlob": blob, "SourceKeyId": pair, "DestinationKeyId": key}
    answer = kms.re_encrypt(**request, SourceEncryptionAlgorithm=rsa)
    assert (answer["SourceEncryptionAlgorithm"], answer["DestinationEncryptionAlgorithm"]) == (rsa, "SYMMETRIC_DEFAULT")
    with pytest.raises(kms.exceptions.InvalidKeyUsageException):
        kms.re_encrypt(**request, SourceEncryptionAlgorithm=rsa, DestinationEncryptionAlgorithm=rsa)


@pytest.mark.parametrize("operation", ["CreateGrant", "ListGrants", "RevokeGrant", "RetireGrant"])
def test_grants_of_a_key_that_is_not_there(kms: Any, operation: str) -> None:
    members: dict[str, dict[str, Any]] = {
        "CreateGrant": {"GranteePrincipal": GRANTEE, "Operations": ["Decrypt"]},
        "ListGrants": {},
        "RevokeGrant": {"GrantId": "1"},
        "RetireGrant": {"GrantId": "1"},
    }
    method = {"CreateGrant": kms.create_grant, "ListGrants": kms.list_grants}.get(
        operation, kms.revoke_grant if operation == "RevokeGrant" else kms.retire_grant
    )
    assert outcome(method, KeyId=NO_SUCH_KEY, **members[operation]) == "NotFoundException"


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("GenerateDataKeyPair", {"KeyPairSpec": "RSA_2048"}),
        ("GetParametersForImport", {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}),
        ("DeleteImportedKeyMaterial", {}),
        ("UpdatePrimaryRegion", {"PrimaryRegion": "eu-west-1"}),
    ],
)
def test_what_there_is_not_is_said_in_json(
    emulator_server: EmulatorServer, http_control: HttpControl, operation: str, members: dict[str, Any]
) -> None:
    (key_id,) = http_control.create_keys(1)
    status, answer = post(emulator_server.url, operation, json.dumps({"KeyId": key_id, **members}))
    assert (status, answer) == (
        400,
        {"__type": "UnknownOperationException", "message": f"The emulator does not have {operation}."},
    )


def test_a_failure_of_the_emulator_is_said_in_json(
    kms: Any, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("moto.kms.models.KmsBackend.list_resource_tags", lambda *_: 1 / 0)
    with pytest.raises(ClientError) as error:
        kms.list_resource_tags(KeyId=key)
    assert error.value.response["Error"] == {
        "Code": "InternalFailure",
        "Message": "The emulator failed at ListResourceTags: ZeroDivisionError: division by zero",
    }
    assert "Traceback" in capsys.readouterr().err


def test_nulls_are_as_if_they_were_not_there(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    (key_id,) = http_control.create_keys(1)
    request = {"KeyId": key_id, "Plaintext": "cGxhaW4=", "EncryptionContext": None, "GrantTokens": None, "DryRun": None}
    status, answer = post(emulator_server.url, "Encrypt", json.dumps(request))
    assert status == 200
    body = json.dumps({"CiphertextBlob": answer["CiphertextBlob"], "EncryptionContext": None})
    assert post(emulator_server.url, "Decrypt", body)[1]["Plaintext"] == "cGxhaW4="


def test_a_region_that_there_is_not(emulator_server: EmulatorServer) -> None:
    request = urllib.request.Request(  # noqa: S310 (of this test's own server)
        emulator_server.url,
        data=b"{}",
        headers={
            "X-Amz-Target": "TrentService.ListKeys",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-nowhere-1/kms/aws4_request, Signature=0",
        },
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)  # noqa: S310
    assert error.value.code == 400
    assert json.load(error.value) == {
        "__type": "ValidationException",
        "message": "There is no Region 'eu-nowhere-1'; a Region is such as us-east-1.",
    }


@pytest.mark.parametrize("store_type", ["AWS_CLOUDHSM", EXTERNAL])
def test_a_made_up_store_is_healthy(kms: Any, control: Control, store_type: str) -> None:
    store_id = control.create_store(custom_key_store_type=store_type)
    (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
    control.set_rule("clusters_must_exist", True)
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    control.advance(10)
    origin = {"Origin": store_type, **({"XksKeyId": "one"} if store_type == EXTERNAL else {})}
    key = kms.create_key(CustomKeyStoreId=store_id, **origin)["KeyMetadata"]
    assert key["Enabled"]
    if store_type != EXTERNAL:
        hsms = boto3.client("cloudhsmv2", region_name="us-east-1")
        found = hsms.describe_clusters(Filters={"clusterIds": [store["CloudHsmClusterId"]]})["Clusters"]
        assert [(cluster["State"], len(cluster["Hsms"])) for cluster in found] == [("ACTIVE", 2)]


def test_a_made_up_store_may_have_a_cluster_that_is_not_there(kms: Any, control: Control) -> None:
    control.create_store(parameters={"CloudHsmClusterId": "cluster-abcdefghijk"})
    hsms = boto3.client("cloudhsmv2", region_name="us-east-1")
    assert hsms.describe_clusters()["Clusters"] == []


def test_time_that_stands_still_elsewhere(control: Control) -> None:
    control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    client = boto3.client("kms", region_name="us-east-1")
    with freeze_time("2015-01-01 12:00:00"):
        store_id = control.create_store()
        client.connect_custom_key_store(CustomKeyStoreId=store_id)
        made = client.create_key(CustomKeyStoreId=store_id, Origin="AWS_CLOUDHSM")["KeyMetadata"]
        assert made["CreationDate"].isoformat().startswith("2015-01-01T")
        due = client.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=7)["DeletionDate"]
        assert due.isoformat().startswith("2015-01-08T")
    assert client.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert [key["KeyId"] for key in client.list_keys()["Keys"]] == [made["KeyId"]]
    control.advance(7 * 86400)
    assert outcome(client.describe_key, KeyId=made["KeyId"]) == "NotFoundException"


def test_a_connect_ends_while_time_stands_still(control: Control) -> None:
    client = boto3.client("kms", region_name="us-east-1")
    control.set_transitions(connect_seconds=5, disconnect_seconds=5)
    store_id = control.create_store()
    with freeze_time("2015-01-01 12:00:00"):
        client.connect_custom_key_store(CustomKeyStoreId=store_id)
        control.advance(5)
        (store,) = client.describe_custom_key_stores()["CustomKeyStores"]
        assert store["ConnectionState"] == "CONNECTED"
