# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook watch tells of stores that are out of service without a window, and lets windows be."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import address_of
from dev.environment import BIN
from kms_emulator import HttpControl
from tests.integration.guides import all_blocks
from tests.integration.harness import PlaybookRun
from tests.integration.test_lease_in_aws import another_machine
from tests.integration.test_lease_in_aws import lose_host
from tests.integration.test_lease_in_aws import window
from tests.integration.windows import CONNECT
from tests.integration.windows import DISCONNECT
from tests.integration.windows import SLOW
from tests.integration.windows import UNTIL_DONE
from tests.integration.windows import Place
from tests.integration.windows import until

WATCH = "keyops.aws.watch"
SOMEBODY = "arn:aws:sts::123456789012:user/moto from 127.0.0.1 at 20"
RECONNECT = ("-e", "reconnect=true")


def watch(place: Place, *arguments: str) -> PlaybookRun:
    """Run it, with the log of requests begun anew. What it says is on one line, as the terminal breaks lines anywhere."""
    place.ansible.control.clear_requests()
    done = place.ansible.run(WATCH, *arguments)
    return PlaybookRun(done.exit_code, " ".join(done.output.split()))


def operations(place: Place) -> list[str]:
    return [request["operation"] for request in place.ansible.control.requests()]


def disconnect(place: Place, name: str = "payments") -> None:
    """Somebody disconnects a store, without a window."""
    place.ansible.kms().disconnect_custom_key_store(CustomKeyStoreId=place.ids[name])
    until(lambda: place.state(name) == "DISCONNECTED")


@contextmanager
def open_window(place: Place, *, in_aws: bool) -> Iterator[None]:
    """A window, whose tasks run meanwhile."""
    path = window(place, [UNTIL_DONE]) if in_aws else place.window([UNTIL_DONE])
    home = place.ansible.environment["HOME"]
    with place.playing(path, expected=0):
        try:
            until((place.ansible.folder / "working").exists)
            yield
        finally:
            place.ansible.environment["HOME"] = home
            place.write("done", "")


# ---- nothing is wrong


def test_all_is_well_after_one_request(place: Place) -> None:
    done = watch(place)
    assert done.exit_code == 0, done.output
    assert "Stores: 1 connected." in done.output
    assert operations(place) == ["DescribeCustomKeyStores"]


@pytest.mark.long
def test_without_any_store(place: Place) -> None:
    place.ansible.control.reset()
    done = watch(place)
    assert done.exit_code == 0, done.output
    assert "Stores: none." in done.output


@pytest.mark.long
@pytest.mark.parametrize("how", ["payments", '{"expected_disconnected": ["other", "ID"]}'])
def test_a_store_that_may_be_disconnected(place: Place, how: str) -> None:
    disconnect(place)
    expected = how.replace("ID", place.ids["payments"]) if "{" in how else f"expected_disconnected={how}"
    done = watch(place, "-e", expected, *RECONNECT)
    assert done.exit_code == 0, done.output
    assert "in us-east-1 is DISCONNECTED, as expected." in done.output
    assert operations(place) == ["DescribeCustomKeyStores"]
    place.ansible.control.set_connection_state(place.ids["payments"], "FAILED", "NETWORK_ERRORS")
    assert watch(place, "-e", expected).exit_code == 2


@pytest.mark.long
def test_a_store_on_its_way_to_connected(place: Place) -> None:
    place.ansible.control.set_transitions(connect_seconds=600)
    place.ansible.control.set_connection_state(place.ids["payments"], "CONNECTING")
    done = watch(place)
    assert done.exit_code == 0, done.output
    assert "in us-east-1 is CONNECTING, and not yet CONNECTED." in done.output


# ---- something is


