# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a maintenance window decides, refuses and reports, from results of modules written out by hand."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.plugin_utils import maintenance

NOW = datetime.datetime(2026, 1, 31, 22, 0, tzinfo=datetime.timezone.utc)
NOTE = {
    "custom_key_store_id": "cks-1",
    "name": "payments",
    "connection_state": "CONNECTED",
    "time": "2026-01-31T21:00:00+00:00",
}


def look(state: str = "CONNECTED", **more: Any) -> dict[str, Any]:
    """What is foretold of the disconnect of a store."""
    return {
        "custom_key_store_id": "cks-1",
        "name": "payments",
        "region": "us-east-1",
        "failed": False,
        "connection_states": [state],
        "custom_key_store": {"custom_key_store_type": "AWS_CLOUDHSM"},
        "remembered": None,
        **more,
    }


def info(**more: Any) -> dict[str, Any]:
    """What the info module says of the only store."""
    store = {"custom_key_store_id": "cks-1", "cloud_hsm_cluster_id": "cluster-1", **more}
    return {"custom_key_stores": [store], "keys_not_described": []}


def key(**last_usage: str) -> dict[str, Any]:
    return {"key_id": "1234", "aliases": ["alias/db"], "last_usage": last_usage or None}


def plan(
    *looks: dict[str, Any], infos: list[dict[str, Any]] | None = None, **limits: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    window = maintenance.plan_window(looks, infos or [], maintenance.Limits(now=NOW, **limits))
    return window["stores"], window["refusals"]


@pytest.mark.parametrize(
    ("state", "takes_part"),
    [
        ("CONNECTED", True),
        ("CONNECTING", True),
        ("DISCONNECTED", False),
        ("DISCONNECTING", False),
        ("FAILED", False),
    ],
)
def test_a_window_takes_what_is_in_service_and_nothing_else(state: str, takes_part: bool) -> None:
    (store,), refusals = plan(look(state))
    assert (store["found"], store["disconnects"], store["connects"]) == (state, takes_part, takes_part)
    assert refusals == []


@pytest.mark.parametrize("state", ["DISCONNECTED", "DISCONNECTING", "FAILED"])
def test_what_an_earlier_window_has_left_is_brought_back(state: str) -> None:
    (store,), _refusals = plan(look(state, remembered=NOTE))
    assert store["connects"] is True
    assert store["unavailable_from"] == NOTE["time"]
    assert store["reports"][0] == (
        "It was in service until 2026-01-31T21:00:00+00:00, when a window began that has not brought it back: this one will."
    )


def test_a_note_of_a_store_that_is_back_in_service_means_nothing() -> None:
    (store,), _refusals = plan(look("CONNECTED", remembered=NOTE))
    assert store["unavailable_from"] is None
    assert store["reports"] == []


@pytest.mark.parametrize(
    ("state", "report"),
    [
        ("CONNECTING", "Somebody else is just connecting it; at the end of the window it is connected."),
        ("DISCONNECTING", "Somebody else is just disconnecting it; at the end of the window it is left disconnected."),
    ],
)
def test_a_store_that_somebody_else_moves_is_reported(state: str, report: str) -> None:
    (store,), _refusals = plan(look(state))
    assert store["reports"] == [report]


@pytest.mark.parametrize(
    ("remembered", "what_happens"),
    [(None, "The window leaves it as it is."), (NOTE, "It is connected at the end of the window.")],
)
def test_a_store_that_failed_is_reported_with_the_cause(remembered: dict[str, str] | None, what_happens: str) -> None:
    error = {"code": "NETWORK_ERRORS", "cause": "KMS does not reach the cluster."}
    (store,), _refusals = plan(look("FAILED", connection_error=error, remembered=remembered))
    assert store["reports"][-2:] == [
        "Its last connect failed with NETWORK_ERRORS: KMS does not reach the cluster.",
        what_happens,
    ]


def test_a_store_that_could_not_be_looked_at_is_refused_and_not_planned() -> None:
    stores, refusals = plan(look(), look(custom_key_store_id=None, name="ledger", failed=True, msg="There is none."))
    assert [store["name"] for store in stores] == ["payments"]
    assert refusals == ["ledger: There is none."]


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        (
            {"not_before": NOW + datetime.timedelta(minutes=1)},
            "It is 2026-01-31T22:00+00:00, and nothing may be disconnected before 2026-01-31T22:01+00:00.",
        ),
        (
            {"not_after": NOW - datetime.timedelta(minutes=1)},
            "It is 2026-01-31T22:00+00:00, and nothing may be disconnected after 2026-01-31T21:59+00:00.",
        ),
    ],
)
def test_outside_of_the_window_a_disconnect_is_refused_and_a_connect_is_not(
    limits: dict[str, Any], refusal: str
) -> None:
    assert plan(look("CONNECTED"), **limits)[1] == [refusal]
    assert plan(look("DISCONNECTED", remembered=NOTE), **limits)[1] == []
    assert plan(look("DISCONNECTED"), **limits)[1] == []


