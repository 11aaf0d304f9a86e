# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the module for a store of each kind, for the tests that need one."""

from __future__ import annotations

from typing import Any

from tests.sdk import KNOWS_OWNER

CLUSTER = "cluster-2345abcdefg"
OTHER_CLUSTER = "cluster-7654gfedcba"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
PASSWORD = "CanaryKmsUserPassword77"
SECRET = "CanaryRawSecretAccessKey0123456789abcdefghijklmn"
KEY_ID = "ABCDEFGHIJKLMNOPQRST"
OTHER_KEY_ID = "TSRQPONMLKJIHGFEDCBA"
SERVICE = "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0"

CLOUDHSM: dict[str, Any] = {
    "name": "payments",
    "custom_key_store_type": "AWS_CLOUDHSM",
    "cloud_hsm_cluster_id": CLUSTER,
    "trust_anchor_certificate": CERTIFICATE,
    "key_store_password": PASSWORD,
}
PROXY = {
    "connectivity": "PUBLIC_ENDPOINT",
    "uri_endpoint": "https://xks.example.com",
    "uri_path": "/payments/kms/xks/v1",
    "access_key_id": KEY_ID,
    "raw_secret_access_key": SECRET,
}
PUBLIC: dict[str, Any] = {
    "name": "payments",
    "custom_key_store_type": "EXTERNAL_KEY_STORE",
    "xks_proxy_configuration": PROXY,
}
VPC: dict[str, Any] = {
    **PUBLIC,
    "xks_proxy_configuration": {
        **PROXY,
        "connectivity": "VPC_ENDPOINT_SERVICE",
        "uri_endpoint": "https://private.example.com",
        "vpc_endpoint_service_name": SERVICE,
        **({"vpc_endpoint_service_owner": "210987654321"} if KNOWS_OWNER else {}),
    },
}
KINDS = {"cloudhsm": CLOUDHSM, "public": PUBLIC, "vpc": VPC}

SECRETS = (PASSWORD, SECRET)
