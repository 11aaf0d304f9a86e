# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the emulator until it is told to end: `python -m kms_emulator --help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from .server import EmulatorServer


def command_line() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(prog="kms-emulator", description="AWS KMS with custom key stores.")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=5566, help="0 takes any free one (%(default)s)")
    parser.add_argument("--connect-seconds", type=float, default=2.0, help="how long a connect takes (%(default)s)")
    parser.add_argument("--disconnect-seconds", type=float, default=2.0, help="the same for a disconnect (%(default)s)")
    parser.add_argument("--log", action="store_true", help="print one line for each request to KMS or about a schedule")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="file to write the URL to, once ready")
    parser.add_argument("--pid-file", type=Path, metavar="PATH", help="file to write the process id to, before that")
    return parser


def main() -> int:
    """Run. Returns the exit code: 0 after SIGTERM or Ctrl-C, 2 if it cannot listen."""
    args = command_line().parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server = EmulatorServer(
        args.host,
        args.port,
        connect_seconds=args.connect_seconds,
        disconnect_seconds=args.disconnect_seconds,
        log=sys.stdout if args.log else None,
    )
    try:
        server.start()
    except (OSError, OverflowError) as error:
        print(f"The emulator cannot listen on {args.host}, port {args.port}: {reason(error)}.", file=sys.stderr)
        return 2
    if args.pid_file is not None:
        write(args.pid_file, str(os.getpid()))
    print(f"KMS emulator ready at {server.url}", flush=True)
    if args.ready_file is not None:
        write(args.ready_file, server.url)
    ended.wait()
    server.stop()
    return 0


def reason(error: OSError | OverflowError) -> str:
    """Why it cannot listen, in a few words. Errors of name resolution have negative numbers that os does not know."""
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def write(path: Path, line: str) -> None:
    """Write a file of one line, which appears complete or not at all."""
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text(f"{line}\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
