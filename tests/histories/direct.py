# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client for the emulator in this process that takes no detour over HTTP and an SDK, so that histories are cheap.

It does what the SDK and the emulator's own request handling do together, as far as the module can tell the difference; a share of
the histories goes the long way, and must find the same.
"""

from __future__ import annotations

import datetime
import json
from email.utils import format_datetime
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionClosedError
from moto.core.exceptions import JsonRESTError

from kms_emulator.journal import Record
from kms_emulator.models import EmulatedBackend
from kms_emulator.responses import EmulatedResponse
from kms_emulator.validation import check_request

STORE_OPERATIONS = (
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "DeleteCustomKeyStore",
    "DescribeCustomKeyStores",
    "DisconnectCustomKeyStore",
    "UpdateCustomKeyStore",
)
KEY_OPERATIONS = (
    "CreateAlias",
    "CreateKey",
    "DescribeKey",
    "GetKeyPolicy",
    "ListAliases",
    "ListKeys",
    "ListResourceTags",
    "ScheduleKeyDeletion",
    "UpdateAlias",
)
BY_METHOD = {xform_name(operation): operation for operation in STORE_OPERATIONS + KEY_OPERATIONS}
"""The operations that the modules use, by the methods of boto3's client."""


class DirectKms:
    """What the module uses of boto3's KMS client, on a backend of the emulator."""

    def __init__(self, backend: EmulatedBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name not in BY_METHOD:
            raise AttributeError(name)
        return lambda **members: self._request(BY_METHOD[name], members)

    def _request(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        backend = self._backend
        with backend.lock:
            backend.forget_deleted_keys()
            record = backend.journal.open(operation, {})
            backend.run_intruders(operation)
            fault = backend.injections.fault_for(operation)
            if fault is None and backend.quotas.exceeded(operation):
                record["outcome"] = "ThrottlingException"
                raise self._client_error(operation, "ThrottlingException", "")
            if fault is None or fault.applied:
                answer = self._handle(record, members)
            if fault is None:
                return answer
            if fault.error is None:
                record["outcome"] = "dropped"
                raise ConnectionClosedError(endpoint_url="the emulator")
            record["outcome"] = fault.error
            raise self._refusal(operation, fault.error, "")

    def _handle(self, record: Record, members: dict[str, Any]) -> dict[str, Any]:
        operation = record["operation"]
        try:
            check_request(operation, members)
            answer = self._answer(operation, members)
        except JsonRESTError as error:
            record["outcome"] = str(error.relative_error_type)
            raise self._refusal(operation, record["outcome"], str(error.message)) from error
        record["outcome"], record["applied"] = "ok", True
        return answer

    def _refusal(self, operation: str, code: str, message: str) -> ClientError:
        """An error answer, dated as any answer is."""
        error = self._client_error(operation, code, message)
        error.response["ResponseMetadata"] = _dated(self._backend)["ResponseMetadata"]
        return error

    def _client_error(self, operation: str, code: str, message: str) -> ClientError:
        response: Any = {"Error": {"Code": code, "Message": message}, **_dated(self._backend)}
        return ClientError(response, operation)

    def _answer(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        backend = self._backend
        if operation in KEY_OPERATIONS:
            return {**carry_out(backend, operation, members), **_dated(backend)}
        answer: dict[str, Any] = getattr(backend, xform_name(operation))(members)
        if operation == "DescribeCustomKeyStores":
            return {**answer, "CustomKeyStores": [_parsed(store) for store in answer["CustomKeyStores"]]}
        return answer


class _KeyResponse(EmulatedResponse):
    """What the emulator answers to a request about a key, without HTTP around it."""

    def __init__(self, backend: EmulatedBackend, operation: str, members: dict[str, Any]) -> None:
        super().__init__()
        self.current_account, self.region = backend.account_id, backend.region_name
        self.headers = {"X-Amz-Target": f"TrentService.{operation}"}
        self.body = json.dumps(members)

    def answer(self) -> dict[str, Any]:
        operation = self._get_action()
        self._check_named_keys(operation)
        answer: dict[str, Any] = json.loads(getattr(self, xform_name(operation))()) or {}
        return answer


def carry_out(backend: EmulatedBackend, operation: str, members: dict[str, Any]) -> dict[str, Any]:
    """Have the emulator do what is asked for about a key, whoever asks, and tell nobody.

    Raises:
        JsonRESTError: KMS refuses it.
    """
    answer = _KeyResponse(backend, operation, members).answer()
    reported = answer.get("KeyMetadata", {})
    reported.update({name: _date(reported[name]) for name in ("CreationDate", "DeletionDate") if name in reported})
    return answer


def _dated(backend: EmulatedBackend) -> dict[str, Any]:
    """When an answer was given."""
    return {"ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(backend.clock.date(), usegmt=True)}}}


def _date(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def _parsed(store: dict[str, Any]) -> dict[str, Any]:
    """As the SDK returns it. A copy: the emulator may show the same again."""
    copied = {name: dict(value) if isinstance(value, dict) else value for name, value in store.items()}
    return {**copied, "CreationDate": _date(store["CreationDate"])}
