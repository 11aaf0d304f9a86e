# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A part of the search through all histories, and that the search sees a bug, counts right and goes on; make prove runs all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import apply
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import bring_back
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import plan
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import result
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import service
from kms_emulator import Control
from tests.prove import search
from tests.prove.__main__ import report
from tests.prove.__main__ import show
from tests.prove.cases import FOUND
from tests.prove.cases import STORES
from tests.prove.cases import Case
from tests.prove.cases import every_case
from tests.prove.cases import is_another
from tests.prove.disturbances import ACTS
from tests.prove.disturbances import ORDER
from tests.prove.disturbances import Disturbance
from tests.prove.disturbances import allows
from tests.prove.search import History
from tests.prove.search import Level
from tests.prove.search import Search
from tests.prove.world import InMemory
from tests.prove.world import Played
from tests.prove.world import ProofWorld
from tests.prove.world import Quick
from tests.unit.options import SECRETS

CHANGE = Case("cloudhsm", "CONNECTED", "present", "offline", allow=True, wait=True)
FORBIDDEN = replace(CHANGE, allow=False)
CONNECT = Case("external", "DISCONNECTED", "connected", "same", allow=False, wait=True)
CREATE = Case("external", "NOT-THERE", "connected", "same", allow=False, wait=True)


@pytest.fixture
def quick(control: Control) -> Quick:
    """Steers the same KMS as the fixture that it needs."""
    return Quick()


SMALL = Case("external", "DISCONNECTED", "present", "same", allow=False, wait=True)
"""A task that makes one request."""


def failures(levels: list[Level]) -> dict[str, str]:
    return {history: why for level in levels for history, why in level.failures.items()}


# ---- a part of make prove

PARTS = 8
"""So that several processes share the work. Together they are all cases."""


@pytest.mark.parametrize("part", range(PARTS))
def test_all_histories_with_one_disturbance_and_some_with_two(
    control: Control, record_property: Callable[[str, object], None], part: int
) -> None:
    levels = Search(2, cases=every_case()[part::PARTS], every=500).run()
    assert failures(levels) == {}
    assert [level.ran for level in levels] == [level.wanted for level in levels]
    assert levels[1].ran == levels[1].of > 1_000
    assert levels[2].of > 40_000
    counted = [f"{level.ran:,} of {level.of:,} histories with {level.disturbances} disturbances" for level in levels]
    record_property("counted", ", ".join(counted))


# ---- bugs


def disconnects_unasked(patch: pytest.MonkeyPatch) -> None:
    def make_plan(store: Any, desired: Any, **how: Any) -> Any:
        return plan.make_plan(store, replace(desired, allow_disconnect=True), **how)

    patch.setattr(apply, "make_plan", make_plan)


def is_not_put_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bring_back.BringBack, "_reconnected", lambda brings_back, reconnect: "")


def forgets_what_a_killed_run_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(InMemory, "of", lambda leases, store_id: None)


