# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client for the emulator in this process that takes no detour over HTTP and an SDK, so that histories are cheap.

It does what the SDK and the emulator's own request handling do together, as far as the module can tell the difference; a share of
the histories goes the long way, and must find the same.
"""

from __future__ import annotations

import copy
import datetime
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionClosedError
from moto.core.exceptions import JsonRESTError

from kms_emulator.journal import Record
from kms_emulator.models import EmulatedBackend
from kms_emulator.validation import check_request

OPERATIONS = (
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "DeleteCustomKeyStore",
    "DescribeCustomKeyStores",
    "DescribeKey",
    "DisconnectCustomKeyStore",
    "ListKeys",
    "UpdateCustomKeyStore",
)
_BY_METHOD = {xform_name(operation): operation for operation in OPERATIONS}


class DirectKms:
    """What the module uses of boto3's KMS client, on a backend of the emulator."""

    def __init__(self, backend: EmulatedBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        if name not in _BY_METHOD:
            raise AttributeError(name)
        return lambda **members: self._request(_BY_METHOD[name], members)

    def _request(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        backend = self._backend
        with backend.lock:
            record = backend.journal.open(operation, {})
            backend.let_intruders_in(operation)
            fault = backend.injections.fault_for(operation)
            if fault is None and backend.quotas.exceeded(operation):
                record["outcome"] = "ThrottlingException"
                raise _client_error(operation, "ThrottlingException", "")
            if fault is None or fault.applied:
                answer = self._handle(record, members)
            if fault is None:
                return answer
            if fault.error is None:
                record["outcome"] = "dropped"
                raise ConnectionClosedError(endpoint_url="the emulator")
            record["outcome"] = fault.error
            raise _client_error(operation, fault.error, "")

    def _handle(self, record: Record, members: dict[str, Any]) -> dict[str, Any]:
        operation = record["operation"]
        try:
            check_request(operation, members)
            answer = self._answer(operation, members)
        except JsonRESTError as error:
            record["outcome"] = str(error.relative_error_type)
            raise _client_error(operation, record["outcome"], str(error.message)) from error
        record["outcome"], record["applied"] = "ok", True
        return answer

    def _answer(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        if operation == "ListKeys":
            return self._backend.list_keys_page(members["Limit"], members.get("Marker"))
        if operation == "DescribeKey":
            key: dict[str, Any] = self._backend.keys[members["KeyId"]].to_dict()
            return key
        answer: dict[str, Any] = getattr(self._backend, xform_name(operation))(members)
        if operation == "DescribeCustomKeyStores":
            return {**answer, "CustomKeyStores": [_parsed(store) for store in answer["CustomKeyStores"]]}
        return answer


def _parsed(store: dict[str, Any]) -> dict[str, Any]:
    """As the SDK returns it. A copy: the emulator may show the same again."""
    created = datetime.datetime.fromtimestamp(store["CreationDate"], datetime.timezone.utc)
    return {**copy.deepcopy(store), "CreationDate": created}


def _client_error(operation: str, code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