def test_on_the_minute_the_window_is_open() -> None:
    assert plan(look("CONNECTED"), not_before=NOW, not_after=NOW)[1] == []


@pytest.mark.parametrize(
    ("cluster", "refusal"),
    [
        ({"state": "ACTIVE", "active_hsms": 2}, None),
        (
            {"state": "ACTIVE", "active_hsms": 1},
            "cluster cluster-1 has 1 active HSMs, and needs 2 to connect it again. Add HSMs to the cluster first.",
        ),
        (
            {"state": "DEGRADED", "active_hsms": 2},
            "cluster cluster-1 is DEGRADED, and could not connect it again: it must be ACTIVE.",
        ),
        (
            {"problem": "Not permitted."},
            "whether cluster cluster-1 could connect it again is not known. Not permitted.",
        ),
    ],
)
def test_a_cluster_that_could_not_connect_the_store_again(cluster: dict[str, Any], refusal: str | None) -> None:
    expected = [] if refusal is None else [f"payments (cks-1) in us-east-1: {refusal}"]
    infos = [info(cloud_hsm_cluster=cluster)]
    assert plan(look("CONNECTED"), infos=infos, min_active_hsms=2)[1] == expected
    assert plan(look("DISCONNECTED"), infos=infos, min_active_hsms=2)[1] == []
    assert plan(look("CONNECTED"), infos=infos, min_active_hsms=0)[1] == []


def test_an_external_store_has_no_cluster() -> None:
    assert plan(look("CONNECTED"), infos=[info()], min_active_hsms=2)[1] == []


@pytest.mark.parametrize(
    ("used", "refusal"),
    [
        (key(), None),
        (key(timestamp="2026-01-31T21:00:00+00:00", operation="Decrypt"), None),
        (
            key(timestamp="2026-01-31T21:00:01+00:00", operation="Decrypt"),
            "its key 1234 (alias/db) was used at 2026-01-31T21:00:01+00:00 (Decrypt), less than 60 minutes ago.",
        ),
        (
            key(unknown="Not permitted."),
            "when its key 1234 (alias/db) was last used is not known. Not permitted.",
        ),
        (
            {**key(unknown="Not permitted."), "aliases": []},
            "when its key 1234 was last used is not known. Not permitted.",
        ),
    ],
)
def test_a_key_in_use(used: dict[str, Any], refusal: str | None) -> None:
    expected = [] if refusal is None else [f"payments (cks-1) in us-east-1: {refusal}"]
    infos = [info(keys=[used])]
    assert plan(look("CONNECTED"), infos=infos, max_recent_use_minutes=60)[1] == expected
    assert plan(look("DISCONNECTED"), infos=infos, max_recent_use_minutes=60)[1] == []
    assert plan(look("CONNECTED"), infos=infos, max_recent_use_minutes=0)[1] == []


def test_what_could_not_be_looked_at_is_not_taken_for_good() -> None:
    blind = {"failed": True, "msg": "kms:DescribeKey is not permitted."}
    assert plan(look(), infos=[blind])[1] == ["kms:DescribeKey is not permitted."]
    half = {**info(keys=[]), "keys_not_described": [{"key_id": "9", "reason": "Not permitted."}]}
    assert plan(look(), infos=[half], max_recent_use_minutes=5)[1] == [
        "1 KMS keys could not be described, so that it is not known whether they are in these stores and in use. Not permitted."
    ]
    assert plan(look(), infos=[half])[1] == []


def test_stores_are_addressed_by_their_ids_and_reached_as_the_user_said() -> None:
    given = [
        {"name": "ledger", "region": "eu-west-1"},
        {"id": "cks-1", "profile": "archive", "aws_region": "us-east-1"},
    ]
    plans, _refusals = plan(look(custom_key_store_id="cks-0", name="ledger"), look())
    assert maintenance.targets(given, plans) == [
        {"custom_key_store_id": "cks-0", "region": "eu-west-1"},
        {"custom_key_store_id": "cks-1", "profile": "archive", "aws_region": "us-east-1"},
    ]
    assert maintenance.targets(given, plans[1:]) == [
        {"custom_key_store_id": "cks-1", "profile": "archive", "aws_region": "us-east-1"}
    ]


def moved(*moves: tuple[str, str], **more: Any) -> dict[str, Any]:
    """What came of a store."""
    return {
        "custom_key_store_id": "cks-1",
        "failed": False,
        "verified": False,
        "connection_states": [state for state, _time in moves],
        "transitions": [{"connection_state": state, "time": f"2026-01-31T22:{time}+00:00"} for state, time in moves],
        **more,
    }


DISCONNECT = moved(("CONNECTED", "00:00"), ("DISCONNECTING", "00:30"), ("DISCONNECTED", "01:00"))
CONNECT = moved(("DISCONNECTED", "05:00"), ("CONNECTING", "05:01"), ("CONNECTED", "06:30"), verified=True)


