# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to EventBridge Scheduler: answers and errors by its model, one log with KMS, and faults on demand."""

from __future__ import annotations

import datetime
import email.utils
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionClosedError
from botocore.model import StructureShape
from moto.iam.models import iam_backends

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator import ticker
from kms_emulator.scheduler.models import existing_scheduler
from kms_emulator.scheduler.responses import OPERATIONS
from kms_emulator.validation import scheduler_model
from tests.sdk import needs_scheduler_of_today
from tests.unit.emulator.schedules import ACCOUNT
from tests.unit.emulator.schedules import CONNECT
from tests.unit.emulator.schedules import OFF
from tests.unit.emulator.schedules import REGION
from tests.unit.emulator.schedules import Schedules
from tests.unit.emulator.schedules import expression
from tests.unit.emulator.schedules import now
from tests.unit.emulator.schedules import refusal
from tests.unit.emulator.schedules import scheduler_client
from tests.unit.emulator.schedules import target

ARN = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/lease"
NOT_TRUSTED = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
PATTERN = "[0-9a-zA-Z-_.]+"

EVERYTHING: dict[str, Any] = {
    "Description": "all that there is",
    "StartDate": datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc),
    "EndDate": datetime.datetime(2099, 2, 1, tzinfo=datetime.timezone.utc),
    "GroupName": "default",
    "ScheduleExpressionTimezone": "Europe/Berlin",
    "State": "DISABLED",
    "KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/any",
    "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5},
    "ActionAfterCompletion": "DELETE",
}
DEFAULTS = {
    "GroupName": "default",
    "ScheduleExpressionTimezone": "UTC",
    "State": "ENABLED",
    "ActionAfterCompletion": "NONE",
    "FlexibleTimeWindow": OFF,
}
DEFAULT_POLICY = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}


def described(schedules: Schedules, name: str = "lease") -> dict[str, Any]:
    answer: dict[str, Any] = schedules.client.get_schedule(Name=name)
    del answer["ResponseMetadata"]
    return answer


def output_members(operation: str) -> set[str]:
    shape = scheduler_model().operation_model(operation).output_shape
    assert shape is not None
    return set(shape.members)


# Answers


def test_every_member_of_a_schedule(schedules: Schedules) -> None:
    everything = {**EVERYTHING, "Target": schedules.target(RetryPolicy={"MaximumRetryAttempts": 3})}
    request = schedules.request(**everything)
    assert schedules.client.create_schedule(**request)["ScheduleArn"] == ARN
    answer = described(schedules)
    assert set(answer) == output_members("GetSchedule")
    dates = {name: answer.pop(name).timestamp() for name in ("CreationDate", "LastModificationDate")}
    assert set(dates.values()) == {round(now(), 3)}
    assert answer == {
        **request,
        "Arn": ARN,
        "Target": {**request["Target"], "RetryPolicy": {**DEFAULT_POLICY, "MaximumRetryAttempts": 3}},
    }


def test_what_is_left_out_gets_its_default_on_an_update_too(schedules: Schedules) -> None:
    schedules.create(**EVERYTHING)
    created_at = now()
    schedules.control.advance(10)
    schedules.update(seconds=30)
    answer = described(schedules)
    assert answer.pop("CreationDate").timestamp() == pytest.approx(created_at, abs=0.001)
    assert answer.pop("LastModificationDate").timestamp() == pytest.approx(now(), abs=0.001)
    assert answer == {
        **DEFAULTS,
        "Arn": ARN,
        "Name": "lease",
        "ScheduleExpression": expression(now() + 30),
        "Target": schedules.target(RetryPolicy=DEFAULT_POLICY),
    }


