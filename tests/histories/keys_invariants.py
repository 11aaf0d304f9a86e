# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold after each task about a key, whatever happened. Each raises AssertionError where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.histories.invariants import is_predicted
from tests.histories.keys_world import KeyRun
from tests.histories.keys_world import KeyTaskRun
from tests.histories.keys_world import Step
from tests.histories.keys_world import targets

CREATE_KEY, CREATE_ALIAS, UPDATE_ALIAS, DELETE = "CreateKey", "CreateAlias", "UpdateAlias", "ScheduleKeyDeletion"
NAMING = (CREATE_ALIAS, UPDATE_ALIAS)

MOST_SECONDS_MORE = 240
"""That a run may take beyond wait_timeout, to find out what became of what KMS did not answer."""

DAY = 86400.0


def an_alias_stands_for_one_key_without_a_gap(task: KeyTaskRun) -> None:
    """An alias never stands for two keys; and none that stood for one stands for none after a request of a task."""
    for run in task.runs:
        for step in run.steps:
            for alias in {alias for key in step.before.values() for alias in key.aliases}:
                assert len(targets(step.before, alias)) == 1, (alias, step)
                assert len(targets(step.after, alias)) == 1, (alias, step)


def no_run_leaves_a_key_behind_unsaid(task: KeyTaskRun) -> None:
    """A key that a run has created has the alias then, or the user reads its id; but for one of which KMS did not tell."""
    for run in task.real_runs:
        unclear = run.failed and run.was_unclear(CREATE_KEY)
        if run.killed or unclear:
            continue
        for key_id in run.made:
            assert _was_named(run, key_id) or key_id in run.reported, (key_id, run.result, run.warnings)


def _was_named(run: KeyRun, key_id: str) -> bool:
    """Did a key have an alias at any time of a run?"""
    return any(key_id in truth and truth[key_id].aliases for step in run.steps for truth in (step.before, step.after))


def as_many_keys_are_made_as_the_task_sets_out_to_make(task: KeyTaskRun) -> None:
    """Nobody else interfering, all runs of a task together create one key where one is due, and none where none is."""
    if task.was_joined or _falls_due(task):
        return
    made = [key_id for run in task.real_runs for key_id in run.made]
    due = task.ideal.result["operations"].count(CREATE_KEY)
    assert len(made) <= due, (made, task.ideal.result)
    if task.again[-1].failed:
        return
    assert len(made) == due, (made, task.ideal.result)
    for key_id in made:
        named = any(_was_named(run, key_id) for run in task.real_runs)
        assert named or any(key_id in run.reported for run in task.real_runs), key_id


