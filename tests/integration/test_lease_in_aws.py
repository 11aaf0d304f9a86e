# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lease in AWS brings the stores back when the host is lost, and is the memory and the lock of all machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from tests.integration.windows import CONNECT
from tests.integration.windows import DISCONNECT
from tests.integration.windows import LOST
from tests.integration.windows import PREFIX
from tests.integration.windows import SLOW
from tests.integration.windows import UNTIL_DONE
from tests.integration.windows import Place
from tests.integration.windows import Tasks
from tests.integration.windows import shell
from tests.integration.windows import until

HOUR = 3600.0
RECONNECT = "keyops.aws.reconnect"


def window(place: Place, work: Tasks, **options: Any) -> str:
    """The playbook of a window with leases in AWS that last an hour. Returns its path."""
    role_arn = place.ansible.control.create_schedule_role()
    return place.window(work, **{"lease_role_arn": role_arn, "lease_minutes": 60, **options})


def schedules(place: Place) -> list[str]:
    return [each["name"] for each in place.ansible.control.schedules()]


def name_of(place: Place) -> str:
    return f"keyops-aws-{place.ids['payments']}"


def scheduler(place: Place) -> Any:
    """A boto3 client, for what no task does."""
    return boto3.client(
        "scheduler",
        endpoint_url=place.ansible.environment["AWS_URL"],
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="any-secret-access-key",
    )


def lose_host(place: Place, path: str) -> None:
    """Run a window, and kill all that it has on the host while the maintenance tasks run."""
    with place.playing(path):
        until((place.ansible.folder / "working").exists)
        place.ansible.kill_all()
    (place.ansible.folder / "working").unlink()
    until(lambda: not place.process_ids(), 20)
    assert place.state() == "DISCONNECTED"


def another_machine(place: Place) -> None:
    """From now on, plays have a home that is empty, as in a new container."""
    home = place.ansible.folder / "another-home"
    home.mkdir()
    place.ansible.environment |= {"HOME": str(home), "ANSIBLE_ASYNC_DIR": str(home / ".ansible_async")}


# ---- the window as it should be


def test_the_lease_is_made_before_the_disconnect_and_gone_in_the_end(place: Place) -> None:
    path = window(place, [UNTIL_DONE])
    with place.playing(path, expected=0):
        until((place.ansible.folder / "working").exists)
        (schedule,) = place.ansible.control.schedules()
        place.write("done", "")
    assert schedule["name"] == name_of(place)
    assert (schedule["operation"], schedule["state"]) == ("connectCustomKeyStore", "ENABLED")
    assert schedule["parameters"] == {"CustomKeyStoreId": place.ids["payments"]}
    operations = [request["operation"] for request in place.ansible.control.requests()]
    assert operations.index("CreateSchedule") < operations.index(DISCONNECT)
    assert operations.index(CONNECT) < operations.index("DeleteSchedule")
    assert "AWS connects them within two minutes after" in place.output
    assert schedules(place) == []
    place.assert_back()


# ---- E8: nothing is left on the host


@pytest.mark.long
def test_e8_at_its_end_the_lease_connects_the_store(place: Place) -> None:
    lose_host(place, window(place, [SLOW]))
    place.ansible.control.advance(HOUR + 60)
    until(place.is_back, 10)
    assert schedules(place) == []
    (run,) = place.ansible.control.schedule_runs()
    assert (run["outcome"], run["attempt"]) == ("ok", 1)


@pytest.mark.long
@pytest.mark.parametrize("home", ["another", "the same"])
@pytest.mark.parametrize("way", ["tag", "playbook", "window"])
def test_e8_the_store_is_brought_back_before_the_lease_ends(place: Place, home: str, way: str) -> None:
    lose_host(place, path := window(place, [SLOW]))
    if home == "another":
        another_machine(place)
    if way == "window":
        path = window(place, [shell("touch done")])
    arguments = {"tag": [path, "--tags", "reconnect"], "playbook": [RECONNECT], "window": [path]}[way]
    assert place.play(*arguments) == 0, place.output
    assert (place.ansible.folder / "done").exists() == (way == "window")
    assert place.asked_for(DISCONNECT) == 1
    assert schedules(place) == []
    assert place.is_back()
    until(lambda: not place.process_ids(), 20)


@pytest.mark.long
def test_a_keeper_that_cannot_connect_the_store_says_that_its_lease_stays(place: Place) -> None:
    place.ansible.control.set_connect_outcomes(place.ids["payments"], ["INTERNAL_ERROR"])
    assert place.play(path := window(place, [LOST])) == 4
    until(lambda: place.state() == "FAILED")
    until(lambda: not place.process_ids(), 20)
    (report,) = place.reports()
    assert "INTERNAL_ERROR: " in report["msg"]
    stays = f"the schedule {name_of(place)}, that lease is still there: AWS connects the store at its end."
    assert report["msg"].endswith(stays)
    assert schedules(place) == [name_of(place)]
    assert place.play(path, "--tags", "reconnect") == 0, place.output
    assert stays in place.output
    assert schedules(place) == []
    place.assert_back()


