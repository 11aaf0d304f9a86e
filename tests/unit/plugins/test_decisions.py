# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task decides at the edges of its rules, and says in whole: each test notices a change of the code that no other did.

make mutation makes such changes, see tests/mutation.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import predict
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.apply import MAX_DECISIONS
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Worker
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms_stores import Kms
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import ConnectionState
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import DesiredStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import FOLDER
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import Ownership
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import TakenOver
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.plan import Refusal
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.plan import make_plan
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Check
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Outcome
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import MASKED
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import VARIABLE
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import Run
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import token_of
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.wait import STALE_POLLS
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.wait import End
from tests.unit import harness
from tests.unit.harness import InTwo
from tests.unit.harness import ModuleRunner
from tests.unit.options import CLOUDHSM
from tests.unit.options import CLUSTER
from tests.unit.options import KINDS
from tests.unit.options import OTHER_CLUSTER
from tests.unit.options import PASSWORD
from tests.unit.options import PUBLIC
from tests.unit.plugins.test_plan import a_store
from tests.unit.plugins.test_wait import Scene

DESCRIBE = "DescribeCustomKeyStores"
CREATE = "CreateCustomKeyStore"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"
UPDATE = "UpdateCustomKeyStore"
DELETE = "DeleteCustomKeyStore"

BEGIN = 10_000.0


@pytest.fixture(autouse=True)
def seconds(run: ModuleRunner) -> None:
    """Transitions take 10 seconds, and the clock does not begin at zero."""
    run.control.set_transitions(connect_seconds=10, disconnect_seconds=10)
    run.time.now = BEGIN


def store_in(run: ModuleRunner, state: str, options: dict[str, Any] | None = None) -> str:
    """Create a store by the module, put it in that state, and return its id."""
    store_id = str(run(**(options or CLOUDHSM))["custom_key_store"]["custom_key_store_id"])
    run.control.set_connection_state(store_id, state, "NETWORK_ERRORS" if state == "FAILED" else None)
    return store_id


def both(run: ModuleRunner, **options: Any) -> dict[str, Any]:
    """A task that is refused: in check mode as well, with the same words, and without a change."""
    predicted, result = run(**options, check=True), run(**options)
    assert predicted["msg"] == result["msg"]
    assert result["failed"] is True
    assert result["changed"] is False
    assert {CREATE, CONNECT, DISCONNECT, UPDATE, DELETE}.isdisjoint(run.calls)
    return result


# ---- what a refusal says


@pytest.mark.parametrize("state", ["CONNECTED", "CONNECTING"])
def test_a_change_that_needs_a_disconnect_is_refused(run: ModuleRunner, state: str) -> None:
    store_id = store_in(run, state)
    change = {"cloud_hsm_cluster_id": OTHER_CLUSTER, "key_store_password": PASSWORD, "update_credentials": "always"}
    result = both(run, id=store_id, name="invoices", **change)
    assert result["msg"] == (
        f"To change cloud_hsm_cluster_id, key_store_password, the custom key store {store_id}"
        f' ("payments") must be disconnected, and it is {state}: while it is disconnected, none of its KMS keys can be used. To'
        " let this task disconnect it, change it, and connect it again, set allow_disconnect=true; to leave it disconnected, set"
        " state=disconnected."
    )


