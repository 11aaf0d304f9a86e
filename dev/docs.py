# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the documentation as HTML in C(build/docs/html): plugins by antsibull-docs, all pages by Sphinx. Warnings are errors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import ansible.modules

from dev.environment import COLLECTIONS
from dev.environment import ROOT
from dev.environment import TOOLS

DOCS = ROOT / "docs"
BUILD = ROOT / "build" / "docs"
SOURCE = BUILD / "source"

PAGES_OF_ANSIBLE = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
"""Labels of Ansible's documentation that antsibull-docs uses, and their pages."""

OF_THE_ROLE = "maintenance_window"
"""The module behind the steps of the role. It is no public interface."""


def modules_elsewhere() -> Iterator[tuple[str, str]]:
    """Yield the modules of other collections in Ansible's documentation, each with the name of its collection."""
    for collection, folder in (
        ("ansible.builtin", Path(ansible.modules.__path__[0])),
        ("amazon.aws", COLLECTIONS / "ansible_collections" / "amazon" / "aws" / "plugins" / "modules"),
    ):
        for path in folder.glob("[a-z]*.py"):
            yield collection, path.stem


def inventory() -> bytes:
    """Return an inventory for Sphinx, version 2, with the labels of Ansible's documentation that pages may use."""
    pages = dict(PAGES_OF_ANSIBLE)
    for collection, module in modules_elsewhere():
        pages[f"ansible_collections.{collection}.{module}_module"] = (
            f"collections/{collection.replace('.', '/')}/{module}_module.html"
        )
    lines = "".join(f"{label} std:label -1 {page} {label}\n" for label, page in sorted(pages.items()))
    head = "# Sphinx inventory version 2\n# Project: Ansible\n# Version: latest\n# The remainder is compressed with zlib.\n"
    return head.encode() + zlib.compress(lines.encode())


def run(*command: str | Path) -> None:
    """Run a program and show its output. Raises CalledProcessError if it fails."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",  # antsibull-docs runs ansible-doc
    }
    subprocess.run([str(word) for word in command], cwd=DOCS, env=environment, check=True)


def without_navigation(page: str) -> str:
    """Remove the table of contents and the list of guides from a page of antsibull-docs: the theme shows both."""
    page = re.sub(r"^\.\. contents::\n(?:   :.*\n)+", "", page, flags=re.MULTILINE)
    return re.sub(r"^\.\. toctree::\n.*(?=^\.\. _plugin_index_for_)", "", page, flags=re.MULTILINE | re.DOTALL)


def leave_out(plugin: str) -> None:
    """Remove the page of a plugin, and its lines in the reference."""
    (SOURCE / f"{plugin}_module.rst").unlink()
    reference = SOURCE / "reference.rst"
    lines = reference.read_text("utf-8").splitlines(keepends=True)
    reference.write_text("".join(line for line in lines if plugin not in line), "utf-8")


def make_source() -> None:
    """Collect all pages: plugins, guides, and the front page."""
    shutil.rmtree(BUILD, ignore_errors=True)
    SOURCE.mkdir(parents=True, mode=0o755)
    make = (TOOLS / "antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error")
    run(*make, "--no-add-antsibull-docs-version", "--dest-dir", SOURCE, "keyops.aws")
    (SOURCE / "index.rst").rename(SOURCE / "reference.rst")
    for page in SOURCE.glob("*.rst"):
        page.write_text(without_navigation(page.read_text("utf-8")), "utf-8")
    leave_out(OF_THE_ROLE)
    shutil.copy(DOCS / "index.rst", SOURCE)
    for picture in (DOCS / "docsite" / "rst").glob("*.svg"):
        shutil.copy(picture, SOURCE / "docsite")
    (BUILD / "ansible.inv").write_bytes(inventory())
    shutil.copy(DOCS / "conf.py", BUILD)
    shutil.copytree(DOCS / "static", BUILD / "static")


def main() -> int:
    """Build the documentation. Returns the exit code."""
    try:
        make_source()
        run(TOOLS / "sphinx-build", "-M", "html", SOURCE, BUILD, "-c", BUILD, "-W", "--keep-going", "-q")
    except subprocess.CalledProcessError as error:
        return error.returncode
    print(f"The documentation is in {(BUILD / 'html' / 'index.html').relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
