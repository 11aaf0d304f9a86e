# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can happen in a state: a step for each request that has its effect, each lease, and each end.

The time passes in no steps of its own: the lease of a window can be over at any moment, KMS can be done at any moment. So what
holds here holds whatever the times are.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.state import ACTING
from tests.model.state import BACK
from tests.model.state import BEFORE
from tests.model.state import BRINGING
from tests.model.state import CHECKED
from tests.model.state import COMING
from tests.model.state import DONE
from tests.model.state import DOWN
from tests.model.state import ENDED
from tests.model.state import FAILED
from tests.model.state import FOUND
from tests.model.state import FOUND_AND_TIDIED
from tests.model.state import FREE
from tests.model.state import GIVEN_UP
from tests.model.state import GOING
from tests.model.state import HELD
from tests.model.state import HELD_BACK
from tests.model.state import IN_AWS
from tests.model.state import IN_SERVICE
from tests.model.state import JUST_CHECKED
from tests.model.state import KEEPING
from tests.model.state import KEPT
from tests.model.state import KILLED
from tests.model.state import LEASED
from tests.model.state import LOOKED
from tests.model.state import NOBODY
from tests.model.state import NONE
from tests.model.state import OPENING
from tests.model.state import PLANNED
from tests.model.state import RECONNECTING
from tests.model.state import REFUSED
from tests.model.state import SENT
from tests.model.state import SENT_AND_TIDIED
from tests.model.state import SOMEBODY
from tests.model.state import SPARED
from tests.model.state import TAGS
from tests.model.state import TAKEN
from tests.model.state import TAKING
from tests.model.state import TAKING_OUT
from tests.model.state import UNBOUNDED
from tests.model.state import UNHELD
from tests.model.state import UP
from tests.model.state import WINDOW
from tests.model.state import WORKING
from tests.model.state import Action
from tests.model.state import Actor
from tests.model.state import Bounds
from tests.model.state import Run
from tests.model.state import State
from tests.model.state import Store
from tests.model.state import put

Steps = Iterator[tuple[Action, State]]

DISCONNECT, CONNECT = "sends Disconnect", "sends Connect"
ON_HOST, IN_THE_CLOUD = "opens its lease on the host", "opens its lease in AWS"
OFF_HOST, OFF_THE_CLOUD = "ends the lease on the host", "ends the lease in AWS"
WORKS = "ends its work, or fails in it"
AWS_CONNECTS = "AWS connects"
REOPENS = "opens its lease on the host again"
CHECKS, PLANS, CLAIMS, ASKS, ACTS = "checks", "plans", "claims its stores", "asks its keeper", "begins to connect"

ENDS = ("play", "keeper", "both", "reboot", "machine", "term", "credentials", "network", "scheduler")
"""What may strike: the play is killed; its keeper, or the process that becomes it; both; the host is started again; the host is
lost with its disk; the keeper gets SIGTERM; the credentials expire; AWS cannot be reached for a while; EventBridge Scheduler does
nothing."""

NOTHING = Bounds()

NO_LOCK = "a lease on the host is opened without a lock"
ENDS_OTHERS = "a run that connects a store ends the lease that another window has opened since"
TAKES_BACK = (
    "a play whose task was killed, or whose keeper was taken over from, connects the stores of the window that has them"
)
TAKES_LEASE = "a run that begins to connect takes over the lease of a window that has begun since"
CHECK_COUNTS = "a store that is disconnected on purpose between check and disconnect is connected at the end"
LETS_IN = "a second window is not refused while the first one connects the store"
AGAIN = "a window disconnects without a lease in AWS, where that is over, or was ended by others meanwhile"
MENDED = frozenset({NO_LOCK, ENDS_OTHERS, TAKES_BACK, TAKES_LEASE, CHECK_COUNTS, LETS_IN, AGAIN})
"""Flaws that the code had, until the search found them. The search must find each again in a model that has it."""

PLAYS = {
    BEFORE: "_checks",
    CHECKED: "_plans",
    TAKING_OUT: "_reads_result_of_disconnect",
    WORKING: "_works",
    RECONNECTING: "_reconnects",
    BRINGING: "_brings",
}
"""What a play does, by where it is."""

JOBS = {OPENING: "_opens", TAKING: "_takes", KEEPING: "_keeps", ACTING: "_acts"}
"""The same of the process in the background."""