def test_the_raw_answers(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    """As an SDK hides what it does not know: no null, no member that the model does not have, numbers for dates."""
    role_arn = http_control.create_schedule_role()
    raw: dict[str, Any] = {}
    client = scheduler_client(emulator_server.url)
    client.meta.events.register(
        "response-received.scheduler",
        lambda event_name, response_dict, **_: raw.update(
            {event_name.split(".")[-1]: json.loads(response_dict["body"])}
        ),
    )
    request = {
        "Name": "lease",
        "ScheduleExpression": "at(2099-01-01T00:00:00)",
        "FlexibleTimeWindow": OFF,
        "Target": target("cks-0", role_arn),
    }
    client.create_schedule(**request)
    client.update_schedule(**request)
    client.get_schedule(Name="lease")
    client.list_schedules()
    client.delete_schedule(Name="lease")
    assert set(raw) == set(OPERATIONS)
    for operation, answer in raw.items():
        assert set(answer) <= output_members(operation)
        assert None not in answer.values()
    assert raw["DeleteSchedule"] == {}
    (listed,) = raw["ListSchedules"]["Schedules"]
    summary = scheduler_model().shape_for("ScheduleSummary")
    assert isinstance(summary, StructureShape)
    assert set(listed) == set(summary.members)
    assert isinstance(listed["CreationDate"], float)


def test_each_answer_has_a_date_of_the_emulators_clock(schedules: Schedules) -> None:
    schedules.control.advance(86400)
    for answer in (
        schedules.client.create_schedule(**schedules.request()),
        schedules.client.list_schedules(),
        schedules.client.list_schedule_groups(),
    ):
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        assert email.utils.parsedate_to_datetime(headers["date"]).timestamp() == int(now())
        assert headers["content-type"] == "application/json"


def test_pages_of_schedules(schedules: Schedules) -> None:
    for name in ("lease-a", "lease-b", "other", "lease-c"):
        schedules.create(name, State="DISABLED" if name == "lease-b" else "ENABLED")
        schedules.control.advance(1)

    def names(**wanted: Any) -> list[str]:
        return [schedule["Name"] for schedule in schedules.client.list_schedules(**wanted)["Schedules"]]

    assert names() == ["lease-c", "other", "lease-b", "lease-a"]
    assert names(NamePrefix="lease-", GroupName="default") == ["lease-c", "lease-b", "lease-a"]
    assert names(State="DISABLED") == ["lease-b"]
    assert names(State="ENABLED", NamePrefix="lease") == ["lease-c", "lease-a"]
    first = schedules.client.list_schedules(MaxResults=3)
    schedules.client.delete_schedule(Name="lease-b")
    assert names(NextToken=first["NextToken"]) == ["lease-a"]
    paginator = schedules.client.get_paginator("list_schedules")
    pages = paginator.paginate(PaginationConfig={"PageSize": 1})
    assert [each["Name"] for page in pages for each in page["Schedules"]] == ["lease-c", "other", "lease-a"]


def test_groups_and_tags_are_motos(schedules: Schedules) -> None:
    group_arn = schedules.client.create_schedule_group(Name="mine", Tags=[{"Key": "a", "Value": "b"}])[
        "ScheduleGroupArn"
    ]
    assert schedules.client.list_tags_for_resource(ResourceArn=group_arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    assert refusal(schedules.client.get_schedule_group, Name="other")[:2] == (404, "ResourceNotFoundException")
    assert schedules.control.requests() == []
    # The role's trust is for schedules of the group default.
    assert refusal(schedules.client.create_schedule, **schedules.request(GroupName="mine"))[2] == NOT_TRUSTED


# A second request


def test_a_name_is_unique_in_its_group(schedules: Schedules) -> None:
    schedules.create()
    expected = (409, "ConflictException", "Schedule lease already exists.")
    assert refusal(schedules.client.create_schedule, **schedules.request()) == expected


def test_the_same_token_gets_the_same_answer(schedules: Schedules) -> None:
    request = schedules.request(ClientToken="once")
    answers = [schedules.client.create_schedule(**request)["ScheduleArn"] for _turn in range(2)]
    schedules.update(Description="changed")
    answers.append(schedules.client.create_schedule(**request)["ScheduleArn"])
    assert answers == [ARN] * 3
    assert described(schedules)["Description"] == "changed"
    for other in ({"ClientToken": "another"}, {"Description": "other"}):
        assert refusal(schedules.client.create_schedule, **{**request, **other})[1] == "ConflictException"


# Refusals


@pytest.mark.parametrize("operation", ["get_schedule", "delete_schedule", "update_schedule"])
def test_a_schedule_that_is_not_there(schedules: Schedules, operation: str) -> None:
    request = schedules.request() if operation == "update_schedule" else {"Name": "lease"}
    call = getattr(schedules.client, operation)
    assert refusal(call, **request) == (404, "ResourceNotFoundException", "Schedule lease does not exist.")
    expected = (404, "ResourceNotFoundException", "Schedule group mine does not exist.")
    assert refusal(call, **{**request, "GroupName": "mine"}) == expected


def test_a_group_that_is_not_there(schedules: Schedules) -> None:
    expected = (404, "ResourceNotFoundException", "Schedule group mine does not exist.")
    assert refusal(schedules.client.list_schedules, GroupName="mine") == expected
    assert refusal(schedules.client.create_schedule, **schedules.request(GroupName="mine")) == expected


def constraint(value: str, place: str, text: str) -> str:
    return f"1 validation error detected: Value '{value}' at '{place}' failed to satisfy constraint: Member must {text}"


BAD_NAMES: list[tuple[dict[str, Any], str]] = [
    ({"Name": "no spaces"}, constraint("no spaces", "name", f"satisfy regular expression pattern: {PATTERN}")),
    ({"Name": "no/slash"}, constraint("no/slash", "name", f"satisfy regular expression pattern: {PATTERN}")),
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"Name": "schn\N{LATIN SMALL LETTER E WITH ACUTE}e"}, "regular expression pattern"),
    ({"Name": "n" * 65}, constraint("n" * 65, "name", "have length less than or equal to 64")),
    ({"State": "ON"}, constraint("ON", "state", "satisfy enum value set: [ENABLED, DISABLED]")),
    ({"Description": "d" * 513}, "have length less than or equal to 512"),
    ({"KmsKeyArn": "key"}, "at 'kmsKeyArn' failed to satisfy constraint"),
    ({"ScheduleExpression": "at(2099-02-30T00:00:00)"}, "Invalid Schedule Expression at(2099-02-30T00:00:00)."),
    ({"ScheduleExpression": "at(2099-02-20T00:00)"}, "Invalid Schedule Expression at(2099-02-20T00:00)."),
    ({"ScheduleExpression": "at(2099-02-20T00:00:00Z)"}, "Invalid Schedule Expression at(2099-02-20T00:00:00Z)."),
    ({"ScheduleExpression": "rate(often)"}, "Invalid Schedule Expression rate(often)."),
    ({"ScheduleExpression": "tomorrow"}, "Invalid Schedule Expression tomorrow."),
    (
        {"ScheduleExpression": "at(9999-12-31T23:59:59)", "ScheduleExpressionTimezone": "America/Phoenix"},
        "Invalid Schedule Expression at(9999-12-31T23:59:59).",
    ),
    (
        {"ScheduleExpression": "at(0001-01-01T00:00:00)", "ScheduleExpressionTimezone": "Asia/Tokyo"},
        "Invalid Schedule Expression at(0001-01-01T00:00:00).",
    ),
    ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "Invalid Schedule Expression Timezone Mars/Olympus."),
    ({"ScheduleExpressionTimezone": "America"}, "Invalid Schedule Expression Timezone America."),
    ({"ScheduleExpressionTimezone": "../etc"}, "Invalid Schedule Expression Timezone ../etc."),
    (
        {"ScheduleExpression": "rate(1 hour)", "StartDate": 1},
        "The StartDate you specify cannot be earlier than 5 minutes",
    ),
    ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "A FlexibleTimeWindow has MaximumWindowInMinutes if its Mode is"),
    ({"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 1}}, "A FlexibleTimeWindow has MaximumWindowIn"),
]
BAD_TARGETS: list[tuple[dict[str, Any], str]] = [
    ({"Arn": "kms"}, "Provided Arn is not in correct format."),
    ({"Arn": CONNECT.replace("aws:", "aws-cn:", 1)}, "is not in the partition of this Region, aws."),
    (
        {"Arn": "arn:aws:scheduler:us-east-1:123456789012:schedule/a/b"},
        "scheduler is not a supported service for a target.",
    ),
    ({"Input": "no JSON"}, "The Input of a universal target must be a JSON object."),
    ({"Input": "[]"}, "The Input of a universal target must be a JSON object."),
    ({"RoleArn": "role"}, "at 'target.roleArn' failed to satisfy constraint: Member must satisfy regular expression"),
    ({"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/missing"}, NOT_TRUSTED),
    ({"RoleArn": "arn:aws:iam::999999999999:role/keyops-aws-lease"}, NOT_TRUSTED),
    ({"RetryPolicy": {"MaximumRetryAttempts": 186}}, "'target.retryPolicy.maximumRetryAttempts' failed to satisfy"),
    ({"RetryPolicy": {"MaximumEventAgeInSeconds": 59}}, "Member must have value greater than or equal to 60"),
]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        *(pytest.param(*each, marks=needs_scheduler_of_today) for each in BAD_NAMES),
        *BAD,
        *(({"Target": target}, text) for target, text in BAD_TARGETS),
    ],
)
def test_a_request_that_cannot_be(schedules: Schedules, change: dict[str, Any], text: str) -> None:
    request = {**schedules.request(), **change}
    request["Target"] = schedules.target(**change.get("Target", {}))
    refused = [refusal(schedules.client.create_schedule, **request)]
    assert schedules.names() == []
    schedules.create()
    before = schedules.control.schedules()
    refused.append(refusal(schedules.client.update_schedule, **request))
    assert schedules.control.schedules() == before
    for status, code, message in refused:
        assert (status, code) == (400, "ValidationException")
        assert text in message


