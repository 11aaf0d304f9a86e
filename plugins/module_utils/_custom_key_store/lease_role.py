# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Will a lease in AWS work? Checks without a change: the role, who may assume it, and what it may do.

What cannot be seen is said, and forbids nothing: to make the lease comes before the disconnect, and tells most of it.
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
"""What the role must be allowed to do."""

OF_CALLER = (
    "scheduler:CreateSchedule",
    "scheduler:GetSchedule",
    "scheduler:UpdateSchedule",
    "scheduler:DeleteSchedule",
)
"""What the caller must be allowed to do with the schedule."""

HOW_TO_FIX = "The playbook keyops.aws.prepare_lease creates such a role."


@dataclass
class RoleCheck:
    """What was seen.

    Attributes:
        problems: why the lease would not work, in sentences.
        unknown: what could not be seen, and why, in sentences.
    """

    problems: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def check_role(role_arn: str, *, store_id: str, client: Any, iam: Any, sts: Any) -> RoleCheck:
    """Look at the role of a lease in AWS.

    Args:
        role_arn: of the role; its form is right.
        store_id: the id of the store.
        client: a boto3 client for EventBridge Scheduler.
        iam: one for IAM.
        sts: one for AWS STS.
    """
    look = RoleCheck()
    matched = ROLE_ARN.fullmatch(role_arn)
    role = {} if matched is None else matched.groupdict()
    partition, region = client.meta.partition, client.meta.region_name
    if role["partition"] != partition:
        look.problems.append(
            f"The role of its lease, {role_arn}, is in the partition {role['partition']}, but the Region {region} is of"
            f" {partition}."
        )
        return look
    caller = _asked(look, "who the caller is", "sts:GetCallerIdentity", sts.get_caller_identity)
    if caller is not None and caller["Account"] != role["account"]:
        look.problems.append(
            f"The role of its lease, {role_arn}, is in the account {role['account']}, but the store is reached with credentials"
            f" of {caller['Account']}. EventBridge Scheduler takes a role of the same account only. {HOW_TO_FIX}"
        )
        return look
    if not _is_there_and_trusted(look, role_arn, role["name"].rpartition("/")[2], iam):
        return look
    schedule_arn = f"arn:{partition}:scheduler:{region}:{role['account']}:schedule/{GROUP}/{schedule_name(store_id)}"
    _simulate(look, iam, role_arn, OF_ROLE, ["*"], who=f"The role of its lease, {role_arn},")
    if caller is not None:
        source, who = principal(caller["Arn"]), "The caller"
        _simulate(look, iam, source, OF_CALLER, [schedule_arn], who=who)
        _simulate(look, iam, source, ("iam:PassRole",), [role_arn], who=who, passed_to=SERVICE)
    return look


def principal(arn: str) -> str:
    """The user or role whose policies count for a caller: behind the session of a role is the role."""
    if ":assumed-role/" not in arn:
        return arn
    head, _separator, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"


def _is_there_and_trusted(look: RoleCheck, role_arn: str, name: str, iam: Any) -> bool:
    """False where it is known not to be."""
    answer = _asked(
        look,
        "whether the role of its lease exists and trusts EventBridge Scheduler",
        "iam:GetRole",
        lambda: iam.get_role(RoleName=name),
        missing=f"The role of its lease, {role_arn}, does not exist. {HOW_TO_FIX}",
    )
    if answer is None:
        return not look.problems
    if trusts_scheduler(answer["Role"]["AssumeRolePolicyDocument"]):
        return True
    look.problems.append(
        f"The trust policy of the role of its lease, {role_arn}, does not allow {SERVICE} to assume it. {HOW_TO_FIX}"
    )
    return False


def trusts_scheduler(document: Any) -> bool:
    """May EventBridge Scheduler assume a role with this trust policy? Conditions are not judged: making the lease does that.

    Args:
        document: as IAM returns it; some SDKs leave it in JSON.
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
    look: RoleCheck,
    iam: Any,
    source: str,
    actions: Sequence[str],
    resources: Sequence[str],
    *,
    who: str,
    passed_to: Optional[str] = None,
) -> None:
    """Ask IAM what a user or role may do, without doing it."""
    context = [{"ContextKeyName": "iam:PassedToService", "ContextKeyValues": [passed_to], "ContextKeyType": "string"}]
    answer = _asked(
        look,
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
        look.problems.append(f"{who} lacks the permission {', '.join(denied)}, see the guide to permissions.")


def _asked(look: RoleCheck, what: str, action: str, ask: Any, *, missing: str = "") -> Optional[dict[str, Any]]:
    """Ask, or note what could not be seen.

    Args:
        missing: the problem where IAM has nothing of that name; empty where that only leaves something unknown.
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
            look.problems.append(missing)
            return None
        code = response.get("Code") or str(error).rstrip(".")
        reason = f"{action} is not permitted" if code.startswith("AccessDenied") else code
        told = f"It could not be checked {what} ({reason})."
        look.unknown += [told] if told not in look.unknown else []
        return None
    return answer
