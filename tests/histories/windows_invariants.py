# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold at the end of a history of windows. Each raises AssertionError where it does not. Numbers as in section 3.1."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import schedule_name
from tests.histories.windows_host import Result
from tests.histories.windows_play import Play
from tests.histories.windows_play import shown
from tests.histories.windows_world import CANARY
from tests.histories.windows_world import CONNECT
from tests.histories.windows_world import DELETE
from tests.histories.windows_world import DISCONNECT
from tests.histories.windows_world import IN_SERVICE
from tests.histories.windows_world import Change
from tests.histories.windows_world import WindowWorld


def taken(world: WindowWorld, store_id: str) -> Change | None:
    """When a window has taken a store out of service last."""
    found = [each for each in world.changes if each.store_id == store_id and _takes(each)]
    return found[-1] if found else None


def _takes(change: Change) -> bool:
    return change.operation == DISCONNECT and change.by == "window" and change.before in IN_SERVICE


def _purposely(world: WindowWorld, store_id: str, since: float) -> bool:
    """Has somebody who is no window taken it away since?"""
    return any(
        change.store_id == store_id
        and change.when >= since
        and change.operation in (DISCONNECT, DELETE)
        and change.by in ("somebody", "task")
        for change in world.changes
    )


def failures(world: WindowWorld, since: float) -> list[str]:
    """What users were told since then, or will be: failed results, the reports of keepers, and the logs of hosts."""
    reported = [
        json.dumps(result)
        for play in world.plays
        for when, _step, result in play.results
        if when >= since and (result.get("failed") or any(s.get("failed") for s in result.get("stores", [])))
    ]
    for machine in world.machines:
        for name in os.listdir(machine.memory) if os.path.isdir(machine.memory) else ():
            if name.endswith(".report"):
                with open(os.path.join(machine.memory, name), encoding="utf-8") as file:
                    content = file.read()
                    reported += [content] if json.loads(content)["msg"] else []
    return reported + [line for when, line in world.logs if when >= since and "failed" in line]


def _reports(world: WindowWorld, since: float) -> list[str]:
    """What the summaries of windows report of their stores."""
    results = [result for play in world.plays for when, _step, result in play.results if when >= since]
    return [report for result in results for row in result.get("summary", []) for report in row["reports"]]


def _is_reported(world: WindowWorld, store_id: str, since: float) -> bool:
    return any(store_id in text for text in failures(world, since))


def stores_come_back(world: WindowWorld) -> None:
    """1: at the end, a store that a window took is CONNECTED; but for these:

    - Somebody who is no window has disconnected or deleted it since, on purpose.
    - It is FAILED, or CONNECTING for ever, as the history has its connects end; a user was told, or will be, or AWS alone has
      connected it, or all that could tell was killed.
    - Its lease in AWS was not asked for, or was taken away (deleted, its role broken, never delivered), or has done its part; and
      a user was told that a connect has failed, or all that could bring it back was killed, and no reconnect could see a lease.
    """
    for store_id in world.stores:
        last = taken(world, store_id)
        state = world.state(store_id)
        if last is None or state == "CONNECTED" or _purposely(world, store_id, last.when):
            continue
        begin = 0.0 if last.play is None else last.play.held[store_id].since
        holders = [play for play in world.plays if store_id in play.held and play.held[store_id].since >= begin]
        latest = max(holders, key=lambda play: play.held[store_id].since)
        runs = [when for when in world.runs(store_id) if when >= last.when]
        if state in ("FAILED", "CONNECTING"):  # as the history has it end so
            by_aws = bool(runs) and not any(
                each.store_id == store_id and each.operation == CONNECT and each.when > runs[-1]
                for each in world.changes
            )
            forced = latest.was_ended_by_force
            assert by_aws or forced or _is_reported(world, store_id, last.when), (
                "1: not reported",
                store_id,
                state,
                last,
            )
            continue
        assert runs or _aws_could_not(world, store_id, holders), ("1: AWS did not connect it", store_id, state, last)
        if runs or _is_reported(world, store_id, last.when):
            continue
        assert latest.was_ended_by_force, ("1: nobody connected it", store_id, state, last)
        assert not _was_to_be_found(world, store_id, last.when), ("1: a reconnect did not find it", store_id, last)


def _aws_could_not(world: WindowWorld, store_id: str, holders: list[Play]) -> bool:
    """Had it no lease in AWS, or was that taken away?"""
    if not any(play.held[store_id].in_aws for play in holders):
        return True
    first = min(play.held[store_id].since for play in holders)
    return any(which in ("", store_id) and (when >= first or which == "") for when, which, _what in world.sabotage)


