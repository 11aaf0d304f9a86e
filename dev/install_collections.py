# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a collections path inside the virtual environment, so that any checkout works, wherever it lies.

amazon.aws comes out of the C(ansible) package, which pip reaches where Ansible Galaxy may be out of reach, and so does
ansible.posix, for the test of its JSON callback; keyops.aws is a link to this checkout.
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
"""Has amazon.aws 10.3.2. Its own need of a newer Python is that of other collections in it, so it is not installed."""


FOLDERS = ("ansible_collections/amazon/aws/", "ansible_collections/ansible/posix/")


def install_from_package(collections: Path, version: str) -> None:
    """Unpack collections from the package C(ansible) of that version."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
        subprocess.run([*pip, "--dest", folder, f"ansible=={version}"], check=True)
        (wheel,) = Path(folder).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(FOLDERS)]
            archive.extractall(collections, members)


def link_checkout(collections: Path) -> None:
    """Let this checkout be found as keyops.aws."""
    link = collections / "ansible_collections" / "keyops" / "aws"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(ROOT, target_is_directory=True)


def let_python_find(collections: Path) -> None:
    """Put the path into this environment: Python imports from it, and Ansible finds collections wherever Python does."""
    (Path(sysconfig.get_path("purelib")) / "collections.pth").write_text(f"{collections}\n")


if __name__ == "__main__":
    target = Path(sys.prefix) / "collections"
    install_from_package(target, sys.argv[1] if len(sys.argv) > 1 else ANSIBLE_VERSION)
    link_checkout(target)
    let_python_find(target)
