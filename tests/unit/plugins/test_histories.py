# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Some hundreds of generated histories; python -m tests.histories tries as many as you like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kms_emulator import Control
from tests.histories import invariants
from tests.histories.__main__ import tried
from tests.histories.world import TaskRun
from tests.unit.options import SECRETS


@pytest.mark.parametrize(
    ("directly", "histories"),
    [pytest.param(True, 200, id="directly"), pytest.param(False, 40, id="through main()", marks=pytest.mark.long)],
)
def test_what_must_hold_after_each_task_holds(
    control: Control, record_property: Callable[[str, object], None], directly: bool, histories: int
) -> None:
    tally, failure = tried(20260101, histories, directly=directly, shrink=False)
    assert failure is None, failure
    assert tally.histories >= histories
    record_property("counted", f"histories, {'directly' if directly else 'through main()'}:\n{tally}")


LIES: dict[str, Callable[[TaskRun], None]] = {
    "changed": lambda task: task.done.result.update(changed=not task.done.result["changed"]),
    "an operation that was not made": lambda task: task.done.result["operations"].append("DeleteCustomKeyStore"),
    "a secret": lambda task: task.done.result.update(msg=SECRETS[0]),
    "a disconnect in check mode": lambda task: task.foretold.requests.append(
        {"operation": invariants.DISCONNECT, "applied": True, "outcome": "ok"}
    ),
    "too many requests": lambda task: task.done.requests.extend(task.done.requests * invariants.MOST_REQUESTS),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_noticed(control: Control, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    """Each invariant is able to fail."""
    whole = invariants.INVARIANTS

    def lied(task: TaskRun) -> None:
        LIES[lie](task)
        for invariant in whole:
            invariant(task)

    monkeypatch.setattr("tests.histories.machine.INVARIANTS", (lied,))
    _tally, failure = tried(1, 20, directly=True, shrink=False)
    assert failure is not None
    assert "AssertionError" in failure


def test_a_seed_makes_the_same_histories(control: Control, home: Path) -> None:
    first, second, other = (tried(seed, 50, directly=True, shrink=False)[0] for seed in (7, 7, 8))
    assert str(first) == str(second) != str(other)
