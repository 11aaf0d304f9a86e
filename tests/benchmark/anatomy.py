# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time of one task goes, from the start of ansible-playbook to its end."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from tests.benchmark.measuring import Goal
from tests.benchmark.measuring import Result
from tests.benchmark.measuring import Setting
from tests.benchmark.measuring import spread
from tests.benchmark.playing import Played
from tests.benchmark.playing import Player
from tests.benchmark.playing import module
from tests.emulator import HttpControl

ROUNDS = 11
STORE = "payments"
REGION = "us-east-1"
PROBE = Path(__file__).parent / "probe"

ANSIBLE, AMAZON, OURS, KMS = "Ansible", "amazon.aws, boto3", "keyops.aws", "KMS"

STEPS = {
    "start": ("``ansible-playbook`` starts, until the task begins", ANSIBLE),
    "plugin": ("the action plugin: imported, and its own work", OURS),
    "pack": ("the module and what it imports are packed (AnsiballZ)", ANSIBLE),
    "host": ("folder, transfer and mode of the package; removed again", ANSIBLE),
    "python": ("Python starts", ANSIBLE),
    "import unpack": ("the package is unpacked", ANSIBLE),
    "import ansible": ("imports", ANSIBLE),
    "import amazon": ("imports", AMAZON),
    "import ours": ("imports", OURS),
    "fork": ("a process that could go on in the background", OURS),
    "arguments": ("arguments are checked", AMAZON),
    "client": ("one client", AMAZON),
    "request": ("one request", KMS),
    "own": ("decide, and write the result", OURS),
    "exit": ("the result gets to the controller, the process ends", ANSIBLE),
    "worker": ("all else of the controller: worker, templates, callbacks", ANSIBLE),
    "end": ("``ansible-playbook`` ends", ANSIBLE),
}
"""What happens, in about this order, and who does it."""

LARGEST = 0.1
"""How much of the time of a task all that is ours may take."""

Spans = Mapping[str, Sequence[tuple[float, float]]]


def steps(played: Played, spans: Spans) -> dict[str, float]:
    """The seconds of each step of one run."""

    def length(name: str) -> float:
        return sum(end - begin for begin, end in spans[name])

    (python,) = (begin for begin, _end in spans["python"])
    (arguments,) = spans["arguments"]
    (result,) = (begin for begin, _end in spans["result"])
    (forked,) = (begin for begin, _end in spans["fork"])
    (child,) = (begin for begin, _end in spans["child"])
    (command,) = (span for span in spans["command"] if span[0] <= python <= span[1])
    (execute,) = spans["execute"]
    (run,) = (begin for begin, _end in spans["run"])
    remove = min(
        begin for begin, _end in spans["remove"] if begin >= execute[1]
    )  # Ansible may have removed some before
    imported = max((end - begin for begin, end in spans["plugin"]), default=0.0)  # the others are within the longest
    plugin = execute[0] - run + remove - execute[1]
    found = {
        "start": played.first_task - played.begin - imported,
        "plugin": imported + plugin,
        "pack": length("pack"),
        "host": length("command") - (command[1] - command[0]) + length("transfer"),
        "python": python - command[0],
        **{name: length(name) for name in STEPS if name.startswith("import ")},
        "fork": child - forked,
        "arguments": arguments[1] - arguments[0],
        "client": length("client"),
        "request": length("request"),
        "exit": command[1] - result,
        "end": played.end - played.last_result,
    }
    found["own"] = result - arguments[1] - found["client"] - found["request"]
    # The last module is imported, and then main() begins.
    gap = arguments[0] - python - sum(found[name] for name in found if name.startswith("import ")) - found["fork"]
    found["own"] += max(0.0, gap)
    found["worker"] = played.end - played.begin - sum(found.values())
    return found


def measure(setting: Setting) -> dict[str, float]:
    """The seconds of each step of one task that finds nothing to do."""
    file = setting.folder / "spans"
    file.unlink(missing_ok=True)
    environment = {"PROBE": str(file), "PYTHONPATH": str(PROBE)}
    played = Player(setting.url, setting.folder, environment).play([module("disconnect", STORE, REGION)])
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
    measured = [measure(setting) for _round in range(rounds)]
    whole = [sum(each.values()) for each in measured]
    ours = [sum(each[name] for name, (_what, who) in STEPS.items() if who == OURS) for each in measured]
    rows = []
    for name, (what, who) in STEPS.items():
        seconds = [each[name] for each in measured]
        rows.append([what, who, *_cells(seconds, whole)])
    rows.append(["all of it", "", *_cells(whole, whole)])
    rows.append(["all that is ours", OURS, *_cells(ours, whole)])
    share = [own / every for own, every in zip(ours, whole, strict=True)]
    return Result(
        title="Where the time goes",
        text=f"""
One task of ``keyops.aws.kms_custom_key_store`` that finds nothing to do, from the start of ``ansible-playbook`` to
its end: {rounds} rounds. Both processes write down what they do; that itself takes some milliseconds. What Python
itself brings counts for who imports it first.
""",
        header=("step", "whose", "milliseconds", "share"),
        rows=rows,
        goals=[
            Goal(
                f"All that is ours takes at most {LARGEST:.0%} of the time.".replace("%", " %"),
                f"{100 * statistics.median(share):.1f} %",
                statistics.median(share) <= LARGEST,
            )
        ],
    )


def _cells(seconds: Sequence[float], whole: Sequence[float]) -> tuple[str, str]:
    share = statistics.median(part / every for part, every in zip(seconds, whole, strict=True))
    return spread([1000 * each for each in seconds], 0), f"{100 * share:.1f} %"
