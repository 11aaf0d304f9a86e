# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module through its main(): the exact requests in order, and the result, against the emulator in this process.

The names of the tests begin with the number of the acceptance scenario where there is one.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import kms
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import kms_stores
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.apply import MAX_DECISIONS
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from tests.sdk import KNOWS_OWNER
from tests.unit.harness import ModuleRunner
from tests.unit.options import CLOUDHSM
from tests.unit.options import OTHER_CLUSTER
from tests.unit.plugins.test_diagnosis import CODES
from tests.unit.plugins.test_plan import TABLE

CREATE = "CreateCustomKeyStore"
DESCRIBE = "DescribeCustomKeyStores"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"
CHANGES = (CONNECT, DISCONNECT)


def state_of(run: ModuleRunner) -> str:
    return str(run(name="payments")["custom_key_store"]["connection_state"])


def make_store(run: ModuleRunner, state: str, code: str | None = None, **more: Any) -> str:
    """A store named payments whose transitions take 10 seconds."""
    run.control.set_transitions(connect_seconds=10, disconnect_seconds=10)
    code = code or ("NETWORK_ERRORS" if state == "FAILED" else None)
    return run.control.create_store(
        custom_key_store_name="payments", connection_state=state, connection_error_code=code, **more
    )


@pytest.mark.parametrize(("desired", "state"), TABLE)
def test_every_cell_makes_the_planned_calls_and_a_second_run_none(run: ModuleRunner, desired: str, state: str) -> None:
    store_id = make_store(run, state)
    planned = [step for step in TABLE[desired, state] if step in CHANGES]

    predicted = run(id=store_id, state=desired, check=True, diff=True)
    assert run.calls == [DESCRIBE]

    result = run(id=store_id, state=desired, diff=True)
    assert [call for call in run.calls if call != DESCRIBE] == planned
    assert result["operations"] == planned
    assert result["changed"] == bool(planned)
    assert run.calls[0] == DESCRIBE
    assert run.calls == [DESCRIBE] or TABLE[desired, state]

    for key in ("changed", "operations", "diff", "custom_key_store"):
        assert predicted[key] == result[key], key
    assert predicted["connection_states"] == result["connection_states"][:1] == [state]

    again = run(id=store_id, state=desired)
    if desired != "present":
        assert run.calls == [DESCRIBE]
        assert again["custom_key_store"]["connection_state"] == desired.upper()
    assert again["changed"] is False
    assert again["operations"] == []


