# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the keys of a custom key store and their last use, with one of two methods. Measures the process.

Usage: python -m dev.benchmark.key_search {loop|ours} URL CUSTOM_KEY_STORE_ID. Prints a Measurement in JSON. Both methods use
the same client. This module must not import the emulator, which would increase the memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Deadline
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import keys_in_stores
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import usages
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms_stores import Kms
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.service import client_config


@dataclass(frozen=True)
class Measurement:
    """Seconds of wall time, and peak memory in MiB, of a search for the last use of keys."""

    seconds: float
    memory: float
    last_uses: int


def sequential(client: Any, custom_key_store_id: str) -> int:
    """Search with sequential requests, as in AWS's guide. Returns the number of keys found in the store."""
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
    """Search like include_keys. Returns the number of keys found in the store."""
    kms = Kms(client, Deadline(Clock(), 600), lambda: "")
    found = keys_in_stores(kms.keys, [custom_key_store_id])
    return len(usages(kms.keys, found.keys).by_key)


def measure(contender: Callable[[Any, str], int], url: str, custom_key_store_id: str) -> Measurement:
    client = boto3.client(
        "kms",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE",
        config=client_config(),
    )
    client.describe_custom_key_stores()  # do not measure the first connection
    begin = time.perf_counter()
    last_uses = contender(client, custom_key_store_id)
    seconds = time.perf_counter() - begin
    return Measurement(seconds, peak_of_memory(), last_uses)


def peak_of_memory() -> float:
    """Return the peak memory of this process in MiB, on Linux. (The maximum of getrusage() includes the parent process.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


CONTENDERS = {"loop": sequential, "ours": ours}

if __name__ == "__main__":
    print(json.dumps(asdict(measure(CONTENDERS[sys.argv[1]], *sys.argv[2:]))))