@pytest.mark.parametrize(
    ("statement", "is_trusted"),
    [
        ({}, True),
        ({"Principal": {"Service": ["ec2.amazonaws.com", "scheduler.amazonaws.com"]}, "Action": ["sts:*"]}, True),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "*"}}, False),
        ({"Principal": {"Service": "ec2.amazonaws.com"}}, False),
        ({"Action": "sts:TagSession"}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}, False),
        ({"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:scheduler:*:{ACCOUNT}:schedule-group/default"}}}, True),
        ({"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:scheduler:*:{ACCOUNT}:schedule/default/*"}}}, False),
        ({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
    ],
)
def test_whom_the_role_trusts(schedules: Schedules, statement: dict[str, Any], is_trusted: bool) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam_backends[ACCOUNT]["aws"].get_role("keyops-aws-lease")
    role.assume_role_policy_document = json.dumps({"Version": "2012-10-17", "Statement": [{**trust, **statement}]})
    if is_trusted:
        schedules.create()
    else:
        expected = (400, "ValidationException", NOT_TRUSTED)
        assert refusal(schedules.client.create_schedule, **schedules.request()) == expected


@pytest.mark.parametrize(
    "trust",
    [
        "no JSON",
        "[]",
        "{}",
        '{"Statement": ["text"]}',
        '{"Statement": {"Principal": "*", "Action": "*"}}',
        '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Condition": []}}',
        '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Condition": {"StringEquals": "text"}}}',
        '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": [1, {}]}}',
    ],
)
def test_a_trust_that_cannot_be(schedules: Schedules, trust: str) -> None:
    """moto creates roles with any text for a trust."""
    iam = iam_backends[ACCOUNT]["aws"]
    role_arn = iam.create_role("other", trust, "/", None, "", [], None).arn
    request = schedules.request(Target=schedules.target(RoleArn=role_arn))
    assert refusal(schedules.client.create_schedule, **request) == (400, "ValidationException", NOT_TRUSTED)


