# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""moto's own tests of KMS, out of its source distribution, with the emulator loaded: in process, and over HTTP.

Those that fail are listed, each with its reason. One that fails beside them is a fault of the emulator, and one that passes is to
be taken off the list.
"""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kms_emulator import EmulatorServer

FOLDER = Path(sys.prefix) / "motos-tests"

CAPITALS = "It asks for grants of operations in capitals, which KMS's enumeration does not have."
ARN = "It wants the id that it gave back; KMS answers with the ARN of the key."
NO_NULL = "It wants a NextMarker of null; KMS leaves it out where there is none."

EXPECTED = {
    **{
        f"test_kms_grants.{name}": CAPITALS
        for name in (
            "test_create_grant",
            "test_list_grants",
            "test_list_retirable_grants",
            "test_retire_grant_by_grant_id",
            "test_retire_grant_by_token",
            "test_revoke_grant",
        )
    },
    **{
        f"test_kms.{name}": ARN
        for name in ("test_cancel_key_deletion", "test_schedule_key_deletion", "test_schedule_key_deletion_custom")
    },
    "test_server.test_list_keys": NO_NULL,
}
"""Tests that fail, and why."""

RUN = "import sys, pytest, kms_emulator; kms_emulator.install(); sys.exit(pytest.main(sys.argv[1:]))"
"""A test run in a process that has the emulator in it."""


@pytest.fixture(scope="module")
def motos_tests() -> Path:
    """The folder that has moto's package of tests, of the version that is installed here."""
    FOLDER.mkdir(exist_ok=True)
    folder = FOLDER / f"moto-{version('moto')}"
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:")
            subprocess.run([*pip, "--dest", str(FOLDER), f"moto=={version('moto')}"], check=True)
            with tarfile.open(folder.with_name(f"{folder.name}.tar.gz")) as archive:
                archive.extractall(FOLDER, filter="data")
    return folder


def failures(folder: Path, report: Path, **environment: str) -> set[str]:
    """Run moto's tests of KMS. Returns the names of those that fail, without their parameters."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
    keys = {"AWS_ACCESS_KEY_ID": "anything", "AWS_SECRET_ACCESS_KEY": "anything"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, "-q", f"--junit-xml={report}", "-p", "no:cacheprovider", "tests/test_kms"],
        cwd=folder,
        env={**own, **keys, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))  # noqa: S314  pytest has written it
    assert len(cases) > 200
    return {
        f"{case.attrib['classname'].split('.')[-1]}.{case.attrib['name'].split('[')[0]}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }


@pytest.mark.long
def test_in_process(motos_tests: Path, tmp_path: Path) -> None:
    assert failures(motos_tests, tmp_path / "report.xml") == set(EXPECTED)


@pytest.mark.long
def test_over_http(motos_tests: Path, tmp_path: Path) -> None:
    requests = io.StringIO()
    with EmulatorServer(log=requests) as server:
        mode = {"TEST_SERVER_MODE": "true", "TEST_SERVER_MODE_ENDPOINT": server.url}
        assert failures(motos_tests, tmp_path / "report.xml", **mode) == set(EXPECTED)
    assert len(requests.getvalue().splitlines()) > 200
