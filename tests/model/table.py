# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who protects from what: read off the model, and read in the guide to windows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from dev.environment import ROOT
from tests.model.search import Search
from tests.model.state import TAGS
from tests.model.state import UP
from tests.model.state import WORKING
from tests.model.state import Bounds
from tests.model.state import Run
from tests.model.state import State
from tests.model.steps import Model
from tests.model.worlds import ONE
from tests.model.worlds import protections

GUIDE = ROOT / "docs" / "docsite" / "rst" / "guide_windows.rst"
TITLE = "What protects from what:"

BY_HAND, AGAIN, AT_THE_END, BY_ITSELF = "connect by hand", "run it again", "at the end of the lease", "by itself"
WORST_FIRST = (BY_HAND, AGAIN, AT_THE_END, BY_ITSELF)

LOST: dict[str, tuple[str, ...]] = {
    "the play": ("play",),
    "the play and all its processes": ("both",),
    "the host, or the container with its disk": ("machine",),
    "the network to AWS": ("play", "network"),
    "the credentials (they expire)": ("credentials",),
    "EventBridge Scheduler, in that Region": ("play", "scheduler"),
}
"""The rows of the table, and which ends of C(steps.ENDS) they mean. Without a play that ends, two of them would tell nothing."""

SECOND = "a second window begins"


class Protection(NamedTuple):
    """A column.

    Attributes:
        keeper: is there one?
        aws: is there a lease in AWS?
        local: does the host see its play?
    """

    keeper: bool
    aws: bool
    local: bool

    @property
    def run(self) -> Run:
        return Run(stores=ONE, keeper=self.keeper, aws=ONE if self.aws else frozenset(), local=self.local)


def outcome(lost: tuple[str, ...], by: Protection) -> str:
    """How the store comes back when all of this strikes, in whatever order and at whatever steps."""
    bounds = Bounds(lost, strikes=len(lost))
    if all(_is_back(state) for state in _rests(lost, by, bounds, time=False)):
        return BY_ITSELF
    left = [state for state in _rests(lost, by, bounds, time=True) if not _is_back(state)]
    if not left:
        return AT_THE_END
    again = Model((by.run, by.run._replace(kind=TAGS)), stores=1)
    begins = [state._replace(actors=(*state.actors, again.new_actor())) for state in left]
    return AGAIN if all(_is_back(state) for state in Search(again, begins).run().at_rest) else BY_HAND


def _rests(lost: tuple[str, ...], by: Protection, bounds: Bounds, *, time: bool) -> list[State]:
    found = Search(Model((by.run,), bounds, stores=1, time=time)).run()
    return [state for state in found.at_rest if {end for end, _whom in state.struck} == set(lost)]


def _is_back(state: State) -> bool:
    return all(store.kms == UP for store in state.stores)


def is_refused(by: Protection, machine: int) -> bool:
    """Is a second window over the store refused on that machine, as long as the first one works, which is on machine 0?"""
    first = Search(Model((by.run,), stores=1, time=False))
    first.run()
    both = Model((by.run, by.run._replace(machine=machine)), stores=1)
    at_work = [state for state in first.states if state.actors[0].play == WORKING]
    wider = [_on_two_machines(state, both) for state in at_work]
    return bool(wider) and all(both.may_be_in_use(state, 0, 1) == (True,) for state in wider)


def _on_two_machines(state: State, both: Model) -> State:
    more = both.begin().stores[0]
    store = state.stores[0]._replace(
        host=(state.stores[0].host + more.host)[: both.machines],
        owner=(state.stores[0].owner + more.owner)[: both.machines],
    )
    return State((store,), (*state.actors, both.new_actor()))


def guide(path: Path = GUIDE) -> dict[tuple[str, str], str]:
    """The table of the guide: what it says, by row and column."""
    table = path.read_text(encoding="utf-8").partition(TITLE)[2]
    rows = [
        re.findall(r"^     ?[-*]? ?- (.*(?:\n       .*)*)|^   \* - (.*(?:\n       .*)*)", row, flags=re.MULTILINE)
        for row in re.split(r"^(?=   \* - )", table, flags=re.MULTILINE)[1:]
    ]
    cells = [["".join(pair) for pair in row] for row in rows]
    titles = cells[0]
    whole = [row for row in cells[1:] if len(row) == len(titles)][: len(LOST) + 1]
    return {(row[0], title): cell for row in whole for title, cell in zip(titles[1:], row[1:], strict=True)}


def promised(said: dict[tuple[str, str], str], row: str, title: str, *, local: bool) -> str:
    """What a cell of the guide promises, in the words of C(outcome())."""
    text = said[row, title]
    if text == "as the keeper":
        return promised(said, row, "The keeper", local=local)
    if text == "nothing changes":
        return promised(said, "the play", title, local=local)
    if text == "when it is back":
        return promised(said, "the play", title, local=local)
    if text.startswith("at once (``connection: local``)"):
        return BY_ITSELF if local else AT_THE_END
    return text


def columns(*, local: bool) -> dict[str, Protection]:
    """The columns of the table, by their titles."""
    return {title: Protection(keeper, aws, local) for title, keeper, aws in protections()}
