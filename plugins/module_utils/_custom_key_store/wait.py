# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for a connection state: how often to poll, and the meaning of an answer."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from enum import Enum
from typing import Callable
from typing import Collection

from .clock import LONGEST_PAUSE
from .clock import Clock
from .clock import Deadline
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError

STALE_SECONDS = 90.0
"""How long KMS may report the old state after a change: usually seconds, sometimes more than a minute (R31)."""

STALE_POLLS = 3
"""How often KMS may report the old state after it has already reported the transition."""

VISIBLE_SECONDS = 300.0
"""How long KMS may take to report a new, changed or deleted store."""

_BEFORE = {
    ConnectionState.CONNECTED: frozenset({ConnectionState.DISCONNECTED}),
    ConnectionState.DISCONNECTED: frozenset(
        {ConnectionState.CONNECTED, ConnectionState.CONNECTING, ConnectionState.FAILED}
    ),
}
"""The states before the transition to this one."""

_MOVING = {
    ConnectionState.CONNECTED: ConnectionState.CONNECTING,
    ConnectionState.DISCONNECTED: ConnectionState.DISCONNECTING,
}
"""The transitional state before this one."""


class End(Enum):
    """How a wait ended."""

    REACHED = "reached"
    FAILED = "failed"
    MOVED = "moved"
    """Another user has moved the store to another state: describe and plan again."""


class WaitTimeout(CustomKeyStoreError):
    """The deadline passed before the state was reached."""


def pause_before_next_poll(elapsed: float, clock: Clock) -> float:
    """Seconds to sleep: a tenth of the elapsed time, so that the end is noticed at most that much later.

    At least 1 s and at most 15 s, less up to a tenth of it as jitter, which spreads the polls of parallel tasks.

    Args:
        elapsed: seconds since the wait began.
    """
    longest = min(max(1.0, 0.1 * elapsed), LONGEST_PAUSE)
    return longest * (1.0 - 0.1 * clock.random())


def wait_for(
    target: ConnectionState,
    *,
    describe: Callable[[], CustomKeyStore],
    seen_before: Collection[ConnectionState],
    clock: Clock,
    deadline: Deadline,
) -> End:
    """Poll a store until it is in the target state, or cannot reach it any more.

    Args:
        target: CONNECTED or DISCONNECTED.
        describe: describes the store.
        seen_before: the states that KMS has reported to this task; it may report any of them again, out of date.
        clock: see C(Clock).
        deadline: see C(Deadline).

    Raises:
        WaitTimeout: the deadline passed.
    """
    begin = clock.monotonic()
    maybe_stale = (_BEFORE[target] | set(seen_before)) - {_MOVING[target]}
    moves, contradictions = False, 0
    while True:
        store = describe()
        state = store.connection_state
        if state is target:
            return End.REACHED
        elapsed = clock.monotonic() - begin
        if state is _MOVING[target]:
            moves, contradictions = True, 0
            maybe_stale = maybe_stale - {ConnectionState.FAILED}  # an older failure shows no more; a new one counts
            if target is ConnectionState.DISCONNECTED and ConnectionState.CONNECTING not in seen_before:
                maybe_stale = maybe_stale - {ConnectionState.CONNECTING}
        else:
            contradictions += moves
            if state not in maybe_stale or elapsed >= STALE_SECONDS or contradictions > STALE_POLLS:
                return End.FAILED if state is ConnectionState.FAILED else End.MOVED
        if state is ConnectionState.CONNECTING:  # what comes after that is not from before it
            maybe_stale = maybe_stale - {ConnectionState.CONNECTED}
        if deadline.passed():
            raise _timeout(store, target, deadline)
        deadline.pause(pause_before_next_poll(elapsed, clock))


def wait_until(condition: Callable[[], bool], *, clock: Clock, deadline: Deadline) -> bool:
    """Poll until KMS reports a change that it has accepted, for as long as that may take (R8, R31).

    Args:
        condition: describes, and returns whether KMS reports the change.
        clock: see C(Clock).
        deadline: see C(Deadline).

    Returns:
        Whether KMS reports it.
    """
    begin = clock.monotonic()
    while not condition():
        elapsed = clock.monotonic() - begin
        if elapsed >= VISIBLE_SECONDS or deadline.passed():
            return False
        deadline.pause(pause_before_next_poll(elapsed, clock))
    return True


def _timeout(store: CustomKeyStore, target: ConnectionState, deadline: Deadline) -> WaitTimeout:
    return WaitTimeout(
        f"The custom key store {store} was still {store.connection_state.value} after {deadline.elapsed():.0f} seconds"
        f" (wait_timeout={deadline.seconds:.0f}), on its way to {target.value}. KMS goes on with it:"
        " run the task again to join the wait, with a longer wait_timeout if need be."
    )
