# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many who look at once share a look, and nobody is shown one that is older than the question."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.shared_descriptions import SPACING
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.shared_descriptions import SharedDescriptions


@dataclass
class FakeKms:
    """Has stores cks-0 to cks-9, three to a page, and an answer that says how often all were looked at."""

    descriptions: int = 0
    asked_for: list[dict[str, str]] = field(default_factory=list)
    error: Exception | None = None

    def describe_custom_key_stores(self, **which: str) -> dict[str, Any]:
        self.asked_for.append(which)
        if self.error is not None:
            raise self.error
        if "CustomKeyStoreId" in which:
            return {"CustomKeyStores": [], "asked": which}
        first = int(which.get("Marker", 0))
        self.descriptions += first == 0
        stores = [{"CustomKeyStoreId": f"cks-{number}", "description": self.descriptions} for number in range(10)]
        more = {"Truncated": True, "NextMarker": str(first + 3)} if first + 3 < 10 else {"Truncated": False}
        return {"CustomKeyStores": stores[first : first + 3], **more}

    def connect_custom_key_store(self, **which: str) -> dict[str, Any]:
        return which


@dataclass
class FakeTime:
    """Moves on when somebody sleeps, who first waits until all threads have asked."""

    everybody_has_asked: threading.Event = field(default_factory=threading.Event)
    now: float = 0.0
    sleeps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        assert self.everybody_has_asked.wait(10)
        self.sleeps.append(seconds)
        self.now += seconds

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


def shared_descriptions(kms: FakeKms, time: FakeTime) -> SharedDescriptions:
    client: Any = kms  # a client has more operations
    return SharedDescriptions(client, time.clock())


def describe(shared: SharedDescriptions, number: int) -> dict[str, Any]:
    (store,) = shared.describe_custom_key_stores(CustomKeyStoreId=f"cks-{number}")["CustomKeyStores"]
    return dict(store)


def test_a_description_reads_all_pages() -> None:
    kms = FakeKms()
    shared = shared_descriptions(kms, FakeTime())
    assert describe(shared, 9) == {"CustomKeyStoreId": "cks-9", "description": 1}
    assert kms.asked_for == [{}, {"Marker": "3"}, {"Marker": "6"}, {"Marker": "9"}]


def test_one_after_the_other_each_gets_a_description_of_its_own_not_too_soon() -> None:
    kms, time = FakeKms(), FakeTime()
    time.everybody_has_asked.set()
    shared = shared_descriptions(kms, time)
    assert [describe(shared, 0)["description"] for _turn in range(3)] == [1, 2, 3]
    assert time.sleeps == [SPACING, SPACING]


def test_concurrent_waits_share_a_description() -> None:
    kms, time = FakeKms(), FakeTime()
    shared = shared_descriptions(kms, time)
    describe(shared, 0)
    asked = threading.Semaphore(0)

    def ask(number: int) -> int:
        asked.release()
        return int(describe(shared, number)["description"])

    with ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(ask, number) for number in range(10)]
        for _thread in range(10):
            assert asked.acquire(timeout=10)
        time.everybody_has_asked.set()
        descriptions = {answer.result(10) for answer in answers}
    # All ten had begun to ask before anybody looked; a thread that got no further than that has a look of its own.
    assert descriptions <= {2, 3}
    assert kms.descriptions == max(descriptions)


def test_an_error_is_everybodys() -> None:
    kms = FakeKms(error=RuntimeError("down"))
    shared = shared_descriptions(kms, FakeTime())
    with pytest.raises(RuntimeError, match="down"):
        describe(shared, 0)
    kms.error = None
    shared = shared_descriptions(kms, FakeTime())
    assert describe(shared, 0)["description"] == 1


def test_a_store_that_is_in_no_list_is_asked_for_by_itself() -> None:
    """Only then KMS says that there is none; and a new store may be found that no list has yet."""
    kms = FakeKms()
    answer = shared_descriptions(kms, FakeTime()).describe_custom_key_stores(CustomKeyStoreId="cks-99")
    assert answer["asked"] == kms.asked_for[-1] == {"CustomKeyStoreId": "cks-99"}


def test_everything_else_is_the_clients() -> None:
    assert shared_descriptions(FakeKms(), FakeTime()).connect_custom_key_store(a="b") == {"a": "b"}
