# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection, and check it with galaxy-importer and ansible-builder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from dev.environment import BIN
from dev.environment import COLLECTIONS
from dev.environment import ROOT
from dev.environment import TOOLS

IMPORTER = """\
[galaxy-importer]
log_level_main = INFO
check_required_tags = True
run_ansible_doc = True
run_ansible_lint = True
run_flake8 = False
"""

ENVIRONMENT = """\
---
version: 3
dependencies:
  ansible_core:
    package_pip: ansible-core
  ansible_runner:
    package_pip: ansible-runner
  galaxy:
    collections:
      - name: keyops-aws.tar.gz
        type: file
"""


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    """Run a command. Returns its output. Raises SystemExit with the output if the command fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(str(word) for word in command)}\n{done.stdout}")
    return done.stdout


def build(folder: Path) -> Path:
    """Build the collection into a folder. Returns the file."""
    run(ROOT, BIN / "ansible-galaxy", "collection", "build", "--output-path", folder)
    (built,) = folder.glob("keyops-aws-*.tar.gz")
    return built


def run_galaxy_importer(built: Path) -> None:
    """Raises SystemExit if galaxy-importer reports an error or a warning."""
    config = built.parent / "galaxy-importer.cfg"
    config.write_text(IMPORTER, encoding="utf-8")
    output = run(
        built.parent,
        TOOLS / "python",
        *("-m", "galaxy_importer.main", built),
        GALAXY_IMPORTER_CONFIG=str(config),
        PYTHONPATH=str(COLLECTIONS),  # ansible-doc needs the fragments of amazon.aws
    )
    complaints = [line for line in output.splitlines() if re.match(r"ERROR|WARNING", line)]
    if complaints or "Importer processing completed successfully" not in output:
        raise SystemExit(output)


def run_ansible_builder(built: Path) -> None:
    """Raises SystemExit if ansible-builder does not detect all requirements of the modules."""
    installed = built.parent / "installed"
    # --force, because this environment has the checkout under the same name
    run(ROOT, BIN / "ansible-galaxy", "collection", "install", built, "--force", "--no-deps", "-p", installed)
    found = run(installed, TOOLS / "ansible-builder", "introspect", installed)
    needed = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    missing = [line for line in needed if line not in found]
    if missing:
        raise SystemExit(f"ansible-builder does not see {', '.join(missing)}:\n{found}")
    definition = built.parent / "execution-environment.yml"
    definition.write_text(ENVIRONMENT, encoding="utf-8")
    built.rename(built.parent / "keyops-aws.tar.gz")
    run(built.parent, TOOLS / "ansible-builder", "create", "-f", definition)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        file = build(Path(place))
        run_galaxy_importer(file)
        run_ansible_builder(file)
        sys.exit(0)
