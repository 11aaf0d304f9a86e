# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recording as a file: JSON, with one line for each step, so that whoever gives it can read it first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dev.environment import ROOT

FOLDER = ROOT / "tests" / "recordings"
FORMAT = 1
TYPES = ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")

Recording = dict[str, Any]


def as_text(recording: Recording) -> str:
    """The JSON of a recording."""
    head = {name: value for name, value in recording.items() if name != "steps"}
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
    steps = ",\n".join(f"    {json.dumps(step)}" for step in recording["steps"])
    return "\n".join(["{", *lines, '  "steps": [', steps, "  ]", "}"]) + "\n"


def write(recording: Recording, folder: Path) -> Path:
    """Write a recording to a new file of a folder.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = recording["store_type"].lower().replace("_", "-")
    stem = f"{recording['recorded']}-{kind}"
    names = (f"{stem}.json", *(f"{stem}-{number}.json" for number in range(2, 1000)))
    path = next(folder / name for name in names if not (folder / name).exists())
    path.write_text(as_text(recording), "utf-8")
    return path


def read(path: Path) -> Recording:
    """Read a recording, which somebody else may have made. Raises ValueError, or OSError, with a message for the user."""
    try:
        recording = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(recording, dict) or recording.get("format") != FORMAT:
        raise ValueError(f"{path} is not a recording of format {FORMAT}.")
    steps = recording.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) and "step" in step for step in steps):
        raise ValueError(f"{path} has no steps, or one without a name.")
    if recording.get("store_type") not in TYPES or not _entries(steps):
        raise ValueError(f"{path} does not say what key store it is of.")
    return recording


def _entries(steps: list[dict[str, Any]]) -> list[Any]:
    """What the first step describes."""
    entries = steps[0].get("answer", {}).get("CustomKeyStores", []) if steps else []
    return entries if isinstance(entries, list) else []


def store(recording: Recording) -> dict[str, Any]:
    """The key store as it was described at first, with placeholders."""
    return dict(_entries(recording["steps"])[0])
