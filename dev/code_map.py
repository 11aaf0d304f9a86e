# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a table of the files of the collection and their imports into CONTRIBUTING.md.

Usage: C(python -m dev.code_map). A test fails if the map is not up to date.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN, END = (
    "<!-- The map, up to the next comment, is drawn by python -m dev.code_map. -->\n",
    "<!-- The map ends here. -->\n",
)
FOLDERS = ("action", "modules", "plugin_utils", "module_utils/_custom_key_store")
PACKAGE = "ansible_collections.keyops.aws.plugins."


def files() -> dict[str, Path]:
    """Return the files of the collection by name: the path below C(plugins), without C(_custom_key_store) and suffix."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / "plugins" / folder).glob("*.py")):
            if path.stem != "__init__":
                prefix = "" if folder == FOLDERS[-1] else f"{folder}/"
                found[f"{prefix}{path.stem}"] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the names of the files of the collection that a file imports, at any level.

    Args:
        path: the file.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            yield from [node.module] if node.module else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            folder, *rest = (node.module or "").removeprefix(PACKAGE).split(".")
            names = rest[-1:] if rest and rest != ["_custom_key_store"] else [alias.name for alias in node.names]
            for name in names:
                yield name if folder == "module_utils" else f"{folder}/{name}"


def uses() -> dict[str, list[str]]:
    """Return the files that each file uses."""
    known = files()
    return {name: sorted(set(imported(path)) & set(known) - {name}) for name, path in known.items()}


def purpose(path: Path) -> str:
    """Return the first paragraph of the docstring, or the short description of a plugin."""
    text = path.read_text(encoding="utf-8")
    short = re.search(r"^short_description: (.*)$", text, re.MULTILINE)
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return short[1] if short else " ".join(docstring.split("\n\n")[0].split()).rstrip(".:")


def in_order(graph: dict[str, list[str]]) -> list[str]:
    """Return the files in an order in which each uses only later files.

    Raises:
        CycleError: the imports have a cycle.
    """
    return list(TopologicalSorter(graph).static_order())[::-1]


def code_map() -> str:
    """Return the map in Markdown. Each file uses only files below it."""
    graph, known = uses(), files()
    rows = [f"| `{name}` | {purpose(known[name])} | {', '.join(graph[name]) or '-'} |" for name in in_order(graph)]
    return "\n".join(["| file | what it is for | what it uses |", "|---|---|---|", *rows]) + "\n"


def written(text: str) -> str:
    """Return a text with the current map between its comments.

    Args:
        text: the text of C(CONTRIBUTING.md).
    """
    before, _begin, rest = text.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{code_map()}\n{END}{after}"


if __name__ == "__main__":
    CONTRIBUTING.write_text(written(CONTRIBUTING.read_text(encoding="utf-8")), encoding="utf-8")
