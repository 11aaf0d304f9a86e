# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run all benchmarks, or the named ones. The exit code is 1 if a goal is not met and no reason is known.

All of them take about 45 minutes. The results are written to the page of the documentation.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

from dev.benchmark import anatomy
from dev.benchmark import keys
from dev.benchmark import task
from dev.benchmark import unavailability
from dev.benchmark import waiting
from dev.benchmark import window
from dev.benchmark.measuring import Result
from dev.benchmark.measuring import Setting
from dev.benchmark.page import page
from dev.benchmark.page import terminal
from dev.environment import ROOT
from kms_emulator import EmulatorServer

PAGE = ROOT / "docs" / "docsite" / "rst" / "guide_benchmarks.rst"

BENCHMARKS: dict[str, Callable[[Setting], Result]] = {
    "task": task.run,
    "waiting": waiting.run,
    "window": window.run,
    "unavailability": unavailability.run,
    "keys": keys.run,
    "anatomy": anatomy.run,
}


def measure(names: Sequence[str], *, quick: bool) -> list[Result]:
    """Run benchmarks, and print their results."""
    results = []
    with EmulatorServer() as server:
        for name in names:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                results.append(BENCHMARKS[name](Setting(server.url, Path(folder), quick)))
            print(terminal(results[-1]), flush=True)
    return results


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.benchmark", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="only check that they work")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    names = given.names or list(BENCHMARKS)
    results = measure(names, quick=given.quick)
    if not given.quick:
        before = PAGE.read_text("utf-8") if PAGE.exists() else ""
        PAGE.write_text(page(before, results, datetime.date.today()), "utf-8")
        print(f"\nWritten to {PAGE.relative_to(ROOT)}.")
    return 0 if all(goal.met or goal.reason for result in results for goal in result.goals) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
