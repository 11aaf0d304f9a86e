# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many clients at once, over HTTP: every request counts once, and no state is wrong."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from tests.emulator import EmulatorServer
from tests.emulator import HttpControl

CLIENTS = 32
ROUNDS = 25
"""Each of four requests."""

AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/kms/aws4_request, Signature=0"
INVALID = "CustomKeyStoreInvalidStateException"


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


def test_no_update_is_lost(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    """Four clients share a store. They rename it, turn its connection on and off, and look at it."""
    http_control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    store_ids = [http_control.create_store() for _ in range(CLIENTS // 4)]

    def work(number: int) -> Counter[tuple[str, str, str]]:
        client = Client(emulator_server.url)
        store_id = store_ids[number % len(store_ids)]
        seen: Counter[tuple[str, str, str]] = Counter()
        for turn in range(ROUNDS):
            for operation, members in (
                ("UpdateCustomKeyStore", {"NewCustomKeyStoreName": f"name-{number}-{turn}"}),
                ("ConnectCustomKeyStore", {}),
                ("DescribeCustomKeyStores", {}),
                ("DisconnectCustomKeyStore", {}),
            ):
                outcome, answer = client.call(operation, CustomKeyStoreId=store_id, **members)
                seen[store_id, operation, outcome] += 1
                if operation == "DescribeCustomKeyStores":
                    (store,) = answer["CustomKeyStores"]
                    assert store["ConnectionState"] in ("CONNECTED", "DISCONNECTED")
        client.close()
        return seen

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        seen = sum(pool.map(work, range(CLIENTS)), Counter[tuple[str, str, str]]())

    records = http_control.requests()
    assert len(records) == CLIENTS * ROUNDS * 4
    assert [record["number"] for record in records] == list(range(1, len(records) + 1))
    logged = Counter(
        (entry["parameters"]["CustomKeyStoreId"], entry["operation"], entry["outcome"]) for entry in records
    )
    assert logged == seen
    assert {outcome for _, _, outcome in seen} <= {"ok", INVALID}

    client = Client(emulator_server.url)
    for store_id in store_ids:
        mine = [entry for entry in records if entry["parameters"]["CustomKeyStoreId"] == store_id]
        check_order(mine)
        (store,) = client.call("DescribeCustomKeyStores", CustomKeyStoreId=store_id)[1]["CustomKeyStores"]
        renames = [entry for entry in mine if entry["operation"] == "UpdateCustomKeyStore"]
        assert store["CustomKeyStoreName"] == renames[-1]["parameters"]["NewCustomKeyStoreName"]
        connects = seen[store_id, "ConnectCustomKeyStore", "ok"] - seen[store_id, "DisconnectCustomKeyStore", "ok"]
        assert connects == (store["ConnectionState"] == "CONNECTED")
    client.close()


def check_order(records: list[dict[str, Any]]) -> None:
    """Connects and disconnects of one store were accepted in turn, and refused for no other reason."""
    connected = False
    for entry in records:
        wants = {"ConnectCustomKeyStore": True, "DisconnectCustomKeyStore": False}.get(entry["operation"])
        if wants is None:
            assert entry["outcome"] == "ok"
            continue
        assert entry["outcome"] == (INVALID if wants == connected else "ok")
        connected = wants
