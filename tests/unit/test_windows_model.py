# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of windows, searched whole: what holds, what is known not to, that bugs are found; and who protects from what."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import group
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import keeper
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import owner
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import schedule
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Lease
from kms_emulator import Control
from tests.histories import windows_machine
from tests.histories.__main__ import tried
from tests.model.search import Found
from tests.model.search import Search
from tests.model.state import DONE
from tests.model.state import HELD
from tests.model.state import LEASED
from tests.model.state import TAGS
from tests.model.state import Action
from tests.model.state import Actor
from tests.model.state import Bounds
from tests.model.state import Run
from tests.model.state import State
from tests.model.steps import AGAIN
from tests.model.steps import CHECK_COUNTS
from tests.model.steps import ENDS
from tests.model.steps import ENDS_OTHERS
from tests.model.steps import LETS_IN
from tests.model.steps import MENDED
from tests.model.steps import NO_LOCK
from tests.model.steps import TAKES_BACK
from tests.model.steps import TAKES_LEASE
from tests.model.steps import Model
from tests.model.steps import Steps
from tests.model.table import BY_ITSELF
from tests.model.table import LOST
from tests.model.table import SECOND
from tests.model.table import WORST_FIRST
from tests.model.table import Protection
from tests.model.table import columns
from tests.model.table import guide
from tests.model.table import is_refused
from tests.model.table import outcome
from tests.model.table import promised
from tests.model.worlds import ONE
from tests.model.worlds import World
from tests.model.worlds import worlds

ALONE = Run(stores=ONE, keeper=False)
KEPT = Run(stores=ONE)
AWS = ALONE._replace(aws=ONE)


@pytest.mark.parametrize("world", worlds(), ids=lambda world: world.name)
def test_all_holds(world: World, record_property: Callable[[str, object], None]) -> None:
    found = Search(world.model()).run()
    assert found.violations == {}
    assert found.at_rest
    record_property("counted", f"{found.states:,} states, {found.transitions:,} transitions")


def test_the_counts_are_the_same_each_time() -> None:
    one, two = (Search(Model((KEPT,), Bounds(ENDS, strikes=2), stores=1)).run() for _time in range(2))
    assert (one.states, one.transitions) == (two.states, two.transitions)
    assert one.states > 1_000


KNOWN: dict[str, tuple[tuple[Run, ...], Bounds, str]] = {
    NO_LOCK: ((ALONE, ALONE), Bounds(), "a_lease_comes_before_each_disconnect"),
    ENDS_OTHERS: ((KEPT, KEPT._replace(kind=TAGS)), Bounds(), "a_lease_comes_before_each_disconnect"),
    TAKES_BACK: ((KEPT, KEPT), Bounds(), "no_other_ends_an_outage"),
    LETS_IN: ((KEPT, KEPT), Bounds(), "no_other_ends_an_outage"),
    TAKES_LEASE: ((KEPT, ALONE), Bounds(("play",), strikes=1), "a_lease_comes_before_each_disconnect"),
    CHECK_COUNTS: ((ALONE,), Bounds(acts=1), "what_is_out_on_purpose_after_a_check_stays_out"),
    AGAIN: ((AWS,), Bounds(slow=True), "a_lease_comes_before_each_disconnect"),
}
"""Each flaw that the code had, with a world in which it shows, and what does not hold there because of it."""


@pytest.mark.parametrize("flaw", KNOWN)
def test_a_flaw_of_the_past_shows(flaw: str) -> None:
    runs, bounds, broken = KNOWN[flaw]
    assert broken in Search(Model(runs, bounds, stores=1, flaws=frozenset({flaw}))).run().violations
    assert broken not in Search(Model(runs, bounds, stores=1)).run().violations
    assert set(KNOWN) == MENDED


# ---- bugs


class ForgetsLeases(Model):
    """Takes each lease to be there already."""

    def _opens_one(self, state: State, by: int, number: int, how: str) -> Steps:
        yield Action(by, "forgets the lease", number), self._does(state, by, number, HELD)


