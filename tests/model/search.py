# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes through all states, the nearest first, so that what is found is found by the shortest way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field

from tests.model.properties import AT_REST
from tests.model.properties import ON_THE_WAY
from tests.model.state import Action
from tests.model.state import State
from tests.model.steps import Model


@dataclass
class Found:
    """What a search has found.

    Attributes:
        states: how many there are.
        transitions: between them.
        at_rest: the states in which nothing can happen any more.
        violations: for each property that does not hold, the shortest way to where it does not.
    """

    states: int = 0
    transitions: int = 0
    at_rest: list[State] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)


class Search:
    """A search through all states of a model.

    Args:
        model: see there.
        begins: where it begins; the model's own beginning if there are none.
    """

    def __init__(self, model: Model, begins: Iterable[State] = ()) -> None:
        self._model = model
        self._begins = list(begins) or [model.begin()]
        self._came: dict[State, tuple[State, Action] | None] = dict.fromkeys(self._begins)
        self._into: dict[State, list[State]] = {}

    @property
    def states(self) -> list[State]:
        """All that were found."""
        return list(self._came)

    def run(self) -> Found:
        """Search it whole."""
        found = Found()
        level = self._begins
        while level:
            level = [after for state in level for after in self._from(state, found)]
        found.states = len(self._came)
        self._find_those_that_wait_for_ever(found)
        return found

    def _from(self, state: State, found: Found) -> list[State]:
        """The states that are new, one step on."""
        new, rests = [], True
        for action, after in self._model.steps(state):
            rests = False
            found.transitions += 1
            for check in ON_THE_WAY:
                if check.__name__ not in found.violations and not check(self._model, state, action, after):
                    found.violations[check.__name__] = [*self._steps_to(state), _line(action, after)]
            if after not in self._came:
                self._came[after] = (state, action)
                new.append(after)
            self._into.setdefault(after, []).append(state)
        if rests:
            found.at_rest.append(state)
            for end in AT_REST:
                if end.__name__ not in found.violations and not end(self._model, state):
                    found.violations[end.__name__] = self._steps_to(state)
        return new

    def _find_those_that_wait_for_ever(self, found: Found) -> None:
        """From each state, one is reached in which nothing can happen any more."""
        ends, todo = set(found.at_rest), list(found.at_rest)
        while todo:
            for before in self._into.get(todo.pop(), ()):
                if before not in ends:
                    ends.add(before)
                    todo.append(before)
        for state in self._came:
            if state not in ends:
                found.violations["all_comes_to_rest"] = self._steps_to(state)
                return

    def _steps_to(self, state: State) -> list[str]:
        lines = []
        came = self._came[state]
        while came is not None:
            before, action = came
            lines.append(_line(action, state))
            state, came = before, self._came[before]
        return lines[::-1]


def _line(action: Action, after: State) -> str:
    return f"{action!s:<60} {', '.join(store.kms for store in after.stores)}"