@pytest.mark.long
def test_who_has_disconnected_a_store_is_reported(place: Place) -> None:
    place.store("ledger")
    disconnect(place)
    done = watch(place)
    assert done.exit_code == 2
    reported = (
        f"payments ({place.ids['payments']}) in us-east-1 is DISCONNECTED, and no maintenance window has announced it."
    )
    assert f"{reported} DisconnectCustomKeyStore by {SOMEBODY}" in done.output
    assert "Stores: 1 connected, 1 not announced." in done.output
    assert "Something is wrong with payments. The summary above says what." in done.output
    assert operations(place) == [
        "DescribeCustomKeyStores",
        "ListSchedules",
        "DescribeCustomKeyStores",
        *["LookupEvents"] * 4,
    ]
    assert place.state() == "DISCONNECTED"


@pytest.mark.long
def test_a_store_that_is_being_disconnected(place: Place) -> None:
    place.ansible.control.set_transitions(disconnect_seconds=600)
    place.ansible.kms().disconnect_custom_key_store(CustomKeyStoreId=place.ids["payments"])
    done = watch(place, "-e", "leases_in_aws=false")
    assert done.exit_code == 2
    assert "is DISCONNECTING, and no maintenance window has announced it." in done.output
    assert "ListSchedules" not in operations(place)


@pytest.mark.long
def test_a_cloudtrail_that_is_late_or_denied_is_said(place: Place) -> None:
    place.ansible.control.set_trail_delay(900)
    disconnect(place)
    done = watch(place)
    assert done.exit_code == 2
    assert "CloudTrail does not report since when and by whom: it knows an event up to 15 minutes later" in done.output
    place.ansible.control.add_fault("LookupEvents", error="AccessDeniedException", times=None)
    done = watch(place)
    assert done.exit_code == 2
    assert (
        "is DISCONNECTED, and no maintenance window has announced it. Since when and by whom is not known:"
        in done.output
    )
    assert "The caller needs the permission cloudtrail:LookupEvents in an IAM policy." in done.output


@pytest.mark.long
def test_a_store_that_is_failed(place: Place) -> None:
    place.ansible.control.set_connection_state(place.ids["payments"], "FAILED", "NETWORK_ERRORS")
    done = watch(place, *RECONNECT)
    assert done.exit_code == 2
    assert "is FAILED with NETWORK_ERRORS, and no maintenance window has announced it." in done.output
    assert "Network errors keep KMS from reaching the backing key store." in done.output
    assert f" See {address_of('runbook_network_errors')}." in done.output
    assert CONNECT not in operations(place)


@pytest.mark.long
@pytest.mark.parametrize("by", ["id", "name"])
def test_a_store_that_was_deleted(place: Place, by: str) -> None:
    place.store("ledger")
    disconnect(place)
    store_id = place.ids.pop("payments")
    place.ansible.kms().delete_custom_key_store(CustomKeyStoreId=store_id)
    assert watch(place).exit_code == 0  # nobody has said that it should be there
    which = store_id if by == "id" else "payments"
    done = watch(place, "-e", f"stores={which},ledger")
    assert done.exit_code == 2
    assert f"There is no custom key store {which} in us-east-1. DeleteCustomKeyStore by {SOMEBODY}" in done.output
    done = watch(place, "-e", "stores=peyments")
    assert (
        "There is no custom key store peyments in us-east-1. CloudTrail does not know that it was deleted"
        in done.output
    )
    place.ansible.control.add_fault("LookupEvents", error="AccessDeniedException", times=None)
    done = watch(place, "-e", "stores=payments")
    assert "Whether it was deleted is not known: LookupEvents failed with AccessDeniedException" in done.output


@pytest.mark.long
def test_an_update_is_reported_if_that_is_asked_for(place: Place) -> None:
    place.ansible.kms().update_custom_key_store(CustomKeyStoreId=place.ids["payments"], NewCustomKeyStoreName="renamed")
    assert watch(place).exit_code == 0
    done = watch(place, "-e", "updates_minutes=60")
    assert done.exit_code == 2
    assert "is CONNECTED, and was updated, and no maintenance window has announced it." in done.output
    assert f"UpdateCustomKeyStore by {SOMEBODY}" in done.output
    place.ansible.control.advance(7200)
    place.ids["renamed"] = place.ids.pop("payments")
    with open_window(place, in_aws=False):
        place.ansible.kms().update_custom_key_store(
            CustomKeyStoreId=place.ids["renamed"], NewCustomKeyStoreName="again"
        )
        done = watch(place, "-e", "updates_minutes=60")
        assert done.exit_code == 0, done.output
        place.ansible.kms().update_custom_key_store(
            CustomKeyStoreId=place.ids["renamed"], NewCustomKeyStoreName="renamed"
        )


