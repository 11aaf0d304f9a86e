# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""The result of a task, successful or not: the same keys either way, so that a rescue block can decide."""

from __future__ import annotations

from typing import Any
from typing import Optional

from .apply import History
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .plan import Plan


def foretold(history: History, plan: Plan) -> dict[str, Any]:
    """The result in check mode: what the plan would make of the store that was found."""
    return _result(history, operations=plan.operations, store=plan.predicted, after=plan.predicted)


def reached(history: History, plan: Plan, *, waited: bool) -> dict[str, Any]:
    """The result of a task that succeeded.

    Args:
        history: what it saw and did.
        plan: what it set out to do.
        waited: for the end state. If not, the diff shows what was set going, not how far it happened to be.
    """
    after = history.store if waited else plan.predicted
    return _result(history, operations=history.operations, store=history.store, after=after)


def failed(history: History, error: CustomKeyStoreError) -> dict[str, Any]:
    """The result of a task that failed, C(msg) included."""
    result = _result(history, operations=history.operations, store=history.store, after=history.store)
    result["msg"] = error.message + _how_far(history)
    if error.error is not None:
        result["error"] = dict(error.error)
    return result


def _how_far(history: History) -> str:
    """After a failure, what the task has changed."""
    if not history.operations or history.found is None or history.store is None:
        return ""
    return (
        f" Before it failed, this task made {', '.join(history.operations)}: the store was"
        f" {history.found.connection_state.value} when it was found and was last seen"
        f" {history.store.connection_state.value}."
    )


def _result(
    history: History, *, operations: list[str], store: Optional[CustomKeyStore], after: Optional[CustomKeyStore]
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "changed": bool(operations),
        "custom_key_store": _described(store),
        "operations": list(operations),
        "connection_states": [state.value for state in history.connection_states],
        "diff": {"before": _described(history.found), "after": _described(after)},
    }
    if history.failure is not None:
        result["connection_error"] = history.failure.to_result()
    return result


def _described(store: Optional[CustomKeyStore]) -> dict[str, Any]:
    return {} if store is None else store.to_result()
