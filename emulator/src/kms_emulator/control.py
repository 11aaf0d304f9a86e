# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controls the emulator: time, outcomes of connects, states, faults, actions by other callers, and the log of requests."""

from __future__ import annotations

import math
import random
import re
from collections import deque
from typing import Any

from moto.moto_api import state_manager
from moto.moto_api._internal import mock_random

from .backing_commands import BackingCommands
from .clusters import generate_id
from .commands import LONGEST
from .commands import command
from .custom_key_stores.rules import CHANGES
from .custom_key_stores.rules import ERROR_CODES
from .custom_key_stores.rules import FAST_FAILURES
from .custom_key_stores.rules import NEVER
from .custom_key_stores.rules import ConnectionState
from .custom_key_stores.rules import StoreType
from .custom_key_stores.stores import CONNECT_MODEL
from .custom_key_stores.stores import DISCONNECT_MODEL
from .injections import Fault
from .injections import Intruder
from .journal import Record
from .key_commands import KeyCommands
from .models import check_state
from .scheduler.models import existing_scheduler
from .scheduler.responses import OPERATIONS as SCHEDULER_OPERATIONS
from .scheduler_commands import SchedulerCommands
from .trail.responses import OPERATIONS as TRAIL_OPERATIONS
from .validation import check_request
from .validation import input_shape
from .validation import kms_model


