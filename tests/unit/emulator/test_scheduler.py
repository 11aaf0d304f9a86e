# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EventBridge Scheduler runs schedules that are due; in process, with the clock frozen."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from moto.iam.models import iam_backends

from kms_emulator import Control
from kms_emulator.models import EmulatedBackend
from tests.sdk import needs_scheduler_of_today
from tests.unit.emulator.schedules import ACCOUNT
from tests.unit.emulator.schedules import DISCONNECT
from tests.unit.emulator.schedules import OFF
from tests.unit.emulator.schedules import REGION
from tests.unit.emulator.schedules import SESSION
from tests.unit.emulator.schedules import Schedules
from tests.unit.emulator.schedules import expression
from tests.unit.emulator.schedules import now
from tests.unit.emulator.schedules import scheduler_client
from tests.unit.emulator.schedules import target
from tests.unit.emulator.stores import Connection

REFUSED = "CustomKeyStoreInvalidStateException"
DENIED = "AccessDeniedException"


def without_retries(schedules: Schedules, **members: Any) -> dict[str, Any]:
    return schedules.target(RetryPolicy={"MaximumRetryAttempts": 0}, **members)


# When a schedule runs


def test_a_schedule_connects_the_store_when_it_is_due(schedules: Schedules, connection: Connection) -> None:
    due = now() + 60
    schedules.create(ActionAfterCompletion="DELETE", Description="for a test")
    assert schedules.control.schedules() == [
        {
            "name": "lease",
            "group": "default",
            "at": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(due))}+00:00",
            "operation": "connectCustomKeyStore",
            "parameters": {"CustomKeyStoreId": schedules.store_id},
            "state": "ENABLED",
            "description": "for a test",
            "role_arn": schedules.role_arn,
            "attempts": 0,
        }
    ]
    schedules.control.advance(59)
    assert (schedules.names(), schedules.outcomes()) == (["lease"], [])
    schedules.control.advance(1)
    assert connection(schedules.store_id) == ("CONNECTING", None)
    assert schedules.names() == []
    assert schedules.control.schedule_runs() == [
        {"name": "lease", "time": due, "operation": "connectCustomKeyStore", "outcome": "ok", "attempt": 1}
    ]
    assert [record["operation"] for record in schedules.control.requests()] == [
        "CreateSchedule",
        "DescribeCustomKeyStores",
    ]


def test_what_a_run_begins_takes_its_time_from_when_it_was_due(schedules: Schedules, connection: Connection) -> None:
    schedules.create(seconds=60)
    schedules.control.advance(69)
    assert connection(schedules.store_id)[0] == "CONNECTING"
    schedules.control.advance(1)
    assert connection(schedules.store_id)[0] == "CONNECTED"


def test_several_runs_within_one_jump_of_the_clock(schedules: Schedules, connection: Connection) -> None:
    begin = now()
    schedules.control.create_schedule_role(actions=["kms:*", "cloudhsm:*"])
    other = schedules.target(Arn=DISCONNECT)
    schedules.create("last", seconds=200)
    schedules.create("middle", seconds=100, Target=other)
    schedules.create("first", seconds=50)
    schedules.control.advance(1000)
    assert [run["name"] for run in schedules.control.schedule_runs()] == ["first", "middle", "last"]
    assert (schedules.outcomes(), schedules.times(begin)) == (["ok"] * 3, [50, 100, 200])
    assert connection(schedules.store_id)[0] == "CONNECTED"


def test_requests_that_move_the_clock(schedules: Schedules, connection: Connection) -> None:
    schedules.create(seconds=3)
    schedules.control.freeze_clock(seconds_per_request=1)
    seen = [connection(schedules.store_id)[0] for _time in range(14)]
    assert seen == ["DISCONNECTED"] * 2 + ["CONNECTING"] * 10 + ["CONNECTED"] * 2


@pytest.mark.parametrize("asked", ["requests", "schedule_runs"])
def test_a_clock_that_goes_on_by_itself(scheduler: Any, control: Control, asked: str) -> None:
    control.set_transitions(connect_seconds=0)
    schedules = Schedules(scheduler, control, control.create_store())
    schedules.create(seconds=-60)
    getattr(control, asked)()
    assert schedules.outcomes() == ["ok"]


def test_a_request_to_kms_comes_after_what_is_due(scheduler: Any, control: Control, kms: Any) -> None:
    control.reset()
    schedules = Schedules(scheduler, control, control.create_store())
    schedules.create(seconds=-60)
    (store,) = kms.describe_custom_key_stores()["CustomKeyStores"]
    assert store["ConnectionState"] == "CONNECTING"


