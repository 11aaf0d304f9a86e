# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table "KMS exceptions" of the XKS proxy API specification: what each failure of a proxy is to each operation of KMS.

Where the specification names an exception that the operation does not declare, the KMS developer guide decides; those rows have a
comment. The first sentence of each text is compared, as clients match on it; the rest is advice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import pytest
from botocore.exceptions import ClientError

from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.unit.emulator.conftest import client
from tests.unit.emulator.stores import ENDPOINT
from tests.unit.emulator.stores import EXTERNAL
from tests.unit.emulator.stores import external

OK = "ok"
INVALID_STATE = "KMSInvalidStateException"
STORE_STATE = "CustomKeyStoreInvalidStateException"
WRONG_KEY = "XksKeyInvalidConfigurationException"
RESPONSE = "XksProxyInvalidResponseException"
UNREACHABLE = "XksProxyUriUnreachableException"


class Row(NamedTuple):
    """How each kind of operation ends, and the sentence that the errors begin with."""

    store: str
    key: str
    encrypt: str
    decrypt: str
    connect: str
    sentence: str


CANNOT_INTERPRET = "AWS KMS cannot interpret the response from the external key store proxy."

TABLE: dict[str, Row] = {
    "ValidationException": Row(
        RESPONSE, STORE_STATE, INVALID_STATE, INVALID_STATE, "XKS_PROXY_INVALID_RESPONSE", CANNOT_INTERPRET
    ),
    "InvalidStateException": Row(
        OK,
        WRONG_KEY,
        INVALID_STATE,
        INVALID_STATE,
        "CONNECTED",
        "The external key associated with this KMS key in an external key store is not enabled in the external key manager.",
    ),
    "InvalidCiphertextException": Row(
        OK,
        OK,
        OK,
        INVALID_STATE,
        "CONNECTED",
        "The external key store proxy rejected the request because the specified ciphertext or encryption context is corrupted,"
        " missing, or otherwise invalid.",
    ),
    "UndecryptableCiphertext": Row(
        OK,
        OK,
        OK,
        INVALID_STATE,
        "CONNECTED",
        "The ciphertext that the external key store proxy submitted for decryption, or the encryption context, is corrupted,"
        " missing, or otherwise invalid.",
    ),
    "InvalidKeyUsageException": Row(
        OK,
        WRONG_KEY,
        INVALID_STATE,
        INVALID_STATE,
        "CONNECTED",
        "The external key associated with this KMS key in an external key store does not support the requested operation.",
    ),
    "AuthenticationFailedException": Row(
        "XksProxyIncorrectAuthenticationCredentialException",
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "INVALID_CREDENTIALS",
        "The external key store proxy rejected the request because it could not authenticate AWS KMS.",
    ),
    # CreateKey: the specification has KMSInvalidStateException
    "AccessDeniedException": Row(
        OK,
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "XKS_PROXY_ACCESS_DENIED",
        "The external key store proxy denied access to the operation.",
    ),
    "KeyNotFoundException": Row(
        OK,
        "XksKeyNotFoundException",
        INVALID_STATE,
        INVALID_STATE,
        "CONNECTED",
        "The external key associated with this KMS key in an external key store was not found in its external key manager.",
    ),
    "InvalidUriPathException": Row(
        "XksProxyInvalidConfigurationException",
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "XKS_PROXY_INVALID_CONFIGURATION",
        "The external key store proxy rejected the request because of an invalid URI path.",
    ),
    # CreateKey: the specification has XksKeyInvalidResponseException
    "UnsupportedOperationException": Row(
        OK,
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "CONNECTED",
        "The external key store proxy rejected the request because it does not support the requested operation.",
    ),
    "DependencyTimeoutException": Row(
        UNREACHABLE,
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "XKS_PROXY_TIMED_OUT",
        "The external key store proxy did not respond to the request in the time allotted.",
    ),
    "ThrottlingException": Row(
        UNREACHABLE,
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "XKS_PROXY_NOT_REACHABLE",
        "The external key store proxy rejected the request due to a very high request rate.",
    ),
    "InternalException": Row(
        RESPONSE,
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "XKS_PROXY_NOT_REACHABLE",
        "The external key store proxy rejected the request because it cannot communicate with the external key manager.",
    ),
    "Unreachable": Row(
        UNREACHABLE,
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "XKS_PROXY_NOT_REACHABLE",
        "AWS KMS cannot communicate with the external key store proxy.",
    ),
    "InvalidTls": Row(
        UNREACHABLE,
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "XKS_PROXY_INVALID_TLS_CONFIGURATION",
        "AWS KMS cannot establish a TLS connection to the external key store proxy.",
    ),
    "TimedOut": Row(
        UNREACHABLE,
        STORE_STATE,
        INVALID_STATE,
        INVALID_STATE,
        "XKS_PROXY_TIMED_OUT",
        "AWS KMS rejected the request because the external key store proxy did not respond in time.",
    ),
    "MalformedResponse": Row(
        RESPONSE, STORE_STATE, INVALID_STATE, INVALID_STATE, "XKS_PROXY_INVALID_RESPONSE", CANNOT_INTERPRET
    ),
}
"""By the name of the failure: of the proxy's own errors, the specification's."""


