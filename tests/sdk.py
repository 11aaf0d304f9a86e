# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the SDK of this environment knows of KMS, for tests of what the oldest that is supported does not know yet."""

from __future__ import annotations

import re

import botocore
import botocore.session
import pytest

_MODELS = botocore.session.get_session()
_KMS = _MODELS.get_service_model("kms")


def knows(operation: str) -> bool:
    """Is an operation in this SDK's model of KMS?"""
    return operation in _KMS.operation_names


_CREATE = _KMS.operation_model("CreateCustomKeyStore").input_shape

KNOWS_OWNER = _CREATE is not None and "XksProxyVpcEndpointServiceOwner" in _CREATE.members
"""VPC endpoint services of another account, which came with botocore 1.40.70."""

needs_owner = pytest.mark.skipif(
    not KNOWS_OWNER, reason=f"botocore {botocore.__version__} does not know VpcEndpointServiceOwner"
)
needs_last_usage = pytest.mark.skipif(
    not knows("GetKeyLastUsage"), reason=f"botocore {botocore.__version__} has no GetKeyLastUsage"
)
"""GetKeyLastUsage came with botocore 1.42.97."""

_POLICY = _KMS.operation_model("GetKeyPolicy").input_shape

needs_no_policy_name = pytest.mark.skipif(
    _POLICY is None or "PolicyName" in _POLICY.required_members,
    reason=f"botocore {botocore.__version__} wants a PolicyName, which KMS does not",
)

_CLOUDHSM = _MODELS.get_service_model("cloudhsmv2")
_CREATE_CLUSTER = _CLOUDHSM.operation_model("CreateCluster").input_shape

needs_cluster_mode = pytest.mark.skipif(
    _CREATE_CLUSTER is None or "Mode" not in _CREATE_CLUSTER.members,
    reason=f"the AWS CLI that goes with botocore {botocore.__version__} does not know the mode of a cluster",
)

needs_hsm_type_changes = pytest.mark.skipif(
    "MODIFY_IN_PROGRESS" not in _CLOUDHSM.shape_for("ClusterState").metadata["enum"],
    reason=f"botocore {botocore.__version__} does not know the states of a cluster whose HSM type changes",
)


def _allows(service: str, shape: str, text: str) -> bool:
    """Does the pattern of a shape in this SDK's model of a service match a text?"""
    pattern = _MODELS.get_service_model(service).shape_for(shape).metadata.get("pattern", "")
    return re.fullmatch(pattern, text) is not None


needs_scheduler_of_today = pytest.mark.skipif(
    not _allows("scheduler", "RoleArn", "arn:aws-us-gov:iam::123456789012:role/lease"),
    reason=f"botocore {botocore.__version__} has an earlier model of EventBridge Scheduler",
)
"""An earlier one knows the partition aws alone, and has other patterns and another order of members."""

needs_european_endpoints = pytest.mark.skipif(
    not _allows(
        "kms", "XksProxyVpcEndpointServiceNameType", "eu.amazonaws.vpce.eusc-de-east-1.vpce-svc-0123456789abcdef0"
    ),
    reason=f"botocore {botocore.__version__} does not know the endpoint services of the European Sovereign Cloud",
)
