# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides what to do. Check mode, diff and the real run come from the same plan."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Tuple
from typing import Union

from .model import AWS_CLOUDHSM
from .model import EXTERNAL_KEY_STORE
from .model import IN_SERVICE
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore
from .prediction import Check
from .prediction import Outcome
from .properties import CLUSTER
from .properties import Change
from .properties import changes
from .properties import create_arguments
from .properties import described
from .properties import missing_to_create
from .properties import with_changes

if TYPE_CHECKING:
    from .clusters import Cluster
    from .keys import Key

CREATE = "CreateCustomKeyStore"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"
UPDATE = "UpdateCustomKeyStore"
DELETE = "DeleteCustomKeyStore"


class Refusal(CustomKeyStoreError):
    """The task is not possible, or not allowed. Raised before any change."""


@dataclass(frozen=True)
class Call:
    """One mutating request.

    Attributes:
        operation: of KMS's model.
        members: of the operation, apart from the id of the store; may hold secrets.
    """

    operation: str
    members: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class WaitFor:
    """Wait until the store is in this state."""

    state: ConnectionState


@dataclass(frozen=True)
class WaitUntilShown:
    """Wait until KMS describes the store with these changes."""

    changes: Tuple[Change, ...]


@dataclass(frozen=True)
class WaitUntilGone:
    """Wait until KMS does not describe the store any more."""


Step = Union[Call, WaitFor, WaitUntilShown, WaitUntilGone]

_CONNECT = Call(CONNECT)
_DISCONNECT = Call(DISCONNECT)
_AWAIT_CONNECTED = WaitFor(ConnectionState.CONNECTED)
_AWAIT_DISCONNECTED = WaitFor(ConnectionState.DISCONNECTED)

_TO_DISCONNECTED: Mapping[ConnectionState, Tuple[Step, ...]] = {
    ConnectionState.DISCONNECTED: (),
    ConnectionState.DISCONNECTING: (_AWAIT_DISCONNECTED,),
    ConnectionState.CONNECTING: (_DISCONNECT, _AWAIT_DISCONNECTED),
    ConnectionState.CONNECTED: (_DISCONNECT, _AWAIT_DISCONNECTED),
    ConnectionState.FAILED: (_DISCONNECT, _AWAIT_DISCONNECTED),
}
_TO_CONNECTED: Mapping[ConnectionState, Tuple[Step, ...]] = {
    ConnectionState.DISCONNECTED: (_CONNECT, _AWAIT_CONNECTED),
    ConnectionState.DISCONNECTING: (_AWAIT_DISCONNECTED, _CONNECT, _AWAIT_CONNECTED),
    ConnectionState.CONNECTING: (_AWAIT_CONNECTED,),
    ConnectionState.CONNECTED: (),
    ConnectionState.FAILED: (_DISCONNECT, _AWAIT_DISCONNECTED, _CONNECT, _AWAIT_CONNECTED),
}
_STEPS = {"disconnected": _TO_DISCONNECTED, "connected": _TO_CONNECTED}

ENDS = {"disconnected": ConnectionState.DISCONNECTED, "connected": ConnectionState.CONNECTED}
"""The connection states that a task can request."""

_UNDER_WAY = {CONNECT: ConnectionState.CONNECTING, DISCONNECT: ConnectionState.DISCONNECTING}


@dataclass(frozen=True)
class Plan:
    """The steps from the store as it is to the store as it should be.

    Attributes:
        steps: in order; empty if the store is as it should be.
        predicted: the store as KMS will describe it afterwards; None if it will not exist.
        secrets: the options of the secrets that a step sends.
        changes: of properties, which one of the steps sends.
    """

    steps: Tuple[Step, ...]
    predicted: Optional[CustomKeyStore]
    secrets: Tuple[str, ...] = ()
    changes: Tuple[Change, ...] = ()

    @property
    def operations(self) -> list[str]:
        """The mutating operations, in order."""
        return [step.operation for step in self.steps if isinstance(step, Call)]

    @property
    def moves(self) -> bool:
        """Does the plan change the connection of the store, or wait for such a change?"""
        return any(isinstance(step, WaitFor) or step in (_CONNECT, _DISCONNECT, Call(DELETE)) for step in self.steps)


