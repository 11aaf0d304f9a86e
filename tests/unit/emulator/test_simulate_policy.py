# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SimulatePrincipalPolicy, and how policies are decided."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.iam.models import iam_backends

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.policies import decide
from tests.unit.emulator.schedules import ACCOUNT
from tests.unit.emulator.schedules import SESSION
from tests.unit.emulator.schedules import refusal

USER = f"arn:aws:iam::{ACCOUNT}:user/operator"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lease"
LEASE = f"arn:aws:scheduler:us-east-1:{ACCOUNT}:schedule/default/lease"
TO_SCHEDULER: dict[str, list[str]] = {"iam:passedtoservice": ["scheduler.amazonaws.com"]}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(effect: str = "Allow", action: Any = "*", resource: Any = "*", **members: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **members}


@pytest.fixture(scope="session")
def iam_client() -> Any:
    return SESSION.client("iam", "us-east-1", aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="not-a-secret")


@pytest.fixture
def iam(iam_client: Any, control: Control) -> Any:
    """A client of IAM in process, where there is a user and a role."""
    backend = iam_backends[ACCOUNT]["aws"]
    backend.create_user("us-east-1", "operator")
    trust = policy({"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"})
    backend.create_role("lease", trust, "/", None, "", [], None)
    return iam_client


def decisions(iam: Any, source: str, actions: list[str], **members: Any) -> dict[tuple[str, str], str]:
    answer = iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=actions, **members)
    assert answer["IsTruncated"] is False
    return {
        (result["EvalActionName"], result["EvalResourceName"]): result["EvalDecision"]
        for result in answer["EvaluationResults"]
    }


def test_each_action_on_each_resource(iam: Any) -> None:
    document = policy(statement(action="scheduler:*", resource=LEASE), statement("Deny", ["scheduler:Delete*"]))
    iam.put_user_policy(UserName="operator", PolicyName="p", PolicyDocument=document)
    actions = ["scheduler:GetSchedule", "scheduler:DeleteSchedule"]
    other = LEASE.replace("lease", "other")
    assert decisions(iam, USER, actions, ResourceArns=[LEASE, other]) == {
        ("scheduler:GetSchedule", LEASE): "allowed",
        ("scheduler:GetSchedule", other): "implicitDeny",
        ("scheduler:DeleteSchedule", LEASE): "explicitDeny",
        ("scheduler:DeleteSchedule", other): "explicitDeny",
    }
    assert decisions(iam, USER, ["scheduler:GetSchedule"]) == {("scheduler:GetSchedule", "*"): "implicitDeny"}


def test_all_policies_of_a_user(iam: Any) -> None:
    attached = iam.create_policy(PolicyName="attached", PolicyDocument=policy(statement(action="a:Attached")))["Policy"]
    of_group = iam.create_policy(PolicyName="of-group", PolicyDocument=policy(statement(action="a:OfGroup")))["Policy"]
    iam.create_group(GroupName="operators")
    iam.add_user_to_group(GroupName="operators", UserName="operator")
    iam.put_user_policy(UserName="operator", PolicyName="p", PolicyDocument=policy(statement(action="a:Inline")))
    iam.attach_user_policy(UserName="operator", PolicyArn=attached["Arn"])
    iam.put_group_policy(GroupName="operators", PolicyName="p", PolicyDocument=policy(statement(action="a:InGroup")))
    iam.attach_group_policy(GroupName="operators", PolicyArn=of_group["Arn"])
    actions = ["a:Inline", "a:Attached", "a:InGroup", "a:OfGroup", "a:Other"]
    assert list(decisions(iam, USER, actions).values()) == [*["allowed"] * 4, "implicitDeny"]
    more = policy(statement(action="a:Other"))
    assert set(decisions(iam, USER, actions, PolicyInputList=[more]).values()) == {"allowed"}


def test_a_role(iam: Any) -> None:
    document = policy(statement(action="kms:ConnectCustomKeyStore"))
    attached = iam.create_policy(PolicyName="attached", PolicyDocument=document)["Policy"]
    iam.attach_role_policy(RoleName="lease", PolicyArn=attached["Arn"])
    iam.put_role_policy(
        RoleName="lease", PolicyName="p", PolicyDocument=policy(statement(action="cloudhsm:DescribeClusters"))
    )
    actions = ["kms:ConnectCustomKeyStore", "cloudhsm:DescribeClusters", "kms:DisconnectCustomKeyStore"]
    assert list(decisions(iam, ROLE, actions).values()) == ["allowed", "allowed", "implicitDeny"]


def test_a_group(iam: Any) -> None:
    group = iam.create_group(GroupName="operators")["Group"]["Arn"]
    document = policy(statement(action="kms:Connect*"), statement("Deny", "kms:ConnectOther"))
    iam.put_group_policy(GroupName="operators", PolicyName="p", PolicyDocument=document)
    actions = ["kms:ConnectCustomKeyStore", "kms:ConnectOther", "kms:ListKeys"]
    assert list(decisions(iam, group, actions).values()) == ["allowed", "explicitDeny", "implicitDeny"]


@pytest.mark.parametrize("given", ["no JSON", "[]", "{}", '{"Statement": [1]}', '{"Statement": {"Effect": "Maybe"}}'])
def test_a_policy_that_cannot_be(iam: Any, given: str) -> None:
    members = {"PolicySourceArn": USER, "ActionNames": ["a:Any"], "PolicyInputList": [policy(statement()), given]}
    assert refusal(iam.simulate_principal_policy, **members) == (400, "InvalidInput", "Syntax errors in policy.")


