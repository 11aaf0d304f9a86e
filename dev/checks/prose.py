# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run proselint on all texts for users: guides, READMEs, and the documentation of plugins and roles.

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
"""Code blocks, literals and references, which are not prose."""

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
"""Phrases for which there is a technical term or a plainer word."""

CHECKS: Config = {
    # "typography" rejects quotation marks and dots in code. "restricted" allows only the thousand most common words.
    "checks": {**DEFAULT["checks"], "typography": False, "restricted": False, "plain": True},
    "max_errors": 1000,
}


PLANTED = ".. code-block:: shell\n\n   whatever\n\nSuch a store is ``whatever`` you mend.\n"
"""A text with two mistakes, after code with one. If the check does not find exactly these two, it is broken."""


def without_code(text: str) -> str:
    """Replace code by dots, so that the positions of words do not change."""
    return CODE.sub(lambda found: re.sub(r"[^\n]", "·", found[0]), text)


def findings(name: str, text: str, before: int = 0) -> Iterator[str]:
    """Yield the findings in a text: file, line, rule and message.

    Args:
        name: name of the file.
        text: a part of the file.
        before: number of the line before the text.
    """
    for found in LintFile(name, without_code(text)).lint(CHECKS):
        line, _column = found.pos
        yield f"{name}:{before + line}: {found.check_result.check_path}: {found.check_result.message}"


def parts(path: Path) -> Iterable[tuple[int, str]]:
    """Return the prose of a file: parts with the number of the line before. For a plugin, its documentation."""
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
