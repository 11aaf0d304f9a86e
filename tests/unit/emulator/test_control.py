# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steering: visibility, faults, intruders, the log, and bad input; in process, with the clock frozen."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionClosedError
from moto import mock_aws
from moto.kms.models import kms_backends

from kms_emulator import Control
from kms_emulator import install
from kms_emulator.clock import Clock

Connection = Callable[[str], tuple[str, str | None]]


def names(kms: Any) -> list[str]:
    return [store["CustomKeyStoreName"] for store in kms.describe_custom_key_stores()["CustomKeyStores"]]


def not_found(kms: Any, **which: Any) -> bool:
    try:
        kms.describe_custom_key_stores(**which)
    except ClientError as error:
        return error.response["Error"]["Code"] == "CustomKeyStoreNotFoundException"
    return False


def create(kms: Any, name: str) -> str:
    answer = kms.create_custom_key_store(
        CustomKeyStoreName=name,
        CloudHsmClusterId="cluster-abcdefghijk",
        TrustAnchorCertificate="certificate",
        KeyStorePassword="kmsuser-password",
    )
    return str(answer["CustomKeyStoreId"])


def test_install_again_keeps_what_is_there(control: Control) -> None:
    control.create_store()
    before = kms_backends[control.account_id]
    install()
    assert kms_backends[control.account_id] is before


def test_mock_aws_starts_empty() -> None:
    install()
    for _turn in range(2):
        with mock_aws():
            assert Control().requests() == []
            Control().create_store(custom_key_store_name="same")
            boto3.client("kms", region_name="us-east-1").list_keys()


def test_a_new_store_is_not_visible_yet(kms: Any, control: Control) -> None:
    control.set_visibility_delay(5)
    store_id = create(kms, "new")
    assert names(kms) == []
    assert not_found(kms, CustomKeyStoreId=store_id)
    assert not_found(kms, CustomKeyStoreName="new")
    kms.update_custom_key_store(CustomKeyStoreId=store_id, NewCustomKeyStoreName="newer")
    control.advance(5)
    assert names(kms) == ["newer"]


def test_a_change_is_not_visible_yet(kms: Any, control: Control, connection: Connection) -> None:
    store_id = control.create_store(custom_key_store_name="old")
    control.set_visibility_delay(5)
    kms.update_custom_key_store(CustomKeyStoreId=store_id, NewCustomKeyStoreName="new")
    control.advance(3)
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert (names(kms), connection(store_id)) == (["old"], ("DISCONNECTED", None))
    with pytest.raises(ClientError, match="CustomKeyStoreInvalidStateException"):
        kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    control.advance(2)
    assert (names(kms), connection(store_id)) == (["new"], ("DISCONNECTED", None))
    control.advance(3)
    assert connection(store_id) == ("CONNECTING", None)
    control.set_connection_state(store_id, "FAILED", "INTERNAL_ERROR")
    assert connection(store_id) == ("FAILED", "INTERNAL_ERROR")


def test_a_clock_that_requests_move(kms: Any, control: Control, connection: Connection) -> None:
    store_id = control.create_store()
    control.set_transitions(connect_seconds=3)
    control.freeze_clock(seconds_per_request=1)
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    states = [connection(store_id)[0] for _time in range(4)]
    assert states == ["CONNECTING", "CONNECTING", "CONNECTED", "CONNECTED"]
    control.reset()
    store_id = control.create_store()
    control.freeze_clock()
    kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert {connection(store_id)[0] for _time in range(4)} == {"CONNECTING"}


@pytest.mark.parametrize("uptime", [700.1, 1000.7, 2047.9, 123456.789])
def test_no_uptime_of_the_machine_rounds_seconds(monkeypatch: pytest.MonkeyPatch, uptime: float) -> None:
    monkeypatch.setattr("time.clock_gettime", lambda clock: uptime)
    clock = Clock()
    clock.freeze(0)
    start = clock.elapsed()
    assert start == pytest.approx(uptime, abs=0.00001)
    for advanced in range(1, 2000):
        clock.advance(1)
        assert clock.elapsed() - start == advanced


