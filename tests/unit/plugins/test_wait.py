# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting: how soon the end is noticed, how many requests it takes, what a reading means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Deadline
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import ConnectionState
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.wait import STALE_SECONDS
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.wait import End
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.wait import WaitTimeout
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.wait import wait_for
from tests.unit.plugins.test_plan import a_store

CONNECTED = ConnectionState.CONNECTED
DISCONNECTED = ConnectionState.DISCONNECTED
FAILED = ConnectionState.FAILED


@dataclass
class Scene:
    """A store whose state is a function of time, and a clock that moves by sleeping.

    Attributes:
        state_at: the state that is read, by the seconds since the wait began.
        jitter: what random() gives: 0.0 sleeps longest, 1.0 shortest.
    """

    state_at: Callable[[float], str]
    jitter: float = 0.5
    timeout: float = 1800
    now: float = 0.0
    descriptions: list[float] = field(default_factory=list)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _describe(self) -> CustomKeyStore:
        self.descriptions.append(self.now)
        return a_store(self.state_at(self.now))

    def wait(self, target: ConnectionState, *seen_before: ConnectionState) -> End:
        clock = Clock(monotonic=lambda: self.now, sleep=self._sleep, random=lambda: self.jitter)
        deadline = Deadline(clock, self.timeout)
        return wait_for(target, describe=self._describe, seen_before=seen_before, clock=clock, deadline=deadline)


def connecting_for(seconds: float, *, then: str = "CONNECTED") -> Callable[[float], str]:
    return lambda now: "CONNECTING" if now < seconds else then


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 2.0, 5.0, 9.9, 20.0, 60.0, 150.0, 300.0, 1200.0, 1799.0])
def test_the_end_is_noticed_in_time(seconds: float, jitter: float) -> None:
    scene = Scene(connecting_for(seconds), jitter)
    assert scene.wait(CONNECTED, DISCONNECTED) is End.REACHED
    assert scene.now - seconds <= min(max(1.0, 0.1 * seconds), 15.0) + 1e-9


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_half_an_hour_takes_less_than_170_requests(jitter: float) -> None:
    scene = Scene(connecting_for(1800.0), jitter, timeout=2000)
    scene.wait(CONNECTED, DISCONNECTED)
    assert 100 < len(scene.descriptions) < 170


def test_the_deadline_gets_a_last_description_and_a_message() -> None:
    scene = Scene(connecting_for(1e9), timeout=60)
    with pytest.raises(WaitTimeout) as timeout:
        scene.wait(CONNECTED, DISCONNECTED)
    assert scene.descriptions[-1] == pytest.approx(60)
    assert timeout.value.message == (
        'The custom key store cks-1234567890abcdef0 ("payments") was still CONNECTING after 60 seconds (wait_timeout=60), on its'
        " way to CONNECTED. KMS goes on with it: run the task again to join the wait, with a longer wait_timeout if need be."
    )


def test_a_connect_that_fails_is_reported_at_once() -> None:
    scene = Scene(connecting_for(30, then="FAILED"))
    assert scene.wait(CONNECTED, DISCONNECTED) is End.FAILED
    assert scene.now < 33


def test_the_old_state_is_waited_out() -> None:
    scene = Scene(lambda now: "DISCONNECTED" if now < 60 else "CONNECTED")
    assert scene.wait(CONNECTED, DISCONNECTED) is End.REACHED


def test_one_stale_reading_in_the_middle_is_waited_out() -> None:
    scene = Scene(lambda now: "CONNECTED" if now > 20 else "DISCONNECTED" if 4 < now < 6 else "CONNECTING")
    assert scene.wait(CONNECTED, DISCONNECTED) is End.REACHED


def test_an_older_failure_is_waited_out_until_the_new_connect_shows() -> None:
    scene = Scene(lambda now: "FAILED" if now < 10 else "CONNECTING" if now < 20 else "CONNECTED")
    assert scene.wait(CONNECTED, FAILED, DISCONNECTED) is End.REACHED


def test_a_new_failure_after_an_older_one_is_reported_at_once() -> None:
    scene = Scene(connecting_for(10, then="FAILED"))
    assert scene.wait(CONNECTED, FAILED, DISCONNECTED) is End.FAILED
    assert scene.now < 12


def test_the_old_state_for_too_long_means_that_somebody_moved_the_store() -> None:
    scene = Scene(lambda now: "DISCONNECTED")
    assert scene.wait(CONNECTED, DISCONNECTED) is End.MOVED
    assert STALE_SECONDS <= scene.now < STALE_SECONDS + 10


@pytest.mark.parametrize(("target", "state"), [(CONNECTED, "DISCONNECTING"), (DISCONNECTED, "FAILED")])
def test_a_state_that_the_wait_cannot_pass_through_means_that_somebody_moved_the_store(
    target: ConnectionState, state: str
) -> None:
    scene = Scene(lambda now: ("CONNECTING" if target is CONNECTED else "DISCONNECTING") if now < 100 else state)
    assert scene.wait(target) in (End.MOVED, End.FAILED)
    assert scene.now < 111


def test_a_short_end_that_was_missed_is_not_waited_for() -> None:
    """The store was DISCONNECTED between two looks, and somebody has connected it."""
    scene = Scene(lambda now: "DISCONNECTING" if now < 10 else "CONNECTED")
    assert scene.wait(DISCONNECTED, CONNECTED) is End.MOVED
    assert scene.now < 16


@pytest.mark.parametrize("begins", ["CONNECTED", "DISCONNECTING"])
def test_after_connecting_connected_is_not_out_of_date(begins: str) -> None:
    scene = Scene(lambda now: begins if now < 5 else "CONNECTING" if now < 10 else "CONNECTED")
    assert scene.wait(DISCONNECTED, CONNECTED) is End.MOVED
    assert scene.now < 12