def _was_to_be_found(world: WindowWorld, store_id: str, since: float) -> bool:
    """Has a reconnect ended, and said nothing, that could see a lease of a store since then?"""
    for play in world.plays:
        if play.kind not in ("tags", "leased") or not play.is_over or play.began < since:
            continue
        if any(job.was_killed for job in play.jobs) and any(result.get("failed") for _w, _s, result in play.results):
            continue  # it has said that it was ended early
        left = [each["custom_key_store_id"] for _w, _s, result in play.results for each in result.get("left_alone", [])]
        named = play.kind == "leased" or any(each.get("id") == store_id for each in play.options["stores"])
        if named and store_id in play.could_see and store_id not in left:
            return True
    return False


def a_refused_window_disconnects_nothing(world: WindowWorld) -> None:
    """2"""
    for play in world.plays:
        if play.kind == "window" and (play.refused_lease or "disconnect" not in play.steps):
            assert not _taken_by(world, play), ("2", play, _taken_by(world, play))


def _taken_by(world: WindowWorld, play: Play) -> list[Change]:
    return [change for change in world.changes if change.play is play and _takes(change)]


def a_window_disconnects_once_what_it_has(world: WindowWorld) -> None:
    """3: unless somebody else has connected the store meanwhile. And nobody who brings stores back takes one away."""
    for play in world.plays:
        before: dict[str, float] = {}
        for change in _taken_by(world, play):
            since = before.get(change.store_id)
            by_others = [
                each
                for each in world.changes
                if each.store_id == change.store_id and each.operation == CONNECT and each.play is not play
            ]
            times = [each.when for each in by_others] + world.runs(change.store_id)
            assert since is None or any(since <= when <= change.when for when in times), ("3: twice", change)
            before[change.store_id] = change.when
            assert change.store_id in play.held, ("3: without a lease", change)
            assert change.store_id in _planned(play), ("3: not planned", change)
    for change in world.changes:
        if change.operation == DISCONNECT and change.by in ("keeper", "tags", "leased"):
            assert change.before != "CONNECTED", ("3: taken away", change)


def _planned(play: Play) -> list[str]:
    checks = [result for _when, step, result in play.results if step == "check"]
    return [plan["custom_key_store_id"] for check in checks for plan in check["stores"] if plan["connects"]]


def no_schedule_is_left(world: WindowWorld) -> None:
    """4: of a store in service, when all has ended; unless it is told by its name, or its window was ended by force."""
    for store_id in world.stores:
        name = schedule_name(store_id)
        if world.due(store_id) is None or world.state(store_id) != "CONNECTED" or name not in world.writers:
            continue
        when, play = world.writers[name]
        reported = [*failures(world, when), *_reports(world, when)]
        # Whoever kills a play reads no more of it: what it has said of the store by then must do.
        wanted = store_id if play.process.was_killed else name
        is_reported = any(wanted in text for text in reported) or any(job.was_killed for job in play.jobs)
        # known: F5, who takes a store over from a window with a lease in AWS, and has no role, leaves that lease
        others = [each for each in world.changes if each.store_id == store_id and each.when >= when]
        unaware = any(each.play is not play and each.play and not each.play.knows_of_aws for each in others)
        assert is_reported or unaware or play.was_ended_by_force, ("4: a schedule is left", name, play)


def a_reconnect_is_not_refused(world: WindowWorld) -> None:
    """6: neither because another window has the store, nor because AWS cannot be asked for its lease."""
    for play in world.plays:
        if play.kind in ("tags", "leased"):
            for _when, _step, result in play.results:
                assert "another maintenance window" not in str(result.get("msg")), ("6", result)


def results_can_be_shown(world: WindowWorld) -> None:
    """8"""
    for play in world.plays:
        shown(play)
        for _when, step, result in play.results:
            text = json.dumps(result)
            assert CANARY not in text, ("8: a secret", step, result)
            assert not result.get("failed") or result.get("msg"), ("8: no message", step, result)
            assert "unexpected error" not in text, ("8", step, result)
    for line in [*(line for _when, line in world.logs), *(str(each) for each in world.control.schedules())]:
        assert CANARY not in line
    for machine in world.machines:
        for folder, _folders, names in os.walk(machine.folder):
            for name in names:
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    assert CANARY not in file.read(), ("8: a secret on the disk", name)


def all_came_to_an_end(world: WindowWorld) -> None:
    """No process stays for ever, and none has crashed; what was noted along the way."""
    assert not world.sim.alive, world.sim.alive
    assert not world.violations, world.violations


def nothing_is_left_to_do(play: Play, again: Play, world: WindowWorld) -> None:
    """7: the second of two runs with leased=true changes nothing."""
    ended: list[Result] = [each.results[-1][2] for each in (play, again)]
    if not ended[0].get("failed"):
        assert not ended[1]["changed"], ("7", ended[1])
        assert not [change for change in world.changes if change.play is again], ("7", again)


WINDOW_INVARIANTS: tuple[Callable[[WindowWorld], None], ...] = (
    all_came_to_an_end,
    stores_come_back,
    a_refused_window_disconnects_nothing,
    a_window_disconnects_once_what_it_has,
    a_reconnect_is_not_refused,
    results_can_be_shown,
)