def make_plan(store: CustomKeyStore, desired: DesiredStore, *, in_place: bool = True) -> Plan:
    """Plan for a store that exists and should stay.

    Args:
        store: as just described.
        desired: the options of the task.
        in_place: may properties change while CONNECTED if AWS's documents disagree on that? False once KMS has refused (R6).

    Raises:
        CustomKeyStoreError: the task is not possible, or not allowed.
    """
    wanted = changes(store, desired)
    if desired.state == "connected":
        _refuse_lockout(store, wanted)
    steps = _change_steps(store, desired, wanted, in_place) if wanted else _steps_to(store, desired)
    if not desired.wait:
        steps = _without_last_wait(steps)
    secrets = tuple(change.secret for change in wanted if change.secret is not None)
    return Plan(steps, _predict(with_changes(store, wanted), steps), secrets, wanted)


def cluster_to_check(store: CustomKeyStore, plan: Plan) -> Optional[Tuple[str, int]]:
    """The CloudHSM cluster to check before the plan disconnects a store that it connects again.

    A plan that only disconnects is never refused for its cluster.

    Returns:
        Its id, and in how many Availability Zones it needs an active HSM (R20); None if there is no such cluster.
    """
    if store.type != AWS_CLOUDHSM or store.connection_state not in IN_SERVICE or DISCONNECT not in plan.operations:
        return None
    for change in plan.changes:
        if change.option == CLUSTER.option:
            return str(change.value), 2
    return (str(store.description["CloudHsmClusterId"]), 1) if CONNECT in plan.operations else None


def endpoint_to_check(store: CustomKeyStore, plan: Plan) -> Optional[Mapping[str, Any]]:
    """The external key store proxy to check before the plan disconnects a store that it connects again.

    Returns:
        C(XksProxyConfiguration) after the changes; None if there is no such proxy.
    """
    if (
        store.type != EXTERNAL_KEY_STORE
        or store.connection_state not in IN_SERVICE
        or DISCONNECT not in plan.operations
    ):
        return None
    if CONNECT not in plan.operations and not plan.changes:
        return None
    configuration: Mapping[str, Any] = with_changes(store, plan.changes).description["XksProxyConfiguration"]
    return configuration


def refuse_endpoint(checks: Sequence[Check], store: CustomKeyStore) -> None:
    """Refuse to disconnect a store whose proxy KMS could not use.

    Raises:
        Refusal: a check has failed.
    """
    for check in checks:
        if check.outcome is Outcome.FAILED:
            code = f" ({check.code})" if check.code else ""
            raise Refusal(
                f"The custom key store {store} was left {store.connection_state.value}, because KMS could not connect it after"
                f" the change{code}. {check.text} Then run the task again."
            )


def refuse_cluster(cluster: Cluster, store: CustomKeyStore, *, zones: int) -> None:
    """Refuse to disconnect a store that could not be connected again.

    Raises:
        Refusal: the description of the cluster shows that.
    """
    flaw = cluster.flaw(zones=zones)
    if flaw is not None:
        raise Refusal(
            f"The custom key store {store} was left {store.connection_state.value}, because it could not be connected after"
            f" the change: the CloudHSM cluster {cluster.id} {flaw} Then run the task again."
        )


def refuse_cluster_in_use(cluster_id: str, store: CustomKeyStore, others: Sequence[CustomKeyStore]) -> None:
    """Refuse to disconnect a store for a cluster that another store uses.

    Raises:
        Refusal: there is such a store.
    """
    for other in others:
        if other.id != store.id and other.description.get("CloudHsmClusterId") == cluster_id:
            raise Refusal(
                f"The custom key store {store} was left {store.connection_state.value}, because the CloudHSM cluster"
                f" {cluster_id} belongs to the custom key store {other}, and a cluster can have only one. Choose another cluster,"
                " or delete that store."
            )


def _steps_to(store: CustomKeyStore, desired: DesiredStore) -> Tuple[Step, ...]:
    return _STEPS[desired.state][store.connection_state] if desired.state in _STEPS else ()


def _change_steps(
    store: CustomKeyStore, desired: DesiredStore, wanted: Tuple[Change, ...], in_place: bool
) -> Tuple[Step, ...]:
    state = store.connection_state
    update = Call(UPDATE, {change.member: change.value for change in wanted})
    shown = WaitUntilShown(wanted)
    if desired.state == "disconnected":
        return (*_TO_DISCONNECTED[state], update, shown)
    offline = [change.option for change in wanted if not (in_place and change.in_place)]
    if state in IN_SERVICE and not offline:
        return (*_TO_CONNECTED[state], update, shown)
    if state in IN_SERVICE and not desired.allow_disconnect:
        raise Refusal(
            f"To change {', '.join(offline)}, the custom key store {store} must be disconnected, and it is {state.value}:"
            " while it is disconnected, none of its KMS keys can be used. To let this task disconnect it, change it, and"
            " connect it again, set allow_disconnect=true; to leave it disconnected, set state=disconnected."
        )
    reconnects = desired.state == "connected" or state in IN_SERVICE
    return (*_TO_DISCONNECTED[state], update, *((_CONNECT, _AWAIT_CONNECTED) if reconnects else ()), shown)


