# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudTrail over HTTP. LookupEvents is handled like KMS requests, and in the same log."""

from __future__ import annotations

import json
from typing import Any
from typing import cast

from botocore.model import StructureShape
from moto.cloudtrail.models import cloudtrail_backends
from moto.cloudtrail.responses import CloudTrailResponse
from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError

from ..access import KmsAccess
from ..custom_key_stores.responses import without_nulls
from ..handling import HandledResponse
from ..validation import check_members
from ..validation import cloudtrail_model
from .models import TrailBackend

OPERATIONS = ("LookupEvents",)
"""Operations of the emulator. The others, for trails, are moto's."""


class TrailResponse(HandledResponse, CloudTrailResponse):
    """Handles one request."""

    content_type = "application/x-amz-json-1.1"

    def call_action(self) -> TYPE_RESPONSE:
        """Handle one request. Raises ConnectionClosedError for a dropped connection."""
        if self._get_action() in OPERATIONS:
            return super().call_action()
        return cast(TYPE_RESPONSE, super(HandledResponse, self).call_action())

    def _request(self) -> dict[str, Any]:
        members: dict[str, Any] = without_nulls(self._body())
        return members

    def _masked_request(self) -> Any:
        try:
            return self._request()  # it has no secrets
        except JsonRESTError:
            return {}

    def _validate_and_execute(self) -> TYPE_RESPONSE:
        request = self._request()
        check_members(
            _input_shape(), {name: value for name, value in request.items() if name not in CHECKED_BY_BACKEND}
        )
        self._authenticate_and_authorize_action(KmsAccess, "*")
        backend = cast(TrailBackend, cloudtrail_backends[self.current_account][self.region])
        return 200, self._headers(), json.dumps(backend.lookup_events(request))

    def _error(self, error: JsonRESTError) -> TYPE_RESPONSE:
        body = json.dumps({"__type": error.relative_error_type, "message": error.message})
        return error.code, self._headers(), body

    def _headers(self) -> dict[str, str]:
        return {"x-amzn-RequestId": self.request_id}


CHECKED_BY_BACKEND = ("MaxResults", "EventCategory")
"""Members for which CloudTrail has specific errors."""


def _input_shape() -> StructureShape:
    return cast(StructureShape, cloudtrail_model().operation_model("LookupEvents").input_shape)
