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

from .access import KmsAccess
from .access import KmsAccessToCluster
from .exceptions import NotFoundException
from .exceptions import SerializationException
from .exceptions import ThrottlingException
from .exceptions import UnknownOperationException
from .exceptions import error_for
from .injections import Fault
from .journal import Record
from .keys import CustomStoreKey
from .models import DEFAULT_PAGE
from .models import CustomKeyStoreBackend
from .models import backends
from .rules import StoreType
from .validation import check_request
from .validation import input_shape
from .validation import kms_model
from .validation import masked

CRYPTOGRAPHIC_OPERATIONS = frozenset(
    {
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "ReEncrypt",
        "Sign",
        "Verify",
        "VerifyMac",
    }
)
"""Operations of moto's that use a key, and that GetKeyLastUsage tells of."""

CONTENT_TYPE = "application/x-amz-json-1.1"

LISTENER = "keyops.kms_request_listener"
"""Key of the WSGI environment: who wants to be told of each request, called with its Record."""


class CustomKeyStoreResponse(KmsResponse):
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
        return json.dumps(operation(self._members()))

    def create_key(self) -> str:
        """moto's, and then into a custom key store."""
        request = self._members()
        store = self.kms_backend.store_for_key(request)
        answer: str = super().create_key()
        key = self.kms_backend.keys[json.loads(answer)["KeyMetadata"]["KeyId"]]
        self.kms_backend.visibility.changing(key.id, None)
        if store is None:
            return answer
        return json.dumps(CustomStoreKey.move(key, store, request.get("XksKeyId")).to_dict())

    def describe_key(self) -> str:
        """moto's; but a new key may not be seen yet (R31)."""
        answer: str = super().describe_key()
        key_id = json.loads(answer)["KeyMetadata"]["KeyId"]
        if key_id in self.kms_backend.visibility.hidden():
            raise NotFoundException()
        return answer

    def generate_random(self) -> str:
        """moto's; of a custom key store, too (R24)."""
        self.kms_backend.check_random_source(self._members())
        answer: str = super().generate_random()
        return answer

    def get_key_last_usage(self) -> str:
        """GetKeyLastUsage (section 3.8)."""
        key_id = self._members()["KeyId"]
        self._validate_cmk_id(key_id)
        key = self.kms_backend.keys[self.kms_backend.get_key_id(key_id)]
        return json.dumps(self.kms_backend.usage.describe(key))

    def list_keys(self) -> str:
        """ListKeys, in pages."""
        request = self._members()
        return json.dumps(self.kms_backend.list_keys_page(request.get("Limit", DEFAULT_PAGE), request.get("Marker")))

    def _members(self) -> dict[str, Any]:
        return {name: value for name, value in self._request().items() if value is not None}

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
        if self.kms_backend.rules.empty_vpc_service_name_is_valid and _names_no_service(request):
            del request["XksProxyVpcEndpointServiceName"]
        return request

    def call_action(self) -> TYPE_RESPONSE:
        """Handle one request, from the log to its answer.

        Raises ConnectionClosedError for a dropped connection. In process, moto's stub lets it pass to botocore, which
        takes it for its own; EmulatorApplication makes a real one of it.
        """
        latency = self.kms_backend.latency
        if latency > 0:
            # Outside of the lock: requests are under way side by side.
            time.sleep(latency)
        backend = self.kms_backend
        with backend.lock:
            backend.clock.request_came()
            backend.forget_deleted_keys()
            record = backend.journal.open(self._get_action(), self._masked_request())
            try:
                status, headers, body = self._answer(backend, record)
            finally:
                self.normalized_request.environ.get(LISTENER, lambda _: None)(record)
        others = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        return status, {**others, "Content-Type": CONTENT_TYPE}, body

    def _authenticate_and_authorize_normal_action(self, resource: str = "*") -> None:
        """moto's, called by its call_action: does nothing unless moto's IAM is on (R21)."""
        self._authenticate_and_authorize_action(KmsAccessToCluster if self._needs_cluster() else KmsAccess, resource)

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
            if self.kms_backend.quotas.exceeded(record["operation"]):
                raise ThrottlingException()
            check_request(self._checked_operation(), self._request())
            answer = super().call_action()
            if record["operation"] in CRYPTOGRAPHIC_OPERATIONS and answer[0] < 400:
                self._note_use(record["operation"], answer)
        except JsonRESTError as error:
            answer = self._error(error)
        record["applied"] = answer[0] < 400
        record["outcome"] = "ok" if record["applied"] else _error_code(answer[1], answer[2])
        return answer

    def _note_use(self, operation: str, answer: TYPE_RESPONSE) -> None:
        """Judge the keys once it is known which they are; the operations change nothing."""
        _status, headers, body = answer
        named = json.loads(body)
        key_ids = [named[member] for member in ("SourceKeyId", "KeyId") if member in named]
        request_id = {name.lower(): value for name, value in headers.items()}["x-amzn-requestid"]
        self.kms_backend.note_use(operation, key_ids, request_id)

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
