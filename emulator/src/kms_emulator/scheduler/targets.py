# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets of schedules: operations of KMS, with the permissions of the execution role."""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.utils import camelcase_to_underscores
from moto.iam.exceptions import NotFoundException
from moto.iam.models import Role
from moto.iam.models import iam_backends
from moto.utilities.utils import get_partition

from ..custom_key_stores.rules import StoreType
from ..exceptions import ThrottlingException
from ..models import EmulatedBackend
from ..policies import Decision
from ..policies import decide
from ..policies import policies_of
from ..policies import trusts
from ..trail.events import Caller
from ..trail.events import subject
from ..validation import check_request
from .schedules import UNIVERSAL
from .schedules import Schedule
from .schedules import input_of

SERVICE = "scheduler.amazonaws.com"
"""The service that an execution role must trust."""

RUNNABLE = {
    "connectCustomKeyStore": "ConnectCustomKeyStore",
    "disconnectCustomKeyStore": "DisconnectCustomKeyStore",
}
"""The KMS operations that the emulator executes, by their names in the ARN of a target."""

UNKNOWN = "UnknownOperationException"
"""The outcome of a run with any other target."""


def role_for(kms: EmulatedBackend, role_arn: str, group_name: str) -> Role | None:
    """Return the execution role, if it exists and trusts EventBridge Scheduler for this schedule group."""
    partition = get_partition(kms.region_name)
    group_arn = f"arn:{partition}:scheduler:{kms.region_name}:{kms.account_id}:schedule-group/{group_name}"
    try:
        role = iam_backends[kms.account_id][partition].get_role_by_arn(role_arn)
    except NotFoundException:
        return None
    context = {"aws:sourceaccount": [kms.account_id], "aws:sourcearn": [group_arn]}
    return role if trusts(role.assume_role_policy_document, SERVICE, context) else None


def call(kms: EmulatedBackend, schedule: Schedule) -> str:
    """Call the target of a schedule. Returns "ok", or the error code."""
    target = schedule.members["Target"]
    operation = operation_of(target["Arn"])
    if operation is None:
        return UNKNOWN
    request = input_of(target) or {}
    role = role_for(kms, target["RoleArn"], schedule.group_name)
    if role is None or not _is_allowed(kms, role, operation, request):
        return "AccessDeniedException"
    try:
        check_request(operation, request)
        if kms.quotas.exceeded(operation):
            raise ThrottlingException()
        getattr(kms, camelcase_to_underscores(operation))(request)
        kms.trail.record(operation, _caller(role), request, store=subject(kms, request), answer={})
    except JsonRESTError as error:
        return str(error.relative_error_type)
    return "ok"


def _caller(role: Role) -> Caller:
    """Return EventBridge Scheduler with the role, as in CloudTrail events."""
    arn = role.arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    return Caller(f"{arn}/scheduler", source=SERVICE, agent=SERVICE)


def operation_of(target_arn: str) -> str | None:
    """Return the KMS operation of a target. None: the emulator does not execute it."""
    matched = UNIVERSAL.fullmatch(target_arn)
    return RUNNABLE.get(matched["operation"]) if matched and matched["service"] == "kms" else None


def _is_allowed(kms: EmulatedBackend, role: Role, operation: str, request: dict[str, Any]) -> bool:
    """Whether the role allows the request. For a connect of a CloudHSM store, KMS also describes the cluster with the role."""
    actions = [f"kms:{operation}"]
    store = kms.custom_key_stores.get(str(request.get("CustomKeyStoreId")))
    if operation == "ConnectCustomKeyStore" and store and store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
        actions.append("cloudhsm:DescribeClusters")
    policies = policies_of(iam_backends[kms.account_id][get_partition(kms.region_name)], role)
    return all(decide(policies, action) is Decision.ALLOWED for action in actions)
