# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes through all histories, level by level: undisturbed, with one disturbance, with two.

A history tells at which requests it can be disturbed next. So when a level has been run, the number of histories of the next is
known before that begins. A unit of the work is a history whose continuations are run, by one process; what is done is kept in a
file, so that a search that was interrupted goes on.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import multiprocessing
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from dev.environment import ROOT
from kms_emulator import Control
from tests.histories.__main__ import prepare
from tests.prove.cases import Case
from tests.prove.cases import every_case
from tests.prove.disturbances import Disturbance
from tests.prove.disturbances import following
from tests.prove.judge import flaw
from tests.prove.world import Played
from tests.prove.world import ProofWorld
from tests.prove.world import Quick

CODE = (
    "plugins/module_utils/_custom_key_store",
    "emulator/src",
    "tests/histories",
    "tests/prove",
    "tests/unit/harness.py",
)
"""What a result depends on: with other code, nothing is done yet."""


@dataclass(frozen=True)
class History:
    """A history to run, by what makes it up. It is written as its case and its disturbances, with a space between."""

    case: Case
    disturbances: tuple[Disturbance, ...] = ()

    def __str__(self) -> str:
        return " ".join((str(self.case), *map(str, self.disturbances)))

    @classmethod
    def of(cls, text: str) -> History:
        """The history that is written so.

        Raises:
            ValueError: none is.
        """
        case, *disturbances = text.split() or [""]
        return cls(Case.of(case), tuple(map(Disturbance.of, disturbances)))

    def play(self, control: Control) -> Played:
        """Run it."""
        undisturbed = base(self.case, control)
        if not self.disturbances:
            return undisturbed
        return ProofWorld(control, self.case, self.disturbances).play(undisturbed.task.predicted)

    def next(self, played: Played) -> list[History]:
        """Those with one disturbance more, which comes last, in a fixed order."""
        last = self.disturbances[-1] if self.disturbances else None
        return [
            History(self.case, (*self.disturbances, each)) for each in following(self.case.store, played.steps, last)
        ]


@functools.lru_cache(maxsize=512)
def base(case: Case, control: Control) -> Played:
    """The undisturbed history of a case."""
    return ProofWorld(control, case, ()).play()


@dataclass(frozen=True)
class Unit:
    """Part of the work: the histories that continue one, those of them whose turn it is.

    Attributes:
        parent: that history, as text; empty for the undisturbed histories of all cases.
        first: the number of the first of them on its level, from 0.
        every: each so many of a level are run.
        is_last: are they on the last level, so that nobody asks how they continue?
    """

    parent: str
    first: int
    every: int
    is_last: bool

    @property
    def key(self) -> str:
        """Tells what is done from what is not. Of a sample, it depends on what comes before."""
        return " ".join(map(str, (self.parent, *((self.first, self.every) if self.every > 1 else ()), self.is_last)))


@dataclass
class Done:
    """What became of a unit.

    Attributes:
        parent: see C(Unit).
        ran: how many histories were.
        next: how many continuations each of them has, by its text; those without any are left out.
        failures: what does not hold, by the text of the history.
    """

    parent: str
    ran: int = 0
    next: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def carry_out(unit: Unit, control: Control, cases: Sequence[Case] | None = None) -> Done:
    """Run a unit; those of the first level are the cases."""
    done = Done(unit.parent)
    if cases is not None:
        histories = [History(case) for case in cases]
    else:
        parent = History.of(unit.parent)
        histories = parent.next(parent.play(control))
    for number, history in enumerate(histories, unit.first):
        if number % unit.every == 0:
            _judge(history, control, done, is_last=unit.is_last)
    return done


def _judge(history: History, control: Control, done: Done, *, is_last: bool) -> None:
    done.ran += 1
    try:
        played = history.play(control)
    except Exception as error:  # whatever it is, it is what was looked for
        done.failures[str(history)] = f"{type(error).__name__}: {error}"
        return
    found = flaw(played, base(history.case, control))
    if found is not None:
        done.failures[str(history)] = found
    continuations = 0 if is_last else len(history.next(played))
    if continuations:
        done.next[str(history)] = continuations


def _carry_out(unit: Unit) -> Done:
    return carry_out(unit, _control())


@functools.cache
def _control() -> Control:
    return Quick()


