# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes in simulated time: one runs at a time, the one that is due first, so a history is always the same."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any

LOOK = 1.0
"""Seconds after which one that waits for others sees what they have done."""

LONGEST_DOZE = 60.0


class Killed(BaseException):
    """The process is gone; nothing of it runs any more but what the operating system does."""


@dataclass(eq=False, repr=False)
class Process:
    """A process on a machine.

    Attributes:
        machine: where it runs.
        pid: its number there.
        owner: what it belongs to, as a window.
        role: what it is: C(play), C(job).
        is_alive: has it neither ended nor been killed?
        was_killed: did it not end by itself?
        arguments: of the module that it runs.
        keeper: that it is.
    """

    machine: Any
    pid: int
    owner: Any
    role: str
    is_alive: bool = True
    was_killed: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)
    keeper: Any = None

    @property
    def began(self) -> str:
        """In the words of its system: no two processes have the same."""
        return f"b{id(self)}"


class _Actor:
    """A thread of a process."""

    def __init__(self, process: Process, work: Callable[[], None], is_main: bool) -> None:
        self.process = process
        self.work = work
        self.is_main = is_main
        self.turn = threading.Semaphore(0)
        self.ticket = 0
        self.dozes = False
        self.has_ended = False


class Simulation:
    """Processes that take turns.

    Args:
        advance: moves everybody's time forward.
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        self.now = 0.0
        self.failure: BaseException | None = None
        self._advance = advance
        self._queue: list[tuple[float, int, _Actor, int]] = []
        self._number = itertools.count()
        self._actors: list[_Actor] = []
        self._current: _Actor | None = None
        self._main = threading.Semaphore(0)
        self._horizon = 0.0

    @property
    def process(self) -> Process:
        """The one that runs."""
        if self._current is None:
            raise RuntimeError("no process runs")
        return self._current.process

    @property
    def has_current(self) -> bool:
        """Does a process run?"""
        return self._current is not None

    @property
    def alive(self) -> list[Process]:
        """All processes that have not ended."""
        return list(dict.fromkeys(actor.process for actor in self._actors if actor.process.is_alive))

    # ---- from outside

    def start(self, process: Process, work: Callable[[], None], *, is_main: bool = True) -> None:
        """Let a thread of a process begin now. The process ends with its main thread."""
        actor = _Actor(process, work, is_main)
        self._actors.append(actor)
        self._push(self.now, actor)
        self._wake_dozers()
        threading.Thread(target=self._live, args=(actor,), daemon=True).start()

    def start_thread(self, work: Callable[[], None]) -> None:
        """Another thread of the process that runs. The process does not wait for it."""
        self.start(self.process, work, is_main=False)

    def kill(self, process: Process) -> None:
        """End it, at once."""
        if not process.is_alive:
            return
        process.is_alive = False
        process.was_killed = True
        for actor in self._actors:
            if actor.process is process and actor is not self._current and not actor.has_ended:
                self._push(self.now, actor)
        self._wake_dozers()

    def run(self, seconds: float) -> None:
        """Let so much time pass. Raises what a process has raised."""
        end = self._horizon = self.now + seconds
        while self._turn_of_next(end):
            pass
        self._move_to(end)

    def run_until_idle(self, longest: float) -> None:
        """Let time pass until all processes have ended, or so many seconds are over."""
        end = self._horizon = self.now + longest
        while self.alive and self._turn_of_next(end):
            pass

    def close(self) -> None:
        """End all processes."""
        for process in self.alive:
            self.kill(process)
        self._horizon = self.now
        while any(not actor.has_ended for actor in self._actors):
            waiting = next(actor for actor in self._actors if not actor.has_ended)
            waiting.process.is_alive = False
            self._let(waiting)

    def _turn_of_next(self, end: float) -> bool:
        while self._queue and self._queue[0][0] <= end:
            time, _number, actor, ticket = heapq.heappop(self._queue)
            if actor.has_ended or ticket != actor.ticket:
                continue
            self._move_to(time)
            self._let(actor)
            if self.failure is not None:
                failure, self.failure = self.failure, None
                raise failure
            return True
        return False

    def _let(self, actor: _Actor) -> None:
        self._current = actor
        actor.turn.release()
        self._main.acquire()
        self._current = None

    # ---- from a process

    def sleep(self, seconds: float) -> None:
        """Wait. Raises Killed where the process is gone meanwhile."""
        self._check()
        wake = self.now + max(seconds, 0.0)
        if wake <= self._horizon and (not self._queue or self._queue[0][0] > wake):
            self._move_to(wake)
        else:
            self._pause(wake)
        self._check()

    def doze(self, longest: float = LONGEST_DOZE) -> None:
        """Wait until others may have done something."""
        self._check()
        others = [time for time, _number, actor, ticket in self._queue if ticket == actor.ticket and not actor.dozes]
        wake = min(self.now + max(longest, 0.1), min(others, default=self.now + LONGEST_DOZE) + LOOK)
        actor = self._own()
        actor.dozes = True
        self._pause(wake)
        actor.dozes = False
        self._check()

    def _own(self) -> _Actor:
        if self._current is None:
            raise RuntimeError("no process runs")
        return self._current

    def _check(self) -> None:
        if not self._own().process.is_alive:
            raise Killed

    def _pause(self, wake: float) -> None:
        actor = self._own()
        self._push(wake, actor)
        self._main.release()
        actor.turn.acquire()

    def _live(self, actor: _Actor) -> None:
        actor.turn.acquire()
        try:
            if actor.process.is_alive:
                actor.work()
                if actor.is_main:
                    actor.process.is_alive = False
        except Killed:
            pass
        except BaseException as error:
            actor.process.is_alive = False
            self.failure = self.failure or error
        actor.has_ended = True
        if not actor.process.is_alive:
            for other in self._actors:
                if other.process is actor.process and not other.has_ended:
                    self._push(self.now, other)
        self._wake_dozers()
        self._main.release()

    # ---- both

    def _push(self, time: float, actor: _Actor) -> None:
        actor.ticket = next(self._number)
        heapq.heappush(self._queue, (time, actor.ticket, actor, actor.ticket))

    def _wake_dozers(self) -> None:
        for actor in self._actors:
            if actor.dozes and not actor.has_ended:
                self._push(self.now + LOOK, actor)

    def _move_to(self, time: float) -> None:
        if time > self.now:
            seconds, self.now = time - self.now, time
            self._advance(seconds)