@pytest.fixture
def kms(emulator_server: EmulatorServer) -> Any:
    return client(emulator_server.url)


def ending(call: Callable[..., Any], **members: Any) -> tuple[str, str]:
    """The error code or ok, and the first sentence of the message."""
    try:
        call(**members)
    except ClientError as error:
        answer = error.response["Error"]
        return answer["Code"], answer["Message"].partition(". ")[0].rstrip(".") + "."
    return OK, ""


def have_it_fail(control: HttpControl, failure: str) -> None:
    if failure == "Unreachable":
        control.set_proxy(ENDPOINT, reachable=False)
    elif failure == "AuthenticationFailedException":
        control.set_proxy(ENDPOINT, access_key_id="ANOTHERACCESSKEYID23", raw_secret_access_key="another" * 7)
    else:
        control.set_proxy(ENDPOINT, failure=failure)


@pytest.mark.parametrize("failure", TABLE)
def test_every_failure_in_every_operation(kms: Any, http_control: HttpControl, failure: str) -> None:
    http_control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    row = TABLE[failure]
    store_id = kms.create_custom_key_store(**external())["CustomKeyStoreId"]
    http_control.set_connection_state(store_id, "CONNECTED")
    in_store = {"CustomKeyStoreId": store_id, "Origin": EXTERNAL}
    arn = kms.create_key(**in_store, XksKeyId="first")["KeyMetadata"]["Arn"]
    other = kms.create_key()["KeyMetadata"]["Arn"]
    mine = kms.encrypt(KeyId=arn, Plaintext=b"plain")["CiphertextBlob"]
    others = kms.encrypt(KeyId=other, Plaintext=b"plain")["CiphertextBlob"]
    have_it_fail(http_control, failure)
    seen = {
        "create a store": ending(
            kms.create_custom_key_store, **external(CustomKeyStoreName="second", XksProxyUriPath="/two/kms/xks/v1")
        ),
        "update": ending(kms.update_custom_key_store, CustomKeyStoreId=store_id, XksProxyUriPath="/three/kms/xks/v1"),
        "create a key": ending(kms.create_key, **in_store, XksKeyId="second"),
        "encrypt": ending(kms.encrypt, KeyId=arn, Plaintext=b"plain"),
        "data key": ending(kms.generate_data_key, KeyId=arn, KeySpec="AES_256"),
        "data key, no plaintext": ending(kms.generate_data_key_without_plaintext, KeyId=arn, KeySpec="AES_256"),
        "decrypt": ending(kms.decrypt, CiphertextBlob=mine),
        "from here": ending(kms.re_encrypt, CiphertextBlob=mine, DestinationKeyId=other),
        "to here": ending(kms.re_encrypt, CiphertextBlob=others, DestinationKeyId=arn),
    }
    codes = {
        **dict.fromkeys(("create a store", "update"), row.store),
        "create a key": row.key,
        **dict.fromkeys(("encrypt", "data key", "data key, no plaintext", "to here"), row.encrypt),
        **dict.fromkeys(("decrypt", "from here"), row.decrypt),
    }
    assert seen == {what: (code, row.sentence if code != OK else "") for what, code in codes.items()}
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Enabled"
    kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
    assert store.get("ConnectionErrorCode", store["ConnectionState"]) == row.connect


