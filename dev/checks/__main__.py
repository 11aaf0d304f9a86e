# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the checks of maintainers, Ansible Galaxy and Automation Hub.

Usage: C(python -m dev.checks [NAME ...]); without a name, all of them. Shows the output of failed checks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dev.environment import BIN
from dev.environment import COLLECTIONS
from dev.environment import ROOT
from dev.environment import TOOLS

LINT_DOCS = "lint-collection-docs --plugin-docs --check-extra-docs-refs --disallow-unknown-collection-refs"

CHECKS = {
    "sanity": f"{BIN}/python -m dev.checks.sanity",
    "package": f"{BIN}/python -m dev.checks.package",
    "ansible-lint": f"{TOOLS}/ansible-lint",
    "mypy": f"{BIN}/mypy",
    "documentation": f"{TOOLS}/antsibull-docs {LINT_DOCS} --validate-collection-refs all .",
    "yaml": f"{TOOLS}/yamllint --strict .",
    "yaml-in-text": f"{TOOLS}/python -m dev.checks.yaml_in_text",
    "prose": f"{TOOLS}/python -m dev.checks.prose",
    "names": f"{TOOLS}/python -m dev.checks.names",
    "agreement": f"{BIN}/python -m pytest -q -n 0 -p no:cacheprovider tests/unit/test_collection.py",
    "changelog": f"{TOOLS}/antsibull-changelog lint",
    "licences": f"{TOOLS}/reuse lint",
    "ruff": f"{BIN}/ruff check .",
    "format": f"{BIN}/ruff format --check .",
}
"""Each check with its command, the longest first. A check succeeds if its command does."""


def run(name: str) -> tuple[str, bool]:
    """Run a check. Returns a line, with its output if it failed, and whether it succeeded."""
    began = time.monotonic()
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "NO_COLOR": "1",
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        CHECKS[name].split(),
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    succeeded = done.returncode == 0
    line = f"{'ok' if succeeded else 'FAILED':6} {name:14} {time.monotonic() - began:4.0f} s"
    return (line if succeeded else f"{line}\n{CHECKS[name]}\n{done.stdout}"), succeeded


def main(names: list[str]) -> int:
    """Run the checks with these names, two at a time. Returns the exit code."""
    unknown = sorted(set(names) - set(CHECKS))
    if unknown:
        print(f"There is no check {', '.join(unknown)}; there are: {', '.join(CHECKS)}.", file=sys.stderr)
        return 2
    failed = 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        for text, succeeded in pool.map(run, names or CHECKS):
            print(text, flush=True)
            failed += not succeeded
    print(f"{failed} of {len(names or CHECKS)} checks failed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
