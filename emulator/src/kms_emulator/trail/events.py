# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudTrail events for KMS in one account and Region: the caller, time and source of changes of custom key stores."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from moto.moto_api._internal import mock_random

from ..clock import Clock
from ..custom_key_stores.stores import CustomKeyStore

if TYPE_CHECKING:
    from ..models import EmulatedBackend

SOURCE = "kms.amazonaws.com"

RETENTION = 90 * 86400.0
"""Seconds after which CloudTrail does not return an event any more."""

RENAMED = {"CloudHsmClusterId": "clusterId"}
"""Members of a request that CloudTrail renames. The others begin with a lowercase letter in CloudTrail."""


@dataclass(frozen=True)
class Caller:
    """The caller of a request.

    Attributes:
        arn: of the user, or of the role session.
        access_key_id: of the credentials; empty for a service of AWS.
        source: the IP address, or the name of a service of AWS.
        agent: the user agent.
    """

    arn: str
    access_key_id: str = ""
    source: str = "192.0.2.0"
    agent: str = "-"

    def identity(self, account_id: str) -> dict[str, str]:
        """Return the userIdentity element."""
        kind = "AssumedRole" if ":assumed-role/" in self.arn else "IAMUser"
        access_key = {"accessKeyId": self.access_key_id} if self.access_key_id else {}
        return {"type": kind, "arn": self.arn, "accountId": account_id, **access_key, "userName": self.name}

    @property
    def name(self) -> str:
        """Name of the user, or of the role session."""
        return self.arn.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Event:
    """One event: its time, by the clock's now() and elapsed(), and the other members of the response."""

    time: float
    elapsed: float
    members: dict[str, Any]

    def value(self, attribute: str) -> str | None:
        """Return the value of a lookup attribute. None for ResourceName and ResourceType: these events have no resources."""
        return self.members.get("Username" if attribute == "Username" else attribute)

    def describe(self) -> dict[str, Any]:
        """Return the event as in LookupEvents."""
        return {**self.members, "EventTime": int(self.time)}


class Events:
    """The events of one account and Region, in order. The caller must hold the lock of KMS."""

    def __init__(self, *, account_id: str, region_name: str, clock: Clock) -> None:
        self._account_id = account_id
        self._region_name = region_name
        self._clock = clock
        self._events: list[Event] = []
        self.delay = 0.0
        """Seconds after which an event is visible."""

    def visible(self) -> list[Event]:
        """Return the visible events, newest first."""
        now = self._clock.elapsed()
        return [event for event in reversed(self._events) if self.delay <= now - event.elapsed <= RETENTION]

    def record(
        self,
        operation: str,
        caller: Caller,
        request: Mapping[str, Any],
        *,
        store: CustomKeyStore | None,
        answer: Mapping[str, Any],
    ) -> None:
        """Record a request to KMS.

        Args: request: its members, with secrets masked; store: the store before the request, if it exists; answer: the members of
        the response, or errorCode and errorMessage.
        """
        number = str(mock_random.uuid4())
        time = self._clock.now()
        timestamp = datetime.datetime.fromtimestamp(int(time), datetime.timezone.utc)
        is_error = "errorCode" in answer
        content = {
            "eventVersion": "1.08",
            "userIdentity": caller.identity(self._account_id),
            "eventTime": f"{timestamp:%Y-%m-%dT%H:%M:%SZ}",
            "eventSource": SOURCE,
            "eventName": operation,
            "awsRegion": self._region_name,
            "sourceIPAddress": caller.source,
            "userAgent": caller.agent,
            **(answer if is_error else {}),
            "requestParameters": _renamed(request),
            "responseElements": None if is_error else _renamed(answer) or None,
            **_additional_data(store),
            "requestID": str(mock_random.uuid4()),
            "eventID": number,
            "readOnly": False,
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": self._account_id,
            "eventCategory": "Management",
        }
        members = {
            "EventId": number,
            "EventName": operation,
            "ReadOnly": "false",
            "EventSource": SOURCE,
            "Username": caller.name,
            "Resources": [],
            "CloudTrailEvent": json.dumps(content, separators=(",", ":")),
        }
        if caller.access_key_id:
            members["AccessKeyId"] = caller.access_key_id
        self._events.append(Event(time, self._clock.elapsed(), members))


def subject(kms: EmulatedBackend, request: Mapping[str, Any]) -> CustomKeyStore | None:
    """Return the store that a request names, if it exists."""
    return kms.custom_key_stores.get(str(request.get("CustomKeyStoreId")))


def _renamed(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return members by CloudTrail's names."""
    return {RENAMED.get(name, name[:1].lower() + name[1:]): value for name, value in members.items()}


def _additional_data(store: CustomKeyStore | None) -> dict[str, Any]:
    if store is None:
        return {}
    cluster = {} if store.cloud_hsm_cluster_id is None else {"clusterId": store.cloud_hsm_cluster_id}
    return {"additionalEventData": {"customKeyStoreName": store.custom_key_store_name, **cluster}}
