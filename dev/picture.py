# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the output of the demo as C(docs/docsite/rst/window.svg), for the README.

Usage: C(python -m dev.picture). It runs the demo, and draws the tasks that show what happens to the stores.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

from rich.console import Console
from rich.text import Text

from dev.environment import ROOT

PICTURE = ROOT / "docs" / "docsite" / "rst" / "window.svg"

TASKS = (
    "Show the plan",
    "Disconnect the key stores",
    "Work, while no key of these stores can be used",
    "Reconnect the key stores",
    "Show the summary",
)
"""The tasks to draw. The others are only preparation, and one shows a path of the machine."""

WIDTH = 122

FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="What a maintenance window prints">
<style>
text {{ font: {char_height}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre; }}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#16191d" width="{width}" height="{height}" rx="8"/>
<g transform="translate(12, 12)">
{backgrounds}
{matrix}
</g>
</svg>
"""
"""The SVG template. rich's own downloads fonts."""


def output() -> str:
    """Run the demo. Returns its output, in colours. Raises CalledProcessError if it fails."""
    environment = {**os.environ, "FORCE_COLOR": "1"}
    command = [sys.executable, "-m", "dev.demo"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def chosen(printed: str) -> str:
    """Return the output of the tasks to draw. Raises ValueError if one is missing."""
    first = re.split(r"(?m)^\$ ansible-playbook ", printed)[1]
    command = f"$ ansible-playbook {first.split()[0]}"
    parts = re.split(r"(?m)^(?=TASK \[|PLAY RECAP)", first)
    drawn = [[part for part in parts if f": {task}] " in part.splitlines()[0]] for task in TASKS]
    if any(len(found) != 1 for found in drawn):
        raise ValueError(f"The demo does not print each of these tasks once: {', '.join(TASKS)}.")
    text = "".join(part for found in drawn for part in found)
    return f"{command}\n\n{text.replace('keyops.aws.key_store_maintenance : ', '')}".rstrip() + "\n"


def main() -> int:
    """Run the demo and draw it. Returns the exit code."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(chosen(output())), soft_wrap=False)
    PICTURE.write_text(console.export_svg(code_format=FRAME, unique_id="window"), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