@pytest.mark.long
def test_stores_that_are_not_asked_for_are_left_out(place: Place) -> None:
    place.store("ledger")
    disconnect(place)
    done = watch(place, "-e", "stores=ledger", *RECONNECT)
    assert done.exit_code == 0, done.output
    assert "payments" not in done.output
    assert place.state() == "DISCONNECTED"


@pytest.mark.long
def test_each_region_is_checked_and_one_that_cannot_be_does_not_hide_the_others(place: Place) -> None:
    other = HttpControl(place.ansible.control.base_url, region_name="eu-central-1")
    other.reset()
    other.create_store(custom_key_store_name="ledger", connection_state="DISCONNECTED")
    regions = ("-e", json.dumps({"regions": ["eu-central-1", "us-east-1"]}))
    done = watch(place, *regions)
    assert done.exit_code == 2
    assert "in eu-central-1 is DISCONNECTED, and no maintenance window has announced it." in done.output
    assert "Stores: 1 connected, 1 not announced." in done.output
    assert operations(place) == ["DescribeCustomKeyStores"]
    disconnect(place)
    other.add_fault("DescribeCustomKeyStores", error="AccessDeniedException", times=None)
    done = watch(place, *regions, *RECONNECT)
    assert done.exit_code == 2
    assert (
        "eu-central-1 could not be described: DescribeCustomKeyStores failed with AccessDeniedException" in done.output
    )
    assert "It is CONNECTED again." in done.output
    assert "Something is wrong with payments, eu-central-1." in done.output
    other.reset()


# ---- windows


@pytest.mark.long
@pytest.mark.parametrize("in_aws", [False, True])
def test_a_store_in_a_window_is_left_to_it(place: Place, in_aws: bool) -> None:
    with open_window(place, in_aws=in_aws):
        if in_aws:
            another_machine(place)
        for arguments in ((), RECONNECT):
            done = watch(place, *arguments)
            assert done.exit_code == 0, done.output
            assert "in us-east-1 is DISCONNECTED: a maintenance window has it since 20" in done.output
            assert "Stores: 1 in a window." in done.output
            assert "LookupEvents" not in operations(place)
            assert CONNECT not in operations(place)
        assert place.state() == "DISCONNECTED"
    assert place.asked_for(DISCONNECT) <= 1
    place.assert_back()


@pytest.mark.long
def test_a_store_that_a_window_has_lost_is_reported_and_left_to_reconnect(place: Place) -> None:
    lose_host(place, window(place, [SLOW]))
    done = watch(place, *RECONNECT)
    assert done.exit_code == 2
    assert (
        "a maintenance window had it, and was lost. Bring it back with the playbook keyops.aws.reconnect."
        in done.output
    )
    assert place.state() == "DISCONNECTED"
    assert [each["name"] for each in place.ansible.control.schedules()] == [f"keyops-aws-{place.ids['payments']}"]
    assert place.ansible.run("keyops.aws.reconnect").exit_code == 0
    assert watch(place).exit_code == 0


@pytest.mark.long
def test_a_window_that_ends_meanwhile_is_no_reason_to_report_its_store(place: Place) -> None:
    disconnect(place)
    place.ansible.control.add_intruder(
        "ListSchedules",
        action="SetConnectionState",
        parameters={"CustomKeyStoreId": place.ids["payments"], "ConnectionState": "CONNECTED"},
    )
    done = watch(place, *RECONNECT)
    assert done.exit_code == 0, done.output
    assert CONNECT not in operations(place)


