# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the guides to the emulator are complete and true."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterable

from dev.environment import ROOT
from kms_emulator import Control
from kms_emulator.__main__ import command_line
from kms_emulator.custom_key_stores.rules import Rules

GUIDES = ROOT / "docs" / "docsite" / "rst"
TESTS = ROOT / "tests" / "unit" / "emulator"
AWS = ("https://docs.aws.amazon.com/kms/latest/", "https://github.com/aws/")

Row = tuple[str, ...]


def table(guide: str, title: str) -> list[Row]:
    """The rows of a list-table of a guide, without the first, which has the headings. A cell is on one line."""
    text = (GUIDES / f"{guide}.rst").read_text(encoding="utf-8")
    (body,) = re.findall(rf"^\.\. list-table:: {title}\n   :header-rows: 1\n\n((?:   .*\n)+)", text, re.MULTILINE)
    rows = re.split(r"^   \* -", body, flags=re.MULTILINE)[2:]
    return [tuple(" ".join(cell.split()) for cell in re.split(r"^     -", row, flags=re.MULTILINE)) for row in rows]


def literals(cell: str) -> list[str]:
    """What is between double backquotes."""
    return re.findall(r"``(.+?)``", cell)


def node_ids(cells: Iterable[str]) -> list[str]:
    """The tests that are named in cells."""
    return [name for cell in cells for name in literals(cell) if "::" in name]


def collected() -> set[str]:
    """All tests of the emulator as pytest finds them, without their parameters."""
    options = ("--collect-only", "-q", "-p", "no:cacheprovider", "-o", "addopts=")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(TESTS)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        line.removeprefix("tests/unit/emulator/").split("[")[0] for line in done.stdout.splitlines() if "::" in line
    }


def test_each_command_is_in_the_table_with_its_parameters() -> None:
    real = {}
    for name, member in inspect.getmembers(Control):
        if getattr(member, "is_command", False):
            taken = [
                parameter for parameter in inspect.signature(member).parameters.values() if parameter.name != "self"
            ]
            real[name.replace("_", "-")] = {
                parameter.name: None if parameter.default is parameter.empty else json.dumps(parameter.default)
                for parameter in taken
            }
    rows = table("guide_emulator", "Commands")
    documented = {}
    for command, arguments, purpose in rows:
        assert purpose
        pairs = [argument.partition("=") for argument in literals(arguments)]
        documented[literals(command)[0]] = {name: default if equals else None for name, equals, default in pairs}
    assert documented == real
    assert len(rows) == len(real)


def test_each_option_is_in_the_table_with_its_default() -> None:
    real = {
        action.option_strings[0]: "" if action.default in (None, False) else str(action.default)
        for action in command_line()._actions
        if action.dest != "help"
    }
    documented = {
        literals(option)[0]: "".join(literals(default)) for option, default, _what in table("guide_emulator", "Options")
    }
    assert documented == real


def test_each_rule_is_in_the_table_with_a_source() -> None:
    rows = table("guide_emulator_rules", "Rules")
    assert [number for number, *_rest in rows] == [f"R{number}" for number in range(1, 35)]
    text = (GUIDES / "guide_emulator_rules.rst").read_text(encoding="utf-8")
    pages = dict(re.findall(r"^\.\. \|(.+)\| replace:: `\1 <(https://\S+)>`__$", text, re.MULTILINE))
    assert all(url.startswith(AWS) for url in pages.values())
    named = {number: re.findall(r"\|([^|]+)\|", source) for number, _rule, _tested, source in rows}
    assert all(named.values())
    assert {name for names in named.values() for name in names} == set(pages)


def test_each_test_that_is_named_exists_and_none_is_left_out() -> None:
    known = collected()
    rules = {number: node_ids([tested]) for number, _rule, tested, _source in table("guide_emulator_rules", "Rules")}
    switches = {name: node_ids([tested]) for name, *_what, tested in table("guide_emulator_rules", "Switches")}
    text = (GUIDES / "guide_emulator_rules.rst").read_text(encoding="utf-8")
    assert set(node_ids([text])) <= known
    for number, names in rules.items():
        own = {name for name in known if f"::test_r{int(number[1:]):02}_" in name}
        assert own <= set(names), number
        # What cannot be tested has a reason that says so.
        assert own or number in ("R10", "R19", "R23")
    assert all(switches.values())


def test_each_switch_is_in_the_table_with_its_default() -> None:
    real = {field.name: json.dumps(field.default) for field in dataclasses.fields(Rules)}
    rows = table("guide_emulator_rules", "Switches")
    assert {literals(name)[0]: literals(default)[0] for name, default, *_what in rows} == real
    assert len(rows) == len(real)
