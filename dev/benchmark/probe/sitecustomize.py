# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records the duration of steps, in each Python process with this folder in its path.

Python imports a module of this name on start. So it records ansible-playbook and the module that it starts, from their start and
without changes. Each line of the file that PROBE names is a span: its name, and begin and end in seconds of a clock that all
processes share.
"""

from __future__ import annotations

import functools
import importlib._bootstrap_external as loaders
import json
import os
import sys
import time
import zipimport
from typing import Any
from typing import Callable

FILE = os.environ.get("PROBE", "")
IS_MODULE = any("AnsiballZ_" in word for word in sys.orig_argv)
OURS = "ansible_collections.keyops."

OWNERS = {
    OURS: "ours",
    "ansible_collections.": "amazon",
    "boto": "amazon",
    "urllib3": "amazon",
    "jmespath": "amazon",
    "s3transfer": "amazon",
    "dateutil": "amazon",
    "ansible.": "ansible",
}
"""Owners of imports, by prefix of the module name. Modules of Python itself count for the first importer."""


def write(name: str, begin: float, end: float) -> None:
    """Write a span at once, because the process may end without notice."""
    with open(FILE, "a", encoding="ascii") as file:
        file.write(json.dumps([name, begin, end]) + "\n")


def mark(name: str) -> None:
    now = time.monotonic()
    write(name, now, now)


def record_calls(owner: Any, method: str, name: str) -> None:
    """Record each call of a method."""
    original = getattr(owner, method)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        begin = time.monotonic()
        try:
            return original(*args, **kwargs)
        finally:
            write(name, begin, time.monotonic())

    setattr(owner, method, call)


class Imports:
    """Measures the import time of each owner, without nested imports of other owners."""

    def __init__(self) -> None:
        self._owners = ["unpack"]
        self._since = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._is_done = False

    def during(self, name: str, action: Callable[..., Any], *args: Any) -> Any:
        owner = next((owner for start, owner in OWNERS.items() if name.startswith(start)), self._owners[-1])
        self._switch()
        self._owners.append(owner)
        try:
            return action(*args)
        finally:
            self._switch()
            self._owners.pop()

    def _switch(self) -> None:
        now = time.monotonic()
        self._seconds[self._owners[-1]] = self._seconds.get(self._owners[-1], 0.0) + now - self._since
        self._since = now

    def done(self) -> None:
        """Write the import times so far, once: spans that begin at 0."""
        if self._is_done:
            return
        self._is_done = True
        self._switch()
        for owner, seconds in self._seconds.items():
            write(f"import {owner}", 0.0, seconds)


IMPORTS = Imports()


def watch_actions(module: Any) -> None:
    """Record how the controller packs and runs a module."""
    watched = {
        "_configure_module": "pack",
        "_execute_module": "execute",
        "_low_level_execute_command": "command",
        "_transfer_file": "transfer",
        "_remove_tmp_path": "remove",
        "run": "run",
    }
    for method, name in watched.items():
        record_calls(module.ActionBase, method, name)


def watch_collections(module: Any) -> None:
    """Record the import of our action plugin by the controller."""
    base = module._AnsibleCollectionPkgLoaderBase
    original = base.exec_module

    def exec_module(self: Any, imported: Any) -> None:
        begin = time.monotonic()
        original(self, imported)
        if imported.__name__.startswith(OURS):
            write("plugin", begin, time.monotonic())

    base.exec_module = exec_module


def watch_aws_module(module: Any) -> None:
    """Record the module. When it begins to check its arguments, all imports are complete."""
    record_calls(module.AnsibleAWSModule, "__init__", "arguments")
    record_calls(module.AnsibleAWSModule, "client", "client")
    original = module.AnsibleAWSModule.__init__

    def begin(*args: Any, **kwargs: Any) -> None:
        IMPORTS.done()
        original(*args, **kwargs)

    module.AnsibleAWSModule.__init__ = begin


WATCHED: dict[str, Callable[[Any], None]] = {
    "ansible.plugins.action": watch_actions,
    "ansible.utils.collection_loader._collection_finder": watch_collections,
    "ansible_collections.amazon.aws.plugins.module_utils.modules": watch_aws_module,
    "ansible.module_utils.basic": lambda module: record_calls(module.AnsibleModule, "exit_json", "result"),
    "botocore.client": lambda module: record_calls(module.BaseClient, "_make_api_call", "request"),
}


def watch_imports() -> None:
    """Wrap the loaders of modules, from files and from AnsiballZ's archive.

    They are not meant to be replaced, so mypy must ignore the assignments.
    """
    execute: Callable[[Any, Any], None] = loaders._LoaderBasics.exec_module  # type: ignore[attr-defined]
    get_code = zipimport.zipimporter.get_code

    def exec_module(self: Any, module: Any) -> None:
        if IS_MODULE:
            IMPORTS.during(module.__name__, execute, self, module)
        else:
            execute(self, module)
        if module.__name__ in WATCHED:
            WATCHED[module.__name__](module)

    def compiled(self: Any, fullname: str) -> Any:
        return IMPORTS.during(fullname, get_code, self, fullname)

    loaders._LoaderBasics.exec_module = exec_module  # type: ignore[attr-defined]
    zipimport.zipimporter.get_code = compiled  # type: ignore[method-assign]


if FILE:
    watch_imports()
    if IS_MODULE:
        mark("python")
