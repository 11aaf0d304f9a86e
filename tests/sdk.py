# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the SDK of this environment knows of KMS, for tests of what the oldest that is supported does not know yet."""

from __future__ import annotations

import botocore
import botocore.session
import pytest

_KMS = botocore.session.get_session().get_service_model("kms")


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

_CREATE_CLUSTER = (
    botocore.session.get_session().get_service_model("cloudhsmv2").operation_model("CreateCluster").input_shape
)

needs_cluster_mode = pytest.mark.skipif(
    _CREATE_CLUSTER is None or "Mode" not in _CREATE_CLUSTER.members,
    reason=f"the AWS CLI that goes with botocore {botocore.__version__} does not know the mode of a cluster",
)