@pytest.mark.parametrize(("zone", "hours"), [("UTC", 0), ("Asia/Tokyo", -9), ("America/Phoenix", 7), (None, 0)])
def test_the_time_zone(schedules: Schedules, zone: str | None, hours: int) -> None:
    given = {"ScheduleExpressionTimezone": zone} if zone else {}
    schedules.create(seconds=60 - hours * 3600 * (1 if zone else 0), **given)
    schedules.control.advance(59 if hours == 0 else 0)
    assert schedules.outcomes() == []
    schedules.control.advance(1 if hours == 0 else 60)
    assert schedules.outcomes() == ["ok"]


def test_a_recurring_schedule_never_runs(schedules: Schedules) -> None:
    schedules.create("rate", ScheduleExpression="rate(1 minute)")
    schedules.create("cron", ScheduleExpression="cron(0 12 * * ? *)")
    schedules.control.advance(10**7)
    assert [schedule["at"] for schedule in schedules.control.schedules()] == [None, None]
    assert schedules.outcomes() == []


# What keeps it from running


def test_a_schedule_that_is_disabled(schedules: Schedules) -> None:
    schedules.create("never", State="DISABLED")
    schedules.create("meanwhile")
    schedules.control.advance(30)
    schedules.update("meanwhile", seconds=30, State="DISABLED")
    schedules.control.advance(1000)
    assert schedules.outcomes() == []
    assert [schedule["state"] for schedule in schedules.control.schedules()] == ["DISABLED"] * 2
    schedules.update("never", seconds=-970, State="ENABLED")
    schedules.control.advance(0)
    assert schedules.outcomes() == ["ok"]


def test_a_schedule_that_is_deleted(schedules: Schedules) -> None:
    schedules.create()
    schedules.client.delete_schedule(Name="lease")
    schedules.control.advance(1000)
    assert schedules.outcomes() == []


def test_a_schedule_whose_group_is_deleted(schedules: Schedules) -> None:
    schedules.client.create_schedule_group(Name="mine")
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam_backends[ACCOUNT]["aws"].get_role("keyops-aws-lease")
    role.assume_role_policy_document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    schedules.create(GroupName="mine")
    assert schedules.control.schedules()[0]["group"] == "mine"
    schedules.client.delete_schedule_group(Name="mine")
    schedules.control.advance(1000)
    assert schedules.outcomes() == []


def test_a_schedule_that_is_moved(schedules: Schedules) -> None:
    begin = now()
    schedules.create(seconds=60)
    schedules.update(seconds=90)
    schedules.control.advance(60)
    assert schedules.outcomes() == []
    schedules.control.advance(1000)
    assert schedules.times(begin) == [90]


def test_after_its_run_it_runs_again_only_at_another_time(schedules: Schedules) -> None:
    begin = now()
    schedules.create(seconds=60, Target=without_retries(schedules))
    schedules.control.advance(60)
    schedules.update(seconds=0, Target=without_retries(schedules), Description="changed")
    schedules.control.advance(40)
    assert schedules.times(begin) == [60]
    schedules.update(seconds=20, Target=without_retries(schedules))
    schedules.control.advance(1000)
    assert (schedules.times(begin), schedules.outcomes()) == ([60, 120], ["ok", REFUSED])
    assert schedules.names() == ["lease"]


# Retries


def test_a_refusal_is_retried_until_it_works(schedules: Schedules, connection: Connection) -> None:
    begin = now()
    schedules.create(ActionAfterCompletion="DELETE")
    schedules.control.advance(55)
    schedules.control.set_connection_state(schedules.store_id, "DISCONNECTING")
    schedules.control.advance(10)
    assert (schedules.times(begin), schedules.outcomes()) == ([60, 61, 63], [REFUSED] * 3)
    assert schedules.control.schedules()[0]["attempts"] == 3
    schedules.control.advance(2)
    assert (schedules.times(begin), schedules.outcomes()) == ([60, 61, 63, 67], [*[REFUSED] * 3, "ok"])
    assert [run["attempt"] for run in schedules.control.schedule_runs()] == [1, 2, 3, 4]
    assert connection(schedules.store_id)[0] == "CONNECTING"
    assert schedules.names() == []


