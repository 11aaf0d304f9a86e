# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Polls of a task while a store connects, and the delay of the detection, compared with polls at fixed intervals.

It runs the wait code of the collection on a simulated clock.
"""

from __future__ import annotations

import random
import statistics
from bisect import bisect_left
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Deadline
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import ConnectionState
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.wait import End
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.wait import wait_for
from dev.benchmark.measuring import Goal
from dev.benchmark.measuring import Result
from dev.benchmark.measuring import Setting

SHOWN = (2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800)
"""Approximate seconds of the connects in the table."""

INTERVALS = (5, 15, 30)
"""Seconds between two polls, for fixed intervals."""

WAITS = 100
"""Number of simulated waits, each with different random pauses."""

LONGEST = 1800
MOST_REQUESTS = 170
LATEST = 15.0
ROUNDING = 1e-6
"""Tolerance for the rounding error of sums of seconds."""

STORES = {
    state: CustomKeyStore({"CustomKeyStoreId": "cks-1", "CustomKeyStoreName": "payments", "ConnectionState": state})
    for state in ("CONNECTING", "CONNECTED")
}

REASON = (
    "No polling schedule meets this goal together with the two above. To detect each end within 1 second or a tenth"
    " of the time takes 28 polls in the first 50 seconds; a poll every 5 seconds makes 11. With fewer than 170 polls"
    " in 30 minutes, the pauses must become longer than 5 seconds. From then on, the end is detected later than with"
    " a poll every 5 seconds, until the 17 additional polls are saved. The first two goals have priority."
)
"""Why one goal cannot be met. Applies to the shortest fixed interval only."""

Schedule = Sequence[float]
"""Times of the polls, in seconds since the connect began. Until the store is connected, no poll changes the schedule."""


@dataclass(frozen=True)
class Waits:
    """Requests and delays of the detection, for connects of about the same duration.

    Attributes:
        requests: average number.
        late: average seconds between the end and the poll that detects it.
        latest: the maximum.
    """

    requests: float
    late: float
    latest: float

    def worse_than(self, other: Waits) -> bool:
        """Whether it has both more requests and a longer delay."""
        return self.requests > other.requests and self.late > other.late

    def __str__(self) -> str:
        return f"{self.requests:.0f}; {self.late:.1f} s, {self.latest:.1f} s"


@dataclass
class Simulation:
    """A clock that advances only during sleep, and a store that takes long to connect.

    Attributes:
        jitter: returns a number from 0.0 to 1.0 for each pause.
        polls: times of the polls.
    """

    jitter: Callable[[], float]
    now: float = 0.0
    polls: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def describe(self) -> CustomKeyStore:
        self.polls.append(self.now)
        return STORES["CONNECTED" if self.now > 1.2 * LONGEST else "CONNECTING"]

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep, random=self.jitter)


def adaptive(jitter: Callable[[], float]) -> Schedule:
    """Return the polls of the modules after ConnectCustomKeyStore."""
    simulation = Simulation(jitter)
    clock = simulation.clock()
    end = wait_for(
        ConnectionState.CONNECTED,
        describe=simulation.describe,
        seen_before=[ConnectionState.DISCONNECTED],
        clock=clock,
        deadline=Deadline(clock, 2 * LONGEST),
    )
    if end is not End.REACHED:
        raise RuntimeError(f"The wait ended with {end}.")
    return simulation.polls


def fixed(pause: int) -> Schedule:
    """Return a poll at once, and one after each pause."""
    return [float(second) for second in range(0, 2 * LONGEST, pause)]


def about(seconds: float) -> tuple[float, float]:
    """Return 90 % and 110 % of a duration, so that no poll coincides with the end of all connects.

    If that range is longer than the longest interval, it is a multiple of it, so that the ends cover each part of an interval
    equally.
    """
    longest = max(INTERVALS)
    width = 0.2 * seconds
    if width >= longest:
        width = longest * round(width / longest)
    return seconds - width / 2, seconds + width / 2


def one(schedule: Schedule, seconds: float) -> Waits:
    """Calculate the exact averages for connects of about this duration, with a uniform distribution."""
    begin, end = about(seconds)
    number = bisect_left(schedule, begin)
    requests = late = latest = 0.0
    while begin < end:
        poll = schedule[number]
        until = min(end, poll)
        share = until - begin
        requests += share * (number + 1)
        late += share * (poll - (begin + until) / 2)
        latest = max(latest, poll - begin)
        begin, number = until, number + 1
    width = end - about(seconds)[0]
    return Waits(requests / width, late / width, latest)


def together(schedules: Iterable[Schedule], seconds: float) -> Waits:
    """Return the averages and the maximum of several schedules."""
    waits = [one(schedule, seconds) for schedule in schedules]
    return Waits(
        statistics.fmean(each.requests for each in waits),
        statistics.fmean(each.late for each in waits),
        max(each.latest for each in waits),
    )


def run(setting: Setting) -> Result:
    count = 10 if setting.quick else WAITS
    jitter = random.Random(1).random  # noqa: S311 (no secret; the same each time)
    ours = [adaptive(jitter) for _turn in range(count)]
    fixed_schedules = {pause: fixed(pause) for pause in INTERVALS}
    rows = []
    for seconds in SHOWN:
        cells = (together(ours, seconds), *(one(each, seconds) for each in fixed_schedules.values()))
        rows.append([f"{seconds} s" if seconds < 60 else f"{seconds // 60} min", *(str(each) for each in cells)])
    return Result(
        title="Waiting",
        text=f"""
