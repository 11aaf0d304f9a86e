# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is what a window really did with a store a path of the model?

The store, its leases and what others do to them are taken as they were seen. What is inside of the window is not seen, so all
states that it may be in are followed at the same time. Where none is left, the window did what the model does not allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.model.state import BRINGING
from tests.model.state import HELD
from tests.model.state import NOBODY
from tests.model.state import UNBOUNDED
from tests.model.state import Actor
from tests.model.state import Bounds
from tests.model.state import Run
from tests.model.state import State
from tests.model.state import Store
from tests.model.steps import ASKS
from tests.model.steps import CONNECT
from tests.model.steps import DISCONNECT
from tests.model.steps import IN_THE_CLOUD
from tests.model.steps import OFF_HOST
from tests.model.steps import OFF_THE_CLOUD
from tests.model.steps import ON_HOST
from tests.model.steps import REOPENS
from tests.model.steps import WORKS
from tests.model.steps import Model
from tests.model.steps import Steps

SEEN = frozenset({ON_HOST, REOPENS, IN_THE_CLOUD, DISCONNECT, CONNECT, OFF_HOST, OFF_THE_CLOUD})
"""What can be seen of a window. All else goes on inside of it."""

BEGINS, KILLS = "begins to reconnect", "is killed: "
ANOTHER = 1
"""The number of any other store of the window."""

OTHERS = 1
"""In place of the numbers of all runs but the window itself."""


@dataclass(frozen=True)
class Event:
    """Something that was seen.

    Attributes:
        when: in seconds.
        who: did it: a window, or another run; None for others.
        what: one of C(SEEN), C(BEGINS), C(KILLS) with the end; else something of others.
        store_id: of which store; empty where it is about the run.
        kms: the connection state of the store just before.
        host: whose lease was on the host of each machine just before, by the name of the machine; see C(tests.model.state).
        aws: the same in AWS.
    """

    when: float
    who: Any
    what: str
    store_id: str = ""
    kms: str = ""
    host: Any = NOBODY
    aws: Any = NOBODY


class OneWindow(Model):
    """One window over one store. What others do is not decided here: it was seen.

    Args:
        run: the window, on machine 0.
    """

    def __init__(self, run: Run) -> None:
        others = Run(stores=frozenset({0}))
        bounds = Bounds(failures=UNBOUNDED, slow=True, in_order=False)
        super().__init__((run, others), bounds, stores=1, time=False)

    def host_in_use(self, state: State, number: int, by: int) -> bool:
        """Whether another window has the store, the histories check by themselves."""
        return False

    def aws_in_use(self, state: State, number: int, by: int) -> tuple[bool, ...]:
        return (True, False) if state.stores[number].aws == OTHERS else (False,)

    def owns(self, state: State, number: int, by: int) -> bool:
        """Who was taken over from gives up, as after any failure."""
        return True

    def _can_fail(self, state: State) -> bool:
        return True

    def _refusals(self, state: State, by: int, stores: frozenset[int]) -> list[frozenset[int]]:
        """Another store of the window may be refused."""
        refused = super()._refusals(state, by, stores)
        return [*refused, *(each | {ANOTHER} for each in refused)]

    def _opens(self, state: State, by: int, actor: Actor) -> Steps:
        """So may the lease of another store, when all are there."""
        yield from super()._opens(state, by, actor)
        if actor.todo == (HELD,):
            yield from self._holds_back(state, by, actor)

    def inside(self, state: State, *, reconnects: bool, may_be_over: bool) -> list[State]:
        """What may go on inside of the window, one step.

        Args:
            state: as it is.
            reconnects: has its play begun to?
            may_be_over: may its lease be over by now?
        """
        store, actor = state.stores[0], state.actors[0]
        found = [state.with_actor(0, actor._replace(over=True))] if may_be_over and not actor.over else []
        for action, after in self.steps(state):
            early = not reconnects and (action.what in (ASKS, WORKS) or after.actors[0].play == BRINGING)
            if action.who == 0 and action.what not in SEEN and not early:
                found.append(after._replace(stores=(store,)))
        return found


class Path:
    """Follows one window over one store.

    Args:
        run: the window.
        seconds: how long its lease lasts at least.
    """

    def __init__(self, run: Run, seconds: float) -> None:
        self._model = OneWindow(run)
        self._states = {self._model.begin()}
        self._seconds = seconds
        self._opened: float | None = None
        self._reconnects = False

    def follow(self, event: Event, *, is_own: bool) -> bool:
        """Is there a path that goes on with this event?

        Args:
            event: the next one.
            is_own: is it of this window?
        """
        self._go_on_inside(event)
        if not is_own:
            return True
        if event.what == BEGINS:
            self._reconnects = True
        elif event.what.startswith(KILLS):
            self._strike(event.what.removeprefix(KILLS))
        elif event.what in SEEN:
            self._step(event)
        return bool(self._states)

    def _go_on_inside(self, event: Event) -> None:
        """Take the store to be as it was seen, and let everything happen that may have happened since."""
        todo = [state._replace(stores=(_seen(event, state.stores[0]),)) for state in self._states]
        self._states = set(todo)
        may_be_over = self._opened is not None and event.when >= self._opened + self._seconds
        while todo:
            for after in self._model.inside(todo.pop(), reconnects=self._reconnects, may_be_over=may_be_over):
                if after not in self._states:
                    self._states.add(after)
                    todo.append(after)

    def _strike(self, end: str) -> None:
        struck = {self._model.strike(state, end, 0) or state for state in self._states}
        self._states = {state._replace(struck=frozenset()) for state in struck}

    def _step(self, event: Event) -> None:
        whats = {ON_HOST: (ON_HOST, REOPENS)}.get(event.what, (event.what,))
        self._states = {
            after
            for state in self._states
            for action, after in self._model.steps(state)
            if action.who == 0 and action.what in whats
        }
        if event.what in (ON_HOST, IN_THE_CLOUD) and self._opened is None:
            self._opened = event.when


def _seen(event: Event, store: Store) -> Store:
    if not event.kms:
        return store
    return store._replace(kms=event.kms, host=(event.host,), aws=event.aws)


def refused(run: Run, seconds: float, events: list[tuple[Event, bool]]) -> Event | None:
    """The first event that no path of the model goes on with; None where there is none.

    Args:
        run: the window, over the store 0.
        seconds: how long its lease lasts at least.
        events: in order, each with whether it is of the window.
    """
    path = Path(run, seconds)
    for event, is_own in events:
        if not path.follow(event, is_own=is_own):
            return event
    return None
