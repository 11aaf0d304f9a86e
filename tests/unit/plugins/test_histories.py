# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Some hundreds of generated histories; python -m tests.histories tries as many as you like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kms_emulator import Control
from tests.histories import invariants
from tests.histories.__main__ import tried
from tests.histories.keys_world import KeyState
from tests.histories.keys_world import KeyTaskRun
from tests.histories.keys_world import Step
from tests.histories.windows_world import CANARY
from tests.histories.windows_world import WindowWorld
from tests.histories.world import TaskRun
from tests.unit.options import SECRETS


@pytest.mark.parametrize(
    ("of", "directly", "histories"),
    [
        pytest.param("stores", True, 200, id="directly"),
        pytest.param("stores", False, 40, id="through main()", marks=pytest.mark.long),
        pytest.param("keys", True, 100, id="of keys, directly"),
        pytest.param("keys", False, 40, id="of keys, through main()", marks=pytest.mark.long),
        pytest.param("windows", True, 120, id="of windows"),
    ],
)
def test_what_must_hold_after_each_task_holds(
    control: Control, record_property: Callable[[str, object], None], of: str, directly: bool, histories: int
) -> None:
    tally, failure = tried(20260101, histories, of=of, directly=directly, shrink=False)
    assert failure is None, failure
    assert tally.histories >= histories
    record_property("counted", f"histories of {of}, {'directly' if directly else 'through main()'}:\n{tally}")


LIES: dict[str, Callable[[TaskRun], None]] = {
    "changed": lambda task: task.done.result.update(changed=not task.done.result["changed"]),
    "an operation that was not made": lambda task: task.done.result["operations"].append("DeleteCustomKeyStore"),
    "a secret": lambda task: task.done.result.update(msg=SECRETS[0]),
    "a disconnect in check mode": lambda task: task.predicted.requests.append(
        {"operation": invariants.DISCONNECT, "applied": True, "outcome": "ok"}
    ),
    "too many requests": lambda task: task.done.requests.extend(task.done.requests * invariants.MOST_REQUESTS),
}


