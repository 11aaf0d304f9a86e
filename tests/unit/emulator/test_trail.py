# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudTrail knows who changed custom key stores, and tells it by LookupEvents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.iam.models import iam_backends

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.unit.emulator.schedules import SESSION
from tests.unit.emulator.schedules import Schedules
from tests.unit.emulator.schedules import iam_is_on
from tests.unit.emulator.stores import PASSWORD

ACCOUNT = "123456789012"
DAY = 86400


def client(service: Any = "cloudtrail", **options: Any) -> Any:
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    given = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "not-a-secret", **options}
    return SESSION.client(service, region_name="us-east-1", config=config, **given)


@pytest.fixture(scope="session")
def trail() -> Any:
    """A client of CloudTrail in process, made once."""
    return client()


def by(key: str, value: str) -> dict[str, Any]:
    return {"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]}


def names(answer: dict[str, Any]) -> list[str]:
    return [event["EventName"] for event in answer["Events"]]


def test_who_changed_a_store_is_listed_newest_first(kms: Any, trail: Any, store: str, control: Control) -> None:
    kms.update_custom_key_store(CustomKeyStoreId=store, KeyStorePassword=PASSWORD)
    control.advance(5)
    kms.delete_custom_key_store(CustomKeyStoreId=store)
    found = trail.lookup_events()
    assert names(found) == ["DeleteCustomKeyStore", "UpdateCustomKeyStore"]
    last, before = (json.loads(event["CloudTrailEvent"]) for event in found["Events"])
    assert last["requestParameters"] == {"customKeyStoreId": store}
    assert last["additionalEventData"]["clusterId"].startswith("cluster-")
    assert last["eventID"] == found["Events"][0]["EventId"]
    assert last["userIdentity"]["arn"] == f"arn:aws:sts::{ACCOUNT}:user/moto"
    assert last["sourceIPAddress"] == "192.0.2.0"
    assert (last["eventSource"], last["readOnly"], last["responseElements"]) == ("kms.amazonaws.com", False, None)
    assert before["requestParameters"]["customKeyStoreId"] == store
    assert (found["Events"][0]["EventTime"] - found["Events"][1]["EventTime"]).total_seconds() == pytest.approx(
        5, abs=1
    )
    assert PASSWORD not in json.dumps(found, default=str)


def test_a_request_that_was_refused_has_its_error(kms: Any, trail: Any, store: str) -> None:
    with pytest.raises(ClientError):
        kms.disconnect_custom_key_store(CustomKeyStoreId="cks-0000000000000000f")
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    with pytest.raises(ClientError):
        kms.delete_custom_key_store(CustomKeyStoreId=store)
    events = [json.loads(event["CloudTrailEvent"]) for event in trail.lookup_events()["Events"]]
    assert [event.get("errorCode") for event in events] == [
        "CustomKeyStoreInvalidStateException",
        None,
        "CustomKeyStoreNotFoundException",
    ]
    assert "additionalEventData" not in events[2]


def test_what_only_reads_is_no_event(kms: Any, trail: Any, store: str) -> None:
    kms.describe_custom_key_stores()
    kms.list_keys()
    assert trail.lookup_events()["Events"] == []


@pytest.mark.parametrize(
    ("key", "value", "count"),
    [
        ("EventName", "ConnectCustomKeyStore", 1),
        ("EventName", "DeleteCustomKeyStore", 0),
        ("EventSource", "kms.amazonaws.com", 1),
        ("ReadOnly", "false", 1),
        ("Username", "moto", 1),
        ("AccessKeyId", "AKIAEXAMPLE", 1),
        ("ResourceName", "anything", 0),
    ],
)
def test_events_are_looked_up_by_one_attribute(
    kms: Any, trail: Any, store: str, key: str, value: str, count: int
) -> None:
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    assert len(trail.lookup_events(**by(key, value))["Events"]) == count


def test_events_come_in_pages(kms: Any, trail: Any, store: str) -> None:
    for number in range(5):
        kms.update_custom_key_store(CustomKeyStoreId=store, NewCustomKeyStoreName=f"name-{number}")
    pages = list(trail.get_paginator("lookup_events").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["Events"]) for page in pages] == [2, 2, 1]
    found = [json.loads(event["CloudTrailEvent"]) for page in pages for event in page["Events"]]
    assert [event["requestParameters"]["newCustomKeyStoreName"] for event in found] == [
        f"name-{number}" for number in reversed(range(5))
    ]
    first = trail.lookup_events(MaxResults=2)
    for other in ({"MaxResults": 3}, {"MaxResults": 2, **by("ReadOnly", "false")}):
        with pytest.raises(ClientError, match="InvalidNextToken"):
            trail.lookup_events(NextToken=first["NextToken"], **other)


