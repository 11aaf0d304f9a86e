# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mealy machines: what a store answers to each input in each state, and which state it is in then."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

Word = tuple[str, ...]
"""Inputs, in order."""


class Output(NamedTuple):
    """What can be seen of an input: "ok" or the error code, and what DescribeCustomKeyStores shows afterwards."""

    answer: str
    shows: str

    def __str__(self) -> str:
        return f"{self.answer}, {self.shows}"


class Move(NamedTuple):
    """What an input leads to."""

    output: Output
    then: str


@dataclass(frozen=True)
class Machine:
    """A deterministic Mealy machine in which each state has a move for each input."""

    inputs: Word
    start: str
    moves: Mapping[tuple[str, str], Move]

    @property
    def states(self) -> tuple[str, ...]:
        """All states, in the order in which they are first reached."""
        return tuple(self.access())

    def access(self) -> dict[str, Word]:
        """A shortest word from the start to each state."""
        found: dict[str, Word] = {self.start: ()}
        waiting = deque([self.start])
        while waiting:
            state = waiting.popleft()
            for letter in self.inputs:
                then = self.moves[state, letter].then
                if then not in found:
                    found[then] = (*found[state], letter)
                    waiting.append(then)
        return found

    def run(self, word: Word) -> tuple[list[Output], str]:
        """What a word leads to, from the start."""
        outputs, state = [], self.start
        for letter in word:
            output, state = self.moves[state, letter]
            outputs.append(output)
        return outputs, state

    def distinguishing_word(self, one: str, other: str) -> Word:
        """A shortest word to which two states answer differently. Raises ValueError if there is none."""
        words: dict[tuple[str, str], Word] = {(one, other): ()}
        waiting = deque(words)
        while waiting:
            pair = waiting.popleft()
            for letter in self.inputs:
                first, second = (self.moves[state, letter] for state in pair)
                word = (*words[pair], letter)
                if first.output != second.output:
                    return word
                after = (first.then, second.then)
                if after not in words:
                    words[after] = word
                    waiting.append(after)
        raise ValueError(f"{one!r} and {other!r} are the same state.")


def named(machine: Machine, describe: str) -> Machine:
    """The same machine, its states named for what they show, and with a number where several show the same.

    Describe: the input that shows a state and does not change it.
    """
    names: dict[str, str] = {}
    for state in machine.states:
        shows = machine.moves[state, describe].output.shows
        alike = sum(machine.moves[other, describe].output.shows == shows for other in names)
        names[state] = f"{shows} {alike + 1}" if alike else shows
    moves = {
        (names[state], letter): Move(machine.moves[state, letter].output, names[machine.moves[state, letter].then])
        for state in machine.states
        for letter in machine.inputs
    }
    return Machine(machine.inputs, names[machine.start], moves)
