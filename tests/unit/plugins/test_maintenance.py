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


def describe(state: str = "CONNECTED", **more: Any) -> dict[str, Any]:
    """What is predicted of the disconnect of a store."""
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


def key(**last_usage: str) -> dict[str, Any]:
    return {"key_id": "1234", "aliases": ["alias/db"], "last_usage": last_usage or None}


def plan(
    *descriptions: dict[str, Any], min_active_hsms: int = 0, **limits: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """What is decided, where no cluster is looked at unless it is asked for."""
    decided = maintenance.Limits(now=NOW, min_active_hsms=min_active_hsms, **limits)
    window = maintenance.plan_window(descriptions, decided)
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
    (store,), refusals = plan(describe(state))
    assert (store["found"], store["disconnects"], store["connects"]) == (state, takes_part, takes_part)
    assert refusals == []


@pytest.mark.parametrize("state", ["DISCONNECTED", "DISCONNECTING", "FAILED"])
def test_what_an_earlier_window_has_left_is_brought_back(state: str) -> None:
    (store,), _refusals = plan(describe(state, remembered=NOTE))
    assert store["connects"] is True
    assert store["unavailable_from"] == NOTE["time"]
    assert store["reports"][0] == (
        "It was in service until 2026-01-31T21:00:00+00:00. Then a window began that did not reconnect it. This window reconnects"
        " it at its end."
    )


def test_a_note_of_a_store_that_is_back_in_service_means_nothing() -> None:
    (store,), _refusals = plan(describe("CONNECTED", remembered=NOTE))
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
    (store,), _refusals = plan(describe(state))
    assert store["reports"] == [report]


@pytest.mark.parametrize(
    ("remembered", "what_happens"),
    [(None, "The window leaves it as it is."), (NOTE, "It is connected at the end of the window.")],
)
def test_a_store_that_failed_is_reported_with_the_cause(remembered: dict[str, str] | None, what_happens: str) -> None:
    error = {"code": "NETWORK_ERRORS", "cause": "KMS does not reach the cluster."}
    (store,), _refusals = plan(describe("FAILED", connection_error=error, remembered=remembered))
    assert store["reports"][-2:] == [
        "Its last connect failed with NETWORK_ERRORS: KMS does not reach the cluster.",
        what_happens,
    ]


def test_a_store_that_could_not_be_described_is_refused_and_not_planned() -> None:
    stores, refusals = plan(
        describe(), describe(custom_key_store_id=None, name="ledger", failed=True, msg="There is none.")
    )
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
    assert plan(describe("CONNECTED"), **limits)[1] == [refusal]
    assert plan(describe("DISCONNECTED", remembered=NOTE), **limits)[1] == []
    assert plan(describe("DISCONNECTED"), **limits)[1] == []


def test_on_the_minute_the_window_is_open() -> None:
    assert plan(describe("CONNECTED"), not_before=NOW, not_after=NOW)[1] == []


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
            "cluster cluster-1 is DEGRADED, and could not connect it again: it must be ACTIVE. Fix it: see its state message in"
            " AWS CloudHSM.",
        ),
        (
            {"state": "MODIFY_IN_PROGRESS", "active_hsms": 2},
            "cluster cluster-1 is MODIFY_IN_PROGRESS, and could not connect it again: it must be ACTIVE. The type of its HSMs is"
            " being changed: wait until it is ACTIVE.",
        ),
        (
            {"problem": "Not permitted."},
            "whether cluster cluster-1 could connect it again is not known. Not permitted.",
        ),
    ],
)
def test_a_cluster_that_could_not_connect_the_store_again(cluster: dict[str, Any], refusal: str | None) -> None:
    expected = [] if refusal is None else [f"payments (cks-1) in us-east-1: {refusal}"]
    inside = {"cloud_hsm_cluster": {"cluster_id": "cluster-1", **cluster}}
    assert plan(describe("CONNECTED", **inside), min_active_hsms=2)[1] == expected
    assert plan(describe("DISCONNECTED", **inside), min_active_hsms=2)[1] == []
    assert plan(describe("CONNECTED", **inside), min_active_hsms=0)[1] == []