def _without_last_wait(steps: Tuple[Step, ...]) -> Tuple[Step, ...]:
    """The steps with wait=false: a wait that the next call needs stays."""
    while steps and not isinstance(steps[-1], Call):
        steps = steps[:-1]
    return steps


def _predict(store: CustomKeyStore, steps: Tuple[Step, ...]) -> CustomKeyStore:
    for step in steps:
        if isinstance(step, WaitFor):
            store = store.with_connection_state(step.state)
        elif isinstance(step, Call) and step.operation in _UNDER_WAY:
            store = store.with_connection_state(_UNDER_WAY[step.operation])
    return store


def _refuse_lockout(store: CustomKeyStore, wanted: Tuple[Change, ...]) -> None:
    """Refuse another login as kmsuser if the last one failed because of kmsuser: five failed logins lock the user (R13).

    A new password in the same task is allowed: it is the remedy.
    """
    if store.connection_state is not ConnectionState.FAILED or "KeyStorePassword" in [each.member for each in wanted]:
        return
    from .diagnosis import diagnose  # long, and few tasks need it

    failure = diagnose(store.connection_error_code or "UNKNOWN", store.type)
    if failure.may_lock_kmsuser:
        raise Refusal(
            f"The custom key store {store} is FAILED and was left so, because another attempt to connect it"
            f" may lock kmsuser out of its CloudHSM cluster. {failure}"
        )


# ---- a store that does not exist


def plan_creation(desired: DesiredStore, not_found: CustomKeyStoreError) -> Plan:
    """Plan for a store that does not exist.

    Args:
        desired: the options of the task, with at least one that only a new store needs.
        not_found: the error that says where the task searched for the store.

    Raises:
        Refusal: options are missing.
    """
    missing = missing_to_create(desired.given)
    if missing:
        raise Refusal(f"{not_found.message} To create it, the task also needs {', '.join(missing)}.")
    steps: Tuple[Step, ...] = (Call(CREATE, create_arguments(desired.given)),)
    if desired.state == "connected":
        steps = (*steps, _CONNECT, _AWAIT_CONNECTED)
    if not desired.wait:
        steps = _without_last_wait(steps)
    external = desired.given.get("custom_key_store_type", AWS_CLOUDHSM) != AWS_CLOUDHSM
    secret = "xks_proxy_configuration.raw_secret_access_key" if external else "key_store_password"
    return Plan(steps, _predict(CustomKeyStore(described(desired.given)), steps), (secret,))


# ---- a store to delete


def refuse_deletion_in_service(store: CustomKeyStore, desired: DesiredStore) -> None:
    """Refuse to delete a connected store, unless the task allows a disconnect.

    Raises:
        Refusal: the task does not allow it.
    """
    if store.connection_state in IN_SERVICE and not desired.allow_disconnect:
        raise Refusal(
            f"The custom key store {store} is {store.connection_state.value}, and only one that is DISCONNECTED can be"
            " deleted. To let this task disconnect it, set allow_disconnect=true, or disconnect it first."
        )


def plan_deletion(store: CustomKeyStore, desired: DesiredStore, keys: Sequence[Key]) -> Plan:
    """Plan the deletion of a store.

    Args:
        store: as just described.
        desired: the options of the task.
        keys: the known KMS keys in the store. A store with keys cannot be deleted, and so must not be disconnected.

    Raises:
        Refusal: the store holds keys.
    """
    if keys:
        raise Refusal(
            f"The custom key store {store} cannot be deleted and was left as it is, because it holds"
            f" {len(keys)} KMS keys: {', '.join(str(key) for key in keys)}. Schedule the deletion of those that you are"
            " sure not to need any more, and run the task again when all are gone: a key whose deletion is pending counts."
        )
    steps: Tuple[Step, ...] = (*_TO_DISCONNECTED[store.connection_state], Call(DELETE), WaitUntilGone())
    return Plan(steps if desired.wait else _without_last_wait(steps), None)
