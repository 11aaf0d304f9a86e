# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs mutmut, and compares the mutants that survive with those that survivors.toml explains.

mutmut wants a module in a folder of its name, and a collection is in C(ansible_collections) only by a link. So it runs in a copy.

Usage: python -m tests.mutation [--processes N] [FILE ...], such as plan or wait; without a file, all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tomllib

from dev.environment import ROOT

HERE = Path(__file__).resolve().parent
COPY = ROOT / "build" / "mutation"
COLLECTION = COPY / "ansible_collections" / "keyops" / "aws"
TOOL = Path(sys.prefix) / "mutation"
"""Where the Makefile has installed mutmut, apart from what the tests need."""

KILLED = ("killed", "timeout")
"""A timeout is noticed, too: the tests wait without end."""


@dataclass(frozen=True)
class Mutant:
    """One change to one function.

    Attributes:
        function: with its file, such as plan.make_plan.
        was: the lines as they are, with single spaces.
        becomes: the lines instead.
    """

    function: str
    was: str
    becomes: str

    def __str__(self) -> str:
        return f"{self.function}\n  - {self.was}\n  + {self.becomes}"


def mutmut(*words: str) -> list[str]:
    return [sys.executable, "-m", "mutmut", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(TOOL), "PYTHONDONTWRITEBYTECODE": "1"}


def answer(*words: str) -> list[str]:
    """What mutmut prints."""
    done = subprocess.run(mutmut(*words), cwd=COPY, env=environment(), check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def make_copy() -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "output")
    shutil.copytree(ROOT / "plugins", COLLECTION / "plugins", ignore=ignored)
    for folder in ("dev", "tests"):
        shutil.copytree(ROOT / folder, COPY / folder, ignore=ignored)
    shutil.copy(HERE / "mutmut.toml", COPY / "pyproject.toml")


def results() -> dict[str, str]:
    """What became of each mutant, by its name."""
    lines = [line.strip().rpartition(": ") for line in answer("results", "--all", "true")]
    return {name: status for name, colon, status in lines if colon}


def changed(name: str) -> Mutant:
    """What mutmut has changed in a mutant."""
    file, function = name.partition("__mutmut_")[0].split(".")[-2:]
    diff = [line for line in answer("show", name) if line.startswith(("-", "+")) and line[:3] not in ("---", "+++")]
    was, becomes = (" ".join(" ".join(line[1:] for line in diff if line[0] == sign).split()) for sign in "-+")
    return Mutant(f"{file}.{function.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}", was, becomes)


def explained() -> dict[Mutant, str]:
    """The mutants of survivors.toml, with the reason why no test can notice them."""
    whole = tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8"))
    return {Mutant(**mutant): reason["why"] for reason in whole["reasons"] for mutant in reason["mutants"]}


def report(found: dict[str, str], survivors: list[Mutant]) -> int:
    """Print the figure, and each survivor that has no explanation. Returns 1 where there is something to do."""
    by_file = Counter(name.split(".")[-2] for name in found)
    known = {mutant for mutant in explained() if mutant.function.partition(".")[0] in by_file}
    left = [mutant for mutant in survivors if mutant not in known]
    gone = sorted(known - set(survivors), key=str)
    lines = [f"No test notices this, and survivors.toml does not explain it: {mutant}" for mutant in left]
    lines += [f"survivors.toml explains this, and it does not survive: {mutant}" for mutant in gone]
    lines += [f"{file}.py: {count} mutants" for file, count in sorted(by_file.items())]
    killed, total = len(found) - len(survivors), len(found)
    lines += [f"{total} mutants: {killed} killed, {len(survivors) - len(left)} explained, {len(left)} left"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if left or gone or not found else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    make_copy()
    patterns = [f"*.{file}.*" for file in options.files]
    run = mutmut("run", "--max-children", str(options.processes), *patterns)
    subprocess.run(run, cwd=COPY, env=environment(), check=True)
    found = {
        name: status for name, status in results().items() if not options.files or name.split(".")[-2] in options.files
    }
    survivors = [changed(name) for name, status in sorted(found.items()) if status not in KILLED]
    return report(found, survivors)


if __name__ == "__main__":
    sys.exit(main())