def test_an_external_store_has_no_cluster() -> None:
    external = {"custom_key_store": {"custom_key_store_type": "EXTERNAL_KEY_STORE"}}
    assert plan(describe("CONNECTED", **external), min_active_hsms=2)[1] == []


def test_what_was_not_seen_is_refused() -> None:
    """Whatever the reason: a preflight that has seen nothing has not found that all is well."""
    assert plan(describe(), min_active_hsms=1)[1] == [
        "payments (cks-1) in us-east-1: its cluster was not described, so it is not known whether it could connect the store"
        " again."
    ]
    assert plan(describe(), max_recent_use_minutes=1)[1] == [
        "payments (cks-1) in us-east-1: its keys could not be listed."
    ]
    denied = describe(keys_problem="kms:ListKeys is not permitted.")
    assert plan(denied, max_recent_use_minutes=1)[1] == [
        "payments (cks-1) in us-east-1: its keys could not be listed. kms:ListKeys is not permitted."
    ]


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
    assert plan(describe("CONNECTED", keys=[used]), max_recent_use_minutes=60)[1] == expected
    assert plan(describe("DISCONNECTED", keys=[used]), max_recent_use_minutes=60)[1] == []
    assert plan(describe("CONNECTED", keys=[used]), max_recent_use_minutes=0)[1] == []


def test_keys_that_could_not_be_described_are_reported_once() -> None:
    half: dict[str, Any] = {"keys": [], "keys_not_described": [{"key_id": "9", "reason": "Not permitted."}]}
    both = (describe(**half), describe(custom_key_store_id="cks-2", **half))
    assert plan(*both, max_recent_use_minutes=5)[1] == [
        "1 KMS keys could not be described, so that it is not known whether they are in these stores and in use. Not permitted."
    ]
    assert plan(*both)[1] == []


def test_stores_are_addressed_by_their_ids_and_reached_as_the_user_said_at_first() -> None:
    given = [
        {"name": "ledger", "region": "eu-west-1"},
        {"id": "cks-1", "access_key": "AKIA1", "secret_key": "CanaryOfASecretKey", "aws_region": "us-east-1"},
    ]
    plans, _refusals = plan(describe(custom_key_store_id="cks-0", name="ledger"), describe())
    window = maintenance.Window(connections=[maintenance.without_secrets(store) for store in given], plans=plans)
    assert "Canary" not in str(window)
    ledger = {"custom_key_store_id": "cks-0", "region": "eu-west-1"}
    payments = {"custom_key_store_id": "cks-1", "access_key": "AKIA1", "aws_region": "us-east-1"}
    assert window.targets(plans, given) == [ledger, {**payments, "secret_key": "CanaryOfASecretKey"}]
    assert window.targets(plans[1:], given[::-1]) == [{**payments, "secret_key": "CanaryOfASecretKey"}]
    assert window.targets(plans, []) == [ledger, payments]


@pytest.mark.parametrize(
    ("begun", "returning"), [(True, ["cks-1", "cks-2"]), (False, ["cks-2"])], ids=["disconnected", "refused"]
)
def test_a_window_brings_back_what_it_took_and_what_an_earlier_one_left(begun: bool, returning: list[str]) -> None:
    left = describe("DISCONNECTED", custom_key_store_id="cks-2", remembered=NOTE)
    plans, _refusals = plan(describe(), left, describe("DISCONNECTED", custom_key_store_id="cks-3"))
    window = maintenance.Window(plans=plans, begun=begun)
    assert [each["custom_key_store_id"] for each in window.returning()] == returning


REPORT = {
    "custom_key_store_id": "cks-1",
    "time": "2026-01-31T22:04:00+00:00",
    "since": "2026-01-31T22:00:00+00:00",
    "reason": "over",
    "connection_state": "CONNECTED",
    "msg": "",
}
TOLD = (
    "The lease of the window that began at 2026-01-31T22:00:00+00:00 was over before the window was closed. The keeper connected"
    " it at 2026-01-31T22:04:00+00:00."
)


def test_what_a_keeper_did_is_reported() -> None:
    (store,), _refusals = plan(describe(keeper_report=REPORT))
    assert store["reports"] == [TOLD]


