# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many clients at once, over HTTP: every request counts once, and what each client saw is what was so at its turn."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.base_backend import BackendDict
from moto.core.base_backend import backend_lock

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.models import backends

CLIENTS = 32
STORES = 8
ROUNDS = 80
"""Each of four requests."""
SECONDS = 3.0
"""How long a connect or disconnect takes, by the frozen clock that the clients move."""
SWITCH_SECONDS = 0.00002

AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/kms/aws4_request, Signature=0"
INVALID = "CustomKeyStoreInvalidStateException"

Seen = tuple[str, str]
"""A store's name and connection state, as a client was told."""


@pytest.fixture
def _threads_that_interrupt_each_other() -> Iterator[None]:
    """Python changes between threads so seldom that hardly any would be interrupted in the middle of a request."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    yield
    sys.setswitchinterval(before)


class Client:
    """A client that costs less time than botocore, with a connection of its own."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def call(self, operation: str, **members: Any) -> tuple[str, Any]:
        """ "ok" or the error code; and the answer."""
        headers = {"X-Amz-Target": f"TrentService.{operation}", "Authorization": AUTHORIZATION}
        self._connection.request("POST", "/", json.dumps(members), headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        return "ok" if response.status == 200 else answer["__type"], answer

    def close(self) -> None:
        self._connection.close()


@dataclass
class Expected:
    """What a store must be, told from the log alone: an emulator of one store, without any concurrency."""

    name: str
    state: str = "DISCONNECTED"
    since: float = 0.0

    def outcome(self, record: dict[str, Any]) -> str:
        """How this request must end."""
        if self.since + SECONDS <= record["time"]:
            self.state = {"CONNECTING": "CONNECTED", "DISCONNECTING": "DISCONNECTED"}.get(self.state, self.state)
        allowed, after = {
            "ConnectCustomKeyStore": ({"DISCONNECTED"}, "CONNECTING"),
            "DisconnectCustomKeyStore": ({"CONNECTED", "CONNECTING"}, "DISCONNECTING"),
            "UpdateCustomKeyStore": ({"CONNECTED", "DISCONNECTED"}, self.state),
            "DescribeCustomKeyStores": ({self.state}, self.state),
        }[record["operation"]]
        if self.state not in allowed:
            return INVALID
        if after != self.state:
            self.state, self.since = after, record["time"]
        self.name = record["parameters"].get("NewCustomKeyStoreName", self.name)
        return "ok"


@pytest.mark.usefixtures("_threads_that_interrupt_each_other")
@pytest.mark.long
def test_no_update_is_lost_and_no_state_is_wrong(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    """Four clients share a store. They rename it, turn its connection on and off, look at it, and move the clock."""
    http_control.freeze_clock()
    http_control.set_transitions(connect_seconds=SECONDS, disconnect_seconds=SECONDS)
    names = {
        http_control.create_store(custom_key_store_name=f"store-{number}"): f"store-{number}"
        for number in range(STORES)
    }
    store_ids = list(names)

    def work(number: int) -> tuple[list[str], dict[tuple[str, int], Seen]]:
        client = Client(emulator_server.url)
        store_id = store_ids[number % STORES]
        outcomes: list[str] = []
        seen: dict[tuple[str, int], Seen] = {}
        for turn in range(ROUNDS):
            # A limit of its own for each look, so that the log tells which one it was.
            describe = number // STORES * ROUNDS + turn + 1
            for operation, members in (
                ("ConnectCustomKeyStore", {}),
                ("UpdateCustomKeyStore", {"NewCustomKeyStoreName": f"name-{number}-{turn}"}),
                ("DescribeCustomKeyStores", {"Limit": describe}),
                ("DisconnectCustomKeyStore", {}),
            ):
                outcome, answer = client.call(operation, CustomKeyStoreId=store_id, **members)
                outcomes.append(outcome)
                if operation == "DescribeCustomKeyStores":
                    (store,) = answer["CustomKeyStores"]
                    seen[store_id, describe] = (store["CustomKeyStoreName"], store["ConnectionState"])
            if turn % 4 == number % 4:
                http_control.advance(0.5)
        client.close()
        return outcomes, seen

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        done = list(pool.map(work, range(CLIENTS)))

    records = http_control.requests()
    assert len(records) == CLIENTS * ROUNDS * 4 >= 10_000
    assert [record["number"] for record in records] == list(range(1, len(records) + 1))
    assert sorted(outcome for outcomes, _seen in done for outcome in outcomes) == sorted(
        record["outcome"] for record in records
    )
    expected = {store_id: Expected(name) for store_id, name in names.items()}
    must_be_seen: dict[tuple[str, int], Seen] = {}
    for record in records:
        store_id = record["parameters"]["CustomKeyStoreId"]
        store = expected[store_id]
        assert record["outcome"] == store.outcome(record), record
        if record["operation"] == "DescribeCustomKeyStores":
            must_be_seen[store_id, record["parameters"]["Limit"]] = (store.name, store.state)
    assert {describe: view for _outcomes, seen in done for describe, view in seen.items()} == must_be_seen
    assert {state for _name, state in must_be_seen.values()} == {
        "CONNECTED",
        "CONNECTING",
        "DISCONNECTED",
        "DISCONNECTING",
    }


def test_latency_is_waited_side_by_side(
    emulator_server: EmulatorServer, http_control: HttpControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of 16 requests are under way before any of them is answered."""
    together = threading.Barrier(16, timeout=30)
    sleep = time.sleep
    monkeypatch.setattr(
        "kms_emulator.handling.time.sleep", lambda seconds: together.wait() if seconds == 0.125 else sleep(seconds)
    )
    http_control.set_latency(0.125)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda _: Client(emulator_server.url).call("ListKeys")[0], range(16)))
    assert outcomes == ["ok"] * 16
    assert len(http_control.requests()) == 16


def test_motos_reset_waits_for_a_request_that_is_under_way(control: Control) -> None:
    """moto's reset holds a lock of moto's and takes ours, and a request holds ours and takes moto's."""
    backend = backends()[DEFAULT_ACCOUNT_ID]["us-east-1"]
    began, events = threading.Event(), []

    def reset() -> None:
        began.set()
        BackendDict.reset()
        events.append("reset")

    def request() -> None:
        with backend.lock:
            resetting.start()
            began.wait(timeout=10)
            time.sleep(0.02)
            # As moto does for a backend of another service, but not without end.
            if backend_lock.acquire(timeout=2):
                events.append("request")
                backend_lock.release()

    resetting, requesting = (threading.Thread(target=target, daemon=True) for target in (reset, request))
    requesting.start()
    requesting.join(timeout=10)
    resetting.join(timeout=10)
    assert events == ["request", "reset"]
