# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases in AWS: what is made, whose they are, what a lost answer or another version leaves, and what the options may be."""

from __future__ import annotations

import datetime
import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.parsers import ResponseParserError

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import lease as lease_module
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import schedule as schedule_module
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Keeper
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Lease
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Leases
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease_role import principal
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease_role import trusts_scheduler
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.leased import leased_stores
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.renewal import Renewal
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import Run
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import AwsLeases
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import ScheduleError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import end_report
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import holder_token
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import schedule_name
from kms_emulator import Control
from tests.unit.harness import ModuleRunner

STORE = "cks-1234567890abcdef0"
NAME = f"keyops-aws-{STORE}"
LEASE = Lease(STORE, "payments", "CONNECTED", "2026-01-31T22:00:00+00:00", holder="ours")
OTHER = replace(LEASE, holder="another")
ELSEWHERE = "another-boot-id"


class World:
    """EventBridge Scheduler, on a clock that stands still unless it is moved on."""

    def __init__(self, control: Control) -> None:
        control.freeze_clock()
        self.control = control
        self.client = boto3.client("scheduler", region_name="us-east-1")
        self.role_arn = control.create_schedule_role()

    def leases(self) -> AwsLeases:
        clock = Clock(sleep=self.control.advance, monotonic=lambda: 0.0)
        return AwsLeases(self.client, role_arn=self.role_arn, clock=clock)

    def facts(self) -> dict[str, Any]:
        """What the description of the schedule says."""
        (schedule,) = self.control.schedules()
        facts: dict[str, Any] = json.loads("{" + schedule["description"].partition("{")[2])
        return facts

    def change(self, **members: Any) -> None:
        """Change the schedule as somebody else would."""
        schedule = self.client.get_schedule(Name=NAME)
        kept = (
            "Name",
            "ScheduleExpression",
            "ScheduleExpressionTimezone",
            "FlexibleTimeWindow",
            "Target",
            "Description",
        )
        self.client.update_schedule(**{**{name: schedule[name] for name in kept}, **members})

    def made_elsewhere(self, lease: Lease = OTHER, *, minutes: float = 60) -> None:
        """A lease of another machine."""
        with mock.patch.object(schedule_module, "machine", return_value=ELSEWHERE):
            self.leases().open(lease, minutes=minutes)

    @property
    def operations(self) -> list[str]:
        return [request["operation"] for request in self.control.requests()]


@pytest.fixture
def world(control: Control) -> World:
    return World(control)


def at(schedule: dict[str, Any]) -> datetime.datetime:
    return datetime.datetime.fromisoformat(schedule["at"])


# ---- making one


def test_it_ends_at_a_full_minute_by_the_clock_of_aws(world: World) -> None:
    world.control.advance(7200)  # the clock of the host is two hours wrong
    lease = world.leases().open(LEASE, minutes=30)
    (schedule,) = world.control.schedules()
    now = datetime.datetime.fromtimestamp(world.control._backend.clock.now(), datetime.timezone.utc)
    now = now.replace(microsecond=0)  # as the header has it
    assert datetime.timedelta(minutes=30) <= at(schedule) - now < datetime.timedelta(minutes=31)
    assert at(schedule).second == 0
    assert lease.until == schedule["at"]


def test_what_other_machines_can_read(world: World) -> None:
    with mock.patch.object(platform, "node", return_value="host." * 60):
        world.leases().open(replace(LEASE, run="1:2:3"), minutes=30)
    (schedule,) = world.control.schedules()
    assert len(schedule["description"]) <= 512
    assert schedule["description"].startswith(
        "Connects a custom key store of AWS KMS at the end of its maintenance window"
    )
    facts = world.facts()
    assert (facts["since"], facts["found"], facts["run"]) == (LEASE.time, "CONNECTED", "1:2:3")
    assert facts["holder"] == holder_token("ours")