def test_options_have_their_types_whatever_a_template_makes_of_them() -> None:
    given = {"step": "check", "stores": [{"name": "a"}], "verify": "no", "lease_minutes": "30", "region": "eu-west-1"}
    options = maintenance.Options.of(given)
    assert (options.verify, options.lease_minutes, options.min_active_hsms) == (False, 30, 1)
    assert options.connection == {"region": "eu-west-1"}
    assert "stores" not in options.fixed()


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("lease_minutes", "long", 'key_store_maintenance_lease_minutes is "long", but must be a whole number.'),
        ("keeper", "perhaps", 'key_store_maintenance_keeper is "perhaps", but must be true or false.'),
    ],
)
def test_a_wrong_type_is_reported(option: str, value: str, text: str) -> None:
    with pytest.raises(maintenance.InputError) as caught:
        maintenance.Options.of({"step": "check", option: value})
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("options", "sees_play", "text"),
    [
        (
            {},
            True,
            "If this play ends early, a keeper connects the stores again as soon as Ansible has ended, or at 02-01 02:00 (UTC) at"
            " the latest.",
        ),
        ({}, False, "If this play ends early, a keeper connects the stores again at 02-01 02:00 (UTC) at the latest."),
        ({"keeper": False}, True, "There is no keeper: if this play ends early, run it again with --tags reconnect."),
        (
            {"keeper": False, "lease_role_arn": "arn"},
            True,
            "If the play ends early, AWS connects them within two minutes after 02-01 02:00 (UTC).",
        ),
        (
            {"stores": [{"name": "a"}, {"name": "b", "lease_role_arn": "arn"}]},
            False,
            "If this play ends early, a keeper connects the stores again at 02-01 02:00 (UTC) at the latest. If the play is lost"
            " together with its host, AWS connects 1 of 2 stores within two minutes after 02-01 02:00 (UTC).",
        ),
    ],
)
def test_the_play_says_who_brings_the_stores_back(options: dict[str, Any], sees_play: bool, text: str) -> None:
    given = maintenance.Options("check", **{"stores": [{"name": "a"}], **options})
    assert " ".join(given.lease_text(sees_play=sees_play, now=NOW)) == text


def test_another_host_is_reported_where_nothing_has_failed_on_this_one() -> None:
    text = "The maintenance tasks were ended because of a failure on another host (any_errors_fatal)."
    assert maintenance.failure_of(None, None) == text


@pytest.mark.parametrize(
    ("task", "result", "text"),
    [
        ({"name": "Work"}, {"msg": "It went wrong."}, "Work: It went wrong."),
        ({"action": "command"}, {"results": [{"failed": True, "msg": "a"}, {"msg": "b"}]}, "command: a"),
        ("hostile", ["hostile"], "A task: no message"),
    ],
)
def test_what_failed_is_reported(task: Any, result: Any, text: str) -> None:
    assert maintenance.failure_of(task, result) == text


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
CONNECT = moved(
    ("DISCONNECTED", "05:00"), ("CONNECTING", "05:01"), ("CONNECTED", "06:30"), verified=True, verification="So."
)


def summarise(
    plans: list[dict[str, Any]], disconnected: list[dict[str, Any]], connected: list[dict[str, Any]]
) -> dict[str, Any]:
    (row,) = maintenance.summarise(plans, disconnected, connected, NOW + datetime.timedelta(minutes=10))
    return row


def test_the_summary_has_the_time_for_which_a_store_was_out_of_service() -> None:
    row = summarise(plan(describe())[0], [DISCONNECT], [CONNECT])
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
        "verification": "So.",
        "error": None,
        "remedy": [],
        "reports": [],
    }
    assert maintenance.summary_table([row]) == [
        "store     region     before     during        after      unavailable (UTC)                minutes  verified",
        "payments  us-east-1  CONNECTED  DISCONNECTED  CONNECTED  01-31 22:00:30 - 01-31 22:06:30  6.0      yes",
    ]


def test_the_summary_says_why_a_store_is_not_verified() -> None:
    connected = {**CONNECT, "verified": False, "verification": "There is no KMS key in it."}
    row = summarise(plan(describe())[0], [DISCONNECT], [connected])
    lines = maintenance.summary_table([row])
    assert lines[1].endswith("  not checked")
    assert lines[-1] == "payments: not verified. There is no KMS key in it."
    assert not any("not verified" in line for line in maintenance.summary_table([{**row, "verified": True}]))


