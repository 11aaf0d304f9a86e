# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every history of a task about one store, with up to so many disturbances, and prints how many there are and were run.

Usage: python -m tests.prove [--disturbances N] [--every N] [--workers W] [--anew], or --only 'HISTORY' for a single one, as a
failure prints it. A search that was interrupted goes on when it is started again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from dev.environment import ROOT
from tests.histories.__main__ import prepare
from tests.prove.judge import flaw
from tests.prove.search import History
from tests.prove.search import Level
from tests.prove.search import Search
from tests.prove.search import base
from tests.prove.world import Quick

FILE = ROOT / "build" / "prove" / "done.jsonl"
SHOWN = 20
"""So many failures are printed, the shortest first; most are the same seen from several sides."""
PRINTED_SECONDS = 30.0


class Printer:
    """Prints how far a search is."""

    def __init__(self) -> None:
        self._level = -1
        self._begin = self._printed = time.monotonic()

    def __call__(self, level: Level) -> None:
        now = time.monotonic()
        if level.disturbances != self._level:
            self._level, self._begin, self._printed = level.disturbances, now, now
            part = "" if level.wanted == level.of else f", of which {level.wanted:,} are run"
            _print(f"With {_counted(level.disturbances)} there are {level.of:,} histories{part}.")
        elif now - self._printed >= PRINTED_SECONDS:
            self._printed = now
            _print(f"  {level.ran:,} of {level.wanted:,}, {now - self._begin:.0f} s")


def _counted(disturbances: int) -> str:
    return f"{disturbances} disturbance{'' if disturbances == 1 else 's'}"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def show(text: str) -> int:
    """Run a single history, and print what happened."""
    try:
        history = History.of(text)
    except ValueError as error:
        _print(str(error))
        return 2
    control = Quick()
    played = history.play(control)
    found = flaw(played, base(history.case, control))
    _print(f"{history}\noptions: {played.task.options}\n")
    by_number = {
        step.number: [each.kind for each in history.disturbances if each.number == step.number] for step in played.steps
    }
    for step in played.steps:
        states = f"{step.before or 'not there'} -> {step.after or 'not there'}"
        disturbed = "".join(f"  <- {kind}" for kind in by_number[step.number])
        _print(f"{step.number:>3}  {step.begin:8.1f} s  {step.operation:<26} {states:<32} {step.outcome}{disturbed}")
    for name, run in [
        ("the task", played.task.done),
        *((f"repeat {number}", run) for number, run in enumerate(played.repeats, 1)),
    ]:
        ended = "failed" if run.failed else "succeeded"
        _print(f"\n{name} {ended}, operations: {run.result['operations']}; saw: {run.result.get('connection_states')}")
        if run.failed:
            _print(run.message)
    _print(f"\nin the end: {played.left}\n{'All holds.' if found is None else f'DOES NOT HOLD: {found}'}")
    return 0 if found is None else 1


def report(levels: list[Level], last: int) -> int:
    """Print the counts, and the failures.

    Returns:
        The exit code.
    """
    failures = {history: why for level in levels for history, why in level.failures.items()}
    for history, why in list(failures.items())[:SHOWN]:
        _print(f"\n{why}\n  python -m tests.prove --only '{history}'")
    _print("")
    for level in levels:
        of = "" if level.wanted == level.of else f" (a sample of {level.of:,})"
        _print(
            f"{_counted(level.disturbances)}: {level.ran:,} histories of {level.wanted:,}{of}, {len(level.failures)} failed"
        )
    ran, wanted = sum(level.ran for level in levels), sum(level.wanted for level in levels)
    _print(f"{ran:,} histories of {wanted:,}; {len(failures)} failed")
    if levels[-1].disturbances < last:
        _print("Longer histories were not run: those above come first.")
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.prove", description="Run every history of a task.")
    parser.add_argument(
        "--disturbances", type=int, default=2, help="at most so many in a history (default: %(default)s)"
    )
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        help="of the histories with most disturbances, run each so many only (default: all)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one for each processor)"
    )
    parser.add_argument("--file", type=Path, default=FILE, help="what keeps what is done (default: %(default)s)")
    parser.add_argument("--anew", action="store_true", help="forget what is done")
    parser.add_argument("--only", metavar="HISTORY", help="run this one, and print what happens")
    arguments = parser.parse_args()
    prepare()
    if arguments.only is not None:
        return show(arguments.only)
    if arguments.anew:
        arguments.file.unlink(missing_ok=True)
    search = Search(
        arguments.disturbances,
        every=arguments.every,
        file=arguments.file,
        workers=arguments.workers,
        report=Printer(),
    )
    return report(search.run(), arguments.disturbances)


if __name__ == "__main__":
    sys.exit(main())
