# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold after each task, whatever happened. Each function raises AssertionError where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.histories.world import Run
from tests.histories.world import TaskRun
from tests.unit.options import SECRETS

CONNECT, DISCONNECT = "ConnectCustomKeyStore", "DisconnectCustomKeyStore"
CREATE, UPDATE, DELETE = "CreateCustomKeyStore", "UpdateCustomKeyStore", "DeleteCustomKeyStore"
IN_SERVICE = ("CONNECTED", "CONNECTING")

LEGAL = {
    CONNECT: {"DISCONNECTED"},
    DISCONNECT: {"CONNECTED", "CONNECTING", "FAILED"},
    DELETE: {"DISCONNECTED"},
    UPDATE: {"DISCONNECTED", "CONNECTED"},
}
"""The connection states in which KMS takes each operation."""

WHAT_TO_DO = (
    "un the task",
    "What to do:",
    "check the store",
    "Fix that first",
    "Check ",
    "set ",
    "Find out who",
    "Allow ",
    "wait_timeout",
)
"""One of these is in each message after which the user has something to do."""

MOST_REQUESTS = 600
"""That a task may make, however much is repeated and however often it must decide anew; and see below."""


def changed_is_true_if_and_only_if_kms_accepted_a_change(task: TaskRun) -> None:
    done, reported = task.done, task.done.result
    assert reported["changed"] is bool(reported["operations"])
    if "is not known" in done.message:
        assert set(done.applied) <= set(reported["operations"]), (done.applied, reported["operations"])
    elif task.was_joined and task.options.get("update_credentials") == "always":
        # Whether a lost password was taken cannot be seen, so it is sent again after somebody has moved the store.
        assert set(reported["operations"]) == set(done.applied) or _cannot_be_distinguished(task)
    elif not _cannot_be_distinguished(task):
        assert _once(reported["operations"]) == done.applied, (reported["operations"], done.applied)


def _once(operations: list[str]) -> list[str]:
    return [each for each, before in zip(operations, ["", *operations]) if each != before]


def _cannot_be_distinguished(task: TaskRun) -> bool:
    """A request was lost without effect, and somebody else made the same change: KMS answers as if it had been ours."""
    lost = {
        each["operation"]
        for each in task.done.requests
        if not each["applied"] and (each["outcome"] == "dropped" or each["outcome"] in UNCLEAR)
    }
    return task.was_joined and bool(lost)


UNCLEAR = ("KMSInternalException", "DependencyTimeoutException")
"""After these nobody knows whether the request had its effect."""


def check_mode_changes_nothing(task: TaskRun) -> None:
    assert task.predicted.sent == []


def check_mode_predicts_what_is_done(task: TaskRun) -> None:
    if task.undisturbed:
        is_predicted(task.done, task.predicted)


def is_predicted(done: Run, predicted: Run) -> None:
    """A run that nothing disturbs goes as check mode told."""
    if predicted.failed:
        assert done.failed, predicted.message
        assert predicted.message == done.message
    if not done.failed:
        assert not predicted.failed, predicted.message
        for key in ("changed", "operations", "diff"):
            assert predicted.result[key] == done.result[key], (key, predicted.result[key], done.result[key])


def no_call_is_illegal_in_the_state_last_seen(task: TaskRun) -> None:
    for number, request in enumerate(task.done.requests):
        allowed = LEGAL.get(request["operation"])
        if allowed is not None:
            seen = [state for count, state in task.done.descriptions if count <= number]
            assert seen[-1] in allowed, (request["operation"], seen)


def nothing_is_disconnected_unasked(task: TaskRun) -> None:
    """A store that is FAILED is out of service already: to leave that state, it is disconnected."""
    if task.options.get("state") == "disconnected" or task.options.get("allow_disconnect"):
        return
    for number, request in enumerate(task.done.requests):
        if request["operation"] == DISCONNECT:
            assert [state for count, state in task.done.descriptions if count <= number][-1] == "FAILED"


def success_means_that_it_is_done(task: TaskRun) -> None:
    if task.done.failed or not task.options.get("wait", True):
        return
    wanted = {"connected": "CONNECTED", "disconnected": "DISCONNECTED"}.get(task.options["state"])
    if wanted is not None:
        assert task.done.result["custom_key_store"]["connection_state"] == wanted
    if task.was_joined:
        return  # what others did after the last look, it cannot know
    if task.options["state"] == "absent":
        assert task.end is None
    elif wanted is not None:
        assert task.end == wanted
    elif task.found in IN_SERVICE:
        assert task.end in IN_SERVICE, task.end


def after_a_failure_the_store_is_where_it_was_or_the_message_says_where(task: TaskRun) -> None:
    if not task.done.failed or task.was_joined or task.found is None or not task.done.applied:
        return  # where KMS has carried out nothing of it, what became of the store is not its doing
    asked_for = {"connected": "CONNECTED", "disconnected": "DISCONNECTED", "absent": None}
    at_home = {task.found, asked_for.get(task.options["state"], task.found)}
    if task.found in IN_SERVICE:
        at_home.add("CONNECTED")
    if task.found == "DISCONNECTING":
        at_home.add("DISCONNECTED")
    if task.later in at_home:
        return
    message = task.done.message
    says_where = (
        "was last seen",
        "is not known",
        "NOT be connected again",
        "was still",
        "is FAILED",
        "could not be connected",
    )
    assert any(words in message for words in says_where), message
    assert any(words in message for words in WHAT_TO_DO), message


def a_second_run_changes_nothing(task: TaskRun) -> None:
    if task.again is None or task.was_joined or task.options.get("update_credentials") == "always":
        return
    if task.later == "FAILED" and task.options["state"] == "connected":
        return  # it did not wait for the connect, and that has failed
    assert task.again.result["changed"] is False, task.again.result
    assert task.again.sent == []


def the_number_of_requests_is_bounded(task: TaskRun) -> None:
    """A look takes at least 0.9 seconds to the next; a task that has nothing to do takes one."""
    timeout = task.options.get("wait_timeout", 1800)
    assert len(task.done.requests) <= min(MOST_REQUESTS, 60 + 3 * timeout)
    if task.undisturbed and not task.done.sent and task.found in ("CONNECTED", "DISCONNECTED", "FAILED"):
        others = [each for each in task.done.requests if each["operation"] != "DescribeCustomKeyStores"]
        assert len(task.done.requests) - len(others) == 1
        assert not others or task.options["state"] == "absent"


def the_time_is_bounded(task: TaskRun) -> None:
    """wait_timeout, as much again to put a store back, and each time what it takes to find out about a lost request."""
    assert task.done.seconds <= 2 * task.options.get("wait_timeout", 1800) + 240


def no_secret_is_shown(task: TaskRun) -> None:
    for run in (task.predicted, task.done, task.again):
        reported = json.dumps(run.result, default=str) if run is not None else ""
        assert [secret for secret in SECRETS if secret in reported] == []


INVARIANTS: tuple[Callable[[TaskRun], None], ...] = (
    changed_is_true_if_and_only_if_kms_accepted_a_change,
    check_mode_changes_nothing,
    check_mode_predicts_what_is_done,
    no_call_is_illegal_in_the_state_last_seen,
    nothing_is_disconnected_unasked,
    success_means_that_it_is_done,
    after_a_failure_the_store_is_where_it_was_or_the_message_says_where,
    a_second_run_changes_nothing,
    the_number_of_requests_is_bounded,
    the_time_is_bounded,
    no_secret_is_shown,
)