def test_s1_disconnect_by_id(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED")
    result = run(custom_key_store_id=store_id, state="disconnected")
    assert run.calls_and_polls == [DESCRIBE, DISCONNECT, DESCRIBE]
    assert run.calls.count(DISCONNECT) == 1
    assert all(request["parameters"] == {"CustomKeyStoreId": store_id} for request in run.control.requests())
    assert result["connection_states"] == ["CONNECTED", "DISCONNECTING", "DISCONNECTED"]
    assert result["changed"] is True


def test_s2_disconnected_already(run: ModuleRunner) -> None:
    result = run(id=make_store(run, "DISCONNECTED"), state="disconnected")
    assert run.calls == [DESCRIBE]
    assert result["changed"] is False


def test_s3_connect_by_name_then_poll_by_id_through_a_stale_reading(run: ModuleRunner) -> None:
    store_id = make_store(run, "DISCONNECTED")
    run.control.set_visibility_delay(3)
    result = run(name="payments", state="connected")
    assert run.calls_and_polls == [DESCRIBE, CONNECT, DESCRIBE]
    parameters = [request["parameters"] for request in run.control.requests()]
    assert parameters[0] == {"CustomKeyStoreName": "payments"}
    assert all(each == {"CustomKeyStoreId": store_id} for each in parameters[1:])
    assert result["connection_states"] == ["DISCONNECTED", "CONNECTING", "CONNECTED"]
    assert result["changed"] is True


def test_s4_connected_already(run: ModuleRunner) -> None:
    result = run(id=make_store(run, "CONNECTED"), state="connected")
    assert run.calls == [DESCRIBE]
    assert result["changed"] is False


def test_s5_joins_a_connect_of_somebody_else(run: ModuleRunner) -> None:
    result = run(id=make_store(run, "CONNECTING"), state="connected")
    assert run.calls_and_polls == [DESCRIBE]
    assert len(run.calls) > 2
    assert result["changed"] is False
    assert result["connection_states"] == ["CONNECTING", "CONNECTED"]


def test_s6_waits_for_disconnected_then_connects(run: ModuleRunner) -> None:
    result = run(id=make_store(run, "DISCONNECTING"), state="connected")
    assert run.calls_and_polls == [DESCRIBE, CONNECT, DESCRIBE]
    assert result["connection_states"] == ["DISCONNECTING", "DISCONNECTED", "CONNECTING", "CONNECTED"]
    assert result["changed"] is True


def test_s7_recovers_from_failed_with_the_code_read_first(run: ModuleRunner) -> None:
    result = run(id=make_store(run, "FAILED"), state="connected")
    assert run.calls_and_polls == [DESCRIBE, DISCONNECT, DESCRIBE, CONNECT, DESCRIBE]
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert result["connection_error"]["code"] == "NETWORK_ERRORS"
    assert result["connection_error"]["cause"]
    assert result["connection_error"]["remedy"]
    assert "connection_error_code" not in result["custom_key_store"]


def test_s8_refuses_a_login_that_may_lock_kmsuser(run: ModuleRunner) -> None:
    store_id = make_store(run, "FAILED", "INVALID_CREDENTIALS")
    for check in (True, False):
        result = run(id=store_id, state="connected", check=check)
        assert run.calls == [DESCRIBE]
        assert result["failed"] is True
        assert result["changed"] is False
        assert result["operations"] == []
        assert result["connection_error"]["code"] == "INVALID_CREDENTIALS"
        assert result["custom_key_store"]["connection_error_code"] == "INVALID_CREDENTIALS"
        assert "may lock kmsuser out" in result["msg"]
        assert "(1) Disconnect" in result["msg"]


def test_s10_times_out_and_a_rerun_joins(run: ModuleRunner) -> None:
    store_id = make_store(run, "DISCONNECTED")
    run.control.set_connect_outcomes(store_id, ["NEVER"])
    result = run(id=store_id, state="connected", wait_timeout=60)
    assert run.calls_and_polls == [DESCRIBE, CONNECT, DESCRIBE]
    assert run.time.now == pytest.approx(60)
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["operations"] == [CONNECT]
    assert "was still CONNECTING after 60 seconds (wait_timeout=60), on its way to CONNECTED" in result["msg"]
    assert "KMS goes on with it: run the task again to join the wait" in result["msg"]
    again = run(id=store_id, state="connected", wait_timeout=5)
    assert run.calls_and_polls == [DESCRIBE]
    assert again["changed"] is False


@pytest.mark.parametrize("which", [{"name": "unknown"}, {"id": "cks-00000000000000000"}])
@pytest.mark.parametrize("desired", ["present", "connected", "disconnected"])
def test_s23_unknown_store(run: ModuleRunner, desired: str, which: dict[str, str]) -> None:
    for check in (True, False):
        result = run(state=desired, check=check, diff=True, **which)
        assert run.calls == [DESCRIBE]
        assert result["failed"] is True
        assert result["changed"] is False
        assert result["custom_key_store"] == {}
        assert result["connection_states"] == result["operations"] == []
        subject = 'named "unknown"' if "name" in which else "with the id cks-00000000000000000"
        assert result["msg"] == (
            f"There is no custom key store {subject} in the Region us-east-1 of the account 123456789012."
            " Check the id or name, the Region, and whose credentials the task uses."
        )


def test_an_external_store(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED", custom_key_store_type="EXTERNAL_KEY_STORE")
    result = run(id=store_id, state="disconnected")
    store = result["custom_key_store"]
    assert store["custom_key_store_type"] == "EXTERNAL_KEY_STORE"
    assert set(store["xks_proxy_configuration"]) == {"connectivity", "access_key_id", "uri_endpoint", "uri_path"}
    assert "cloud_hsm_cluster_id" not in store


def test_a_cloudhsm_store_is_returned_in_snake_case(run: ModuleRunner) -> None:
    store = run(id=make_store(run, "CONNECTED"))["custom_key_store"]
    assert set(store) == {
        "custom_key_store_id",
        "custom_key_store_name",
        "custom_key_store_type",
        "connection_state",
        "creation_date",
        "cloud_hsm_cluster_id",
        "trust_anchor_certificate",
    }
    assert store["creation_date"][10] == "T"


def test_diff_only_when_asked_for(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED")
    assert "diff" not in run(id=store_id, state="disconnected", check=True)
    diff = run(id=store_id, state="disconnected", check=True, diff=True)["diff"]
    assert {key for key in diff["before"] if diff["before"][key] != diff["after"].get(key)} == {"connection_state"}
    assert (diff["before"]["connection_state"], diff["after"]["connection_state"]) == ("CONNECTED", "DISCONNECTED")


# ---- without waiting


@pytest.mark.parametrize(
    ("desired", "state", "calls", "seen"),
    [
        ("disconnected", "CONNECTED", [DESCRIBE, DISCONNECT, DESCRIBE], ["CONNECTED", "DISCONNECTING"]),
        ("connected", "DISCONNECTED", [DESCRIBE, CONNECT, DESCRIBE], ["DISCONNECTED", "CONNECTING"]),
        ("connected", "CONNECTING", [DESCRIBE], ["CONNECTING"]),
    ],
)
def test_without_wait(run: ModuleRunner, desired: str, state: str, calls: list[str], seen: list[str]) -> None:
    store_id = make_store(run, state)
    predicted = run(id=store_id, state=desired, wait=False, check=True, diff=True)
    result = run(id=store_id, state=desired, wait=False, diff=True)
    assert run.calls == calls
    assert result["connection_states"] == seen
    for key in ("changed", "operations", "diff"):
        assert predicted[key] == result[key], key


def test_without_wait_the_wait_before_a_call_still_happens(run: ModuleRunner) -> None:
    result = run(id=make_store(run, "FAILED"), state="connected", wait=False)
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert result["connection_states"] == ["FAILED", "DISCONNECTING", "DISCONNECTED", "CONNECTING"]


# ---- connects that fail


@pytest.mark.parametrize("code", CODES)
def test_a_connect_that_ends_failed(run: ModuleRunner, code: str) -> None:
    external = code.startswith("XKS")
    store_id = make_store(
        run, "DISCONNECTED", custom_key_store_type="EXTERNAL_KEY_STORE" if external else "AWS_CLOUDHSM"
    )
    run.control.set_connect_outcomes(store_id, [code])
    result = run(id=store_id, state="connected")
    assert run.calls_and_polls == [DESCRIBE, CONNECT, DESCRIBE]
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["connection_states"] == ["DISCONNECTED", "CONNECTING", "FAILED"]
    error = result["connection_error"]
    assert error["code"] == code == result["custom_key_store"]["connection_error_code"]
    assert f'The custom key store {store_id} ("payments") could not be connected. {code}: ' in result["msg"]
    assert error["cause"] in result["msg"]
    assert error["remedy"][0] in result["msg"]
    assert "does not know" not in result["msg"]
    assert result["msg"].endswith(
        "Before it failed, this task made ConnectCustomKeyStore: the store was DISCONNECTED when it was found"
        " and was last seen FAILED."
    )


def test_a_recovery_is_tried_once(run: ModuleRunner) -> None:
    store_id = make_store(run, "FAILED", "NETWORK_ERRORS")
    run.control.set_connect_outcomes(store_id, ["CLUSTER_NOT_FOUND"])
    result = run(id=store_id, state="connected")
    assert result["failed"] is True
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert result["connection_error"]["code"] == "CLUSTER_NOT_FOUND"


def test_a_joined_connect_that_fails_is_an_error_without_change(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTING")
    run.control.add_intruder(
        DESCRIBE,
        skip=3,
        action="SetConnectionState",
        parameters={
            "CustomKeyStoreId": store_id,
            "ConnectionState": "FAILED",
            "ConnectionErrorCode": "USER_LOGGED_IN",
        },
    )
    result = run(id=store_id, state="connected")
    assert run.calls_and_polls == [DESCRIBE]
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["connection_error"]["code"] == "USER_LOGGED_IN"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("CloudHsmClusterNotActiveException", "The CloudHSM cluster of the custom key store is not active"),
        ("CloudHsmClusterInvalidConfigurationException", "is not set up as KMS needs it"),
    ],
)
def test_a_connect_that_fails_fast(run: ModuleRunner, code: str, words: str) -> None:
    store_id = make_store(run, "DISCONNECTED")
    run.control.set_connect_outcomes(store_id, [code])
    result = run(id=store_id, state="connected")
    assert run.calls == [DESCRIBE, CONNECT]
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["error"]["code"] == code
    assert result["msg"].startswith(f"ConnectCustomKeyStore of {store_id} failed with {code}. ")
    assert words in result["msg"]


def test_a_recovery_that_fails_fast_says_where_the_store_is(run: ModuleRunner) -> None:
    store_id = make_store(run, "FAILED")
    run.control.set_connect_outcomes(store_id, ["CloudHsmClusterNotActiveException"])
    result = run(id=store_id, state="connected")
    assert result["changed"] is True
    assert result["operations"] == [DISCONNECT]
    assert result["msg"].endswith(
        "Before it failed, this task made DisconnectCustomKeyStore: the store was FAILED when it was found"
        " and was last seen DISCONNECTED."
    )


# ---- races: somebody else moves the store


def test_somebody_else_disconnects_first(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_intruder(DISCONNECT, action=DISCONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, state="disconnected")
    assert run.calls_and_polls == [DESCRIBE, DISCONNECT, DESCRIBE]
    assert result["changed"] is False
    assert result["operations"] == []
    assert result["connection_states"] == ["CONNECTED", "DISCONNECTING", "DISCONNECTED"]


def test_somebody_else_connects_first(run: ModuleRunner) -> None:
    store_id = make_store(run, "DISCONNECTED")
    run.control.add_intruder(CONNECT, action=CONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, state="connected")
    assert run.calls_and_polls == [DESCRIBE, CONNECT, DESCRIBE]
    assert result["changed"] is False
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"


@pytest.mark.parametrize(("state", "operations"), [("connected", [CREATE]), ("disconnected", [CREATE, DISCONNECT])])
def test_somebody_else_connects_a_store_that_was_just_created(
    run: ModuleRunner, monkeypatch: pytest.MonkeyPatch, state: str, operations: list[str]
) -> None:
    """The plan was made when there was no store: its next call would not fit the state that the store is seen in."""
    create = kms_stores.Kms.create

    def create_and_connect(kms: kms_stores.Kms, members: Any) -> str:
        store_id = create(kms, members)
        run.control.add_intruder(DESCRIBE, action=CONNECT, parameters={"CustomKeyStoreId": store_id})
        return store_id

    monkeypatch.setattr(kms_stores.Kms, "create", create_and_connect)
    run.control.set_transitions(connect_seconds=10, disconnect_seconds=10)
    result = run(**CLOUDHSM, state=state, update_credentials="always")
    assert result["operations"] == operations
    assert result["custom_key_store"]["connection_state"] == state.upper()
    expected = [DESCRIBE, CREATE, DESCRIBE, *([DISCONNECT, DESCRIBE] if DISCONNECT in operations else [])]
    assert run.calls_and_polls == expected


def test_bringing_back_does_not_rely_on_another_description(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that shows the store as it was before the disconnect would have it taken for put back."""
    make_store(run, "CONNECTED")
    describe = kms_stores.Kms.describe
    shown: list[Any] = []

    def describe_as_at_first(kms: kms_stores.Kms, desired: Any) -> Any:
        shown.append(describe(kms, desired))
        return shown[0]

    monkeypatch.setattr(kms_stores.Kms, "describe", describe_as_at_first)
    run.control.add_fault("UpdateCustomKeyStore", error="AccessDeniedException")
    result = run(name="payments", cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert "The store is CONNECTED again, with its old settings." in result["msg"]
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"


def test_a_store_that_was_not_seen_after_the_disconnect_is_brought_back_by_the_next_run(run: ModuleRunner) -> None:
    make_store(run, "CONNECTED")
    run.control.add_fault(DESCRIBE, error="AccessDeniedException", skip=2, times=2)  # those after the disconnect
    failed = run(name="payments", cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert "could NOT be connected again" in failed["msg"]
    run.control.advance(60)
    again = run(name="payments")  # whatever it asks for
    assert again["operations"] == [CONNECT]
    assert again["custom_key_store"]["connection_state"] == "CONNECTED"


def test_somebody_else_aborts_our_connect(run: ModuleRunner) -> None:
    store_id = make_store(run, "DISCONNECTED")
    run.control.add_intruder(DESCRIBE, skip=3, action=DISCONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, state="connected")
    assert result["operations"] == [CONNECT, CONNECT]
    assert result["connection_states"] == [
        "DISCONNECTED",
        "CONNECTING",
        "DISCONNECTING",
        "DISCONNECTED",
        "CONNECTING",
        "CONNECTED",
    ]


def test_somebody_else_keeps_disconnecting(run: ModuleRunner) -> None:
    store_id = make_store(run, "DISCONNECTED")
    parameters = {"CustomKeyStoreId": store_id, "ConnectionState": "DISCONNECTED"}
    for skip in range(2, 1000):
        run.control.add_intruder(DESCRIBE, skip=skip, action="SetConnectionState", parameters=parameters)
    result = run(id=store_id, state="connected", wait_timeout=7200)
    assert result["failed"] is True
    assert "Somebody else keeps changing the connection of the custom key store" in result["msg"]
    assert "Find out who changes it, and run the task again." in result["msg"]
    assert run.calls.count(CONNECT) == result["operations"].count(CONNECT) == MAX_DECISIONS


def test_somebody_else_deletes_the_store_meanwhile(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_fault(DESCRIBE, error="CustomKeyStoreNotFoundException", skip=3)
    result = run(id=store_id, state="disconnected")
    assert result["failed"] is True
    assert result["changed"] is True
    assert "The custom key store is not there any more: somebody deleted it" in result["msg"]


# ---- answers that are lost, faults, throttling


@pytest.mark.parametrize(("desired", "state", "operation"), [
    ("disconnected", "CONNECTED", DISCONNECT),
    ("connected", "DISCONNECTED", CONNECT),
])  # fmt: skip
@pytest.mark.parametrize("fault", [{"drop": True}, {"error": "KMSInternalException"}])
@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("delay", [0, 30])
def test_a_lost_answer_counts_as_what_it_was(
    run: ModuleRunner, desired: str, state: str, operation: str, fault: dict[str, Any], applied: bool, delay: int
) -> None:
    store_id = make_store(run, state)
    run.control.set_visibility_delay(delay)
    run.control.add_fault(operation, applied=applied, **fault)
    result = run(id=store_id, state=desired)
    assert "failed" not in result, result
    assert result["changed"] is True
    assert result["operations"] == [operation]
    assert result["custom_key_store"]["connection_state"] == desired.upper()
    applied_calls = [
        request for request in run.control.requests() if request["operation"] == operation and request["applied"]
    ]
    assert len(applied_calls) == 1


def test_a_lost_answer_that_is_never_made_up_for(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_fault(DISCONNECT, drop=True, applied=True)
    run.control.add_fault(DISCONNECT, drop=True, skip=1, times=1000)
    result = run(id=store_id, state="disconnected", wait_timeout=60)
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["operations"] == [DISCONNECT]
    assert "DisconnectCustomKeyStore got no answer from KMS" in result["msg"]


def test_no_response_and_no_description(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_fault(DISCONNECT, drop=True, times=1000)
    run.control.add_fault(DESCRIBE, drop=True, skip=1, times=1000)
    result = run(id=store_id, state="disconnected", wait_timeout=60)
    assert result["failed"] is True
    assert result["operations"] == [DISCONNECT]


@pytest.mark.parametrize("operation", [DESCRIBE, DISCONNECT])
@pytest.mark.parametrize("error", ["ThrottlingException", "KMSInternalException", "DependencyTimeoutException"])
def test_throttling_and_faults_are_retried(run: ModuleRunner, operation: str, error: str) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_fault(operation, error=error, times=8)
    result = run(id=store_id, state="disconnected")
    assert result["changed"] is True
    assert result["operations"] == [DISCONNECT]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("ThrottlingException", "it takes 5 a second of each of these operations"),
        ("KMSInternalException", "KMS has a fault of its own. Run the task again; if it lasts, look at"),
        ("DependencyTimeoutException", "A service that KMS depends on did not answer in time. Run the task again."),
    ],
)
def test_throttling_and_faults_without_end(run: ModuleRunner, error: str, words: str) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_fault(DESCRIBE, error=error, times=1000)
    result = run(id=store_id, state="disconnected", wait_timeout=60)
    assert result["failed"] is True
    assert run.time.now == pytest.approx(60)
    assert f"DescribeCustomKeyStores of {store_id} failed with {error}." in result["msg"]
    assert words in result["msg"]


def test_the_backoff_grows_has_jitter_and_an_upper_bound(run: ModuleRunner) -> None:
    store_id = make_store(run, "DISCONNECTED")
    run.control.add_fault(DESCRIBE, error="ThrottlingException", times=8)
    run(id=store_id, state="disconnected")
    assert run.time.sleeps == pytest.approx([0.375, 0.75, 1.5, 3, 6, 11.25, 11.25, 11.25])


def test_an_outage_during_the_wait_is_waited_out(run: ModuleRunner) -> None:
    store_id = make_store(run, "DISCONNECTED")
    run.control.add_fault(DESCRIBE, drop=True, skip=2, times=20)
    result = run(id=store_id, state="connected")
    assert result["changed"] is True
    assert "failed" not in result


def test_an_endpoint_that_never_answers_is_not_tried_for_half_an_hour(run: ModuleRunner) -> None:
    store_id = make_store(run, "DISCONNECTED")
    run.control.add_fault(DESCRIBE, drop=True, times=1000)
    result = run(id=store_id, state="connected")
    assert run.calls == [DESCRIBE] * 5
    assert run.time.now < 10
    assert "DescribeCustomKeyStores got no answer from KMS: " in result["msg"]
    assert "Check region and endpoint_url, and that the managed host reaches that address" in result["msg"]


def test_botocore_may_retry_too_where_the_user_wants_it(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_fault(DISCONNECT, drop=True, applied=True)
    result = run(id=store_id, state="disconnected", aws_config={"retries": {"max_attempts": 2}})
    assert result["operations"] == [DISCONNECT]
    assert result["changed"] is True


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", "Allow kms:DisconnectCustomKeyStore in an IAM policy of the caller."),
        ("ExpiredTokenException", "The session token has expired."),
        ("UnrecognizedClientException", "AWS does not know these credentials."),
        ("InvalidSignatureException", "Check secret_key"),
        ("CustomKeyStoreNotFoundException", "is not there any more"),
        ("SomethingNewException", "look the code up in the KMS API reference"),
    ],
)
def test_a_refused_disconnect_says_why(run: ModuleRunner, code: str, words: str) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_fault(DISCONNECT, error=code)
    result = run(id=store_id, state="disconnected")
    assert run.calls == [DESCRIBE, DISCONNECT]
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["error"]["code"] == code
    assert result["msg"].startswith(f"DisconnectCustomKeyStore of {store_id} failed with {code}. ")
    assert words in result["msg"]
    assert state_of(run) == "CONNECTED"


def test_credentials_that_expire_during_the_wait(run: ModuleRunner) -> None:
    store_id = make_store(run, "CONNECTED")
    run.control.add_fault(DESCRIBE, error="ExpiredTokenException", skip=3)
    result = run(id=store_id, state="disconnected")
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["operations"] == [DISCONNECT]
    assert result["msg"].endswith("the store was CONNECTED when it was found and was last seen DISCONNECTING.")


# ---- input that is refused before any request


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of the following is required: custom_key_store_id, name"),
        (
            {"id": ""},
            "custom_key_store_id must have 1 to 64 characters, but has 0: give an id such as cks-1234567890abcdef0,"
            " or leave the option out.",
        ),
        (
            {"id": "x" * 65},
            "custom_key_store_id must have 1 to 64 characters, but has 65: give an id such as cks-1234567890abcdef0,"
            " or leave the option out.",
        ),
        (
            {"name": "x" * 257},
            "name must have 1 to 256 characters, but has 257: give the custom key store's friendly name,"
            " or leave the option out.",
        ),
        (
            {"name": "payments", "wait_timeout": 0},
            "wait_timeout must be at least 1 second, but is 0: to return without waiting for the end state, set wait=false.",
        ),
        (
            {"name": "payments", "state": "gone"},
            "value of state must be one of: present, absent, connected, disconnected, got: gone",
        ),
    ],
)
def test_bad_input(run: ModuleRunner, options: dict[str, Any], message: str) -> None:
    result = run(**options)
    assert run.calls == []
    assert result["failed"] is True
    assert result["msg"] == message


def test_no_credentials(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    result = run(name="payments", access_key="", secret_key="")
    assert result["msg"] == (
        "DescribeCustomKeyStores could not be sent to KMS: Unable to locate credentials. Give access_key and secret_key, or"
        " profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on the managed host, or give it an instance role."
    )


def test_the_account_is_left_out_where_it_is_not_known(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kms, "caller_account", lambda sts: None)
    assert "in the Region us-east-1. Check" in run(name="unknown")["msg"]


def test_the_user_agent_names_the_collection(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    agents = []
    original = kms_stores.Kms._call

    def spy(self: kms_stores.Kms, *args: Any) -> Any:
        agents.append(self._client.meta.config.user_agent)  # type: ignore[attr-defined]  # the type is that of no service
        return original(self, *args)

    monkeypatch.setattr(kms_stores.Kms, "_call", spy)
    run(id=make_store(run, "CONNECTED"))
    assert "keyops.aws/0.1.0" in agents[0]


# ---- the documentation


def test_everything_returned_is_documented(run: ModuleRunner) -> None:
    documented = yaml.safe_load(kms_custom_key_store.RETURN)
    stores = [
        make_store(run, "FAILED"),
        run.control.create_store(
            custom_key_store_type="EXTERNAL_KEY_STORE", parameters={"XksProxyConnectivity": "VPC_ENDPOINT_SERVICE"}
        ),
    ]
    returned = [run(id=store_id) for store_id in stores]
    store_keys = set[str]().union(*(result["custom_key_store"] for result in returned))
    assert store_keys == set(documented["custom_key_store"]["contains"])
    proxy = returned[1]["custom_key_store"]["xks_proxy_configuration"]
    not_yet = set() if KNOWS_OWNER else {"vpc_endpoint_service_owner"}
    assert set(proxy) | not_yet == set(
        documented["custom_key_store"]["contains"]["xks_proxy_configuration"]["contains"]
    )
    assert set(returned[0]["connection_error"]) == set(documented["connection_error"]["contains"])
    failed = run(name="unknown")
    assert set(failed["error"]) == set(documented["error"]["contains"])
    mechanical = {"changed", "failed", "msg", "invocation", "diff", "warnings", "deprecations", "exception"}
    assert set[str]().union(failed, *returned) - mechanical == set(documented)
