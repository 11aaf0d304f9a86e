# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find variables of roles and playbooks whose names could conflict with the user's variables.

Facts, registered and extra variables of the user take precedence over the C(vars) of a task. So each variable that a role or
playbook sets for itself must have a prefix. Usage: C(python -m dev.checks.names [FOLDER]); FOLDER is that of a collection.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PREFIX_OF_PLAYBOOKS = "keyops_aws_"
SET_FACT = ("set_fact", "ansible.builtin.set_fact")
BLOCKS = ("block", "rescue", "always")


def names_of(task: dict[str, Any]) -> Iterator[str]:
    """Yield the variables that a task sets: its C(vars), registered variables, facts, and loop variables."""
    yield from task.get("vars", {})
    if "register" in task:
        yield task["register"]
    for action in SET_FACT:
        yield from (name for name in task.get(action, {}) if name != "cacheable")
    control = task.get("loop_control", {})
    yield from (control[name] for name in ("loop_var", "index_var") if name in control)
    if any(key == "loop" or key.startswith("with_") for key in task) and "loop_var" not in control:
        yield "item"
    for section in BLOCKS:
        for inner in task.get(section) or []:
            yield from names_of(inner)


def tasks_in(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a task file or playbook."""
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
        if "hosts" in entry:
            for section in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                yield from entry.get(section, [])
        else:
            yield entry


def names_in(path: Path) -> list[str]:
    """Return the variables that a file sets."""
    if path.parent.name in ("vars", "defaults"):
        return list(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return [name for task in tasks_in(path) for name in names_of(task)]


def wrong_names(root: Path) -> list[str]:
    """Return a line for each wrong name."""
    roles = sorted(root.glob("roles/*"))
    of_roles = tuple(f"{role.name}_" for role in roles)
    files: list[tuple[Path, tuple[str, ...]]] = [
        (path, (f"{role.name}_",))
        for role in roles
        for folder in ("defaults", "vars", "tasks", "handlers")
        for path in sorted(role.glob(f"{folder}/**/*.yml"))
    ]
    files += [(path, (PREFIX_OF_PLAYBOOKS, *of_roles)) for path in sorted(root.glob("playbooks/**/*.yml"))]
    return [
        f"{path.relative_to(root)}: {name} must begin with {' or '.join(prefixes)}, or a variable of the user may replace it."
        for path, prefixes in files
        for name in names_in(path)
        if not name.startswith(prefixes)
    ]


def main(arguments: list[str]) -> int:
    wrong = wrong_names(Path(arguments[0]) if arguments else ROOT)
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
