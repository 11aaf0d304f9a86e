# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a task, successful or not: always the same keys, so that a rescue block can use them."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from typing import Any
from typing import Optional

from ansible.module_utils.common.dict_transformations import dict_merge

from .history import History
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .plan import Plan
from .properties import masked_secrets


def predicted(history: History, plan: Plan) -> dict[str, Any]:
    """The result in check mode: the store as it would be after the plan."""
    return _result(history, operations=plan.operations, store=plan.predicted, diff=_diff(history, plan, plan.predicted))


def reached(history: History, plan: Plan, *, waited: bool) -> dict[str, Any]:
    """The result of a task that succeeded.

    Args:
        history: what the task described and did.
        plan: the plan of the task.
        waited: did the task wait for the end state? If not, the diff shows the end state, not the state in between.
    """
    diff = _diff(history, plan, history.store if waited else plan.predicted)
    return _result(history, operations=history.operations, store=history.store, diff=diff)


def failed(history: History, error: CustomKeyStoreError) -> dict[str, Any]:
    """The result of a task that failed, C(msg) included."""
    diff = {"before": _described(history.found), "after": _described(history.store)}
    result = _result(history, operations=history.operations, store=history.store, diff=diff)
    result["msg"] = error.message + _how_far(history)
    if error.error is not None:
        result["error"] = dict(error.error)
    return result


def _how_far(history: History) -> str:
    """What the task had changed when it failed."""
    if not history.operations:
        return ""
    found = (
        f"was {history.found.connection_state.value} when it was found" if history.found else "was not there at first"
    )
    last = f" and was last seen {history.store.connection_state.value}" if history.store else ""
    return f" Before it failed, this task made {', '.join(history.operations)}: the store {found}{last}."


def _result(
    history: History, *, operations: list[str], store: Optional[CustomKeyStore], diff: dict[str, Any]
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "changed": bool(operations),
        "custom_key_store": _described(store),
        "operations": list(operations),
        "connection_states": [state.value for state in history.connection_states],
        "diff": diff,
    }
    if history.failure is not None:
        result["connection_error"] = history.failure.to_result()
    return result


def _diff(history: History, plan: Plan, after: Optional[CustomKeyStore]) -> dict[str, Any]:
    """Before and after, the same in check mode and in a real run.

    Values that only KMS knows, such as the id of a new store, are left out. Secrets are masked.
    """
    shown = _only(_described(after), _described(plan.predicted))
    return {"before": _described(history.found), "after": dict_merge(shown, masked_secrets(plan.secrets))}


def _only(description: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The values whose key is also in C(known)."""
    return {
        key: _only(value, known[key]) if isinstance(value, dict) else value
        for key, value in description.items()
        if key in known
    }


def _described(store: Optional[CustomKeyStore]) -> dict[str, Any]:
    return {} if store is None else store.to_result()