@pytest.mark.parametrize(
    "fault", [{"drop": True, "applied": True}, {"error": "InternalServerException", "applied": True}]
)
def test_an_answer_that_is_lost_is_no_other_window(world: World, fault: dict[str, Any]) -> None:
    world.control.add_fault("CreateSchedule", **fault)
    lease = world.leases().open(LEASE, minutes=30)
    assert lease.holder == holder_token("ours")
    assert [each["name"] for each in world.control.schedules()] == [NAME]


@pytest.mark.parametrize("error", ["ThrottlingException", "InternalServerException"])
def test_what_passes_is_retried(world: World, error: str) -> None:
    world.control.add_fault("CreateSchedule", error=error, times=3)
    world.leases().open(LEASE, minutes=30)
    assert world.operations == ["GetSchedule", *["CreateSchedule"] * 4]


def test_two_machines_at_the_same_moment(world: World) -> None:
    """The other one makes its lease between our look and ours."""
    leases = world.leases()
    create = leases.client.create_schedule

    def late(**members: Any) -> Any:
        world.made_elsewhere()
        return create(**members)

    leases.client = mock.Mock(wraps=leases.client, create_schedule=late, meta=leases.client.meta)
    with pytest.raises(CustomKeyStoreError, match="is in another maintenance window, as its lease in AWS says"):
        leases.open(LEASE, minutes=30)
    assert world.facts()["holder"] == holder_token("another")


def test_the_name_of_a_schedule_fits() -> None:
    assert schedule_name(STORE) == NAME
    assert len(schedule_name("x" * 64)) <= 64
    assert schedule_name("x" * 64) != schedule_name("x" * 63 + "y")


# ---- whose it is


def test_a_window_on_another_machine_has_the_store(world: World) -> None:
    world.made_elsewhere()
    with pytest.raises(CustomKeyStoreError) as refused:
        world.leases().open(LEASE, minutes=30)
    (schedule,) = world.control.schedules()
    assert f"That began at {OTHER.time} on the host " in str(refused.value)
    assert f", and ends at {schedule['at']} at the latest." in str(refused.value)


def test_a_window_is_lost_whose_keeper_is_not_seen_any_more(world: World) -> None:
    world.made_elsewhere()
    world.control.advance(schedule_module.LOST_SECONDS - 2)
    with pytest.raises(CustomKeyStoreError):
        world.leases().open(LEASE, minutes=30)
    world.control.advance(3)
    lease = world.leases().open(LEASE, minutes=30)
    assert world.facts()["holder"] == lease.holder == holder_token("ours")
    assert lease.time == OTHER.time  # since when the store is out of service


def test_without_a_keeper_a_window_elsewhere_has_the_store_until_its_end(world: World) -> None:
    world.control.set_schedule_delivery("keyops", never=True)
    world.made_elsewhere(replace(OTHER, holder=""))
    world.control.advance(3500)
    with pytest.raises(CustomKeyStoreError):
        world.leases().open(LEASE, minutes=30)
    world.control.advance(200)
    world.leases().open(LEASE, minutes=30)


def test_a_run_on_this_machine_is_seen(world: World) -> None:
    run = mock.Mock(is_visible=True, is_gone=lambda: False)
    with mock.patch.object(schedule_module, "Run", return_value=run):
        world.leases().open(OTHER, minutes=30)
        world.control.advance(1000)
        with pytest.raises(CustomKeyStoreError):
            world.leases().open(LEASE, minutes=30)
        run.is_gone = lambda: True
        world.leases().open(LEASE, minutes=30)


