# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that nobody here wrote, through stores of both types and keys in them: what each makes of the answers and errors."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from dev.environment import BIN
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.client import aws_variables
from tests.conformance.clients.calling import FOLDER
from tests.conformance.clients.calling import Cli
from tests.conformance.clients.calling import Client
from tests.conformance.clients.calling import Refusal
from tests.conformance.clients.calling import boto
from tests.conformance.clients.calling import client_environment
from tests.conformance.clients.calling import javascript
from tests.conformance.clients.calling import node_modules
from tests.sdk import knows
from tests.unit.emulator.stores import external
from tests.unit.emulator.stores import private

OLDEST_SDK = Path(sys.prefix) / "oldest-sdk"
OLDEST_VERSION = "1.34.0"

CLOUDHSM_STORE = "AWS_CLOUDHSM"
EXTERNAL_STORE = "EXTERNAL_KEY_STORE"
PLAINTEXT = bytes(range(256))
CONTEXT = {"purpose": "test"}
ALGORITHM = "SYMMETRIC_DEFAULT"
ANOTHER_KEY = "another key"
"""Stands for its id."""
NO_KEY = "00000000-0000-4000-8000-000000000000"

Members = dict[str, Any]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("aws", marks=pytest.mark.long),  # a process for each call
        "boto3",
        "oldest boto3",
        "javascript",
    ],
)
def client(
    request: pytest.FixtureRequest, emulator_server: EmulatorServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """Each client of KMS, with its own defaults."""
    url = emulator_server.url
    makers: dict[str, Callable[[], Client]] = {
        "aws": lambda: Cli(url, tmp_path_factory.mktemp("aws")),
        "boto3": lambda: boto(url),
        "oldest boto3": lambda: boto(url, packages=OLDEST_SDK),
        "javascript": lambda: javascript(url),
    }
    made = makers[request.param]()
    yield made
    made.close()


@pytest.fixture(params=[CLOUDHSM_STORE, EXTERNAL_STORE])
def kind(request: pytest.FixtureRequest) -> str:
    """Each type of store, which is also the origin of the keys in it."""
    return str(request.param)


@pytest.fixture
def steering(http_control: HttpControl) -> HttpControl:
    """The emulator, with a clock that each request moves by a second, and transitions of three."""
    http_control.freeze_clock(seconds_per_request=1)
    http_control.set_transitions(connect_seconds=3, disconnect_seconds=3)
    return http_control


def refusal(client: Client, operation: str, **members: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        client.call(operation, **members)
    return caught.value


def check(client: Client, error: Refusal, *, code: str, message: str, in_model: bool = True) -> None:
    """Assert what a client made of an error. In model: does botocore's and Smithy's model of KMS list it?"""
    assert (error.code, error.message) == (code, message)
    if client.own_class is not None:
        assert error.kind == (code if in_model else client.own_class)
        assert error.status == 400
        assert error.request_id


def store_request(kind: str) -> Members:
    """A request that creates a store of a type."""
    if kind == EXTERNAL_STORE:
        return private()
    return {
        "CustomKeyStoreName": "hsm",
        "CustomKeyStoreType": CLOUDHSM_STORE,
        "CloudHsmClusterId": "cluster-abcdefghijk",
        "TrustAnchorCertificate": "certificate",
        "KeyStorePassword": "kmsuser-password",
    }


def shown(request: Members) -> Members:
    """What DescribeCustomKeyStores tells of a store that this request created, but for its id, date and state."""
    if request["CustomKeyStoreType"] == CLOUDHSM_STORE:
        return {name: value for name, value in request.items() if name != "KeyStorePassword"}
    return {
        "CustomKeyStoreName": request["CustomKeyStoreName"],
        "CustomKeyStoreType": EXTERNAL_STORE,
        "XksProxyConfiguration": {
            "Connectivity": request["XksProxyConnectivity"],
            "AccessKeyId": request["XksProxyAuthenticationCredential"]["AccessKeyId"],
            "UriEndpoint": request["XksProxyUriEndpoint"],
            "UriPath": request["XksProxyUriPath"],
            "VpcEndpointServiceName": request["XksProxyVpcEndpointServiceName"],
        },
    }


def is_near(date: Any, *, days: int = 0) -> bool:
    """Is it a date with a time zone, about so many days from now?"""
    assert isinstance(date, datetime.datetime)
    from_now = date - datetime.datetime.now(datetime.timezone.utc)
    return abs(from_now - datetime.timedelta(days=days)) < datetime.timedelta(minutes=5)


def described(client: Client, store_id: str) -> Members:
    (store,) = client.call("DescribeCustomKeyStores", CustomKeyStoreId=store_id)["CustomKeyStores"]
    assert isinstance(store, dict)
    return store


def states_until(client: Client, store_id: str, wanted: str) -> set[str]:
    """The connection states that are seen before a wanted one."""
    seen: set[str] = set()
    for _turn in range(10):
        state = described(client, store_id)["ConnectionState"]
        if state == wanted:
            return seen
        seen.add(state)
    raise AssertionError(f"{store_id} is not {wanted} after {seen}.")


def test_the_versions_of_the_clients(emulator_server: EmulatorServer) -> None:
    pinned = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["dependencies"]["@aws-sdk/client-kms"]
    oldest = boto(emulator_server.url, packages=OLDEST_SDK)
    oldest.close()
    assert oldest.version == OLDEST_VERSION
    newest = boto(emulator_server.url)
    newest.close()
    assert newest.version == boto3.__version__
    script = javascript(emulator_server.url)
    script.close()
    assert script.version == pinned


def test_the_life_of_a_store(client: Client, steering: HttpControl, kind: str) -> None:
    request = store_request(kind)
    made = client.call("CreateCustomKeyStore", **request)
    store_id = made["CustomKeyStoreId"]
    assert made == {"CustomKeyStoreId": store_id}
    store = described(client, store_id)
    assert is_near(store.pop("CreationDate"))
    store.get("XksProxyConfiguration", {}).pop("VpcEndpointServiceOwner", None)  # which the oldest does not know
    assert store == {**shown(request), "CustomKeyStoreId": store_id, "ConnectionState": "DISCONNECTED"}
    assert client.call("ConnectCustomKeyStore", CustomKeyStoreId=store_id) == {}
    assert states_until(client, store_id, "CONNECTED") == {"CONNECTING"}
    assert client.call("UpdateCustomKeyStore", CustomKeyStoreId=store_id, NewCustomKeyStoreName="renamed") == {}
    assert described(client, store_id)["CustomKeyStoreName"] == "renamed"
    assert client.call("DisconnectCustomKeyStore", CustomKeyStoreId=store_id) == {}
    assert states_until(client, store_id, "DISCONNECTED") == {"DISCONNECTING"}
    assert client.call("DeleteCustomKeyStore", CustomKeyStoreId=store_id) == {}
    assert client.call("DescribeCustomKeyStores")["CustomKeyStores"] == []
    assert {record["outcome"] for record in steering.requests()} == {"ok"}


@pytest.fixture
def store_id(steering: HttpControl, kind: str) -> str:
    """A store of that type, connected."""
    parameters = {name: value for name, value in store_request(kind).items() if name != "TrustAnchorCertificate"}
    return steering.create_store(custom_key_store_type=kind, connection_state="CONNECTED", parameters=parameters)


def key_request(store_id: str, kind: str) -> Members:
    """A request that creates a key in a store."""
    which = {"CustomKeyStoreId": store_id, "Origin": kind, "Description": "by a client"}
    return which if kind == CLOUDHSM_STORE else {**which, "XksKeyId": "external-key"}


def test_a_key_is_created_and_described(client: Client, store_id: str, kind: str) -> None:
    key = client.call("CreateKey", **key_request(store_id, kind))["KeyMetadata"]
    assert client.call("CreateAlias", AliasName="alias/by-a-client", TargetKeyId=key["KeyId"]) == {}
    assert client.call("DescribeKey", KeyId="alias/by-a-client") == {"KeyMetadata": key}
    assert is_near(key.pop("CreationDate"))
    behind = (
        {"CloudHsmClusterId": "cluster-abcdefghijk"}
        if kind == CLOUDHSM_STORE
        else {"XksKeyConfiguration": {"Id": "external-key"}}
    )
    assert key == {
        "AWSAccountId": "123456789012",
        "KeyId": key["KeyId"],
        "Arn": f"arn:aws:kms:us-east-1:123456789012:key/{key['KeyId']}",
        "Enabled": True,
        "Description": "by a client",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": kind,
        "CustomKeyStoreId": store_id,
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": ALGORITHM,
        "KeySpec": ALGORITHM,
        "EncryptionAlgorithms": [ALGORITHM],
        "MultiRegion": False,
        **behind,
    }


def test_a_key_encrypts(client: Client, store_id: str, kind: str) -> None:
    key = client.call("CreateKey", **key_request(store_id, kind))["KeyMetadata"]
    client.call("CreateAlias", AliasName="alias/by-a-client", TargetKeyId=key["KeyId"])
    made = client.call("Encrypt", KeyId="alias/by-a-client", Plaintext=PLAINTEXT, EncryptionContext=CONTEXT)
    ciphertext = made.pop("CiphertextBlob")
    assert isinstance(ciphertext, bytes)
    assert PLAINTEXT not in ciphertext
    assert made == {"KeyId": key["Arn"], "EncryptionAlgorithm": ALGORITHM}
    with_context = {"CiphertextBlob": ciphertext, "EncryptionContext": CONTEXT}
    assert client.call("Decrypt", **with_context) == {
        "KeyId": key["Arn"],
        "Plaintext": PLAINTEXT,
        "EncryptionAlgorithm": ALGORITHM,
    }
    data_key = client.call("GenerateDataKey", KeyId=key["Arn"], KeySpec="AES_256")
    assert data_key["KeyId"] == key["Arn"]
    assert len(data_key["Plaintext"]) == 32
    assert client.call("Decrypt", CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"] == data_key["Plaintext"]


@pytest.mark.parametrize(
    ("code", "operation", "change"),
    [
        ("InvalidCiphertextException", "Decrypt", {"EncryptionContext": {}}),
        ("InvalidCiphertextException", "ReEncrypt", {"SourceEncryptionContext": {}}),
        ("IncorrectKeyException", "Decrypt", {"KeyId": ANOTHER_KEY}),
        ("IncorrectKeyException", "ReEncrypt", {"SourceKeyId": ANOTHER_KEY}),
        ("InvalidKeyUsageException", "Decrypt", {"EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}),
        ("InvalidKeyUsageException", "Encrypt", {"EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}),
    ],
)
def test_a_ciphertext_and_what_does_not_fit_it(
    client: Client, steering: HttpControl, code: str, operation: str, change: Members
) -> None:
    store_id = steering.create_store(connection_state="CONNECTED")
    key_id, another = steering.create_keys(2, custom_key_store_id=store_id)
    ciphertext = client.call("Encrypt", KeyId=key_id, Plaintext=PLAINTEXT, EncryptionContext=CONTEXT)["CiphertextBlob"]
    members: dict[str, Members] = {
        "Encrypt": {"KeyId": key_id, "Plaintext": PLAINTEXT},
        "Decrypt": {"KeyId": key_id, "CiphertextBlob": ciphertext, "EncryptionContext": CONTEXT},
        "ReEncrypt": {
            "SourceKeyId": key_id,
            "DestinationKeyId": another,
            "CiphertextBlob": ciphertext,
            "SourceEncryptionContext": CONTEXT,
        },
    }
    changed = {name: another if value == ANOTHER_KEY else value for name, value in change.items()}
    error = refusal(client, operation, **{**members[operation], **changed})
    check(client, error, code=code, message=error.message)
    assert [record["outcome"] for record in steering.requests()] == ["ok", code]


def test_a_ciphertext_moves_to_another_key(client: Client, steering: HttpControl, store_id: str, kind: str) -> None:
    key = client.call("CreateKey", **key_request(store_id, kind))["KeyMetadata"]
    ordinary = client.call("CreateKey")["KeyMetadata"]
    ciphertext = client.call("Encrypt", KeyId=key["KeyId"], Plaintext=PLAINTEXT)["CiphertextBlob"]
    moved = client.call(
        "ReEncrypt",
        CiphertextBlob=ciphertext,
        DestinationKeyId=ordinary["KeyId"],
        DestinationEncryptionContext=CONTEXT,
    )
    with_context = {"CiphertextBlob": moved.pop("CiphertextBlob"), "EncryptionContext": CONTEXT}
    moved.pop("DestinationKeyMaterialId", None)  # of the ordinary key, which newer clients know
    assert moved == {
        "SourceKeyId": key["Arn"],
        "KeyId": ordinary["Arn"],
        "SourceEncryptionAlgorithm": ALGORITHM,
        "DestinationEncryptionAlgorithm": ALGORITHM,
    }
    plain = client.call("Decrypt", **with_context)
    assert (plain["KeyId"], plain["Plaintext"]) == (ordinary["Arn"], PLAINTEXT)


def test_a_key_of_a_store_that_is_disconnected(client: Client, steering: HttpControl, store_id: str, kind: str) -> None:
    key = client.call("CreateKey", **key_request(store_id, kind))["KeyMetadata"]
    which = {"KeyId": key["KeyId"]}

    def state() -> tuple[str, bool]:
        seen = client.call("DescribeKey", **which)["KeyMetadata"]
        return seen["KeyState"], seen["Enabled"]

    client.call("DisconnectCustomKeyStore", CustomKeyStoreId=store_id)
    states_until(client, store_id, "DISCONNECTED")
    assert state() == ("Unavailable", False)
    check(
        client,
        refusal(client, "Encrypt", **which, Plaintext=PLAINTEXT),
        code="KMSInvalidStateException",
        message=f"{key['Arn']} is unavailable.",
    )
    scheduled = client.call("ScheduleKeyDeletion", **which, PendingWindowInDays=7)
    due = scheduled.pop("DeletionDate")
    assert is_near(due, days=7)
    assert client.call("DescribeKey", **which)["KeyMetadata"]["DeletionDate"] == due
    assert scheduled == {"KeyId": key["Arn"], "KeyState": "PendingDeletion", "PendingWindowInDays": 7}
    assert state() == ("PendingDeletion", False)
    check(
        client,
        refusal(client, "EnableKey", **which),
        code="KMSInvalidStateException",
        message=f"{key['Arn']} is pending deletion.",
    )
    assert client.call("CancelKeyDeletion", **which) == {"KeyId": key["Arn"]}
    assert state() == ("Unavailable", False)
    client.call("ConnectCustomKeyStore", CustomKeyStoreId=store_id)
    states_until(client, store_id, "CONNECTED")
    assert state() == ("Disabled", False)
    assert client.call("EnableKey", **which) == {}
    assert state() == ("Enabled", True)


@pytest.mark.parametrize(
    ("operation", "members"),
    [("EnableKeyRotation", {}), ("GenerateDataKeyPair", {"KeyPairSpec": "RSA_2048"})],
)
def test_what_no_key_in_a_store_does(
    client: Client, steering: HttpControl, store_id: str, kind: str, operation: str, members: Members
) -> None:
    (key_id,) = steering.create_keys(1, custom_key_store_id=store_id)
    error = refusal(client, operation, KeyId=key_id, **members)
    check(
        client,
        error,
        code="UnsupportedOperationException",
        message=f"arn:aws:kms:us-east-1:123456789012:key/{key_id} origin is {kind}"
        " which is not valid for this operation.",
    )
    assert [record["outcome"] for record in steering.requests()] == [error.code]


REFUSALS: dict[str, tuple[str, Members, str]] = {
    "CustomKeyStoreNotFoundException": (
        "ConnectCustomKeyStore",
        {"CustomKeyStoreId": "cks-0"},
        "There is no such custom key store in this account and Region.",
    ),
    "CustomKeyStoreNameInUseException": (
        "CreateCustomKeyStore",
        external(),
        "Another custom key store of this account and Region has this name.",
    ),
    "NotFoundException": (
        "DescribeKey",
        {"KeyId": NO_KEY},
        f"Key 'arn:aws:kms:us-east-1:123456789012:key/{NO_KEY}' does not exist",
    ),
    "CustomKeyStoreInvalidStateException": (
        "CreateKey",
        {"Origin": CLOUDHSM_STORE},
        "A custom key store that is DISCONNECTED cannot be given a KMS key; it must be CONNECTED.",
    ),
    "CustomKeyStoreHasCMKsException": ("DeleteCustomKeyStore", {}, "The custom key store still holds KMS keys."),
    "ValidationException": (
        "DisconnectCustomKeyStore",
        {"CustomKeyStoreId": "c" * 65},
        f"1 validation error detected: Value '{'c' * 65}' at 'customKeyStoreId' failed to satisfy constraint:"
        " Member must have length less than or equal to 64",
    ),
}
"""Errors, each with a request that meets it while there is a disconnected store, named as external() is, with a key in it."""


@pytest.mark.parametrize("code", REFUSALS)
def test_an_error_as_the_client_shows_it(client: Client, steering: HttpControl, code: str) -> None:
    operation, members, message = REFUSALS[code]
    store_id = steering.create_store(custom_key_store_name=external()["CustomKeyStoreName"])
    steering.create_keys(1, custom_key_store_id=store_id)
    if operation in ("CreateKey", "DeleteCustomKeyStore"):
        members = {**members, "CustomKeyStoreId": store_id}
    error = refusal(client, operation, **members)
    check(client, error, code=code, message=message, in_model=code != "ValidationException")
    assert [(record["operation"], record["outcome"]) for record in steering.requests()] == [(operation, code)]


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("Encapsulate", {"EncapsulationAlgorithm": "ML_KEM"}),
        ("GenerateDataKeyPair", {"KeyPairSpec": "RSA_2048"}),
        ("GetParametersForImport", {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}),
        ("UpdatePrimaryRegion", {"PrimaryRegion": "eu-west-1"}),
    ],
)
def test_an_operation_that_the_emulator_lacks(
    client: Client, steering: HttpControl, operation: str, members: Members
) -> None:
    if not knows(operation):
        pytest.skip(f"this botocore, by which the emulator judges requests, does not know {operation}")
    (key_id,) = steering.create_keys(1)
    error = refusal(client, operation, KeyId=key_id, **members)
    check(
        client,
        error,
        code="UnknownOperationException",
        message=f"The emulator does not have {operation}.",
        in_model=False,
    )
    assert [(record["operation"], record["outcome"]) for record in steering.requests()] == [(operation, error.code)]


@pytest.mark.parametrize("fault", ["ThrottlingException", "KMSInternalException", "dropped"])
def test_what_a_client_does_retry(client: Client, steering: HttpControl, fault: str) -> None:
    store_id = steering.create_store()
    if fault == "dropped":
        steering.add_fault("DescribeCustomKeyStores", drop=True)
    else:
        steering.add_fault("DescribeCustomKeyStores", error=fault)
    assert described(client, store_id)["ConnectionState"] == "DISCONNECTED"
    assert [record["outcome"] for record in steering.requests()] == [fault, "ok"]


@pytest.mark.parametrize("name", ["aws", "boto3", "oldest boto3", "javascript"])
def test_the_variables_are_all_that_a_client_needs(
    emulator_server: EmulatorServer, http_control: HttpControl, name: str
) -> None:
    own = client_environment(emulator_server.url)
    # No setting of AWS but these.
    environment = {
        **{variable: value for variable, value in own.items() if not variable.startswith("AWS_")},
        **aws_variables(emulator_server.url),
    }
    python = [sys.executable, "-c", "import boto3; boto3.client('kms').list_keys()"]
    commands = {
        "aws": [str(BIN / "aws"), "kms", "list-keys"],
        "boto3": python,
        "oldest boto3": python,
        "javascript": ["node", str(FOLDER / "kms.mjs")],
    }
    if name == "oldest boto3":
        environment["PYTHONPATH"] = str(OLDEST_SDK)
    if name == "javascript":
        environment["NODE_PATH"] = str(node_modules())
    done = subprocess.run(
        commands[name],
        env=environment,
        input='{"operation": "ListKeys", "members": {}}\n',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (record,) = http_control.requests()
    assert (record["operation"], record["region"]) == ("ListKeys", "us-east-1")
