# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what a guide says, block by block, as a reader would who copies all of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from dev.environment import BIN
from dev.environment import ROOT
from tests.integration.harness import Ansible

GUIDES = ROOT / "docs" / "docsite" / "rst"
_BLOCK = re.compile(r"^( *)\.\. code-block:: (\w+)\n((?:\1   :.*\n)*)\n((?:\1   .*\n|\n)+)", re.MULTILINE)

Step = Callable[[], str]
"""Does a part of a guide, and returns what was printed."""


@dataclass(frozen=True)
class Block:
    """A code block of a guide; with a caption, it is a file of that name."""

    language: str
    caption: str
    text: str

    @property
    def kind(self) -> str:
        """How a reader uses it: as C(file), C(tasks) to run in a playbook, C(shell), or as nothing of these."""
        if self.caption:
            return "file"
        if self.language == "yaml":
            content = yaml.safe_load(self.text)
            return "tasks" if isinstance(content, list) and "hosts" not in content[0] else "part"
        return self.language


def all_blocks(guide: str) -> list[Block]:
    """The code blocks of a guide, in order."""
    return blocks_of((GUIDES / f"{guide}.rst").read_text("utf-8"))


def blocks_of(text: str) -> list[Block]:
    """The code blocks of a text, in order."""
    return [
        Block(language, "".join(re.findall(r":caption: (.*)", options)), textwrap.dedent(body).strip("\n") + "\n")
        for _indent, language, options, body in _BLOCK.findall(text)
    ]


def blocks(guide: str, language: str) -> list[str]:
    """The texts of those in one language."""
    return [block.text for block in all_blocks(guide) if block.language == language]


@dataclass
class Reader:
    """Follows guides in a folder of its own, with variables and what the guides take for granted.

    Attributes:
        ansible: runs playbooks.
        variables: what the reader has decided on, such as passwords.
        names: what stands in guides for something that has another name here; a value such as C($new_cluster) is that of a
            variable of the shell.
    """

    ansible: Ansible
    variables: dict[str, Any]
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self._folder / "variables.json").write_text(json.dumps(self.variables))
        programs = self._folder / "programs"
        programs.mkdir()
        for name in ("aws", "cloudhsm-cli"):
            program = programs / name
            start = f"PYTHONPATH={ROOT} exec {sys.executable} -m tests.integration.programs {name}"
            program.write_text(f'#!/bin/sh\n{start} "$@"\n')
            program.chmod(0o755)
        own = self.ansible.environment
        own["GUIDE_FOLDER"] = str(self._folder)
        own["PATH"] = f"{programs}:{BIN}:{own['PATH']}"

    @property
    def _folder(self) -> Path:
        return self.ansible.folder

    def steps(self, guide: str) -> Iterator[Step]:
        """What the guide says to do, in order. Tasks that follow each other make one playbook."""
        for kind, group in groupby(all_blocks(guide), lambda block: block.kind):
            yield from self._steps(kind, list(group))

    def follow(self, guide: str) -> str:
        """Do all that the guide says. Returns what was printed."""
        return "".join(step() for step in self.steps(guide))

    def _steps(self, kind: str, group: list[Block]) -> Iterator[Step]:
        if kind == "tasks":
            yield lambda: self.run_tasks("".join(block.text for block in group))
        elif kind == "file":
            yield from (lambda block=block: self.write(block) for block in group)
        elif kind == "shell":
            yield lambda: self.shell("".join(block.text for block in group))

    def write(self, block: Block) -> str:
        """Write a file as the guide has it, but for what the reader has decided on differently."""
        path = self._folder / block.caption
        path.write_text(self.named(block.text))
        path.chmod(0o755)
        return ""

    def run_tasks(self, text: str) -> str:
        """Run tasks in a playbook; they must succeed."""
        done = self.ansible.playbook(yaml.safe_load(self.named(text)), "-e", "@variables.json", "-vvv")
        assert done.exit_code == 0, done.output[-3000:]
        return done.output

    def shell(self, text: str, *, succeeds: bool = True) -> str:
        """Run lines in a shell, which keeps its variables for the next time; each must succeed, unless they shall not all."""
        own = self.ansible.environment
        script = f"[ ! -f state.sh ] || . ./state.sh\nset -a\n{self.named(text)}\nexport -p > state.sh\n"
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=self._folder,
            env={**own, "AWS_DEFAULT_REGION": own["AWS_REGION"], "AWS_PAGER": ""},
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode == 0) is succeeds, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def named(self, text: str) -> str:
        """A text of a guide, with the names that things have here."""
        for name, value in self.names.items():
            text = text.replace(name, self._of_the_shell(value[1:]) if value.startswith("$") else value)
        return text

    def _of_the_shell(self, variable: str) -> str:
        state = self._folder / "state.sh"
        found = re.findall(rf'{variable}="(.*)"', state.read_text()) if state.exists() else []
        return found[-1] if found else variable
