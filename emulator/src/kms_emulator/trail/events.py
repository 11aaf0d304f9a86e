# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What CloudTrail knows of KMS in one account and Region: who changed custom key stores, when, and from where."""

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

KEPT = 90 * 86400.0
"""Seconds after which an event is not found any more."""

RENAMED = {"CloudHsmClusterId": "clusterId"}
"""Members of a request that CloudTrail calls otherwise. The others begin with a small letter there."""


@dataclass(frozen=True)
class Caller:
    """Who made a request, and how.

    Attributes:
        arn: of the user, or of the role's session.
        access_key_id: of the credentials; empty for a service of AWS.
        source: the IP address, or the name of a service of AWS.
        agent: the user agent.
    """

    arn: str
    access_key_id: str = ""
    source: str = "192.0.2.0"
    agent: str = "-"

    def identity(self, account_id: str) -> dict[str, str]:
        """As userIdentity."""
        kind = "AssumedRole" if ":assumed-role/" in self.arn else "IAMUser"
        known = {"accessKeyId": self.access_key_id} if self.access_key_id else {}
        return {"type": kind, "arn": self.arn, "accountId": account_id, **known, "userName": self.name}

    @property
    def name(self) -> str:
        """The user, or the session."""
        return self.arn.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Event:
    """One event: when it was, by the clock's now() and elapsed(), and its members in the answer, but for the time."""

    time: float
    moment: float
    members: dict[str, Any]

    def value(self, attribute: str) -> str | None:
        """That of a lookup attribute. ResourceName and ResourceType have none: AWS names no resource in these events."""
        return self.members.get("Username" if attribute == "Username" else attribute)

    def describe(self) -> dict[str, Any]:
        """As LookupEvents tells it."""
        return {**self.members, "EventTime": int(self.time)}


class Events:
    """The events of one account and Region, in order. Whoever uses it holds the lock of KMS."""

    def __init__(self, *, account_id: str, region_name: str, clock: Clock) -> None:
        self._account_id = account_id
        self._region_name = region_name
        self._clock = clock
        self._events: list[Event] = []
        self.delay = 0.0
        """Seconds after which an event can be found."""

    def found(self) -> list[Event]:
        """Those that can be found by now, the newest first."""
        now = self._clock.elapsed()
        return [event for event in reversed(self._events) if self.delay <= now - event.moment <= KEPT]

    def note(
        self,
        operation: str,
        caller: Caller,
        request: Mapping[str, Any],
        *,
        store: CustomKeyStore | None,
        answer: Mapping[str, Any],
    ) -> None:
        """Record a request to KMS.

        Args: request: its members, secrets masked; store: the one that it is about, as it was before, if there is one; answer:
        its members, or for an error the code as errorCode, and errorMessage.
        """
        number = str(mock_random.uuid4())
        time = self._clock.now()
        moment = datetime.datetime.fromtimestamp(int(time), datetime.timezone.utc)
        is_error = "errorCode" in answer
        content = {
            "eventVersion": "1.08",
            "userIdentity": caller.identity(self._account_id),
            "eventTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            "eventSource": SOURCE,
            "eventName": operation,
            "awsRegion": self._region_name,
            "sourceIPAddress": caller.source,
            "userAgent": caller.agent,
            **(answer if is_error else {}),
            "requestParameters": _named(request),
            "responseElements": None if is_error else _named(answer) or None,
            **_additional(store),
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
    """The store that a request is about, if there is one."""
    return kms.custom_key_stores.get(str(request.get("CustomKeyStoreId")))


def _named(members: Mapping[str, Any]) -> dict[str, Any]:
    """Members by CloudTrail's names."""
    return {RENAMED.get(name, name[:1].lower() + name[1:]): value for name, value in members.items()}


def _additional(store: CustomKeyStore | None) -> dict[str, Any]:
    if store is None:
        return {}
    cluster = {} if store.cloud_hsm_cluster_id is None else {"clusterId": store.cloud_hsm_cluster_id}
    return {"additionalEventData": {"customKeyStoreName": store.custom_key_store_name, **cluster}}