The number of polls until the end of a connect is detected, and the delay of the detection. The benchmark runs the
collection's own wait code on a simulated clock, {count} times with different random pauses. The other columns poll at
fixed intervals, like a loop with ``until`` and ``delay``. The connects of a row last up to a tenth more or less than
the first column says. Each cell shows the average number of requests, then the average delay and the maximum delay.
""",
        header=("connect of about", "keyops.aws", *(f"every {pause} s" for pause in INTERVALS)),
        rows=rows,
        goals=[
            *_guarantees(ours),
            _never_worse(ours, fixed_schedules, step=60 if setting.quick else 1),
        ],
    )


def _guarantees(schedules: Sequence[Schedule]) -> list[Goal]:
    """Check the guarantees of the modules, for each possible end of a connect between two polls."""
    extremes = [adaptive(lambda: 0.0), adaptive(lambda: 1.0)]
    gaps = [pair for each in (*schedules, *extremes) for pair in zip(each, each[1:])]
    share = max((after - before) / max(1.0, 0.1 * before) for before, after in gaps)
    latest = max(after - before for before, after in gaps)
    most = max(bisect_left(each, LONGEST) + 1 for each in (*schedules, *extremes))
    return [
        Goal(
            "The end is detected at most 10 % of the time late, or 1 second if that is more, and never more than 15 seconds.",
            f"at most {100 * share:.0f} % of that, and {latest:.1f} seconds",
            share <= 1 + ROUNDING and latest <= LATEST + ROUNDING,
        ),
        Goal(
            f"Fewer than {MOST_REQUESTS} requests in 30 minutes.",
            f"at most {most}, with the shortest random pauses",
            most < MOST_REQUESTS,
        ),
    ]


def _never_worse(ours: Sequence[Schedule], fixed_schedules: Mapping[int, Schedule], *, step: int) -> Goal:
    """Compare with fixed intervals, for all durations from 2 seconds to 30 minutes."""
    worse: dict[int, list[int]] = {pause: [] for pause in INTERVALS}
    for seconds in range(2, LONGEST + 1, step):
        own = together(ours, seconds)
        for pause, schedule in fixed_schedules.items():
            if own.worse_than(one(schedule, seconds)):
                worse[pause].append(seconds)
    found = [
        f"both from {min(durations)} to {max(durations)} seconds, compared with a poll every {pause} seconds"
        for pause, durations in worse.items()
        if durations
    ]
    return Goal(
        "For no duration both more requests and a longer delay than a fixed poll.",
        "; ".join([*found, "for no duration compared with the others" if found else "for none"]),
        not found,
        REASON if [pause for pause in INTERVALS if worse[pause]] == [min(INTERVALS)] else "",
    )
