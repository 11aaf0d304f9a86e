# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of the emulator over HTTP, as if it were AWS, and the emulator held against them."""

from __future__ import annotations

import datetime
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from dev.environment import ROOT
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.client import aws_variables
from tests.record import __main__ as program
from tests.record import recorder
from tests.record.disguise import ACCOUNT
from tests.record.disguise import STORE_ID
from tests.record.disguise import Disguise
from tests.record.disguise import may_be_private
from tests.record.interrupts import Interrupts
from tests.record.player import Step
from tests.record.recorder import Time
from tests.record.recorder import agreed
from tests.record.recorder import record
from tests.record.recording import Recording
from tests.record.recording import as_text
from tests.record.recording import read
from tests.record.replay import DISPUTES
from tests.record.replay import Comparison
from tests.record.replay import compare
from tests.record.replay import lines
from tests.record.requests import METHODS
from tests.record.requests import check_harmless
from tests.sdk import KNOWS_OWNER

NAME = "payments"
CLOUDHSM = "AWS_CLOUDHSM"
EXTERNAL = "EXTERNAL_KEY_STORE"
HOST = "xks.acme-bank.example.net"
PUBLIC = {"XksProxyUriEndpoint": f"https://{HOST}", "XksProxyUriPath": "/acme-vault/kms/xks/v1"}
SERVICE = "com.amazonaws.vpce.us-east-1.vpce-svc-0a1b2c3d4e5f60718"
PRIVATE = {**PUBLIC, "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE", "XksProxyVpcEndpointServiceName": SERVICE}
OWNER = {"XksProxyVpcEndpointServiceOwner": "210987654321"} if KNOWS_OWNER else {}
STORES = {
    "cluster": (CLOUDHSM, {}),
    "public proxy": (EXTERNAL, PUBLIC),
    "private proxy": (EXTERNAL, PRIVATE),
    "private proxy of another account": (EXTERNAL, {**PRIVATE, **OWNER}),
}
CHANGES = {"ConnectCustomKeyStore", "DisconnectCustomKeyStore", "UpdateCustomKeyStore", "DeleteCustomKeyStore"}


@dataclass
class Aws:
    """The emulator in the place of AWS, with one key store, and with time that passes when it is slept.

    Attributes:
        control: steers it.
        folder: for recordings.
        seconds: the time.
    """

    control: HttpControl
    url: str
    folder: Path
    seconds: float = 0.0
    store_id: str = ""

    def create(self, kind: str = "cluster", *, state: str = "CONNECTED", name: str = NAME) -> None:
        store_type, parameters = STORES[kind]
        if store_type == CLOUDHSM:
            certificate = "-----BEGIN CERTIFICATE-----\nMIIBacme\n-----END CERTIFICATE-----\n"
            parameters = {"CloudHsmClusterId": self.control.create_cluster(certificate=certificate)}
        self.store_id = self.control.create_store(
            custom_key_store_name=name,
            custom_key_store_type=store_type,
            connection_state=state,
            connection_error_code="NETWORK_ERRORS" if state == "FAILED" else None,
            parameters=parameters,
        )
        self.control.set_transitions(connect_seconds=300, disconnect_seconds=100)
        self.control.freeze_clock()

    def create_for_another_process(self, seconds: float) -> None:
        """One that takes so many seconds of wall time to connect, and to disconnect."""
        self.control.set_transitions(connect_seconds=seconds, disconnect_seconds=seconds)
        parameters = {"CloudHsmClusterId": self.control.create_cluster()}
        self.store_id = self.control.create_store(
            custom_key_store_name=NAME, connection_state="CONNECTED", parameters=parameters
        )

    def sleep(self, seconds: float) -> None:
        self.control.advance(seconds)
        self.seconds += seconds

    def record(self, *given: str, name: str = NAME, ask: Callable[[str], str] | None = None) -> int:
        moments = Time(self.sleep, lambda: self.seconds, 20.0, lambda: datetime.date(2026, 10, 2))
        return record(name, self.folder, given=given, ask=ask, moments=moments)

    def recorded(self) -> Recording:
        """A recording of the key store, which is as before afterwards."""
        assert self.record(NAME, NAME) == 0
        assert self.store() == (NAME, "CONNECTED")
        (path,) = self.folder.glob("*.json")
        return read(path)

    def store(self) -> tuple[str, str]:
        """The name and state that the key store has in the end, as soon as it is to be seen."""
        self.control.set_visibility_delay(0)
        self.sleep(1000)
        found = boto3.client("kms").describe_custom_key_stores(CustomKeyStoreId=self.store_id)
        (entry,) = found["CustomKeyStores"]
        return entry["CustomKeyStoreName"], entry["ConnectionState"]

    def changes(self) -> list[str]:
        """What KMS was asked to change, refused or not."""
        return [each["operation"] for each in self.control.requests() if each["operation"] in CHANGES]


