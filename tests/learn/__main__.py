# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Learns how a KMS treats a custom key store, and compares it with AWS's table.

Usage: python -m tests.learn [--endpoint-url URL] [--type TYPE] [--keys] [--settled] [--draw]. Without a URL, it is an emulator of
ours, which is started for it. The exit code is 1 if anything differs, and 2 if nothing can be learned.
"""

from __future__ import annotations

import argparse
import os
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from dev.environment import ROOT
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.client import aws_variables
from tests.learn.comparing import Difference
from tests.learn.comparing import as_table
from tests.learn.comparing import differences
from tests.learn.drawing import draw
from tests.learn.learning import NotLearned
from tests.learn.learning import learn
from tests.learn.machine import Machine
from tests.learn.published import CLOUDHSM
from tests.learn.published import EXTERNAL
from tests.learn.published import Published
from tests.learn.published import inputs
from tests.learn.published import published
from tests.learn.store import EmulatedStore
from tests.learn.store import Store

PICTURES = {
    CLOUDHSM: ROOT / "docs" / "docsite" / "rst" / "learned_states_cloudhsm.svg",
    EXTERNAL: ROOT / "docs" / "docsite" / "rst" / "learned_states_external.svg",
}
TITLES = {
    CLOUDHSM: "A key store in AWS CloudHSM, as learned from the emulator",
    EXTERNAL: "An external key store, as learned from the emulator",
}


def client(endpoint_url: str, **credentials: str | None) -> Any:
    """A client that asks once. What it is not given, credentials or Region, comes from the environment."""
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("kms", endpoint_url=endpoint_url, config=config, **credentials)  # type: ignore[call-overload]


def emulator_client(url: str) -> Any:
    """A client of an emulator of ours, whatever is in the environment."""
    variables = aws_variables(url)
    return client(
        url,
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


@contextmanager
def store(arguments: argparse.Namespace) -> Iterator[Store]:
    """The store to learn, and the emulator around it, if it is ours."""
    if arguments.endpoint_url:
        kms = client(
            arguments.endpoint_url, region_name=os.environ.get("AWS_REGION")
        )  # botocore reads another variable
        yield Store(kms, arguments.type, patience=arguments.patience, settled=arguments.settled)
        return
    with EmulatorServer() as server:
        kms = emulator_client(server.url)
        yield EmulatedStore(kms, HttpControl(server.url), arguments.type, settled=arguments.settled)


def report(machine: Machine, table: Published, words: int) -> tuple[str, int]:
    """What is printed of a learned machine, and the exit code."""
    found = differences(machine, table)
    wrong = [each for each in found if not each.allowed]
    allowed = [each for each in found if each.allowed]
    size = f"{len(machine.states)} states, {len(machine.moves)} transitions, {words} queries"
    summary = f"{len(wrong)} differences" if wrong else "equal"
    return (
        _titled("other than AWS's table", wrong)
        + _titled("as another of AWS's texts allows", allowed)
        + f"{summary}: {size}\n",
        1 if wrong else 0,
    )


def _titled(title: str, found: list[Difference]) -> str:
    return f"{len(found)} {title}:\n{as_table(found)}\n\n" if found else ""


def parser() -> argparse.ArgumentParser:
    """What the program takes."""
    made = argparse.ArgumentParser(
        prog="python -m tests.learn", description="Compare a KMS with AWS's table of states."
    )
    made.add_argument("--endpoint-url", help="of another emulator; credentials and Region come from the environment")
    made.add_argument("--type", choices=(CLOUDHSM, EXTERNAL), help="of the store (default: both, in turn)")
    made.add_argument(
        "--keys", action="store_true", help="give the store a KMS key, too, which takes a minute; ours only"
    )
    made.add_argument(
        "--settled",
        action="store_true",
        help="wait after each request, where connects and disconnects end by themselves",
    )
    made.add_argument(
        "--patience", type=float, default=10, help="how long to wait at most (default: %(default)s seconds)"
    )
    made.add_argument("--extra", type=int, default=0, help="how many more states to look for (default: %(default)s)")
    made.add_argument("--draw", action="store_true", help="draw it into the documentation; ours only")
    return made


def checked(arguments: list[str] | None) -> argparse.Namespace:
    """The arguments, if they go together. Exits with 2 otherwise."""
    made = parser()
    given = made.parse_args(arguments)
    host = urllib.parse.urlsplit(given.endpoint_url or "").hostname or ""
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
        made.error("This makes and deletes many key stores: it is for emulators, and not for AWS.")
    if given.endpoint_url and (given.keys or given.draw):
        made.error(
            "--keys and --draw are for our own emulator: a store with a key could not be cleared away elsewhere."
        )
    if given.draw and (given.keys or given.settled):
        made.error("--draw goes with neither --keys nor --settled.")
    return given


def run(arguments: argparse.Namespace) -> int:
    """Learn one type, print how it compares, and draw it if that was asked for. Returns the exit code."""
    letters = inputs(arguments.type, steered=not arguments.endpoint_url, keys=arguments.keys)
    table = published(arguments.type, letters, settled=arguments.settled)
    with store(arguments) as system:
        machine = learn(system, table.machine, extra=arguments.extra)
        text, code = report(machine, table, system.words)
    sys.stdout.write(f"{arguments.type}\n{text}")
    if arguments.draw:
        PICTURES[arguments.type].write_text(draw(machine, TITLES[arguments.type]), "utf-8")
    return code


def main(given: list[str] | None = None) -> int:
    """Learn each type. Returns the exit code."""
    arguments = checked(given)
    codes = []
    for store_type in [arguments.type] if arguments.type else [CLOUDHSM, EXTERNAL]:
        try:
            codes.append(run(argparse.Namespace(**{**vars(arguments), "type": store_type})))
        except (BotoCoreError, NotLearned) as error:
            sys.stderr.write(f"{store_type}: {error}\n")
            return 2
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