@needs_scheduler_of_today
def test_each_member_that_is_missing_is_named(schedules: Schedules) -> None:
    call = schedules.client.create_schedule
    others = {name: value for name, value in schedules.request().items() if name != "Target"}
    null = "failed to satisfy constraint: Member must not be null"
    expected = f"1 validation error detected: Value null at 'target' {null}"
    assert refusal(call, **others) == (400, "ValidationException", expected)
    assert refusal(call, Name="lease") == (
        400,
        "ValidationException",
        f"3 validation errors detected: Value null at 'scheduleExpression' {null};"
        f" Value null at 'target' {null}; Value null at 'flexibleTimeWindow' {null}",
    )


@needs_scheduler_of_today
def test_the_partition_of_a_target_is_that_of_the_region(schedules: Schedules) -> None:
    steering = Control(region_name="us-gov-west-1")
    steering.freeze_clock()
    client = scheduler_client(region_name="us-gov-west-1")
    elsewhere = Schedules(client, steering, steering.create_store())
    text = f"The target {CONNECT} is not in the partition of this Region, aws-us-gov."
    assert refusal(client.create_schedule, **elsewhere.request()) == (400, "ValidationException", text)
    other = elsewhere.target(Arn=CONNECT.replace("aws:", "aws-us-gov:", 1), RoleArn=schedules.role_arn)
    assert refusal(client.create_schedule, **elsewhere.request(Target=other))[2] == NOT_TRUSTED


