# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check that no variable of a role can be one of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.checks.names import main
from dev.checks.names import wrong_names
from dev.environment import ROOT


def test_the_collection_has_no_such_variable() -> None:
    assert wrong_names(ROOT) == []


@pytest.mark.parametrize(
    "tasks",
    [
        "- debug:\n  vars: {name: 1}",
        "- command: 'true'\n  register: name",
        "- set_fact: {name: 1, cacheable: true}",
        "- debug:\n  loop: [1]\n  loop_control: {loop_var: name}",
        "- block:\n    - block:\n      - debug:\n        vars: {name: 1}",
        "- block: []\n  always:\n    - command: 'true'\n      register: name",
    ],
)
def test_a_name_without_the_prefix_is_found(tmp_path: Path, tasks: str, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("roles/window/tasks/main.yml", "roles/window/handlers/main.yml", "playbooks/tasks/more.yml"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_text(tasks)
        assert main([str(tmp_path)]) == 1
        reported = capsys.readouterr().out
        assert reported.startswith(f"{place}: name must begin with ")
        path.write_text(tasks.replace("name", "window_name"))
        assert main([str(tmp_path)]) == 0


def test_a_loop_without_a_variable_of_its_own_is_found(tmp_path: Path) -> None:
    path = tmp_path / "roles" / "window" / "tasks" / "main.yml"
    path.parent.mkdir(parents=True)
    path.write_text("- debug:\n  loop: [1]")
    assert wrong_names(tmp_path) == [
        "roles/window/tasks/main.yml: item must begin with window_, or a variable of the user may replace it."
    ]
    path.write_text("- debug:\n  with_items: [1]")
    assert len(wrong_names(tmp_path)) == 1
