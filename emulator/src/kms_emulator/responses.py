# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator's KMS over HTTP: a log of all requests, validation, faults on demand, and permissions."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any

from botocore.exceptions import ConnectionClosedError
from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError
from moto.kms.models import Key
from moto.moto_api._internal import mock_random
from werkzeug.exceptions import HTTPException

from .access import KmsAccess
from .access import KmsAccessToCluster
from .access import KmsAccessToTags
from .custom_key_stores.exceptions import NotFoundException
from .custom_key_stores.exceptions import ValidationException
from .custom_key_stores.responses import CustomKeyStoreResponse
from .custom_key_stores.rules import StoreType
from .exceptions import InternalFailure
from .exceptions import SerializationException
from .exceptions import ThrottlingException
from .exceptions import UnknownOperationException
from .exceptions import error_for
from .injections import Fault
from .journal import Record
from .models import EmulatedBackend
from .models import backends
from .validation import check_request
from .validation import input_shape
from .validation import kms_model
from .validation import masked

CONTENT_TYPE = "application/x-amz-json-1.1"

LISTENER = "keyops.kms_request_listener"
"""Key of the WSGI environment: who wants to be told of each request, called with its Record."""


MOTOS_OWN = {
    "CreateKey": frozenset({"CustomerMasterKeySpec", "KeySpec"}),
    "Sign": frozenset({"Message", "SigningAlgorithm"}),
    "Verify": frozenset({"Message", "Signature", "SigningAlgorithm"}),
}
"""Members that moto judges itself, with a text of its own, which goes first. What it lets pass is judged by the model."""


class EmulatedResponse(CustomKeyStoreResponse):
    """One KMS request and its answer."""

    @property
    def kms_backend(self) -> EmulatedBackend:
        """KMS in the caller's account and Region. Raises ValidationException for a Region that there is not."""
        account = backends()[self.current_account]
        if self.region not in account:
            raise ValidationException(f"There is no Region {self.region!r}; a Region is such as us-east-1.")
        return account[self.region]

    def describe_key(self) -> str:
        """The same; but a new key may not be seen yet (R31)."""
        answer: str = super().describe_key()
        key_id = json.loads(answer)["KeyMetadata"]["KeyId"]
        if key_id in self.kms_backend.visibility.hidden():
            raise NotFoundException()
        return answer

    def get_key_last_usage(self) -> str:
        """GetKeyLastUsage (section 3.8)."""
        return json.dumps(self.kms_backend.usage.describe(self._key(self._members()["KeyId"])))

    def used(self, operation: str, keys: list[Key]) -> None:
        """Note it for GetKeyLastUsage."""
        for key in keys:
            self.kms_backend.usage.record(key, operation, now=self.kms_backend.clock.now(), request_id=self.request_id)

    def _request(self) -> dict[str, Any]:
        """The body. Raises SerializationException if it is no JSON object."""
        try:
            request = json.loads(self.body or "{}")
        except ValueError as error:
            raise SerializationException() from error
        if not isinstance(request, dict):
            raise SerializationException()
        if self.kms_backend.rules.empty_vpc_service_name_is_valid and _names_no_service(request):
            del request["XksProxyVpcEndpointServiceName"]
        return request

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
            backend.clock.request_came()
            backend.forget_deleted_keys()
            record = backend.journal.open(self._get_action(), self._masked_request())
            try:
                return self._in_json(self._answer(backend, record))
            finally:
                self.normalized_request.environ.get(LISTENER, lambda _: None)(record)

    def _in_json(self, answer: TYPE_RESPONSE) -> TYPE_RESPONSE:
        status, headers, body = answer
        others = {name: value for name, value in headers.items() if name.lower() not in ("content-type", "date")}
        date = format_datetime(self.kms_backend.clock.date(), usegmt=True)
        return status, {**others, "Content-Type": CONTENT_TYPE, "Date": date}, body

    def _authenticate_and_authorize_normal_action(self, resource: str = "*") -> None:
        """moto's, called by its call_action: does nothing unless moto's IAM is on (R21)."""
        self._authenticate_and_authorize_action(self._access(), resource)

    def _access(self) -> type[KmsAccess]:
        if self._needs_cluster():
            return KmsAccessToCluster
        tags = self._get_action() == "CreateKey" and self._members().get("Tags")
        return KmsAccessToTags if tags else KmsAccess

    def _needs_cluster(self) -> bool:
        """Is this the creation or connection of a CloudHSM store?"""
        request = self._members()
        if self._get_action() == "CreateCustomKeyStore":
            return bool(request.get("CustomKeyStoreType", StoreType.AWS_CLOUDHSM) == StoreType.AWS_CLOUDHSM)
        if self._get_action() != "ConnectCustomKeyStore":
            return False
        store = self.kms_backend.custom_key_stores.get(request["CustomKeyStoreId"])
        return store is not None and store.custom_key_store_type is StoreType.AWS_CLOUDHSM

    def _masked_request(self) -> Any:
        try:
            return masked(input_shape(self._checked_operation()), self._request())
        except JsonRESTError:
            return {}

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
            operation = self._checked_operation()
            motos = MOTOS_OWN.get(operation, frozenset())
            check_request(operation, self._request(), leave_out=motos)
            answer = self._carry_out(operation)
            if motos and _error_code(answer[1], answer[2]) != "ValidationException":
                check_request(operation, self._request())
        except JsonRESTError as error:
            answer = self._error(error)
        record["applied"] = answer[0] < 400
        record["outcome"] = "ok" if record["applied"] else _error_code(answer[1], answer[2])
        return answer

    def _carry_out(self, operation: str) -> TYPE_RESPONSE:
        """Have it done. What neither moto nor the emulator can do is an error in JSON, as clients choke on anything else."""
        try:
            return super().call_action()
        except NotImplementedError:
            return self._error(UnknownOperationException(f"The emulator does not have {operation}."))
        except (HTTPException, ConnectionClosedError):
            raise
        except Exception as error:
            traceback.print_exc()
            return self._error(InternalFailure(f"The emulator failed at {operation}: {type(error).__name__}: {error}"))

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


def _names_no_service(request: dict[str, Any]) -> bool:
    return (
        request.get("XksProxyVpcEndpointServiceName") == "" and request.get("XksProxyConnectivity") == "PUBLIC_ENDPOINT"
    )


def _error_code(headers: Mapping[str, Any], body: str | bytes) -> str:
    try:
        code: str = json.loads(body)["__type"]
    except (ValueError, KeyError, TypeError):
        code = str(headers.get("X-Amzn-ErrorType") or "UnknownError")
    return code.split("#")[-1]