class IgnoresTheEndOfThePlay(Model):
    def must_act(self, state: State, by: int) -> bool:
        return state.actors[by].asked


class Steals(Model):
    """Sees no other window."""

    def host_in_use(self, state: State, number: int, by: int) -> bool:
        return False


class ConnectsWhatOthersHave(Model):
    """The playbook reconnect leaves no window alone."""

    def _is_kept(self, state: State, number: int, by: int) -> tuple[bool, ...]:
        return (False,)


class TakesOutWhatItMayNot(Model):
    def is_gone(self, state: State, by: int) -> bool:
        return False


class BringsBackWhatIsOutOnPurpose(Model):
    def _has_lease(self, state: State, number: int, by: int) -> bool:
        return True


class LeavesLeases(Model):
    """Does not end them in AWS."""

    def _tidies_aws(self, state: State, by: int, number: int) -> Steps:
        yield Action(by, "is done with it", number), self._does(state, by, number, DONE)


class WorksForEver(Model):
    def _works(self, state: State, by: int, actor: Actor) -> Steps:
        yield Action(by, "works on"), state.with_actor(by, actor._replace(failed=not actor.failed))


class NeverReports(Model):
    """Its job goes on for ever when it has connected all."""

    def _acts(self, state: State, by: int, actor: Actor) -> Steps:
        for action, after in super()._acts(state, by, actor):
            if action.what != "has connected them":
                yield action, after


BUGS: dict[type[Model], tuple[tuple[Run, ...], Bounds, str]] = {
    ForgetsLeases: ((KEPT,), Bounds(), "a_lease_comes_before_each_disconnect"),
    IgnoresTheEndOfThePlay: ((KEPT,), Bounds(("play",), strikes=1), "all_stores_are_back"),
    Steals: ((ALONE, ALONE), Bounds(), "no_two_windows_have_a_store"),
    ConnectsWhatOthersHave: ((KEPT, KEPT._replace(kind=LEASED)), Bounds(), "no_other_ends_an_outage"),
    TakesOutWhatItMayNot: ((KEPT,), Bounds(("play",), strikes=1), "nothing_is_disconnected_unasked"),
    BringsBackWhatIsOutOnPurpose: ((KEPT,), Bounds(acts=1), "what_is_out_on_purpose_stays_out"),
    LeavesLeases: ((AWS,), Bounds(), "no_lease_is_left"),
    WorksForEver: ((ALONE,), Bounds(), "all_comes_to_rest"),
    NeverReports: ((ALONE,), Bounds(), "all_have_ended"),
}
"""Each with a world in which it shows, and what does not hold then."""


def searched(model: type[Model]) -> Found:
    runs, bounds, _broken = BUGS[model]
    return Search(model(runs, bounds, stores=1, time=model is not LeavesLeases)).run()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_is_found(bug: type[Model]) -> None:
    runs, bounds, broken = BUGS[bug]
    assert broken in searched(bug).violations
    sound = Search(Model(runs, bounds, stores=1, time=bug is not LeavesLeases)).run()
    assert sound.violations == {}


def test_the_shortest_path_is_reported() -> None:
    way = searched(ForgetsLeases).violations["a_lease_comes_before_each_disconnect"]
    assert [line.split("  ")[0] for line in way] == [
        "run 0 checks",
        "run 0 plans",
        "run 0 forgets the lease (store 0)",
        "run 0 claims its stores",
        "run 0 sends Disconnect (store 0)",
    ]


# ---- the table of the guide

SAID = guide()
BETTER = {("the network to AWS", "Both"): BY_ITSELF}
"""Where the guide promises less than there is: a keeper that has its network back connects before the lease is over."""


def test_the_table_of_the_guide_is_read_whole() -> None:
    assert {row for row, _title in SAID} == {*LOST, SECOND}
    assert {title for _row, title in SAID} == set(columns(local=True))