def _falls_due(task: KeyTaskRun) -> bool:
    """Does a key get so old, between the runs of a task, that it is to be rotated?"""
    days = (task.options.get("rotate") or {}).get("older_than_days")
    if days is None:
        return False
    begin, end = task.predicted.begin // 1, task.again[-1].end
    return any(begin < key.created // 1 + days * DAY <= end for run in task.real_runs for key in run.after.values())


def changed_is_true_if_and_only_if_kms_applied_a_change(task: KeyTaskRun) -> None:
    """The operations are those that KMS applied, once each; but one of which nobody knows may be among them, too."""
    for run in task.real_runs:
        if run.killed:
            continue
        reported = run.result["operations"]
        assert run.result["changed"] is bool(reported), run.result
        certain = [each for each in reported if each in run.applied or not run.was_unclear(each)]
        assert certain == run.applied, (reported, run.applied)


def check_mode_changes_nothing(task: KeyTaskRun) -> None:
    """A run in check mode makes no mutating request."""
    assert task.predicted.sent == []


def check_mode_predicts_what_is_done(task: KeyTaskRun) -> None:
    """Where nothing disturbs, check mode tells the same changed, operations and diff, or the same refusal."""
    if task.undisturbed:
        is_predicted(task.done, task.predicted)


def a_second_run_changes_nothing(task: KeyTaskRun) -> None:
    """After a run that nobody else has joined and that has succeeded, the same task changes nothing.

    It fails only where its time is up before KMS shows what the first has made.
    """
    if _falls_due(task):
        return
    runs = task.real_runs
    for run, then in zip(runs, runs[1:], strict=False):
        if not run.failed and not run.killed and not run.intrusions:
            assert not then.failed or then.seconds >= task.options["wait_timeout"], then.message
            assert then.result["changed"] is False, then.result
            assert then.sent == []


def nobody_elses_key_is_touched(task: KeyTaskRun) -> None:
    """No other alias moves, and the alias goes only to keys made for it; in an external store, to the one without an alias."""
    for run in task.runs:
        for step in run.steps:
            for key_id, key in step.before.items():
                after = step.after[key_id]
                others = frozenset({task.alias})
                assert after.aliases - others == key.aliases - others, (key_id, step)
                pending = after.pending if step.operation == DELETE and step.members["KeyId"] == key_id else key.pending
                assert after == replace(key, aliases=after.aliases, pending=pending), (key_id, step)
            if step.applied and step.operation in NAMING:
                assert step.members["AliasName"] == task.alias
                assert _may_be_named(task, step), step


def _may_be_named(task: KeyTaskRun, step: Step) -> bool:
    key_id = step.members["TargetKeyId"]
    key = step.before[key_id]
    if key.store_id != task.store_id:
        return False
    if key.xks_key_id is not None:
        return key.xks_key_id == str(task.options["xks_key_id"])
    return task.made_for.get(key_id) == task.alias


def no_key_is_deleted_unasked(task: KeyTaskRun) -> None:
    """A deletion is scheduled only with state=absent, of the key that the alias was last seen to stand for."""
    for run in task.real_runs:
        seen: str | None = None
        for step in run.steps:
            if step.operation == "DescribeKey" and step.members["KeyId"] == task.alias and step.outcome == "ok":
                seen = step.seen
            if step.operation == DELETE:
                assert task.options["state"] == "absent"
                assert step.members["KeyId"] == seen
                assert step.before[seen].store_id == task.store_id if seen in step.before else True


def no_key_that_will_be_deleted_gets_the_alias(task: KeyTaskRun) -> None:
    """When KMS has pointed the alias to a key, the deletion of that is not scheduled."""
    for run in task.runs:
        for step in run.steps:
            if step.applied and step.operation in NAMING:
                assert not step.before[step.members["TargetKeyId"]].pending, step


def a_failure_is_one_sentence_or_more_in_one_line(task: KeyTaskRun) -> None:
    """It ends with a full stop, if need be that of KMS's own words."""
    for run in task.runs:
        if run.failed:
            assert run.message.endswith((".", '."')), run.message
            assert "\n" not in run.message


def a_failure_names_what_it_is_about(task: KeyTaskRun) -> None:
    """The alias, or the store by its id or name."""
    names = [task.alias, task.store_id, f'"{task.options.get("custom_key_store_name")}"']
    for run in task.runs:
        if run.failed:
            assert any(name in run.message for name in names), run.message


def success_means_that_it_is_done(task: KeyTaskRun) -> None:
    """The alias stands for the key that is told of, which is as asked for; or its deletion is scheduled, or there is none."""
    for run in task.real_runs:
        if run.failed or run.killed or run.intrusions:
            continue
        found = targets(run.after, task.alias)
        if task.options["state"] == "absent":
            assert all(run.after[key_id].pending for key_id in found), run.result
            continue
        assert found == [run.result["key"]["key_id"]], (found, run.result)
        key = run.after[found[0]]
        assert key.store_id == task.store_id
        assert not key.pending
        _check_rotated(task, run, found[0])


def _check_rotated(task: KeyTaskRun, run: KeyRun, key_id: str) -> None:
    days = (task.options.get("rotate") or {}).get("older_than_days")
    key = run.after[key_id]
    if days is None and "xks_key_id" in task.options:
        assert key.xks_key_id == task.options["xks_key_id"]
    if days is not None:
        assert run.begin // 1 - key.created // 1 < days * DAY


def a_run_is_bounded(task: KeyTaskRun) -> None:
    """By wait_timeout and a little; and by a look at each key of the account each second."""
    timeout = task.options.get("wait_timeout", 300)
    for run in task.runs:
        assert run.seconds <= timeout + MOST_SECONDS_MORE, run.seconds
        assert len(run.requests) <= (20 + run.seconds) * (10 + 2 * len(run.after)), len(run.requests)


KEY_INVARIANTS: tuple[Callable[[KeyTaskRun], None], ...] = (
    an_alias_stands_for_one_key_without_a_gap,
    no_run_leaves_a_key_behind_unsaid,
    as_many_keys_are_made_as_the_task_sets_out_to_make,
    changed_is_true_if_and_only_if_kms_applied_a_change,
    check_mode_changes_nothing,
    check_mode_predicts_what_is_done,
    a_second_run_changes_nothing,
    nobody_elses_key_is_touched,
    no_key_is_deleted_unasked,
    no_key_that_will_be_deleted_gets_the_alias,
    a_failure_is_one_sentence_or_more_in_one_line,
    a_failure_names_what_it_is_about,
    success_means_that_it_is_done,
    a_run_is_bounded,
)