EVERYWHERE = ("reboot", "machine")


class Model:
    """Runs, what they can do, and what can be done to them.

    Args:
        runs: who takes part.
        bounds: how much may go wrong.
        stores: how many there are.
        flaws: those of C(MENDED) that it has.
        time: does the time of a lease ever end?
    """

    def __init__(
        self,
        runs: tuple[Run, ...],
        bounds: Bounds = NOTHING,
        *,
        stores: int = 2,
        flaws: frozenset[str] = frozenset(),
        time: bool = True,
    ) -> None:
        self.flaws = flaws
        self._time = time
        self.runs = runs
        self.bounds = bounds
        self.stores = stores
        self.machines = 1 + max(run.machine for run in runs)

    def begin(self, kms: tuple[str, ...] = ()) -> State:
        """Where it begins: all stores are CONNECTED, unless they are in other states, and nobody has one."""
        nobody = (NOBODY,) * self.machines
        found = kms or (UP,) * self.stores
        stores = tuple(Store(each, NOBODY, "", NOBODY, nobody, nobody) for each in found)
        return State(stores, tuple(self.new_actor() for _run in self.runs))

    def new_actor(self) -> Actor:
        return Actor(BEFORE, NONE, frozenset(), False, frozenset(), ("",) * self.stores)

    def steps(self, state: State) -> Steps:
        """All that can happen."""
        for number, actor in enumerate(state.actors):
            for where, does in ((actor.play, PLAYS), (actor.job, JOBS)):
                if where in does:
                    yield from getattr(self, does[where])(state, number, actor)
            yield from self._ends(state, number, actor)
        for number, store in enumerate(state.stores):
            yield from self._kms(state, number, store)
            yield from self._scheduler(state, number, store)
            yield from self._somebody(state, number, store)

    # ---- what is judged by leases

    def host_in_use(self, state: State, number: int, by: int) -> bool:
        """Does the lease on the host say that the play of another window is still there?"""
        store, machine = state.stores[number], self.runs[by].machine
        holder = store.host[machine]
        if holder == UNHELD and LETS_IN not in self.flaws and self.runs[by].kind == WINDOW:
            holder = store.owner[machine]
        return holder >= 0 and holder != by and self.runs[holder].local and state.actors[holder].is_there

    def aws_in_use(self, state: State, number: int, by: int) -> tuple[bool, ...]:
        """Does the lease in AWS say that another window has the store? Both, where it depends on how long something took."""
        holder = state.stores[number].aws
        if holder in (NOBODY, by) or self._aws_is_over(state, holder):
            return (False,)
        run, actor = self.runs[holder], state.actors[holder]
        if run.local and run.machine == self.runs[by].machine:
            return (actor.is_there,)
        if not run.keeper:
            return (True,)
        if actor.job == KEEPING and not actor.mute:
            return (True,)
        # Nobody renews it but a keeper that waits: while that disconnects or connects, it looks lost after five minutes.
        return (True, False) if not actor.works_in_background or actor.mute or self.bounds.slow else (True,)

    def _aws_is_over(self, state: State, holder: int) -> bool:
        """Is the lease in AWS of a window over? A keeper puts its end off while it connects."""
        actor = state.actors[holder]
        puts_off = self.runs[holder].keeper and actor.job == ACTING and actor.play != BRINGING
        return actor.over and not (puts_off and self._reaches_aws(state, holder))

    def _has_lease(self, state: State, number: int, by: int) -> bool:
        """Is there a lease that a run looks at, of whomever?"""
        store, run = state.stores[number], self.runs[by]
        return store.host[run.machine] != NOBODY or (number in run.aws and store.aws != NOBODY)

    def may_be_in_use(self, state: State, number: int, by: int) -> tuple[bool, ...]:
        """May the store be in another window, for all that a run can see?"""
        if self.host_in_use(state, number, by):
            return (True,)
        return self.aws_in_use(state, number, by) if number in self.runs[by].aws else (False,)

    def _refusals(self, state: State, by: int, stores: frozenset[int]) -> list[frozenset[int]]:
        """The sets of stores that a run may see in other windows."""
        sets = [frozenset[int]()]
        for number in sorted(stores):
            answers = self.may_be_in_use(state, number, by)
            sets = [found | {number} if answer else found for found in sets for answer in answers]
        return sets

    # ---- the play

    def _checks(self, state: State, by: int, actor: Actor) -> Steps:
        run, action = self.runs[by], Action(by, CHECKS)
        leased = frozenset(each for each in run.stores if self._has_lease(state, each, by))
        plan = leased | {each for each in run.stores if state.stores[each].kms in IN_SERVICE}
        if run.kind == TAGS:
            yield action, state.with_actor(by, actor._replace(play=RECONNECTING, plan=plan, begun=True))
        elif run.kind == LEASED:
            for kept in self._kept(state, by, leased):
                yield action, state.with_actor(by, actor._replace(play=RECONNECTING, plan=leased - kept, begun=True))
        else:
            for refused in self._refusals(state, by, run.stores):
                play = RECONNECTING if refused else CHECKED
                there = actor._replace(play=play, plan=plan - refused, leased=leased - refused)
                yield action, state.with_actor(by, there)

    def _kept(self, state: State, by: int, leased: frozenset[int]) -> list[frozenset[int]]:
        """The sets of stores that the playbook reconnect may leave alone, as windows are at work."""
        sets = [frozenset[int]()]
        for number in sorted(leased):
            answers = self._is_kept(state, number, by)
            sets = [found | {number} if answer else found for found in sets for answer in answers]
        return sets

    def _is_kept(self, state: State, number: int, by: int) -> tuple[bool, ...]:
        store, run = state.stores[number], self.runs[by]
        holder = store.host[run.machine]
        if number in run.aws and store.aws not in (NOBODY, holder):
            return self.aws_in_use(state, number, by)
        if holder < 0:
            return (False,)
        other = state.actors[holder]
        return (other.is_there if self.runs[holder].local else other.works_in_background and not other.over,)

    def _plans(self, state: State, by: int, actor: Actor) -> Steps:
        """The task that disconnects looks at all stores once more."""
        for refused in self._refusals(state, by, actor.plan):
            if refused or not actor.plan:
                play = RECONNECTING if refused else WORKING
                yield Action(by, PLANS), state.with_actor(by, actor._replace(play=play))
                continue
            leased = frozenset(each for each in actor.plan if self._has_lease(state, each, by))
            keeps = leased | {each for each in actor.plan if state.stores[each].kms in IN_SERVICE}
            todo = tuple(PLANNED if each in keeps else "" for each in range(self.stores))
            job = OPENING if keeps else ENDED
            plan = actor.plan if CHECK_COUNTS in self.flaws else keeps
            planned = actor._replace(play=TAKING_OUT, job=job, plan=plan, begun=True, leased=leased, todo=todo)
            yield Action(by, PLANS), state.with_actor(by, planned)

    def _reads_result_of_disconnect(self, state: State, by: int, actor: Actor) -> Steps:
        if actor.job in (OPENING, TAKING):
            return
        if (
            REFUSED in actor.todo or not actor.begun
        ):  # another window may have the stores: only those come back that were out before
            action = Action(by, "reads that it was refused")
            yield action, state.with_actor(by, actor._replace(play=RECONNECTING, begun=False))
            return
        if not actor.failed:
            yield Action(by, "begins its work"), state.with_actor(by, actor._replace(play=WORKING))
        if actor.failed or actor.job == KILLED:
            action = Action(by, "reads that not all are disconnected")
            yield action, state.with_actor(by, actor._replace(play=RECONNECTING))

    def _works(self, state: State, by: int, actor: Actor) -> Steps:
        yield Action(by, WORKS), state.with_actor(by, actor._replace(play=RECONNECTING))

    def _reconnects(self, state: State, by: int, actor: Actor) -> Steps:
        if actor.works_in_background:
            if not actor.asked:
                yield Action(by, ASKS), state.with_actor(by, actor._replace(asked=True))
            return
        done = {each for each, how in enumerate(actor.todo) if how == DONE and actor.asked and actor.job == ENDED}
        returning = (actor.plan if actor.begun else actor.plan & actor.leased) - done
        if TAKES_BACK not in self.flaws and self.runs[by].kind == WINDOW:
            returning -= {each for each in returning if self._is_anothers(state, each, by)}
        if returning:
            there = state.with_actor(by, actor._replace(play=BRINGING))
            yield Action(by, ACTS), self.acting(there, by, returning)
        else:
            yield Action(by, "ends"), state.with_actor(by, actor._replace(play=ENDED))

    def _is_anothers(self, state: State, number: int, by: int) -> bool:
        """Is the lease on the host that of another window whose play is there, and which does not connect the store yet?"""
        holder = state.stores[number].host[self.runs[by].machine]
        return holder >= 0 and holder != by and self.runs[holder].local and state.actors[holder].is_there

    def _brings(self, state: State, by: int, actor: Actor) -> Steps:
        if not actor.works_in_background:
            yield Action(by, "ends"), state.with_actor(by, actor._replace(play=ENDED))

    # ---- the process in the background

    def _opens(self, state: State, by: int, actor: Actor) -> Steps:
        if {REFUSED, HELD_BACK} & set(actor.todo) and not {PLANNED, LOOKED, IN_AWS} & set(actor.todo):
            yield from self._holds_back(state, by, actor)
            return
        unopened = [number for number, how in enumerate(actor.todo) if how in (PLANNED, LOOKED, IN_AWS)]
        for number in unopened[:1] if self.bounds.in_order else unopened:
            yield from self._opens_one(state, by, number, actor.todo[number])
            if self._can_fail(state):
                failed = self._fails(self._does(state, by, number, REFUSED))
                yield Action(by, "cannot open a lease", number), failed
        if set(actor.todo) <= {HELD, ""}:
            claimed = self._claimed(state, by, frozenset(each for each in actor.plan if self._claims(state, each)))
            for number in actor.plan:
                store = claimed.stores[number]
                if store.out >= 0:  # from now on, it is this window that must bring it back
                    claimed = claimed.with_store(number, store._replace(out=by))
            yield Action(by, CLAIMS), claimed.with_actor(by, actor._replace(job=TAKING))

    def _opens_one(self, state: State, by: int, number: int, how: str) -> Steps:
        store, run = state.stores[number], self.runs[by]
        if how == PLANNED:
            refused = self.host_in_use(state, number, by)
            action = Action(by, "finds another window" if refused else "finds no other window", number)
            yield action, self._does(state, by, number, REFUSED if refused else LOOKED)
        elif how == LOOKED and number in run.aws:
            for used in self.aws_in_use(state, number, by) if self._reaches_aws(state, by) else (True,):
                if used:
                    yield Action(by, "gets no lease in AWS", number), self._does(state, by, number, REFUSED)
                elif not state.actors[by].mute:
                    leased = state.with_store(number, store._replace(aws=by))
                    yield Action(by, IN_THE_CLOUD, number), self._does(leased, by, number, IN_AWS)
        elif NO_LOCK not in self.flaws and self.host_in_use(state, number, by):
            yield Action(by, "finds another window", number), self._does(state, by, number, REFUSED)
        else:
            yield Action(by, ON_HOST, number), self._does(self._on_host(state, number, by, by), by, number, HELD)

    def _reaches_aws(self, state: State, by: int) -> bool:
        """EventBridge Scheduler, sooner or later."""
        is_shut_out = state.actors[by].mute and ("network", by) not in state.struck
        return not (state.has_struck("scheduler") or is_shut_out)

    def _on_host(self, state: State, number: int, by: int, holder: int) -> State:
        """A lease on the host of a run is written, in place of whatever there is, or removed."""
        store = state.stores[number]
        return state.with_store(number, store._replace(host=put(store.host, self.runs[by].machine, holder)))

    def _holds_back(self, state: State, by: int, actor: Actor) -> Steps:
        """Nothing was disconnected: what was made for it is removed."""
        rest = False
        for number, how in enumerate(actor.todo):
            store = state.stores[number]
            own = store.kms in IN_SERVICE and number not in actor.leased
            if how == HELD:
                rest = True
                is_own = NO_LOCK in self.flaws or store.host[self.runs[by].machine] == by
                tidied = self._on_host(state, number, by, NOBODY) if own and is_own else state
                yield Action(by, OFF_HOST, number), self._does(tidied, by, number, REFUSED if own else HELD_BACK)
            elif own and store.aws == by and not state.has_struck("scheduler") and not actor.mute:
                rest = True
                yield Action(by, OFF_THE_CLOUD, number), state.with_store(number, store._replace(aws=NOBODY))
                if self._can_fail(state):
                    kept = actor._replace(leased=actor.leased | {number})
                    yield Action(by, "cannot end the lease in AWS", number), self._fails(state.with_actor(by, kept))
        if not rest:
            # A store that an earlier window has left out of service keeps its lease, and so gets a keeper.
            held = HELD_BACK in actor.todo and self.runs[by].keeper
            todo = tuple(KEPT if how == HELD_BACK else "" for how in actor.todo) if held else actor.todo
            held_back = actor._replace(job=KEEPING if held else ENDED, todo=todo, begun=False)
            yield Action(by, "holds back"), state.with_actor(by, held_back)

    def _claimed(self, state: State, by: int, stores: frozenset[int]) -> State:
        for number in stores:
            store = state.stores[number]
            state = state.with_store(number, store._replace(owner=put(store.owner, self.runs[by].machine, by)))
        return state

    def _claims(self, state: State, number: int) -> bool:
        """Whoever wants to disconnect a store that is out of service leaves its owner alone, where that one is still there."""
        machine_owners = {each for each in state.stores[number].owner if each >= 0}
        is_kept = any(state.actors[each].is_there for each in machine_owners)
        return state.stores[number].kms in IN_SERVICE or not is_kept

    def owns(self, state: State, number: int, by: int) -> bool:
        return state.stores[number].owner[self.runs[by].machine] == by

    def may_take_out(self, state: State, number: int, by: int) -> bool:
        """Nobody has taken the store over, the play is there, for all that can be seen, and so is the lease in AWS."""
        is_lost = state.stores[number].aws != by or state.actors[by].over
        has_lost_lease = number in self.runs[by].aws and is_lost and AGAIN not in self.flaws
        return self.owns(state, number, by) and not self.is_gone(state, by) and not has_lost_lease

    def is_gone(self, state: State, by: int) -> bool:
        """Does the job check that its play has ended?"""
        return self.runs[by].local and not state.actors[by].is_there

    def _takes(self, state: State, by: int, actor: Actor) -> Steps:
        for number, how in enumerate(actor.todo):
            moved = how == TAKEN and state.stores[number].kms in IN_SERVICE and not self.must_act(state, by)
            if how == HELD or moved:
                yield from self._takes_one(state, by, number)
        if HELD not in actor.todo:
            yield from self._has_taken(state, by, actor)

    def _takes_one(self, state: State, by: int, number: int) -> Steps:
        store, actor = state.stores[number], state.actors[by]
        if store.kms not in IN_SERVICE:
            yield Action(by, "finds it out of service", number), self._does(state, by, number, TAKEN)
            if store.kms != FAILED:
                return
        if self.may_take_out(state, number, by) and not actor.mute:
            taken = state.with_store(number, store._replace(kms=GOING, out=by, free=""))
            yield Action(by, DISCONNECT, number), self._does(taken, by, number, TAKEN)
        spared = self._does(state, by, number, SPARED, failed=True)
        if not self.may_take_out(state, number, by) or self.must_act(state, by) or actor.mute:
            yield Action(by, "leaves it", number), spared
        elif self._can_fail(state):
            yield Action(by, "cannot disconnect it", number), self._fails(spared)

    def _has_taken(self, state: State, by: int, actor: Actor) -> Steps:
        """The result is there, and a keeper stays."""
        taken = [number for number, how in enumerate(actor.todo) if how == TAKEN]
        all_out = all(state.stores[number].kms in (DOWN, FAILED) for number in taken)
        early = self.must_act(state, by) or self.is_gone(state, by) or actor.mute
        failed = actor.failed or not all_out
        connected = any(state.stores[number].kms in IN_SERVICE or not self.owns(state, number, by) for number in taken)
        keeps = self.runs[by].keeper
        todo = tuple(KEPT if how and keeps else how for how in actor.todo)
        there = actor._replace(job=KEEPING if keeps else ENDED, todo=todo, failed=failed)
        action = Action(by, "has disconnected them" if all_out else "waits no longer")
        if all_out or early or connected:
            yield action, state.with_actor(by, there)
        elif self._can_fail(state):
            yield action, self._fails(state.with_actor(by, there))

    def must_act(self, state: State, by: int) -> bool:
        """Does its keeper check that the stores must come back?"""
        actor = state.actors[by]
        return self.runs[by].keeper and (actor.asked or self.is_gone(state, by) or actor.terminated or actor.over)

    def _keeps(self, state: State, by: int, actor: Actor) -> Steps:
        kept = frozenset(number for number, how in enumerate(actor.todo) if how == KEPT)
        if self.must_act(state, by) and kept:
            if TAKES_LEASE not in self.flaws:
                kept = frozenset(each for each in kept if not self._is_left(state, each, by))
            yield Action(by, ACTS), self.acting(state, by, kept)
        for number in kept:
            if self._is_left(state, number, by):
                yield Action(by, "leaves it to others", number), self._does(state, by, number, "")
            elif state.stores[number].host[self.runs[by].machine] == NOBODY:
                yield Action(by, REOPENS, number), self._on_host(state, number, by, by)
        if not kept:
            yield Action(by, "has nothing to keep"), state.with_actor(by, actor._replace(job=ENDED))

    def _is_left(self, state: State, number: int, by: int) -> bool:
        """Has somebody else taken the store over, or is it in service?"""
        store = state.stores[number]
        holder = store.host[self.runs[by].machine]
        if number in self.runs[by].aws and store.aws not in (NOBODY, by) and not state.actors[by].mute:
            return True
        return store.kms in IN_SERVICE if holder == NOBODY else holder != by

    def acting(self, state: State, by: int, stores: frozenset[int]) -> State:
        """Take stores over to connect them: each is looked at, claimed, and its lease gets nobody who holds it."""
        run, machine = self.runs[by], self.runs[by].machine
        others = frozenset(each for each in stores if self.host_in_use(state, each, by))
        holders = {each: state.stores[each].host[machine] for each in stores}
        knows = {
            (each, state.stores[each].aws)
            for each, holder in holders.items()
            if each in run.aws or self._names_schedule(each, holder)
        }
        for number in stores:
            store = state.stores[number]
            spares = TAKES_LEASE not in self.flaws and number in others and store.kms in IN_SERVICE
            host = store.host if spares or holders[number] == NOBODY else put(store.host, machine, UNHELD)
            out = by if store.out >= 0 else store.out
            state = state.with_store(number, store._replace(host=host, out=out))
        todo = tuple(_to_do(state.stores[each]) if each in stores else "" for each in range(self.stores))
        actor = state.actors[by]._replace(job=ACTING, todo=todo, others=others, knows=frozenset(knows))
        return self._claimed(state.with_actor(by, actor), by, frozenset(each for each in stores if todo[each] == BACK))

    def _names_schedule(self, number: int, holder: int) -> bool:
        """Does a lease on the host say that there is one in AWS?"""
        return holder == UNHELD or (holder >= 0 and number in self.runs[holder].aws)

    def _acts(self, state: State, by: int, actor: Actor) -> Steps:
        for number, how in enumerate(actor.todo):
            if how == BACK:
                yield from self._connects(state, by, number)
            elif how in (SENT, FOUND):
                yield from self._tidies_host(state, by, number)
            elif how in (SENT_AND_TIDIED, FOUND_AND_TIDIED):
                yield from self._tidies_aws(state, by, number)
        if set(actor.todo) <= {DONE, GIVEN_UP, ""}:
            yield Action(by, "has connected them"), state.with_actor(by, actor._replace(job=ENDED))

    def _connects(self, state: State, by: int, number: int) -> Steps:
        store, actor = state.stores[number], state.actors[by]
        given_up = self._does(state, by, number, GIVEN_UP)
        if not self.owns(state, number, by):
            yield Action(by, "finds it taken over", number), given_up
            return
        if actor.mute:
            if not state.has_struck("network"):
                yield Action(by, "cannot ask KMS", number), given_up
            return
        if store.kms in IN_SERVICE:
            yield Action(by, "finds it in service", number), self._does(state, by, number, FOUND)
        elif store.kms == DOWN:
            sent = state.with_store(number, store._replace(kms=COMING))
            yield Action(by, CONNECT, number), self._does(sent, by, number, SENT)
        elif store.kms == FAILED:
            yield Action(by, DISCONNECT, number), state.with_store(number, store._replace(kms=GOING))
            yield Action(by, "finds it FAILED", number), given_up
        if self._can_fail(state):
            yield Action(by, "cannot connect it", number), self._fails(given_up)

    def _tidies_host(self, state: State, by: int, number: int) -> Steps:
        store, actor = state.stores[number], state.actors[by]
        found = actor.todo[number] == FOUND
        is_lost = not found and not self.owns(state, number, by)  # who has nothing to do claims nothing
        if store.kms == UP and found and number in actor.others:
            yield Action(by, "leaves it to its window", number), self._does(state, by, number, DONE)
        elif store.kms == UP:
            if is_lost:
                yield Action(by, "finds it taken over", number), self._does(state, by, number, GIVEN_UP)
            stays = ENDS_OTHERS not in self.flaws and self._is_anothers(state, number, by)
            tidied = state if stays else self._on_host(state, number, by, NOBODY)
            how = FOUND_AND_TIDIED if found else SENT_AND_TIDIED
            yield Action(by, OFF_HOST, number), self._does(tidied, by, number, how)
        elif store.kms != COMING or is_lost:
            given_up = self._does(state, by, number, GIVEN_UP)
            yield Action(by, "finds it out of service again", number), given_up
            if not found and not is_lost and store.kms in (GOING, DOWN):
                yield Action(by, "decides again", number), self._does(state, by, number, BACK)
        if self._can_fail(state):
            yield Action(by, "waits no longer", number), self._fails(self._does(state, by, number, GIVEN_UP))

    def _tidies_aws(self, state: State, by: int, number: int) -> Steps:
        store, actor = state.stores[number], state.actors[by]
        done = self._does(state, by, number, DONE)
        known = [holder for each, holder in actor.knows if each == number]
        if store.aws == NOBODY or not known:
            yield Action(by, "is done with it", number), done
            return
        describes = actor.todo[number] == FOUND_AND_TIDIED
        is_another = ENDS_OTHERS not in self.flaws and store.aws != by and store.kms != UP
        for used in self.aws_in_use(state, number, by) if describes else (False,):
            if used or is_another:
                yield Action(by, "leaves the lease in AWS to its window", number), done
            elif not (actor.mute or state.has_struck("scheduler")):
                ended = done.with_store(number, store._replace(aws=NOBODY))
                yield Action(by, OFF_THE_CLOUD, number), ended
        if actor.mute or state.has_struck("scheduler"):
            yield Action(by, "cannot end the lease in AWS", number), done
        elif self._can_fail(state):
            yield Action(by, "cannot end the lease in AWS", number), self._fails(done)

    def _does(self, state: State, by: int, number: int, how: str, *, failed: bool | None = None) -> State:
        """A job comes so far with a store."""
        actor = state.actors[by]
        fails = actor.failed if failed is None else failed
        return state.with_actor(by, actor._replace(todo=put(actor.todo, number, how), failed=fails))

    # ---- failures, ends, and others

    def _can_fail(self, state: State) -> bool:
        return state.spent.failures < self.bounds.failures

    def _fails(self, state: State) -> State:
        return self._spend(state, "failures", self.bounds.failures)

    def _spend(self, state: State, what: str, bound: int) -> State:
        if bound == UNBOUNDED:
            return state
        return state._replace(spent=state.spent._replace(**{what: getattr(state.spent, what) + 1}))

    def _ends(self, state: State, by: int, actor: Actor) -> Steps:
        is_anywhere = actor.play != BEFORE and (actor.is_there or actor.works_in_background)
        if self._has_time(state, by, actor):
            yield (
                Action(NOBODY, f"time: the lease of run {by} is over"),
                state.with_actor(by, actor._replace(over=True)),
            )
        if ("network", by) in state.struck and actor.mute:
            yield Action(NOBODY, f"run {by} reaches AWS again"), state.with_actor(by, actor._replace(mute=False))
        if is_anywhere and state.spent.strikes < self.bounds.strikes and self.runs[by].kind == WINDOW:
            for end in self.bounds.ends:
                struck = self.strike(state, end, by)
                if struck is not None:
                    counted = self._spend(struck, "strikes", self.bounds.strikes)
                    yield Action(NOBODY, f"strikes run {by}: {end}"), counted

    def _has_time(self, state: State, by: int, actor: Actor) -> bool:
        """Does it make a difference that its lease is not over?"""
        if actor.over or self.runs[by].kind != WINDOW or not self._time:
            return False
        if not self.bounds.slow and actor.job in (OPENING, TAKING):
            return False  # a lease lasts longer than it takes to disconnect
        keeps = self.runs[by].keeper and actor.job in (OPENING, TAKING, KEEPING)
        return keeps or any(store.aws == by for store in state.stores)

    def strike(self, state: State, end: str, by: int) -> State | None:
        """An end of C(ENDS) strikes a run, or its machine; None where it makes no difference."""
        actor = state.actors[by]
        kills = {"play": (True, False), "keeper": (False, True), "both": (True, True)}
        if end in EVERYWHERE:
            struck = self._strikes_machine(state, end, self.runs[by].machine)
        elif end in kills:
            struck = state.with_actor(by, _killed(actor, *kills[end]))
        elif end == "term":
            struck = state.with_actor(by, actor._replace(terminated=True)) if self.runs[by].keeper else state
        elif end == "scheduler":
            return None if state.has_struck(end) else state._replace(struck=state.struck | {(end, by)})
        else:
            struck = state.with_actor(by, actor._replace(mute=True))
        return None if struck == state else struck._replace(struck=struck.struck | {(end, by)})

    def _strikes_machine(self, state: State, end: str, machine: int) -> State:
        for number, actor in enumerate(state.actors):
            if self.runs[number].machine == machine and actor.play != BEFORE:
                state = state.with_actor(number, _killed(actor, play=True, job=True))
        for number, store in enumerate(state.stores) if end == "machine" else ():
            host, owner = put(store.host, machine, NOBODY), put(store.owner, machine, NOBODY)
            state = state.with_store(number, store._replace(host=host, owner=owner))
        return state

    def _kms(self, state: State, number: int, store: Store) -> Steps:
        if store.kms == GOING:
            yield Action(NOBODY, "is DISCONNECTED", number), state.with_store(number, store._replace(kms=DOWN))
        if store.kms == COMING:
            connected = store._replace(kms=UP, out=NOBODY, free="")
            yield Action(NOBODY, "is CONNECTED", number), state.with_store(number, connected)
            if self._can_fail(state):
                failed = self._fails(state.with_store(number, store._replace(kms=FAILED, out=NOBODY)))
                yield Action(NOBODY, "is FAILED", number), failed

    def _scheduler(self, state: State, number: int, store: Store) -> Steps:
        """KMS refuses a connect in other states than DISCONNECTED. AWS tries again, and ends that when a day is over."""
        if store.aws == NOBODY or not self._aws_is_over(state, store.aws) or state.has_struck("scheduler"):
            return
        gone = store._replace(aws=NOBODY)
        if store.kms == DOWN:
            yield Action(NOBODY, AWS_CONNECTS, number), state.with_store(number, gone._replace(kms=COMING))
        elif store.kms != GOING:
            yield Action(NOBODY, "AWS gives up", number), state.with_store(number, gone)

    def _somebody(self, state: State, number: int, store: Store) -> Steps:
        if state.spent.acts >= self.bounds.acts:
            return
        acted = self._spend(state, "acts", self.bounds.acts)
        if store.kms == DOWN:
            yield Action(SOMEBODY, CONNECT, number), acted.with_store(number, store._replace(kms=COMING))
        if store.kms in (*IN_SERVICE, FAILED):
            gone = store._replace(kms=GOING, out=SOMEBODY, free=self._who_has(state, number))
            yield Action(SOMEBODY, DISCONNECT, number), acted.with_store(number, gone)

    def _who_has(self, state: State, number: int) -> str:
        store = state.stores[number]
        if store.aws != NOBODY or set(store.host) != {NOBODY}:
            return ""
        having = {
            actor.play
            for actor in state.actors
            if (actor.is_there or actor.works_in_background) and number in actor.plan
        }
        return FREE if not having else JUST_CHECKED if having == {CHECKED} else ""


def _to_do(store: Store) -> str:
    """What a task plans that shall connect a store."""
    return FOUND if store.kms in IN_SERVICE else BACK


def _killed(actor: Actor, play: bool, job: bool) -> Actor:
    return actor._replace(
        play=KILLED if play and actor.is_there else actor.play,
        job=KILLED if job and actor.works_in_background else actor.job,
    )