class Control(BackingCommands, KeyCommands, SchedulerCommands):
    """Controls KMS in one account and Region, in process. HttpControl has the same methods.

    All times are in seconds of the emulator's clock. Invalid input raises ValueError (TypeError for a wrong type) with a
    message of one sentence, and changes nothing.
    """

    @command
    def set_transitions(self, *, connect_seconds: float | None = None, disconnect_seconds: float | None = None) -> None:
        """Set the durations of connects and disconnects. None: no change.

        They are set in moto's state manager, and so apply to all accounts and Regions, and to transitions in progress.
        """
        wanted = {CONNECT_MODEL: connect_seconds, DISCONNECT_MODEL: disconnect_seconds}
        given = {model_name: seconds for model_name, seconds in wanted.items() if seconds is not None}
        for seconds in given.values():
            _check_seconds(seconds)
        for model_name, seconds in given.items():
            state_manager.set_transition(model_name, {"progression": "time", "seconds": seconds})

    @command
    def set_connect_outcomes(self, custom_key_store_id: str, outcomes: list[str]) -> None:
        """Set the outcomes of the next connects of a store, one each. Later connects have no preset outcome.

        Each outcome: CONNECTED; a ConnectionErrorCode of the store's type; NEVER (stays CONNECTING); or, for a
        CloudHSM store, an exception that ConnectCustomKeyStore raises at once (R2).
        """
        store = self._backend.get_store(custom_key_store_id)
        fast = FAST_FAILURES if store.custom_key_store_type is StoreType.AWS_CLOUDHSM else frozenset[str]()
        possible = [ConnectionState.CONNECTED.value, NEVER, *sorted(fast | ERROR_CODES[store.custom_key_store_type])]
        for outcome in outcomes:
            if outcome not in possible:
                raise ValueError(
                    f"A connect of a store of type {store.custom_key_store_type} cannot end with {outcome!r};"
                    f" it can with: {', '.join(possible)}."
                )
        self._backend.backing.outcomes[custom_key_store_id] = deque(outcomes)

    @command
    def set_connection_state(
        self, custom_key_store_id: str, connection_state: str, connection_error_code: str | None = None
    ) -> None:
        """Set the connection state of a store, visible at once. FAILED requires an error code.

        CONNECTING and DISCONNECTING change to CONNECTED and DISCONNECTED after the configured duration.
        """
        self._backend.set_connection_state(custom_key_store_id, connection_state, connection_error_code)

    @command
    def set_visibility_delay(self, seconds: float) -> None:
        """Set the delay after which changes of stores and new KMS keys become visible (R31).

        Until then, DescribeCustomKeyStores returns the store as it was before the change, and the states of its KMS keys follow
        that. DescribeKey and ListKeys do not find a new KMS key. All other operations use the actual state.
        """
        _check_seconds(seconds)
        self._backend.visibility.delay = seconds

    @command
    def set_trail_delay(self, seconds: float) -> None:
        """Set the delay after which LookupEvents of CloudTrail returns an event (default: 0). In AWS, it is up to 15 minutes."""
        _check_seconds(seconds)
        self._backend.trail.delay = seconds

    @command
    def set_latency(self, seconds: float) -> None:
        """Set the latency of each request: seconds of wall time, even if the clock is frozen."""
        _check_seconds(seconds)
        self._backend.latency = seconds

    @command
    def set_rule(self, name: str, value: bool | int) -> None:
        """Set a rule, such as one on which AWS's documents disagree (section 3.9). The names are those of Rules."""
        self._backend.rules.set(name, value)

    @command
    def add_fault(
        self,
        operation: str,
        *,
        error: str | None = None,
        drop: bool = False,
        applied: bool = False,
        skip: int = 0,
        times: int | None = 1,
        probability: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Inject a fault into the next requests of an operation.

        Args: operation: any of KMS, one of EventBridge Scheduler about schedules, or LookupEvents. error: the AWS error code of
        the response; or drop: close the connection without a response. applied: the request takes effect before the fault.
        skip: number of requests to handle normally first. times: number of requests with the fault (None: all). probability: of
        the fault, for each of these requests, by random numbers that depend on the seed only.
        """
        _check_operation(operation)
        _check_counts(skip, 1 if times is None else times)
        if (error is None) != drop:
            raise ValueError("A fault is either an error code or a dropped connection.")
        if error is not None and not re.fullmatch("[A-Za-z0-9.]+", error):
            raise ValueError("An error code has letters, digits and dots only, such as ThrottlingException.")
        if not 0 <= probability <= 1:
            raise ValueError("A probability is a number from 0 to 1.")
        often = math.inf if times is None else times
        chance = random.Random(seed)  # noqa: S311 (no secret)
        self._backend.injections.faults.append(Fault(operation, error, applied, skip, often, probability, chance))

    @command
    def set_quota(self, operation: str, per_second: float | None) -> None:
        """Set the number of requests of an operation per second of the emulator's clock (R29). None: no quota.

        A burst can use the quota of one second. Further requests fail with ThrottlingException.
        """
        _check_operation(operation)
        if per_second is not None and not 0 < per_second <= LONGEST:
            raise ValueError(f"A quota must be more than 0 requests in a second, and at most {LONGEST}.")
        self._backend.quotas.set(operation, per_second)

    @command
    def add_intruder(self, operation: str, *, skip: int = 0, action: str, parameters: dict[str, Any]) -> None:
        """Add an action by another caller, just before a request of an operation.

        Args: skip: number of requests to skip first. action: a KMS operation that changes custom key stores, with its members as
        parameters; or SetConnectionState, with CustomKeyStoreId, ConnectionState and (for FAILED) ConnectionErrorCode.
        The action is not in requests(). Its outcome is in intrusions().
        """
        _check_operation(operation)
        _check_counts(skip, 1)
        given = {name: value for name, value in parameters.items() if value is not None}
        self._check_action(action, given)
        self._backend.injections.intruders.append(Intruder(operation, skip, action, given))

    def _check_action(self, action: str, parameters: dict[str, Any]) -> None:
        if action == "SetConnectionState":
            given = {"ConnectionErrorCode": None, **parameters}
            strings = all(isinstance(value, str) for value in parameters.values())
            if set(given) != {"CustomKeyStoreId", "ConnectionState", "ConnectionErrorCode"} or not strings:
                raise ValueError(
                    "SetConnectionState takes CustomKeyStoreId, ConnectionState, ConnectionErrorCode, all strings."
                )
            self._backend.check_connection_state(
                given["CustomKeyStoreId"], given["ConnectionState"], given["ConnectionErrorCode"]
            )
        elif action in CHANGES:
            _check_known(action, parameters)
            check_request(action, parameters)
        else:
            raise ValueError(f"An intruder can do: {', '.join((*CHANGES, 'SetConnectionState'))}.")

    @command
    def create_store(
        self,
        *,
        custom_key_store_name: str | None = None,
        custom_key_store_type: str = StoreType.AWS_CLOUDHSM,
        connection_state: str = ConnectionState.DISCONNECTED,
        connection_error_code: str | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Create a store of either type without further setup, visible at once. Returns its ID.

        Args: custom_key_store_name: the name (default: a generated one); connection_state: the state, with a
        connection_error_code for FAILED; parameters: members of CreateCustomKeyStore, instead of generated ones. The store has a
        healthy new cluster, or a healthy proxy. If parameters has a CloudHsmClusterId, it has that cluster, existing or not.
        """
        if custom_key_store_type not in list(StoreType):
            raise ValueError(f"There is no type {custom_key_store_type!r}; there are: {', '.join(StoreType)}.")
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        _check_known("CreateCustomKeyStore", given)
        if given.get("CustomKeyStoreType", custom_key_store_type) != custom_key_store_type:
            raise ValueError("CustomKeyStoreType in parameters must be the same as custom_key_store_type.")
        request = {**self._default_store_request(StoreType(custom_key_store_type), given), **given}
        if custom_key_store_name is not None:
            request["CustomKeyStoreName"] = custom_key_store_name
        check_request("CreateCustomKeyStore", request)
        check_state(StoreType(custom_key_store_type), connection_state, connection_error_code)
        store_id = self._backend.create_custom_key_store(request)["CustomKeyStoreId"]
        self._backend.set_connection_state(store_id, connection_state, connection_error_code)
        return store_id

    def _default_store_request(self, store_type: StoreType, given: dict[str, Any]) -> dict[str, Any]:
        """Return members for a valid CreateCustomKeyStore request."""
        unique = mock_random.get_random_hex(12)
        request: dict[str, Any] = {"CustomKeyStoreName": f"store-{unique}", "CustomKeyStoreType": store_type.value}
        if store_type is StoreType.AWS_CLOUDHSM:
            cluster_id = given.get("CloudHsmClusterId") or self._default_cluster(given.get("TrustAnchorCertificate"))
            anchor = self._backend.backing.clusters.certificate(cluster_id)
            return {
                **request,
                "CloudHsmClusterId": cluster_id,
                "TrustAnchorCertificate": anchor
                or "-----BEGIN CERTIFICATE-----\nemulated\n-----END CERTIFICATE-----\n",
                "KeyStorePassword": f"kmsuser{unique}",
            }
        if given.get("XksProxyConnectivity") == "VPC_ENDPOINT_SERVICE":
            request["XksProxyVpcEndpointServiceName"] = f"com.amazonaws.vpce.us-east-1.vpce-svc-{unique}"
        return {
            **request,
            "XksProxyConnectivity": "PUBLIC_ENDPOINT",
            "XksProxyUriEndpoint": f"https://{unique}.xks.example.com",
            "XksProxyUriPath": "/kms/xks/v1",
            "XksProxyAuthenticationCredential": {
                "AccessKeyId": "EMULATEDACCESSKEY234",
                "RawSecretAccessKey": f"emulated+secret/access=key+{unique * 2}",
            },
        }

    def _default_cluster(self, certificate: str | None) -> str:
        """Create a healthy cluster. Returns its ID. If moto has no CloudHSM in the Region, returns only a new ID."""
        clusters = self._backend.backing.clusters
        if clusters.moto_backend() is None:
            return generate_id("cluster")
        return clusters.create(active_hsms=2, zones=2, state="ACTIVE", certificate=certificate, source=None)

    @command
    def requests(self) -> list[Record]:
        """Return all KMS requests since the last clear_requests(), in order of arrival.

        Each: number (from 1); time (seconds since the epoch); operation; parameters, with secrets masked; account_id;
        region; outcome: "ok", the error code, or "dropped"; applied: whether the request took effect.
        """
        return self._backend.journal.records()

    @command
    def clear_requests(self) -> None:
        """Clear the log of requests."""
        self._backend.journal.clear()

    @command
    def intrusions(self) -> list[dict[str, str]]:
        """Return the actions by other callers, in order: before (the operation), action, outcome ("ok", or the error)."""
        return [dict(intrusion) for intrusion in self._backend.intrusions]

    @command
    def freeze_clock(self, seconds_per_request: float = 0) -> None:
        """Freeze the clock of this account and Region until reset(). Only advance() and requests then advance it.

        With seconds_per_request, the number of polls during a transition does not depend on the speed of the machine.
        """
        _check_seconds(seconds_per_request)
        self._backend.clock.freeze(seconds_per_request)

    @command
    def advance(self, seconds: float) -> None:
        """Advance the clock of this account and Region."""
        _check_seconds(seconds)
        self._backend.agenda.advance(seconds)

    @command
    def reset(self) -> None:
        """Reset KMS in this account and Region: stores, keys, clusters created by the emulator, log, faults, rules, clock.
        Also reset EventBridge Scheduler.

        Restores the default durations of connects and disconnects, which all accounts share.
        """
        self._backend.reset()
        scheduler = existing_scheduler(self.account_id, self.region_name)
        if scheduler is not None:
            scheduler.reset()
        for model_name in (CONNECT_MODEL, DISCONNECT_MODEL):
            state_manager.unset_transition(model_name)


def _check_seconds(seconds: float) -> None:
    if not 0 <= seconds <= LONGEST:
        raise ValueError(f"A number of seconds must be 0 or more, and at most {LONGEST}.")


def _check_counts(skip: int, times: int) -> None:
    if skip < 0 or times < 1:
        raise ValueError("skip must be 0 or more, and times 1 or more.")


def _check_known(operation: str, parameters: dict[str, Any]) -> None:
    """Reject unknown members. KMS ignores them, but here they are mistakes."""
    known = list(input_shape(operation).members)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{operation} has no member {unknown[0]!r}; it has: {', '.join(known)}.")


def _check_operation(operation: str) -> None:
    others = (*SCHEDULER_OPERATIONS, *TRAIL_OPERATIONS)
    if operation not in kms_model().operation_names and operation not in others:
        names = ", ".join((*kms_model().operation_names, *others))
        raise ValueError(f"KMS has no operation {operation!r}, unlike: {names}.")