def test_events_come_late_and_go_after_90_days(kms: Any, trail: Any, store: str, control: Control) -> None:
    control.set_trail_delay(900)
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    control.advance(899)
    assert trail.lookup_events()["Events"] == []
    control.advance(1)
    assert names(trail.lookup_events()) == ["ConnectCustomKeyStore"]
    control.advance(90 * DAY - 901)
    assert names(trail.lookup_events()) == ["ConnectCustomKeyStore"]
    control.advance(2)
    assert trail.lookup_events()["Events"] == []


def test_a_time_range_leaves_out_what_was_before_and_after(kms: Any, trail: Any, store: str, control: Control) -> None:
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    control.advance(60)
    kms.disconnect_custom_key_store(CustomKeyStoreId=store)
    last, first = (event["EventTime"] for event in trail.lookup_events()["Events"])
    assert names(trail.lookup_events(StartTime=last)) == ["DisconnectCustomKeyStore"]
    assert names(trail.lookup_events(EndTime=first)) == ["ConnectCustomKeyStore"]
    assert len(trail.lookup_events(StartTime=first, EndTime=last)["Events"]) == 2


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"LookupAttributes": [*by("ReadOnly", "true")["LookupAttributes"]] * 2}, "InvalidLookupAttributesException"),
        ({"StartTime": 2000000000, "EndTime": 1000000000}, "InvalidTimeRangeException"),
        ({"MaxResults": 51}, "InvalidMaxResultsException"),
        ({"MaxResults": 0}, "InvalidMaxResultsException"),
        ({"NextToken": "x"}, "InvalidNextTokenException"),
        ({"EventCategory": "management"}, "InvalidEventCategoryException"),
        (by("Colour", "red"), "ValidationException"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(
    control: Control, trail: Any, request_: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        trail.lookup_events(**request_)
    assert caught.value.response["Error"]["Code"] == code
    assert [request["outcome"] for request in control.requests()] == [code]


def test_a_lookup_is_in_the_log_and_can_have_a_fault(control: Control, trail: Any) -> None:
    control.add_fault("LookupEvents", error="ThrottlingException")
    with pytest.raises(ClientError, match="ThrottlingException"):
        trail.lookup_events()
    assert trail.lookup_events()["Events"] == []
    assert [(each["operation"], each["outcome"]) for each in control.requests()] == [
        ("LookupEvents", "ThrottlingException"),
        ("LookupEvents", "ok"),
    ]


def test_reset_forgets_the_events_and_the_delay(kms: Any, trail: Any, store: str, control: Control) -> None:
    control.set_trail_delay(900)
    kms.connect_custom_key_store(CustomKeyStoreId=store)
    control.reset()
    control.advance(900)
    assert trail.lookup_events()["Events"] == []
    kms.connect_custom_key_store(CustomKeyStoreId=control.create_store())
    assert names(trail.lookup_events()) == ["ConnectCustomKeyStore"]


def test_what_a_schedule_did_is_an_event(schedules: Schedules, control: Control, trail: Any) -> None:
    schedules.create()
    control.advance(3600)
    (event,) = (json.loads(each["CloudTrailEvent"]) for each in trail.lookup_events()["Events"])
    assert event["eventName"] == "ConnectCustomKeyStore"
    assert event["sourceIPAddress"] == "scheduler.amazonaws.com"
    assert event["userIdentity"]["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/keyops-aws-lease/scheduler"


@iam_is_on
def test_permissions_and_users(kms: Any, control: Control, store: str) -> None:
    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user("us-east-1", "alice")
    key = iam.create_access_key("alice")
    keys = {"aws_access_key_id": key.access_key_id, "aws_secret_access_key": key.secret_access_key}

    def may(*actions: str) -> None:
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        iam.put_user_policy("alice", "p", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    may("kms:*", "cloudhsm:*")
    client("kms", **keys).connect_custom_key_store(CustomKeyStoreId=store)
    with pytest.raises(ClientError, match=r"AccessDenied.*cloudtrail:LookupEvents"):
        client(**keys).lookup_events()
    may("cloudtrail:LookupEvents")
    with pytest.raises(ClientError, match="AccessDenied"):
        client("kms", **keys).disconnect_custom_key_store(CustomKeyStoreId=store)
    last, first = client(**keys).lookup_events()["Events"]
    assert (first["Username"], first["AccessKeyId"]) == ("alice", key.access_key_id)
    identity = json.loads(first["CloudTrailEvent"])["userIdentity"]
    assert (identity["type"], identity["arn"]) == ("IAMUser", f"arn:aws:iam::{ACCOUNT}:user/alice")
    assert json.loads(last["CloudTrailEvent"])["errorCode"] == "AccessDeniedException"


def test_it_works_over_http_and_moto_has_the_rest(
    emulator_server: EmulatorServer, http_control: HttpControl, http_kms: Any
) -> None:
    store_id = http_control.create_store()
    http_kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    trail = client(endpoint_url=emulator_server.url)
    (event,) = trail.lookup_events(**by("EventName", "ConnectCustomKeyStore"))["Events"]
    assert json.loads(event["CloudTrailEvent"])["sourceIPAddress"] == "127.0.0.1"
    assert trail.describe_trails()["trailList"] == []
