# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries histories for as long as you like, and prints what was tried.

Usage: python -m tests.histories [--of keys|windows] [--histories N] [--seed S] [--workers W]. They are made in
batches, each with a seed of its own. The seed of a batch that fails is printed with the history that has failed, and makes the
same batch again.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import seed as with_seed
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.stateful import run_state_machine_as_test
from moto import mock_aws

from kms_emulator import Control
from kms_emulator import install
from tests.histories.keys_machine import KeyHistories
from tests.histories.machine import Histories
from tests.histories.machine import Machine
from tests.histories.tally import Tally
from tests.histories.windows_machine import WindowHistories
from tests.unit.harness import no_needless_work

set_hypothesis_home_dir(
    Path(sys.prefix) / "hypothesis"
)  # what it keeps, it keeps in the environment and not in the checkout

BATCH = 500
STEPS = 6
MACHINES: dict[str, type[Machine]] = {"stores": Histories, "keys": KeyHistories, "windows": WindowHistories}
"""What histories are of."""

WHOLE_PROCESS = contextlib.ExitStack()


def batch(of: str, seed: int, histories: int, shrink: bool) -> tuple[int, Tally, str | None]:
    """Try one batch.

    Returns:
        The seed, what was tried, and the failure, if there was one.
    """
    return seed, *tried(seed, histories, of=of, directly=True, shrink=shrink)


def tried(seed: int, histories: int, *, of: str = "stores", directly: bool, shrink: bool) -> tuple[Tally, str | None]:
    """Try histories that this seed makes, through the module or directly: what was tried, and the failure."""
    tally = Tally()
    machine = type("Batch", (MACHINES[of],), {"tally": tally, "directly": directly, "control": Control()})
    chosen = settings(
        max_examples=histories,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    try:
        run_state_machine_as_test(with_seed(seed)(machine), settings=chosen)
    except Exception:  # whatever it is, it is what was looked for
        return tally, traceback.format_exc()
    return tally, None


def prepare() -> None:
    """In each process: the emulator, in moto's mock."""
    WHOLE_PROCESS.enter_context(no_needless_work())
    install()
    mock_aws().start()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description="Try generated histories.")
    parser.add_argument("--of", choices=sorted(MACHINES), default="stores", help="of what (default: %(default)s)")
    parser.add_argument("--histories", type=int, default=100_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first batch (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one for each processor)"
    )
    parser.add_argument(
        "--shrink", action="store_true", help="look for the shortest history that fails, which takes minutes"
    )
    arguments = parser.parse_args()
    total = Tally()
    begin = time.monotonic()
    batches = max(1, arguments.histories // BATCH)
    size = min(BATCH, arguments.histories)
    failures = 0
    with ProcessPoolExecutor(arguments.workers, initializer=prepare) as pool:
        seeds = range(arguments.seed, arguments.seed + batches)
        for seed, tally, failure in pool.map(
            functools.partial(batch, arguments.of, histories=size, shrink=arguments.shrink), seeds
        ):
            total += tally
            if failure is not None:
                failures += 1
                sys.stdout.write(f"{failure}\nThis is from: --of {arguments.of} --seed {seed} --histories {size}\n\n")
            if (seed - arguments.seed) % 20 == 19:
                sys.stderr.write(f"{total.histories:,} histories, {time.monotonic() - begin:.0f} s\n")
    sys.stdout.write(f"{total}\n{failures} of {batches} batches failed; seeds {seeds[0]} to {seeds[-1]}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