def test_a_role_that_trusts_somebody_else(schedules: Schedules) -> None:
    schedules.control.create_schedule_role(trusted=False)
    assert refusal(schedules.client.create_schedule, **schedules.request())[2] == NOT_TRUSTED


def test_a_token_of_no_page(schedules: Schedules) -> None:
    expected = (400, "ValidationException", "Invalid NextToken.")
    assert refusal(schedules.client.list_schedules, NextToken="made-up") == expected
    assert refusal(schedules.client.list_schedules, MaxResults=101)[1] == "ValidationException"


def test_a_region_that_there_is_not(schedules: Schedules) -> None:
    code, message = refusal(scheduler_client(region_name="nowhere-1").list_schedules)[1:]
    assert (code, message) == ("ValidationException", "There is no Region 'nowhere-1'; a Region is such as us-east-1.")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/schedules/lease", "no JSON", 400, "SerializationException"),
        ("POST", "/schedules/lease", "[]", 400, "SerializationException"),
        ("POST", "/schedules/lease", '{"Target": "text"}', 400, "SerializationException"),
        ("POST", "/schedules/lease", "{}", 400, "ValidationException"),
        ("GET", "/schedules?MaxResults=many", "", 400, "SerializationException"),
        ("GET", "/schedules/a%2Fb%20c", "", 400, "ValidationException"),
        ("GET", "/schedules/lease?groupName=mine", "", 404, "ResourceNotFoundException"),
    ],
)
def test_requests_that_no_sdk_has_checked(
    emulator_server: EmulatorServer, method: str, path: str, body: str, status: int, code: str
) -> None:
    scope = f"20260101/{REGION}/scheduler/aws4_request"
    answer = urllib3.request(
        method,
        f"{emulator_server.url}{path}",
        body=body,
        headers={"Authorization": f"AWS4-HMAC-SHA256 Credential=AKIA/{scope}, Signature=0"},
    )
    assert (answer.status, answer.headers["X-Amzn-ErrorType"]) == (status, code)
    content = json.loads(answer.data)
    assert set(content) == {"__type", "Message"}
    assert content["__type"] == code
    assert answer.headers["Content-Type"] == "application/json"


# In one log with KMS, and spoilt as KMS's requests are


