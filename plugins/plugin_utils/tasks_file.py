# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a file of tasks as Ansible would, before it is run: its mistakes, and the tasks that end the play."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import os
from typing import Any
from typing import Iterator

from ansible import constants
from ansible.errors import AnsibleError
from ansible.playbook.block import Block
from ansible.playbook.helpers import load_list_of_blocks
from ansible.playbook.task_include import TaskInclude


class TasksFileError(Exception):
    """The file cannot be read: one sentence for the user."""


def ends_of_play(path: str, task: Any, loader: Any) -> list[str]:
    """Find the tasks that end the play or leave the role (C(meta: end_play) and the like).

    After such a task, Ansible runs no C(always). Imported files are read as well; included files are known only at run time.

    Args:
        path: of the file.
        task: the task that the include will replace.
        loader: Ansible's loader for files.

    Returns:
        The action of each, with file and line.

    Raises:
        TasksFileError: there is a mistake in the file, or in an imported file.
    """
    common = {"variable_manager": task.get_variable_manager(), "loader": loader}
    try:
        include = TaskInclude.load({"include_tasks": path}, block=task._parent, role=task._role, **common)
        content = loader.load_from_file(path)
        if not content:
            return []
        blocks = load_list_of_blocks(
            content, play=task._parent._play, parent_block=include.build_parent_block(), role=task._role, **common
        )
    except AnsibleError as error:
        raise TasksFileError(" ".join(str(error).split())) from error
    folder = os.path.dirname(path)
    return [
        # Before ansible-core 2.19, a file in JSON has no line numbers.
        f"{os.path.relpath(found.get_path() or path, folder)} (meta: {found.args['_raw_params']})"
        for found in _tasks(blocks)
        if found.action in constants._ACTION_META and str(found.args.get("_raw_params", "")).startswith("end_")
    ]


def _tasks(entries: list[Any]) -> Iterator[Any]:
    for entry in entries:
        if isinstance(entry, Block):
            for section in (entry.block, entry.rescue, entry.always):
                yield from _tasks(section)
        else:
            yield entry
