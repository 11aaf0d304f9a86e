# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that uses nothing but boto3, of whatever version is found, on an emulator at a URL. Prints what it saw.

Usage: sdk_client.py URL. The output is one JSON object: see main().
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

import boto3
import botocore
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

OPERATIONS = {
    "CreateCustomKeyStore": {"CustomKeyStoreName": "any"},
    "ConnectCustomKeyStore": {"CustomKeyStoreId": "cks-0"},
    "DisconnectCustomKeyStore": {"CustomKeyStoreId": "cks-0"},
    "DescribeCustomKeyStores": {},
    "UpdateCustomKeyStore": {"CustomKeyStoreId": "cks-0"},
    "DeleteCustomKeyStore": {"CustomKeyStoreId": "cks-0"},
}
CLOUDHSM = {
    "CustomKeyStoreName": "hsm",
    "CloudHsmClusterId": "cluster-abcdefghijk",
    "TrustAnchorCertificate": "certificate",
    "KeyStorePassword": "kmsuser-password",
}
EXTERNAL = {
    "CustomKeyStoreName": "proxy",
    "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
    "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE",
    "XksProxyVpcEndpointServiceName": "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789",
    "XksProxyUriEndpoint": "https://xks.example.com",
    "XksProxyUriPath": "/kms/xks/v1",
    "XksProxyAuthenticationCredential": {
        "AccessKeyId": "ABCDEFGHIJKLMNOPQRST",
        "RawSecretAccessKey": "raw+secret/access=key" * 3,
    },
}


def error_of(kms: Any, operation: str, members: dict[str, Any]) -> dict[str, Any]:
    """How a request fails: the names of the exception's class and code, HTTP status, whether there are message and id."""
    try:
        getattr(kms, xform_name(operation))(**members)
    except ClientError as error:
        answer = error.response
        return {
            "class": type(error).__name__,
            "code": answer["Error"]["Code"],
            "status": answer["ResponseMetadata"]["HTTPStatusCode"],
            "has_message": bool(answer["Error"]["Message"]),
            "has_request_id": bool(answer["ResponseMetadata"]["RequestId"]),
        }
    return {"class": "none"}


def every_error(kms: Any, url: str) -> dict[str, dict[str, Any]]:
    """Each error that this SDK knows of each of the six operations, made by a fault: what it looks like to the caller."""
    found = {}
    for operation, members in OPERATIONS.items():
        for shape in kms.meta.service_model.operation_model(operation).error_shapes:
            body = json.dumps({"operation": operation, "error": shape.name}).encode()
            with urllib.request.urlopen(f"{url}/moto-api/kms/custom-key-stores/add-fault", body):  # noqa: S310  the emulator
                found[f"{operation} {shape.name}"] = error_of(kms, operation, members)
    return found


def life(kms: Any, members: dict[str, Any], changes: dict[str, Any]) -> list[Any]:
    """One store from its creation to its deletion: how it was described after each step."""
    which = {"CustomKeyStoreId": kms.create_custom_key_store(**members)["CustomKeyStoreId"]}
    views = []

    def describe() -> None:
        (store,) = kms.describe_custom_key_stores(**which)["CustomKeyStores"]
        assert store.pop("CustomKeyStoreId") == which["CustomKeyStoreId"]
        assert store.pop("CreationDate").tzinfo is not None
        views.append(store)

    describe()
    for step in (kms.connect_custom_key_store, kms.disconnect_custom_key_store):
        step(**which)
        describe()
    kms.update_custom_key_store(**which, **changes)
    describe()
    kms.delete_custom_key_store(**which)
    views.append(error_of(kms, "DescribeCustomKeyStores", which)["class"])
    return views


def pages(kms: Any) -> list[int]:
    """How many stores are on each page, of three stores and two on a page."""
    ids = [
        kms.create_custom_key_store(
            **{**CLOUDHSM, "CustomKeyStoreName": f"s{letter}", "CloudHsmClusterId": f"cluster-{letter * 11}"}
        )["CustomKeyStoreId"]
        for letter in "abc"
    ]
    paginator = kms.get_paginator("describe_custom_key_stores")
    found = [page["CustomKeyStores"] for page in paginator.paginate(PaginationConfig={"PageSize": 2})]
    assert sorted(store["CustomKeyStoreId"] for page in found for store in page) == sorted(ids)
    return [len(page) for page in found]


def main(url: str) -> dict[str, Any]:
    """All of it, and which botocore it was."""
    kms = boto3.client(
        "kms",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="not-a-secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    return {
        "botocore": botocore.__version__,
        "cloudhsm": life(kms, CLOUDHSM, {"NewCustomKeyStoreName": "renamed"}),
        "external": life(kms, EXTERNAL, {"XksProxyUriPath": "/other/kms/xks/v1"}),
        "pages": pages(kms),
        "errors": every_error(kms, url),
    }


if __name__ == "__main__":
    json.dump(main(sys.argv[1]), sys.stdout)