@pytest.mark.parametrize(("after", "left"), [("DELETE", []), ("NONE", ["lease"])])
def test_attempts_are_used_up(schedules: Schedules, after: str, left: list[str]) -> None:
    begin = now()
    policy = {"MaximumRetryAttempts": 2}
    schedules.create(ActionAfterCompletion=after, Target=schedules.target(Input="{}", RetryPolicy=policy))
    schedules.control.advance(10_000)
    assert (schedules.times(begin), schedules.outcomes()) == ([60, 61, 63], ["ValidationException"] * 3)
    assert schedules.names() == left


def test_the_age_is_used_up(schedules: Schedules) -> None:
    policy = {"MaximumEventAgeInSeconds": 60}
    schedules.create(Target=schedules.target(Input="{}", RetryPolicy=policy))
    begin = now() + 60
    schedules.control.advance(10_000)
    assert schedules.times(begin) == [0, 1, 3, 7, 15, 31]


def test_the_pauses_grow_to_a_minute(schedules: Schedules) -> None:
    schedules.create(Target=schedules.target(Input="{}"))
    schedules.control.advance(86400)
    times = schedules.times(0)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses == [1, 2, 4, 8, 16, 32, *[60] * 179]
    assert len(times) == 186


@pytest.mark.parametrize("how", ["delete", "move", "disable", "reset"])
def test_what_ends_retries(schedules: Schedules, how: str) -> None:
    schedules.control.set_connection_state(schedules.store_id, "CONNECTED")
    schedules.create()
    schedules.control.advance(60)
    assert schedules.outcomes() == [REFUSED]
    if how == "delete":
        schedules.client.delete_schedule(Name="lease")
    elif how == "move":
        schedules.update(seconds=10_000)
    elif how == "disable":
        schedules.update(seconds=0, State="DISABLED")
    else:
        schedules.control.reset()
    schedules.control.advance(1000)
    assert schedules.outcomes() == ([] if how == "reset" else [REFUSED])


def test_a_change_of_anything_else_leaves_retries_alone(schedules: Schedules) -> None:
    schedules.control.set_connection_state(schedules.store_id, "CONNECTED")
    begin = now()
    schedules.create()
    schedules.control.advance(62)
    schedules.update(seconds=-2, Description="changed")
    schedules.control.advance(2)
    assert schedules.times(begin) == [60, 61, 63]


def test_a_time_that_is_long_past_has_its_retries_from_now_on(schedules: Schedules) -> None:
    schedules.control.set_connection_state(schedules.store_id, "DISCONNECTING")
    begin = now()
    schedules.create(seconds=-(10**6))
    schedules.control.advance(20)
    assert (schedules.times(begin), schedules.outcomes()) == ([0, 1, 3, 7, 15], [*[REFUSED] * 4, "ok"])


def test_what_is_behind_the_store_refuses_at_first(schedules: Schedules) -> None:
    schedules.control.set_connect_outcomes(schedules.store_id, ["CloudHsmClusterNotActiveException"])
    schedules.create()
    schedules.control.advance(100)
    assert schedules.outcomes() == ["CloudHsmClusterNotActiveException", "ok"]


