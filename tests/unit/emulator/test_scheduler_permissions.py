# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what in EventBridge Scheduler, while moto's IAM is on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from moto.iam.models import iam_backends

from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.unit.emulator.schedules import ACCOUNT
from tests.unit.emulator.schedules import REGION
from tests.unit.emulator.schedules import SESSION
from tests.unit.emulator.schedules import Schedules
from tests.unit.emulator.schedules import iam_is_on
from tests.unit.emulator.schedules import refusal
from tests.unit.emulator.schedules import scheduler_client

USER = f"arn:aws:iam::{ACCOUNT}:user/operator"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/keyops-aws-lease"
LEASE = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/lease"
AS_ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/operators/me"
PASS_ROLE = {"Action": "iam:PassRole", "Resource": ROLE}


def allow(action: str | list[str], resource: str = "*", **members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **members}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def as_user(schedules: Schedules) -> Callable[..., Any]:
    """A client with the credentials of a user who has a policy with these statements."""
    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user(REGION, "operator")
    key = iam.create_access_key("operator")

    def client(*statements: dict[str, Any]) -> Any:
        iam.put_user_policy("operator", "p", policy(*statements))
        return scheduler_client(aws_access_key_id=key.access_key_id, aws_secret_access_key=key.secret_access_key)

    return client


def denied(action: str, resource: str, who: str = USER) -> tuple[int, str, str]:
    reason = f"because no identity-based policy allows the {action} action"
    return (
        403,
        "AccessDeniedException",
        f"User: {who} is not authorized to perform: {action} on resource: {resource} {reason}",
    )


@iam_is_on
def test_each_operation_needs_its_own_action(schedules: Schedules, as_user: Callable[..., Any]) -> None:
    calls = {
        "CreateSchedule": ("create_schedule", schedules.request()),
        "GetSchedule": ("get_schedule", {"Name": "lease"}),
        "UpdateSchedule": ("update_schedule", schedules.request()),
        "DeleteSchedule": ("delete_schedule", {"Name": "lease", "GroupName": "default"}),
    }
    others = allow("scheduler:ListSchedules")
    for operation, (method, members) in calls.items():
        action = f"scheduler:{operation}"
        assert refusal(getattr(as_user(others), method), **members) == denied(action, LEASE)
        getattr(as_user(allow(action, LEASE), allow("iam:PassRole", ROLE)), method)(**members)
    assert refusal(as_user(allow("scheduler:Get*")).list_schedules) == denied("scheduler:ListSchedules", "*")
    assert as_user(others).list_schedules(NamePrefix="lease")["Schedules"] == []


@iam_is_on
def test_a_policy_for_some_schedules(schedules: Schedules, as_user: Callable[..., Any]) -> None:
    client = as_user(allow("scheduler:*", LEASE.replace("lease", "lea*")), allow("iam:PassRole"))
    client.create_schedule(**schedules.request())
    other = LEASE.replace("lease", "other")
    assert refusal(client.create_schedule, **schedules.request("other")) == denied("scheduler:CreateSchedule", other)


@iam_is_on
@pytest.mark.parametrize("method", ["create_schedule", "update_schedule"])
@pytest.mark.parametrize(
    ("statement", "may"),
    [
        ({"Effect": "Allow", **PASS_ROLE}, True),
        ({"Effect": "Allow", **PASS_ROLE, "Action": "iam:*"}, True),
        (
            {
                "Effect": "Allow",
                **PASS_ROLE,
                "Condition": {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
            },
            True,
        ),
        (
            {
                "Effect": "Allow",
                **PASS_ROLE,
                "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
            },
            False,
        ),
        ({"Effect": "Allow", **PASS_ROLE, "Resource": f"{ROLE}-other"}, False),
        (allow("iam:GetRole"), False),
    ],
)
def test_the_role_must_be_passed(
    schedules: Schedules, as_user: Callable[..., Any], method: str, statement: dict[str, Any], may: bool
) -> None:
    as_user(allow("scheduler:*"), allow("iam:PassRole")).create_schedule(**schedules.request("there"))
    client = as_user(allow("scheduler:*"), statement)
    name = "there" if method == "update_schedule" else "lease"
    if may:
        getattr(client, method)(**schedules.request(name))
    else:
        assert refusal(getattr(client, method), **schedules.request(name)) == denied("iam:PassRole", ROLE)


@iam_is_on
def test_an_explicit_denial(schedules: Schedules, as_user: Callable[..., Any]) -> None:
    deny = {"Effect": "Deny", "Action": "scheduler:Delete*", "Resource": "*"}
    status, code, message = refusal(as_user(allow("*"), deny).delete_schedule, Name="lease")
    assert (status, code) == (403, "AccessDeniedException")
    assert message == (
        f"User: {USER} is not authorized to perform: scheduler:DeleteSchedule on resource: {LEASE}"
        " with an explicit deny in an identity-based policy"
    )


@iam_is_on
def test_credentials_that_are_none(schedules: Schedules, as_user: Callable[..., Any]) -> None:
    key = next(iter(iam_backends[ACCOUNT]["aws"].users.values())).access_keys[0]
    wrong = scheduler_client(aws_access_key_id=key.access_key_id, aws_secret_access_key="wrong")
    unknown = scheduler_client(aws_access_key_id="AKIAUNKNOWN", aws_secret_access_key="wrong")
    assert refusal(wrong.list_schedules)[:2] == (403, "InvalidSignatureException")
    assert refusal(unknown.get_schedule, Name="lease") == (
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


@iam_is_on
def test_the_session_of_a_role(schedules: Schedules, as_user: Callable[..., Any]) -> None:
    iam = iam_backends[ACCOUNT]["aws"]
    trust = policy({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
    role = iam.create_role("operators", trust, "/", None, "", [], None)
    iam.put_role_policy("operators", "p", policy(allow("scheduler:Get*")))
    iam.put_user_policy("operator", "p", policy(allow("sts:AssumeRole")))
    key = iam.users["operator"].access_keys[0]
    sts = SESSION.client(
        "sts", REGION, aws_access_key_id=key.access_key_id, aws_secret_access_key=key.secret_access_key
    )
    session = sts.assume_role(RoleArn=role.arn, RoleSessionName="me")["Credentials"]
    client = scheduler_client(
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    assert refusal(client.get_schedule, Name="lease")[0] == 404
    assert refusal(client.delete_schedule, Name="lease") == denied("scheduler:DeleteSchedule", LEASE, AS_ROLE)


def test_everybody_may_do_all_while_iam_is_off(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    assert scheduler_client(emulator_server.url).list_schedules()["Schedules"] == []
