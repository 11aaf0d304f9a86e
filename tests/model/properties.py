# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold: on each step, and where nothing can happen any more."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.state import ACTING
from tests.model.state import BACK
from tests.model.state import BEFORE
from tests.model.state import ENDED
from tests.model.state import FREE
from tests.model.state import GIVEN_UP
from tests.model.state import IN_SERVICE
from tests.model.state import JUST_CHECKED
from tests.model.state import KILLED
from tests.model.state import NOBODY
from tests.model.state import NONE
from tests.model.state import SOMEBODY
from tests.model.state import TAGS
from tests.model.state import UP
from tests.model.state import WINDOW
from tests.model.state import WORKING
from tests.model.state import Action
from tests.model.state import State
from tests.model.steps import ACTS
from tests.model.steps import AWS_CONNECTS
from tests.model.steps import CLAIMS
from tests.model.steps import CONNECT
from tests.model.steps import DISCONNECT
from tests.model.steps import Model


def a_lease_comes_before_each_disconnect(model: Model, before: State, action: Action, after: State) -> bool:
    """A window takes a store out only where each lease that it asked for is there, by which it would come back."""
    if not _takes(before, action):
        return True
    store, run = before.stores[action.store], model.runs[action.who]
    in_aws = action.store not in run.aws or store.aws != NOBODY
    return store.host[run.machine] != NOBODY and in_aws


def nothing_is_disconnected_unasked(model: Model, before: State, action: Action, after: State) -> bool:
    """Only a window takes a store out, one that it has checked, whose play is there, for all that can be seen."""
    if not _takes(before, action):
        return True
    actor, run = before.actors[action.who], model.runs[action.who]
    asked = action.store in run.stores and action.store in actor.plan
    return run.kind == WINDOW and asked and (actor.is_there or not run.local)


def what_is_out_on_purpose_stays_out(model: Model, before: State, action: Action, after: State) -> bool:
    """Neither a run nor AWS connects a store that somebody took out on purpose while no lease was on it."""
    if action.what not in (CONNECT, AWS_CONNECTS) or action.who == SOMEBODY:
        return True
    store = before.stores[action.store]
    return not (store.out == SOMEBODY and store.free == FREE)


def what_is_out_on_purpose_after_a_check_stays_out(model: Model, before: State, action: Action, after: State) -> bool:
    """The same where a window had checked the store, and looks once more before it would disconnect it."""
    if action.what not in (CONNECT, AWS_CONNECTS) or action.who == SOMEBODY:
        return True
    store = before.stores[action.store]
    return not (store.out == SOMEBODY and store.free == JUST_CHECKED)


def no_other_ends_an_outage(model: Model, before: State, action: Action, after: State) -> bool:
    """While the work of a window goes on, within its lease, nobody begins to connect its stores who was not asked to.

    C(--tags reconnect) is asked to. Of a window whose host does not see its play, or on another machine without a lease in AWS,
    others cannot know.
    """
    if action.who < 0 or model.runs[action.who].kind == TAGS:
        return True
    if action.what == CONNECT:
        return not _is_at_work(model, before, action, action.store)
    if action.what != ACTS:
        return True
    todo = after.actors[action.who].todo
    return not any(how == BACK and _is_at_work(model, before, action, number) for number, how in enumerate(todo))


def no_two_windows_have_a_store(model: Model, before: State, action: Action, after: State) -> bool:
    """No window takes a store over from one whose work goes on, within its lease, as far as it can know of that one."""
    if action.what != CLAIMS or not before.actors[action.who].is_there:
        return True  # the job of a play that has ended takes nothing out any more
    return not any(_is_at_work(model, before, action, number) for number in before.actors[action.who].plan)


def _is_at_work(model: Model, state: State, action: Action, number: int) -> bool:
    """Has another window the store, one that the run of the action can know of?"""
    holder = state.stores[number].out
    if holder < 0 or holder == action.who:
        return False
    actor = state.actors[holder]
    at_work = actor.play == WORKING and not actor.over and actor.job != ACTING
    return at_work and _can_be_known(model, state, action._replace(store=number), holder)


def _can_be_known(model: Model, state: State, action: Action, holder: int) -> bool:
    run, other = model.runs[holder], model.runs[action.who]
    on_host = run.local and run.machine == other.machine
    if run.machine != other.machine and state.actors[action.who].over:
        return False  # its own lease was over, so another machine could take the store over without its knowing
    keeps = (
        not run.keeper or state.actors[holder].works_in_background
    )  # a keeper that was killed looks like a lost window
    return on_host or (action.store in run.aws & other.aws and keeps)


def _takes(before: State, action: Action) -> bool:
    return action.what == DISCONNECT and action.who >= 0 and before.stores[action.store].kms in IN_SERVICE


ON_THE_WAY: tuple[Callable[[Model, State, Action, State], bool], ...] = (
    a_lease_comes_before_each_disconnect,
    nothing_is_disconnected_unasked,
    what_is_out_on_purpose_stays_out,
    what_is_out_on_purpose_after_a_check_stays_out,
    no_other_ends_an_outage,
    no_two_windows_have_a_store,
)


def all_stores_are_back(model: Model, state: State) -> bool:
    """Each store that a window took out is CONNECTED, but for what is in no way protected, and what a user was told."""
    return all(
        store.out < 0 or store.kms == UP or _is_excused(model, state, number)
        for number, store in enumerate(state.stores)
    )


def _is_excused(model: Model, state: State, number: int) -> bool:
    store = state.stores[number]
    if state.actors[store.out].play == ENDED and state.actors[store.out].job == KILLED:
        return True  # the play has failed, as its connect was killed
    if state.spent.failures and any(actor.todo[number] == GIVEN_UP for actor in state.actors):
        return True
    return not is_protected(model, state, number, store.out)


def is_protected(model: Model, state: State, number: int, by: int) -> bool:
    """Does anybody remain who brings a store of a window back, as the table of the guide to windows says?"""
    run, actor = model.runs[by], state.actors[by]
    if number in run.aws and not state.has_struck("scheduler"):
        return True
    if ("credentials", by) in state.struck:
        return False
    return actor.play != KILLED or (run.keeper and actor.job != KILLED)


def all_have_ended(model: Model, state: State) -> bool:
    """No play and no process is left, so none waits for ever."""
    return all(actor.play in (ENDED, KILLED, BEFORE) and actor.job in (NONE, ENDED, KILLED) for actor in state.actors)


def no_lease_is_left(model: Model, state: State) -> bool:
    """Of a store that is CONNECTED, no lease in AWS is left that would connect it again, but where AWS could not be asked."""
    return all(store.kms != UP or store.aws < 0 or state.has_struck("scheduler") for store in state.stores)


AT_REST: tuple[Callable[[Model, State], bool], ...] = (all_stores_are_back, all_have_ended, no_lease_is_left)
