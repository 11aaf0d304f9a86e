# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a keeper acts, and when it leaves a store to others."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Interrupted
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Keeper
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keeper import Reason
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Lease
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Leases
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Report
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import Run

BEGIN = datetime.datetime(2026, 1, 31, 22, 0, tzinfo=datetime.timezone.utc)
LEASE = Lease(
    "cks-1", "payments", "CONNECTED", BEGIN.isoformat(), (BEGIN + datetime.timedelta(hours=1)).isoformat(), "ours"
)


class Play(Run):
    """A run that ends when it is told to."""

    def __init__(self) -> None:
        super().__init__(None)
        self.ended = False

    def is_gone(self) -> bool:
        return self.ended


class World:
    """A keeper of one store, on a clock that its pauses move on; what happens when is told by the second."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 0.0
        self.events: dict[float, list[object]] = {}
        self.play = Play()
        self.leases = Leases(str(folder / "leases"))
        self.leases.open(LEASE)
        self.connected = False
        self.descriptions = 0
        self.end = folder / "job.end"
        self.keeper = Keeper(
            run=self.play,
            until=BEGIN + datetime.timedelta(hours=1),
            end=str(self.end),
            holder="ours",
            leases=self.leases,
            stores={"cks-1": LEASE},
            in_service=self.describe,
            clock=Clock(sleep=self.sleep),
            time=lambda: BEGIN + datetime.timedelta(seconds=self.seconds),
        )

    def describe(self, custom_key_store_id: str) -> bool:
        assert custom_key_store_id == "cks-1"
        self.descriptions += 1
        return self.connected

    def sleep(self, seconds: float) -> None:
        before = self.seconds
        self.seconds += seconds
        for when, actions in self.events.items():
            if before < when <= self.seconds:
                for action in actions:
                    action()  # type: ignore[operator]  # typed as object, since each returns what it likes


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_acts_at_once_when_the_play_asks(world: World) -> None:
    world.events[20.0] = [world.end.touch]
    assert world.keeper.wait() is Reason.ASKED
    assert world.seconds <= 20.2


def test_it_acts_when_the_play_is_gone(world: World) -> None:
    world.events[20.0] = [lambda: setattr(world.play, "ended", True)]
    assert world.keeper.wait() is Reason.GONE
    assert world.seconds <= 21.2


def test_it_acts_when_the_lease_is_over(world: World) -> None:
    assert world.keeper.wait() is Reason.OVER
    assert world.seconds == pytest.approx(3600, abs=2)
    assert world.descriptions == 0


def test_a_window_that_takes_the_store_over_ends_it(world: World) -> None:
    world.events[20.0] = [lambda: world.leases.open(LEASE.held(holder="another"))]
    assert world.keeper.wait() is Reason.LEFT
    assert world.seconds <= 21.2


def test_a_store_that_is_back_ends_it(world: World) -> None:
    world.events[20.0] = [lambda: world.leases.end("cks-1"), lambda: setattr(world, "connected", True)]
    assert world.keeper.wait() is Reason.LEFT
    assert world.descriptions == 1


def test_a_lease_that_somebody_has_removed_is_written_again(world: World) -> None:
    world.events[20.0] = [lambda: world.leases.end("cks-1")]
    assert world.keeper.wait() is Reason.OVER
    assert world.descriptions == 1
    assert world.leases.of("cks-1") == LEASE


def test_a_lease_that_cannot_be_read_changes_nothing(world: World, tmp_path: Path) -> None:
    world.events[20.0] = [lambda: (tmp_path / "leases" / "cks-1.json").write_text("{")]
    assert world.keeper.wait() is Reason.OVER
    assert list(world.keeper.stores) == ["cks-1"]


def test_the_disconnect_is_interrupted_for_the_same_reasons(world: World) -> None:
    world.keeper.check()
    world.end.touch()
    with pytest.raises(Interrupted, match="The window ended before the store was disconnected."):
        world.keeper.check()


def test_a_lease_of_an_older_and_of_a_newer_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cks-1.json"
    known = {"custom_key_store_id": "cks-1", "name": "a", "connection_state": "CONNECTED", "time": BEGIN.isoformat()}
    path.write_text(json.dumps({**known, "of_a_newer_version": 1}))
    assert Leases(str(tmp_path)).of("cks-1") == Lease("cks-1", "a", "CONNECTED", BEGIN.isoformat())


def test_a_lease_that_cannot_be_kept_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CustomKeyStoreError) as caught:
        Leases(str(tmp_path / "file")).open(LEASE)
    assert caught.value.message == (
        f"The lease {tmp_path}/file/cks-1.json cannot be written: File exists. Without it, a run that is killed would not know"
        " that the store was in service. Name a folder that can be written to."
    )


def test_a_report_is_kept_until_it_is_shown(tmp_path: Path) -> None:
    leases = Leases(str(tmp_path / "leases"))
    assert leases.report("cks-1") is None
    report = Report("cks-1", "12:00", "11:00", "gone", "CONNECTED")
    leases.write_report(report)
    assert leases.report("cks-1") == report
    leases.forget_report("cks-1")
    assert leases.report("cks-1") is None
    Leases(None).write_report(report)


@pytest.mark.parametrize(
    ("reason", "msg", "text"),
    [
        (
            "gone",
            "",
            "The window that began at 11:00 was not closed: its play had ended. The keeper connected it at 12:00.",
        ),
        (
            "over",
            "It is FAILED.",
            "The lease of the window that began at 11:00 was over before the window was closed. The keeper tried to connect it at"
            " 12:00, and failed: It is FAILED.",
        ),
    ],
)
def test_a_report_says_what_was_done_and_why(reason: str, msg: str, text: str) -> None:
    assert str(replace(Report("cks-1", "12:00", "11:00", reason, "CONNECTED"), msg=msg)) == text
