# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time to find the keys of a custom key store and their last use, compared with the loop in AWS's guide.

Each request to the emulator takes 20 ms. The quotas are 500 ListKeys and 2,000 DescribeKey per second, like those of KMS.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

from dev.benchmark.key_search import Measurement
from dev.benchmark.measuring import Goal
from dev.benchmark.measuring import Result
from dev.benchmark.measuring import Setting
from dev.benchmark.measuring import spread
from dev.environment import ROOT
from kms_emulator import HttpControl

LATENCY = 0.02
QUOTAS = {"ListKeys": 500.0, "DescribeKey": 2000.0}
IN_STORE = 50
"""Number of keys in the store."""

ROUNDS = {100: 5, 1_000: 3, 10_000: 1}
"""Rounds by the number of keys in the account. With many keys, the loop takes minutes."""

MOST = 10_000
GOAL = 8.0
"""Minimum speedup over the loop, with the most keys."""


def compare(url: str, count: int) -> tuple[Measurement, Measurement]:
    """Measure the loop and this collection, with this number of keys in the account."""
    control = HttpControl(url)
    control.reset()
    store_id = control.create_store(connection_state="CONNECTED")
    control.create_keys(count - IN_STORE)
    control.create_keys(IN_STORE, custom_key_store_id=store_id)
    for operation, per_second in QUOTAS.items():
        control.set_quota(operation, per_second)
    control.set_latency(LATENCY)
    return _measure_alone(control, "loop", store_id), _measure_alone(control, "ours", store_id)


def _measure_alone(control: HttpControl, contender: str, store_id: str) -> Measurement:
    control.clear_requests()
    command = [sys.executable, "-m", "dev.benchmark.key_search", contender, control.base_url, store_id]
    measured = Measurement(**json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout))
    outcomes = Counter(request["outcome"] for request in control.requests())
    if measured.last_uses != IN_STORE or set(outcomes) != {"ok"}:
        raise RuntimeError(f"{contender} found {measured.last_uses} keys: {dict(outcomes)}")
    return measured


def run(setting: Setting) -> Result:
    rounds = {100: 1} if setting.quick else ROUNDS
    measured = {count: [compare(setting.url, count) for _round in range(often)] for count, often in rounds.items()}
    HttpControl(setting.url).reset()
    return Result(
        title="Impact: the keys of a key store and their last use",
        text=f"""
``include_keys`` of ``keyops.aws.kms_custom_key_store_info`` finds the {IN_STORE} keys of a store among all keys of
the account, and when each of them was last used. It is compared with the loop that AWS's guide describes, which sends
one request after the other. Each request takes {1000 * LATENCY:.0f} ms. The request quotas are those of KMS, and no
request was throttled. Each measurement is a separate process. Its peak memory includes Python and boto3.
""",
        header=("keys", "rounds", "loop, s", "keyops.aws, s", "times as fast", "loop, MiB", "keyops.aws, MiB"),
        rows=[_row(count, found) for count, found in measured.items()],
        goals=[_goal(count, found) for count, found in measured.items() if count == MOST],
    )


def _row(count: int, found: Sequence[tuple[Measurement, Measurement]]) -> list[str]:
    loop, own = zip(*found, strict=True)
    return [
        f"{count:,}",
        str(len(found)),
        spread([each.seconds for each in loop], 1),
        spread([each.seconds for each in own], 2),
        spread(_times_as_fast(found), 1),
        spread([each.memory for each in loop], 0),
        spread([each.memory for each in own], 0),
    ]


def _times_as_fast(found: Sequence[tuple[Measurement, Measurement]]) -> list[float]:
    return [loop.seconds / own.seconds for loop, own in found]


def _goal(count: int, found: Sequence[tuple[Measurement, Measurement]]) -> Goal:
    faster = _times_as_fast(found)
    return Goal(
        f"With {count:,} keys, at least {GOAL:.0f} times as fast as the loop.",
        f"{spread(faster, 1)} times",
        statistics.median(faster) >= GOAL,
    )
