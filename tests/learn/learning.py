# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Learns a Mealy machine of a system with aalpy, and tries it against the system until nothing else would be as small."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from aalpy.base import SUL
from aalpy.base import Oracle
from aalpy.learning_algs import run_KV

from tests.learn.machine import Machine
from tests.learn.machine import Move
from tests.learn.machine import Word
from tests.learn.machine import named
from tests.learn.published import DESCRIBE

MOST_STATES = 60
"""Where to give up: what has more is not the table of a few states that is looked for."""


class NotLearned(Exception):
    """The system has no small machine, or does not always answer the same."""


def as_machine(hypothesis: Any, letters: Word) -> Machine:
    """aalpy's machine as one of ours."""
    moves = {
        (state.state_id, letter): Move(state.output_fun[letter], state.transitions[letter].state_id)
        for state in hypothesis.states
        for letter in letters
    }
    return Machine(letters, hypothesis.initial_state.state_id, moves)


def trials(machine: Machine, extra: int) -> Iterator[Word]:
    """Words by which a system with at most so many more states cannot pass for this machine: Wp method.

    What an output shows is what a describe right after it would show, so that only states that show the same have to be told
    apart, unless the output does not show what the state behind it does.
    """
    shown = {state: machine.moves[state, DESCRIBE].output.shows for state in machine.states}
    distinguishing = {
        state: {
            machine.distinguishing_word(state, other)
            for other in machine.states
            if other != state and shown[other] == shown[state]
        }
        for state in machine.states
    }
    every = {(DESCRIBE,)}.union(*distinguishing.values())
    for length in range(extra + 1):
        for middle in itertools.product(machine.inputs, repeat=length):
            for word in machine.access().values():
                yield from (word + middle + ending for ending in every)
                for letter in machine.inputs:
                    path = (*word, letter, *middle)
                    outputs, state = machine.run(path)
                    yield from (
                        path + ending for ending in distinguishing[state] | _seen(outputs[-1].shows == shown[state])
                    )


def _seen(as_shown: bool) -> set[Word]:
    """What has to be asked to see what a state shows, where an output may have done so."""
    return {()} if as_shown else {(DESCRIBE,)}


class Trials(Oracle):
    """Looks for a word that the system answers otherwise than what was learned so far: long ones first, which have the short."""

    def __init__(self, system: SUL, expected: Machine, extra: int) -> None:
        super().__init__(list(expected.inputs), system)
        self._letters = expected.inputs
        self._extra = extra
        self._expected = set(trials(expected, extra))

    def find_cex(self, hypothesis: Any) -> Word | None:
        """The word up to the first answer that differs."""
        if len(hypothesis.states) > MOST_STATES:
            raise NotLearned(f"There are more than {MOST_STATES} states.")
        machine = as_machine(hypothesis, self._letters)
        words = self._expected.union(trials(machine, self._extra)) - {()}
        for word in sorted(words, key=lambda word: (-len(word), word)):
            answers = self.sul.query(word)
            for number, (answer, expected) in enumerate(zip(answers, machine.run(word)[0], strict=True), 1):
                if answer != expected:
                    return word[:number]
        return None


def learn(system: SUL, expected: Machine, *, extra: int = 0) -> Machine:
    """The machine of a system, its states named for what they show. Raises NotLearned.

    What is expected only chooses the words that are tried, beside those that what was learned calls for: a state that looks like
    another for long, as that of a store with a key, would not be found otherwise. The machine is right if the system has no more
    states than it, or than what is expected, and so many extra ones.
    """
    letters = list(expected.inputs)
    try:
        learned = run_KV(letters, system, Trials(system, expected, extra), "mealy", cex_processing="rs", print_level=0)
    except SystemExit as error:  # by which aalpy tells it
        raise NotLearned(
            "The same inputs were answered differently: a connect or disconnect may have ended by itself in between."
            f" Try --settled. {error}"
        ) from None
    return named(as_machine(learned, expected.inputs), DESCRIBE)