def test_the_log_has_the_requests_with_their_members(schedules: Schedules, kms: Any) -> None:
    request = schedules.request(ClientToken="token")
    schedules.client.create_schedule(**request)
    kms.list_keys()
    schedules.client.update_schedule(**request)
    schedules.client.list_schedules(NamePrefix="le", MaxResults=5)
    refusal(schedules.client.get_schedule, Name="other", GroupName="default")
    schedules.client.delete_schedule(Name="lease", ClientToken="token")
    assert [(each["operation"], each["outcome"], each["parameters"]) for each in schedules.control.requests()] == [
        ("CreateSchedule", "ok", request),
        ("ListKeys", "ok", {}),
        ("UpdateSchedule", "ok", request),
        ("ListSchedules", "ok", {"NamePrefix": "le", "MaxResults": 5}),
        ("GetSchedule", "ResourceNotFoundException", {"Name": "other", "GroupName": "default"}),
        ("DeleteSchedule", "ok", {"Name": "lease", "ClientToken": "token"}),
    ]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_of_each_operation(schedules: Schedules, operation: str) -> None:
    schedules.control.add_fault(operation, error="InternalServerException", skip=1, times=1)
    requests: dict[str, Callable[[], Any]] = {
        "CreateSchedule": lambda: schedules.create(f"lease-{len(schedules.names())}"),
        "GetSchedule": lambda: schedules.client.get_schedule(Name="lease"),
        "UpdateSchedule": schedules.update,
        "DeleteSchedule": lambda: schedules.client.delete_schedule(Name="lease"),
        "ListSchedules": schedules.client.list_schedules,
    }
    if operation != "CreateSchedule":
        schedules.create()
    requests[operation]()
    assert refusal(requests[operation])[:2] == (500, "InternalServerException")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("ThrottlingException", 429),
        ("ServiceQuotaExceededException", 402),
        ("AccessDeniedException", 400),
        ("Other", 400),
    ],
)
def test_the_status_of_a_fault(schedules: Schedules, error: str, status: int) -> None:
    schedules.control.add_fault("ListSchedules", error=error)
    assert refusal(schedules.client.list_schedules)[:2] == (status, error)


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("operation", ["CreateSchedule", "UpdateSchedule", "DeleteSchedule"])
def test_a_change_with_a_fault(schedules: Schedules, operation: str, applied: bool, drop: bool) -> None:
    changes: dict[str, Callable[[], Any]] = {
        "CreateSchedule": lambda: schedules.create("other"),
        "UpdateSchedule": lambda: schedules.update(Description="changed"),
        "DeleteSchedule": lambda: schedules.client.delete_schedule(Name="lease"),
    }
    after = {
        "CreateSchedule": [("lease", None), ("other", None)],
        "UpdateSchedule": [("lease", "changed")],
        "DeleteSchedule": [],
    }
    schedules.create()
    error = None if drop else "InternalServerException"
    schedules.control.add_fault(operation, drop=drop, error=error, applied=applied)
    with pytest.raises(ConnectionClosedError if drop else ClientError):
        changes[operation]()
    there = [(schedule["name"], schedule["description"]) for schedule in schedules.control.schedules()]
    assert there == (after[operation] if applied else [("lease", None)])
    record = schedules.control.requests()[-1]
    assert (record["operation"], record["outcome"]) == (operation, "dropped" if drop else error)
    assert record["applied"] is applied


@pytest.mark.parametrize("method", ["get_schedule", "list_schedules"])
def test_an_answer_that_is_dropped(schedules: Schedules, method: str) -> None:
    schedules.create()
    operation = {"get_schedule": "GetSchedule", "list_schedules": "ListSchedules"}[method]
    schedules.control.add_fault(operation, drop=True)
    members = {"Name": "lease"} if method == "get_schedule" else {}
    with pytest.raises(ConnectionClosedError):
        getattr(schedules.client, method)(**members)
    getattr(schedules.client, method)(**members)


def test_an_intruder_before_a_schedule_is_made(schedules: Schedules, kms: Any) -> None:
    schedules.control.add_intruder(
        "CreateSchedule", action="ConnectCustomKeyStore", parameters={"CustomKeyStoreId": schedules.store_id}
    )
    schedules.create()
    (store,) = kms.describe_custom_key_stores()["CustomKeyStores"]
    assert store["ConnectionState"] == "CONNECTING"
    assert schedules.control.intrusions()[0]["before"] == "CreateSchedule"