@pytest.mark.long
def test_reconnect_leaves_a_window_alone_that_is_at_work(place: Place) -> None:
    assert place.play(RECONNECT) == 0, place.output
    with place.playing(window(place, [UNTIL_DONE]), expected=0) as playing:
        until((place.ansible.folder / "working").exists)
        another_machine(place)
        done = place.ansible.run(RECONNECT)
        assert done.exit_code == 0, done.output
        assert f"{place.ids['payments']} was left alone: a window has it since 20" in done.output
        assert place.state() == "DISCONNECTED"
        done = place.ansible.run(RECONNECT, "-e", "even_in_use=true")
        assert done.exit_code == 0, done.output
        assert "payments in us-east-1 is CONNECTED." in done.output
        assert place.is_back()
        assert playing.poll() is None
        place.write("done", "")
    assert place.is_back()
    assert schedules(place) == []


@pytest.mark.long
def test_reconnect_without_anything_to_do_changes_nothing(place: Place) -> None:
    done = place.ansible.run(RECONNECT)
    assert "changed=0" in done.output
    assert [each["operation"] for each in place.ansible.control.requests()] == ["ListSchedules"]


@pytest.mark.long
def test_the_lease_of_a_store_that_was_deleted_is_deleted(place: Place) -> None:
    lose_host(place, window(place, [SLOW]))
    another_machine(place)
    place.ansible.kms().delete_custom_key_store(CustomKeyStoreId=place.ids["payments"])
    assert place.play(RECONNECT) == 0, place.output
    assert "There is no such custom key store any more" in place.output
    assert schedules(place) == []


# ---- E9: the work takes longer


@pytest.mark.long
@pytest.mark.parametrize("keeper", [True, False])
def test_e9_work_that_outlasts_the_lease(place: Place, keeper: bool) -> None:
    with place.playing(window(place, [UNTIL_DONE], keeper=keeper), expected=0):
        until((place.ansible.folder / "working").exists)
        place.ansible.control.advance(HOUR + 60)
        until(place.is_back, 10)
        place.write("done", "")
    assert place.asked_for(CONNECT) == 0
    assert "The lease of its window was over at 20" in place.output
    assert place.is_back()
    until(lambda: not place.process_ids(), 20)


@pytest.mark.long
def test_e9_the_lease_is_extended_while_the_work_goes_on(place: Place) -> None:
    path = window(place, [UNTIL_DONE], keeper=False)
    extend = ["keyops.aws.extend_lease", "-e", "key_store=payments", "-e", "lease_minutes=120"]
    assert place.play(*extend) == 2
    assert "is in no maintenance window that this host or AWS knows of, so there is no lease to extend." in place.output
    with place.playing(path, expected=0):
        until((place.ansible.folder / "working").exists)
        done = place.ansible.run(*extend)
        assert "payments in us-east-1: The lease of its window ends at 20" in done.output, done.output
        place.ansible.control.advance(HOUR + 60)
        assert place.state() == "DISCONNECTED"
        place.write("done", "")
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    assert schedules(place) == []
    assert place.is_back()


# ---- E10: two machines


@pytest.mark.long
def test_e10_a_second_window_on_another_machine_is_refused(place: Place) -> None:
    with place.playing(path := window(place, [UNTIL_DONE]), expected=0):
        until((place.ansible.folder / "working").exists)
        another_machine(place)
        done = place.ansible.run(path)
        assert done.exit_code == 2
        reported = " ".join(done.output.split())
        assert "Nothing was disconnected." in reported
        assert "is in another maintenance window, as its lease in AWS says. That began at 20" in reported
        assert "at the latest. Wait for its end. If that window is lost, bring the store back with" in reported
        assert place.state() == "DISCONNECTED"
        place.write("done", "")
    assert place.asked_for(DISCONNECT) == place.asked_for(CONNECT) == 1
    assert schedules(place) == []
    assert place.is_back()


@pytest.mark.long
def test_e10_of_two_windows_that_begin_together_one_is_refused_and_leaves_the_other_alone(place: Place) -> None:
    """Whichever comes first."""
    path = window(place, [UNTIL_DONE])
    with place.playing(path, output="here") as here:
        another_machine(place)
        with place.playing(path, output="there") as there:
            until(lambda: here.poll() is not None or there.poll() is not None)
            refused = "here" if here.poll() is not None else "there"
            until((place.ansible.folder / "working").exists)
            assert place.asked_for(DISCONNECT) == 1
            assert place.asked_for(CONNECT) == 0
            assert schedules(place) == [name_of(place)]
            place.write("done", "")
    assert {here.returncode, there.returncode} == {0, 2}
    reported = place.output_of(refused)
    assert "is in another maintenance window, as its lease in AWS says." in reported
    assert place.is_back()
    assert schedules(place) == []


