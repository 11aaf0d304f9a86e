# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What moto lacks stands in a folder that can be copied into moto.

It is copied here, with the change that the guide names, and its own tests are run on that moto, and nothing else of the emulator.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import moto
import pytest

import kms_emulator
from dev.environment import ROOT

MOTO = Path(moto.__file__).parent
FOLDER = Path(kms_emulator.__file__).parent / "custom_key_stores"
GUIDE = ROOT / "docs" / "docsite" / "rst" / "guide_emulator.rst"

WITHOUT = 'kms_backends = BackendDict(KmsBackend, "kms")'
WITH = """\
from .custom_key_stores.models import CustomKeyStoreBackend  # noqa: E402

kms_backends = BackendDict(CustomKeyStoreBackend, "kms")"""


@pytest.fixture
def patched(tmp_path: Path) -> Path:
    """A folder with moto as the pull request would make it: a copy of its KMS, and links to all else."""
    copy = tmp_path / "moto"
    copy.mkdir()
    for entry in MOTO.iterdir():
        if entry.name not in ("kms", "__pycache__"):
            (copy / entry.name).symlink_to(entry)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(MOTO / "kms", copy / "kms", ignore=ignore)
    shutil.copytree(FOLDER, copy / "kms" / "custom_key_stores", ignore=ignore)
    models = copy / "kms" / "models.py"
    text = models.read_text("utf-8")
    assert text.count(WITHOUT) == 1
    models.write_text(text.replace(WITHOUT, WITH), "utf-8")
    return tmp_path


def test_the_folder_knows_nothing_of_the_emulator() -> None:
    for path in FOLDER.rglob("*.py"):
        text = path.read_text("utf-8")
        assert re.findall(r"(?m)^from \.\.|kms_emulator", text) == [], path


def test_the_guide_names_the_same_line() -> None:
    guide = GUIDE.read_text("utf-8")
    for line in (WITHOUT, *WITH.splitlines()):
        assert not line or f"   {line}\n" in guide


@pytest.mark.long
def test_moto_with_the_folder_in_it(patched: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:kms_emulator", "-p", "no:cacheprovider", "--rootdir=."]
    done = subprocess.run(
        [*command, "moto/kms/custom_key_stores/tests"],
        cwd=patched,
        env={**own, "PYTHONPATH": str(patched), "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b1\d passed\b", done.stdout), done.stdout
