# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time of each step of one task, from the start of ansible-playbook to its end."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dev.benchmark.measuring import Goal
from dev.benchmark.measuring import Result
from dev.benchmark.measuring import Setting
from dev.benchmark.measuring import in_rounds
from dev.benchmark.measuring import spread
from dev.benchmark.playing import Played
from dev.benchmark.playing import Player
from dev.benchmark.playing import Task
from dev.benchmark.playing import module
from kms_emulator import HttpControl

ROUNDS = 11
STORE = "payments"
REGION = "us-east-1"
PROBE = Path(__file__).parent / "probe"

ANSIBLE, AMAZON, OURS, KMS = "Ansible", "amazon.aws, boto3", "keyops.aws", "KMS"

STEPS = {
    "start": ("``ansible-playbook`` starts, until the task begins", ANSIBLE),
    "plugin": ("the action plugin is imported, and does its own work", OURS),
    "pack": ("the module and what it imports are packed (AnsiballZ)", ANSIBLE),
    "host": ("folder, transfer and mode of the package; removed again", ANSIBLE),
    "python": ("Python starts", ANSIBLE),
    "import unpack": ("the package is unpacked", ANSIBLE),
    "import ansible": ("imports", ANSIBLE),
    "import amazon": ("imports", AMAZON),
    "import ours": ("imports", OURS),
    "arguments": ("arguments are checked", AMAZON),
    "client": ("one client is made", AMAZON),
    "request": ("one request is answered", KMS),
    "own": ("decide, and write the result", OURS),
    "exit": ("the result gets to the controller, the process ends", ANSIBLE),
    "worker": ("all else of the controller: worker, templates, callbacks", ANSIBLE),
    "end": ("``ansible-playbook`` ends", ANSIBLE),
}
"""The steps, in approximate order: description and component."""

MAX_SHARE = 0.1
"""Maximum share of this collection in the total time."""

Spans = Mapping[str, Sequence[tuple[float, float]]]


def steps(played: Played, spans: Spans) -> dict[str, float]:
    """Return the seconds of each step of one run."""

    def length(name: str) -> float:
        return sum(end - begin for begin, end in spans[name])

    (python,) = spans["python"]
    (arguments,) = spans["arguments"]
    (result,) = spans["result"]
    (command,) = (span for span in spans["command"] if span[0] <= python[0] <= span[1])
    imports = {name: length(name) for name in STEPS if name.startswith("import ")}
    import_seconds, run_seconds = _plugin(spans)
    between = arguments[0] - python[0] - sum(imports.values())  # import of the last module, and start of main()
    found = {
        "start": played.first_task - played.begin - import_seconds,
        "plugin": import_seconds + run_seconds,
        "pack": length("pack"),
        "host": length("command") - (command[1] - command[0]) + length("transfer"),
        "python": python[0] - command[0],
        **imports,
        "arguments": arguments[1] - arguments[0],
        "client": length("client"),
        "request": length("request"),
        "own": between + result[0] - arguments[1] - length("client") - length("request"),
        "exit": command[1] - result[0],
        "end": played.end - played.last_result,
    }
    found["worker"] = played.end - played.begin - sum(found.values())
    return found


def _plugin(spans: Spans) -> tuple[float, float]:
    """Return the seconds of the import of our action plugin, and of its work before and after the module runs."""
    import_seconds = max(
        (end - begin for begin, end in spans["plugin"]), default=0.0
    )  # the longest span includes the others
    (execute,) = spans["execute"]
    (run,) = spans["run"]
    # Ignore earlier removals by Ansible.
    remove = min(begin for begin, _end in spans["remove"] if begin >= execute[1])
    return import_seconds, execute[0] - run[0] + remove - execute[1]


def measure(setting: Setting, task: Task) -> dict[str, float]:
    """Run a task. Returns the seconds of each step."""
    file = setting.folder / "spans"
    file.unlink(missing_ok=True)
    environment = {"PROBE": str(file), "PYTHONPATH": str(PROBE)}
    played = Player(setting.url, setting.folder, environment).play([task])
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in file.read_text("ascii").splitlines():
        name, begin, end = json.loads(line)
        spans[name].append((begin, end))
    return steps(played, spans)


def run(setting: Setting) -> Result:
    control = HttpControl(setting.url)
    control.reset()
    control.create_store(custom_key_store_name=STORE)
    rounds = 1 if setting.quick else ROUNDS
    info: Task = {"name": "Describe", "amazon.aws.kms_key_info": {"region": REGION}}
    tasks = {OURS: module("disconnect", STORE, REGION), AMAZON: info}
    measured = in_rounds({name: partial(measure, setting, task) for name, task in tasks.items()}, rounds)
    own, theirs = measured[OURS], measured[AMAZON]
    share = [_ours(each, other) / sum(each.values()) for each, other in zip(own, theirs, strict=True)]
    return Result(
        title="Where the time goes",
        text=f"""
One task of ``keyops.aws.kms_custom_key_store`` that finds nothing to do, compared with a task of
``amazon.aws.kms_key_info``, from the start of ``ansible-playbook`` to its end. There are {rounds} rounds. Both
processes log their steps, which itself takes some milliseconds. Modules of Python itself count for the first
importer.

Arguments are checked before a client is made and before any request, but after boto3 is imported:
``AnsibleAWSModule`` of ``amazon.aws``, which checks them, imports boto3.
""",
        header=("step", "whose", "keyops.aws, ms", "share", "kms_key_info, ms"),
        rows=[*(_row(name, own, theirs) for name in STEPS), _total(own, theirs)],
        goals=[
            Goal(
                f"The steps of keyops.aws, and the additional time for packing compared with"
                f" ``kms_key_info``, take at most {100 * MAX_SHARE:.0f} %.",
                f"{100 * statistics.median(share):.1f} %",
                statistics.median(share) <= MAX_SHARE,
            )
        ],
    )


def _ours(own: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    own_steps = sum(own[name] for name, (_description, component) in STEPS.items() if component == OURS)
    return own_steps + max(0.0, own["pack"] - theirs["pack"])


def _row(name: str, own: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> list[str]:
    description, component = STEPS[name]
    share = statistics.median(each[name] / sum(each.values()) for each in own)
    spreads = [spread([1000 * each[name] for each in runs], 0) for runs in (own, theirs)]
    return [description, component, spreads[0], f"{100 * share:.1f} %", spreads[1]]


def _total(own: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> list[str]:
    spreads = [spread([1000 * sum(each.values()) for each in runs], 0) for runs in (own, theirs)]
    return ["all of it", "", spreads[0], "100 %", spreads[1]]
