# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS keys in custom key stores: how they are made, what they look like, when they were used, and many of them."""

from __future__ import annotations

import datetime
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError
from moto.kms.utils import generate_private_key

from kms_emulator import Control
from tests.sdk import needs_last_usage

SYMMETRIC = "SYMMETRIC_DEFAULT"


def refusal(kms: Any, **members: Any) -> str:
    with pytest.raises(ClientError) as error:
        kms.create_key(**members)
    return str(error.value.response["Error"]["Code"])


@pytest.fixture
def hsm(control: Control) -> str:
    return control.create_store(connection_state="CONNECTED")


@pytest.fixture
def external(control: Control) -> str:
    return control.create_store(
        custom_key_store_type="EXTERNAL_KEY_STORE",
        connection_state="CONNECTED",
        parameters={"XksProxyUriEndpoint": "https://xks.example.com"},
    )


def test_a_key_in_a_cloudhsm_store(kms: Any, hsm: str) -> None:
    made = kms.create_key(CustomKeyStoreId=hsm, Origin="AWS_CLOUDHSM")["KeyMetadata"]
    (store,) = kms.describe_custom_key_stores()["CustomKeyStores"]
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"] == made
    assert made["CustomKeyStoreId"] == hsm
    assert made["CloudHsmClusterId"] == store["CloudHsmClusterId"]
    assert (made["Origin"], made["KeyState"], made["Enabled"]) == ("AWS_CLOUDHSM", "Enabled", True)
    assert "XksKeyConfiguration" not in made


def test_a_key_in_an_external_store(kms: Any, control: Control, external: str) -> None:
    request = {"CustomKeyStoreId": external, "Origin": "EXTERNAL_KEY_STORE"}
    made = kms.create_key(**request, XksKeyId="one")["KeyMetadata"]
    assert (made["Origin"], made["XksKeyConfiguration"]) == ("EXTERNAL_KEY_STORE", {"Id": "one"})
    assert "CloudHsmClusterId" not in made
    assert refusal(kms, **request, XksKeyId="one") == "XksKeyAlreadyInUseException"
    control.set_proxy("https://xks.example.com", external_keys=["one", "two"])
    assert refusal(kms, **request, XksKeyId="three") == "XksKeyNotFoundException"
    kms.create_key(**request, XksKeyId="two")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "ValidationException"),
        ({"Origin": "EXTERNAL_KEY_STORE", "XksKeyId": "one"}, "ValidationException"),
        ({"Origin": "AWS_CLOUDHSM", "XksKeyId": "one"}, "ValidationException"),
        ({"Origin": "AWS_CLOUDHSM", "KeySpec": "RSA_2048"}, "UnsupportedOperationException"),
        ({"Origin": "AWS_CLOUDHSM", "KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException"),
        ({"Origin": "AWS_CLOUDHSM", "MultiRegion": True}, "UnsupportedOperationException"),
    ],
)
def test_keys_that_do_not_fit_a_store(kms: Any, hsm: str, members: dict[str, Any], expected: str) -> None:
    assert refusal(kms, CustomKeyStoreId=hsm, **members) == expected
    assert kms.list_keys()["Keys"] == []


def test_keys_that_need_a_store(kms: Any, control: Control) -> None:
    assert refusal(kms, Origin="AWS_CLOUDHSM") == "ValidationException"
    assert refusal(kms, XksKeyId="one") == "ValidationException"
    assert refusal(kms, CustomKeyStoreId="cks-0", Origin="AWS_CLOUDHSM") == "CustomKeyStoreNotFoundException"
    store_id = control.create_store()
    assert refusal(kms, CustomKeyStoreId=store_id, Origin="AWS_CLOUDHSM") == "CustomKeyStoreInvalidStateException"


@needs_last_usage
def test_last_usage(kms: Any, control: Control, hsm: str) -> None:
    source, target = control.create_keys(2, custom_key_store_id=hsm)
    made_at = kms.describe_key(KeyId=source)["KeyMetadata"]["CreationDate"]
    unused = kms.get_key_last_usage(KeyId=source)
    unused.pop("ResponseMetadata")
    assert unused == {
        "KeyId": source,
        "KeyLastUsage": {},
        "TrackingStartDate": made_at,
        "KeyCreationDate": made_at,
    }
    control.advance(60)
    blob = kms.encrypt(KeyId=source, Plaintext=b"plain")["CiphertextBlob"]
    answer = kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=target)
    for key_id in (source, target):
        arn = kms.describe_key(KeyId=key_id)["KeyMetadata"]["Arn"]
        last = kms.get_key_last_usage(KeyId=arn)["KeyLastUsage"]
        assert last["Operation"] == "ReEncrypt"
        assert last["Timestamp"] - made_at == datetime.timedelta(seconds=60)
        assert last["KmsRequestId"] == answer["ResponseMetadata"]["RequestId"]
        assert last["CloudTrailEventId"]
    with pytest.raises(ClientError, match="NotFoundException"):
        kms.get_key_last_usage(KeyId="alias/any")


@needs_last_usage
def test_usage_before_tracking_began(kms: Any, control: Control) -> None:
    (key_id,) = control.create_keys(1)
    kms.encrypt(KeyId=key_id, Plaintext=b"plain")
    control.advance(60)
    control.start_usage_tracking()
    answer = kms.get_key_last_usage(KeyId=key_id)
    assert answer["KeyLastUsage"] == {}
    assert answer["TrackingStartDate"] - answer["KeyCreationDate"] == datetime.timedelta(seconds=60)


@needs_last_usage
def test_a_refused_use_is_none(kms: Any, control: Control) -> None:
    (key_id,) = control.create_keys(1)
    kms.disable_key(KeyId=key_id)
    with pytest.raises(ClientError, match="DisabledException"):
        kms.encrypt(KeyId=key_id, Plaintext=b"plain")
    assert kms.get_key_last_usage(KeyId=key_id)["KeyLastUsage"] == {}
    assert control.requests()[1]["outcome"] == "DisabledException"


def test_ten_thousand_keys(kms: Any, control: Control, external: str) -> None:
    ids = control.create_keys(10_000, custom_key_store_id=external)
    pages = list(kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1000}))
    assert [len(page["Keys"]) for page in pages] == [1000] * 10
    assert sorted(key["KeyId"] for page in pages for key in page["Keys"]) == sorted(ids)
    key = kms.describe_key(KeyId=ids[-1])["KeyMetadata"]
    assert key["XksKeyConfiguration"] == {"Id": f"external-{ids[-1]}"}
    assert key["KeySpec"] == SYMMETRIC
    assert len(kms.list_keys()["Keys"]) == 100


def test_a_private_key_is_generated_when_a_key_first_signs(kms: Any) -> None:
    with mock.patch("kms_emulator.private_keys.generate_private_key", wraps=generate_private_key) as generate:
        kms.create_key()
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        generate.assert_not_called()
        signing = {"KeyId": key, "Message": b"message", "SigningAlgorithm": "ECDSA_SHA_256"}
        signature = kms.sign(**signing)["Signature"]
        assert kms.verify(**signing, Signature=signature)["SignatureValid"] is True
        assert kms.get_public_key(KeyId=key)["PublicKey"] == kms.get_public_key(KeyId=key)["PublicKey"]
        generate.assert_called_once_with("ECC_NIST_P256")
