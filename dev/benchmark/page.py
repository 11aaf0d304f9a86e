# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Formats results of benchmarks as a page of the documentation, and for the terminal."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import textwrap
from collections.abc import Iterator
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from dev.benchmark.measuring import Goal
from dev.benchmark.measuring import Result
from dev.environment import BIN

WIDTH = 120

INTRODUCTION = """
These benchmarks measure what a task, a wait, a window, and the search for the keys of a key store cost. They compare
the cost with what people do without this collection, and with the lowest cost that is possible. In a checkout, ``make
bench`` repeats all measurements and writes this page. ``make bench BENCH="task keys"`` repeats only the benchmarks
that it names.

All contenders of a table run against the same emulator of AWS KMS, in the same run. If there are several rounds, the
order changes from round to round. A ratio is calculated within a round. A figure is the median, with the lowest and
the highest value in brackets. A real AWS KMS adds its own time for each request, which is the same for all
contenders.
"""


def page(before: str, results: Sequence[Result], measured_on: datetime.date) -> str:
    """Return the guide, in reStructuredText.

    Args:
        before: the existing guide. Sections that are not measured again remain. Empty: there is none.
        results: the new results.
        measured_on: the date of the results.
    """
    title = "Benchmarks"
    head = [
        f".. _ansible_collections.keyops.aws.docsite.guide_benchmarks:\n\n{title}\n{'=' * len(title)}",
        *paragraphs(INTRODUCTION),
    ]
    _head, *old = re.split(r"\n\n(?=[^\n]+\n---+\n)", before.rstrip("\n"))
    sections = {text.partition("\n")[0]: text for text in old}
    sections.update({result.title: "\n\n".join(section(result, measured_on)) for result in results})
    return "\n\n".join([*head, *sections.values()]) + "\n"


def section(result: Result, measured_on: datetime.date) -> Iterator[str]:
    yield f"{result.title}\n{'-' * len(result.title)}"
    yield from paragraphs(result.text)
    yield from paragraphs(f"Measured on {measured_on.isoformat()} on {machine()}, with {versions()}.")
    yield ".. list-table::\n   :header-rows: 1\n\n" + "\n".join(_row(row) for row in (result.header, *result.rows))
    yield from (_goal(goal) for goal in result.goals)


def paragraphs(text: str) -> list[str]:
    return [_wrapped(paragraph) for paragraph in text.strip().split("\n\n")]


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _row(cells: Sequence[str]) -> str:
    return "\n".join(f"   {'* -' if number == 0 else '  -'} {cell}".rstrip() for number, cell in enumerate(cells))


def _goal(goal: Goal) -> str:
    verdict = "Met" if goal.met else "**Not met**"
    return _wrapped(f"- Goal: {goal.text} {verdict}: {goal.measured}. {goal.reason}", indent="  ")


def terminal(result: Result) -> str:
    """Format a result for a terminal, in columns."""
    rows = [[cell.replace("``", "") for cell in row] for row in (result.header, *result.rows)]
    widths = [max(len(row[number]) for row in rows) for number in range(len(result.header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(["", result.title, "", *lines, "", *(_goal(goal) for goal in result.goals)])


def machine() -> str:
    return f"{os.cpu_count()} processors ({platform.system()}, {platform.machine()})"


@cache
def versions() -> str:
    """Return the versions of all components."""
    import ansible_collections.amazon.aws as amazon

    manifest = json.loads(Path(amazon.__path__[0], "MANIFEST.json").read_text("utf-8"))
    amazon_version = manifest["collection_info"]["version"]
    cli = subprocess.run([str(BIN / "aws"), "--version"], check=True, capture_output=True, text=True).stdout.split()
    return (
        f"Python {platform.python_version()}, ansible-core {version('ansible-core')}, amazon.aws {amazon_version},"
        f" boto3 {version('boto3')}, botocore {version('botocore')}, {cli[0].replace('aws-cli/', 'AWS CLI ')} and moto"
        f" {version('moto')}"
    )