def test_a_failure_of_the_emulator_breaks_no_request(
    schedules: Schedules, connection: Connection, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a failure of a run")

    with monkeypatch.context() as patched:
        patched.setattr(EmulatedBackend, "connect_custom_key_store", fail)
        schedules.create(seconds=0)
        assert connection(schedules.store_id)[0] == "DISCONNECTED"
    assert "RuntimeError: a failure of a run" in capfd.readouterr().err
    schedules.control.advance(1)
    assert schedules.outcomes() == ["InternalFailure", "ok"]


# With whose permissions


def test_the_role_must_be_allowed_to_describe_the_cluster(schedules: Schedules) -> None:
    external = schedules.control.create_store(custom_key_store_type="EXTERNAL_KEY_STORE")
    schedules.control.create_schedule_role(actions=["kms:ConnectCustomKeyStore"])
    schedules.create("external", Target=target(external, schedules.role_arn))
    schedules.create("cloudhsm")
    schedules.control.advance(60)
    assert [(run["name"], run["outcome"]) for run in schedules.control.schedule_runs()] == [
        ("external", "ok"),
        ("cloudhsm", DENIED),
    ]
    schedules.control.create_schedule_role()
    schedules.control.advance(1)
    assert schedules.outcomes()[2:] == ["ok"]


@pytest.mark.parametrize("actions", [[], ["kms:DescribeCustomKeyStores"], ["kms:DisconnectCustomKeyStore"]])
def test_a_role_that_may_not_connect(schedules: Schedules, actions: list[str]) -> None:
    schedules.control.create_schedule_role(actions=actions)
    schedules.create(Target=without_retries(schedules))
    schedules.control.advance(1000)
    assert schedules.outcomes() == [DENIED]


@pytest.mark.parametrize(
    ("trusted", "effect", "outcome"),
    [(True, "Allow", "ok"), (True, "Deny", DENIED), (False, "Allow", DENIED), (None, "Allow", DENIED)],
)
def test_the_role_as_it_is_when_it_runs(schedules: Schedules, trusted: bool | None, effect: str, outcome: str) -> None:
    schedules.create(Target=without_retries(schedules))
    iam = SESSION.client("iam", REGION)
    statement = {"Effect": effect, "Action": ["kms:Connect*", "cloudhsm:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    policy = iam.create_policy(PolicyName=f"policy-{effect}", PolicyDocument=document)["Policy"]["Arn"]
    schedules.control.create_schedule_role(trusted=trusted is not False, actions=None if effect == "Deny" else [])
    iam.attach_role_policy(RoleName="keyops-aws-lease", PolicyArn=policy)
    if trusted is None:
        iam.detach_role_policy(RoleName="keyops-aws-lease", PolicyArn=policy)
        iam.delete_role(RoleName="keyops-aws-lease")
    schedules.control.advance(60)
    assert schedules.outcomes() == [outcome]


def test_creating_the_role_again_replaces_all_of_it(schedules: Schedules) -> None:
    first = schedules.control.create_schedule_role("other", trusted=False, actions=["kms:*"])
    assert schedules.control.create_schedule_role("other") == first == f"arn:aws:iam::{ACCOUNT}:role/other"
    role = iam_backends[ACCOUNT]["aws"].get_role("other")
    (policy,) = role.policies.values()
    assert json.loads(policy)["Statement"][0]["Action"] == ["kms:ConnectCustomKeyStore", "cloudhsm:DescribeClusters"]
    assert "scheduler.amazonaws.com" in role.assume_role_policy_document


# Other targets, and what KMS says


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:scheduler:::aws-sdk:kms:deleteCustomKeyStore",
        "arn:aws:scheduler:::aws-sdk:kms:ConnectCustomKeyStore",
        "arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
        f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:any",
    ],
)
def test_another_target_is_accepted_and_fails(schedules: Schedules, arn: str) -> None:
    schedules.create(Target=schedules.target(Arn=arn), ActionAfterCompletion="DELETE")
    assert schedules.control.schedules()[0]["operation"] == arn.rpartition(":")[2]
    schedules.control.advance(1000)
    assert schedules.outcomes() == ["UnknownOperationException"]
    assert schedules.names() == []


def test_a_target_whose_input_is_text(schedules: Schedules) -> None:
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:queue"
    schedules.create(Target={"Arn": arn, "RoleArn": schedules.role_arn, "Input": "no JSON"})
    assert schedules.control.schedules()[0]["parameters"] is None


@pytest.mark.parametrize("given", ["{}", '{"CustomKeyStoreId": 1}', '{"CustomKeyStoreId": "cks-0"}', None])
def test_a_request_that_kms_refuses(schedules: Schedules, given: str | None) -> None:
    refused = {'{"CustomKeyStoreId": 1}': "SerializationException", '{"CustomKeyStoreId": "cks-0"}': "NotFound"}
    arguments = without_retries(schedules)
    arguments.pop("Input")
    schedules.create(Target={**arguments, **({"Input": given} if given else {})})
    schedules.control.advance(60)
    (outcome,) = schedules.outcomes()
    assert refused.get(given or "", "ValidationException") in outcome


def test_a_quota_holds_for_runs_as_well(schedules: Schedules, kms: Any) -> None:
    other = schedules.control.create_store(connection_state="DISCONNECTED")
    schedules.control.set_quota("ConnectCustomKeyStore", 0.1)
    kms.connect_custom_key_store(CustomKeyStoreId=other)
    schedules.create(seconds=5)
    schedules.control.advance(1000)
    assert schedules.outcomes() == ["ThrottlingException", "ThrottlingException", "ThrottlingException", "ok"]


def test_faults_and_intruders_are_not_for_runs(schedules: Schedules) -> None:
    schedules.control.add_fault("ConnectCustomKeyStore", error="KMSInternalException")
    schedules.create()
    schedules.control.advance(60)
    assert schedules.outcomes() == ["ok"]


# Deliveries that are not punctual


def test_a_late_delivery(schedules: Schedules) -> None:
    begin = now()
    schedules.create()
    schedules.control.set_schedule_delivery("le", late_seconds=45)
    schedules.create("lease-to-come")
    schedules.create("other")
    schedules.control.advance(1000)
    runs = schedules.control.schedule_runs()
    late = {run["name"]: run["time"] - begin for run in runs if run["attempt"] == 1}
    assert late == {"lease": 105, "lease-to-come": 105, "other": 60}


def test_a_second_delivery_is_refused_and_retried(schedules: Schedules, connection: Connection) -> None:
    begin = now()
    schedules.control.set_schedule_delivery("", twice=True)
    policy = {"MaximumRetryAttempts": 2}
    schedules.create(ActionAfterCompletion="DELETE", Target=schedules.target(RetryPolicy=policy))
    schedules.control.advance(66)
    assert schedules.names() == ["lease"]
    schedules.control.advance(1000)
    assert (schedules.times(begin), schedules.outcomes()) == ([60, 65, 66, 68], ["ok", *[REFUSED] * 3])
    assert [run["attempt"] for run in schedules.control.schedule_runs()] == [1, 1, 2, 3]
    assert schedules.names() == []
    assert connection(schedules.store_id)[0] == "CONNECTED"


def test_a_second_delivery_connects_a_store_that_was_disconnected_meanwhile(schedules: Schedules, kms: Any) -> None:
    schedules.control.set_schedule_delivery("", twice=True)
    schedules.create(ActionAfterCompletion="DELETE")
    schedules.control.advance(64)
    kms.disconnect_custom_key_store(CustomKeyStoreId=schedules.store_id)
    schedules.control.advance(100)
    assert schedules.outcomes()[-1] == "ok"
    assert schedules.names() == []


def test_a_delivery_that_never_comes_until_it_does(schedules: Schedules) -> None:
    schedules.control.set_schedule_delivery("lease", never=True)
    schedules.create(ActionAfterCompletion="DELETE")
    schedules.control.advance(10_000)
    assert (schedules.names(), schedules.outcomes()) == (["lease"], [])
    schedules.control.set_schedule_delivery("lease")
    schedules.control.advance(0)
    assert schedules.outcomes() == ["ok"]


def test_the_last_command_that_fits_counts(schedules: Schedules) -> None:
    schedules.control.set_schedule_delivery("lease-a", never=True)
    schedules.control.set_schedule_delivery("lease")
    schedules.control.set_schedule_delivery("lease-b", never=True)
    schedules.create("lease-a")
    schedules.create("lease-b")
    schedules.control.advance(60)
    assert [run["name"] for run in schedules.control.schedule_runs()] == ["lease-a"]


# One account and Region


def test_reset_forgets_schedules_runs_and_deliveries(schedules: Schedules, scheduler: Any) -> None:
    schedules.control.set_schedule_delivery("lease", never=True)
    schedules.client.create_schedule_group(Name="mine")
    schedules.create("other", seconds=1)
    schedules.create()
    schedules.control.advance(1)
    schedules.control.reset()
    assert (schedules.names(), schedules.outcomes()) == ([], [])
    assert [group["Name"] for group in scheduler.list_schedule_groups()["ScheduleGroups"]] == ["default"]
    schedules.control.freeze_clock()
    again = Schedules(scheduler, schedules.control, schedules.control.create_store())
    again.create()
    schedules.control.advance(61)
    assert schedules.outcomes() == ["ok"]


@needs_scheduler_of_today
def test_each_region_and_account_has_its_own(schedules: Schedules) -> None:
    elsewhere = Control(region_name="us-gov-west-1")
    elsewhere.freeze_clock()
    role_arn = elsewhere.create_schedule_role()
    assert role_arn == f"arn:aws-us-gov:iam::{ACCOUNT}:role/keyops-aws-lease"
    store_id = elsewhere.create_store()
    arn = "arn:aws-us-gov:scheduler:::aws-sdk:kms:connectCustomKeyStore"
    scheduler_client(region_name="us-gov-west-1").create_schedule(
        Name="lease",
        ScheduleExpression=expression(now("us-gov-west-1") + 60),
        FlexibleTimeWindow=OFF,
        Target=target(store_id, role_arn, Arn=arn),
    )
    schedules.control.advance(1000)
    assert (schedules.names(), elsewhere.schedule_runs()) == ([], [])
    elsewhere.advance(61)
    assert [run["outcome"] for run in elsewhere.schedule_runs()] == ["ok"]
    assert Control(account_id="999999999999").schedules() == []
    with pytest.raises(ValueError, match=r"There is no Region 'nowhere'; a Region is such as us-east-1\."):
        Control(region_name="nowhere").schedules()
