# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run proselint over what users read: guides, READMEs, and the documentation of plugins and roles.

Usage: C(python -m dev.checks.prose). Its exit code is 1 if anything is found.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

from proselint.checks import __register__ as every_check
from proselint.config import DEFAULT
from proselint.config import Config
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check
from proselint.registry.checks import types
from proselint.tools import LintFile

from dev.checks.yaml_in_text import of_plugin

ROOT = Path(__file__).resolve().parents[2]
TEXTS = (
    "*.md",
    "docs/index.rst",
    "docs/docsite/rst/*.rst",
    "emulator/README.md",
    "extensions/**/*.md",
    "playbooks/*.yml",
    "plugins/doc_fragments/*.py",
    "plugins/modules/*.py",
    "roles/*/README.md",
    "roles/*/meta/argument_specs.yml",
    "roles/*/tasks/*.yml",
)

CODE = re.compile(
    r"^( *)\.\. code-block::[^\n]*\n(?:[ ]*\n|\1 +[^\n]*\n)+|^( *)```[^`]*?^\2```"
    r"|``[^`]*?``|`[^`\n]+`|\b[A-Z]\([^)\n]*\)|:\w+:`[^`]*?`|{{.*?}}",
    re.DOTALL | re.MULTILINE,
)
"""Blocks, literals and references, which are no prose."""

NOT_PLAIN = (
    "all the same",
    "bring about",
    "brings about",
    "foretell",
    "foretells",
    "foretold",
    "goes on from",
    "in vain",
    "keep in mind",
    "look at",
    "look whether",
    "looks at",
    "looks whether",
    "mend",
    "mended",
    "mends",
    "of no use",
    "what became of",
    "such a store",
    "tell of",
    "tells of",
    "whatever",
    "whichever",
    "whoever",
)
"""What a reader stumbles over, where the field has a word of its own or a plainer one is at hand."""

CHECKS: Config = {
    # Quotation marks and dots in code are what they are. "restricted" allows the thousand most common words alone.
    "checks": {**DEFAULT["checks"], "typography": False, "restricted": False, "plain": True},
    "max_errors": 1000,
}


PLANTED = ".. code-block:: shell\n\n   whatever\n\nSuch a store is ``whatever`` you mend.\n"
"""Has two mistakes, after code that has one: a check that does not find just them is broken."""


def without_code(text: str) -> str:
    """A text with code replaced by dots, so that each word stays where it is."""
    return CODE.sub(lambda found: re.sub(r"[^\n]", "·", found[0]), text)


def findings(name: str, text: str, before: int = 0) -> Iterator[str]:
    """What is found in a text, as file, line, rule and message.

    Args:
        name: of the file.
        text: a part of it.
        before: the number of the line before its first.
    """
    for found in LintFile(name, without_code(text)).lint(CHECKS):
        line, _column = found.pos
        yield f"{name}:{before + line}: {found.check_result.check_path}: {found.check_result.message}"


def parts(path: Path) -> Iterable[tuple[int, str]]:
    """The prose of a file: each part with the number of the line before its first. In a plugin, that is its documentation."""
    return of_plugin(path) if path.suffix == ".py" else [(0, path.read_text("utf-8"))]


def main() -> int:
    """Check all texts. Returns the exit code."""
    registry = CheckRegistry()
    registry.register_many(every_check)
    message = "'{}' is not plain. Use the field's word."
    registry.register(Check(check_type=types.Existence(items=NOT_PLAIN), path="plain", message=message))
    if len(list(findings("planted", PLANTED))) != 2:
        print("The check does not find the mistakes that are planted in it.")
        return 2
    printed = [
        line
        for path in sorted(path for pattern in TEXTS for path in ROOT.glob(pattern))
        for before, text in parts(path)
        for line in findings(str(path.relative_to(ROOT)), text, before)
    ]
    print("\n".join(printed))
    return 1 if printed else 0


if __name__ == "__main__":
    sys.exit(main())
