# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests around custom key stores that are valid, and how tests make them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import urllib3
from botocore.exceptions import ClientError

from kms_emulator import Control

Connection = Callable[[str], tuple[str, str | None]]
"""Reads the connection state and error code of a store."""

EXTERNAL = "EXTERNAL_KEY_STORE"
PASSWORD = "first-password"
NEW_PASSWORD = "second-password"
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


def post(url: str, operation: str, body: str) -> tuple[int, Any]:
    """A request that no SDK has checked."""
    answer = urllib3.request(
        "POST",
        url,
        body=body,
        headers={
            "X-Amz-Target": f"TrentService.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/kms/aws4_request, Signature=0",
        },
        retries=False,
    )
    return answer.status, json.loads(answer.data) if answer.data else None


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
