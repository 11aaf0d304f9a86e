# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a CloudHSM cluster beside its state and its HSMs; the rest is in test_info.py."""

from __future__ import annotations

import datetime
from typing import Any
from unittest import mock

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters

CLUSTER_ID = "cluster-2345abcdefg"
BRIEF: dict[str, Any] = {"ClusterId": CLUSTER_ID, "State": "MODIFY_IN_PROGRESS"}
FULL: dict[str, Any] = {
    **BRIEF,
    "HsmType": "hsm2m.medium",
    "Hsms": [
        {
            "HsmId": "hsm-1",
            "State": "ACTIVE",
            "AvailabilityZone": "us-east-1a",
            "HsmType": "hsm2m.medium",
            "EniIp": "10.0.0.10",
            "EniIpV6": "2001:db8::a",
        },
        {
            "HsmId": "hsm-2",
            "State": "ACTIVE",
            "AvailabilityZone": "us-east-1b",
            "HsmType": "hsm1.medium",
            "EniIp": "10.0.1.11",
        },
    ],
    "HsmTypeRollbackExpiration": datetime.datetime(
        2026, 1, 31, 13, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1))
    ),
    "Mode": "FIPS",
    "NetworkType": "DUALSTACK",
    "SubnetMapping": {"us-east-1a": "subnet-1", "us-east-1b": "subnet-2"},
    "SecurityGroup": "sg-1",
}


def described(entry: dict[str, Any]) -> Cluster:
    """A cluster as the newest SDK returns it, whichever is here."""
    cloudhsm = mock.Mock()
    cloudhsm.get_paginator.return_value.paginate.return_value = [{"Clusters": [entry]}]
    return describe_clusters(cloudhsm, [CLUSTER_ID])[CLUSTER_ID]


def test_all_that_is_reported() -> None:
    cluster = described(FULL)
    assert cluster.addresses == ("10.0.0.10", "2001:db8::a", "10.0.1.11")
    assert cluster.to_result() == {
        "cluster_id": CLUSTER_ID,
        "state": "MODIFY_IN_PROGRESS",
        "hsms": {"ACTIVE": {"us-east-1a": 1, "us-east-1b": 1}},
        "active_hsms": 2,
        "hsm_type": "hsm2m.medium",
        "hsm_types": {"hsm2m.medium": 1, "hsm1.medium": 1},
        "mode": "FIPS",
        "network_type": "DUALSTACK",
        "hsm_type_rollback_expiration": "2026-01-31T12:00:00+00:00",
        "subnets": {"us-east-1a": "subnet-1", "us-east-1b": "subnet-2"},
        "security_group": "sg-1",
    }


def test_what_an_older_sdk_does_not_return_is_left_out() -> None:
    cluster = described(BRIEF)
    assert cluster.addresses == ()
    assert cluster.to_result() == {
        "cluster_id": CLUSTER_ID,
        "state": "MODIFY_IN_PROGRESS",
        "hsms": {},
        "active_hsms": 0,
    }