@dataclass
class Level:
    """How far a level is.

    Attributes:
        disturbances: how many each of its histories has.
        of: how many histories there are.
        wanted: how many of them are to be run.
        ran: how many were.
        failures: what does not hold, by the text of the history.
    """

    disturbances: int
    of: int
    wanted: int
    ran: int = 0
    failures: dict[str, str] = field(default_factory=dict)


class Search:
    """All histories of some cases, up to a number of disturbances.

    Args:
        disturbances: that number.
        cases: None for all.
        every: on the last level, run each so many of the histories only.
        file: what keeps what is done; None to keep nothing.
        workers: processes; 0 to do it in this one.
        report: is told of each level before it begins, while it is run and when it is done.
    """

    def __init__(
        self,
        disturbances: int,
        *,
        cases: Sequence[Case] | None = None,
        every: int = 1,
        file: Path | None = None,
        workers: int = 0,
        report: Callable[[Level], None] = lambda level: None,
    ) -> None:
        self._last = disturbances
        self._cases = every_case() if cases is None else list(cases)
        self._every = every
        self._file = file
        self._workers = workers
        self._report = report

    def run(self) -> list[Level]:
        """Search level by level, and stop after one with failures: its continuations would fail, too, and be longer.

        Returns:
            The levels that were run.
        """
        base.cache_clear()
        kept = self._kept()
        levels = [self._first()]
        while levels[-1].disturbances < self._last and not levels[-1].failures:
            levels.append(self._level(levels[-1].disturbances + 1, kept))
        return levels

    def _first(self) -> Level:
        """The undisturbed histories. They are few, and run each time."""
        level = Level(0, len(self._cases), len(self._cases))
        self._report(level)
        done = carry_out(Unit("", 0, 1, self._last == 0), _control(), self._cases)
        level.ran, level.failures = done.ran, done.failures
        self._next = done.next
        self._report(level)
        return level

    def _level(self, number: int, kept: dict[str, Done]) -> Level:
        is_last = number == self._last
        every = self._every if is_last else 1
        firsts = itertools.accumulate(self._next.values(), initial=0)
        units = [
            Unit(parent, first, every, is_last)
            for (parent, count), first in zip(self._next.items(), firsts, strict=False)
            if -first % every < count  # or else none of them is run
        ]
        of = sum(self._next.values())
        level = Level(number, of, -(-of // every))
        self._report(level)
        done = {unit.parent: kept[unit.key] for unit in units if unit.key in kept}
        for each in done.values():
            level.ran += each.ran
        # In no order, but always the same: a search that is not ended yet has seen something of everything.
        todo = sorted((unit for unit in units if unit.parent not in done), key=lambda unit: _digest(unit.parent))
        with contextlib.closing(self._carried_out(todo)) as carried_out:
            for unit, each in carried_out:
                done[unit.parent] = each
                level.ran += each.ran
                self._keep(unit, each)
                self._report(level)
        self._next = {}
        for unit in units:  # in their order, whichever was done first
            level.failures.update(done[unit.parent].failures)
            self._next.update(done[unit.parent].next)
        self._report(level)
        return level

    def _carried_out(self, units: list[Unit]) -> Generator[tuple[Unit, Done], None, None]:
        if self._workers == 0:
            yield from ((unit, carry_out(unit, _control())) for unit in units)
            return
        by_parent = {unit.parent: unit for unit in units}
        with multiprocessing.get_context("spawn").Pool(self._workers, initializer=prepare) as pool:
            for done in pool.imap_unordered(_carry_out, units, chunksize=4):
                yield by_parent[done.parent], done

    # ---- what is done

    def _kept(self) -> dict[str, Done]:
        """What an earlier search of the same code has done. A line that was not written to its end does not count."""
        if self._file is None:
            return {}
        kept: dict[str, Done] = {}
        with contextlib.suppress(FileNotFoundError):
            first, *lines = self._file.read_text().splitlines(keepends=True) or [""]
            for line in lines if first.strip() == fingerprint() else []:
                with contextlib.suppress(ValueError):
                    key, done = json.loads(line)
                    kept[key] = Done(**done)
            if lines and not lines[-1].endswith("\n"):
                self._file.write_text("".join([first, *lines[:-1]]))
        if not kept:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(f"{fingerprint()}\n")
        return kept

    def _keep(self, unit: Unit, done: Done) -> None:
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps([unit.key, asdict(done)]) + "\n")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@functools.cache
def fingerprint() -> str:
    """Tells the code that a result is about from any other."""
    whole = hashlib.sha256()
    for name in CODE:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            whole.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return whole.hexdigest()
