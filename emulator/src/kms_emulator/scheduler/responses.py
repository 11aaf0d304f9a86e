# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EventBridge Scheduler over HTTP. Requests are handled like KMS requests, and in the same log."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any
from typing import cast
from urllib.parse import parse_qs
from urllib.parse import unquote

from botocore.model import StructureShape
from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError
from moto.core.utils import camelcase_to_underscores
from moto.scheduler.models import scheduler_backends
from moto.scheduler.responses import EventBridgeSchedulerResponse
from moto.utilities.utils import get_partition

from ..custom_key_stores.responses import without_nulls
from ..exceptions import SerializationException
from ..handling import HandledResponse
from ..validation import check_members
from ..validation import mask
from ..validation import scheduler_model
from .access import SchedulerAccess
from .exceptions import SchedulerError
from .exceptions import ValidationException
from .models import SchedulerBackend
from .schedules import GROUP

OPERATIONS = ("CreateSchedule", "GetSchedule", "UpdateSchedule", "DeleteSchedule", "ListSchedules")
"""Operations of the emulator. The others, for groups and tags, are moto's."""

PATH = "/schedules"

BY_METHOD = {"POST": "CreateSchedule", "GET": "GetSchedule", "PUT": "UpdateSchedule", "DELETE": "DeleteSchedule"}


class SchedulerResponse(HandledResponse, EventBridgeSchedulerResponse):
    """Handles one request."""

    content_type = "application/json"

    @property
    def scheduler_backend(self) -> SchedulerBackend:
        """EventBridge Scheduler in the caller's account and Region. Raises ValidationException for a Region without it."""
        account = scheduler_backends[self.current_account]
        if self.region not in account:
            raise ValidationException(f"There is no EventBridge Scheduler in the Region {self.region}.")
        return cast(SchedulerBackend, account[self.region])

    def call_action(self) -> TYPE_RESPONSE:
        """Handle one request. Raises ConnectionClosedError for a dropped connection."""
        if self._get_action() in OPERATIONS:
            return super().call_action()
        with self.kms_backend.lock:
            self.kms_backend.agenda.catch_up()
            # Requests for groups and tags are not logged, and faults do not apply to them.
            return self._finalize(super(HandledResponse, self).call_action())

    def _get_action(self) -> str:
        path = self.raw_path.rstrip("/")
        if path == PATH and self.method == "GET":
            return "ListSchedules"
        if path.startswith(f"{PATH}/") and self.method in BY_METHOD:
            return BY_METHOD[self.method]
        action: str = super()._get_action()
        return action

    def _masked_request(self) -> Any:
        try:
            return mask(self._input_shape(), self._request())
        except JsonRESTError:
            return {}

    def _input_shape(self) -> StructureShape:
        return input_shape(self._get_action())

    def _request(self) -> dict[str, Any]:
        """Return the members of the request, from the path, query and body. Raises SerializationException."""
        shape = self._input_shape()
        in_body = {name: value for name, value in self._body().items() if _location(shape, name) == "body"}
        members: dict[str, Any] = without_nulls({**in_body, **dict(self._members_outside(shape))})
        return members

    def _members_outside(self, shape: StructureShape) -> Iterator[tuple[str, Any]]:
        """Yield the members in the path and in the query."""
        query = parse_qs(self.parsed_url.query, keep_blank_values=True)
        for name, member in shape.members.items():
            if _location(shape, name) == "uri":
                yield name, unquote(self.raw_path[len(PATH) + 1 :])
            elif _location(shape, name) == "querystring" and member.serialization["name"] in query:
                yield name, _from_query(query[member.serialization["name"]][0], member.type_name)

    def _validate_and_execute(self) -> TYPE_RESPONSE:
        operation, request = self._get_action(), self._request()
        check_members(self._input_shape(), request)
        role = request.get("Target", {}).get("RoleArn")
        self._authenticate_and_authorize_action(
            functools.partial(SchedulerAccess, passed_role=role), self._resource(request)
        )
        answer = getattr(self.scheduler_backend, camelcase_to_underscores(operation))(request)
        return 200, self._headers(), json.dumps(answer)

    def _resource(self, request: dict[str, Any]) -> str:
        """Return the ARN of the schedule, or * for a request without one."""
        if "Name" not in request:
            return "*"
        prefix = f"arn:{get_partition(self.region)}:scheduler:{self.region}:{self.current_account}"
        return f"{prefix}:schedule/{request.get('GroupName', GROUP)}/{request['Name']}"

    def _error(self, error: JsonRESTError) -> TYPE_RESPONSE:
        code = error.relative_error_type
        status = error.code if isinstance(error, SchedulerError) else statuses().get(code, error.code)
        body = json.dumps({"__type": code, "Message": error.message})
        return status, {**self._headers(), "X-Amzn-ErrorType": code}, body

    def _headers(self) -> dict[str, str]:
        return {"server": "amazon.com", "x-amzn-RequestId": self.request_id}


def input_shape(operation: str) -> StructureShape:
    """Return the input shape of an operation."""
    return cast(StructureShape, scheduler_model().operation_model(operation).input_shape)


@functools.cache
def statuses() -> dict[str, int]:
    """Return the HTTP status of each error in the model, by error code."""
    return {
        shape.name: shape.metadata["error"]["httpStatusCode"]
        for operation in OPERATIONS
        for shape in scheduler_model().operation_model(operation).error_shapes
    }


def _location(shape: StructureShape, member: str) -> str:
    return str(shape.members[member].serialization.get("location", "body")) if member in shape.members else "body"


def _from_query(text: str, type_name: str) -> Any:
    """Convert a value of the query."""
    try:
        return int(text) if type_name == "integer" else text
    except ValueError as error:
        raise SerializationException() from error
