# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table "Key states of AWS KMS keys" of the KMS developer guide, cell by cell, for keys in both types of store.

Where the table leaves it open which of two reasons wins, or has no row, the API reference decides; those rows have a comment.
A cell says how the operation ends, and after it the key is looked at: a refusal leaves its state alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.sdk import knows
from tests.unit.emulator.stores import post

STATES = ("Enabled", "Disabled", "PendingDeletion", "Unavailable")
TYPES = ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")

TABLE = """
    CancelKeyDeletion                    not-pending  not-pending  ok       not-pending
    CreateAlias                          ok           ok           pending  ok
    CreateGrant                          ok           disabled     pending  ok
    Decrypt                              ok           disabled     pending  unavailable
    DeleteAlias                          ok           ok           ok       ok
    DeleteImportedKeyMaterial            origin       origin       origin   origin
    DeriveSharedSecret                   usage        disabled     pending  unavailable
    DescribeKey                          ok           ok           ok       ok
    DisableKey                           ok           ok           pending  ok
    DisableKeyRotation                   origin       origin       origin   origin
    EnableKey                            ok           ok           pending  ok
    EnableKeyRotation                    origin       origin       origin   origin
    Encrypt                              ok           disabled     pending  unavailable
    GenerateDataKey                      ok           disabled     pending  unavailable
    GenerateDataKeyPair                  origin       disabled     pending  unavailable
    GenerateDataKeyPairWithoutPlaintext  origin       disabled     pending  unavailable
    GenerateDataKeyWithoutPlaintext      ok           disabled     pending  unavailable
    GenerateMac                          usage        disabled     pending  unavailable
    GetKeyLastUsage                      ok           ok           ok       ok
    GetKeyPolicy                         ok           ok           ok       ok
    GetKeyRotationStatus                 origin       origin       origin   origin
    GetParametersForImport               origin       origin       origin   origin
    GetPublicKey                         spec         disabled     pending  unavailable
    ImportKeyMaterial                    origin       origin       origin   origin
    ListAliases                          ok           ok           ok       ok
    ListGrants                           ok           ok           ok       ok
    ListKeyPolicies                      ok           ok           ok       ok
    ListKeyRotations                     origin       origin       origin   origin
    ListResourceTags                     ok           ok           ok       ok
    PutKeyPolicy                         ok           ok           ok       ok
    ReEncrypt-from                       ok           disabled     pending  unavailable
    ReEncrypt-to                         ok           disabled     pending  unavailable
    ReplicateKey                         region       region       region   region
    RetireGrant                          ok           ok           ok       ok
    RevokeGrant                          ok           ok           ok       ok
    RotateKeyOnDemand                    origin       origin       origin   origin
    ScheduleKeyDeletion                  ok           ok           pending  ok
    Sign                                 usage        disabled     pending  unavailable
    TagResource                          ok           ok           pending  ok
    UntagResource                        ok           ok           pending  ok
    UpdateAlias-from                     ok           ok           ok       ok
    UpdateAlias-to                       ok           ok           pending  ok
    UpdateKeyDescription                 ok           ok           pending  ok
    UpdatePrimaryRegion                  region       region       region   region
    Verify                               usage        disabled     pending  unavailable
    VerifyMac                            usage        disabled     pending  unavailable
"""
"""Rows: operations, in two where two keys take part; columns: STATES.

GenerateDataKeyPair: by the table usable, by the API reference not with a key in a custom key store. DeriveSharedSecret,
GetKeyLastUsage, ListKeyRotations, RotateKeyOnDemand: the edition of the table that was read has no row for them.
"""

ENDINGS: dict[str, tuple[str, str]] = {
    "ok": ("ok", ""),
    "disabled": ("DisabledException", "{arn} is disabled."),
    "pending": ("KMSInvalidStateException", "{arn} is pending deletion."),
    "not-pending": ("KMSInvalidStateException", "{arn} is not pending deletion."),
    "unavailable": ("KMSInvalidStateException", "{arn} is unavailable."),
    "origin": ("UnsupportedOperationException", "{arn} origin is {origin} which is not valid for this operation."),
    "usage": (
        "InvalidKeyUsageException",
        "{arn} key usage is ENCRYPT_DECRYPT which is not valid for {operation}.",
    ),
    "spec": (
        "UnsupportedOperationException",
        "{arn} key spec is SYMMETRIC_DEFAULT which is not valid for {operation}.",
    ),
    "region": ("UnsupportedOperationException", "{arn} is not a multi-Region primary key."),
}

AFTERWARDS = {
    ("CancelKeyDeletion", "PendingDeletion"): "Disabled",
    ("DisableKey", "Enabled"): "Disabled",
    ("EnableKey", "Disabled"): "Enabled",
    ("ScheduleKeyDeletion", "Enabled"): "PendingDeletion",
    ("ScheduleKeyDeletion", "Disabled"): "PendingDeletion",
    ("ScheduleKeyDeletion", "Unavailable"): "PendingDeletion",
}
"""The states after what succeeds, where they differ. EnableKey and DisableKey of an unavailable key show when it is back."""

