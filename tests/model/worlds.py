# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The worlds that are searched: who takes part, and how much goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.state import LEASED
from tests.model.state import TAGS
from tests.model.state import WINDOW
from tests.model.state import Bounds
from tests.model.state import Run
from tests.model.steps import ENDS
from tests.model.steps import Model

BOTH = frozenset({0, 1})
ONE = frozenset({0})
KILLS = ("play", "both", "machine")


class World(NamedTuple):
    """What is searched.

    Attributes:
        name: tells it from others.
        runs: who takes part.
        bounds: how much goes wrong.
        stores: how many there are.
    """

    name: str
    runs: tuple[Run, ...]
    bounds: Bounds
    stores: int

    def model(self) -> Model:
        return Model(self.runs, self.bounds, stores=self.stores)


def protections() -> Iterator[tuple[str, bool, bool]]:
    """The columns of the table of the guide: their titles there; is there a keeper, is there a lease in AWS?"""
    yield "Neither", False, False
    yield "The keeper", True, False
    yield "A lease in AWS", False, True
    yield "Both", True, True


ALONE = {
    "one end": Bounds(ENDS, strikes=1),
    "somebody else acts": Bounds(acts=1),
    "one failure": Bounds(failures=1),
}
ALONE_LARGER = {
    "two ends": Bounds(ENDS, strikes=2),
    "one end, somebody else acts": Bounds(ENDS, strikes=1, acts=1),
    "one end, one failure": Bounds(ENDS, strikes=1, failures=1),
}


def alone(*, larger: bool) -> Iterator[World]:
    """One window over two stores."""
    for what, bounds in (ALONE_LARGER if larger else ALONE).items():
        for title, keeper, in_aws in protections():
            for local in (True,) if larger else (True, False):
                run = Run(stores=BOTH, keeper=keeper, aws=BOTH if in_aws else frozenset(), local=local)
                where = "" if local else ", on a host that does not see its play"
                yield World(f"one window, {title.lower()}{where}, {what}", (run,), bounds, 2)


def beside(*, larger: bool) -> Iterator[World]:
    """A window over one store, and a second run: on the same host, or on another one, which sees leases in AWS alone."""
    for kind in (WINDOW, TAGS, LEASED):
        strikes = 1 if larger or kind != WINDOW else 0
        for machine in (0, 1):
            for title, keeper, in_aws in protections():
                if machine == 1 and not in_aws:
                    continue
                run = Run(stores=ONE, keeper=keeper, aws=ONE if in_aws else frozenset())
                other = run._replace(kind=kind, machine=machine)
                where = "another machine" if machine else "the same host"
                ends = f"{strikes or 'no'} end{'' if strikes == 1 else 's'}"
                name = f"a window, {title.lower()}, beside {kind} on {where}, {ends}"
                yield World(name, (run, other), Bounds(KILLS, strikes=strikes), 1)


def worlds(*, larger: bool = False) -> list[World]:
    """All of them.

    Args:
        larger: those that take minutes.
    """
    return [*alone(larger=larger), *beside(larger=larger)]