@pytest.mark.long
def test_leases_that_cannot_be_listed(place: Place) -> None:
    disconnect(place)
    place.ansible.control.add_fault("ListSchedules", error="AccessDeniedException", times=None)
    done = watch(place, *RECONNECT)
    assert done.exit_code == 2
    assert (
        "is DISCONNECTED. Whether a maintenance window has it is not known: The leases in AWS could not" in done.output
    )
    assert "read. ListSchedules failed with AccessDeniedException" in done.output
    assert f"DisconnectCustomKeyStore by {SOMEBODY}" in done.output
    assert CONNECT not in operations(place)


# ---- reconnect


@pytest.mark.long
def test_what_was_disconnected_without_a_window_is_connected(place: Place) -> None:
    for name in ("ledger", "archive"):
        place.store(name)
    for name in place.ids:
        disconnect(place, name)
    arguments = (*RECONNECT, "-e", "expected_disconnected=archive")
    done = watch(place, *arguments, "--check")
    assert done.exit_code == 2
    assert "It would be connected." in done.output
    assert place.state() == "DISCONNECTED"
    done = watch(place, *arguments)
    assert done.exit_code == 2  # somebody has to know
    assert done.output.count("It is CONNECTED again.") == 2
    assert f"DisconnectCustomKeyStore by {SOMEBODY}" in done.output
    assert [place.state(name) for name in place.ids] == ["CONNECTED", "CONNECTED", "DISCONNECTED"]
    assert watch(place, *arguments).exit_code == 0


@pytest.mark.long
def test_a_store_that_cannot_be_connected(place: Place) -> None:
    disconnect(place)
    place.ansible.control.set_connect_outcomes(place.ids["payments"], ["NETWORK_ERRORS"] * 3)
    done = watch(place, *RECONNECT)
    assert done.exit_code == 2
    assert "It could not be connected:" in done.output
    assert "NETWORK_ERRORS" in done.output


@pytest.mark.long
def test_a_window_that_begins_just_then_keeps_its_store(place: Place) -> None:
    """The look for leases just before the connect finds it."""
    disconnect(place)
    place.ansible.control.add_fault("ListSchedules", error="AccessDeniedException", skip=1, times=None)
    done = watch(place, *RECONNECT)
    assert done.exit_code == 2
    assert "It was not connected, because a window has it now, or because the leases could not be read." in done.output
    assert CONNECT not in operations(place)
    assert place.state() == "DISCONNECTED"


# ---- the guide


@pytest.mark.long
def test_cron_sends_a_mail_only_where_something_is_wrong(place: Place) -> None:
    (line,) = (
        line for block in all_blocks("guide_watch") for line in block.text.splitlines() if line.startswith("*/5 ")
    )
    command = line.split("operator", 1)[1]
    environment = {**place.ansible.environment, "PATH": f"{BIN}{os.pathsep}{place.ansible.environment['PATH']}"}

    def mail() -> str:
        done = subprocess.run(
            ["sh", "-c", command], env=environment, text=True, capture_output=True, timeout=120, check=False
        )
        return done.stdout + done.stderr

    assert mail() == ""
    disconnect(place)
    assert "is DISCONNECTED, and no maintenance window has announced it." in mail()


@pytest.mark.long
def test_the_playbook_of_the_guide(place: Place) -> None:
    (block,) = (block for block in all_blocks("guide_watch") if block.caption == "watch.yml")
    other = HttpControl(place.ansible.control.base_url, region_name="eu-central-1")
    other.reset()
    other.create_store(custom_key_store_name="archive", connection_state="DISCONNECTED")
    place.write(block.caption, block.text)
    done = place.ansible.run(block.caption)
    assert done.exit_code == 0, done.output
    assert "in eu-central-1 is DISCONNECTED, as expected." in done.output
    disconnect(place)
    assert place.ansible.run(block.caption).exit_code == 2
    other.reset()