def test_a_deleted_store_is_still_visible(kms: Any, control: Control) -> None:
    store_id = control.create_store(custom_key_store_name="gone")
    control.set_visibility_delay(5)
    kms.delete_custom_key_store(CustomKeyStoreId=store_id)
    assert names(kms) == ["gone"]
    with pytest.raises(ClientError, match="CustomKeyStoreNotFoundException"):
        kms.delete_custom_key_store(CustomKeyStoreId=store_id)
    control.advance(5)
    assert not_found(kms, CustomKeyStoreId=store_id)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("ThrottlingException", 400),
        ("KMSInternalException", 500),
        ("DependencyTimeoutException", 503),
        ("AccessDeniedException", 400),
        ("ExpiredTokenException", 400),
    ],
)
def test_an_error_instead_of_an_answer(kms: Any, control: Control, error: str, status: int) -> None:
    control.add_fault("DescribeCustomKeyStores", error=error, skip=1, times=2)
    seen = []
    for _turn in range(4):
        try:
            kms.describe_custom_key_stores()
            seen.append((200, "ok"))
        except ClientError as answer:
            metadata = answer.response["ResponseMetadata"]
            assert metadata["RequestId"]
            seen.append((metadata["HTTPStatusCode"], answer.response["Error"]["Code"]))
    assert seen == [(200, "ok"), (status, error), (status, error), (200, "ok")]
    assert [record["outcome"] for record in control.requests()] == ["ok", error, error, "ok"]


@pytest.mark.parametrize("applied", [False, True])
def test_a_fault_before_or_after_the_effect(kms: Any, control: Control, connection: Connection, applied: bool) -> None:
    store_id = control.create_store(connection_state="CONNECTED")
    control.add_fault("DisconnectCustomKeyStore", drop=True, applied=applied)
    with pytest.raises(ConnectionClosedError):
        kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert connection(store_id)[0] == ("DISCONNECTING" if applied else "CONNECTED")
    record = control.requests()[0]
    assert (record["outcome"], record["applied"]) == ("dropped", applied)


def test_botocore_retries_a_dropped_connection_by_itself(kms: Any, control: Control) -> None:
    control.add_fault("ListKeys", drop=True)
    client = boto3.client("kms", region_name="us-east-1", config=Config(retries={"mode": "standard"}))
    client.list_keys()
    assert [record["outcome"] for record in control.requests()] == ["dropped", "ok"]


def test_a_lost_answer_to_a_refused_request_was_not_applied(kms: Any, control: Control) -> None:
    store_id = control.create_store()
    control.add_fault("DisconnectCustomKeyStore", error="ThrottlingException", applied=True)
    with pytest.raises(ClientError, match="ThrottlingException"):
        kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert control.requests()[0]["applied"] is False


def test_several_faults_wait_for_each_other(kms: Any, control: Control) -> None:
    control.add_fault("ListKeys", error="First")
    control.add_fault("ListKeys", error="Second")
    for expected in ("First", "Second"):
        with pytest.raises(ClientError, match=expected):
            kms.list_keys()
    kms.list_keys()


def test_a_fault_by_chance(kms: Any, control: Control) -> None:
    def outcomes(seed: int) -> list[str]:
        control.reset()
        control.add_fault("ListKeys", error="Spoilt", times=None, probability=0.3, seed=seed)
        for _turn in range(100):
            with contextlib.suppress(ClientError):
                kms.list_keys()
        return [record["outcome"] for record in control.requests()]

    first = outcomes(1)
    assert 15 < first.count("Spoilt") < 45
    assert outcomes(1) == first
    assert outcomes(2) != first


def test_a_fault_for_ever(kms: Any, control: Control) -> None:
    control.add_fault("ListKeys", error="Spoilt", times=None)
    for _turn in range(20):
        with pytest.raises(ClientError, match="Spoilt"):
            kms.list_keys()


