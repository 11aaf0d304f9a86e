# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all benchmarks share: rounds, ratios, and what a benchmark returns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Measured = TypeVar("Measured")
Name = TypeVar("Name")


@dataclass(frozen=True)
class Setting:
    """What a benchmark runs in.

    Attributes:
        url: of the emulator, the same for all contenders.
        folder: for files; nothing else is in it.
        quick: only check that it works: one round, and little of everything.
    """

    url: str
    folder: Path
    quick: bool = False


@dataclass(frozen=True)
class Goal:
    """What was to be reached, and what was.

    Attributes:
        text: the goal, one sentence.
        measured: what was measured for it.
        met: was it?
        reason: why it cannot be met, where that is known.
    """

    text: str
    measured: str
    met: bool
    reason: str = ""


@dataclass(frozen=True)
class Result:
    """What a benchmark has found out: one table and its goals. All texts are reStructuredText.

    Attributes:
        title: of its section.
        text: what was measured, and how: paragraphs, which are wrapped anew.
        header: of the columns.
        rows: of the table.
        goals: see there.
    """

    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]


def in_rounds(
    contenders: Mapping[Name, Callable[[], Measured]], count: int, *, after: Callable[[], object] = lambda: None
) -> dict[Name, list[Measured]]:
    """Measure each contender once in each round, in an order that changes from round to round.

    So what else the machine does meanwhile counts on all sides, and ratios are to be taken within a round.

    Args:
        contenders: by name; each returns what was measured.
        count: of rounds.
        after: is called after each round.
    """
    names = list(contenders)
    measured: dict[Name, list[Measured]] = {name: [] for name in names}
    for number in range(count):
        shift = number % len(names)
        for name in (*names[shift:], *names[:shift]):
            measured[name].append(contenders[name]())
        after()
    return measured


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Of each round."""
    return [value / other for value, other in zip(values, base, strict=True)]


def spread(values: Sequence[float], digits: int) -> str:
    """Median, lowest and highest; of a single value, that alone."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} [{low}, {high}]" if len(values) > 1 else middle