def takes_each_fault_for_one_without_effect(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(service, "_maybe_applied", lambda error: False)


def shows_a_secret(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(result, "_how_far", lambda history: f" {SECRETS[0]}.")


def does_not_wait(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply.Runner, "_wait_for_state", lambda runner, state: True)
    patch.setattr(apply.Runner, "_is_where_it_should_be", lambda runner: True)


def goes_on_with_a_plan_for_a_store_that_was_moved(patch: pytest.MonkeyPatch) -> None:
    create = apply.Runner._create
    patch.setattr(apply.Runner, "_create", lambda runner, call: create(runner, call) or True)


def crashes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply.Runner, "_reconnect", lambda runner: 1 // 0)


BUGS: dict[Callable[[pytest.MonkeyPatch], None], tuple[Case, int, str]] = {
    disconnects_unasked: (FORBIDDEN, 0, "nothing_is_disconnected_unasked"),
    does_not_wait: (CONNECT, 0, "is_predicted"),
    is_not_put_back: (CHANGE, 1, "what_was_taken_out_of_service_is_back"),
    forgets_what_a_killed_run_left: (CHANGE, 1, "the_store_ends_where_it_would_have"),
    takes_each_fault_for_one_without_effect: (CONNECT, 1, "changed_is_true_if_and_only_if"),
    shows_a_secret: (CONNECT, 1, "no_secret_is_shown"),
    goes_on_with_a_plan_for_a_store_that_was_moved: (CREATE, 1, "no_call_is_illegal"),
    crashes: (CHANGE, 1, "ZeroDivisionError"),
}
"""Each with a case in which it shows, with how many disturbances, and what does not hold then."""


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_is_found(
    control: Control, capsys: pytest.CaptureFixture[str], bug: Callable[[pytest.MonkeyPatch], None]
) -> None:
    case, disturbances, broken = BUGS[bug]
    with pytest.MonkeyPatch.context() as patch:
        bug(patch)
        levels = Search(2, cases=[case]).run()
        found = failures(levels)
        assert len(levels) == disturbances + 1  # longer ones are not run
        assert any(broken in why for why in found.values()), found
        assert report(levels, 2) == 1
        shortest = next(iter(found))
        assert f"python -m tests.prove --only '{shortest}'" in capsys.readouterr().out
        if bug is not crashes:
            assert show(shortest) == 1
            assert f"DOES NOT HOLD: {found[shortest].partition(':')[0]}: " in capsys.readouterr().out
    search.base.cache_clear()


# ---- the counts


def test_the_counts_are_those_of_the_histories(quick: Quick) -> None:
    whole = [History(SMALL)]
    counted = []
    for _level in range(3):
        counted.append(len(whole))
        assert len(set(map(str, whole))) == len(whole)
        whole = [each for history in whole for each in history.next(history.play(quick))] if len(counted) < 3 else []
    reported: list[tuple[int, int]] = []
    levels = Search(2, cases=[SMALL], report=lambda level: reported.append((level.disturbances, level.of))).run()
    assert [level.of for level in levels] == [level.wanted for level in levels] == [level.ran for level in levels]
    assert [level.of for level in levels] == counted
    assert reported[0] == (0, 1)
    assert (2, counted[2]) in reported  # it is told before the level has ended


@pytest.mark.long
def test_processes_find_the_same(control: Control, tmp_path: Path) -> None:
    one = Search(2, cases=[SMALL]).run()
    two = Search(2, cases=[SMALL], workers=2, file=tmp_path / "done").run()
    assert one == two


# ---- an interrupted search


class Interrupted(Exception):
    pass


def interrupted(file: Path, after: int) -> None:
    """A search that is interrupted when so many histories of its last level are done."""

    def stop(level: Level) -> None:
        if level.disturbances == 2 and level.ran >= after:
            raise Interrupted

    with pytest.raises(Interrupted):
        Search(2, cases=[SMALL], file=file, report=stop).run()


def run_units(file: Path) -> tuple[list[Level], list[str]]:
    """Search, and tell which units are run."""
    units: list[str] = []
    carry_out = search.carry_out

    def reported(unit: search.Unit, *more: Any) -> search.Done:
        units.append(unit.parent)
        return carry_out(unit, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "carry_out", reported)
        return Search(2, cases=[SMALL], file=file).run(), units


def test_an_interrupted_search_goes_on(control: Control, tmp_path: Path) -> None:
    file = tmp_path / "build" / "done.jsonl"
    levels, units = run_units(tmp_path / "other")
    interrupted(file, levels[2].of // 2)
    done = len(file.read_text().splitlines()) - 1
    with file.open("a") as torn:
        torn.write('["torn')
    resumed, rest = run_units(file)
    assert resumed == levels
    assert len(rest) == len(units) - done
    assert run_units(file) == (levels, [""])  # the undisturbed ones are run each time


def test_a_search_of_other_code_begins_anew(control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "done.jsonl"
    levels, units = run_units(file)
    monkeypatch.setattr(search, "fingerprint", lambda: "other")
    assert run_units(file) == (levels, units)


# ---- what is left out


def after(quick: Quick, case: Case, disturbances: tuple[Disturbance, ...] = ()) -> tuple[Any, ...]:
    """All that can be seen of a history, but for what is different each time."""
    played: Played = ProofWorld(quick, case, disturbances).play()
    task = played.task
    runs = [*(each.done for each in played.killed), task.predicted, task.done, *played.repeats]
    seen = [(run.result["changed"], run.result["operations"], run.failed, run.descriptions) for run in runs]
    return played.steps, seen, task.found, task.end, task.later, played.left


def test_allow_disconnect_makes_no_difference_where_it_is_left_out(quick: Quick) -> None:
    compared = 0
    for case in every_case():
        allowed = replace(case, allow=True)
        if case.allow or case.state == "absent" or not is_another(allowed):
            continue
        base = ProofWorld(quick, case, ()).play()
        histories = [(), *(each.disturbances for each in History(case).next(base)[::25])]
        for disturbances in histories:
            assert after(quick, case, disturbances) == after(quick, allowed, disturbances)
            compared += 1
    assert compared > 300


@pytest.mark.parametrize("store", STORES)
def test_kms_refuses_what_somebody_else_is_not_let_do(quick: Quick, store: str) -> None:
    for found in [each for each in FOUND if each not in ("NOT-THERE", "FAILED-MAY-LOCK")]:
        for act in ACTS:
            world = ProofWorld(quick, Case(store, found, "present", "same", allow=False, wait=True), ())
            world._disturb(Disturbance(1, f"{act}-before"), "DescribeCustomKeyStores")
            (intrusion,) = quick.intrusions()
            assert (intrusion["outcome"] == "ok") is allows(store, found, act), (found, act)


# ---- a single history


def test_each_history_can_be_written_and_read() -> None:
    for case in every_case():
        history = History(case, (Disturbance(3, "stale-1"), Disturbance(12, "killed-after")))
        assert History.of(str(history)) == history
    assert len(set(map(str, every_case()))) == len(every_case())


def test_each_kind_of_disturbance_comes_about(quick: Quick) -> None:
    begins = [
        History(CHANGE),
        History(replace(CHANGE, change="in-place", store="external")),
        History(CREATE),
        History(CONNECT, (Disturbance(1, "throttled"),)),  # after which time passes
    ]
    kinds = {each.disturbances[-1].kind for begin in begins for each in begin.next(begin.play(quick))}
    assert kinds == set(ORDER)


def test_a_single_history_is_shown(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(f"{CHANGE} 2:dropped-after 5:fault-before") == 0
    printed = capsys.readouterr().out
    assert "DisconnectCustomKeyStore   CONNECTED -> DISCONNECTING" in printed
    assert "<- dropped-after" in printed
    assert "<- fault-before" in printed
    assert printed.endswith("All holds.\n")


@pytest.mark.parametrize("text", ["", "nothing", f"{CHANGE} 2:nothing", f"{CHANGE} throttled"])
def test_what_is_no_history(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert show(text) == 2
    assert "There is no" in capsys.readouterr().out
