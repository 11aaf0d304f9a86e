# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What requests must look like, what answers look like, and what the store is after them."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.model import Shape

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.validation import failures
from kms_emulator.validation import kms_model
from tests.sdk import needs_last_usage
from tests.sdk import needs_owner
from tests.unit.emulator.stores import post

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
    "XksProxyUriPath": "/prefix/kms/xks/v1",
    "XksProxyAuthenticationCredential": {
        "AccessKeyId": "ABCDEFGHIJKLMNOPQRST",
        "RawSecretAccessKey": "raw+secret/access=key" * 3,
    },
}
SERVICE = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789"
VPC = {**EXTERNAL, "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE", "XksProxyVpcEndpointServiceName": SERVICE}


def without(request: dict[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name != member}


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def described(kms: Any, store_id: str) -> Any:
    (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
    return store


def test_a_cloudhsm_store_as_described(kms: Any) -> None:
    store_id = kms.create_custom_key_store(**CLOUDHSM)["CustomKeyStoreId"]
    store = described(kms, store_id)
    assert store.pop("CreationDate").tzinfo is not None
    assert store == {
        "CustomKeyStoreId": store_id,
        "CustomKeyStoreName": "hsm",
        "CustomKeyStoreType": "AWS_CLOUDHSM",
        "CloudHsmClusterId": "cluster-abcdefghijk",
        "TrustAnchorCertificate": "certificate",
        "ConnectionState": "DISCONNECTED",
    }
    assert len(store_id) == len("cks-1234567890abcdef0")


@needs_owner
def test_an_external_store_as_described_and_changed(kms: Any) -> None:
    store_id = kms.create_custom_key_store(**EXTERNAL)["CustomKeyStoreId"]
    store = described(kms, store_id)
    public = {
        "Connectivity": "PUBLIC_ENDPOINT",
        "AccessKeyId": "ABCDEFGHIJKLMNOPQRST",
        "UriEndpoint": "https://xks.example.com",
        "UriPath": "/prefix/kms/xks/v1",
    }
    assert store["XksProxyConfiguration"] == public
    assert not {"CloudHsmClusterId", "TrustAnchorCertificate", "ConnectionErrorCode"} & set(store)

    kms.update_custom_key_store(
        CustomKeyStoreId=store_id,
        XksProxyConnectivity="VPC_ENDPOINT_SERVICE",
        XksProxyUriEndpoint="https://private.example.com",
        XksProxyVpcEndpointServiceName=SERVICE,
    )
    assert described(kms, store_id)["XksProxyConfiguration"] == {
        **public,
        "Connectivity": "VPC_ENDPOINT_SERVICE",
        "UriEndpoint": "https://private.example.com",
        "VpcEndpointServiceName": SERVICE,
        "VpcEndpointServiceOwner": "123456789012",
    }
    kms.update_custom_key_store(CustomKeyStoreId=store_id, XksProxyVpcEndpointServiceOwner="210987654321")
    assert described(kms, store_id)["XksProxyConfiguration"]["VpcEndpointServiceOwner"] == "210987654321"
    kms.update_custom_key_store(
        CustomKeyStoreId=store_id,
        XksProxyConnectivity="PUBLIC_ENDPOINT",
        XksProxyUriEndpoint="https://xks.example.com",
    )
    assert described(kms, store_id)["XksProxyConfiguration"] == public


@pytest.mark.parametrize(
    "request_",
    [
        *(without(CLOUDHSM, member) for member in CLOUDHSM if member != "CustomKeyStoreName"),
        *(without(EXTERNAL, member) for member in EXTERNAL if member.startswith("Xks")),
        without(VPC, "XksProxyVpcEndpointServiceName"),
        {**EXTERNAL, "XksProxyVpcEndpointServiceName": SERVICE},
        {**EXTERNAL, "KeyStorePassword": "kmsuser-password"},
        {**CLOUDHSM, "XksProxyUriPath": "/kms/xks/v1"},
        {**CLOUDHSM, "KeyStorePassword": "p" * 33},
        {**CLOUDHSM, "CloudHsmClusterId": "cluster-not.a.cluster"},
        {**EXTERNAL, "XksProxyUriEndpoint": "http://no.tls.example.com"},
        {**CLOUDHSM, "CustomKeyStoreType": "ANOTHER_TYPE"},
    ],
)
def test_create_refuses(kms: Any, request_: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as error:
        kms.create_custom_key_store(**request_)
    assert code_of(error) == "ValidationException"
    assert kms.describe_custom_key_stores()["CustomKeyStores"] == []


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (CLOUDHSM, {}),
        (CLOUDHSM, {"XksProxyUriPath": "/kms/xks/v1"}),
        (EXTERNAL, {"CloudHsmClusterId": "cluster-abcdefghijk"}),
        (EXTERNAL, {"XksProxyVpcEndpointServiceName": SERVICE}),
        (EXTERNAL, {"XksProxyConnectivity": "VPC_ENDPOINT_SERVICE", "XksProxyVpcEndpointServiceName": SERVICE}),
        (EXTERNAL, {"XksProxyConnectivity": "VPC_ENDPOINT_SERVICE", "XksProxyUriEndpoint": "https://p.example.com"}),
        (VPC, {"XksProxyConnectivity": "PUBLIC_ENDPOINT", "XksProxyUriEndpoint": "https://xks.example.com"}),
    ],
)
def test_update_refuses(kms: Any, before: dict[str, Any], change: dict[str, Any]) -> None:
    store_id = kms.create_custom_key_store(**before)["CustomKeyStoreId"]
    with pytest.raises(ClientError) as error:
        kms.update_custom_key_store(CustomKeyStoreId=store_id, **change)
    assert code_of(error) == "ValidationException"


def test_names_are_unique(kms: Any, control: Control) -> None:
    kms.create_custom_key_store(**CLOUDHSM)
    other = control.create_store(custom_key_store_name="other")
    with pytest.raises(ClientError) as error:
        kms.create_custom_key_store(**{**CLOUDHSM, "CloudHsmClusterId": "cluster-anothercluster2"})
    assert code_of(error) == "CustomKeyStoreNameInUseException"
    with pytest.raises(ClientError) as error:
        kms.update_custom_key_store(CustomKeyStoreId=other, NewCustomKeyStoreName="hsm")
    assert code_of(error) == "CustomKeyStoreNameInUseException"
    kms.update_custom_key_store(CustomKeyStoreId=other, NewCustomKeyStoreName="other")


def test_accounts_and_regions_are_apart(kms: Any, control: Control) -> None:
    Control(region_name="eu-west-1").create_store()
    Control(account_id="210987654321").create_store()
    assert kms.describe_custom_key_stores()["CustomKeyStores"] == []


def test_id_or_name_but_not_both(kms: Any, control: Control) -> None:
    store_id = control.create_store(custom_key_store_name="one")
    control.create_store(custom_key_store_name="two")
    (store,) = kms.describe_custom_key_stores(CustomKeyStoreName="one")["CustomKeyStores"]
    assert store["CustomKeyStoreId"] == store_id
    with pytest.raises(ClientError) as error:
        kms.describe_custom_key_stores(CustomKeyStoreId=store_id, CustomKeyStoreName="one")
    assert code_of(error) == "ValidationException"
    with pytest.raises(ClientError) as error:
        kms.describe_custom_key_stores(CustomKeyStoreName="three")
    assert code_of(error) == "CustomKeyStoreNotFoundException"


def test_pages(kms: Any, control: Control) -> None:
    control.set_rule("custom_key_store_quota", 200)
    ids = set()
    for _turn in range(101):
        ids.add(control.create_store())
        control.advance(1)
    first = kms.describe_custom_key_stores()
    assert (len(first["CustomKeyStores"]), first["Truncated"]) == (100, True)
    last = kms.describe_custom_key_stores(Marker=first["NextMarker"])
    assert (len(last["CustomKeyStores"]), last["Truncated"], "NextMarker" in last) == (1, False, False)
    pages = list(kms.get_paginator("describe_custom_key_stores").paginate(PaginationConfig={"PageSize": 40}))
    assert [len(page["CustomKeyStores"]) for page in pages] == [40, 40, 21]
    assert {store["CustomKeyStoreId"] for page in pages for store in page["CustomKeyStores"]} == ids


def test_a_foreign_marker(kms: Any, control: Control) -> None:
    other = Control(region_name="eu-west-1")
    for _turn in range(2):
        other.create_store()
    there = boto3.client("kms", region_name="eu-west-1")
    marker_of_another_region = there.describe_custom_key_stores(Limit=1)["NextMarker"]
    for marker in ("no marker", "bm8gbWFya2Vy", "\u00e9", marker_of_another_region):
        with pytest.raises(ClientError) as error:
            kms.describe_custom_key_stores(Marker=marker)
        assert code_of(error) == "InvalidMarkerException"


@needs_owner
def test_answers_are_those_of_botocores_model(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    http_control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    ids = {}
    for name, request in (("hsm", CLOUDHSM), ("vpc", VPC)):
        ids[name] = checked(emulator_server.url, "CreateCustomKeyStore", request)["CustomKeyStoreId"]
    http_control.set_connect_outcomes(ids["hsm"], ["INTERNAL_ERROR"])
    seen: set[str] = set()
    for store_id in ids.values():
        checked(emulator_server.url, "ConnectCustomKeyStore", {"CustomKeyStoreId": store_id})
        page = checked(emulator_server.url, "DescribeCustomKeyStores", {"Limit": 1})
        assert set(page) == {"CustomKeyStores", "Truncated", "NextMarker"}
        rest = checked(emulator_server.url, "DescribeCustomKeyStores", {"Marker": page["NextMarker"]})
        for store in page["CustomKeyStores"] + rest["CustomKeyStores"]:
            seen |= {*store, *(f"XksProxyConfiguration.{name}" for name in store.get("XksProxyConfiguration", {}))}
    entry = kms_model().shape_for("CustomKeyStoresListEntry").members  # type: ignore[attr-defined]  # a structure, or a list
    assert seen == {*entry, *(f"XksProxyConfiguration.{name}" for name in entry["XksProxyConfiguration"].members)}
    for store_id in ids.values():
        identified = {"CustomKeyStoreId": store_id}
        checked(emulator_server.url, "DisconnectCustomKeyStore", identified)
        checked(emulator_server.url, "UpdateCustomKeyStore", {**identified, "NewCustomKeyStoreName": store_id})
        checked(emulator_server.url, "DeleteCustomKeyStore", identified)


def checked(url: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """An answer whose members, at any depth, are known to the model and fit it."""
    status, answer = post(url, operation, json.dumps(request))
    assert status == 200, answer
    shape = kms_model().operation_model(operation).output_shape
    assert shape is not None
    assert list(failures(shape, answer, "")) == []
    assert unknown_members(shape, answer) == []
    assert isinstance(answer, dict)
    return answer


def unknown_members(shape: Shape, value: Any) -> list[str]:
    if shape.type_name == "list":
        return [name for item in value for name in unknown_members(shape.member, item)]  # type: ignore[attr-defined]  # a structure, or a list
    if shape.type_name != "structure":
        return []
    members = shape.members  # type: ignore[attr-defined]  # a structure, or a list
    unknown = [name for name in value if name not in members]
    return unknown + [name for key in value if key in members for name in unknown_members(members[key], value[key])]


@pytest.mark.parametrize(
    ("operation", "body", "code", "words"),
    [
        ("ConnectCustomKeyStore", "{}", "ValidationException", ["1 validation error", "'customKeyStoreId'"]),
        ("ConnectCustomKeyStore", '{"CustomKeyStoreId": null}', "ValidationException", ["'customKeyStoreId'"]),
        (
            "DescribeCustomKeyStores",
            '{"Limit": 0}',
            "ValidationException",
            ["Value '0' at 'limit'", "Member must have value greater than or equal to 1"],
        ),
        (
            "DescribeCustomKeyStores",
            '{"Limit": 1001}',
            "ValidationException",
            ["Value '1001' at 'limit'", "value less than or equal to 1000"],
        ),
        ("DescribeCustomKeyStores", '{"Limit": "many"}', "SerializationException", ["'limit'"]),
        ("DescribeCustomKeyStores", '{"Limit": true}', "SerializationException", ["'limit'"]),
        ("DescribeCustomKeyStores", "[]", "SerializationException", []),
        ("DescribeCustomKeyStores", "no JSON", "SerializationException", []),
        ("DescribeEverything", "{}", "UnknownOperationException", []),
        (
            "CreateCustomKeyStore",
            '{"CustomKeyStoreName": "", "XksProxyAuthenticationCredential": {"AccessKeyId": "lower-secret"}}',
            "ValidationException",
            [
                "4 validation errors detected: ",
                "Value null at 'xksProxyAuthenticationCredential.rawSecretAccessKey'",
                "Value at 'xksProxyAuthenticationCredential.accessKeyId' failed",
                "Member must not be null",
                "Member must satisfy regular expression pattern: ^[A-Z2-7]+$",
                "length greater than or equal to 20",
            ],
        ),
        (
            "TagResource",
            '{"KeyId": "k", "Tags": [{"TagKey": "", "TagValue": "v"}]}',
            "ValidationException",
            ["'tags.1.member.tagKey'"],
        ),
    ],
)
def test_validation_of_raw_requests(
    emulator_server: EmulatorServer, http_control: HttpControl, operation: str, body: str, code: str, words: list[str]
) -> None:
    status, answer = post(emulator_server.url, operation, body)
    assert (status, answer["__type"]) == (400, code)
    assert [word for word in words if word not in answer["message"]] == []
    assert "lower-secret" not in answer["message"]
    (record,) = http_control.requests()
    assert (record["operation"], record["outcome"], record["applied"]) == (operation, code, False)


@needs_last_usage
def test_answers_about_keys_are_those_of_botocores_model(
    emulator_server: EmulatorServer, http_control: HttpControl
) -> None:
    for store_type in ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"):
        store_id = http_control.create_store(custom_key_store_type=store_type, connection_state="CONNECTED")
        external = {"XksKeyId": "external"} if store_type == "EXTERNAL_KEY_STORE" else {}
        request = {"CustomKeyStoreId": store_id, "Origin": store_type, **external}
        key_id = checked(emulator_server.url, "CreateKey", request)["KeyMetadata"]["KeyId"]
        checked(emulator_server.url, "DescribeKey", {"KeyId": key_id})
        checked(emulator_server.url, "GetKeyLastUsage", {"KeyId": key_id})
        checked(emulator_server.url, "Encrypt", {"KeyId": key_id, "Plaintext": "cGxhaW4="})
        checked(emulator_server.url, "GetKeyLastUsage", {"KeyId": key_id})
        assert "NextMarker" not in checked(emulator_server.url, "ListKeys", {})


def test_a_body_that_looks_like_a_query(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    status, _ignored = post(
        emulator_server.url, "CreateCustomKeyStore", json.dumps({**CLOUDHSM, "CustomKeyStoreName": "a&Action=b"})
    )
    assert status == 200


def test_motos_own_operations_still_work(kms: Any) -> None:
    key = kms.create_key(Tags=[{"TagKey": "k", "TagValue": ""}])["KeyMetadata"]
    kms.create_alias(AliasName="alias/a", TargetKeyId=key["KeyId"])
    secret = kms.encrypt(KeyId="alias/a", Plaintext=b"plain")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"plain"
    assert kms.generate_random(NumberOfBytes=8)["Plaintext"]
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    assert [entry["KeyId"] for entry in kms.list_keys()["Keys"]] == [key["KeyId"]]
