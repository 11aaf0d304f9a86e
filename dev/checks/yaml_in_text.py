# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run yamllint on embedded YAML: the documentation of plugins, and the code blocks of guides."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from yamllint import linter
from yamllint.config import YamlLintConfig

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("DOCUMENTATION", "EXAMPLES", "RETURN")
BLOCK = re.compile(
    r"^( *)(?:\.\. code-block:: yaml\n(?:\1   :.*\n)*|```yaml\n)\n?((?:\1 *\S.*\n|\n)+?)(?=\1?\S|\Z|\1```)",
    re.MULTILINE,
)


def of_plugin(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the documentation strings of a plugin or fragment, each with the number of the line before it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if "doc_fragments" in path.parts or set(names) & set(NAMES):
                yield node.value.lineno, node.value.value.removeprefix("\n")


def of_text(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the YAML blocks of a guide or Markdown file, each with the number of the line before it."""
    text = path.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield text.count("\n", 0, found.start(2)), textwrap.dedent(found[2]).rstrip("\n") + "\n"


def main() -> int:
    """Print each problem. Returns 1 if there is one, or if there are no YAML blocks."""
    config = YamlLintConfig(file=str(ROOT / ".yamllint"))
    config.rules["document-start"] = False  # a block is only a part of a document
    blocks = problems = 0
    for place, pattern, extract in (
        ("plugins", "*.py", of_plugin),
        ("docs", "*.rst", of_text),
        (".", "*.md", of_text),
        ("roles", "*.md", of_text),
    ):
        files = (ROOT / place).glob(pattern) if place == "." else (ROOT / place).rglob(pattern)
        for path in sorted(files):
            for before, text in extract(path):
                blocks += 1
                for problem in linter.run(text, config):
                    problems += 1
                    print(f"{path.relative_to(ROOT)}:{before + problem.line}:{problem.column}: {problem.message}")
    print(f"{blocks} blocks of YAML, {problems} problems")
    return 1 if problems or not blocks else 0


if __name__ == "__main__":
    sys.exit(main())