def test_a_store_that_the_keeper_has_brought_back_was_out_of_service_until_then() -> None:
    found = moved(("CONNECTED", "09:00"), keeper_report=REPORT, operations=[])
    row = summarise(plan(describe())[0], [DISCONNECT], [found])
    assert (row["unavailable_until"], row["minutes_unavailable"]) == (REPORT["time"], 3.5)
    assert row["reports"] == [TOLD]


def test_a_store_that_is_not_back_is_out_of_service_until_now() -> None:
    error = {"code": "NETWORK_ERRORS", "remedy": ["Open the port."]}
    failed = moved(
        ("DISCONNECTED", "05:00"), ("FAILED", "06:00"), failed=True, msg="It failed.", connection_error=error
    )
    row = summarise(plan(describe())[0], [DISCONNECT], [failed])
    assert (row["after"], row["unavailable_until"], row["minutes_unavailable"]) == ("FAILED", None, 9.5)
    assert (row["error"], row["remedy"]) == ("It failed.", ["Open the port."])
    _head, line, message = maintenance.summary_table([row])
    assert line.endswith("01-31 22:00:30 - now  9.5      no")
    assert message == "payments: It failed."


def test_the_time_of_an_earlier_window_counts() -> None:
    row = summarise(plan(describe("DISCONNECTED", remembered=NOTE))[0], [], [CONNECT])
    assert (row["unavailable_from"], row["minutes_unavailable"]) == (NOTE["time"], 66.5)
    assert (row["before"], row["during"], row["after"]) == ("DISCONNECTED", "DISCONNECTED", "CONNECTED")


def test_a_store_that_is_left_alone_was_not_made_unavailable() -> None:
    row = summarise(plan(describe("DISCONNECTED"))[0], [], [])
    assert (row["before"], row["during"], row["after"]) == ("DISCONNECTED",) * 3
    assert (row["unavailable_from"], row["minutes_unavailable"]) == (None, None)
    assert maintenance.summary_table([row])[1].split() == [
        "payments",
        "us-east-1",
        *["DISCONNECTED"] * 3,
        "-",
        "-",
        "not",
        "checked",
    ]


def test_a_store_that_could_not_be_disconnected_says_so() -> None:
    refused = moved(("CONNECTED", "00:00"), failed=True, msg="Not permitted.")
    row = summarise(plan(describe())[0], [refused], [moved(("CONNECTED", "00:10"))])
    assert (row["during"], row["after"], row["error"]) == ("CONNECTED", "CONNECTED", "Not permitted.")
    assert row["minutes_unavailable"] is None


def test_a_store_that_is_disconnected_without_a_lease_may_be_one_that_was_lost() -> None:
    plans, _refusals = plan(describe("DISCONNECTED"))
    assert plans[0]["reports"] == [
        "No lease says that a window has disconnected it, so it is left as it is. If an earlier window did, in a container or on"
        " a host that is gone, connect it yourself."
    ]


def test_the_plan_as_a_table() -> None:
    plans, _refusals = plan(describe(), describe("DISCONNECTING", custom_key_store_id="cks-22", name="off"))
    assert maintenance.plan_table(plans) == [
        "store     id      region     found          in this window",
        "payments  cks-1   us-east-1  CONNECTED      disconnect, work, connect",
        "off       cks-22  us-east-1  DISCONNECTING  left as it is",
        "off: Somebody else is just disconnecting it; at the end of the window it is left disconnected.",
    ]
    assert maintenance.plan_table(plans, ["The keeper is there."])[-1] == "The keeper is there."
    assert maintenance.plan_table(plans[1:], ["The keeper is there."])[-1].startswith("off: ")


@pytest.mark.parametrize("value", [None, ""])
def test_no_time_is_no_limit(value: str | None) -> None:
    assert maintenance.parse_time(value, "not_before") is None


@pytest.mark.parametrize("value", ["2026-01-31T22:00:00Z", "2026-01-31T23:00:00+01:00"])
def test_a_time_with_its_distance_from_utc(value: str) -> None:
    assert maintenance.parse_time(value, "not_before") == NOW


