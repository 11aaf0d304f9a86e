# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the tests with each supported set of versions, in a separate new environment.

Usage: C(python -m dev.matrix [--all] [NAME ...]); without a name, all of them. It runs the tests of C(make test), and those of
C(make long) that depend on the versions; with C(--all), all tests. After all sets have been run, also separately, it writes the
table in the guide to versions. Each Python must be installed, as C(python3.12) or with pyenv.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from dev.environment import ROOT

ENVIRONMENTS = ROOT / ".venv" / "matrix"
GUIDE = ROOT / "docs" / "docsite" / "rst" / "guide_versions.rst"
BEGIN = ".. The table up to the next comment is written by make matrix.\n\n"
END = "\n.. The table ends here.\n"

CHOSEN = "not long or versions"
"""The tests to run, as pytest's C(-m) has it."""

NEWEST_SDK = {"boto3": "", "botocore": "", "awscli": ""}
"""The newest compatible versions that pip finds."""


@dataclass(frozen=True)
class Versions:
    """The versions of one environment.

    Attributes:
        python: major and minor.
        ansible: version of the C(ansible) package, from which amazon.aws is unpacked.
        packages: version specifiers of other packages, such as C(==1.34.0), including those whose newest version is not
            compatible. Empty: pip selects the version.
    """

    python: str
    ansible: str
    packages: dict[str, str]


def oldest_sdk(botocore: str, awscli: str) -> dict[str, str]:
    """Return the minimum botocore, and the AWS CLI that requires exactly this version."""
    return {"boto3": f"=={botocore}", "botocore": f"=={botocore}", "awscli": f"=={awscli}"}


MATRIX = {
    "oldest": Versions(
        "3.11", "12.0.0a5", {"ansible-core": "~=2.17.0", "molecule": "", **oldest_sdk("1.34.0", "1.32.0")}
    ),
    "core-2.18": Versions("3.12", "13.8.0", {"ansible-core": "~=2.18.0", **NEWEST_SDK}),
    "core-2.19": Versions("3.11", "13.8.0", {"ansible-core": "~=2.19.0", **NEWEST_SDK}),
    "core-2.20": Versions("3.12", "14.0.0a1", {"ansible-core": "~=2.20.0", **oldest_sdk("1.35.0", "1.34.0")}),
    "newest": Versions("3.13", "14.5.0", {"ansible-core": "~=2.21.0", **NEWEST_SDK}),
}
"""The minimum number of environments for: each ansible-core, the oldest and newest amazon.aws 10 and 11 in the ansible package,
the oldest SDK that each of them supports and the newest, and each Python."""


@dataclass(frozen=True)
class Outcome:
    """The result of a test run: installed versions by name, the date, and the numbers of tests by outcome."""

    installed: dict[str, str]
    day: str
    passed: int
    skipped: int
    failed: int

    @property
    def text(self) -> str:
        counts = {"passed": self.passed, "skipped": self.skipped, "failed": self.failed}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def requirements(versions: Versions) -> list[str]:
    """Return the requirements for pip: those of the tests, with the versions of this environment."""
    lines = (ROOT / "tests" / "requirements.txt").read_text("utf-8").splitlines()
    names = {line: re.split(r"[^\w-]", line)[0] for line in lines if not line.startswith(("#", "-r"))}
    others = [line for line, name in names.items() if name not in {*versions.packages, "boto3-stubs", "mypy", "ruff"}]
    return [*others, *(f"{name}{version}" for name, version in versions.packages.items())]


def build(folder: Path, versions: Versions) -> Path:
    """Build a new environment. Returns its Python. Raises SystemExit if that Python is not installed."""
    own = {"PYENV_VERSION": versions.python}  # pyenv's python3.12 requires it; other Pythons ignore it
    try:
        subprocess.run(
            [f"python{versions.python}", "-m", "venv", "--clear", str(folder)], env={**os.environ, **own}, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"Python {versions.python} is not on this machine: {error}") from error
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *requirements(versions), "--editable", "./emulator"], cwd=ROOT, check=True)
    subprocess.run([*pip, "--target", str(folder / "oldest-sdk"), "boto3==1.34.0", "botocore==1.34.0"], check=True)
    subprocess.run([str(python), "dev/install_collections.py", versions.ansible], cwd=ROOT, check=True)
    return python


def installed(python: Path) -> dict[str, str]:
    """Return the installed versions of an environment."""
    listed = subprocess.run([str(python), "-m", "pip", "list", "--format", "json"], capture_output=True, check=True)
    amazon = python.parents[1] / "collections" / "ansible_collections" / "amazon" / "aws" / "MANIFEST.json"
    version = subprocess.run([str(python), "--version"], capture_output=True, check=True, text=True).stdout
    return {
        **{package["name"]: package["version"] for package in json.loads(listed.stdout)},
        "amazon.aws": json.loads(amazon.read_text("utf-8"))["collection_info"]["version"],
        "Python": version.split()[1],
    }


def run(name: str, chosen: str) -> None:
    """Build an environment and run the chosen tests in it. Raises SystemExit if they write no report."""
    python = build(ENVIRONMENTS / name, MATRIX[name])
    command = [str(python), "-m", "pytest", "-q", "-m", chosen, f"--junit-xml={report(name)}"]
    subprocess.run(command, cwd=ROOT, check=False)
    if not report(name).exists():
        raise SystemExit(f"The tests did not run with the versions of {name}.")


def report(name: str) -> Path:
    """Return the path of the report of the last run in an environment."""
    return ENVIRONMENTS / name / "tests.xml"


def outcome(name: str) -> Outcome:
    """Read the report of the last run in an environment."""
    (suite,) = ElementTree.parse(report(name)).getroot().iter("testsuite")  # noqa: S314  pytest has written it
    count = {key: int(suite.attrib[key]) for key in ("tests", "skipped", "failures", "errors")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - count["skipped"] - failed
    python = ENVIRONMENTS / name / "bin" / "python"
    return Outcome(installed(python), suite.attrib["timestamp"][:10], passed, count["skipped"], failed)


def table(outcomes: list[Outcome]) -> str:
    """Return the table of outcomes for the guide."""
    columns = ("ansible-core", "amazon.aws", "botocore", "Python")
    rows = [(*(done.installed[name] for name in columns), done.text, done.day) for done in outcomes]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in ((*columns, "Tests", "Day"), *rows):
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def write(outcomes: list[Outcome]) -> None:
    """Replace the table in the guide."""
    before, _begin, rest = GUIDE.read_text("utf-8").partition(BEGIN)
    _old, _end, after = rest.partition(END)
    GUIDE.write_text(f"{before}{BEGIN}{table(outcomes)}{END}{after}", "utf-8")


def main(arguments: list[str]) -> int:
    """Run the tests that the arguments choose, see above. Returns the exit code."""
    chosen = "" if "--all" in arguments else CHOSEN
    names = [argument for argument in arguments if argument != "--all"]
    unknown = sorted(set(names) - set(MATRIX))
    if unknown:
        print(f"There are no versions named {', '.join(unknown)}; there are: {', '.join(MATRIX)}.", file=sys.stderr)
        return 2
    failed = 0
    for name in names or MATRIX:
        run(name, chosen)
        done = outcome(name)
        failed += done.failed
        print(f"{name}: {done.text}", flush=True)
    if all(report(name).exists() for name in MATRIX):
        write([outcome(name) for name in MATRIX])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
