# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the emulator until SIGTERM or Ctrl-C: `python -m kms_emulator --help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from .server import EmulatorServer


def command_line() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="kms-emulator", description="AWS KMS with custom key stores.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=5566, help="port to listen on; 0: any free port (%(default)s)")
    parser.add_argument("--connect-seconds", type=float, default=2.0, help="duration of a connect (%(default)s)")
    parser.add_argument("--disconnect-seconds", type=float, default=2.0, help="duration of a disconnect (%(default)s)")
    parser.add_argument("--log", action="store_true", help="print one line for each request to KMS or about a schedule")
    parser.add_argument("--ready-file", type=Path, metavar="PATH", help="file for the URL, written when ready")
    parser.add_argument("--pid-file", type=Path, metavar="PATH", help="file for the process ID, written before the URL")
    return parser


def main() -> int:
    """Run the server. Returns the exit code: 0 after SIGTERM or Ctrl-C, 2 if it cannot listen."""
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
    """Return a short reason for the error. Name resolution errors have negative numbers, which os.strerror does not know."""
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def write(path: Path, line: str) -> None:
    """Write one line to a file atomically."""
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text(f"{line}\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
