# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was tried, counted, so that nobody need believe it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from dataclasses import field

from tests.histories.keys_world import KeyTaskRun
from tests.histories.world import TaskRun


@dataclass
class Tally:
    """Counts over histories.

    Attributes:
        histories: sequences of tasks.
        tasks: in them, each run in check mode, for real, and once more or several times.
        requests: to KMS.
        checked: how often an invariant was.
        ends: how tasks ended.
        mishaps: that came true, by kind.
    """

    histories: int = 0
    tasks: int = 0
    requests: int = 0
    checked: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    mishaps: Counter[str] = field(default_factory=Counter)

    def add(self, task: TaskRun | KeyTaskRun, *, checked: int) -> None:
        """Count a task that has kept all invariants, so many of them."""
        self.tasks += 1
        self.checked += checked
        self.requests += sum(len(run.requests) for run in task.runs)
        changes = "changed" if task.done.result["changed"] else "unchanged"
        ended = f"{'failed' if task.done.failed else 'succeeded'}, {changes}"
        self.ends["killed" if task.done.result["changed"] is None else ended] += 1
        for request in task.done.requests:
            outcome = request["outcome"]
            if outcome == "dropped":
                outcome = f"connection dropped {'after' if request['applied'] else 'before'} the request was applied"
            if outcome != "ok":
                self.mishaps[outcome] += 1
        for intrusion in task.intrusions:
            if intrusion["outcome"] == "ok":
                self.mishaps[f"somebody else: {intrusion['action']}"] += 1
        if "still" in task.done.message:
            self.mishaps["not done in time"] += 1
        if "connection_error" in task.done.result:
            self.mishaps["FAILED to connect, now or before"] += 1

    def __iadd__(self, other: Tally) -> Tally:
        self.histories += other.histories
        self.tasks += other.tasks
        self.requests += other.requests
        self.checked += other.checked
        self.ends += other.ends
        self.mishaps += other.mishaps
        return self

    def __str__(self) -> str:
        counted = {
            "histories": self.histories,
            "tasks": self.tasks,
            "requests": self.requests,
            "invariants checked": self.checked,
        }
        lines = [f"{number:>12,}  {what}" for what, number in counted.items()]
        for title, counter in (("ends of tasks", self.ends), ("mishaps", self.mishaps)):
            lines.append(f"{title}:")
            lines += [f"{number:>12,}  {what}" for what, number in counter.most_common()]
        return "\n".join(lines)
