# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the emulator handles a request to any of its services: a log, faults on demand, quotas, and dates of its own clock."""

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
"""Key of the WSGI environment: who wants to be told of each request, called with its Record."""


class HandledResponse(BaseResponse):
    """One request and its answer. Comes before moto's class of the service among the bases of a class.

    That class, or one of its own, makes an answer of an error: _error(JsonRESTError).
    """

    content_type: ClassVar[str]
    request_id = ""
    """A UUID, made for each request; each has an object of this class."""

    # What each service has of its own

    @abstractmethod
    def _masked_request(self) -> Any:
        """The members of the request as they may be shown; none if they cannot be read."""

    @abstractmethod
    def _judged_and_done(self) -> TYPE_RESPONSE:
        """The answer to a request with proper members. Raises JsonRESTError for another."""

    # What they share

    @property
    def kms_backend(self) -> EmulatedBackend:
        """KMS in the caller's account and Region. Raises ValidationException for a Region that there is not."""
        account = backends()[self.current_account]
        if self.region not in account:
            raise ValidationException(f"There is no Region {self.region!r}; a Region is such as us-east-1.")
        return account[self.region]

    def call_action(self) -> TYPE_RESPONSE:
        """Handle one request, from the log to its answer.

        Raises ConnectionClosedError for a dropped connection. In process, moto's stub lets it pass to botocore, which
        takes it for its own; EmulatorApplication makes a real one of it.
        """
        self.request_id = str(mock_random.uuid4())
        try:
            backend = self.kms_backend
        except ValidationException as error:
            return self._error(error)
        if backend.latency > 0:
            # Outside of the lock: requests are under way side by side.
            time.sleep(backend.latency)
        with backend.lock:
            backend.agenda.request_came()
            backend.forget_deleted_keys()
            record = backend.journal.open(self._get_action(), self._masked_request())
            try:
                return self._finished(self._answer(backend, record))
            finally:
                self.normalized_request.environ.get(LISTENER, lambda _: None)(record)

    def _body(self) -> dict[str, Any]:
        """The body of the request. Raises SerializationException if it is no JSON object."""
        try:
            request = json.loads(self.body or "{}")
        except ValueError as error:
            raise SerializationException() from error
        if not isinstance(request, dict):
            raise SerializationException()
        return request

    def _finished(self, answer: TYPE_RESPONSE) -> TYPE_RESPONSE:
        """With a date of the emulator's clock, and the content type of the service."""
        status, headers, body = answer
        others = {name: value for name, value in headers.items() if name.lower() not in ("content-type", "date")}
        date = format_datetime(self.kms_backend.clock.date(), usegmt=True)
        return status, {**others, "Content-Type": self.content_type, "Date": date}, body

    def _answer(self, backend: EmulatedBackend, record: Record) -> TYPE_RESPONSE:
        backend.let_intruders_in(record["operation"])
        fault = backend.injections.fault_for(record["operation"])
        if fault is None:
            return self._handle(record)
        if fault.applied:
            self._handle(record)
        return self._spoil(fault, record)

    def _handle(self, record: Record) -> TYPE_RESPONSE:
        try:
            if self.kms_backend.quotas.exceeded(record["operation"]):
                raise ThrottlingException()
            answer = self._judged_and_done()
        except JsonRESTError as error:
            answer = self._error(error)
        record["applied"] = answer[0] < 400
        record["outcome"] = "ok" if record["applied"] else error_code(answer[1], answer[2])
        return answer

    def _by_moto(self, operation: str) -> TYPE_RESPONSE:
        """Have moto do it. What neither moto nor the emulator can do is an error in JSON, as clients choke on anything else."""
        try:
            return super().call_action()
        except NotImplementedError:
            return self._error(UnknownOperationException(f"The emulator does not have {operation}."))
        except (HTTPException, ConnectionClosedError):
            raise
        except Exception as error:
            traceback.print_exc()
            return self._error(InternalFailure(f"The emulator failed at {operation}: {type(error).__name__}: {error}"))

    def _spoil(self, fault: Fault, record: Record) -> TYPE_RESPONSE:
        if fault.error is None:
            record["outcome"] = "dropped"
            raise ConnectionClosedError(endpoint_url=self.uri)
        record["outcome"] = fault.error
        return self._error(error_for(fault.error))


def error_code(headers: Mapping[str, Any], body: str | bytes) -> str:
    """The code of an answer that is an error."""
    try:
        code: str = json.loads(body)["__type"]
    except (ValueError, KeyError, TypeError):
        code = str(headers.get("X-Amzn-ErrorType") or "UnknownError")
    return code.split("#")[-1]