def failure_with(
    patch: pytest.MonkeyPatch, machine: str, invariants_: str, of: str, lie: Callable[[Any], None], histories: int = 20
) -> str | None:
    """What the invariants say to histories in which each task lies."""
    whole = getattr(import_module(machine), invariants_)

    def lied(task: Any) -> None:
        lie(task)
        for invariant in whole:
            invariant(task)

    patch.setattr(f"{machine}.{invariants_}", (lied,))
    return tried(1, histories, of=of, directly=True, shrink=False)[1]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_noticed(control: Control, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    """Each invariant is able to fail."""
    failure = failure_with(monkeypatch, "tests.histories.machine", "INVARIANTS", "stores", LIES[lie])
    assert "AssertionError" in str(failure)


def changes(task: KeyTaskRun, operation: str) -> list[Step]:
    return [step for run in task.real_runs for step in run.steps if step.operation == operation and step.applied]


def the_alias_is_lost(task: KeyTaskRun) -> None:
    for step in changes(task, "CreateAlias"):
        step.after = {key_id: replace(key, aliases=frozenset()) for key_id, key in step.after.items()}
        step.before = dict(step.after)
        step.before["other"] = KeyState("other", frozenset({task.alias}), False, None, 0.0)
        step.after["other"] = replace(step.before["other"], aliases=frozenset())


def the_alias_is_that_of_a_key_that_will_be_deleted(task: KeyTaskRun) -> None:
    for step in changes(task, "CreateAlias"):
        for truth in (step.before, step.after):
            truth.update({key_id: replace(key, pending=True) for key_id, key in truth.items()})


def a_key_is_left_behind(task: KeyTaskRun) -> None:
    for step in changes(task, "CreateKey"):
        step.after["left"] = KeyState(task.store_id, frozenset(), False, None, 0.0)


def no_name_is_shown(task: KeyTaskRun) -> None:
    for name in (task.alias, task.store_id, str(task.options.get("custom_key_store_name"))):
        task.done.result["msg"] = task.done.message.replace(name, "it")


def nobody_asked_for_the_deletion(task: KeyTaskRun) -> None:
    if changes(task, "ScheduleKeyDeletion"):
        task.options["state"] = "present"


KEY_LIES: dict[str, tuple[Callable[[KeyTaskRun], None], str]] = {
    "an alias that is lost": (the_alias_is_lost, "stands_for_one_key"),
    "a key that is left behind": (a_key_is_left_behind, "leaves_a_key_behind"),
    "one key too many": (
        lambda task: task.ideal.result.update(operations=[]),
        "as_many_keys_are_made",
    ),
    "changed": (
        lambda task: task.done.result.update(changed=not task.done.result["changed"]),
        "changed_is_true",
    ),
    "an operation that was not made": (
        lambda task: task.done.result["operations"].append("ScheduleKeyDeletion"),
        "changed_is_true",
    ),
    "a change in check mode": (
        lambda task: task.predicted.requests.append({"operation": "CreateKey", "applied": True, "outcome": "ok"}),
        "check_mode_changes_nothing",
    ),
    "another diff": (lambda task: task.predicted.result.update(diff={}), "predicts"),
    "a second key in a second run": (
        lambda task: [run.result.update(changed=True, operations=["CreateKey"]) for run in task.again][0],
        "changed_is_true",
    ),
    "somebody else's key": (lambda task: task.made_for.clear(), "nobody_elses_key"),  # type: ignore[attr-defined]
    "a deletion that nobody asked for": (nobody_asked_for_the_deletion, "deleted_unasked"),
    "an alias of a key that will be deleted": (
        the_alias_is_that_of_a_key_that_will_be_deleted,
        "will_be_deleted_gets_the_alias",
    ),
    "no full stop": (lambda task: task.done.result.update(msg=task.done.message[:-1]), "in_one_line"),
    "no name": (no_name_is_shown, "names_what_it_is_about"),
    "another key": (lambda task: task.done.result.update(key={"key_id": "other"}), "success_means"),
}


@pytest.mark.parametrize("lie", KEY_LIES)
def test_a_lie_about_a_key_is_noticed(control: Control, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    tell, invariant = KEY_LIES[lie]
    failure = failure_with(monkeypatch, "tests.histories.keys_machine", "KEY_INVARIANTS", "keys", tell, 100)
    assert invariant in str(failure)


def a_store_stays_away(world: WindowWorld) -> None:
    for store_id in world.stores:
        if store_id in world.backend.custom_key_stores:
            world.control.set_connection_state(store_id, "DISCONNECTED")


def it_was_refused(world: WindowWorld) -> None:
    for play in world.plays:
        play.refused_lease = True


def it_disconnected_twice(world: WindowWorld) -> None:
    world.changes += [change for change in world.changes if change.by == "window" and change.before == "CONNECTED"]


WINDOW_LIES: dict[str, tuple[Callable[[WindowWorld], None], str]] = {
    "a store that stays away": (a_store_stays_away, "stores_come_back"),
    "a refusal": (it_was_refused, "a_refused_window_disconnects_nothing"),
    "a second disconnect": (it_disconnected_twice, "a_window_disconnects_once"),
    "a process that stays": (lambda world: world.violations.append("a lie"), "all_came_to_an_end"),
    "a secret": (lambda world: world.logs.append((0.0, CANARY)), "results_can_be_shown"),
}


@pytest.mark.parametrize("lie", WINDOW_LIES)
def test_a_lie_about_a_window_is_noticed(control: Control, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    tell, invariant = WINDOW_LIES[lie]
    failure = failure_with(monkeypatch, "tests.histories.windows_machine", "WINDOW_INVARIANTS", "windows", tell)
    assert invariant in str(failure)


@pytest.mark.parametrize("of", ["stores", "keys", "windows"])
@pytest.mark.long
def test_a_seed_makes_the_same_histories(control: Control, home: Path, of: str) -> None:
    first, second, other = (tried(seed, 15, of=of, directly=True, shrink=False)[0] for seed in (7, 7, 8))
    assert str(first) == str(second) != str(other)