@pytest.mark.parametrize(
    ("service", "decision"), [("scheduler", "allowed"), ("ec2", "implicitDeny"), (None, "implicitDeny")]
)
def test_to_whom_a_role_is_passed(iam: Any, service: str | None, decision: str) -> None:
    condition = {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    document = policy(statement(action="iam:PassRole", resource=ROLE, Condition=condition))
    iam.put_user_policy(UserName="operator", PolicyName="p", PolicyDocument=document)
    context = [
        {
            "ContextKeyName": "iam:PassedToService",
            "ContextKeyValues": [f"{service}.amazonaws.com"],
            "ContextKeyType": "string",
        }
    ]
    given = {"ContextEntries": context} if service else {}
    assert decisions(iam, USER, ["iam:PassRole"], ResourceArns=[ROLE], **given) == {("iam:PassRole", ROLE): decision}


@pytest.mark.parametrize("source", [f"{USER}-other", f"{ROLE}-other", "arn:aws:iam::999999999999:user/operator"])
def test_a_principal_that_there_is_not(iam: Any, source: str) -> None:
    status, code, message = refusal(iam.simulate_principal_policy, PolicySourceArn=source, ActionNames=["a:Any"])
    assert (status, code) == (404, "NoSuchEntity")
    assert message == f"The principal {source} cannot be found."


def test_over_http(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    iam = SESSION.client(
        "iam", "us-east-1", endpoint_url=emulator_server.url, aws_access_key_id="A", aws_secret_access_key="B"
    )
    role_arn = http_control.create_schedule_role("simulated")
    actions = ["kms:ConnectCustomKeyStore", "kms:DeleteCustomKeyStore"]
    assert list(decisions(iam, role_arn, actions).values()) == ["allowed", "implicitDeny"]


def condition(operator: str, key: str, value: Any) -> dict[str, Any]:
    return {"Condition": {operator: {key: value}}}


@pytest.mark.parametrize(
    ("members", "decision"),
    [
        ({}, "allowed"),
        ({"action": "IAM:passrole"}, "allowed"),
        ({"action": ["iam:Get*", "iam:Pass????"]}, "allowed"),
        ({"action": "iam:Pass???"}, "implicitDeny"),
        ({"action": "iam.PassRole"}, "implicitDeny"),
        ({"resource": [LEASE, ROLE]}, "allowed"),
        ({"resource": ROLE.upper()}, "implicitDeny"),
        ({"resource": f"arn:aws:iam::{ACCOUNT}:role/*"}, "allowed"),
        ({"action": None, "NotAction": "scheduler:*"}, "allowed"),
        ({"action": None, "NotAction": ["iam:*"]}, "implicitDeny"),
        ({"resource": None, "NotResource": LEASE}, "allowed"),
        ({"resource": None, "NotResource": "*"}, "implicitDeny"),
        ({"effect": "Deny"}, "explicitDeny"),
        (condition("StringEquals", "iam:PassedToService", ["ec2.amazonaws.com", "scheduler.amazonaws.com"]), "allowed"),
        (condition("StringEquals", "IAM:passedtoservice", "scheduler.amazonaws.com"), "allowed"),
        (condition("StringEquals", "iam:PassedToService", "SCHEDULER.amazonaws.com"), "implicitDeny"),
        (condition("StringEqualsIgnoreCase", "iam:PassedToService", "SCHEDULER.amazonaws.com"), "allowed"),
        (condition("StringNotEquals", "iam:PassedToService", "scheduler.amazonaws.com"), "implicitDeny"),
        (condition("StringNotEquals", "iam:PassedToService", "ec2.amazonaws.com"), "allowed"),
        (condition("StringNotEquals", "aws:Other", "any"), "allowed"),
        (condition("StringLike", "iam:PassedToService", "sched*"), "allowed"),
        (condition("StringNotLike", "iam:PassedToService", "sched*"), "implicitDeny"),
        (condition("ArnLike", "aws:SourceArn", LEASE.replace("lease", "*")), "allowed"),
        (condition("ArnNotEquals", "aws:SourceArn", LEASE), "implicitDeny"),
        (condition("Bool", "aws:SecureTransport", True), "allowed"),
        (condition("Bool", "aws:SecureTransport", "false"), "implicitDeny"),
        (condition("StringEquals", "aws:Other", "any"), "implicitDeny"),
        (condition("StringEqualsIfExists", "aws:Other", "any"), "allowed"),
        (condition("StringEqualsIfExists", "iam:PassedToService", "any"), "implicitDeny"),
        (condition("NumericLessThan", "aws:MultiFactorAuthAge", "1"), "implicitDeny"),
    ],
)
def test_how_a_statement_is_decided(members: dict[str, Any], decision: str) -> None:
    context = {**TO_SCHEDULER, "aws:sourcearn": [LEASE], "aws:securetransport": ["true"]}
    made = {name: value for name, value in statement(**members).items() if value is not None}
    assert decide([policy(made)], "iam:PassRole", ROLE, context).value == decision


def test_a_denial_beats_what_is_allowed() -> None:
    documents = [policy(statement()), policy(statement("Deny", "iam:*"))]
    assert decide(documents, "iam:PassRole", ROLE).value == "explicitDeny"
    assert decide(documents, "kms:ListKeys").value == "allowed"
    assert decide([], "kms:ListKeys").value == "implicitDeny"
    assert decide([json.dumps({"Statement": statement()})], "kms:ListKeys").value == "allowed"