def test_quota_and_latency(schedules: Schedules, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("kms_emulator.handling.time.sleep", slept.append)
    schedules.control.set_latency(0.25)
    schedules.control.set_quota("ListSchedules", 1)
    schedules.client.list_schedules()
    assert refusal(schedules.client.list_schedules)[:2] == (429, "ThrottlingException")
    assert slept == [0.25, 0.25]


def test_nobody_is_asked_where_there_is_no_schedule(kms: Any, control: Control) -> None:
    """An emulator without schedules makes no EventBridge Scheduler, which takes a millisecond."""
    kms.list_keys()
    control.advance(10)
    control.reset()
    assert existing_scheduler(ACCOUNT, REGION) is None


# Over HTTP


@pytest.mark.parametrize("seconds", [-60, 1])
def test_a_schedule_runs_without_anybody_asking(
    emulator_server: EmulatorServer, http_control: HttpControl, seconds: int
) -> None:
    http_control.set_transitions(connect_seconds=0)
    store_id = http_control.create_store()
    due = int(time.time()) + seconds
    scheduler_client(emulator_server.url).create_schedule(
        Name="lease",
        ScheduleExpression=expression(due),
        FlexibleTimeWindow=OFF,
        Target=target(store_id, http_control.create_schedule_role()),
    )
    backend = existing_scheduler(ACCOUNT, REGION)
    assert backend is not None
    deadline = time.monotonic() + 5
    while not backend.runs.log:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (store,) = backend.kms.custom_key_stores.values()
    assert store.connection.status == "CONNECTED"
    (run,) = http_control.schedule_runs()
    assert run["outcome"] == "ok"
    assert due <= run["time"] <= time.time()


def test_motos_reset_forgets_schedules_and_runs(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    http_control.freeze_clock()
    schedules = Schedules(scheduler_client(emulator_server.url), http_control, http_control.create_store())
    schedules.create("first", seconds=1)
    schedules.create("second", seconds=10)
    http_control.advance(2)
    assert (schedules.names(), schedules.outcomes()) == (["first", "second"], ["ok"])
    urllib3.request("POST", f"{emulator_server.url}/moto-api/reset")
    http_control.advance(20)
    assert (schedules.names(), schedules.outcomes()) == ([], [])


def test_without_install_the_scheduler_is_motos() -> None:
    """Whoever imports the package and does not install it keeps moto's schedules, which never run."""
    program = """
import kms_emulator.control, kms_emulator.scheduler.urls, kms_emulator.simulation, kms_emulator.ticker
from moto.scheduler.models import EventBridgeSchedulerBackend, scheduler_backends
kms_emulator.ticker.tick()
assert type(scheduler_backends["123456789012"]["us-east-1"]) is EventBridgeSchedulerBackend
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_all_of_it_over_http(emulator_server: EmulatorServer, http_control: HttpControl, http_kms: Any) -> None:
    http_control.freeze_clock()
    client = scheduler_client(emulator_server.url)
    schedules = Schedules(client, http_control, http_control.create_store())
    schedules.create("lease.with_all-Signs0", ActionAfterCompletion="DELETE")
    assert client.get_schedule(Name="lease.with_all-Signs0")["State"] == "ENABLED"
    http_control.set_schedule_delivery("lease", late_seconds=5)
    http_control.advance(64)
    assert http_control.schedule_runs() == []
    http_control.advance(2)
    assert (schedules.outcomes(), schedules.names()) == (["ok"], [])
    (store,) = http_kms.describe_custom_key_stores()["CustomKeyStores"]
    assert store["ConnectionState"] == "CONNECTING"
    http_control.add_fault("GetSchedule", drop=True)
    with pytest.raises(ConnectionClosedError):
        client.get_schedule(Name="lease")
    assert [record["operation"] for record in http_control.requests()][:2] == ["CreateSchedule", "GetSchedule"]


def test_a_line_in_the_log(http_control: HttpControl) -> None:
    log = io.StringIO()
    with EmulatorServer(log=log) as server:
        refusal(scheduler_client(server.url).get_schedule, Name="lease")
    (line,) = log.getvalue().splitlines()
    assert line.split()[1:] == ["GetSchedule", "lease", "ResourceNotFoundException"]


def test_the_ticker_survives_a_failure(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[int] = []

    def fail() -> None:
        ticks.append(1)
        raise RuntimeError("a failure of a run")

    monkeypatch.setattr(ticker, "tick", fail)
    monkeypatch.setattr(ticker, "PERIOD", 0.001)
    clock = ticker.Ticker()
    clock.start()
    deadline = time.monotonic() + 5
    while len(ticks) < 2:
        assert time.monotonic() < deadline
    clock.stop()
    clock.stop()
    assert "RuntimeError: a failure of a run" in capfd.readouterr().err