@pytest.mark.parametrize("value", ["2026-01-31T22:00:00", "tonight", "22:00", "2026-13-01T00:00:00Z"])
def test_any_other_time_is_refused(value: str) -> None:
    with pytest.raises(maintenance.InputError) as caught:
        maintenance.parse_time(value, "not_before")
    assert str(caught.value) == (
        f'not_before is "{value}", but must be a date and time in ISO 8601 with its distance from UTC, such as'
        " 2026-01-31T22:00:00+01:00."
    )


# ---- what is predicted of the connect


def check(outcome: str, text: str, code: str | None = None) -> dict[str, Any]:
    return {"name": f"Check of {text.split()[0]}", "outcome": outcome, "text": text, "code": code}


def predicted(*checks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return describe("CONNECTED", connect_prediction={"checks": list(checks)}, **more)


def test_a_window_that_could_not_connect_a_store_again_is_refused() -> None:
    failed = check("failed", "It has expired. Renew it.", "XKS_PROXY_INVALID_TLS_CONFIGURATION")
    refused = check("failed", "It is not ACTIVE.")
    _stores, refusals = plan(
        predicted(
            failed,
            refused,
            check("passed", "All is well."),
            custom_key_store={"custom_key_store_type": "EXTERNAL_KEY_STORE"},
        )
    )
    assert refusals == [
        "payments (cks-1) in us-east-1: KMS could not connect it again (XKS_PROXY_INVALID_TLS_CONFIGURATION). It has expired."
        " Renew it.",
        "payments (cks-1) in us-east-1: KMS could not connect it again. It is not ACTIVE.",
    ]


def test_what_is_known_of_the_cluster_is_not_reported_twice() -> None:
    cluster = {"cluster_id": "cluster-1", "state": "ACTIVE", "active_hsms": 0}
    failed = check("failed", "It has no active HSM.", "INSUFFICIENT_CLOUDHSM_HSMS")
    found = predicted(failed, cloud_hsm_cluster=cluster, custom_key_store={"custom_key_store_type": "AWS_CLOUDHSM"})
    _stores, refusals = plan(found, min_active_hsms=1)
    assert len(refusals) == 1
    assert "has 0 active HSMs" in refusals[0]
    assert plan(found, min_active_hsms=0)[1] == []


def test_warnings_and_what_is_not_known_are_notes() -> None:
    found = predicted(
        check("warning", "It expires in 12 days."), check("unknown", "No way."), check("unknown", "Password unknown.")
    )
    result = maintenance.plan_window([found], maintenance.Limits(now=NOW, min_active_hsms=0))
    assert result["refusals"] == []
    assert result["notes"] == [
        "payments: It expires in 12 days.",
        "payments: not checked from this host: Check of No, Check of Password. The playbook keyops.aws.preflight says why.",
    ]


def test_a_store_that_the_window_leaves_alone_is_not_judged() -> None:
    failed = check("failed", "It has expired.", "XKS_PROXY_INVALID_TLS_CONFIGURATION")
    _stores, refusals = plan(describe("DISCONNECTED", connect_prediction={"checks": [failed]}))
    assert refusals == []


@pytest.mark.parametrize(
    ("found", "remembered", "leased", "connects"),
    [
        (["DISCONNECTED"], None, False, False),
        (["DISCONNECTING", "DISCONNECTED"], None, False, False),
        (["CONNECTED", "DISCONNECTING", "DISCONNECTED"], None, False, True),
        (["DISCONNECTED"], NOTE, False, True),
        (["DISCONNECTED"], None, True, True),
        ([], None, False, True),
    ],
)
def test_what_somebody_disconnected_after_the_check_is_left_to_them(
    found: list[str], remembered: dict[str, str] | None, leased: bool, connects: bool
) -> None:
    leaving = {"connects": True, "leased": leased}
    window = maintenance.Window(begun=True, plans=[leaving], disconnected=[describe(remembered=remembered)])
    window.disconnected[0]["connection_states"] = found
    window.leave_to_others([leaving])
    assert window.returning() == ([leaving] if connects else [])
