# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws a learned machine: its states with what leads from one to another, and below a table of each input in each state."""

from __future__ import annotations

import re
from html import escape

from tests.learn.machine import Machine
from tests.learn.machine import Move
from tests.learn.published import OK

WIDTH = 860
MARGIN = 16
NODE = (156, 42)
PLACES = {
    "no store": (430, 44),
    "DISCONNECTED": (430, 150),
    "CONNECTING": (150, 256),
    "DISCONNECTING": (430, 256),
    "CONNECTING 2": (710, 256),
    "CONNECTED": (150, 362),
    "FAILED INTERNAL_ERROR": (710, 362),
}
"""Where the states are that are known; others are in rows below."""
ROW = 24
HEAD = 40
FIRST_COLUMN = 112
APART = 34
"""How far from the middle a line is that has another beside it, going back."""

FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="{title}">
  <title>{title}</title>
  <style>
    .panel {{ fill: #ffffff; stroke: #c4c8ce; }}
    .state rect {{ fill: #eef1f5; stroke: #5b6472; stroke-width: 1.5; }}
    text {{ font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; text-anchor: middle; }}
    .state text, .head {{ font-weight: 600; }}
    .halo {{ stroke: #ffffff; stroke-width: 5px; }}
    .small {{ font-size: 10px; }}
    .left {{ text-anchor: start; }}
    .edge {{ fill: none; stroke: #39414d; stroke-width: 1.5; }}
    .moves {{ fill: #dcf3e1; }}
    .refused {{ fill: #fbe3e1; }}
    .stays {{ fill: #eef1f5; }}
    marker path {{ fill: #39414d; }}
    @media (prefers-color-scheme: dark) {{
      .panel {{ fill: #16191d; stroke: #3d444d; }}
      .state rect {{ fill: #262c34; stroke: #9aa4b2; }}
      text {{ fill: #e6e9ed; }}
      .halo {{ stroke: #16191d; }}
      .edge {{ stroke: #c3cad3; }}
      .moves {{ fill: #12361f; }}
      .refused {{ fill: #451815; }}
      .stays {{ fill: #262c34; }}
      marker path {{ fill: #c3cad3; }}
    }}
  </style>
  <defs>
    <marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">
      <path d="M0 0 10 5 0 10z"/>
    </marker>
  </defs>
  <rect class="panel" x="1" y="1" width="{inner_width}" height="{inner_height}" rx="8"/>
{content}
</svg>
"""

Point = tuple[float, float]


def draw(machine: Machine, title: str) -> str:
    """The drawing as SVG, which depends on the machine alone."""
    places = _places(machine)
    top = max(y for _x, y in places.values()) + NODE[1] / 2 + 28
    height = round(top + HEAD + ROW * len(machine.inputs) + MARGIN)
    content = [*_edges(machine, places), *_nodes(places), *_table(machine, top)]
    return FRAME.format(
        width=WIDTH,
        height=height,
        inner_width=WIDTH - 2,
        inner_height=height - 2,
        title=escape(title),
        content="\n".join(f"  {line}" for line in content),
    )


def short(state: str) -> str:
    """A state without its error code, which is always the same here."""
    return state.replace(" INTERNAL_ERROR", "")


def _places(machine: Machine) -> dict[str, Point]:
    """The middle of each state."""
    unknown = [state for state in machine.states if state not in PLACES]
    below = {state: (150.0 + 280 * (number % 3), 468.0 + 106 * (number // 3)) for number, state in enumerate(unknown)}
    return {state: PLACES.get(state) or below[state] for state in machine.states}


def _nodes(places: dict[str, Point]) -> list[str]:
    width, height = NODE
    return [
        f'<g class="state"><rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width}" height="{height}" rx="8"/>'
        f"{_text(x, y + 5, short(state))}</g>"
        for state, (x, y) in places.items()
    ]


def _edges(machine: Machine, places: dict[str, Point]) -> list[str]:
    """What leads from one state to another, with all its inputs."""
    letters: dict[tuple[str, str], list[str]] = {}
    for state in machine.states:
        for letter in machine.inputs:
            then = machine.moves[state, letter].then
            if then != state:
                letters.setdefault((state, then), []).append(letter)
    lines = []
    for (state, then), inputs in letters.items():
        (x1, y1), (x2, y2) = _ends(places[state], places[then], apart=(then, state) in letters)
        lines.append(f'<path class="edge" marker-end="url(#tip)" d="M{x1:.0f} {y1:.0f} L{x2:.0f} {y2:.0f}"/>')
        middle = ((x1 + x2) / 2, (y1 + y2) / 2 + 4)
        lines += [_text(*middle, " / ".join(inputs), kind) for kind in ("halo", "")]  # the text keeps clear of the line
    return lines


def _ends(start: Point, end: Point, *, apart: bool) -> tuple[Point, Point]:
    """A line from the edge of one state to that of another. Apart: beside another line that goes back."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    reach = min(NODE[0] / 2 / abs(dx) if dx else 1, NODE[1] / 2 / abs(dy) if dy else 1)
    length = (dx * dx + dy * dy) ** 0.5
    aside = (dy / length * APART, -dx / length * APART) if apart else (0.0, 0.0)
    first = (start[0] + dx * reach + aside[0], start[1] + dy * reach + aside[1])
    last = (end[0] - dx * reach + aside[0], end[1] - dy * reach + aside[1])
    return first, last


def _table(machine: Machine, top: float) -> list[str]:
    """Each input in each state: what it leads to, or by what it is refused."""
    column = (WIDTH - 2 * MARGIN - FIRST_COLUMN) / len(machine.states)
    left = {state: MARGIN + FIRST_COLUMN + column * number for number, state in enumerate(machine.states)}
    lines = [_text(x + column / 2, top + HEAD - 10, short(state), "small head") for state, x in left.items()]
    for row, letter in enumerate(machine.inputs):
        y = top + HEAD + ROW * row
        lines.append(_text(MARGIN, y + 16, letter, "left"))
        for state, x in left.items():
            kind, text = _cell(state, machine.moves[state, letter])
            box = f'x="{x + 1:.1f}" y="{y + 1:g}" width="{column - 2:.1f}" height="{ROW - 2}"'
            lines.append(f'<rect class="{kind}" {box}/>')
            lines.append(_text(x + column / 2, y + 16, text, "small"))
    return lines


def _cell(state: str, move: Move) -> tuple[str, str]:
    """What kind of cell it is, and what is in it."""
    if move.output.answer != OK:
        return "refused", re.sub("^CustomKeyStore|(Operation)?Exception$", "", move.output.answer)
    return ("stays", "ok") if move.then == state else ("moves", f"→ {short(move.then)}")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'
