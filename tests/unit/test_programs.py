# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs behind the targets of the Makefile: what they write, and what they say where they cannot go on."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from dev import code_map
from dev import docs
from dev import matrix
from dev import picture
from dev.checks import __main__ as all_checks
from dev.environment import ROOT


def test_the_makefile_names_each_of_its_commands() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {target for target in re.findall(r"(?m)^(\w+):", makefile) if target != "PYTHON"}
    (phony,) = re.findall(r"(?m)^\.PHONY: (.*)", makefile)
    assert set(phony.split()) == targets


def test_the_table_of_versions_is_written_in_place_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = tmp_path / "guide.rst"
    guide.write_text(f"Before.\n\n{matrix.BEGIN}old\n{matrix.END}\nAfter.\n")
    monkeypatch.setattr(matrix, "GUIDE", guide)
    versions = {"ansible-core": "2.99.1", "amazon.aws": "11.0.0", "botocore": "1.99.0", "Python": "3.99.0"}
    matrix.write([matrix.Outcome(versions, "2026-01-02", passed=1234, skipped=5, failed=0)])
    assert guide.read_text().split("\n") == [
        "Before.",
        "",
        matrix.BEGIN.strip(),
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - ansible-core",
        "     - amazon.aws",
        "     - botocore",
        "     - Python",
        "     - Tests",
        "     - Day",
        "   * - 2.99.1",
        "     - 11.0.0",
        "     - 1.99.0",
        "     - 3.99.0",
        "     - 1,234 passed, 5 skipped",
        "     - 2026-01-02",
        "",
        matrix.END.strip(),
        "",
        "After.",
        "",
    ]


def test_the_outcome_is_read_from_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = 'tests="10" skipped="2" failures="1" errors="1" timestamp="2026-01-02T03:04:05.678"'
    (tmp_path / "newest").mkdir()
    (tmp_path / "newest" / "tests.xml").write_text(f"<testsuites><testsuite {counts}/></testsuites>")
    monkeypatch.setattr(matrix, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(matrix, "installed", lambda _python: {})
    assert matrix.outcome("newest") == matrix.Outcome({}, "2026-01-02", passed=6, skipped=2, failed=2)
    assert matrix.outcome("newest").text == "6 passed, 2 skipped, 2 failed"


def test_an_environment_has_its_own_versions_and_else_what_the_tests_want() -> None:
    wanted = matrix.requirements(matrix.MATRIX["oldest"])
    assert {"ansible-core~=2.17.0", "botocore==1.34.0", "boto3==1.34.0"} < set(wanted)
    assert len([line for line in wanted if re.match(r"(ansible-core|boto3|botocore|molecule)\b", line)]) == 4
    assert any(line.startswith("pytest~=") for line in wanted)


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        (["newest"], [("newest", "not long or versions")]),
        (["--all", "newest", "oldest"], [("newest", ""), ("oldest", "")]),
    ],
)
def test_which_tests_a_row_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], ran: list[tuple[str, str]]
) -> None:
    runs: list[tuple[str, str]] = []
    monkeypatch.setattr(matrix, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(matrix, "run", lambda name, chosen: runs.append((name, chosen)))
    monkeypatch.setattr(matrix, "outcome", lambda _name: matrix.Outcome({}, "2026-01-02", 1, 0, 0))
    assert matrix.main(arguments) == 0
    assert runs == ran


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"Python 3\.99 is not on this machine"):
        matrix.build(tmp_path, matrix.Versions("3.99", "13.8.0", {}))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (matrix.main, "There are no versions named wrong; there are: oldest, core-2.18"),
        (all_checks.main, "There is no check wrong; there are: sanity, package"),
    ],
)
def test_a_name_that_there_is_not(capsys: pytest.CaptureFixture[str], program: object, message: str) -> None:
    assert callable(program)
    assert program(["wrong"]) == 2
    assert message in capsys.readouterr().err


def test_a_check_fails_where_its_command_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(all_checks, "CHECKS", {"good": "true", "bad": "ls no-such-file"})
    assert all_checks.main([]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"^ok +good +0 s$", printed, re.MULTILINE)
    assert re.search(r"^FAILED bad .*\nls no-such-file\n.*No such file", printed, re.MULTILINE)
    assert "1 of 2 checks failed." in printed


def test_the_documentation_links_to_modules_elsewhere() -> None:
    head, _newline, rest = docs.inventory().partition(b"zlib.\n")
    assert head.startswith(b"# Sphinx inventory version 2\n")
    lines = zlib.decompress(rest).decode().splitlines()
    module = "ansible_collections.amazon.aws.kms_key_module"
    assert f"{module} std:label -1 collections/amazon/aws/kms_key_module.html {module}" in lines


def test_the_picture_has_the_chosen_tasks_and_no_other() -> None:
    tasks = [*picture.TASKS, "Read the work"]
    printed = "".join(f"TASK [keyops.aws.key_store_maintenance : {task}] ***\nok: {task}\n\n" for task in tasks)
    drawn = picture.chosen(f"$ ansible-playbook playbooks/window.yml -e @/some/where\n\n{printed}PLAY RECAP ***\n")
    assert drawn.startswith("$ ansible-playbook playbooks/window.yml\n\nTASK [Show the plan] ***\n")
    assert drawn.count("TASK [") == len(picture.TASKS)
    assert "Read the work" not in drawn
    with pytest.raises(ValueError, match="does not print each of these tasks once"):
        picture.chosen("$ ansible-playbook playbooks/window.yml\n")


# ---- the map of the code


def test_the_map_of_the_code_is_true() -> None:
    text = code_map.CONTRIBUTING.read_text(encoding="utf-8")
    assert code_map.written(text) == text, "Run python -m dev.code_map."
    assert "| `apply` | Carries out a plan: " in text


def test_each_file_uses_only_files_below_it() -> None:
    graph = code_map.uses()
    order = code_map.in_order(graph)
    assert sorted(order) == sorted(code_map.files())
    assert all(order.index(name) < order.index(used) for name, uses in graph.items() for used in uses)
    assert {"apply", "background", "properties"} <= set(graph["modules/kms_custom_key_store"])
    assert "diagnosis" in graph["history"]  # imported in a function
