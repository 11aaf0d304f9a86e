# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who changed custom key stores, as AWS CloudTrail reports it: up to 15 minutes late, and for 90 days."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any
from typing import Collection
from typing import Mapping
from typing import Optional
from typing import Protocol

from .clock import Deadline
from .service import Service
from .service import ServiceError

DELETE = "DeleteCustomKeyStore"

OPERATIONS = ("ConnectCustomKeyStore", DELETE, "DisconnectCustomKeyStore", "UpdateCustomKeyStore")
"""The operations to search for. LookupEvents takes one at a time."""

PAGE = 50
"""The maximum of events in one answer of LookupEvents."""

MOST_PAGES = 10
"""The maximum of pages for each operation: nightly windows leave many events, and the newest come first."""

SECONDS_PER_REQUEST = 0.5
"""AWS allows two requests a second for all users of the account and Region."""


class TrailError(ServiceError):
    """CloudTrail refused a request, or did not answer."""


class TrailClient(Protocol):
    """The methods of boto3's client for CloudTrail that are used."""

    def lookup_events(self, **kwargs: Any) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Event:
    """One operation of KMS that changed a custom key store.

    Attributes:
        store_id: of the store.
        store_name: None if CloudTrail does not report it.
        time: of the operation, in UTC.
        event_name: the operation.
        user_arn: who made the request; None if CloudTrail does not report it.
        source_ip: its address, or the name of the service of AWS that made it; None if CloudTrail does not report it.
        event_id: of the event in CloudTrail.
    """

    store_id: str
    store_name: Optional[str]
    time: datetime.datetime
    event_name: str
    user_arn: Optional[str]
    source_ip: Optional[str]
    event_id: str

    def to_result(self) -> dict[str, Any]:
        names = ("event_name", "user_arn", "source_ip", "event_id")
        return {"time": self.time.isoformat(), **{name: getattr(self, name) for name in names}}


class Trail(Service):
    """CloudTrail of an account and Region.

    Args:
        client: a boto3 client for CloudTrail, made with C(client_config()).
        deadline: until when to retry a request that CloudTrail throttled or did not answer.
    """

    name = "CloudTrail"
    error = TrailError
    naming = ()

    def __init__(self, client: TrailClient, deadline: Deadline) -> None:
        super().__init__(deadline)
        self._client = client
        self._has_asked = False

    def explain(self, code: str, operation: str, text: str) -> str:
        if code.startswith("AccessDenied"):
            return f"The caller needs the permission cloudtrail:{operation} in an IAM policy."
        return "Look at the message of AWS."

    def events(self, store_ids: Collection[str]) -> list[Event]:
        """The changes of custom key stores of the account and Region, the newest first.

        For each operation, they include the last event of each of these stores, if it is among the last 500 of all stores.

        Raises:
            TrailError: a request to CloudTrail failed.
        """
        found = [event for operation in OPERATIONS for event in self._events_of(operation, store_ids)]
        return sorted(found, key=lambda event: event.time, reverse=True)

    def _events_of(self, operation: str, store_ids: Collection[str]) -> list[Event]:
        attribute = {"AttributeKey": "EventName", "AttributeValue": operation}
        arguments: dict[str, Any] = {"LookupAttributes": [attribute], "MaxResults": PAGE}
        found: list[Event] = []
        for _page in range(MOST_PAGES):
            if self._has_asked:
                self._deadline.pause(SECONDS_PER_REQUEST)
            self._has_asked = True
            page = self._call("LookupEvents", self._client.lookup_events, arguments)
            found += [event for event in map(read_event, page.get("Events", [])) if event is not None]
            is_known = operation != DELETE and {event.store_id for event in found}.issuperset(store_ids)
            if is_known or not page.get("NextToken"):
                break
            arguments["NextToken"] = page["NextToken"]
        return found


def read_event(entry: Mapping[str, Any]) -> Optional[Event]:
    """Read an event of LookupEvents; None for a request that KMS refused, or an event without a store."""
    try:
        content = json.loads(entry["CloudTrailEvent"])
        if content.get("errorCode"):
            return None
        identity = content.get("userIdentity") or {}
        return Event(
            store_id=str(content["requestParameters"]["customKeyStoreId"]),
            store_name=(content.get("additionalEventData") or {}).get("customKeyStoreName"),
            time=entry["EventTime"].astimezone(datetime.timezone.utc),
            event_name=str(content["eventName"]),
            user_arn=identity.get("arn") or identity.get("invokedBy") or entry.get("Username"),
            source_ip=content.get("sourceIPAddress"),
            event_id=str(entry["EventId"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # CloudTrail leaves out content that is too large


@dataclass(frozen=True)
class Deleted:
    """A custom key store that no longer exists, and its events.

    Attributes:
        id: of the store.
        name: as CloudTrail reports it; None if it does not.
        events: the newest first.
    """

    id: str
    name: Optional[str]
    events: list[Event]

    def to_result(self) -> dict[str, Any]:
        return {
            "custom_key_store_id": self.id,
            "custom_key_store_name": self.name,
            "events": [event.to_result() for event in self.events],
        }


def deleted_stores(events: Collection[Event], existing: Collection[str]) -> list[Deleted]:
    """The stores that were deleted according to these events, the last one first.

    Args:
        events: the newest first.
        existing: the ids of stores that still exist.
    """
    gone = [event for event in events if event.event_name == DELETE and event.store_id not in existing]
    return [
        Deleted(last.store_id, last.store_name, [event for event in events if event.store_id == last.store_id])
        for last in gone
    ]
