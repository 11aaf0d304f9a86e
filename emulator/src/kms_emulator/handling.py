# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request handling of all services of the emulator: the log, injected faults, quotas, and dates of its own clock."""

from __future__ import annotations

import json
import time
import traceback
from abc import abstractmethod
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any
from typing import ClassVar

from botocore.exceptions import ConnectionClosedError
from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError
from moto.core.responses import BaseResponse
from moto.moto_api._internal import mock_random
from werkzeug.exceptions import HTTPException

from .custom_key_stores.exceptions import ValidationException
from .exceptions import InternalFailure
from .exceptions import SerializationException
from .exceptions import ThrottlingException
from .exceptions import UnknownOperationException
from .exceptions import error_for
from .injections import Fault
from .journal import Record
from .models import EmulatedBackend
from .models import backends

LISTENER = "keyops.kms_request_listener"
"""Key of the WSGI environment: a callable that receives the Record of each request."""


class HandledResponse(BaseResponse):
    """Handles one request. A subclass must list it before moto's response class of the service.

    The subclass, or moto's class, must define _error(JsonRESTError), which returns an error response.
    """

    content_type: ClassVar[str]
    request_id = ""
    """A UUID. Each request has its own object of this class."""

    # Implemented by each service

    @abstractmethod
    def _masked_request(self) -> Any:
        """Return the members of the request with secrets masked. Empty if the request cannot be parsed."""

    @abstractmethod
    def _validate_and_execute(self) -> TYPE_RESPONSE:
        """Return the response to a valid request. Raises JsonRESTError for an invalid one."""

    # Shared by all services

    @property
    def kms_backend(self) -> EmulatedBackend:
        """KMS in the caller's account and Region. Raises ValidationException for an unknown Region."""
        account = backends()[self.current_account]
        if self.region not in account:
            raise ValidationException(f"There is no Region {self.region!r}; a Region is such as us-east-1.")
        return account[self.region]

    def call_action(self) -> TYPE_RESPONSE:
        """Log and handle one request.

        Raises ConnectionClosedError for a dropped connection. In process, botocore receives this exception, as if from its own
        HTTP client. On a server, EmulatorApplication closes the connection.
        """
        self.request_id = str(mock_random.uuid4())
        try:
            backend = self.kms_backend
        except ValidationException as error:
            return self._error(error)
        if backend.latency > 0:
            # Outside of the lock, so that concurrent requests wait at the same time.
            time.sleep(backend.latency)
        with backend.lock:
            backend.agenda.advance_by_request()
            backend.forget_deleted_keys()
            record = backend.journal.open(self._get_action(), self._masked_request())
            try:
                return self._finalize(self._answer(backend, record))
            finally:
                self.normalized_request.environ.get(LISTENER, lambda _: None)(record)

    def _body(self) -> dict[str, Any]:
        """Return the body of the request. Raises SerializationException if it is not a JSON object."""
        try:
            request = json.loads(self.body or "{}")
        except ValueError as error:
            raise SerializationException() from error
        if not isinstance(request, dict):
            raise SerializationException()
        return request

    def _finalize(self, answer: TYPE_RESPONSE) -> TYPE_RESPONSE:
        """Set the date of the emulator's clock, and the content type of the service."""
        status, headers, body = answer
        others = {name: value for name, value in headers.items() if name.lower() not in ("content-type", "date")}
        date = format_datetime(self.kms_backend.clock.date(), usegmt=True)
        return status, {**others, "Content-Type": self.content_type, "Date": date}, body

    def _answer(self, backend: EmulatedBackend, record: Record) -> TYPE_RESPONSE:
        backend.run_intruders(record["operation"])
        fault = backend.injections.fault_for(record["operation"])
        if fault is None:
            return self._handle(record)
        if fault.applied:
            self._handle(record)
        return self._inject(fault, record)

    def _handle(self, record: Record) -> TYPE_RESPONSE:
        try:
            if self.kms_backend.quotas.exceeded(record["operation"]):
                raise ThrottlingException()
            answer = self._validate_and_execute()
        except JsonRESTError as error:
            answer = self._error(error)
        record["applied"] = answer[0] < 400
        record["outcome"] = "ok" if record["applied"] else error_code(answer[1], answer[2])
        return answer

    def _call_moto(self, operation: str) -> TYPE_RESPONSE:
        """Let moto handle the request. Returns other failures as errors in JSON, which clients can parse."""
        try:
            return super().call_action()
        except NotImplementedError:
            return self._error(UnknownOperationException(f"The emulator does not have {operation}."))
        except (HTTPException, ConnectionClosedError):
            raise
        except Exception as error:
            traceback.print_exc()
            return self._error(InternalFailure(f"The emulator failed at {operation}: {type(error).__name__}: {error}"))

    def _inject(self, fault: Fault, record: Record) -> TYPE_RESPONSE:
        if fault.error is None:
            record["outcome"] = "dropped"
            raise ConnectionClosedError(endpoint_url=self.uri)
        record["outcome"] = fault.error
        return self._error(error_for(fault.error))


def error_code(headers: Mapping[str, Any], body: str | bytes) -> str:
    """Return the error code of an error response."""
    try:
        code: str = json.loads(body)["__type"]
    except (ValueError, KeyError, TypeError):
        code = str(headers.get("X-Amzn-ErrorType") or "UnknownError")
    return code.split("#")[-1]
