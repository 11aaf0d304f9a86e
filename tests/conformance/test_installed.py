# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package as a stranger has it: one line in a fresh virtual environment, then its command, its plugin, and its README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dev.environment import ROOT

README = ROOT / "emulator" / "README.md"

PROGRAM = """
import boto3
kms = boto3.client("kms")
(store,) = kms.describe_custom_key_stores()["CustomKeyStores"]
print(store["CustomKeyStoreName"], store["ConnectionState"])
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's folder, with what git would have of it."""
    copy = tmp_path_factory.mktemp("package") / "emulator"
    shutil.copytree(ROOT / "emulator", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    return copy


@pytest.fixture(scope="module")
def python(package: Path) -> Path:
    """The Python of a fresh virtual environment in which the package was installed, and pytest."""
    folder = package.parent / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = (str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "./emulator", "pytest"], cwd=package.parent, check=True)
    return folder / "bin" / "python"


def clean() -> dict[str, str]:
    """This environment, without settings of AWS, pytest and Python."""
    foreign = ("AWS_", "PYTEST_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def blocks(language: str) -> list[str]:
    """The blocks of the README in a language."""
    return re.findall(rf"(?ms)^```{language}\n(.+?)^```$", README.read_text("utf-8"))


@pytest.mark.long
def test_the_wheel_has_nothing_of_any_tests(package: Path, tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path))
    subprocess.run([*pip, str(package)], check=True)
    (wheel,) = tmp_path.glob("kms_emulator-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        text = b"".join(archive.read(name) for name in names if name.endswith(".py"))
    assert {name.split("/")[0].split("-")[0] for name in names} == {"kms_emulator"}
    assert [name for name in names if "/tests/" in name] == []
    assert "kms_emulator/custom_key_stores/models.py" in names
    assert re.findall(rb"(?m)^(?:from|import) (?:tests|ansible)\b.*", text) == []


@pytest.mark.long
def test_the_command_and_the_readme(python: Path, tmp_path: Path) -> None:
    ready = tmp_path / "url"
    command = [str(python.with_name("kms-emulator")), "--port", "0", "--ready-file", str(ready)]
    with subprocess.Popen(command, env=clean(), cwd=tmp_path) as emulator:
        try:
            while not ready.exists():
                assert emulator.poll() is None
            url = ready.read_text().strip()
            variables, request = (line for line in blocks("shell")[1].split("curl"))
            assert "aws kms describe-custom-key-stores" in request
            script = f"{variables}\ncurl {request.splitlines()[0]}\n{python} program.py\n"
            (tmp_path / "program.py").write_text(PROGRAM)
            done = subprocess.run(
                ["bash", "-euc", script.replace("http://127.0.0.1:5566", url)],
                env=clean(),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            emulator.terminate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("payments DISCONNECTED\n")


@pytest.mark.long
def test_the_plugin_needs_no_import(python: Path, tmp_path: Path) -> None:
    (example,) = blocks("python")
    (tmp_path / "test_example.py").write_text(example)
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q"], env=clean(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.long
def test_a_test_run_without_it_does_not_load_moto(python: Path, tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("import sys\n\ndef test(): assert 'moto' not in sys.modules\n")
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q"], env=clean(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
