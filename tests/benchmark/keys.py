# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes to find the keys of a custom key store and their last use, next to the loop that AWS gives for it.

Usage: python -m tests.benchmark.keys [KEYS ...]. Every request to the emulator takes 20 ms, and it allows 500 ListKeys and 2,000
DescribeKey a second, as KMS does. Both contenders have the same client, and each measurement a process of its own, which begins
with nothing in memory; its peak includes Python and boto3.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.api import Kms
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.api import client_config
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Deadline
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import keys_in_stores
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import usages
from tests.emulator import EmulatorServer
from tests.emulator import HttpControl

LATENCY = 0.02
QUOTAS = {"ListKeys": 500.0, "DescribeKey": 2000.0}
IN_STORE = 50
"""How many of the keys are in the store."""

GOAL = 8.0
"""How many times as fast as the loop, with 10,000 keys."""


@dataclass(frozen=True)
class Measurement:
    """Seconds of wall time, and the peak of memory in MiB, of finding the last use of some keys."""

    seconds: float
    memory: float
    last_uses: int


def sequential(client: Any, custom_key_store_id: str) -> int:
    """One request after the other, as AWS's guide describes it; returns how many keys of the store it found."""
    members: dict[str, Any] = {"Limit": 1000}
    found = []
    while True:
        page = client.list_keys(**members)
        for entry in page["Keys"]:
            metadata = client.describe_key(KeyId=entry["KeyId"])["KeyMetadata"]
            if metadata.get("CustomKeyStoreId") == custom_key_store_id:
                found.append(client.get_key_last_usage(KeyId=entry["KeyId"]))
        if not page["Truncated"]:
            client.list_aliases()
            return len(found)
        members["Marker"] = page["NextMarker"]


def ours(client: Any, custom_key_store_id: str) -> int:
    """What include_keys does."""
    kms = Kms(client, Deadline(Clock(), 600), lambda: "")
    found = keys_in_stores(kms, [custom_key_store_id])
    return len(usages(kms, found.keys).by_key)


def measure(contender: Callable[[Any, str], int], url: str, custom_key_store_id: str) -> Measurement:
    client = boto3.client(
        "kms",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE",
        config=client_config(),
    )
    client.describe_custom_key_stores()  # the first connection is not what is measured
    begin = time.perf_counter()
    last_uses = contender(client, custom_key_store_id)
    seconds = time.perf_counter() - begin
    return Measurement(seconds, peak_of_memory(), last_uses)


def peak_of_memory() -> float:
    """MiB that this process has had at most, by Linux. (The maximum of getrusage() counts in the process that started it.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def in_a_process_of_its_own(contender: Callable[[Any, str], int], url: str, custom_key_store_id: str) -> Measurement:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, contender, url, custom_key_store_id).result()


def compare(url: str, count: int) -> float:
    """Measure both with so many keys in the account, print it, and return how many times as fast ours is."""
    control = HttpControl(url)
    control.reset()
    store_id = control.create_store(connection_state="CONNECTED")
    control.create_keys(count - IN_STORE)
    control.create_keys(IN_STORE, custom_key_store_id=store_id)
    for operation, per_second in QUOTAS.items():
        control.set_quota(operation, per_second)
    control.set_latency(LATENCY)
    measured = {}
    for contender in (sequential, ours):
        control.clear_requests()
        measured[contender] = in_a_process_of_its_own(contender, url, store_id)
        outcomes = Counter(request["outcome"] for request in control.requests())
        if measured[contender].last_uses != IN_STORE or set(outcomes) != {"ok"}:
            raise RuntimeError(f"{contender.__name__} found {measured[contender].last_uses} keys: {dict(outcomes)}")
    loop, own = measured[sequential], measured[ours]
    print(
        f"{count:>8} {loop.seconds:>10.1f} s {own.seconds:>8.1f} s {loop.seconds / own.seconds:>8.1f}"
        f" {loop.memory:>12.1f} MiB {own.memory:>6.1f} MiB {count / own.seconds:>12.0f}"
    )
    return loop.seconds / own.seconds


def main(counts: Sequence[int]) -> int:
    print("Keys of a store and their last use; 20 ms for each request; no request was throttled")
    print(f"{'keys':>8} {'loop':>12} {'ours':>10} {'ratio':>8} {'loop memory':>16} {'ours':>10} {'requests/s':>12}")
    with EmulatorServer() as server:
        ratios = [compare(server.url, count) for count in counts]
    print(f"Goal: at 10,000 keys at least {GOAL:.0f} times as fast.")
    return 0 if counts[-1] < 10_000 or ratios[-1] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main([int(each) for each in sys.argv[1:]] or [100, 1_000, 10_000]))