def test_a_login_that_may_lock_kmsuser_out_is_refused(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.set_connection_state(store_id, "FAILED", "INVALID_CREDENTIALS")
    assert both(run, id=store_id, state="connected")["msg"].startswith(
        f'The custom key store {store_id} ("payments") is FAILED and was left so, because another attempt to connect it may lock'
        " kmsuser out of its CloudHSM cluster. INVALID_CREDENTIALS: "
    )


def test_options_that_are_missing_to_create_a_store(run: ModuleRunner) -> None:
    result = both(run, name="payments", cloud_hsm_cluster_id=CLUSTER)
    assert result["msg"] == (
        'There is no custom key store named "payments" in the Region us-east-1 of the account 123456789012. Check the id or name,'
        " the Region, and whose credentials the task uses. To create it, the task also needs trust_anchor_certificate,"
        " key_store_password."
    )


@pytest.mark.parametrize("state", ["CONNECTED", "CONNECTING"])
def test_the_deletion_of_a_store_in_service(run: ModuleRunner, state: str) -> None:
    store_id = store_in(run, state)
    assert both(run, id=store_id, state="absent")["msg"] == (
        f'The custom key store {store_id} ("payments") is {state}, and only one that is DISCONNECTED can be deleted. To let this'
        " task disconnect it, set allow_disconnect=true, or disconnect it first."
    )


def test_the_deletion_of_a_store_that_holds_keys(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    keys = run.control.create_keys(2, custom_key_store_id=store_id)
    first, second = sorted(keys)
    message = both(run, id=store_id, state="absent")["msg"]
    begin = f'The custom key store {store_id} ("payments") cannot be deleted and was left as it is, because it holds 2 KMS keys: '
    end = (
        ". Schedule the deletion of those that you are sure not to need any more, and run the task again when all are gone: a key"
        " whose deletion is pending counts."
    )
    assert message.startswith(begin)
    assert message.endswith(end)
    named = message[len(begin) : -len(end)].split(", ")
    assert sorted(named) == [f"{first} (Unavailable)", f"{second} (Unavailable)"]


def test_a_cluster_that_could_not_connect_the_store(run: ModuleRunner) -> None:
    cluster_id = run.control.create_cluster()
    store_id = run.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    run.control.set_cluster(cluster_id, active_hsms=0)
    with mock.patch.object(harness, "known_clusters", describe_clusters):
        result = both(run, id=store_id, key_store_password=PASSWORD, update_credentials="always", allow_disconnect=True)
    assert result["msg"] == (
        f'The custom key store {store_id} ("payments") was left CONNECTED, because it could not be connected after the change:'
        f" the CloudHSM cluster {cluster_id} has no active HSM, and needs one. Add an HSM to it, and wait until that is ACTIVE."
        " Then run the task again."
    )


def test_a_cluster_that_another_store_has(run: ModuleRunner) -> None:
    """The last of the stores, so that no other of them is taken for it."""
    present, new = run.control.create_cluster(), run.control.create_cluster()
    for name in ("archive", "ledger"):
        run.control.create_store(custom_key_store_name=name, custom_key_store_type="EXTERNAL_KEY_STORE")
    store_id = run.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": present}
    )
    other_id = run.control.create_store(custom_key_store_name="invoices", parameters={"CloudHsmClusterId": new})
    assert both(run, id=store_id, cloud_hsm_cluster_id=new, allow_disconnect=True)["msg"] == (
        f'The custom key store {store_id} ("payments") was left CONNECTED, because the CloudHSM cluster {new} belongs to the'
        f' custom key store {other_id} ("invoices"), and a cluster can have only one. Choose another cluster,'
        " or delete that store."
    )


def test_a_cluster_that_the_store_itself_has_by_now(run: ModuleRunner) -> None:
    """Somebody has made the change between two looks: no other store has the cluster, and nothing is refused."""
    store_id = store_in(run, "CONNECTED")
    which = {"CustomKeyStoreId": store_id}
    for action, more in (("SetConnectionState", {"ConnectionState": "DISCONNECTED"}), (UPDATE, {})):
        more = more or {"CloudHsmClusterId": OTHER_CLUSTER}
        run.control.add_intruder(DESCRIBE, skip=1, action=action, parameters={**which, **more})
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert "failed" not in result, result
    assert UPDATE not in result["operations"]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """What the proxy of an external store is found to be."""
    checks: list[Check] = []
    monkeypatch.setattr(predict, "check_proxy", lambda *_arguments, **_others: checks)
    return checks


@pytest.mark.parametrize(("code", "shown"), [("XKS_PROXY_TIMED_OUT", " (XKS_PROXY_TIMED_OUT)"), ("", "")])
@pytest.mark.parametrize("desired", ["present", "connected", "disconnected"])
def test_a_proxy_that_could_not_be_connected(
    run: ModuleRunner, proxy: list[Check], code: str, shown: str, desired: str
) -> None:
    store_id = store_in(run, "CONNECTED", PUBLIC)
    proxy += [
        Check("Address", Outcome.PASSED, "It has an address."),
        Check("Time", Outcome.FAILED, "The proxy answers too late.", code),
    ]
    endpoint = {"uri_endpoint": "https://new.example.com"}
    result = both(run, id=store_id, state=desired, xks_proxy_configuration=endpoint, allow_disconnect=True)
    assert result["msg"] == (
        f'The custom key store {store_id} ("payments") was left CONNECTED, because KMS could not connect it after the'
        f" change{shown}. The proxy answers too late. Then run the task again."
    )


# ---- what is told of a store that could come back or not


def test_what_of_a_proxy_is_warned_of(run: ModuleRunner, proxy: list[Check], warnings: list[str]) -> None:
    store_id = store_in(run, "CONNECTED", PUBLIC)
    proxy += [
        Check("Address", Outcome.UNKNOWN, "The address is not known."),
        Check("Certificate", Outcome.WARNING, "The certificate expires soon."),
        Check("Time", Outcome.PASSED, "It answers in time."),
    ]
    endpoint = {"uri_endpoint": "https://new.example.com"}
    result = run(id=store_id, xks_proxy_configuration=endpoint, allow_disconnect=True)
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert warnings == ["The certificate expires soon."]


def test_a_proxy_of_which_nothing_is_known(run: ModuleRunner, proxy: list[Check], warnings: list[str]) -> None:
    store_id = store_in(run, "CONNECTED", PUBLIC)
    proxy += [Check("Address", Outcome.UNKNOWN, "It has none."), Check("Time", Outcome.UNKNOWN, "It was not asked.")]
    endpoint = {"uri_endpoint": "https://new.example.com"}
    assert run(id=store_id, xks_proxy_configuration=endpoint, allow_disconnect=True)["changed"] is True
    assert warnings == [
        f'Whether KMS could connect the custom key store {store_id} ("payments") again was not checked before the disconnect.'
        " It has none. It was not asked."
    ]


def test_a_cluster_of_which_nothing_is_known(run: ModuleRunner, warnings: list[str]) -> None:
    store_id = store_in(run, "CONNECTED")
    unknown = mock.Mock(side_effect=lambda _client, ids: {each: Cluster(each, problem="No way.") for each in ids})
    with mock.patch.object(harness, "known_clusters", unknown):
        result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert warnings == [
        f'Whether the CloudHSM cluster {OTHER_CLUSTER} could connect the custom key store {store_id} ("payments") again was not'
        " checked before the disconnect. No way."
    ]


@pytest.mark.parametrize("denied", ["DescribeKey", "ListKeys"])
def test_keys_that_cannot_be_seen_are_left_to_kms(run: ModuleRunner, warnings: list[str], denied: str) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.create_keys(1)
    run.control.add_fault(denied, error="AccessDeniedException", times=None)
    assert run(id=store_id, state="absent")["operations"] == [DELETE]
    (warning,) = warnings
    assert warning.startswith(
        f'Whether the custom key store {store_id} ("payments") holds KMS keys is left to KMS. {denied} '
    )


@pytest.mark.parametrize("operation", ["DescribeKey", "ListKeys"])
def test_any_other_error_of_the_keys_ends_a_deletion(run: ModuleRunner, operation: str) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.create_keys(1)
    run.control.add_fault(operation, error="KMSInvalidStateException", times=None)
    result = run(id=store_id, state="absent")
    assert result["error"]["code"] == "KMSInvalidStateException"
    assert DELETE not in run.calls


# ---- a deletion


def test_keys_that_hold_a_store_are_named_only_where_nothing_waits_for_it(run: ModuleRunner) -> None:
    """A store that was in service is brought back at once; to look for its keys takes minutes where there are many."""
    store_id = store_in(run, "CONNECTED")
    run.control.add_fault(DELETE, error="CustomKeyStoreHasCMKsException")
    result = run(id=store_id, state="absent", allow_disconnect=True)
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert run.calls.count("ListKeys") == 1
    assert run.calls[run.calls.index(DELETE) + 1] == DESCRIBE


def test_keys_that_hold_a_store_out_of_service_are_named(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    (key_id,) = run.control.create_keys(1, custom_key_store_id=store_id)
    run.control.add_fault("DescribeKey", error="AccessDeniedException")
    message = run(id=store_id, state="absent")["msg"]
    assert message.startswith(f"{DELETE} of {store_id} failed with CustomKeyStoreHasCMKsException. ")
    assert message.endswith(f" It holds {key_id} (Unavailable).")


def test_another_refusal_of_a_deletion_lists_no_keys(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.add_fault(DELETE, error="AccessDeniedException")
    result = run(id=store_id, state="absent")
    assert result["error"]["code"] == "AccessDeniedException"
    assert run.calls[-1] == DELETE
    assert "holds" not in result["msg"]


def test_a_deletion_that_nobody_waits_for(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.set_visibility_delay(20)
    options: dict[str, Any] = {"id": store_id, "state": "absent", "allow_disconnect": True, "wait": False}
    predicted = run(**options, check=True)
    result = run(**options)
    assert result["operations"] == predicted["operations"] == [DISCONNECT, DELETE]
    assert run.calls[-1] == DELETE
    assert result["custom_key_store"] == {}


def test_a_deletion_is_waited_for_until_it_shows(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.set_visibility_delay(20)
    begin = run.time.now
    assert run(id=store_id, state="absent")["operations"] == [DELETE]
    assert 20 <= run.time.now - begin < 25
    assert run(id=store_id, state="absent")["changed"] is False


# ---- another task on this host


class Newcomer:
    """Another task on this host, which begins to work on the store when so many seconds have passed.

    Attributes:
        at: those seconds.
        wants: the state that it is asked for.
        ends: is it done at once?
    """

    def __init__(self, run: ModuleRunner, store_id: str, *, at: float, wants: str, ends: bool = False) -> None:
        self._ownership, self._store_id = Ownership(FOLDER, Run(None)), store_id
        self._time, self._begins, self._wants, self._ends = run.time, run.time.now + at, wants, ends
        self._sleep, self._has_begun = run.time.sleep, False

    def sleep(self, seconds: float) -> None:
        self._sleep(seconds)
        if self._time.now >= self._begins and not self._has_begun:
            self._has_begun = True
            self._ownership.claim(self._store_id, wants=self._wants)
            if self._ends:
                self._ownership.release()


@pytest.mark.parametrize("ends", [False, True])
def test_another_task_that_wants_something_else_is_let_do_it(
    run: ModuleRunner, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """It was to be connected, and is to be disconnected by now: where the other task has ended, it has done that."""
    store_id = store_in(run, "DISCONNECTING")
    monkeypatch.setattr(run.time, "sleep", Newcomer(run, store_id, at=3, wants="disconnected", ends=ends).sleep)
    result = run(id=store_id, state="connected")
    assert result["failed"] is True
    assert result["operations"] == []
    assert CONNECT not in run.calls
    assert run.time.now - BEGIN < 20  # the disconnect is waited for, and then nothing more
    assert result["msg"].startswith(f"Another task on this host began to work on the custom key store {store_id}")
    assert (", with state=disconnected, so this one" in result["msg"]) is not ends


def test_another_task_that_wants_the_same_is_waited_for(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    store_id = store_in(run, "DISCONNECTING")
    monkeypatch.setattr(run.time, "sleep", Newcomer(run, store_id, at=3, wants="connected").sleep)
    run.control.add_intruder(DESCRIBE, skip=14, action=CONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, state="connected")
    assert "failed" not in result, result
    assert result["operations"] == []
    assert result["connection_states"][-1] == "CONNECTED"


def test_another_task_that_has_done_the_same_by_now(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    store_id = store_in(run, "DISCONNECTING")
    monkeypatch.setattr(run.time, "sleep", Newcomer(run, store_id, at=3, wants="connected", ends=True).sleep)
    run.control.add_intruder(CONNECT, action=CONNECT, parameters={"CustomKeyStoreId": store_id})
    run.control.add_intruder(DESCRIBE, skip=12, action=CONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, state="connected")
    assert "failed" not in result, result
    assert result["operations"] == []
    assert result["connection_states"][-1] == "CONNECTED"


def owner_of(store_id: str) -> dict[str, Any]:
    """Who works on a store, as each task writes it down for the others."""
    owner: dict[str, Any] = json.loads(Path(FOLDER).expanduser().joinpath(f"{store_id}.json").read_text())
    return owner


@pytest.mark.parametrize(("found", "desired"), [("DISCONNECTED", "connected"), ("CONNECTED", "disconnected")])
def test_a_task_that_moves_a_store_takes_it_over(
    run: ModuleRunner, monkeypatch: pytest.MonkeyPatch, found: str, desired: str
) -> None:
    store_id = store_in(run, found)
    other, sleep = Ownership(FOLDER, Run(token_of(os.getpid()))), run.time.sleep
    other.claim(store_id, wants="present")
    wants: list[str] = []

    def watched(seconds: float) -> None:
        sleep(seconds)
        wants.append(owner_of(store_id)["wants"])

    monkeypatch.setattr(run.time, "sleep", watched)
    assert run(id=store_id, state=desired)["changed"] is True
    assert set(wants) == {desired}
    with pytest.raises(TakenOver):
        other.check(store_id)


def test_a_created_store_is_the_task_s_own(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, wants = run.time.sleep, list[str]()

    def watched(seconds: float) -> None:
        sleep(seconds)
        (file,) = Path(FOLDER).expanduser().glob("*.json")
        wants.append(json.loads(file.read_text())["wants"])

    monkeypatch.setattr(run.time, "sleep", watched)
    assert run(**PUBLIC, state="connected")["operations"] == [CREATE, CONNECT]
    assert set(wants) == {"connected"}


@pytest.mark.parametrize("desired", ["connected", "present"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_task_that_nobody_waits_for_is_ended_by_one_that_wants_the_store_as_it_is(
    run: ModuleRunner, ended: str, desired: str, is_there: bool
) -> None:
    """Not where somebody waits for it, nor by one that does not say how the store shall be."""
    store_id = store_in(run, "CONNECTED")
    other = Ownership(FOLDER, Run(token_of(os.getpid()) if is_there else ended))
    other.claim(store_id, wants="disconnected")
    assert run(id=store_id, state=desired)["changed"] is False
    if is_there or desired == "present":
        other.check(store_id)
        return
    with pytest.raises(TakenOver):
        other.check(store_id)


def test_a_run_that_has_ended_takes_no_store_out_of_service(
    run: ModuleRunner, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    gone = "The run of Ansible that asked for it has ended, so this task disconnects no store."
    store_id = store_in(run, "CONNECTED")
    monkeypatch.setenv(VARIABLE, ended)
    result = run(id=store_id, state="disconnected")
    assert result["msg"] == gone
    assert DISCONNECT not in run.calls
    assert run(id=store_id, name="renamed")["operations"] == [UPDATE]
    run.control.set_connection_state(store_id, "DISCONNECTING")
    assert run(id=store_id, state="disconnected")["msg"] == gone  # nobody is there to be told
    assert run.calls == [DESCRIBE] * 2
    assert run(id=store_id, state="connected")["operations"] == [CONNECT]


# ---- another process that goes on


@pytest.fixture
def in_two(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> InTwo:
    return InTwo(run, monkeypatch)


def test_a_store_that_was_taken_over_between_two_processes_is_not_taken_back(run: ModuleRunner, in_two: InTwo) -> None:
    store_id = store_in(run, "DISCONNECTING")
    in_two.between = lambda: Ownership(FOLDER, Run(None)).claim(store_id, wants="disconnected")
    result = in_two(id=store_id, state="connected")
    assert CONNECT not in run.calls
    assert ", with state=disconnected, so this one makes no more changes to it." in result["msg"]


def test_what_kms_does_not_change_in_place_is_known_to_the_second(run: ModuleRunner, in_two: InTwo) -> None:
    """KMS is not asked again for what it has refused."""
    store_id = store_in(run, "CONNECTED", PUBLIC)
    run.control.add_fault(UPDATE, error="CustomKeyStoreInvalidStateException")
    path = {"uri_path": "/other/kms/xks/v1"}
    result = in_two(id=store_id, xks_proxy_configuration=path, allow_disconnect=True)
    assert in_two.first == [DESCRIBE, UPDATE, DESCRIBE]
    assert run.calls_and_polls == [DESCRIBE, DISCONNECT, DESCRIBE, UPDATE, CONNECT, DESCRIBE]
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]


def test_what_may_change_in_place_is_known_to_the_second(run: ModuleRunner, in_two: InTwo) -> None:
    """Somebody has moved the store, and so KMS has refused the change: that says nothing about changes in place."""
    store_id = store_in(run, "CONNECTED", PUBLIC)
    connecting = {"CustomKeyStoreId": store_id, "ConnectionState": "CONNECTING"}
    run.control.add_intruder(UPDATE, action="SetConnectionState", parameters=connecting)
    run.control.add_fault(UPDATE, error="CustomKeyStoreInvalidStateException")
    result = in_two(id=store_id, xks_proxy_configuration={"uri_path": "/other/kms/xks/v1"})
    assert "failed" not in result, result
    assert result["operations"] == [UPDATE]
    assert result["connection_states"] == ["CONNECTED", "CONNECTING", "CONNECTED"]


def test_an_update_without_an_answer_is_known_to_the_second(run: ModuleRunner, in_two: InTwo) -> None:
    """Its repetition is refused, as somebody has moved the store; the second process sees what became of the first request."""
    store_id = store_in(run, "DISCONNECTED")
    run.control.set_visibility_delay(30)
    run.control.add_fault(UPDATE, drop=True, applied=True)
    run.control.add_intruder(UPDATE, skip=1, action=CONNECT, parameters={"CustomKeyStoreId": store_id})
    in_two.between = lambda: run.control.advance(60)
    result = in_two(id=store_id, name="renamed")
    assert in_two.first[:3] == [DESCRIBE, UPDATE, UPDATE]
    assert UPDATE not in run.calls
    assert result["operations"] == [UPDATE]
    assert result["changed"] is True
    assert result["custom_key_store"]["custom_key_store_name"] == "renamed"


# ---- a store that is brought back


def test_a_store_is_brought_back_with_its_new_settings(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.add_fault(UPDATE, drop=True, applied=True, times=1000)
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True, wait_timeout=60)
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert " The store is CONNECTED again, with its new settings. Before it failed, this task made" in result["msg"]


def test_a_store_is_brought_back_through_throttling(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.add_fault(UPDATE, error="CloudHsmClusterNotRelatedException")
    run.control.add_fault(CONNECT, error="ThrottlingException", times=3)
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert " The store is CONNECTED again, with its old settings. Before it failed, this task made" in result["msg"]


def test_a_store_that_could_not_be_brought_back(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.add_fault(UPDATE, error="CloudHsmClusterNotRelatedException")
    run.control.add_fault(CONNECT, error="AccessDeniedException")
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert (
        f" The store was CONNECTED before and could NOT be connected again, so its KMS keys cannot be used. Fix that first:"
        f" {CONNECT} of {store_id} failed with AccessDeniedException. "
    ) in result["msg"]


def test_a_store_that_somebody_connects_while_it_is_to_be_brought_back(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.add_fault(DESCRIBE, error="AccessDeniedException", skip=2)  # the first after the disconnect
    connected = {"CustomKeyStoreId": store_id, "ConnectionState": "CONNECTED"}
    run.control.add_intruder(DESCRIBE, skip=4, action="SetConnectionState", parameters=connected)
    result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert result["operations"] == [DISCONNECT]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    assert " The store is CONNECTED again, with its old settings." in result["msg"]


# ---- what KMS shows late


@pytest.mark.parametrize(("wait_timeout", "waited"), [(60, (60, 61)), (1800, (300, 316))])
def test_a_created_store_that_is_not_shown(run: ModuleRunner, wait_timeout: int, waited: tuple[int, int]) -> None:
    run.control.set_visibility_delay(100_000)
    result = run(**CLOUDHSM, wait_timeout=wait_timeout)
    assert waited[0] <= run.time.now - BEGIN <= waited[1]
    assert result["operations"] == [CREATE]
    assert result["msg"] == (
        'KMS accepted the request to create the custom key store named "payments", but does not show it yet. Run the task again.'
        f" Before it failed, this task made {CREATE}: the store was not there at first."
    )


@pytest.mark.parametrize(("wait_timeout", "waited"), [(60, (60, 61)), (1800, (300, 316))])
def test_a_change_that_is_not_shown(run: ModuleRunner, wait_timeout: int, waited: tuple[int, int]) -> None:
    """KMS has accepted it, and so the task has done its part."""
    store_id = store_in(run, "DISCONNECTED")
    run.control.set_visibility_delay(100_000)
    begin = run.time.now
    result = run(id=store_id, name="invoices", wait_timeout=wait_timeout)
    assert waited[0] <= run.time.now - begin <= waited[1]
    assert "failed" not in result, result
    assert result["operations"] == [UPDATE]


@pytest.mark.parametrize(
    ("target", "way", "before"),
    [
        (ConnectionState.CONNECTED, "CONNECTING", "DISCONNECTED"),
        (ConnectionState.DISCONNECTED, "DISCONNECTING", "CONNECTED"),
    ],
)
@pytest.mark.parametrize(("descriptions", "end"), [(STALE_POLLS, End.REACHED), (STALE_POLLS + 1, End.MOVED)])
def test_so_many_descriptions_are_out_of_date(
    target: ConnectionState, way: str, before: str, descriptions: int, end: End
) -> None:
    """Each time that the store was seen on its way."""
    shown = [way, *[before] * STALE_POLLS, way, *[before] * descriptions]
    scene = Scene(
        lambda now: shown[len(scene.descriptions) - 1] if len(scene.descriptions) <= len(shown) else target.value
    )
    assert scene.wait(target, ConnectionState(before)) is end
    assert len(scene.descriptions) == len(shown) + (end is End.REACHED)


# ---- a request without an answer

UNKNOWN = "Whether KMS has carried out {} is not known: check the store before you rely on it."
MOVES = [(DISCONNECT, "CONNECTED", "disconnected"), (CONNECT, "DISCONNECTED", "connected")]


@pytest.mark.parametrize(("operation", "found", "state"), MOVES)
@pytest.mark.parametrize("applied", [True, False])
def test_a_move_without_a_response_is_checked(
    run: ModuleRunner, operation: str, found: str, state: str, applied: bool
) -> None:
    """For a minute and a half, as KMS may show the state from before for so long."""
    store_id = store_in(run, found)
    run.control.set_visibility_delay(80)
    run.control.add_fault(operation, drop=True, applied=applied, times=1000)
    begin = run.time.now
    result = run(id=store_id, state=state, wait_timeout=60)
    assert result["failed"] is True
    assert result["operations"] == ([operation] if applied else [])
    assert result["msg"].startswith(f"{operation} got no answer from KMS: ")
    assert result["msg"].endswith(f" KMS has not carried out {operation}.") is not applied
    assert "is not known" not in result["msg"]
    if not applied:
        assert 150 <= run.time.now - begin <= 152


@pytest.mark.parametrize(("operation", "found", "state"), MOVES)
def test_what_cannot_be_checked_counts_as_done(run: ModuleRunner, operation: str, found: str, state: str) -> None:
    store_id = store_in(run, found)
    run.control.add_fault(operation, drop=True, times=1000)
    run.control.add_fault(DESCRIBE, error="AccessDeniedException", skip=1, times=1000)
    result = run(id=store_id, state=state, wait_timeout=60)
    assert result["msg"].startswith(f"{operation} got no answer from KMS: ")
    assert result["operations"] == [operation]
    assert f" {UNKNOWN.format(operation)} Before it failed, this task made {operation}: " in result["msg"]


def test_a_password_without_a_response_is_not_checked(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.add_fault(UPDATE, drop=True, times=1000)
    begin = run.time.now
    result = run(id=store_id, key_store_password=PASSWORD, update_credentials="always", wait_timeout=60)
    assert f" {UNKNOWN.format(UPDATE)} Before it failed, this task made {UPDATE}: " in result["msg"]
    assert run.calls[-1] == UPDATE
    assert run.time.now - begin == pytest.approx(60)


@pytest.mark.parametrize("change", [{"name": "renamed"}, {"state": "absent"}])
@pytest.mark.parametrize("applied", [True, False])
def test_a_change_without_a_response_is_checked(run: ModuleRunner, change: dict[str, Any], applied: bool) -> None:
    store_id = store_in(run, "DISCONNECTED")
    operation = DELETE if "state" in change else UPDATE
    run.control.set_visibility_delay(80)
    run.control.add_fault(operation, drop=True, applied=applied, times=1000)
    result = run(id=store_id, wait_timeout=60, **change)
    assert result["operations"] == ([operation] if applied else [])
    assert result["msg"].endswith(f" KMS has not carried out {operation}.") is not applied
    assert "is not known" not in result["msg"]
    name = "renamed" if applied else "payments"
    gone = applied and operation == DELETE
    assert result["custom_key_store"].get("custom_key_store_name") == (None if gone else name)


def test_a_change_without_an_answer_in_a_store_that_is_gone(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.add_fault(UPDATE, drop=True, times=1000)
    run.control.add_intruder(DESCRIBE, skip=1, action=DELETE, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, name="renamed", wait_timeout=60)
    assert result["operations"] == []
    assert result["msg"].endswith(f" KMS has not carried out {UPDATE}.")
    assert result["custom_key_store"] == {}


@pytest.mark.parametrize("operation", [UPDATE, CONNECT])
def test_the_store_is_deleted_after_a_request_without_an_answer(run: ModuleRunner, operation: str) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.add_fault(operation, drop=True)
    run.control.add_intruder(operation, skip=1, action=DELETE, parameters={"CustomKeyStoreId": store_id})
    change: dict[str, Any] = {"name": "renamed"} if operation == UPDATE else {"state": "connected"}
    result = run(id=store_id, **change)
    assert f" {UNKNOWN.format(operation)} Before it failed, this task made {operation}: " in result["msg"]
    assert result["operations"] == [operation]
    assert result["error"]["code"] == "CustomKeyStoreNotFoundException"


def test_a_store_that_somebody_deletes_first(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.add_intruder(UPDATE, action=DELETE, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, name="renamed")
    assert result["operations"] == []
    assert "is not known" not in result["msg"]


@pytest.mark.parametrize("somebody", [True, False])
def test_somebody_else_deletes_it_while_it_is_to_be_deleted(run: ModuleRunner, somebody: bool) -> None:
    """Where the task's own request may have done it, the task has changed something."""
    store_id = store_in(run, "DISCONNECTED")
    if somebody:
        run.control.add_intruder(DELETE, action=DELETE, parameters={"CustomKeyStoreId": store_id})
    else:
        run.control.add_fault(DELETE, drop=True, applied=True)
    result = run(id=store_id, state="absent")
    assert "failed" not in result, result
    assert result["operations"] == ([] if somebody else [DELETE])
    assert result["custom_key_store"] == {}


@pytest.mark.parametrize("applied", [True, False])
def test_a_creation_without_a_response_is_checked(run: ModuleRunner, applied: bool) -> None:
    run.control.set_visibility_delay(80)
    run.control.add_fault(CREATE, error="KMSInternalException", applied=applied, times=1000)
    result = run(**PUBLIC, wait_timeout=60)
    assert result["operations"] == ([CREATE] if applied else [])
    assert ("custom_key_store_id" in result["custom_key_store"]) is applied
    assert result["msg"].endswith(f" KMS has not carried out {CREATE}.") is not applied


def test_what_became_of_a_request_is_found_out_before_another_process_goes_on(
    run: ModuleRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.add_fault(UPDATE, drop=True, times=1000)
    monkeypatch.setattr(Worker, "can_hand_over", True)
    result = run(id=store_id, name="renamed", wait_timeout=60)
    assert result["msg"].endswith(f" KMS has not carried out {UPDATE}.")


def test_a_created_store_is_seen_before_another_process_goes_on(
    run: ModuleRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process would create it again."""
    run.control.set_visibility_delay(20)
    monkeypatch.setattr(Worker, "can_hand_over", True)
    result = run(**CLOUDHSM)
    assert result["operations"] == [CREATE]
    assert run.calls.count(CREATE) == 1


@pytest.mark.parametrize("begin", [0.0, BEGIN])
def test_the_old_state_is_waited_out_for_a_minute_and_a_half(begin: float) -> None:
    scene = Scene(lambda now: "DISCONNECTED" if now < begin + 85 else "CONNECTED", now=begin)
    assert scene.wait(ConnectionState.CONNECTED, ConnectionState.DISCONNECTED) is End.REACHED
    scene = Scene(lambda _now: "DISCONNECTED", now=begin)
    assert scene.wait(ConnectionState.CONNECTED, ConnectionState.DISCONNECTED) is End.MOVED
    assert 90 <= scene.now - begin < 100


@pytest.mark.parametrize("begin", [0.0, BEGIN])
def test_a_store_is_described_often_at_first(begin: float) -> None:
    scene = Scene(lambda now: "CONNECTING" if now < begin + 60 else "CONNECTED", jitter=0.0, now=begin)
    assert scene.wait(ConnectionState.CONNECTED) is End.REACHED
    assert [round(time - begin, 2) for time in scene.descriptions[:13]] == [*range(12), 12.1]


# ---- decisions that are made again


def test_who_keeps_moving_a_store_is_not_followed_for_ever(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.add_fault(CONNECT, error="CustomKeyStoreInvalidStateException", times=1000)
    result = run(id=store_id, state="connected", wait_timeout=7200)
    assert result["operations"] == []
    assert run.calls == [DESCRIBE, CONNECT] * MAX_DECISIONS + [DESCRIBE]
    assert result["msg"] == (
        f'Somebody else keeps changing the connection of the custom key store {store_id} ("payments"): in'
        f" {MAX_DECISIONS} attempts, its state changed each time. Find out who changes it, and run the task again."
    )
    assert run.time.sleeps == pytest.approx([0.375, 0.75, 1.5, 3, 6, *[11.25] * 10])


def test_the_same_where_the_time_is_up_before(run: ModuleRunner) -> None:
    store_id = store_in(run, "DISCONNECTED")
    run.control.add_fault(CONNECT, error="CustomKeyStoreInvalidStateException", times=1000)
    result = run(id=store_id, state="connected", wait_timeout=5)
    assert run.calls == [DESCRIBE, CONNECT] * 5
    assert run.time.now - BEGIN == pytest.approx(5)
    assert ": in 5 attempts, its state changed each time." in result["msg"]


def test_what_is_warned_of_is_warned_of_once(run: ModuleRunner, warnings: list[str]) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.add_fault(DISCONNECT, error="CustomKeyStoreInvalidStateException")
    unknown = mock.Mock(side_effect=lambda _client, ids: {each: Cluster(each, problem="No way.") for each in ids})
    with mock.patch.object(harness, "known_clusters", unknown):
        result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True)
    assert result["operations"] == [DISCONNECT, UPDATE, CONNECT]
    assert unknown.call_count == 2
    assert len(warnings) == 1


def test_a_failure_without_a_code(run: ModuleRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    store_id = store_in(run, "FAILED")
    describe = Kms._describe

    def without_code(kms: Kms, which: Any) -> CustomKeyStore:
        description = dict(describe(kms, which).description)
        description.pop("ConnectionErrorCode", None)
        return CustomKeyStore(description)

    monkeypatch.setattr(Kms, "_describe", without_code)
    result = run(id=store_id, state="connected")
    assert result["operations"] == [DISCONNECT, CONNECT]
    assert result["connection_error"]["code"] == "UNKNOWN"


@pytest.mark.parametrize("desired", ["present", "connected", "disconnected"])
def test_a_store_is_brought_back_by_who_has_disconnected_it(run: ModuleRunner, desired: str) -> None:
    """Not where it was to be disconnected, or was not in service."""
    for found in ("CONNECTED", "CONNECTING", "FAILED", "DISCONNECTED"):
        run.control.reset()
        run.control.freeze_clock()
        run.control.set_transitions(connect_seconds=10, disconnect_seconds=10)
        store_id = store_in(run, found)
        run.control.add_fault(UPDATE, error="CloudHsmClusterNotRelatedException")
        result = run(id=store_id, cloud_hsm_cluster_id=OTHER_CLUSTER, allow_disconnect=True, state=desired)
        in_service = found in ("CONNECTED", "CONNECTING")
        back = in_service and desired != "disconnected"
        assert (" The store is CONNECTED again, with its old settings." in result["msg"]) is back, (found, result)
        moves = [] if found == "DISCONNECTED" else [DISCONNECT]
        assert result["operations"] == [*moves, *([CONNECT] if back else [])], found


# ---- a creation


@pytest.mark.parametrize("kind", ["without its type", *KINDS])
@pytest.mark.parametrize(("state", "moves"), [("present", []), ("connected", [CONNECT])])
@pytest.mark.parametrize("wait", [True, False])
def test_what_a_creation_predicts(run: ModuleRunner, kind: str, state: str, moves: list[str], wait: bool) -> None:
    options = KINDS.get(kind) or {key: value for key, value in CLOUDHSM.items() if key != "custom_key_store_type"}
    predicted = run(**options, state=state, wait=wait, check=True, diff=True)
    result = run(**options, state=state, wait=wait, diff=True)
    end = {"present": "DISCONNECTED", "connected": "CONNECTED" if wait else "CONNECTING"}[state]
    for each in (predicted, result):
        assert each["operations"] == [CREATE, *moves]
        assert each["custom_key_store"]["connection_state"] == end
        after = each["diff"]["after"]
        if kind in ("public", "vpc"):
            assert after["xks_proxy_configuration"]["raw_secret_access_key"] == MASKED
            assert "key_store_password" not in after
        else:
            assert after["key_store_password"] == MASKED
            assert "xks_proxy_configuration" not in after
    assert predicted["diff"] == result["diff"]


# ---- what a look means


def descriptions(target: ConnectionState, shown: list[str], *before: ConnectionState) -> tuple[End, int]:
    """How a wait ends that sees these states, the last one for good, and how many of them it takes."""
    scene = Scene(lambda _now: shown[min(len(scene.descriptions), len(shown)) - 1])
    return scene.wait(target, *before), len(scene.descriptions)


def test_a_connect_after_the_store_was_seen_on_its_way_out_is_that_of_somebody_else() -> None:
    shown = ["CONNECTED", "DISCONNECTING", "CONNECTING"]
    assert descriptions(ConnectionState.DISCONNECTED, shown, ConnectionState.CONNECTED) == (End.MOVED, 3)


def test_a_connect_that_was_seen_before_may_be_shown_late() -> None:
    shown = ["DISCONNECTING", "CONNECTING", "DISCONNECTING", "DISCONNECTED"]
    assert descriptions(ConnectionState.DISCONNECTED, shown, ConnectionState.CONNECTING) == (End.REACHED, 4)


def test_a_failure_that_was_not_seen_before_may_be_shown_late() -> None:
    """Until the store was seen on its way."""
    assert descriptions(ConnectionState.DISCONNECTED, ["FAILED", "DISCONNECTED"]) == (End.REACHED, 2)
    assert descriptions(ConnectionState.DISCONNECTED, ["FAILED", "DISCONNECTING", "FAILED"]) == (End.FAILED, 3)
    assert descriptions(ConnectionState.CONNECTED, ["FAILED"], ConnectionState.DISCONNECTED) == (End.FAILED, 1)


def test_connected_after_connecting_is_not_from_before() -> None:
    shown = ["CONNECTED", "CONNECTING", "CONNECTED"]
    assert descriptions(ConnectionState.DISCONNECTED, shown, ConnectionState.CONNECTED) == (End.MOVED, 3)


# ---- a store that is out of service has nothing to lose


@pytest.mark.parametrize("state", ["FAILED", "DISCONNECTED", "DISCONNECTING"])
@pytest.mark.parametrize("change", [{}, {"cloud_hsm_cluster_id": OTHER_CLUSTER}])
def test_the_cluster_of_a_store_out_of_service_is_not_described(
    run: ModuleRunner, state: str, change: dict[str, Any]
) -> None:
    store_id = store_in(run, state)
    describe = mock.Mock()
    with mock.patch.object(harness, "known_clusters", describe):
        result = run(id=store_id, state="connected", **change)
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    describe.assert_not_called()


@pytest.mark.parametrize("state", ["FAILED", "DISCONNECTED", "DISCONNECTING"])
@pytest.mark.parametrize("change", [{}, {"xks_proxy_configuration": {"uri_endpoint": "https://new.example.com"}}])
def test_the_proxy_of_a_store_out_of_service_is_not_asked(
    run: ModuleRunner, proxy: list[Check], state: str, change: dict[str, Any]
) -> None:
    store_id = store_in(run, state, PUBLIC)
    proxy.append(Check("Time", Outcome.FAILED, "The proxy answers too late."))
    result = run(id=store_id, state="connected", **change)
    assert result["custom_key_store"]["connection_state"] == "CONNECTED", result


def test_a_change_is_tried_in_place_unless_kms_has_refused_that() -> None:
    desired = DesiredStore("present", "cks-1234567890abcdef0", given={"name": "renamed"})
    assert make_plan(a_store("CONNECTED"), desired).operations == [UPDATE]
    with pytest.raises(Refusal, match="To change name, the custom key store"):
        make_plan(a_store("CONNECTED"), desired, in_place=False)


# ---- a task that is killed


class Killed(BaseException):
    """As with SIGKILL, nothing of the module's is run after this: it handles errors of its own kind only."""


def kill(run: ModuleRunner, **options: Any) -> None:
    """Run a task, and kill it when it first waits."""
    with mock.patch.object(run.time, "sleep", side_effect=Killed), pytest.raises(Killed):
        run(**options)
    run.control.advance(30)


OFFLINE: dict[str, Any] = {"cloud_hsm_cluster_id": OTHER_CLUSTER, "allow_disconnect": True}


@pytest.mark.parametrize(
    ("found", "options", "is_brought_back"),
    [
        ("CONNECTED", OFFLINE, True),
        ("CONNECTING", OFFLINE, True),
        ("FAILED", OFFLINE, False),
        ("CONNECTED", {"state": "disconnected"}, False),
        ("CONNECTED", {**OFFLINE, "state": "disconnected"}, False),
        ("CONNECTED", {"state": "absent", "allow_disconnect": True}, False),
    ],
)
def test_only_a_store_that_was_to_come_back_is_brought_back_by_the_next_task(
    run: ModuleRunner, found: str, options: dict[str, Any], is_brought_back: bool
) -> None:
    store_id = store_in(run, found)
    kill(run, id=store_id, **options)
    predicted = run(id=store_id, check=True)
    result = run(id=store_id)
    assert result["operations"] == predicted["operations"] == ([CONNECT] if is_brought_back else [])
    assert result["custom_key_store"]["connection_state"] == ("CONNECTED" if is_brought_back else "DISCONNECTED")
    run.control.set_connection_state(store_id, "DISCONNECTED")  # by somebody, later
    assert run(id=store_id)["operations"] == []


def test_who_moves_the_store_next_decides(run: ModuleRunner) -> None:
    """After that, nobody is to bring it back."""
    store_id = store_in(run, "CONNECTED")
    kill(run, id=store_id, **OFFLINE)
    assert run(id=store_id, state="disconnected")["operations"] == []
    assert run(id=store_id)["operations"] == []


def test_who_cannot_bring_a_store_back_leaves_that_to_the_next_task(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    kill(run, id=store_id, **OFFLINE)
    run.control.add_fault(CONNECT, error="AccessDeniedException")
    failed = run(id=store_id)
    assert failed["operations"] == []
    assert failed["msg"].endswith(
        " The store was in service before: to bring it back, run the task with state=connected."
    )
    assert run(id=store_id)["operations"] == [CONNECT]
    run.control.set_connection_state(store_id, "DISCONNECTED")  # by somebody, later
    assert run(id=store_id)["operations"] == []


@pytest.mark.parametrize(
    ("found", "operations"),
    [("CONNECTED", [DISCONNECT, UPDATE, CONNECT]), ("DISCONNECTED", [UPDATE]), ("FAILED", [DISCONNECT, UPDATE])],
)
def test_a_lease_that_cannot_be_read_or_written_keeps_nobody_from_a_change(
    run: ModuleRunner, home: Path, found: str, operations: list[str]
) -> None:
    store_id = store_in(run, found)
    shutil.rmtree(home, ignore_errors=True)
    home.touch()
    assert run(id=store_id, **OFFLINE)["operations"] == operations


def test_a_failure_ends_the_lease_of_a_store_that_is_in_service_again(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.add_fault(UPDATE, error="CloudHsmClusterNotRelatedException")
    failed = run(id=store_id, **OFFLINE)
    assert failed["operations"] == [DISCONNECT, CONNECT]
    run.control.set_connection_state(store_id, "DISCONNECTED")  # by somebody, later
    assert run(id=store_id)["operations"] == []


def test_what_was_seen_is_not_asked_for_again(run: ModuleRunner, proxy: list[Check]) -> None:
    """The store that is CONNECTED again shows its new settings, too."""
    store_id = store_in(run, "CONNECTED", PUBLIC)
    run.control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    proxy.append(Check("Time", Outcome.PASSED, "It answers in time."))
    endpoint = {"uri_endpoint": "https://new.example.com"}
    assert run(id=store_id, xks_proxy_configuration=endpoint, allow_disconnect=True)["changed"] is True
    assert run.calls == [DESCRIBE, DISCONNECT, DESCRIBE, UPDATE, CONNECT, DESCRIBE]


def test_a_created_store_is_asked_for_by_its_id(run: ModuleRunner) -> None:
    """Its name may have been given to another store by now."""
    store_id = run(**CLOUDHSM, state="connected")["custom_key_store"]["custom_key_store_id"]
    _by_name, _creation, *later = run.control.requests()
    assert [request["parameters"] for request in later] == [{"CustomKeyStoreId": store_id}] * len(later)


# ---- what carries a plan out


def test_a_wait_ends_soon_after_another_task_has_taken_the_store_over(
    run: ModuleRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only at the next request: KMS would connect the store, and the task would report that as its own success."""
    run.control.set_transitions(connect_seconds=600)
    store_id = store_in(run, "DISCONNECTED")
    monkeypatch.setattr(run.time, "sleep", Newcomer(run, store_id, at=30, wants="disconnected").sleep)
    result = run(id=store_id, state="connected")
    assert result["failed"] is True
    assert result["msg"].startswith(f"Another task on this host began to work on the custom key store {store_id}")
    assert 30 <= run.time.now - BEGIN < 60


def test_a_store_that_is_not_there_and_shall_not_be_is_no_change(run: ModuleRunner) -> None:
    result = run(name="unknown", state="absent")
    assert "failed" not in result, result
    assert (result["changed"], result["operations"], result["custom_key_store"]) == (False, [], {})


def test_a_store_that_is_disconnected_while_the_task_waits_for_a_new_name_is_connected(run: ModuleRunner) -> None:
    store_id = store_in(run, "CONNECTED")
    run.control.set_visibility_delay(20)
    run.control.add_intruder(DESCRIBE, skip=2, action=DISCONNECT, parameters={"CustomKeyStoreId": store_id})
    result = run(id=store_id, name="renamed", state="connected")
    assert result["operations"] == [UPDATE, CONNECT]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    assert result["custom_key_store"]["custom_key_store_name"] == "renamed"


@pytest.mark.parametrize("delay", [0, 20])
def test_a_store_whose_id_was_lost_is_found_by_its_name(run: ModuleRunner, delay: float) -> None:
    run.control.set_visibility_delay(delay)
    run.control.add_fault(CREATE, drop=True, applied=True)
    result = run(**CLOUDHSM, state="connected")
    assert "failed" not in result, result
    assert result["operations"] == [CREATE, CONNECT]
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"


def test_a_name_that_another_store_has_is_refused(run: ModuleRunner) -> None:
    """The answer of KMS, and not the name, tells whose store it is."""
    run.control.add_fault(CREATE, error="CustomKeyStoreNameInUseException")
    result = run(**CLOUDHSM)
    assert result["failed"] is True
    assert result["error"]["code"] == "CustomKeyStoreNameInUseException"
    assert result["operations"] == []
