# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches every world of the model, and prints how many states there are.

Usage: python -m tests.model [--larger]. A property that does not hold is printed with the shortest way to where it does not.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.model.search import Search
from tests.model.worlds import worlds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="Search a model of windows.")
    parser.add_argument("--larger", action="store_true", help="with two ends at once, and more; takes minutes")
    arguments = parser.parse_args()
    states = transitions = failed = 0
    begin = time.monotonic()
    for world in [*worlds(), *(worlds(larger=True) if arguments.larger else ())]:
        found = Search(world.model()).run()
        states, transitions = states + found.states, transitions + found.transitions
        sys.stdout.write(f"{found.states:>9,} states, {found.transitions:>9,} transitions: {world.name}\n")
        for name, way in found.violations.items():
            failed += 1
            sys.stdout.write("\n".join([f"DOES NOT HOLD: {name}", *(f"  {line}" for line in way), ""]))
        sys.stdout.flush()
    seconds = time.monotonic() - begin
    sys.stdout.write(f"{states:,} states, {transitions:,} transitions, searched whole in {seconds:.0f} s; ")
    sys.stdout.write(f"{failed} times a property does not hold\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