ROWS = {line.split()[0]: dict(zip(STATES, line.split()[1:], strict=True)) for line in TABLE.strip().splitlines()}

BLOB = base64.b64encode(b"0123456789abcdef").decode()
SIGNING = {"Message": BLOB, "SigningAlgorithm": "RSASSA_PSS_SHA_256"}
PAIR = {"KeyPairSpec": "RSA_2048"}
MAC = {"Message": BLOB, "MacAlgorithm": "HMAC_SHA_256"}
IMPORT = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
GRANTEE = "arn:aws:iam::123456789012:role/user"


@dataclass(frozen=True)
class Scene:
    """A key in some state, what was made with it before, and another key, of no store, that is fine."""

    arn: str
    other: str
    ciphertext: str
    ciphertext_of_other: str
    grant_id: str


Members = dict[str, Any]

REQUESTS: dict[str, Callable[[Scene], Members]] = {
    "CreateAlias": lambda scene: {"AliasName": "alias/new", "TargetKeyId": scene.arn},
    "CreateGrant": lambda scene: {"KeyId": scene.arn, "GranteePrincipal": GRANTEE, "Operations": ["Decrypt"]},
    "Decrypt": lambda scene: {"CiphertextBlob": scene.ciphertext},
    "DeleteAlias": lambda scene: {"AliasName": "alias/old"},
    "DeriveSharedSecret": lambda scene: {"KeyId": scene.arn, "KeyAgreementAlgorithm": "ECDH", "PublicKey": BLOB},
    "Encrypt": lambda scene: {"KeyId": scene.arn, "Plaintext": BLOB},
    "GenerateDataKey": lambda scene: {"KeyId": scene.arn, "KeySpec": "AES_256"},
    "GenerateDataKeyPair": lambda scene: {"KeyId": scene.arn, **PAIR},
    "GenerateDataKeyPairWithoutPlaintext": lambda scene: {"KeyId": scene.arn, **PAIR},
    "GenerateDataKeyWithoutPlaintext": lambda scene: {"KeyId": scene.arn, "KeySpec": "AES_256"},
    "GenerateMac": lambda scene: {"KeyId": scene.arn, **MAC},
    "GetParametersForImport": lambda scene: {"KeyId": scene.arn, **IMPORT},
    "ImportKeyMaterial": lambda scene: {"KeyId": scene.arn, "ImportToken": BLOB, "EncryptedKeyMaterial": BLOB},
    "GetKeyPolicy": lambda scene: {"KeyId": scene.arn, "PolicyName": "default"},
    "PutKeyPolicy": lambda scene: {"KeyId": scene.arn, "PolicyName": "default", "Policy": '{"Statement": []}'},
    "ReEncrypt-from": lambda scene: {"CiphertextBlob": scene.ciphertext, "DestinationKeyId": scene.other},
    "ReEncrypt-to": lambda scene: {"CiphertextBlob": scene.ciphertext_of_other, "DestinationKeyId": scene.arn},
    "ReplicateKey": lambda scene: {"KeyId": scene.arn, "ReplicaRegion": "eu-west-1"},
    "RetireGrant": lambda scene: {"KeyId": scene.arn, "GrantId": scene.grant_id},
    "RevokeGrant": lambda scene: {"KeyId": scene.arn, "GrantId": scene.grant_id},
    "Sign": lambda scene: {"KeyId": scene.arn, **SIGNING},
    "TagResource": lambda scene: {"KeyId": scene.arn, "Tags": [{"TagKey": "new", "TagValue": "1"}]},
    "UntagResource": lambda scene: {"KeyId": scene.arn, "TagKeys": ["old"]},
    "UpdateAlias-from": lambda scene: {"AliasName": "alias/old", "TargetKeyId": scene.other},
    "UpdateAlias-to": lambda scene: {"AliasName": "alias/other", "TargetKeyId": scene.arn},
    "UpdateKeyDescription": lambda scene: {"KeyId": scene.arn, "Description": "new"},
    "UpdatePrimaryRegion": lambda scene: {"KeyId": scene.arn, "PrimaryRegion": "eu-west-1"},
    "Verify": lambda scene: {"KeyId": scene.arn, "Signature": BLOB, **SIGNING},
    "VerifyMac": lambda scene: {"KeyId": scene.arn, "Mac": BLOB, **MAC},
}
"""The members of each operation's request, where it needs more than KeyId."""