def test_two_machines_take_over_the_same_lease(world: World) -> None:
    """The last one has it. Ours sees that, and lets go."""
    world.made_elsewhere()
    world.control.advance(schedule_module.LOST_SECONDS)
    leases = world.leases()
    update = leases.client.update_schedule

    def then_the_other(**members: Any) -> Any:
        answer = update(**members)
        with mock.patch.object(schedule_module, "machine", return_value=ELSEWHERE):
            world.change(Description=members["Description"].replace(holder_token("ours"), holder_token("third")))
        return answer

    leases.client = mock.Mock(wraps=leases.client, update_schedule=then_the_other, meta=leases.client.meta)
    with (
        mock.patch.object(schedule_module, "machine", return_value="a third machine"),
        pytest.raises(CustomKeyStoreError),
    ):
        leases.open(LEASE, minutes=30)


# ---- another version, or somebody, has written it


@pytest.mark.parametrize(
    "description",
    ["", "By hand", "{", '{"since": 5}', '{"since": "yesterday", "seen": "soon", "new": {"a": 1}}', "[1]"],
)
def test_a_description_of_another_kind_is_a_lease_all_the_same(world: World, description: str) -> None:
    world.made_elsewhere()
    world.change(Description=description)
    lease = world.leases().of(STORE)
    assert lease is not None
    assert (lease.custom_key_store_id, lease.connection_state, lease.seen) == (STORE, "CONNECTED", None)
    assert datetime.datetime.fromisoformat(lease.time).tzinfo is not None
    with pytest.raises(CustomKeyStoreError):
        world.leases().open(LEASE, minutes=30)
    assert [each.custom_key_store_id for each in world.leases().all()] == [STORE]


def test_an_end_that_somebody_has_changed(world: World) -> None:
    world.made_elsewhere()
    world.change(ScheduleExpression="at(2030-06-01T12:00:00)", ScheduleExpressionTimezone="Europe/Berlin")
    lease = world.leases().of(STORE)
    assert lease is not None
    assert lease.until == "2030-06-01T10:00:00+00:00"
    world.change(ScheduleExpression="rate(5 minutes)")
    lease = world.leases().of(STORE)
    assert lease is not None
    assert lease.until is None


def test_an_input_of_another_kind(world: World) -> None:
    world.made_elsewhere()
    target = world.client.get_schedule(Name=NAME)["Target"]
    world.change(Target={**target, "Input": "{}"})
    lease = world.leases().of(STORE)
    assert lease is not None
    assert lease.custom_key_store_id == STORE


# ---- ending it


def test_it_is_gone_already(world: World) -> None:
    assert world.leases().end(STORE) is None
    assert world.operations == ["GetSchedule"]


def test_a_lost_answer_to_the_deletion(world: World) -> None:
    world.leases().open(LEASE, minutes=30)
    world.control.add_fault("DeleteSchedule", drop=True, applied=True)
    assert world.leases().end(STORE) is not None
    assert world.control.schedules() == []


