# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hundred tasks at once, and a KMS that takes five requests a second of each operation."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.history import History
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import DesiredStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.task import Task
from kms_emulator import Control
from kms_emulator.models import backends
from tests.histories.direct import DirectKms

TASKS = 200
STORES = 10
FASTER = 60.0
"""How much faster than wall time the time of this test is. Nothing depends on it but how long the test takes."""


def test_all_finish_and_none_fails_for_throttling(control: Control) -> None:
    backend = backends()["123456789012"]["us-east-1"]
    control.freeze_clock()
    control.set_transitions(connect_seconds=30, disconnect_seconds=10)
    for number in range(STORES):
        control.create_store(custom_key_store_name=f"store-{number}")
    for operation in ("DescribeCustomKeyStores", "ConnectCustomKeyStore"):
        control.set_quota(operation, 5.0)
    begin = time.monotonic()

    def now() -> float:
        return (time.monotonic() - begin) * FASTER

    clock = Clock(monotonic=now, sleep=lambda seconds: time.sleep(seconds / FASTER))
    ended = threading.Event()

    def let_time_pass() -> None:
        passed = 0.0
        while not ended.wait(0.005):
            step = now() - passed
            control.advance(step)
            passed += step

    def connect(number: int) -> list[str]:
        desired = DesiredStore("connected", name=f"store-{number % STORES}")
        history = History()
        task = Task(
            desired, client=DirectKms(backend), place=lambda: "the Region us-east-1", history=history, clock=clock
        )
        task.run(task.plan())
        assert history.store is not None
        return [history.store.connection_state.value, *history.operations]

    with ThreadPoolExecutor(TASKS + 1) as pool:
        passing = pool.submit(let_time_pass)
        try:
            ends = list(pool.map(connect, range(TASKS)))
        finally:
            ended.set()
        passing.result()
    assert {end[0] for end in ends} == {"CONNECTED"}
    assert sorted(operation for end in ends for operation in end[1:]) == ["ConnectCustomKeyStore"] * STORES
    outcomes = [request["outcome"] for request in control.requests()]
    assert outcomes.count("ThrottlingException") > 100