class Kms:
    """KMS over HTTP, without an SDK, as an old one lacks some of the operations."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, operation: str, **members: Any) -> tuple[str, str, Any]:
        """The error code or ok, the message or nothing, and the answer."""
        status, answer = post(self._url, operation, json.dumps(members))
        if status == 200:
            return "ok", "", answer
        return str(answer["__type"]), str(answer["message"]), answer

    def do(self, operation: str, **members: Any) -> Any:
        """The answer of what must succeed."""
        ending, message, answer = self.ask(operation, **members)
        assert ending == "ok", (operation, message)
        return answer


@pytest.fixture
def kms(emulator_server: EmulatorServer) -> Kms:
    return Kms(emulator_server.url)


def prepared(kms: Kms, arn: str, other: str) -> Scene:
    """What is made with a key while it is usable."""
    for number, (name, key) in enumerate((("alias/old", arn), ("alias/other", other))):
        kms.do("CreateAlias", AliasName=name, TargetKeyId=key)
        kms.do("TagResource", KeyId=key, Tags=[{"TagKey": "old", "TagValue": str(number)}])
    return Scene(
        arn=arn,
        other=other,
        ciphertext=kms.do("Encrypt", KeyId=arn, Plaintext=BLOB)["CiphertextBlob"],
        ciphertext_of_other=kms.do("Encrypt", KeyId=other, Plaintext=BLOB)["CiphertextBlob"],
        grant_id=kms.do("CreateGrant", KeyId=arn, GranteePrincipal=GRANTEE, Operations=["Decrypt"])["GrantId"],
    )


def put_into(kms: Kms, control: HttpControl, state: str, arn: str, store_id: str) -> None:
    if state == "Disabled":
        kms.do("DisableKey", KeyId=arn)
    elif state == "PendingDeletion":
        kms.do("ScheduleKeyDeletion", KeyId=arn)
    elif state == "Unavailable":
        control.set_connection_state(store_id, "DISCONNECTED")


@pytest.mark.parametrize("store_type", TYPES)
@pytest.mark.parametrize("row", ROWS)
def test_every_cell(kms: Kms, http_control: HttpControl, row: str, store_type: str) -> None:
    operation = row.split("-")[0]
    if not knows(operation):
        pytest.skip(f"this botocore does not know {operation}")
    expected, seen = {}, {}
    store_id = http_control.create_store(custom_key_store_type=store_type, connection_state="CONNECTED")
    keys = http_control.create_keys(len(STATES), custom_key_store_id=store_id)
    (other,) = http_control.create_keys(1)
    for state, key_id in zip(STATES, keys, strict=True):
        http_control.set_connection_state(store_id, "CONNECTED")
        arn = kms.do("DescribeKey", KeyId=key_id)["KeyMetadata"]["Arn"]
        scene = prepared(kms, arn, other)
        put_into(kms, http_control, state, arn, store_id)
        assert kms.do("DescribeKey", KeyId=arn)["KeyMetadata"]["KeyState"] == state
        code, text = ENDINGS[ROWS[row][state]]
        after = AFTERWARDS.get((operation, state), state) if code == "ok" else state
        expected[state] = (code, text.format(arn=arn, origin=store_type, operation=operation), after)
        members = REQUESTS[row](scene) if row in REQUESTS else {"KeyId": arn}
        ending, message, _answer = kms.ask(operation, **members)
        seen[state] = (ending, message, kms.do("DescribeKey", KeyId=arn)["KeyMetadata"]["KeyState"])
        for alias in kms.do("ListAliases")["Aliases"]:
            if not alias["AliasName"].startswith("alias/aws/"):
                kms.do("DeleteAlias", AliasName=alias["AliasName"])
    assert seen == expected


def test_the_table_has_every_operation_on_keys() -> None:
    assert len({row.split("-")[0] for row in ROWS}) == 44
    assert set(REQUESTS) <= set(ROWS)


@pytest.mark.parametrize("store_type", TYPES)
@pytest.mark.parametrize(("operation", "back"), [("DisableKey", "Disabled"), ("EnableKey", "Enabled")])
def test_a_change_of_an_unavailable_key_shows_when_it_is_back(
    kms: Kms, http_control: HttpControl, store_type: str, operation: str, back: str
) -> None:
    store_id = http_control.create_store(custom_key_store_type=store_type, connection_state="CONNECTED")
    (key_id,) = http_control.create_keys(1, custom_key_store_id=store_id)
    if operation == "EnableKey":
        kms.do("DisableKey", KeyId=key_id)
    http_control.set_connection_state(store_id, "DISCONNECTED")
    kms.do(operation, KeyId=key_id)
    assert kms.do("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "Unavailable"
    http_control.set_connection_state(store_id, "CONNECTED")
    assert kms.do("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == back


@pytest.mark.parametrize("store_type", TYPES)
def test_a_key_pending_deletion_stays_so_and_goes(kms: Kms, http_control: HttpControl, store_type: str) -> None:
    store_id = http_control.create_store(custom_key_store_type=store_type, connection_state="CONNECTED")
    (key_id,) = http_control.create_keys(1, custom_key_store_id=store_id)
    kms.do("ScheduleKeyDeletion", KeyId=key_id, PendingWindowInDays=7)
    for operation in ("EnableKey", "DisableKey"):
        assert kms.ask(operation, KeyId=key_id)[0] == "KMSInvalidStateException"
    for state in ("DISCONNECTED", "CONNECTED"):
        http_control.set_connection_state(store_id, state)
        assert kms.do("DescribeKey", KeyId=key_id)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    http_control.advance(7 * 86400)
    assert kms.ask("DescribeKey", KeyId=key_id)[0] == "NotFoundException"
