# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run C(ansible-test sanity), without an ignore file, on a copy of all files that git does not ignore.

ansible-test requires the collection in a folder with its name, next to its dependencies. It would also download a program that
installs pip. This check uses C(ensurepip) instead, in a separate home folder. So it requires only a package index, and writes no
files outside of the virtual environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

from ansible_test._internal.python_requirements import get_venv_packages

from dev.environment import BIN
from dev.environment import COLLECTIONS
from dev.environment import ROOT

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HOME = BIN.parent / "sanity-home"
COPY = BIN.parent / "sanity" / "ansible_collections" / "keyops" / "aws"

INSTALL_PIP = """\
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip"])
packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *packages]))
"""


def make_copy() -> None:
    """Copy the files of this checkout into a new repository, because ansible-test lists files with git."""
    shutil.rmtree(COPY, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            target = COPY / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    subprocess.run(["git", "init", "--quiet"], cwd=COPY, check=True)
    subprocess.run(["git", "add", "--all"], cwd=COPY, check=True)
    amazon = COPY.parent.parent / "amazon"
    if not amazon.is_symlink():
        amazon.symlink_to(COLLECTIONS / "ansible_collections" / "amazon", target_is_directory=True)


def make_home() -> None:
    """Create a home folder with pip's configuration and the program that installs pip."""
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    version = get_venv_packages(types.SimpleNamespace(version=PYTHON))["pip"]
    (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(INSTALL_PIP, encoding="utf-8")
    for name in (".config", ".pip"):
        own = Path.home() / name
        if own.is_dir() and not (HOME / name).is_symlink():
            (HOME / name).symlink_to(own, target_is_directory=True)


def main() -> int:
    """Run the check. Returns the exit code of ansible-test."""
    make_copy()
    make_home()
    if list((COPY / "tests" / "sanity").glob("ignore*")):
        print("There is an ignore file in tests/sanity: fix what it hides instead.")
        return 1
    environment = {**os.environ, "HOME": str(HOME), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [str(BIN / "ansible-test"), "sanity", "--venv", "--python", PYTHON, "--color", "no"]
    done = subprocess.run(
        command, cwd=COPY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = done.stdout.splitlines()
    print("\n".join([line for line in lines if line.startswith(("ERROR", "FATAL"))] or lines))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
