# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a learned machine differs from AWS's table."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from tests.learn.machine import Machine
from tests.learn.machine import Output
from tests.learn.machine import Word
from tests.learn.published import Published


@dataclass(frozen=True)
class Difference:
    """One input that is answered otherwise. Allowed: another of AWS's texts, or the order of checks, lets it be so."""

    state: str
    letter: str
    published: Output
    learned: Output
    source: str
    before: Word
    allowed: bool


def differences(learned: Machine, table: Published) -> list[Difference]:
    """All differences, each with a shortest word before it.

    Where the two differ, the comparison goes on in a state of the table that shows the same, if there is one.
    """
    found: dict[tuple[str, str, Output], Difference] = {}
    words: dict[tuple[str, str], Word] = {(learned.start, table.machine.start): ()}
    waiting = deque(words)
    while waiting:
        pair = waiting.popleft()
        ours, theirs = pair
        for letter in table.machine.inputs:
            output, then = learned.moves[ours, letter]
            expected, after = table.machine.moves[theirs, letter]
            if output != expected:
                allowed = _allowed(table, theirs, letter, output)
                line = table.lines[theirs, letter]
                difference = Difference(theirs, letter, expected, output, line.source, words[pair], allowed)
                found.setdefault((theirs, letter, output), difference)
                after = theirs if allowed else _showing(table.machine, output.shows, theirs)
            following = (then, after)
            if after and following not in words:
                words[following] = (*words[pair], letter)
                waiting.append(following)
    return list(found.values())


def _allowed(table: Published, state: str, letter: str, output: Output) -> bool:
    """Is it an answer that is allowed as well, and that leaves the store as it is?"""
    stays = _shown(table.machine, state) == output.shows
    return stays and output.answer in table.lines[state, letter].others


def _shown(machine: Machine, state: str) -> str:
    return machine.moves[state, "describe"].output.shows


def _showing(machine: Machine, shows: str, preferred: str) -> str:
    """A state that shows this: the one where it is, or the first; empty if there is none."""
    alike = [state for state in machine.states if _shown(machine, state) == shows]
    return preferred if preferred in alike else next(iter(alike), "")


def as_table(found: Iterable[Difference]) -> str:
    """The differences in columns, for a terminal."""
    rows = [("State", "Input", "AWS's table", "Learned", "Source", "After")]
    rows += [
        (
            each.state,
            each.letter,
            str(each.published),
            str(each.learned),
            each.source,
            "; ".join(each.before) or "-",
        )
        for each in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