def test_the_table_has_all_failures() -> None:
    assert len(TABLE) == 17


SPEC = "The key spec of the external key must be AES_256. The key spec of specified external key is AES_128."
STATUS = "The status of the external key must be ENABLED. The status of specified external key is DISABLED."
USAGE = "The key usage of the external key must include ENCRYPT and DECRYPT. The key use of specified external key is ENCRYPT."


@pytest.mark.parametrize(
    ("flaw", "refusal", "encrypts", "decrypts"),
    [
        ({"key_spec": "AES_128"}, SPEC, OK, OK),
        ({"key_status": "DISABLED"}, STATUS, INVALID_STATE, INVALID_STATE),
        ({"key_usage": ["ENCRYPT"]}, USAGE, OK, INVALID_STATE),
    ],
    ids=["spec", "status", "usage"],
)
def test_a_flawed_external_key(
    kms: Any, http_control: HttpControl, flaw: dict[str, Any], refusal: str, encrypts: str, decrypts: str
) -> None:
    store_id = kms.create_custom_key_store(**external())["CustomKeyStoreId"]
    http_control.set_connection_state(store_id, "CONNECTED")
    in_store = {"CustomKeyStoreId": store_id, "Origin": EXTERNAL}
    arn = kms.create_key(**in_store, XksKeyId="used")["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=arn, Plaintext=b"plain")["CiphertextBlob"]
    for key in ("used", "new"):
        http_control.set_external_key(ENDPOINT, key, **flaw)
    with pytest.raises(kms.exceptions.XksKeyInvalidConfigurationException) as error:
        kms.create_key(**in_store, XksKeyId="new")
    assert error.value.response["Error"]["Message"] == refusal
    assert ending(kms.encrypt, KeyId=arn, Plaintext=b"plain")[0] == encrypts
    assert ending(kms.decrypt, CiphertextBlob=blob)[0] == decrypts


def test_an_external_key_that_is_gone(kms: Any, http_control: HttpControl) -> None:
    store_id = kms.create_custom_key_store(**external())["CustomKeyStoreId"]
    http_control.set_connection_state(store_id, "CONNECTED")
    arn = kms.create_key(CustomKeyStoreId=store_id, Origin=EXTERNAL, XksKeyId="first")["KeyMetadata"]["Arn"]
    http_control.set_proxy(ENDPOINT, external_keys=[])
    code, sentence = ending(kms.encrypt, KeyId=arn, Plaintext=b"plain")
    assert (code, sentence) == (INVALID_STATE, TABLE["KeyNotFoundException"].sentence)


@pytest.mark.parametrize("state", ["DEGRADED", "DELETED", "UNINITIALIZED"])
def test_a_key_needs_a_cluster_that_is_active(kms: Any, http_control: HttpControl, state: str) -> None:
    cluster_id = http_control.create_cluster()
    store_id = http_control.create_store(connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id})
    http_control.set_cluster(cluster_id, state=state)
    code, _sentence = ending(kms.create_key, CustomKeyStoreId=store_id, Origin="AWS_CLOUDHSM")
    assert code == "CloudHsmClusterInvalidConfigurationException"


@pytest.mark.parametrize("hsms", [0, 1])
def test_a_key_needs_two_active_hsms(kms: Any, http_control: HttpControl, hsms: int) -> None:
    cluster_id = http_control.create_cluster()
    store_id = http_control.create_store(connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id})
    http_control.set_cluster(cluster_id, active_hsms=hsms)
    code, _sentence = ending(kms.create_key, CustomKeyStoreId=store_id, Origin="AWS_CLOUDHSM")
    assert code == "CloudHsmClusterInvalidConfigurationException"
