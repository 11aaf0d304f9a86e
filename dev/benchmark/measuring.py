# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared code of all benchmarks: rounds, ratios, and results."""

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
    """The environment of a benchmark.

    Attributes:
        url: the URL of the emulator, which all contenders use.
        folder: an empty folder for files.
        quick: only check that the benchmark works, with one round and little data.
    """

    url: str
    folder: Path
    quick: bool = False


@dataclass(frozen=True)
class Goal:
    """A goal and whether it was met.

    Attributes:
        text: the goal, one sentence.
        measured: the measured value.
        met: whether it was met.
        reason: why it cannot be met, if known.
    """

    text: str
    measured: str
    met: bool
    reason: str = ""


@dataclass(frozen=True)
class Result:
    """The result of a benchmark: one table and its goals. All texts are reStructuredText.

    Attributes:
        title: the title of the section.
        text: paragraphs about the measurement. They are wrapped again.
        header: the column headers.
        rows: the rows of the table.
        goals: the goals.
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

    Other load on the machine then affects all contenders. Calculate ratios within a round.

    Args:
        contenders: by name; each returns its measurement.
        count: number of rounds.
        after: called after each round.
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
    """Return the ratio of each round."""
    return [value / other for value, other in zip(values, base, strict=True)]


def spread(values: Sequence[float], digits: int) -> str:
    """Format the median, lowest and highest value. A single value is formatted alone."""
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} [{low}, {high}]" if len(values) > 1 else middle
