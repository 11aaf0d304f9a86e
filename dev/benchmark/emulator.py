# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cost of a request to the emulator, compared with DescribeKey of moto without the emulator.

Usage: python -m dev.benchmark.emulator [ROUNDS]. moto's own server and the emulator run in separate processes. In each
round, each contender sends the same number of requests, with 1 client and with 8 concurrent clients, in an order that
changes from round to round. Clients are persistent connections in threads of one process, without an SDK, whose own
time would hide the differences. Ratios are calculated within a round, so that other load on the machine affects both
sides. Figures are the median, with the lowest and the highest value in brackets.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dev.benchmark.measuring import in_rounds
from dev.benchmark.measuring import ratios
from dev.benchmark.measuring import spread
from dev.environment import ROOT
from kms_emulator import HttpControl

ROUNDS = 7
REQUESTS = 800
"""Requests of all clients together, in each measurement."""
CLIENTS = (1, 8)
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/kms/aws4_request, Signature=0"

Request = tuple[str, dict[str, Any]]

MOTO = """
import logging, pathlib, signal, sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request would count against moto
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
pathlib.Path(sys.argv[1]).write_text("http://127.0.0.1:%d\\n" % server.get_host_and_port()[1])
signal.sigwait({signal.SIGTERM})
server.stop()
"""
"""A program that runs moto's server, and writes its URL to a file."""


@dataclass(frozen=True)
class Contender:
    """Requests to send repeatedly to a server. One list for each client, which uses its own store."""

    name: str
    url: str
    requests: Sequence[Sequence[Request]]


class Client:
    """A persistent connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def call(self, operation: str, members: dict[str, Any]) -> Any:
        """Send a request. Returns the response. Raises RuntimeError for an error response."""
        headers = {"X-Amz-Target": f"TrentService.{operation}", "Authorization": AUTHORIZATION}
        self._connection.request("POST", "/", json.dumps(members), headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"{operation}: {response.status} {answer}")
        return answer

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[str]:
    """Run a Python program that writes its URL to the file that its last argument names. Yields the URL."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "url")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with subprocess.Popen([sys.executable, *arguments, str(ready)], cwd=ROOT, env=environment, stdout=2) as process:
            try:
                while not (ready.exists() and ready.read_text().endswith("\n")):
                    if process.poll() is not None:
                        raise RuntimeError("The server has ended.")
                    time.sleep(0.05)
                yield ready.read_text().strip()
            finally:
                process.terminate()


def measure(contender: Contender, clients: int) -> float:
    """Return the average seconds of wall time per request, over all clients together."""
    each = REQUESTS // clients
    connections = [Client(contender.url) for _turn in range(clients)]

    def work(number: int) -> None:
        requests = contender.requests[number]
        for turn in range(each):
            connections[number].call(*requests[turn % len(requests)])

    for number in range(clients):  # do not measure the time to connect
        for request in contender.requests[number]:
            connections[number].call(*request)
    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    seconds = time.perf_counter() - begin
    for connection in connections:
        connection.close()
    return seconds / (each * clients)


def contenders(moto_url: str, url: str) -> list[Contender]:
    """Return all contenders. The first, moto's DescribeKey, is the base of the comparison."""
    control = HttpControl(url)
    control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    most = max(CLIENTS)
    store_ids = [control.create_store() for _turn in range(most)]
    (key_id,) = control.create_keys(1)
    moto_key_id = Client(moto_url).call("CreateKey", {})["KeyMetadata"]["KeyId"]
    cycles = [
        [
            ("ConnectCustomKeyStore", {"CustomKeyStoreId": store_id}),
            ("DisconnectCustomKeyStore", {"CustomKeyStoreId": store_id}),
        ]
        for store_id in store_ids
    ]
    return [
        Contender("moto: DescribeKey", moto_url, [[("DescribeKey", {"KeyId": moto_key_id})]] * most),
        Contender("DescribeKey", url, [[("DescribeKey", {"KeyId": key_id})]] * most),
        Contender(
            "DescribeCustomKeyStores, one",
            url,
            [[("DescribeCustomKeyStores", {"CustomKeyStoreId": store_id})] for store_id in store_ids],
        ),
        Contender("DescribeCustomKeyStores, all", url, [[("DescribeCustomKeyStores", {})]] * most),
        Contender("Connect, Disconnect", url, cycles),
    ]


def rounds(field: Sequence[Contender], clients: int, count: int) -> dict[str, list[float]]:
    """Return the seconds per request of each contender, in each round."""
    # Clear the log of requests, so that the memory of the emulator does not grow.
    return in_rounds(
        {contender.name: partial(measure, contender, clients) for contender in field},
        count,
        after=HttpControl(field[-1].url).clear_requests,
    )


def report(seconds: dict[str, list[float]], clients: int) -> None:
    base = next(iter(seconds.values()))
    print(f"\n{clients} client{'s' if clients > 1 else ''}, {REQUESTS} requests in a round")
    print(f"{'':<30} {'ms for a request':>26} {'requests/s':>26} {'times as long as moto':>26}")
    for name, values in seconds.items():
        # With concurrent clients, a client waits this many times as long as the server needs for one request.
        waited = spread([1000 * clients * value for value in values], 2)
        rate = spread([1 / value for value in values], 0)
        times = spread(ratios(values, base), 2)
        print(f"{name:<30} {waited:>26} {rate:>26} {times:>26}")


def main(count: int) -> int:
    with server("-c", MOTO) as moto_url, server("-m", "kms_emulator", "--port", "0", "--ready-file") as url:
        field = contenders(moto_url, url)
        for clients in CLIENTS:
            report(rounds(field, clients, count), clients)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
