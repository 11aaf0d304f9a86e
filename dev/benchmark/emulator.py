# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a request to the emulator costs, next to DescribeKey of moto alone.

Usage: python -m dev.benchmark.emulator [ROUNDS]. Both are servers in a process of their own, each with one key
store or none and one key: moto's own, which knows nothing of the emulator, and the emulator. In each round each
contender makes the same number of requests, with 1 client and with 8 at once, in an order that changes from round
to round. Clients are connections that are kept, in threads of one process, without an SDK, whose own time would
hide the differences. Ratios are taken within a round, so that what else the machine does meanwhile counts on both
sides. Median, and in brackets the lowest and the highest.
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
"""In each measurement, of all clients together."""
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
"""A program that runs moto's own server, and writes its URL to a file."""


@dataclass(frozen=True)
class Contender:
    """Requests that are made over and over, of a server at a URL. One list for each client, which works on its own store."""

    name: str
    url: str
    requests: Sequence[Sequence[Request]]


class Client:
    """A connection that is kept."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def call(self, operation: str, members: dict[str, Any]) -> Any:
        """The answer. Raises RuntimeError if it is a refusal."""
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
    """Run a Python program that writes its URL to a file, whose name is its last argument; the URL."""
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
    """Seconds of wall time that a request takes, on average, as seen by all clients together."""
    each = REQUESTS // clients
    connections = [Client(contender.url) for _turn in range(clients)]

    def work(number: int) -> None:
        wanted = contender.requests[number]
        for turn in range(each):
            connections[number].call(*wanted[turn % len(wanted)])

    for number in range(clients):  # the connections themselves are not what is measured
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
    """moto's DescribeKey first: what all others are compared to."""
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
    """The seconds of a request of each contender, in each round."""
    # The log of requests would grow, and with it the memory of one server and not of the other.
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
        # With several clients at once, a client waits for its answer so many times as long as the server takes for one.
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
