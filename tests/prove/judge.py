# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold after each history. Each function raises AssertionError where it does not."""

from __future__ import annotations

from collections.abc import Callable

from tests.histories.invariants import CONNECT
from tests.histories.invariants import DISCONNECT
from tests.histories.invariants import IN_SERVICE
from tests.histories.invariants import INVARIANTS
from tests.histories.invariants import no_call_is_illegal_in_the_state_last_seen
from tests.histories.invariants import nothing_is_disconnected_unasked
from tests.prove.disturbances import FAILS
from tests.prove.world import Played

OF_KILLED = (no_call_is_illegal_in_the_state_last_seen, nothing_is_disconnected_unasked)
"""Those that hold of a run that was killed, too: it has no result, but it has made requests."""


def what_holds_after_each_task_holds(played: Played, base: Played) -> None:
    """All of tests/histories: of the run that came to its end, and of those before it what can be said of them."""
    for invariant in INVARIANTS:
        invariant(played.task)
    for task in played.killed:
        for of_killed in OF_KILLED:
            of_killed(task)


def nothing_was_tried_in_vain(played: Played, base: Played) -> None:
    """disturbances.allows() is right: what is left out is what KMS refuses."""
    assert not played.refused


SAYS_HOW = ("NOT be connected again", "to bring it back", "could not be connected", "is FAILED")
"""One of these is in the message after which the user has to bring a store back."""


def what_was_taken_out_of_service_is_back_or_the_message_says_how(played: Played, base: Played) -> None:
    """In the same run, where it fails: nobody may repeat it. Once KMS has accepted the connect, how that ends is up to KMS."""
    task = played.task
    moves = [each for each in task.done.applied if each in (CONNECT, DISCONNECT)]
    if not task.done.failed or played.joined or task.found not in IN_SERVICE or moves[-1:] != [DISCONNECT]:
        return
    if task.options["state"] != "disconnected" and task.later != "CONNECTED":
        assert any(words in task.done.message for words in SAYS_HOW), (task.later, task.done.message)


def a_repeated_task_gets_to_an_end(played: Played, base: Played) -> None:
    """Much later, and undisturbed, it succeeds, or is refused and has changed nothing."""
    last = played.repeats[-1]
    assert not last.failed or not last.applied, (last.message, last.applied)


def whatever_went_wrong_the_store_ends_where_it_would_have(played: Played, base: Played) -> None:
    """A task that is run again gets where an undisturbed one gets: nothing is left disconnected, or changed by half.

    Not so where somebody else has changed the store; nor where a connect has failed, after which C(present) has nothing to do.
    """
    if played.joined or any(each.kind == FAILS for each in played.disturbances):
        return
    assert played.repeats[-1].failed is base.repeats[-1].failed, played.repeats[-1].message
    assert played.left == base.left, (played.left, base.left)


CHECKS: tuple[Callable[[Played, Played], None], ...] = (
    nothing_was_tried_in_vain,
    what_holds_after_each_task_holds,
    what_was_taken_out_of_service_is_back_or_the_message_says_how,
    a_repeated_task_gets_to_an_end,
    whatever_went_wrong_the_store_ends_where_it_would_have,
)
"""Each takes the history and the undisturbed one of the same case."""


def flaw(played: Played, base: Played) -> str | None:
    """What does not hold, in a line; None where all does."""
    for check in CHECKS:
        try:
            check(played, base)
        except AssertionError as error:
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            name = where.tb_frame.f_code.co_name if where is not None else check.__name__
            return f"{name}: {' '.join(str(error).split())}"
    return None