@pytest.mark.long
def test_a_lease_that_this_host_knows_of_is_ended_without_its_role(place: Place) -> None:
    """Else it would connect the store at its end, also if somebody has disconnected it on purpose by then."""
    lose_host(place, window(place, [SLOW]))
    assert place.play(place.window([SLOW]), "--tags", "reconnect") == 0, place.output
    assert place.is_back()
    assert schedules(place) == []


@pytest.mark.long
def test_stores_of_this_host_come_back_while_eventbridge_scheduler_has_a_fault(place: Place) -> None:
    lose_host(place, window(place, [SLOW]))
    for operation in ("GetSchedule", "ListSchedules"):
        place.ansible.control.add_fault(operation, error="AccessDeniedException", times=None)
    assert place.play(RECONNECT) == 2
    assert "The leases in AWS could not be read. ListSchedules failed with AccessDeniedException." in place.output
    assert place.is_back()


# ---- E11: what can go wrong with the schedule


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"error": "AccessDeniedException"}, "The caller needs the permission scheduler:CreateSchedule"),
        pytest.param({"error": "ServiceQuotaExceededException"}, "as many schedules", marks=pytest.mark.long),
    ],
)
def test_e11_a_lease_that_cannot_be_made(place: Place, fault: dict[str, Any], text: str) -> None:
    place.store("ledger")
    place.ansible.control.add_fault("CreateSchedule", skip=1, times=None, **fault)
    assert place.play(window(place, [shell("touch done")])) == 2
    assert text in place.output
    assert "None of the stores was changed." in place.output
    assert place.asked_for(DISCONNECT) == 0
    assert schedules(place) == []  # that of the other store is not left
    assert not (place.ansible.folder / "done").exists()
    place.assert_back()


@pytest.mark.long
@pytest.mark.parametrize(
    ("role", "text"),
    [
        ({"trusted": False}, "does not allow scheduler.amazonaws.com to assume it."),
        pytest.param(
            {"actions": ["kms:DescribeCustomKeyStores"]},
            "lacks the permission kms:ConnectCustomKeyStore, see the guide to permissions.",
            marks=pytest.mark.long,
        ),
    ],
)
def test_e11_preflight_refuses_a_role_that_would_not_work(place: Place, role: dict[str, Any], text: str) -> None:
    arn = place.ansible.control.create_schedule_role("another", **role)
    assert place.play(window(place, [], lease_role_arn=arn), "--tags", "preflight") == 2
    assert f"The role of its lease, {arn}," in place.output or f"of the role of its lease, {arn}," in place.output
    assert text in place.output
    assert "Nothing was disconnected." in place.output
    assert place.asked_for("CreateSchedule") == place.asked_for(DISCONNECT) == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("arn", "text"),
    [
        ("arn:aws:iam::123456789012:role/missing", "does not exist. The playbook keyops.aws.prepare_lease creates"),
        ("arn:aws:iam::999999999999:role/x", "is in the account 999999999999, but the store is reached with"),
        (
            "arn:aws-us-gov:iam::123456789012:role/x",
            "is in the partition aws-us-gov, but the Region us-east-1 is of aws.",
        ),
        ("keyops-aws-lease", 'lease_role_arn is "keyops-aws-lease", and must be the ARN of an IAM role, such as'),
    ],
)
def test_e11_preflight_refuses_an_arn_that_cannot_be_right(place: Place, arn: str, text: str) -> None:
    assert place.play(window(place, [], lease_role_arn=arn)) == 2
    assert text in place.output
    assert place.asked_for(DISCONNECT) == 0


@pytest.mark.long
def test_e11_a_lease_that_cannot_be_deleted_is_an_error(place: Place) -> None:
    place.ansible.control.add_fault("DeleteSchedule", error="AccessDeniedException", times=None)
    assert place.play(window(place, [])) == 2
    assert "is CONNECTED, but its lease in AWS could not be deleted. DeleteSchedule of" in place.output
    assert (
        "At its end, the lease would connect the key store even if somebody has disconnected it on purpose."
        in place.output
    )
    assert (
        f"Delete the schedule {name_of(place)} of EventBridge Scheduler in us-east-1, or run the task again."
        in place.output
    )
    place.assert_back()


@pytest.mark.long
def test_e11_a_lease_that_is_gone_is_reported(place: Place) -> None:
    with place.playing(window(place, [UNTIL_DONE]), expected=0):
        until((place.ansible.folder / "working").exists)
        scheduler(place).delete_schedule(Name=name_of(place))
        place.write("done", "")
    assert f"Its lease in AWS, the schedule {name_of(place)}, was gone before its end." in place.output
    place.assert_back()


