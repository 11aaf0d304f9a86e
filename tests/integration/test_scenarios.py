# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acceptance scenarios through ansible-playbook over HTTP: each predicted in check mode, done, and done again.

The names of the tests begin with the number of the scenario.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import DOCUMENTATION_URL
from tests.integration.harness import Ansible

DESCRIBE = "DescribeCustomKeyStores"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"


@dataclass(frozen=True)
class Scenario:
    """A task that succeeds.

    Attributes:
        start: the state that the store is in.
        desired: the state that the task asks for.
        calls: the operations of the real run, each run of looks told once.
        states: the connection states that it sees.
        failed_code: the code of a store that is FAILED.
        by: the option that tells which store.
        stale_seconds: how long KMS shows the old state after a change.
    """

    start: str
    desired: str
    calls: list[str]
    states: list[str]
    failed_code: str | None = None
    by: str = "custom_key_store_id"
    stale_seconds: float = 0.0
    changes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", [call for call in self.calls if call != DESCRIBE])


SCENARIOS = {
    "s1": Scenario(
        "CONNECTED", "disconnected", [DESCRIBE, DISCONNECT, DESCRIBE], ["CONNECTED", "DISCONNECTING", "DISCONNECTED"]
    ),
    "s2": Scenario("DISCONNECTED", "disconnected", [DESCRIBE], ["DISCONNECTED"]),
    "s3": Scenario(
        "DISCONNECTED",
        "connected",
        [DESCRIBE, CONNECT, DESCRIBE],
        ["DISCONNECTED", "CONNECTING", "CONNECTED"],
        by="name",
        stale_seconds=1.5,
    ),
    "s4": Scenario("CONNECTED", "connected", [DESCRIBE], ["CONNECTED"]),
    "s5": Scenario("CONNECTING", "connected", [DESCRIBE], ["CONNECTING", "CONNECTED"]),
    "s6": Scenario(
        "DISCONNECTING",
        "connected",
        [DESCRIBE, CONNECT, DESCRIBE],
        ["DISCONNECTING", "DISCONNECTED", "CONNECTING", "CONNECTED"],
    ),
    "s7": Scenario(
        "FAILED",
        "connected",
        [DESCRIBE, DISCONNECT, DESCRIBE, CONNECT, DESCRIBE],
        ["FAILED", "DISCONNECTING", "DISCONNECTED", "CONNECTING", "CONNECTED"],
        failed_code="NETWORK_ERRORS",
    ),
}
"""S22, the twin in check mode, is a part of each."""


IN_MAKE_TEST = ("s1", "s2")
"""The others take make test too long; each of them has a test in one process as well."""


@pytest.mark.parametrize(
    "name", [name if name in IN_MAKE_TEST else pytest.param(name, marks=pytest.mark.long) for name in SCENARIOS]
)
def test_scenario(ansible: Ansible, name: str) -> None:
    scenario = SCENARIOS[name]
    control = ansible.control
    store_id = control.create_store(custom_key_store_name="payments", connection_state="DISCONNECTED")
    options: dict[str, Any] = {
        scenario.by: store_id if scenario.by == "custom_key_store_id" else "payments",
        "state": scenario.desired,
    }
    # A store that is found on its way stays so until the runs in check mode are over.
    control.set_transitions(connect_seconds=3600, disconnect_seconds=3600)
    control.set_connection_state(store_id, scenario.start, scenario.failed_code)

    predicted = ansible.module("--check", "--diff", **options)
    assert ansible.calls == [DESCRIBE]
    assert ansible.request_count == 1

    control.freeze_clock(seconds_per_request=1)
    control.set_transitions(connect_seconds=3, disconnect_seconds=3)
    control.set_connection_state(store_id, scenario.start, scenario.failed_code)
    control.set_visibility_delay(scenario.stale_seconds)
    result = ansible.module("--diff", **options)
    assert ansible.calls == scenario.calls
    assert result["operations"] == scenario.changes
    assert result["changed"] == bool(scenario.changes)
    assert result["connection_states"] == scenario.states
    if len(scenario.calls) == 1 and len(scenario.states) == 1:
        assert ansible.request_count == 1
    if scenario.failed_code is not None:
        assert result["connection_error"]["code"] == scenario.failed_code
    assert all(request["outcome"] == "ok" for request in control.requests())

    for key in ("changed", "operations", "diff", "custom_key_store"):
        assert predicted[key] == result[key], key
    assert predicted["connection_states"] == scenario.states[:1]

    control.set_visibility_delay(0)
    again = ansible.module(**options)
    assert ansible.request_count == 1
    assert again["changed"] is False
    assert again["connection_states"] == [scenario.desired.upper()]


