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
"""Labels of Ansible's documentation that antsibull-docs refers to, and where they are."""


def modules_elsewhere() -> Iterator[tuple[str, str]]:
    """The namespace and name of other collections whose pages are with Ansible's, each with the name of a module."""
    for collection, folder in (
        ("ansible.builtin", Path(ansible.modules.__path__[0])),
        ("amazon.aws", COLLECTIONS / "ansible_collections" / "amazon" / "aws" / "plugins" / "modules"),
    ):
        for path in folder.glob("[a-z]*.py"):
            yield collection, path.stem


def inventory() -> bytes:
    """What Sphinx needs to link to Ansible's pages: its file of labels, version 2, with those that we may want."""
    pages = dict(PAGES_OF_ANSIBLE)
    for collection, module in modules_elsewhere():
        pages[f"ansible_collections.{collection}.{module}_module"] = (
            f"collections/{collection.replace('.', '/')}/{module}_module.html"
        )
    lines = "".join(f"{label} std:label -1 {page} {label}\n" for label, page in sorted(pages.items()))
    head = "# Sphinx inventory version 2\n# Project: Ansible\n# Version: latest\n# The remainder is compressed with zlib.\n"
    return head.encode() + zlib.compress(lines.encode())


def run(*command: str | Path) -> None:
    """Run a program with its output shown. Raises CalledProcessError if it fails."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",  # antsibull-docs asks ansible-doc
    }
    subprocess.run([str(word) for word in command], cwd=DOCS, env=environment, check=True)


def without_what_the_theme_shows(page: str) -> str:
    """A page of antsibull-docs without its list of contents and without the guides, which are beside each page anyway."""
    page = re.sub(r"^\.\. contents::\n(?:   :.*\n)+", "", page, flags=re.MULTILINE)
    return re.sub(r"^\.\. toctree::\n.*(?=^\.\. _plugin_index_for_)", "", page, flags=re.MULTILINE | re.DOTALL)


def make_source() -> None:
    """Bring all pages together: those of the plugins and the guides, and the front page."""
    shutil.rmtree(BUILD, ignore_errors=True)
    SOURCE.mkdir(parents=True, mode=0o755)
    make = (TOOLS / "antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error")
    run(*make, "--no-add-antsibull-docs-version", "--dest-dir", SOURCE, "keyops.aws")
    (SOURCE / "index.rst").rename(SOURCE / "reference.rst")
    for page in SOURCE.glob("*.rst"):
        page.write_text(without_what_the_theme_shows(page.read_text("utf-8")), "utf-8")
    shutil.copy(DOCS / "index.rst", SOURCE)
    for picture in (DOCS / "docsite" / "rst").glob("*.svg"):
        shutil.copy(picture, SOURCE / "docsite")
    (BUILD / "ansible.inv").write_bytes(inventory())
    shutil.copy(DOCS / "conf.py", BUILD)
    shutil.copytree(DOCS / "static", BUILD / "static")


def main() -> int:
    """Build. Returns the exit code."""
    try:
        make_source()
        run(TOOLS / "sphinx-build", "-M", "html", SOURCE, BUILD, "-c", BUILD, "-W", "--keep-going", "-q")
    except subprocess.CalledProcessError as error:
        return error.returncode
    print(f"The documentation is in {(BUILD / 'html' / 'index.html').relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
