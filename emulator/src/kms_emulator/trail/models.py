# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudTrail of one account and Region, with the events of KMS. The caller must hold KMS's lock."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from moto.cloudtrail.models import CloudTrailBackend
from moto.cloudtrail.models import cloudtrail_backends

from ..in_place import replace_backend
from ..models import backends
from .events import Event
from .exceptions import InvalidEventCategoryException
from .exceptions import InvalidLookupAttributesException
from .exceptions import InvalidMaxResultsException
from .exceptions import InvalidNextTokenException
from .exceptions import InvalidTimeRangeException

PAGE = 50
"""Maximum and default number of events in a response."""


def install_trail() -> None:
    """Add events to moto's CloudTrail. Idempotent. The first call clears moto's."""
    replace_backend(cloudtrail_backends, TrailBackend)


class TrailBackend(CloudTrailBackend):
    """moto's backend, with LookupEvents."""

    def lookup_events(self, request: dict[str, Any]) -> dict[str, Any]:
        """LookupEvents: newest first, in pages. Takes the members of the request, and returns those of the response."""
        limit = request.get("MaxResults", PAGE)
        if not 1 <= limit <= PAGE:
            raise InvalidMaxResultsException()
        found = self._found(request)
        start = _start(request)
        end = start + limit
        response = {"Events": [event.describe() for event in found[start:end]]}
        return response if end >= len(found) else {**response, "NextToken": _token(request, end)}

    def _found(self, request: dict[str, Any]) -> list[Event]:
        attributes = request.get("LookupAttributes", [])
        earliest, latest = request.get("StartTime", float("-inf")), request.get("EndTime", float("inf"))
        category = request.get("EventCategory")
        if len(attributes) > 1:
            raise InvalidLookupAttributesException()
        if earliest > latest:
            raise InvalidTimeRangeException()
        if category is not None:
            if category != "insight":
                raise InvalidEventCategoryException()
            return []
        return [
            event
            for event in backends()[self.account_id][self.region_name].trail.visible()
            if earliest - 1 < int(event.time) <= latest
            and all(event.value(each["AttributeKey"]) == each["AttributeValue"] for each in attributes)
        ]


def _parameters(request: dict[str, Any]) -> str:
    """Return the parameters for which a token is valid."""
    return json.dumps({name: value for name, value in request.items() if name != "NextToken"}, sort_keys=True)


def _token(request: dict[str, Any], start: int) -> str:
    return base64.urlsafe_b64encode(f"{start} {_parameters(request)}".encode()).decode()


def _start(request: dict[str, Any]) -> int:
    """Return the index of the first event. Raises InvalidNextTokenException for a token of other parameters."""
    if "NextToken" not in request:
        return 0
    try:
        start, _space, parameters = base64.urlsafe_b64decode(request["NextToken"]).decode().partition(" ")
        if parameters != _parameters(request):
            raise InvalidNextTokenException()
        return int(start)
    except (binascii.Error, ValueError) as error:
        raise InvalidNextTokenException() from error