@pytest.fixture
def aws(
    emulator_server: EmulatorServer, http_control: HttpControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Aws:
    for name in [name for name in os.environ if name.startswith(("AWS_", "BOTO"))]:
        monkeypatch.delenv(name)
    for name, value in aws_variables(emulator_server.url).items():
        monkeypatch.setenv(name, value)
    return Aws(http_control, emulator_server.url, tmp_path / "recordings")


def outcomes(recording: Recording) -> dict[str, str]:
    return {step["step"]: step["outcome"] for step in recording["steps"] if "outcome" in step}


def differing(comparison: Comparison) -> set[str]:
    return {verdict.step["step"] for verdict in comparison.verdicts if verdict.differences}


@pytest.mark.long
@pytest.mark.parametrize("kind", STORES)
def test_the_emulator_is_as_a_recording_of_itself(aws: Aws, kind: str) -> None:
    aws.create(kind)
    recording = aws.recorded()
    comparison = compare(recording, aws.url)
    assert differing(comparison) == set()
    assert comparison.is_fine
    settled = {DISPUTES[rule]: value for rule, value in comparison.settled.items()}
    expected = {3: False} | ({1: True} if kind == "cluster" else {2: True, 7: False})
    expected |= {4: False} if kind == "public proxy" else {}
    expected |= {5: True} if kind == "private proxy of another account" and KNOWS_OWNER else {}
    assert settled == expected


def later(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.long)


TURNED = [
    later("cluster", {"rename_when_connected_is_valid": False}, {"rename-connected"}),
    later("cluster", {"connect_when_connected_is_valid": True}, {"connect-connecting", "connect-connected"}),
    ("public proxy", {"proxy_update_when_connected_is_valid": False}, {"update-path-connected"}),
    later(
        "private proxy",
        {"proxy_update_in_any_state_is_valid": True},
        {"update-name-disconnecting", "update-path-disconnecting", "update-name-connecting", "update-path-connecting"},
    ),
    later("public proxy", {"empty_vpc_service_name_is_valid": True}, {"update-no-service"}),
    (
        "cluster",
        {"rename_when_connected_is_valid": False, "connect_when_connected_is_valid": True},
        {"rename-connected", "connect-connecting", "connect-connected"},
    ),
]


@pytest.mark.parametrize(("kind", "rules", "steps"), TURNED)
@pytest.mark.long
def test_a_replay_finds_what_differs_and_names_the_switch(
    aws: Aws, kind: str, rules: dict[str, bool], steps: set[str]
) -> None:
    aws.create(kind)
    for rule, value in rules.items():
        aws.control.set_rule(rule, value)
    comparison = compare(aws.recorded(), aws.url)
    assert differing(comparison) == steps
    assert comparison.is_fine
    assert rules.items() <= comparison.settled.items()
    printed = list(lines(comparison))
    for step in steps:
        (line,) = (line for line in printed if f" {step} " in line)
        assert line.startswith("differs  ")
        assert "outcome: AWS " in line
        assert any(f"{rule} = {str(value).lower()}" in line for rule, value in rules.items())
    for rule, value in rules.items():
        said = f"3.9({DISPUTES[rule]}) {rule}: AWS's answers are those of {str(value).lower()}, NOT as by default."
        assert any(line.startswith(said) for line in printed)  # a note may follow


@pytest.mark.parametrize("outlives", [later(False), True])
@pytest.mark.long
def test_a_connect_that_fails_by_accident_settles_what_becomes_of_its_code(aws: Aws, *, outlives: bool) -> None:
    aws.create()
    aws.control.set_rule("error_code_outlives_disconnect", outlives)
    aws.control.set_connect_outcomes(aws.store_id, ["NETWORK_ERRORS"])
    recording = aws.recorded()
    comparison = compare(recording, aws.url)
    assert comparison.settled["error_code_outlives_disconnect"] is outlives
    assert differing(comparison) == ({"disconnected-failed"} if outlives else set())
    assert comparison.is_fine


def test_a_connect_that_fails_because_of_kmsuser_is_not_tried_again(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.create()
    aws.control.set_connect_outcomes(aws.store_id, ["USER_LOCKED_OUT"])
    assert aws.record(NAME, NAME) == 3
    assert aws.store() == (NAME, "FAILED")
    assert aws.changes().count("ConnectCustomKeyStore") == 3  # one for no key store, and one while CONNECTING
    printed = capsys.readouterr().out
    assert "THE KEY STORE payments IS NOT AS IT WAS. It is FAILED with USER_LOCKED_OUT." in printed
    assert f"aws kms connect-custom-key-store --region us-east-1 --custom-key-store-id {aws.store_id}" in printed
    assert not aws.folder.exists()


@pytest.mark.long
def test_changes_that_are_seen_late_are_no_difference(aws: Aws) -> None:
    aws.create()
    aws.control.set_visibility_delay(50)
    recording = aws.recorded()
    begins = {step["step"]: step["states"] for step in recording["steps"] if step["step"].startswith("begins-")}
    assert begins["begins-connecting"] == ["DISCONNECTED", "CONNECTING"]
    assert compare(recording, aws.url).is_fine


def test_a_step_that_came_too_late_says_nothing(aws: Aws) -> None:
    aws.create()
    aws.control.set_transitions(connect_seconds=1, disconnect_seconds=0)
    recording = aws.recorded()
    left_out = {step["step"] for step in recording["steps"] if "left_out" in step}
    assert left_out == {"update-name-disconnecting", "disconnect-disconnecting"}
    comparison = compare(recording, aws.url)
    assert comparison.is_fine
    assert any(
        re.match("unsure +disconnect-disconnecting +The key store was DISCONNECTED", line) for line in lines(comparison)
    )


@pytest.mark.long
def test_a_step_during_which_the_key_store_moved_on_says_nothing(aws: Aws) -> None:
    aws.create()
    recording = aws.recorded()
    (step,) = (step for step in recording["steps"] if step["step"] == "connect-connecting")
    step |= {"outcome": "ok", "answer": {}, "state_after": "CONNECTED"}
    comparison = compare(recording, aws.url)
    assert comparison.is_fine
    assert any(re.match("unsure +connect-connecting", line) for line in lines(comparison))


# Differences that no switch explains


def changed(recording: Recording, name: str, **members: Any) -> Step:
    step: Step
    (step,) = (step for step in recording["steps"] if step["step"] == name)
    step.update(members)
    return step


@pytest.mark.long
def test_what_no_switch_explains_is_reported(aws: Aws, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aws.create()
    recording = aws.recorded()
    changed(recording, "random-disconnected", outcome="KMSInvalidStateException")
    changed(recording, "disconnect-disconnected", message="")
    step = changed(recording, "connected")
    step["entry"]["CustomKeyStoreColor"] = "(text)"
    path = tmp_path / "changed.json"
    path.write_text(as_text(recording))
    capsys.readouterr()
    assert program.replay_one(path, aws.url) == 1
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("DIFFERS")]
    assert [line.partition("  [")[0].split(maxsplit=2)[1:] for line in printed] == [
        ["disconnect-disconnected", "message: AWS none, emulator a text"],
        [
            "random-disconnected",
            "outcome: AWS KMSInvalidStateException, emulator CustomKeyStoreInvalidStateException",
        ],
        ["connected", "store.CustomKeyStoreColor: AWS (text), emulator not there"],
    ]
    assert all("[no switch explains it" in line for line in printed)


@pytest.mark.long
def test_answers_that_contradict_each_other_are_reported(aws: Aws) -> None:
    aws.create()
    recording = aws.recorded()
    step = changed(recording, "connect-connected", outcome="ok", http_status=200, answer={})
    del step["message"]
    comparison = compare(recording, aws.url)
    assert comparison.contradictions == {"connect_when_connected_is_valid"}
    assert not comparison.is_fine
    assert any("some answers are those of true, some of false" in line for line in lines(comparison))


@pytest.mark.long
def test_an_update_that_kms_should_have_refused_makes_the_others_no_proof(aws: Aws) -> None:
    """As KMS may take each value that is there already, whatever the state."""
    aws.create("public proxy")
    recording = aws.recorded()
    step = changed(recording, "update-endpoint-connected", outcome="ok", http_status=200, answer={})
    del step["message"]
    comparison = compare(recording, aws.url)
    assert differing(comparison) == {"update-endpoint-connected"}
    assert not comparison.is_fine
    assert not {"proxy_update_when_connected_is_valid", "proxy_update_in_any_state_is_valid"} & set(comparison.settled)
    assert any("3.9(2) and 3.9(7) are not settled" in line for line in lines(comparison))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a recording of format 1"),
        ('{"format": 1}', "has no steps"),
        ('{"format": 1, "store_type": "AWS_CLOUDHSM", "steps": [{"step": "x"}]}', "does not say what key store"),
    ],
)
def test_what_is_no_recording_is_reported(
    aws: Aws, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    path = tmp_path / "no-recording.json"
    path.write_text(content)
    assert program.replay_one(path, aws.url) == 2
    assert said in capsys.readouterr().out


def test_a_recording_with_another_request_is_not_played(
    aws: Aws, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.create()
    recording = aws.recorded()
    changed(recording, "update-nothing", operation="DeleteCustomKeyStore")
    path = tmp_path / "changed.json"
    path.write_text(as_text(recording))
    assert program.replay_one(path, aws.url) == 2
    assert "DeleteCustomKeyStore is none of the operations that a recording may have." in capsys.readouterr().out


def test_without_a_recording_nothing_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    assert program.main(["replay"]) == 2
    assert "Nothing was compared." in capsys.readouterr().out


# Nothing by accident


def test_without_a_name_it_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["record"]) == 2
    assert "make record KEY_STORE=name" in capsys.readouterr().out


@pytest.mark.parametrize("given", [[], [NAME], [NAME, "Payments"], [NAME, NAME, NAME], ["", ""]])
def test_without_a_terminal_it_must_be_said_twice(
    aws: Aws, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    aws.create()
    assert aws.record(*given) == 2
    assert aws.changes() == []
    assert "Nothing was done." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [((NAME, NAME), True), ((NAME, "yes"), False), (("y", "y"), False), (("", ""), False), (("Payments", NAME), False)],
)
def test_the_name_is_typed_twice(typed: tuple[str, str], *, expected: bool) -> None:
    answers = iter(typed)
    assert agreed(NAME, [], lambda _text: next(answers)) is expected


def test_the_user_is_warned_first(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    aws.create()
    shown = []

    def ask(_text: str) -> str:
        shown.append(capsys.readouterr().out)
        return "no"

    assert aws.record(ask=ask) == 2
    assert aws.changes() == []
    for text in (
        f"{NAME} (AWS_CLOUDHSM, us-east-1)",
        "It DISCONNECTS the key store and connects it again. That takes up to 20 minutes",
        "NO KMS KEY IN IT CAN BE USED",
        "payments-renamed",
        "a new password",
        f"--custom-key-store-id {aws.store_id}",
    ):
        assert text in shown[0]


@pytest.mark.parametrize("state", ["CONNECTING", "DISCONNECTED", "DISCONNECTING", "FAILED"])
def test_only_a_key_store_in_service_is_recorded(aws: Aws, capsys: pytest.CaptureFixture[str], state: str) -> None:
    aws.create(state=state)
    assert aws.record(NAME, NAME) == 2
    assert aws.changes() == []
    assert f"payments is {state}." in capsys.readouterr().out


def test_an_unknown_key_store_and_a_name_that_is_taken(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    aws.create()
    assert aws.record("other", "other", name="other") == 2
    assert "There is no custom key store 'other' in us-east-1." in capsys.readouterr().out
    aws.control.create_store(custom_key_store_name="payments-renamed")
    assert aws.record(NAME, NAME) == 2
    assert "There is a key store 'payments-renamed'" in capsys.readouterr().out
    assert aws.changes() == []


@pytest.mark.parametrize(
    ("change", "said"), [({"active_hsms": 0}, "no active HSM"), ({"state": "DEGRADED"}, "is DEGRADED")]
)
def test_a_cluster_that_could_not_be_connected_again(
    aws: Aws, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    aws.create()
    (cluster,) = boto3.client("cloudhsmv2").describe_clusters()["Clusters"]
    aws.control.set_cluster(cluster["ClusterId"], **change)
    assert aws.record(NAME, NAME) == 2
    assert aws.changes() == []
    assert said in capsys.readouterr().out


STORE = {
    "CustomKeyStoreId": "cks-1",
    "CustomKeyStoreName": "one",
    "XksProxyConfiguration": {"UriPath": "/kms/xks/v1", "UriEndpoint": "https://a.example.com"},
}


@pytest.mark.parametrize(
    ("operation", "request_members"),
    [
        ("DeleteCustomKeyStore", {"CustomKeyStoreId": "cks-1"}),
        ("ScheduleKeyDeletion", {"KeyId": "1"}),
        ("DisconnectCustomKeyStore", {"CustomKeyStoreId": "cks-2"}),
        ("UpdateCustomKeyStore", {"CustomKeyStoreId": "cks-1", "KeyStorePassword": "secret-1"}),
        ("UpdateCustomKeyStore", {"CustomKeyStoreId": "cks-1", "CloudHsmClusterId": "cluster-abcdefghijk"}),
        ("UpdateCustomKeyStore", {"CustomKeyStoreId": "cks-1", "XksProxyUriPath": "/other/kms/xks/v1"}),
        ("UpdateCustomKeyStore", {"CustomKeyStoreId": "cks-1", "XksProxyUriEndpoint": "https://b.example.com"}),
        ("UpdateCustomKeyStore", {"CustomKeyStoreId": "cks-1", "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE"}),
        ("UpdateCustomKeyStore", {"CustomKeyStoreId": "cks-1", "NewCustomKeyStoreName": "two"}),
        ("UpdateCustomKeyStore", {"CustomKeyStoreId": "cks-1", "XksProxyVpcEndpointServiceName": SERVICE}),
    ],
)
def test_what_is_never_sent(operation: str, request_members: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a recording"):
        check_harmless(operation, request_members, STORE)


def test_there_is_no_operation_that_deletes_or_creates() -> None:
    assert not [name for name in METHODS if re.match("Delete|Create|Schedule|Disable|Put", name)]


# However it ends


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int, error: type[BaseException]) -> list[str]:
    """Have the program end after so many steps. Returns the list that gets the steps."""
    done: list[str] = []

    def tell(step: Step) -> None:
        done.append(step["step"])
        if len(done) == count:
            raise error

    monkeypatch.setattr(recorder, "progress", tell)
    return done


def ended(aws: Aws) -> int:
    try:
        return aws.record(NAME, NAME)
    except ZeroDivisionError:
        return -1


STEPS_OF_CLOUDHSM = 34


@pytest.mark.long
@pytest.mark.parametrize("delay", [0, 30])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_after_each_step_the_key_store_is_brought_back(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], delay: int
) -> None:
    for count in range(1, STEPS_OF_CLOUDHSM + 1):
        aws.control.reset()
        aws.create()
        aws.control.set_visibility_delay(delay)
        done = stop_after(monkeypatch, count, error)
        assert ended(aws) == (130 if error is KeyboardInterrupt else -1)
        assert aws.store() == (NAME, "CONNECTED"), done
        assert len(done) == count
        assert not aws.folder.exists()


@pytest.mark.parametrize("step", ["rename-connected", "disconnect", "rename-disconnected", "connect"])
def test_ctrl_c_brings_the_key_store_back(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    """With a real signal, and another one at each moment of bringing it back."""
    aws.create()
    aws.control.set_visibility_delay(30)
    came: list[str] = []

    def tell(done: Step) -> None:
        if done["step"] == step:
            came.append(step)
            os.kill(os.getpid(), signal.SIGINT)

    def sleep(seconds: float) -> None:
        if came:
            os.kill(os.getpid(), signal.SIGTERM)
        aws.sleep(seconds)

    monkeypatch.setattr(recorder, "progress", tell)
    before = signal.getsignal(signal.SIGINT)
    moments = Time(sleep, lambda: aws.seconds, 20.0)
    assert record(NAME, aws.folder, given=[NAME, NAME], moments=moments) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert aws.store() == (NAME, "CONNECTED")
    printed = capsys.readouterr().out
    assert "It was interrupted." in printed
    if step != "rename-connected":  # which takes no time to take back
        assert "This program ends when that is done." in printed


def test_a_held_signal_is_reported() -> None:
    shown: list[str] = []
    with Interrupts(lambda: shown.append("held")) as interrupts:
        interrupts.held = True
        os.kill(os.getpid(), signal.SIGINT)
    assert shown == ["held"]


FAULTS = [
    ("DisconnectCustomKeyStore", {"drop": True, "applied": True, "skip": 1}),
    ("DisconnectCustomKeyStore", {"drop": True, "skip": 1}),
    ("ConnectCustomKeyStore", {"drop": True, "applied": True, "skip": 1}),
    ("ConnectCustomKeyStore", {"error": "KMSInternalException", "skip": 1, "times": 3}),
    ("UpdateCustomKeyStore", {"drop": True, "applied": True, "skip": 1}),
    ("UpdateCustomKeyStore", {"error": "KMSInternalException", "applied": True, "skip": 1}),
    ("UpdateCustomKeyStore", {"error": "AccessDeniedException", "skip": 2}),
    ("GenerateRandom", {"error": "KMSInternalException", "skip": 1}),
]


@pytest.mark.parametrize("delay", [later(0), 30])
@pytest.mark.parametrize(("operation", "fault"), FAULTS)
def test_a_fault_ends_the_recording_and_the_key_store_is_brought_back(
    aws: Aws, operation: str, fault: dict[str, Any], delay: int
) -> None:
    aws.create()
    aws.control.set_visibility_delay(delay)
    aws.control.add_fault(operation, **fault)
    assert aws.record(NAME, NAME) == 1
    assert aws.store() == (NAME, "CONNECTED")
    assert not aws.folder.exists()


def test_throttling_is_no_answer(aws: Aws) -> None:
    aws.create()
    aws.control.add_fault("ConnectCustomKeyStore", error="ThrottlingException", skip=1, times=3)
    assert outcomes(aws.recorded())["connect"] == "ok"


def test_permissions_are_proved_before_the_disconnect(aws: Aws) -> None:
    aws.create()
    aws.control.add_fault("ConnectCustomKeyStore", error="AccessDeniedException")
    assert aws.record(NAME, NAME) == 1
    assert aws.changes() == ["ConnectCustomKeyStore"]


def test_a_key_store_that_cannot_be_brought_back_is_reported(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    aws.create()
    aws.control.add_fault("ConnectCustomKeyStore", error="ExpiredTokenException", skip=1, times=None)
    assert aws.record(NAME, NAME) == 3
    assert aws.store() == (NAME, "DISCONNECTED")
    printed = capsys.readouterr().out
    assert "THE KEY STORE payments IS NOT AS IT WAS." in printed
    assert "aws kms update-custom-key-store" in printed


# Privacy


def originals(aws: Aws) -> list[str]:
    (entry,) = boto3.client("kms").describe_custom_key_stores()["CustomKeyStores"]
    proxy = entry.get("XksProxyConfiguration", {})
    values = [entry["CustomKeyStoreId"], NAME, "123456789012", "AKIAIOSFODNN7EXAMPLE", "us-east-1", "210987654321"]
    values += [entry.get("CloudHsmClusterId", "none at all"), "MIIBacme", "acme", HOST, "vpce-svc-0a1b2c3d4e5f60718"]
    values += [proxy.get("AccessKeyId", "none at all"), str(entry["CreationDate"].year), "127.0.0.1"]
    return values


@pytest.mark.parametrize(
    "kind", ["cluster", later("public proxy"), later("private proxy"), "private proxy of another account"]
)
def test_a_recording_has_nothing_private(aws: Aws, kind: str) -> None:
    aws.create(kind)
    values = originals(aws)
    recording = aws.recorded()
    recording["recorded"] = ""
    text = as_text(recording).replace("com.amazonaws.vpce.us-east-1.vpce-svc-00000000000000001", "")
    assert [value for value in values if value.lower() in text.lower()] == []
    assert may_be_private(text) == []
    assert STORE_ID in text


def test_a_recording_says_what_it_is_of(aws: Aws) -> None:
    aws.create()
    recording = aws.recorded()
    assert list(recording) == ["format", "recorded", "partition", "store_type", "sdk", "seconds", "steps"]
    assert (recording["recorded"], recording["partition"], recording["store_type"]) == ("2026-10-02", "aws", CLOUDHSM)
    assert recording["seconds"] == {"disconnect": 100.0, "connect": 300.0}
    assert re.fullmatch(r"botocore [\d.]+", recording["sdk"])
    assert len(recording["steps"]) == STEPS_OF_CLOUDHSM
    assert aws.record(NAME, NAME) == 0
    assert [path.name for path in sorted(aws.folder.iterdir())] == [
        "2026-10-02-aws-cloudhsm-2.json",
        "2026-10-02-aws-cloudhsm.json",
    ]


def disguise() -> Disguise:
    proxy = {"UriEndpoint": f"https://{HOST}", "UriPath": "/vault7/kms/xks/v1", "AccessKeyId": "ABCDEFGHIJKLMNOPQRST"}
    store = {"CustomKeyStoreId": "cks-0123456789abcdef0", "CustomKeyStoreName": "store", "XksProxyConfiguration": proxy}
    return Disguise(store, "210987654321", {"alice", "AROAEXAMPLEEXAMPLE12"})


def test_messages_are_disguised() -> None:
    arn = "arn:aws-us-gov:iam::210987654321:user/alice"
    texts = {
        f"User: {arn} is not authorized": "User: (text) is not authorized",
        "The store STORE is not there": "The store-01 store-01 is not there",
        "Stored by malice": "Stored by malice",
        "cks-0123456789abcdef0 and cks-0123456789abcdef1": "cks-00000000000000001 and (text)",
        f"{HOST} at 10.1.2.3 since 2026-01-02T03:04:05Z": "(text) at (text) since (text)",
        "vault7 of account 210987654321, not 999988887777": f"(text) of account {ACCOUNT}, not (text)",
        "Request 01234567-89ab-cdef-0123-456789abcdef": "Request (text)",
    }
    assert {text: disguise().text(text) for text in texts} == texts


@pytest.mark.parametrize(
    "left",
    [
        "store",
        "a Store.",
        "CKS-0123456789ABCDEF0",
        HOST,
        "acme-bank",
        "xvault7x",
        "210987654321",
        "alice",
        "ABCDEFGHIJKLMNOPQRST",
        "999988887777",
        "arn:aws:kms:us-east-1:111122223333:key/1",
        "10.1.2.3",
        "fe80::1:2:3:4",
        "https://elsewhere.example.org",
        "someone@example.org",
        "2026-01-02T03:04:05Z",
        "01234567-89ab-cdef-0123-456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    ],
)
def test_what_is_left_is_found(left: str) -> None:
    step = {"step": "some", "operation": "GenerateRandom", "message": f"It is {left}", "state": "CONNECTED"}
    found = disguise().leaks(json.dumps({"steps": [step]}))
    assert found
    assert all("in step some" in text for text in found)
    assert not any(left in text for text in found)


def test_something_private_is_found_before_the_disconnect(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.create()
    monkeypatch.setattr(Disguise, "text", lambda _self, text: f"{text} {NAME}")
    assert aws.record(NAME, NAME) == 1
    assert aws.changes().count("DisconnectCustomKeyStore") == 1  # that of no key store
    assert "Something private would be in the recording" in capsys.readouterr().out
    assert not aws.folder.exists()


@pytest.mark.parametrize("name", ["ok", "CONNECTED", "connect", "store", "kms", "text", "x", "a (b) [c] \\d+"])
@pytest.mark.long
def test_a_name_that_is_a_common_word(aws: Aws, name: str) -> None:
    aws.create(name=name)
    assert aws.record(name, name, name=name) == 0


# As a user runs it


def run(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.record", *arguments]


@pytest.mark.parametrize("typed", [("yes", "yes"), (NAME, "payment"), ("", "")])
def test_on_a_terminal_the_name_must_be_typed_twice(aws: Aws, typed: tuple[str, str]) -> None:
    """On a real one."""
    aws.create()
    master, slave = pty.openpty()
    with subprocess.Popen(run("record", NAME), cwd=ROOT, stdin=slave, stdout=slave, stderr=slave) as program:
        os.close(slave)
        os.write(master, "".join(f"{line}\n" for line in typed).encode())
        printed = until_it_ends(master)
        assert program.wait(60) == 2
    os.close(master)
    assert "The name of the key store: " in printed
    assert "That is not its name, twice. Nothing was done." in printed
    assert aws.changes() == []


def until_it_ends(terminal: int) -> str:
    """What is printed on a terminal."""
    printed = b""
    while True:
        try:
            more = os.read(terminal, 10000)
        except OSError:  # the other side is closed
            more = b""
        if not more:
            return printed.decode()
        printed += more


def test_ctrl_c_in_another_process(aws: Aws) -> None:
    aws.create_for_another_process(1)
    command = run("record", NAME, "--yes-disconnect", NAME, "--yes-disconnect", NAME, "--folder", str(aws.folder))
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as program:
        assert program.stdout is not None
        printed = ""
        while "\n  disconnect  " not in printed:
            line = program.stdout.readline()
            assert line, printed
            printed += line
        program.send_signal(signal.SIGINT)
        printed += program.stdout.read()
        assert program.wait(60) == 130
    assert "Traceback" not in printed
    assert "The key store is CONNECTED, and has its name." in printed
    (entry,) = boto3.client("kms").describe_custom_key_stores()["CustomKeyStores"]
    assert (entry["CustomKeyStoreName"], entry["ConnectionState"]) == (NAME, "CONNECTED")
    assert not aws.folder.exists()


@pytest.mark.long
def test_a_recording_and_its_replay_as_programs(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key store takes six seconds each time, so that all can be asked in passing."""
    aws.create_for_another_process(6)
    command = run("record", NAME, "--yes-disconnect", NAME, "--yes-disconnect", NAME, "--folder", str(aws.folder))
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = aws.folder.iterdir()
    assert path.read_text() in done.stdout
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    again = subprocess.run(run("replay", str(path)), cwd=ROOT, text=True, capture_output=True, timeout=200, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "\nunsure" not in again.stdout
    assert "3.9(1) rename_when_connected_is_valid: AWS's answers are those of true" in again.stdout