def summarise(
    plans: list[dict[str, Any]], disconnected: list[dict[str, Any]], connected: list[dict[str, Any]]
) -> dict[str, Any]:
    (row,) = maintenance.summarise(plans, disconnected, connected, NOW + datetime.timedelta(minutes=10))
    return row


def test_the_summary_tells_from_when_to_when_a_store_was_out_of_service() -> None:
    row = summarise(plan(look())[0], [DISCONNECT], [CONNECT])
    assert row == {
        "custom_key_store_id": "cks-1",
        "name": "payments",
        "region": "us-east-1",
        "before": "CONNECTED",
        "during": "DISCONNECTED",
        "after": "CONNECTED",
        "unavailable_from": "2026-01-31T22:00:30+00:00",
        "unavailable_until": "2026-01-31T22:06:30+00:00",
        "minutes_unavailable": 6.0,
        "verified": True,
        "error": None,
        "remedy": [],
        "reports": [],
    }
    assert maintenance.summary_table([row]) == [
        "store     region     before     during        after      unavailable (UTC)                minutes  works",
        "payments  us-east-1  CONNECTED  DISCONNECTED  CONNECTED  01-31 22:00:30 - 01-31 22:06:30  6.0      proved",
    ]


def test_a_store_that_is_not_back_is_out_of_service_until_now() -> None:
    error = {"code": "NETWORK_ERRORS", "remedy": ["Open the port."]}
    failed = moved(
        ("DISCONNECTED", "05:00"), ("FAILED", "06:00"), failed=True, msg="It failed.", connection_error=error
    )
    row = summarise(plan(look())[0], [DISCONNECT], [failed])
    assert (row["after"], row["unavailable_until"], row["minutes_unavailable"]) == ("FAILED", None, 9.5)
    assert (row["error"], row["remedy"]) == ("It failed.", ["Open the port."])
    _head, line, message = maintenance.summary_table([row])
    assert line.endswith("01-31 22:00:30 - now  9.5      no")
    assert message == "payments: It failed."


def test_the_time_of_an_earlier_window_counts() -> None:
    row = summarise(plan(look("DISCONNECTED", remembered=NOTE))[0], [], [CONNECT])
    assert (row["unavailable_from"], row["minutes_unavailable"]) == (NOTE["time"], 66.5)
    assert (row["before"], row["during"], row["after"]) == ("DISCONNECTED", "DISCONNECTED", "CONNECTED")


def test_a_store_that_is_left_alone_was_not_made_unavailable() -> None:
    row = summarise(plan(look("DISCONNECTED"))[0], [], [])
    assert (row["before"], row["during"], row["after"]) == ("DISCONNECTED",) * 3
    assert (row["unavailable_from"], row["minutes_unavailable"]) == (None, None)
    assert maintenance.summary_table([row])[1].split() == [
        "payments",
        "us-east-1",
        *["DISCONNECTED"] * 3,
        "-",
        "-",
        "-",
    ]


def test_a_store_that_could_not_be_disconnected_says_so() -> None:
    refused = moved(("CONNECTED", "00:00"), failed=True, msg="Not permitted.")
    row = summarise(plan(look())[0], [refused], [moved(("CONNECTED", "00:10"))])
    assert (row["during"], row["after"], row["error"]) == ("CONNECTED", "CONNECTED", "Not permitted.")
    assert row["minutes_unavailable"] is None


def test_the_plan_as_a_table() -> None:
    plans, _refusals = plan(look(), look("DISCONNECTING", custom_key_store_id="cks-22", name="off"))
    assert maintenance.plan_table(plans) == [
        "store     id      region     found          in this window",
        "payments  cks-1   us-east-1  CONNECTED      disconnect, work, connect",
        "off       cks-22  us-east-1  DISCONNECTING  left as it is",
        "off: Somebody else is just disconnecting it; at the end of the window it is left disconnected.",
    ]


@pytest.mark.parametrize("value", [None, ""])
def test_no_time_is_no_limit(value: str | None) -> None:
    assert maintenance.moment(value, "not_before") is None


@pytest.mark.parametrize("value", ["2026-01-31T22:00:00Z", "2026-01-31T23:00:00+01:00"])
def test_a_time_with_its_distance_from_utc(value: str) -> None:
    assert maintenance.moment(value, "not_before") == NOW


@pytest.mark.parametrize("value", ["2026-01-31T22:00:00", "tonight", "22:00", "2026-13-01T00:00:00Z"])
def test_any_other_time_is_refused(value: str) -> None:
    with pytest.raises(maintenance.InputError) as caught:
        maintenance.moment(value, "not_before")
    assert str(caught.value) == (
        f'not_before is "{value}", but must be a date and time in ISO 8601 with its distance from UTC, such as'
        " 2026-01-31T22:00:00+01:00."
    )
