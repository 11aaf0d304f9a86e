# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks, without a change, whether a lease in AWS will work: the role, who may assume it, and what it may do.

If something cannot be checked, the result says so and forbids nothing: the lease is made before the disconnect, and fails if the
role is wrong.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import json
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Optional
from typing import Sequence
from urllib.parse import unquote

try:
    import botocore
    import botocore.exceptions
    import botocore.parsers
except ImportError:
    pass  # AnsibleAWSModule says which library is missing

from .schedule import GROUP
from .schedule import ROLE_ARN
from .schedule import schedule_name

SERVICE = "scheduler.amazonaws.com"

OF_ROLE = ("kms:ConnectCustomKeyStore",)
"""The actions that the role needs."""

OF_CALLER = (
    "scheduler:CreateSchedule",
    "scheduler:GetSchedule",
    "scheduler:UpdateSchedule",
    "scheduler:DeleteSchedule",
)
"""The actions on the schedule that the caller needs."""

HOW_TO_FIX = "The playbook keyops.aws.prepare_lease creates such a role."


@dataclass
class RoleCheck:
    """The result of the checks.

    Attributes:
        problems: why the lease would not work, in sentences.
        unknown: what could not be checked, and why, in sentences.
    """

    problems: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def check_role(role_arn: str, *, store_id: str, client: Any, iam: Any, sts: Any) -> RoleCheck:
    """Check the role of a lease in AWS.

    Args:
        role_arn: of the role, in the right form.
        store_id: the id of the store.
        client: a boto3 client for EventBridge Scheduler.
        iam: a boto3 client for IAM.
        sts: a boto3 client for AWS STS.
    """
    check = RoleCheck()
    matched = ROLE_ARN.fullmatch(role_arn)
    role = {} if matched is None else matched.groupdict()
    partition, region = client.meta.partition, client.meta.region_name
    if role["partition"] != partition:
        check.problems.append(
            f"The role of its lease, {role_arn}, is in the partition {role['partition']}, but the Region {region} is of"
            f" {partition}."
        )
        return check
    caller = _request(check, "who the caller is", "sts:GetCallerIdentity", sts.get_caller_identity)
    if caller is not None and caller["Account"] != role["account"]:
        check.problems.append(
            f"The role of its lease, {role_arn}, is in the account {role['account']}, but the store is reached with credentials"
            f" of {caller['Account']}. EventBridge Scheduler takes a role of the same account only. {HOW_TO_FIX}"
        )
        return check
    if not _exists_with_trust(check, role_arn, role["name"].rpartition("/")[2], iam):
        return check
    schedule_arn = f"arn:{partition}:scheduler:{region}:{role['account']}:schedule/{GROUP}/{schedule_name(store_id)}"
    _simulate(check, iam, role_arn, OF_ROLE, ["*"], who=f"The role of its lease, {role_arn},")
    if caller is not None:
        source, who = principal(caller["Arn"]), "The caller"
        _simulate(check, iam, source, OF_CALLER, [schedule_arn], who=who)
        _simulate(check, iam, source, ("iam:PassRole",), [role_arn], who=who, passed_to=SERVICE)
    return check


def principal(arn: str) -> str:
    """The user or role whose policies apply to a caller: for a session of a role, the role."""
    if ":assumed-role/" not in arn:
        return arn
    head, _separator, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"


def _exists_with_trust(check: RoleCheck, role_arn: str, name: str, iam: Any) -> bool:
    """False if the role certainly does not exist, or does not trust EventBridge Scheduler."""
    answer = _request(
        check,
        "whether the role of its lease exists and trusts EventBridge Scheduler",
        "iam:GetRole",
        lambda: iam.get_role(RoleName=name),
        missing=f"The role of its lease, {role_arn}, does not exist. {HOW_TO_FIX}",
    )
    if answer is None:
        return not check.problems
    if trusts_scheduler(answer["Role"]["AssumeRolePolicyDocument"]):
        return True
    check.problems.append(
        f"The trust policy of the role of its lease, {role_arn}, does not allow {SERVICE} to assume it. {HOW_TO_FIX}"
    )
    return False


def trusts_scheduler(document: Any) -> bool:
    """May EventBridge Scheduler assume a role with this trust policy? Conditions are not checked: AWS does that for the lease.

    Args:
        document: as IAM returns it; some SDKs return it as JSON.
    """
    policy = json.loads(unquote(document)) if isinstance(document, str) else document
    for statement in _as_list(policy.get("Statement")):
        principals = statement.get("Principal")
        of_service = _as_list(principals.get("Service")) if isinstance(principals, dict) else []
        actions = [action.lower() for action in _as_list(statement.get("Action"))]
        if (
            statement.get("Effect") == "Allow"
            and SERVICE in of_service
            and {"sts:assumerole", "sts:*", "*"} & set(actions)
        ):
            return True
    return False


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _simulate(
    check: RoleCheck,
    iam: Any,
    source: str,
    actions: Sequence[str],
    resources: Sequence[str],
    *,
    who: str,
    passed_to: Optional[str] = None,
) -> None:
    """Ask IAM what a user or role may do."""
    context = [{"ContextKeyName": "iam:PassedToService", "ContextKeyValues": [passed_to], "ContextKeyType": "string"}]
    answer = _request(
        check,
        f"what {who[0].lower()}{who[1:].rstrip(',')} may do",
        "iam:SimulatePrincipalPolicy",
        lambda: iam.simulate_principal_policy(
            PolicySourceArn=source,
            ActionNames=list(actions),
            ResourceArns=list(resources),
            **({"ContextEntries": context} if passed_to else {}),
        ),
    )
    results = [] if answer is None else answer["EvaluationResults"]
    denied = [each["EvalActionName"] for each in results if each["EvalDecision"] != "allowed"]
    if denied:
        check.problems.append(f"{who} lacks the permission {', '.join(denied)}, see the guide to permissions.")


def _request(check: RoleCheck, what: str, action: str, ask: Any, *, missing: str = "") -> Optional[dict[str, Any]]:
    """Make a request, or record what could not be checked.

    Args:
        missing: the problem if IAM has nothing of that name; empty if that only leaves something unknown.
    """
    try:
        answer: dict[str, Any] = ask()
    except (
        botocore.exceptions.ClientError,
        botocore.exceptions.BotoCoreError,
        botocore.parsers.ResponseParserError,
    ) as error:
        response = getattr(error, "response", {}).get("Error", {})
        if missing and response.get("Code", "").startswith("NoSuchEntity"):
            check.problems.append(missing)
            return None
        code = response.get("Code") or str(error).rstrip(".")
        reason = f"{action} is not permitted" if code.startswith("AccessDenied") else code
        text = f"It could not be checked {what} ({reason})."
        check.unknown += [text] if text not in check.unknown else []
        return None
    return answer