def test_an_external_store_has_no_kmsuser(control: Control) -> None:
    store_id = control.create_store(custom_key_store_type="EXTERNAL_KEY_STORE")
    with pytest.raises(ValueError, match="no kmsuser"):
        control.delete_kmsuser(store_id)


def test_an_intruder(kms: Any, control: Control, connection: Connection) -> None:
    store_id = control.create_store(connection_state="CONNECTED")
    same = {"CustomKeyStoreId": store_id}
    control.add_intruder("DescribeCustomKeyStores", skip=1, action="DisconnectCustomKeyStore", parameters=same)
    assert connection(store_id)[0] == "CONNECTED"
    assert connection(store_id)[0] == "DISCONNECTING"
    control.add_intruder(
        "ConnectCustomKeyStore",
        action="SetConnectionState",
        parameters={**same, "ConnectionState": "FAILED", "ConnectionErrorCode": "USER_LOCKED_OUT"},
    )
    control.add_intruder("ConnectCustomKeyStore", action="DeleteCustomKeyStore", parameters=same)
    with pytest.raises(ClientError, match="CustomKeyStoreInvalidStateException"):
        kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert connection(store_id) == ("FAILED", "USER_LOCKED_OUT")
    assert {record["operation"] for record in control.requests()} == {
        "DescribeCustomKeyStores",
        "ConnectCustomKeyStore",
    }
    assert [intrusion["outcome"] for intrusion in control.intrusions()] == [
        "ok",
        "ok",
        "CustomKeyStoreInvalidStateException",
    ]


def test_the_log_has_all_requests_without_secrets(kms: Any, control: Control) -> None:
    store_id = create(kms, "logged")
    credential = {"AccessKeyId": "ABCDEFGHIJKLMNOPQRST", "RawSecretAccessKey": "raw+secret/access=key" * 3}
    with pytest.raises(ClientError, match="ValidationException"):
        kms.update_custom_key_store(CustomKeyStoreId=store_id, XksProxyAuthenticationCredential=credential)
    kms.list_keys()
    first, second, third = control.requests()
    assert first == {
        "number": 1,
        "time": first["time"],
        "operation": "CreateCustomKeyStore",
        "parameters": {
            "CustomKeyStoreName": "logged",
            "CloudHsmClusterId": "cluster-abcdefghijk",
            "TrustAnchorCertificate": "certificate",
            "KeyStorePassword": "********",
        },
        "account_id": "123456789012",
        "region": "us-east-1",
        "outcome": "ok",
        "applied": True,
    }
    assert second["parameters"]["XksProxyAuthenticationCredential"] == {
        "AccessKeyId": "ABCDEFGHIJKLMNOPQRST",
        "RawSecretAccessKey": "********",
    }
    assert (second["outcome"], second["applied"]) == ("ValidationException", False)
    assert third["operation"] == "ListKeys"
    control.clear_requests()
    assert control.requests() == []


def test_latency(kms: Any, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("kms_emulator.handling.time.sleep", slept.append)
    control.set_latency(0.25)
    kms.list_keys()
    assert slept == [0.25]


def test_reset_forgets_all(kms: Any, control: Control) -> None:
    control.create_store()
    control.add_fault("DescribeCustomKeyStores", drop=True)
    control.set_rule("connect_when_connected_is_valid", True)
    control.reset()
    assert names(kms) == []
    assert len(control.requests()) == 1


def test_many_threads_at_once(kms: Any, control: Control, connection: Connection) -> None:
    """Of many disconnects of one store, exactly one is accepted; and no request is missing in the log."""
    store_id = control.create_store(connection_state="CONNECTED")
    outcomes: list[str] = []

    def disconnect() -> None:
        try:
            kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
            outcomes.append("ok")
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])

    threads = [threading.Thread(target=disconnect) for _turn in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["CustomKeyStoreInvalidStateException"] * 31 + ["ok"]
    assert [record["number"] for record in control.requests()] == list(range(1, 33))
