# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the benchmarks that take no time: the simulated waits, rounds, and the page."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dev.benchmark import __main__ as benchmarks
from dev.benchmark import anatomy
from dev.benchmark import waiting
from dev.benchmark.measuring import Goal
from dev.benchmark.measuring import Result
from dev.benchmark.measuring import Setting
from dev.benchmark.measuring import in_rounds
from dev.benchmark.measuring import ratios
from dev.benchmark.measuring import spread
from dev.benchmark.page import page
from dev.benchmark.page import terminal
from dev.benchmark.playing import Played

RESULT = Result(
    title="One task",
    text="\nWhat was\nmeasured.\n\nAnd how.\n",
    header=("contender", "seconds"),
    rows=[("``ping``", "0.40 [0.30, 0.50]"), ("ours", "")],
    goals=[Goal("At most twice as long.", "2.5 times", met=False, reason="It does more."), Goal("One.", "1", met=True)],
)


def test_the_promises_about_waiting_hold() -> None:
    result = waiting.run(Setting("", Path(), quick=True))
    assert [(goal.met, goal.reason != "") for goal in result.goals] == [(True, False), (True, False), (False, True)]
    assert [row[0] for row in result.rows[:2]] == ["2 s", "5 s"]


def test_what_a_fixed_poll_costs_is_known() -> None:
    waits = waiting.one(waiting.fixed(5), 300)  # of 270 to 330 seconds, each moment of the poll as often as the others
    assert (waits.requests, waits.late, waits.latest) == pytest.approx((61.5, 2.5, 5.0))
    assert waiting.about(300) == (270, 330)
    assert waiting.about(10) == (9, 11)


def test_the_order_changes_from_round_to_round() -> None:
    order: list[str] = []

    def measure(name: str) -> int:
        order.append(name)
        return len(order)

    contenders = {name: partial(measure, name) for name in "abc"}
    measured = in_rounds(contenders, 2, after=lambda: order.append("-"))
    assert "".join(order) == "abc-bca-"
    assert measured == {"a": [1, 7], "b": [2, 5], "c": [3, 6]}


def test_ratios_and_their_spread() -> None:
    assert ratios([1.0, 9.0], [2.0, 3.0]) == [0.5, 3.0]
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 [1.0, 3.0]"
    assert spread([3.0], 2) == "3.00"


def test_the_page_has_the_table_and_the_goals() -> None:
    text = page("", [RESULT], datetime.date(2026, 1, 2))
    assert text.startswith(".. _ansible_collections.keyops.aws.docsite.guide_benchmarks:\n\n")
    assert "\n\nWhat was measured.\n\nAnd how.\n\nMeasured on 2026-01-02 on " in text
    assert ".\n\n.. list-table::\n   :header-rows: 1\n\n" in text
    assert "\n\n   * - contender\n     - seconds\n   * - ``ping``\n     - 0.40 [0.30, 0.50]\n" in text
    assert "\n   * - ours\n     -\n" in text
    assert "\n- Goal: At most twice as long. **Not met**: 2.5 times. It does more.\n" in text
    assert "\n- Goal: One. Met: 1.\n" in text


def test_what_is_not_measured_anew_stays_on_the_page() -> None:
    other = replace(RESULT, title="Waiting", rows=[("``until``", "5")])
    before = page("", [RESULT, other], datetime.date(2026, 1, 2))
    faster = replace(RESULT, rows=[("``ping``", "0.10")])
    after = page(before, [faster], datetime.date(2026, 1, 3))
    assert after.replace("2026-01-03", "2026-01-02", 1) == page("", [faster, other], datetime.date(2026, 1, 2))
    assert page(after, [], datetime.date(2026, 1, 4)) == after


def test_the_terminal_shows_the_same_in_columns() -> None:
    assert "\ncontender  seconds\nping       0.40 [0.30, 0.50]\nours\n" in terminal(RESULT)


@pytest.mark.parametrize(("reason", "code"), [("", 1), ("It does more.", 0)])
def test_a_goal_that_is_not_met_without_a_reason_fails(monkeypatch: pytest.MonkeyPatch, reason: str, code: int) -> None:
    result = Result("Waiting", "", ("a",), [], [Goal("At most 1.", "2", met=False, reason=reason)])
    monkeypatch.setattr(
        benchmarks, "BENCHMARKS", {"waiting": lambda _setting: result, "other": lambda _setting: result}
    )
    assert benchmarks.main(["waiting", "--quick"]) == code


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(["tasks"])
    assert (
        "there is no benchmark tasks; there are task, waiting, window, unavailability, keys, anatomy"
        in capsys.readouterr().err
    )


def test_the_steps_of_a_task_are_all_of_its_time() -> None:
    spans: dict[str, Sequence[tuple[float, float]]] = {
        "plugin": [(0.2, 0.25)],
        "run": [(1.1, 1.11)],
        "execute": [(1.2, 2.9)],
        "pack": [(1.2, 1.4)],
        "command": [(1.4, 1.5), (1.6, 2.8)],
        "transfer": [(1.5, 1.6)],
        "remove": [(2.9, 2.95)],
        "python": [(1.7, 1.7)],
        "import unpack": [(0, 0.1)],
        "import ansible": [(0, 0.2)],
        "import amazon": [(0, 0.1)],
        "import ours": [(0, 0.05)],
        "arguments": [(2.18, 2.2)],
        "client": [(2.2, 2.4)],
        "request": [(2.4, 2.45)],
        "result": [(2.5, 2.6)],
    }
    steps = anatomy.steps(Played(0.0, 1.0, 3.0, 3.5), defaultdict(list, spans))
    assert set(steps) == set(anatomy.STEPS)
    assert sum(steps.values()) == pytest.approx(3.5)
    assert steps["plugin"] == pytest.approx(0.05 + 0.1)
    assert steps["own"] == pytest.approx(0.05 + 0.03)
    assert steps["host"] == pytest.approx(0.1 + 0.1)
    assert min(steps.values()) >= 0
