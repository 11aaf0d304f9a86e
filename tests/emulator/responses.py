# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS over HTTP: moto's KMS with the six operations, a log of all requests, validation, and faults on demand."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ConnectionClosedError
from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError
from moto.core.utils import camelcase_to_underscores
from moto.kms.responses import KmsResponse

from .exceptions import SerializationException
from .exceptions import UnknownOperationException
from .exceptions import error_for
from .injections import Fault
from .journal import Record
from .models import CustomKeyStoreBackend
from .models import backends
from .validation import check_request
from .validation import input_shape
from .validation import kms_model
from .validation import masked

LISTENER = "keyops.kms_request_listener"
"""Key of the WSGI environment: who wants to be told of each request, called with its Record."""


class CustomKeyStoreResponse(KmsResponse):  # type: ignore[misc]
    """One KMS request and its answer."""

    @property
    def kms_backend(self) -> CustomKeyStoreBackend:
        """KMS in the caller's account and Region."""
        return backends()[self.current_account][self.region]

    def create_custom_key_store(self) -> str:
        return self._run()

    def describe_custom_key_stores(self) -> str:
        return self._run()

    def connect_custom_key_store(self) -> str:
        return self._run()

    def disconnect_custom_key_store(self) -> str:
        return self._run()

    def update_custom_key_store(self) -> str:
        return self._run()

    def delete_custom_key_store(self) -> str:
        return self._run()

    def _run(self) -> str:
        operation = getattr(self.kms_backend, camelcase_to_underscores(self._get_action()))
        request = {name: value for name, value in self._request().items() if value is not None}
        return json.dumps(operation(request))

    def _get_action(self) -> str:
        # Only the header counts: moto would take "Action=..." inside a JSON body for a query.
        target: str = self.headers.get("X-Amz-Target", "")
        return target.split(".")[-1]

    def _request(self) -> dict[str, Any]:
        """The body. Raises SerializationException if it is no JSON object."""
        try:
            request = json.loads(self.body or "{}")
        except ValueError as error:
            raise SerializationException() from error
        if not isinstance(request, dict):
            raise SerializationException()
        return request

    def call_action(self) -> TYPE_RESPONSE:
        """Handle one request, from the log to its answer.

        Raises ConnectionClosedError for a dropped connection. In process, moto's stub lets it pass to botocore, which
        takes it for its own; EmulatorApplication makes a real one of it.
        """
        time.sleep(self.kms_backend.latency)
        backend = self.kms_backend
        with backend.lock:
            record = backend.journal.open(self._get_action(), self._masked_request())
            try:
                return self._answer(backend, record)
            finally:
                self.normalized_request.environ.get(LISTENER, lambda _: None)(record)

    def _masked_request(self) -> Any:
        try:
            return masked(input_shape(self._checked_operation()), self._request())
        except JsonRESTError:
            return {}

    def _answer(self, backend: CustomKeyStoreBackend, record: Record) -> TYPE_RESPONSE:
        backend.let_intruders_in(record["operation"])
        fault = backend.injections.fault_for(record["operation"])
        if fault is None:
            return self._handle(record)
        if fault.applied:
            self._handle(record)
        return self._spoil(fault, record)

    def _handle(self, record: Record) -> TYPE_RESPONSE:
        try:
            check_request(self._checked_operation(), self._request())
            answer = super().call_action()
        except JsonRESTError as error:
            answer = self._error(error)
        record["applied"] = answer[0] < 400
        record["outcome"] = "ok" if record["applied"] else _error_code(answer[1], answer[2])
        return answer

    def _checked_operation(self) -> str:
        operation = self._get_action()
        if operation not in kms_model().operation_names:
            raise UnknownOperationException()
        return operation

    def _spoil(self, fault: Fault, record: Record) -> TYPE_RESPONSE:
        if fault.error is None:
            record["outcome"] = "dropped"
            raise ConnectionClosedError(endpoint_url=self.uri)
        record["outcome"] = fault.error
        return self._error(error_for(fault.error))

    def _error(self, error: JsonRESTError) -> TYPE_RESPONSE:
        # A fresh set of headers: those of an answer that gets lost must not show through.
        headers = {"server": "amazon.com", **dict(error.get_headers()), "status": str(error.code)}
        headers, body = self._enrich_response(headers, error.get_body())
        return error.code, headers, body


def _error_code(headers: Mapping[str, Any], body: str | bytes) -> str:
    try:
        code: str = json.loads(body)["__type"]
    except (ValueError, KeyError, TypeError):
        code = str(headers.get("X-Amzn-ErrorType") or "UnknownError")
    return code.split("#")[-1]