@pytest.mark.long
def test_e11_a_lease_that_fires_twice_does_no_harm(place: Place) -> None:
    place.ansible.control.set_schedule_delivery("keyops-aws-", twice=True)
    lose_host(place, window(place, [SLOW]))
    place.ansible.control.advance(HOUR + 60)
    until(place.is_back, 10)
    place.ansible.control.advance(60)
    assert {run["outcome"] for run in place.ansible.control.schedule_runs()} == {
        "ok",
        "CustomKeyStoreInvalidStateException",
    }
    assert place.is_back()


@pytest.mark.long
def test_e11_a_lease_that_ends_during_the_disconnect_is_retried(place: Place) -> None:
    path = window(place, [SLOW])
    place.ansible.control.set_transitions(disconnect_seconds=HOUR + 600)
    with place.playing(path):
        until(lambda: place.asked_for(DISCONNECT) == 1)
        place.ansible.kill_all()
    place.ansible.control.advance(HOUR + 120)
    assert place.state() == "DISCONNECTING"
    place.ansible.control.advance(600)
    until(place.is_back, 10)
    outcomes = [run["outcome"] for run in place.ansible.control.schedule_runs()]
    assert outcomes[0] == "CustomKeyStoreInvalidStateException"
    assert outcomes[-1] == "ok"


# ---- E12: the keeper's credentials have expired


@pytest.mark.long
def test_e12_credentials_that_expire_in_the_window(place: Place) -> None:
    path = window(place, [LOST])
    place.ansible.control.add_fault(CONNECT, error="ExpiredTokenException", times=None)
    assert place.play(path) == 4
    until(lambda: bool(place.reports()))
    until(lambda: not place.process_ids(), 20)
    (report,) = place.reports()
    assert "ExpiredTokenException" in report["msg"]
    assert place.state() == "DISCONNECTED"
    place.ansible.control.advance(HOUR + 60)
    until(place.is_back, 10)
    assert place.play(path, "--tags", "preflight") == 0, place.output
    assert "The keeper tried to connect it at 20" in place.output
    assert "ExpiredTokenException" in place.output


# ---- what is needed once


@pytest.mark.long
def test_prepare_lease_creates_a_role_that_works(place: Place) -> None:
    name = f"lease-{uuid4()}"  # all tests share IAM
    arn = f"arn:aws:iam::123456789012:role/{name}"
    for changed in (2, 0):
        assert place.play("keyops.aws.prepare_lease", "-e", f"role_name={name}") == 0, place.output
        assert f"changed={changed} " in place.output
        assert f"key_store_maintenance_lease_role_arn: {arn}" in place.output
    lose_host(place, place.window([SLOW], lease_role_arn=arn, lease_minutes=60))
    place.ansible.control.advance(HOUR + 60)
    until(place.is_back, 10)


@pytest.mark.long
def test_a_lease_in_another_partition(place: Place) -> None:
    control = type(place.ansible.control)(place.ansible.control.base_url, region_name="us-gov-west-1")
    control.reset()
    control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    arn = control.create_schedule_role()
    assert arn.startswith("arn:aws-us-gov:")
    place.ansible.environment |= {"AWS_REGION": "us-gov-west-1", "AWS_DEFAULT_REGION": "us-gov-west-1"}
    path = place.window([UNTIL_DONE], lease_role_arn=arn, min_active_hsms=0)
    with place.playing(path, expected=0):
        until((place.ansible.folder / "working").exists)
        assert [each["operation"] for each in control.schedules()] == ["connectCustomKeyStore"]
        place.write("done", "")
    assert control.schedules() == []
    control.reset()


@pytest.mark.long
def test_the_lease_shows_no_secret_and_no_path(place: Place) -> None:
    secret = "CanaryOfTheSecretKeyOfAStore0123456789"
    stores = [{"name": "payments", "access_key": "AKIAIOSFODNN7OTHERS0", "secret_key": secret}]
    with place.playing(window(place, [UNTIL_DONE], stores=stores), "-vvvv", expected=0):
        until((place.ansible.folder / "working").exists)
        (schedule,) = place.ansible.control.schedules()
        folder = Path(place.ansible.environment["HOME"]) / ".keyops-aws" / "maintenance"
        (note,) = folder.glob("*.json")
        reported = json.dumps(schedule) + note.read_text()
        place.write("done", "")
    assert secret not in reported + place.output
    assert place.ansible.environment["HOME"] not in json.dumps(schedule)
    assert len(schedule["description"]) <= 512
    assert f"{PREFIX}lease_role_arn" not in reported
    place.assert_back()
