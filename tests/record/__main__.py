# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs behind C(make record) and C(make replay).

Usage: python -m tests.record record KEY_STORE [--folder FOLDER]. It takes a custom key store of your own AWS account out of
service for some minutes, and asks first. --yes-disconnect KEY_STORE, given twice, answers for you: that is for tests.

Usage: python -m tests.record replay [RECORDING ...]. It runs against the emulator alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kms_emulator import EmulatorServer
from kms_emulator.client import aws_variables
from tests.record.recorder import ask_on_terminal
from tests.record.recorder import record
from tests.record.recorder import say
from tests.record.recording import FOLDER
from tests.record.recording import read
from tests.record.replay import compare
from tests.record.replay import lines

HOW = """This records what AWS KMS answers about one custom key store of your own account, which it takes out of service for some
minutes. It tells you what it does, and asks you, before it does anything:

  make record KEY_STORE=name"""


def replay(paths: Sequence[Path]) -> int:
    """Hold the emulator against recordings.

    Returns:
        The exit code.
    """
    if not paths:
        say(f"There is no recording in {FOLDER}. Nothing was compared.")
        return 2
    exit_code = 0
    # Nothing of the user's settings, such as a profile that is not there: none of this has to do with an account.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    with EmulatorServer() as server:
        os.environ.update(aws_variables(server.url))
        for path in paths:
            exit_code = max(exit_code, replay_one(path, server.url))
    return exit_code


def replay_one(path: Path, url: str) -> int:
    try:
        recording = read(path)
        say(f"{path}: {recording['store_type']}, {recording.get('recorded')}, {recording.get('partition')}\n")
        comparison = compare(recording, url)
    except (OSError, ValueError) as error:
        say(str(error))
        return 2
    except (KeyError, TypeError, AttributeError) as error:
        say(f"{path} is not as a recording is: {error!r}")
        return 2
    for line in lines(comparison):
        say(line)
    say("")
    return 0 if comparison.is_fine else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.record", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="record KMS, with a custom key store of your account")
    recording.add_argument("key_store", nargs="?", help="its name")
    recording.add_argument(
        "--folder", type=Path, default=FOLDER, help="where the recording goes (default: %(default)s)"
    )
    recording.add_argument("--yes-disconnect", action="append", default=[], metavar="KEY_STORE", help="for tests")
    replaying = commands.add_parser("replay", help="hold the emulator against recordings")
    replaying.add_argument("recordings", nargs="*", type=Path, metavar="RECORDING", help="all, by default")
    given = parser.parse_args(arguments)
    if given.command == "replay":
        return replay(given.recordings or sorted(FOLDER.glob("*.json")))
    if not given.key_store:
        say(HOW)
        return 2
    return record(given.key_store, given.folder, given=given.yes_disconnect, ask=ask_on_terminal())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