@pytest.mark.parametrize(
    ("minutes", "deleted", "text"),
    [
        (10, True, None),
        (10, False, "was gone before its end. Somebody deleted it"),
        (90, True, "The lease of its window was over at 2026-01-31T23:00:00+00:00"),
        (90, False, "The lease of its window was over at 2026-01-31T23:00:00+00:00"),
    ],
)
def test_what_is_reported_at_the_end(minutes: int, deleted: bool, text: str | None) -> None:
    known = replace(LEASE, until="2026-01-31T23:00:00+00:00", schedule=NAME)
    now = datetime.datetime(2026, 1, 31, 22, minutes % 60, tzinfo=datetime.timezone.utc)
    now += datetime.timedelta(hours=minutes // 60)
    reported = end_report(known if deleted else None, known, at=now)
    assert reported is None if text is None else text in (reported or "")


def test_a_store_without_a_lease_in_aws_has_nothing_to_report() -> None:
    assert end_report(None, None, at=lease_module.now()) is None
    assert end_report(None, LEASE, at=lease_module.now()) is None


# ---- errors


@pytest.mark.parametrize(
    ("operation", "error", "text"),
    [
        (
            "GetSchedule",
            "AccessDeniedException",
            "The caller needs the permission scheduler:GetSchedule, see the guide",
        ),
        (
            "CreateSchedule",
            "AccessDeniedException",
            "The caller needs the permission scheduler:CreateSchedule, see the",
        ),
        (
            "CreateSchedule",
            "ServiceQuotaExceededException",
            "The account has as many schedules in this Region as it may",
        ),
        ("CreateSchedule", "ValidationException", "Look at the message of AWS. EventBridge Scheduler said:"),
    ],
)
def test_what_aws_refuses_is_explained(world: World, operation: str, error: str, text: str) -> None:
    world.control.add_fault(operation, error=error, times=None)
    with pytest.raises(ScheduleError) as refused:
        world.leases().open(LEASE, minutes=30)
    assert str(refused.value).startswith(f"{operation} of {NAME} failed with {error}. {text}")


def test_a_role_that_does_not_trust_is_explained(world: World) -> None:
    world.role_arn = world.control.create_schedule_role("another", trusted=False)
    with pytest.raises(ScheduleError) as refused:
        world.leases().open(LEASE, minutes=30)
    assert f"The role {world.role_arn} must exist, and its trust policy must allow scheduler.amazonaws.com" in str(
        refused.value
    )


def test_an_answer_that_is_not_from_aws(world: World) -> None:
    """As the page of an HTTP proxy: no JSON."""
    client = mock.Mock(wraps=world.client, meta=world.client.meta)
    client.get_schedule = mock.Mock(side_effect=ResponseParserError("Unable to parse response: <html>"))
    with pytest.raises(ScheduleError, match="GetSchedule got no answer from EventBridge Scheduler: "):
        replace(world.leases(), client=client, patience=0.0).of(STORE)


# ---- the keeper's part


@pytest.fixture
def kept(world: World, tmp_path: Path) -> tuple[Keeper, Renewal]:
    now = datetime.datetime.fromtimestamp(world.control._backend.clock.now(), datetime.timezone.utc)
    begin = world.control._backend.clock.now()
    keeper = Keeper(
        run=Run(None),
        until=now + datetime.timedelta(minutes=30),
        end=str(tmp_path / "end"),
        holder="ours",
        leases=Leases(str(tmp_path)),
        stores={STORE: LEASE},
        time=lambda: now + datetime.timedelta(seconds=world.control._backend.clock.now() - begin),
    )
    made = world.leases().open(LEASE, minutes=30)
    return keeper, Renewal(keeper, {STORE: (world.leases, made)})


def test_the_keeper_renews_its_lease(world: World, kept: tuple[Keeper, Renewal]) -> None:
    before = world.facts()["seen"]
    world.control.advance(60)
    kept[1].renew()
    assert world.facts()["seen"] > before
    assert kept[0].left == set()


def test_the_keeper_leaves_a_store_to_who_has_taken_its_lease(world: World, kept: tuple[Keeper, Renewal]) -> None:
    world.control.advance(schedule_module.LOST_SECONDS)
    world.made_elsewhere()
    kept[1].renew()
    assert kept[0].left == {STORE}
    assert world.facts()["holder"] == holder_token("another")


@pytest.mark.parametrize("gone", [True, False])
def test_a_renewal_that_fails_changes_nothing(world: World, kept: tuple[Keeper, Renewal], gone: bool) -> None:
    if gone:
        world.leases().end(STORE)
    else:
        world.control.add_fault("GetSchedule", error="AccessDeniedException")
    kept[1].renew()
    assert kept[0].left == set()


def test_the_keeper_follows_a_lease_that_was_extended_in_aws(world: World, kept: tuple[Keeper, Renewal]) -> None:
    keeper, _renewal = kept
    world.leases().end_at(STORE, seconds=7200)
    world.control.advance(1801)
    assert keeper.reason() is None
    world.control.advance(5410)
    assert keeper.reason() is not None


def test_the_keeper_puts_a_lease_off_that_would_end_while_it_connects(
    world: World, kept: tuple[Keeper, Renewal]
) -> None:
    _keeper, renewal = kept
    (before,) = world.control.schedules()
    renewal.put_off(seconds=60)
    assert world.control.schedules() == [before]
    world.control.advance(1700)
    renewal.put_off(seconds=1800)
    (after,) = world.control.schedules()
    assert at(after) - at(before) >= datetime.timedelta(minutes=28)


def test_a_keeper_follows_the_lease_on_its_host(kept: tuple[Keeper, Renewal], tmp_path: Path) -> None:
    keeper, _renewal = kept
    later = "2030-01-01T00:00:00+00:00"
    keeper.leases.open(replace(LEASE, until=later))
    keeper._leave_to_others()
    assert keeper.until.isoformat() == later


# ---- the leases of this host and of others


def test_stores_are_found_by_both_kinds_of_leases(world: World, tmp_path: Path) -> None:
    leases = Leases(str(tmp_path))
    leases.open(replace(LEASE, custom_key_store_id="cks-host", reached={"region": "eu-west-1", "profile": "archive"}))
    world.leases().open(replace(LEASE, custom_key_store_id="cks-aws"), minutes=30)
    with mock.patch.object(schedule_module, "machine", return_value=ELSEWHERE):
        world.leases().open(replace(LEASE, custom_key_store_id="cks-lost"), minutes=30)
        world.control.advance(schedule_module.LOST_SECONDS + 1)
        world.leases().open(replace(LEASE, custom_key_store_id="cks-used"), minutes=30)
    found, left, in_aws, _problem = leased_stores(leases, world.leases(), even_in_use=False)
    assert found == [
        {"custom_key_store_id": "cks-host", "region": "eu-west-1", "profile": "archive"},
        {"custom_key_store_id": "cks-aws"},
        {"custom_key_store_id": "cks-lost"},
    ]
    assert [each["custom_key_store_id"] for each in left] == ["cks-used"]
    assert sorted(in_aws) == ["cks-aws", "cks-lost", "cks-used"]
    found, left, _in_aws, _problem = leased_stores(leases, world.leases(), even_in_use=True)
    assert (len(found), left) == (4, [])


def test_a_store_that_another_machine_has_taken_over_is_left_alone(world: World, tmp_path: Path) -> None:
    """The lease of this host is an old one."""
    leases = Leases(str(tmp_path))
    leases.open(LEASE)
    world.made_elsewhere()
    found, left, _in_aws, _problem = leased_stores(leases, world.leases(), even_in_use=False)
    assert found == []
    assert [each["custom_key_store_id"] for each in left] == [STORE]


def test_a_folder_of_leases_that_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    assert leased_stores(Leases(str(tmp_path / "none")), None, even_in_use=False) == ([], [], [], "")
    (tmp_path / "file").touch()
    with pytest.raises(CustomKeyStoreError, match="The folder of the leases, .*/file, cannot be read: "):
        leased_stores(Leases(str(tmp_path / "file")), None, even_in_use=False)


# ---- options


ROLE_ARN = "arn:aws:iam::123456789012:role/keyops-aws-lease"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"state": "connected", "leased": True, "stores": [{"name": "a"}]},
            "leased=true finds the stores by their leases",
        ),
        ({"state": "disconnected", "leased": True}, "leased=true needs state=connected."),
        (
            {"state": "connected", "leased": True},
            "leased=true needs memory, the folder of the leases, or leases_in_aws=true.",
        ),
        ({"state": "connected"}, "stores is empty: name at least one custom key store."),
        (
            {"state": "disconnected", "stores": [{"name": "a"}], "lease_role_arn": ROLE_ARN},
            "lease_minutes is missing: say after how many minutes the lease ends.",
        ),
        (
            {"state": "disconnected", "stores": [{"name": "a"}], "extend_lease": True},
            "lease_minutes is missing: say after how many minutes the lease ends.",
        ),
        (
            {"state": "disconnected", "stores": [{"name": "a"}], "lease_role_arn": ROLE_ARN, "lease_minutes": 5},
            "The keeper needs memory, the folder that the leases are kept in; or set keeper=false.",
        ),
        (
            {"state": "disconnected", "stores": [{"name": "a"}], "lease_minutes": 5},
            "lease_minutes needs state=disconnected, and memory, the folder that the leases are kept in, or lease_role_arn.",
        ),
        (
            {"state": "connected", "stores": [{"name": "a"}], "lease_role_arn": "role/x"},
            'lease_role_arn is "role/x", and must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/keyops',
        ),
        (
            {"state": "connected", "stores": [{"name": "a"}, {"name": "b", "lease_role_arn": "x"}]},
            'In number 2 of stores: lease_role_arn is "x", and must be the ARN of an IAM role',
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_asked(
    run_stores: ModuleRunner, options: dict[str, Any], text: str
) -> None:
    assert text in run_stores(**options)["msg"]
    assert run_stores.calls == []


def test_a_lease_without_a_keeper_needs_no_folder(run_stores: ModuleRunner, control: Control) -> None:
    control.create_schedule_role()
    control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    stores = [{"name": "payments"}]
    lease: dict[str, Any] = {"lease_role_arn": ROLE_ARN, "lease_minutes": 5, "keeper": False}
    assert "failed" not in run_stores(state="disconnected", stores=stores, **lease)
    again = run_stores(state="disconnected", stores=stores, **lease)
    assert "is in another maintenance window, as its lease in AWS says." in again["msg"]
    looked = run_stores(check=True, state="connected", stores=stores, leases_in_aws=True)
    assert looked["stores"][0]["remembered"]["connection_state"] == "CONNECTED"
    assert looked["stores"][0]["remembered"]["name"] == "payments"
    assert "failed" not in run_stores(state="connected", stores=stores, leases_in_aws=True)
    assert control.schedules() == []


def test_the_address_of_kms_is_not_that_of_other_services(run_stores: ModuleRunner, control: Control) -> None:
    """In process, moto answers at AWS's own addresses alone: a request to this one fails."""
    control.create_store(custom_key_store_name="payments")
    stores = [{"name": "payments"}]
    assert "failed" not in run_stores(state="connected", stores=stores, leases_in_aws=True)
    wrong = "https://kms.invalid"
    result = run_stores(state="connected", leased=True, leases_in_aws=True, endpoint_url=wrong)
    assert "failed" not in result
    assert run_stores.calls == ["ListSchedules"]


# ---- the role


@pytest.mark.parametrize(
    ("arn", "source"),
    [
        ("arn:aws:iam::123456789012:user/ops", "arn:aws:iam::123456789012:user/ops"),
        ("arn:aws:sts::123456789012:assumed-role/ops/session", "arn:aws:iam::123456789012:role/ops"),
        ("arn:aws-us-gov:sts::123456789012:assumed-role/ops/s", "arn:aws-us-gov:iam::123456789012:role/ops"),
    ],
)
def test_whose_policies_count(arn: str, source: str) -> None:
    assert principal(arn) == source


TRUST = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}


@pytest.mark.parametrize(
    ("statement", "trusts"),
    [
        (TRUST, True),
        ([TRUST], True),
        ({**TRUST, "Principal": {"Service": ["ec2.amazonaws.com", "scheduler.amazonaws.com"]}}, True),
        ({**TRUST, "Action": ["sts:*"]}, True),
        ({**TRUST, "Effect": "Deny"}, False),
        ({**TRUST, "Principal": "*"}, False),
        ({**TRUST, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, False),
        ({**TRUST, "Action": "sts:TagSession"}, False),
        ([], False),
    ],
)
def test_who_trusts_eventbridge_scheduler(statement: Any, trusts: bool) -> None:
    assert trusts_scheduler({"Statement": statement}) is trusts
    assert trusts_scheduler(json.dumps({"Statement": statement})) is trusts
