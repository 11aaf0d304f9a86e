# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Create a collections path inside the virtual environment, for a checkout at any path.

amazon.aws, and ansible.posix for the test of its JSON callback, are from the C(ansible) package, because pip may work where
Ansible Galaxy is not available. keyops.aws is a link to this checkout.
 Usage: C(python dev/install_collections.py [VERSION OF ansible])
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ANSIBLE_VERSION = "13.8.0"
"""Has amazon.aws 10.3.2. Other collections in the package require a newer Python, so it is unpacked and not installed."""


FOLDERS = ("ansible_collections/amazon/aws/", "ansible_collections/ansible/posix/")


def install_from_package(collections: Path, version: str) -> None:
    """Unpack collections from this version of the C(ansible) package."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
        subprocess.run([*pip, "--dest", folder, f"ansible=={version}"], check=True)
        (wheel,) = Path(folder).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(FOLDERS)]
            archive.extractall(collections, members)


def link_checkout(collections: Path) -> None:
    """Link this checkout as keyops.aws."""
    link = collections / "ansible_collections" / "keyops" / "aws"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(ROOT, target_is_directory=True)


def add_to_python_path(collections: Path) -> None:
    """Add the path to this environment. Ansible finds collections in Python's path."""
    (Path(sysconfig.get_path("purelib")) / "collections.pth").write_text(f"{collections}\n")


if __name__ == "__main__":
    target = Path(sys.prefix) / "collections"
    install_from_package(target, sys.argv[1] if len(sys.argv) > 1 else ANSIBLE_VERSION)
    link_checkout(target)
    add_to_python_path(target)