@pytest.mark.parametrize("local", [True, False], ids=["on the host of the play", "on another host"])
@pytest.mark.parametrize("row", LOST)
def test_the_guide_says_who_protects_from_what(row: str, local: bool) -> None:
    for title, by in columns(local=local).items():
        found, said = outcome(LOST[row], by), promised(SAID, row, title, local=local)
        assert said in WORST_FIRST
        expected = BETTER.get((row, title), said) if local else said
        assert found == expected, (row, title)


@pytest.mark.parametrize("title", columns(local=True))
def test_the_guide_says_where_a_second_window_is_refused(title: str) -> None:
    by = columns(local=True)[title]
    assert is_refused(by, 0)
    anywhere = is_refused(by, 1)
    assert SAID[SECOND, title] == ("is refused on any machine" if anywhere else "is refused on the same host")


def test_a_host_that_does_not_see_the_play_refuses_by_the_lease_in_aws_alone() -> None:
    """What the guide does not say."""
    assert [is_refused(Protection(keeper=True, aws=aws, local=False), 0) for aws in (False, True)] == [False, True]


# ---- the real code


@contextlib.contextmanager
def keeper_acts_at_once() -> Iterator[None]:
    with mock.patch.object(keeper.Keeper, "reason", lambda this: keeper.Reason.OVER if this.stores else None):
        yield


@contextlib.contextmanager
def disconnects_when_the_play_has_ended() -> Iterator[None]:
    @contextlib.contextmanager
    def permitted(this: owner.Permit, *_what: object, **_how: object) -> Iterator[None]:
        yield

    with mock.patch.object(owner.Permit, "to_change", permitted):
        yield


@contextlib.contextmanager
def forgets_the_lease_on_the_host() -> Iterator[None]:
    def opened(task: group.StoreTask, **_how: object) -> None:
        task.lease = task.to_lease

    with mock.patch.object(group.StoreTask, "open_lease", opened):
        yield


@contextlib.contextmanager
def forgets_the_lease_in_aws() -> Iterator[None]:
    def opened(_leases: object, lease: Lease, *, minutes: float) -> Lease:
        return replace(lease, until=lease.until or "2030-01-01T00:00:00+00:00")

    with mock.patch.object(schedule.AwsLeases, "open", opened):
        yield


@contextlib.contextmanager
def ends_the_lease_before_the_connect() -> Iterator[None]:
    run = group.StoreTask.run

    def early(task: group.StoreTask) -> None:
        if task.store is not None and task._desired.state == "connected":
            task._end_lease(task.store)
        run(task)

    with mock.patch.object(group.StoreTask, "run", early):
        yield


REAL_BUGS: dict[Callable[[], contextlib.AbstractContextManager[None]], str] = {
    keeper_acts_at_once: "sends Connect",
    disconnects_when_the_play_has_ended: "sends Disconnect",
    forgets_the_lease_on_the_host: "sends Disconnect",
    forgets_the_lease_in_aws: "opens its lease on the host",
    ends_the_lease_before_the_connect: "ends the lease on the host",
}
"""Each with what the model does not allow then."""


@pytest.mark.parametrize("bug", REAL_BUGS, ids=lambda bug: bug.__name__)
def test_the_model_refuses_a_history_with_a_bug(
    control: Control,
    monkeypatch: pytest.MonkeyPatch,
    bug: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    """The histories' own invariants, which would find most of these as well, are left out."""
    monkeypatch.setattr(windows_machine, "WINDOW_INVARIANTS", ())
    monkeypatch.setattr(windows_machine, "no_schedule_is_left", lambda world: None)
    monkeypatch.setattr(windows_machine, "nothing_is_left_to_do", lambda *plays: None)
    with bug():
        failure = tried(0, 60, of="windows", directly=True, shrink=False)[1]
    assert failure is not None
    assert re.search(rf"no path of the model.*{REAL_BUGS[bug]}", failure), failure
