# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""What to do. The one place that decides: check mode, diff and the real run come from the same plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple
from typing import Union

from .diagnosis import diagnose
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore


class Refusal(CustomKeyStoreError):
    """What the task asks for cannot be done, or must not be: found out before any change."""


@dataclass(frozen=True)
class Call:
    """One mutating request, such as C(ConnectCustomKeyStore)."""

    operation: str


@dataclass(frozen=True)
class WaitFor:
    """Wait until the store is in this state."""

    state: ConnectionState


Step = Union[Call, WaitFor]

CONNECT = Call("ConnectCustomKeyStore")
DISCONNECT = Call("DisconnectCustomKeyStore")
AWAIT_CONNECTED = WaitFor(ConnectionState.CONNECTED)
AWAIT_DISCONNECTED = WaitFor(ConnectionState.DISCONNECTED)

_TO_DISCONNECTED = {
    ConnectionState.DISCONNECTED: (),
    ConnectionState.DISCONNECTING: (AWAIT_DISCONNECTED,),
    ConnectionState.CONNECTING: (DISCONNECT, AWAIT_DISCONNECTED),
    ConnectionState.CONNECTED: (DISCONNECT, AWAIT_DISCONNECTED),
    ConnectionState.FAILED: (DISCONNECT, AWAIT_DISCONNECTED),
}
_TO_CONNECTED = {
    ConnectionState.DISCONNECTED: (CONNECT, AWAIT_CONNECTED),
    ConnectionState.DISCONNECTING: (AWAIT_DISCONNECTED, CONNECT, AWAIT_CONNECTED),
    ConnectionState.CONNECTING: (AWAIT_CONNECTED,),
    ConnectionState.CONNECTED: (),
    ConnectionState.FAILED: (DISCONNECT, AWAIT_DISCONNECTED, CONNECT, AWAIT_CONNECTED),
}
_WAYS = {"disconnected": _TO_DISCONNECTED, "connected": _TO_CONNECTED}

_UNDER_WAY = {CONNECT: ConnectionState.CONNECTING, DISCONNECT: ConnectionState.DISCONNECTING}


@dataclass(frozen=True)
class Plan:
    """The steps from the store as it is to the store as it should be.

    Attributes:
        steps: in order; none when the store is as it should be.
        predicted: the store as it will be described when they are done.
    """

    steps: Tuple[Step, ...]
    predicted: CustomKeyStore

    @property
    def operations(self) -> list[str]:
        """The mutating operations, in order."""
        return [step.operation for step in self.steps if isinstance(step, Call)]


def make_plan(store: CustomKeyStore, desired: DesiredStore) -> Plan:
    """Decide what to do.

    Args:
        store: as just described.
        desired: what the task asks for.

    Raises:
        Refusal: it cannot be done, or must not be.
    """
    _refuse_other_name(store, desired)
    if desired.state == "connected":
        _refuse_lockout(store)
    steps: Tuple[Step, ...] = ()
    if desired.state in _WAYS:
        steps = _WAYS[desired.state][store.connection_state]
    if not desired.wait:
        steps = _without_last_wait(steps)
    return Plan(steps, _predict(store, steps))


def _without_last_wait(steps: Tuple[Step, ...]) -> Tuple[Step, ...]:
    """What wait=false leaves: a wait that the next call needs stays."""
    return steps[:-1] if steps and isinstance(steps[-1], WaitFor) else steps


def _predict(store: CustomKeyStore, steps: Tuple[Step, ...]) -> CustomKeyStore:
    if not steps:
        return store
    last = steps[-1]
    return store.with_connection_state(last.state if isinstance(last, WaitFor) else _UNDER_WAY[last])


def _refuse_other_name(store: CustomKeyStore, desired: DesiredStore) -> None:
    if desired.name is not None and desired.name != store.name:
        raise Refusal(
            f'The custom key store {store.id} is named "{store.name}", not "{desired.name}", and this version of keyops.aws'
            " does not rename: correct custom_key_store_id or name, or give only one of them."
        )


def _refuse_lockout(store: CustomKeyStore) -> None:
    """Never log in as kmsuser again where the last login failed because of kmsuser: five wrong ones lock it (R13)."""
    if store.connection_state is not ConnectionState.FAILED:
        return
    failure = diagnose(store.connection_error_code or "UNKNOWN", store.type)
    if failure.may_lock_kmsuser:
        raise Refusal(
            f"The custom key store {store} is FAILED and was left so, because another attempt to connect it"
            f" may lock kmsuser out of its CloudHSM cluster. {failure}"
        )
