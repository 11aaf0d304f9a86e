# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a state of the model is. Named tuples: their hash and comparison are those of tuples, and a search does little else."""

from __future__ import annotations

from typing import Any
from typing import NamedTuple

UP, GOING, DOWN, COMING, FAILED = "CONNECTED", "DISCONNECTING", "DISCONNECTED", "CONNECTING", "FAILED"
IN_SERVICE = (UP, COMING)

NOBODY, SOMEBODY, UNHELD = -1, -2, -3
"""In place of the number of a run: nobody; somebody who knows nothing of windows; whoever has taken a lease over to connect."""

WINDOW, TAGS, LEASED = "window", "tags", "leased"
"""Kinds of runs: the role; the role with C(--tags reconnect); the playbook reconnect, which leaves windows at work alone."""

BEFORE, CHECKED, TAKING_OUT, WORKING = "before", "checked", "disconnects", "works"
RECONNECTING, BRINGING, ENDED, KILLED = "reconnects", "reconnects by itself", "ended", "killed"
"""Where a play is. While it is RECONNECTING it waits for its keeper."""

NONE, OPENING, TAKING, KEEPING, ACTING = "none", "opens leases", "disconnects", "keeps", "connects"
"""Where the process in the background is; or it is ENDED or KILLED."""

PLANNED, LOOKED, IN_AWS, HELD, REFUSED = "planned", "looked", "leased in AWS", "leased", "refused"
TAKEN, SPARED, KEPT, HELD_BACK = "taken", "spared", "kept", "held back"
BACK, SENT, FOUND, DONE, GIVEN_UP = "back", "sent", "found connected", "done", "given up"
SENT_AND_TIDIED, FOUND_AND_TIDIED = "sent, tidied on the host", "found connected, tidied on the host"
"""How far that process is with a store; empty where it has nothing to do with it."""


FREE, JUST_CHECKED = "free", "just checked"


class Run(NamedTuple):
    """Who takes part, and with which options.

    Attributes:
        kind: WINDOW, TAGS or LEASED.
        machine: where it runs.
        stores: their numbers.
        keeper: has it one?
        aws: the stores for which it makes leases in AWS; for a reconnect: for which it looks for such.
        local: does the managed host see whether the play is there?
    """

    kind: str = WINDOW
    machine: int = 0
    stores: frozenset[int] = frozenset({0, 1})
    keeper: bool = True
    aws: frozenset[int] = frozenset()
    local: bool = True


class Bounds(NamedTuple):
    """How much may go wrong. C(UNBOUNDED) is not counted.

    Attributes:
        ends: which ends may strike, see C(steps.ENDS).
        strikes: how many of them at most.
        acts: how often somebody else connects or disconnects a store.
        failures: how often a request fails for good, or a wait is too long.
        slow: may a disconnect or a connect take longer than the five minutes after which other machines give a keeper up, and
            the requests before longer than the lease?
        in_order: does a job open its leases in the order of its stores? No step on one store depends on the others'.
    """

    ends: tuple[str, ...] = ()
    strikes: int = 0
    acts: int = 0
    failures: int = 0
    slow: bool = False
    in_order: bool = True


UNBOUNDED = 1000


class Store(NamedTuple):
    """A key store, and what is noted about it.

    Attributes:
        kms: its connection state.
        out: who has disconnected it, or has taken it over since; NOBODY when it is connected, and when a connect has failed.
        free: when somebody disconnected it on purpose: FREE where no window had it, JUST_CHECKED where one had only checked it.
        aws: whose lease in AWS there is.
        host: whose lease there is on each machine.
        owner: who may change it on each machine.
    """

    kms: str
    out: int
    free: str
    aws: int
    host: tuple[int, ...]
    owner: tuple[int, ...]


class Actor(NamedTuple):
    """Where a run is.

    Attributes:
        play: where its play is.
        job: where its process in the background is.
        plan: the stores that it takes out, and brings back: as its check has found them.
        begun: has it begun to disconnect them, so that it brings all back?
        leased: those of them for which there was a lease already when it looked last.
        others: those that another window was about to take when its job began to connect.
        knows: those whose lease in AWS its job knows of when it connects, each with whose lease that was when it began.
        todo: how far the job is with each store.
        asked: has the play asked its job to connect?
        over: is the time of its leases over?
        terminated: has its keeper got SIGTERM?
        failed: could it not disconnect all?
        mute: have its credentials expired?
    """

    play: str
    job: str
    plan: frozenset[int]
    begun: bool
    leased: frozenset[int]
    todo: tuple[str, ...]
    others: frozenset[int] = frozenset()
    knows: frozenset[tuple[int, int]] = frozenset()
    asked: bool = False
    over: bool = False
    terminated: bool = False
    failed: bool = False
    mute: bool = False

    @property
    def is_there(self) -> bool:
        """Is the play itself still there?"""
        return self.play not in (ENDED, KILLED)

    @property
    def works_in_background(self) -> bool:
        return self.job not in (NONE, ENDED, KILLED)


class Spent(NamedTuple):
    """What has gone wrong so far, to be counted."""

    strikes: int = 0
    acts: int = 0
    failures: int = 0


class State(NamedTuple):
    """A state.

    Attributes:
        stores: see there.
        actors: of each run.
        struck: the ends that have struck, and which run or machine.
        spent: see there.
    """

    stores: tuple[Store, ...]
    actors: tuple[Actor, ...]
    struck: frozenset[tuple[str, int]] = frozenset()
    spent: Spent = Spent()

    def with_store(self, number: int, store: Store) -> State:
        return self._replace(stores=put(self.stores, number, store))

    def with_actor(self, number: int, actor: Actor) -> State:
        return self._replace(actors=put(self.actors, number, actor))

    def has_struck(self, *ends: str) -> bool:
        return any(end in ends for end, _whom in self.struck)


class Action(NamedTuple):
    """What happens.

    Attributes:
        who: the number of a run; SOMEBODY; or NOBODY for KMS, EventBridge Scheduler and time.
        what: in words.
        store: which; -1 for none.
    """

    who: int
    what: str
    store: int = -1

    def __str__(self) -> str:
        by = {NOBODY: "", SOMEBODY: "somebody else "}.get(self.who, f"run {self.who} ")
        return f"{by}{self.what}{'' if self.store < 0 else f' (store {self.store})'}"


def put(whole: tuple[Any, ...], number: int, part: Any) -> tuple[Any, ...]:
    """The same with one part in another's place."""
    return (*whole[:number], part, *whole[number + 1 :])