def test_s8_a_login_that_may_lock_kmsuser_is_refused(ansible: Ansible) -> None:
    store_id = ansible.control.create_store(connection_state="FAILED", connection_error_code="INVALID_CREDENTIALS")
    for arguments in (("--check",), ()):
        result = ansible.module(*arguments, id=store_id, state="connected")
        assert ansible.calls == [DESCRIBE]
        assert ansible.request_count == 1
        assert result["failed"] is True
        assert result["changed"] is False
        assert result["connection_error"]["code"] == "INVALID_CREDENTIALS"
        assert "another attempt to connect it may lock kmsuser out of its CloudHSM cluster" in result["msg"]
        assert "What to do: (1) Disconnect the custom key store (state=disconnected). (2) " in result["msg"]


@pytest.mark.long
def test_s10_a_timeout_can_be_joined(ansible: Ansible) -> None:
    store_id = ansible.control.create_store()
    ansible.control.set_transitions(connect_seconds=6)
    ansible.control.freeze_clock()
    result = ansible.module(id=store_id, state="connected", wait_timeout=2)
    assert ansible.calls == [DESCRIBE, CONNECT, DESCRIBE]
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["operations"] == [CONNECT]
    assert (
        "was still CONNECTING after 2 seconds (wait_timeout=2), on its way to CONNECTED. KMS goes on" in result["msg"]
    )
    ansible.control.freeze_clock(seconds_per_request=3)
    joined = ansible.module(id=store_id, state="connected")
    assert ansible.calls == [DESCRIBE]
    assert joined["changed"] is False
    assert joined["connection_states"] == ["CONNECTING", "CONNECTED"]


@pytest.mark.parametrize("state", ["connected", "disconnected", "present"])
def test_s23_an_unknown_store(ansible: Ansible, state: str) -> None:
    result = ansible.module(name="unknown", state=state)
    assert ansible.calls == [DESCRIBE]
    assert result["failed"] is True
    assert result["changed"] is False
    assert result["msg"] == (
        'There is no custom key store named "unknown" in the Region us-east-1 of the account 123456789012.'
        " Check the id or name, the Region, and whose credentials the task uses."
    )


def test_a_dropped_connection_after_the_disconnect_was_applied(ansible: Ansible) -> None:
    store_id = ansible.control.create_store(connection_state="CONNECTED")
    ansible.control.add_fault(DISCONNECT, drop=True, applied=True)
    result = ansible.module(id=store_id, state="disconnected")
    outcomes = [request["outcome"] for request in ansible.control.requests() if request["operation"] == DISCONNECT]
    assert outcomes == ["dropped", "CustomKeyStoreInvalidStateException"]
    assert result["changed"] is True
    assert result["operations"] == [DISCONNECT]


def test_a_connect_that_fails_has_cause_and_remedy(ansible: Ansible) -> None:
    store_id = ansible.control.create_store()
    ansible.control.set_transitions(connect_seconds=1)
    ansible.control.set_connect_outcomes(store_id, ["INSUFFICIENT_CLOUDHSM_HSMS"])
    result = ansible.module(id=store_id, state="connected")
    assert result["failed"] is True
    assert result["changed"] is True
    assert result["connection_error"] == {
        "code": "INSUFFICIENT_CLOUDHSM_HSMS",
        "cause": "The CloudHSM cluster has no active HSM; to connect, it needs at least one.",
        "remedy": [
            "Add at least one HSM to the cluster and wait until it is ACTIVE.",
            "Connect the custom key store again (state=connected). If it is FAILED, the task disconnects it first.",
        ],
        "guide": f"{DOCUMENTATION_URL}/docsite/runbook_insufficient_cloudhsm_hsms.html",
    }
    assert f" See {result['connection_error']['guide']}." in result["msg"]


def test_a_rescue_block_can_decide(ansible: Ansible) -> None:
    store_id = ansible.control.create_store()
    ansible.control.set_connect_outcomes(store_id, ["CloudHsmClusterNotActiveException"])
    connect = {"name": "Connect", "keyops.aws.kms_custom_key_store": {"id": store_id, "state": "connected"}}
    decide = {
        "name": "Decide",
        "ansible.builtin.assert": {
            "that": [
                "ansible_failed_result is not changed",
                "ansible_failed_result.operations == []",
                "ansible_failed_result.error.code == 'CloudHsmClusterNotActiveException'",
                "ansible_failed_result.custom_key_store.connection_state == 'DISCONNECTED'",
            ]
        },
    }
    run = ansible.playbook([{"name": "Try", "block": [connect], "rescue": [decide]}])
    assert run.exit_code == 0, run.output
