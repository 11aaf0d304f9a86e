# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator's KMS over HTTP: validation, and permissions."""

from __future__ import annotations

import copy
import json
from typing import Any

from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import JsonRESTError
from moto.kms.models import Key
from moto.sts.models import sts_backends

from .access import KmsAccess
from .access import KmsAccessToCluster
from .access import KmsAccessToTags
from .custom_key_stores.exceptions import NotFoundException
from .custom_key_stores.responses import CustomKeyStoreResponse
from .custom_key_stores.rules import CHANGES
from .custom_key_stores.rules import StoreType
from .exceptions import UnknownOperationException
from .handling import HandledResponse
from .handling import error_code
from .trail.events import Caller
from .trail.events import subject
from .validation import check_request
from .validation import input_shape
from .validation import kms_model
from .validation import mask

VALIDATED_BY_MOTO = {
    "CreateKey": frozenset({"CustomerMasterKeySpec", "KeySpec"}),
    "Sign": frozenset({"Message", "SigningAlgorithm"}),
    "Verify": frozenset({"Message", "Signature", "SigningAlgorithm"}),
}
"""Members that moto validates first, with its own error texts. The model validates them afterwards."""


class EmulatedResponse(HandledResponse, CustomKeyStoreResponse):
    """Handles one KMS request."""

    content_type = "application/x-amz-json-1.1"

    def describe_key(self) -> str:
        """DescribeKey. Does not find a new key that is not visible yet (R31)."""
        answer: str = super().describe_key()
        key_id = json.loads(answer)["KeyMetadata"]["KeyId"]
        if key_id in self.kms_backend.visibility.hidden():
            raise NotFoundException()
        return answer

    def get_key_last_usage(self) -> str:
        """GetKeyLastUsage (section 3.8)."""
        key = self._key(self._members()["KeyId"])
        return json.dumps(self.kms_backend.usage.describe(key, now=self.kms_backend.clock.now()))

    def used(self, operation: str, keys: list[Key]) -> None:
        """Record a use of these keys for GetKeyLastUsage."""
        for key in keys:
            self.kms_backend.usage.record(key, operation, now=self.kms_backend.clock.now(), request_id=self.request_id)

    def _request(self) -> dict[str, Any]:
        request = self._body()
        if self.kms_backend.rules.empty_vpc_service_name_is_valid and _has_empty_service_name(request):
            del request["XksProxyVpcEndpointServiceName"]
        return request

    def _authenticate_and_authorize_normal_action(self, resource: str = "*") -> None:
        """Override of a moto method that call_action calls. Does nothing unless moto's IAM is enabled (R21)."""
        self._authenticate_and_authorize_action(self._access(), resource)

    def _access(self) -> type[KmsAccess]:
        if self._needs_cluster():
            return KmsAccessToCluster
        tags = self._get_action() == "CreateKey" and self._members().get("Tags")
        return KmsAccessToTags if tags else KmsAccess

    def _needs_cluster(self) -> bool:
        """Whether the request creates or connects a CloudHSM store."""
        request = self._members()
        if self._get_action() == "CreateCustomKeyStore":
            return bool(request.get("CustomKeyStoreType", StoreType.AWS_CLOUDHSM) == StoreType.AWS_CLOUDHSM)
        if self._get_action() != "ConnectCustomKeyStore":
            return False
        store = self.kms_backend.custom_key_stores.get(request["CustomKeyStoreId"])
        return store is not None and store.custom_key_store_type is StoreType.AWS_CLOUDHSM

    def _masked_request(self) -> Any:
        try:
            return mask(input_shape(self._checked_operation()), self._request())
        except JsonRESTError:
            return {}

    def _validate_and_execute(self) -> TYPE_RESPONSE:
        operation = self._checked_operation()
        validated_by_moto = VALIDATED_BY_MOTO.get(operation, frozenset())
        check_request(operation, self._request(), leave_out=validated_by_moto)
        answer = self._execute(operation)
        if validated_by_moto and error_code(answer[1], answer[2]) != "ValidationException":
            check_request(operation, self._request())
        return answer

    def _execute(self, operation: str) -> TYPE_RESPONSE:
        """Let moto execute the operation, and record changes in CloudTrail."""
        if operation not in CHANGES:
            return self._call_moto(operation)
        request = self._masked_request()
        store = subject(self.kms_backend, request)
        before = None if store is None else copy.copy(store)
        answer = self._call_moto(operation)
        self.kms_backend.trail.record(operation, self._caller(), request, store=before, answer=_event_response(answer))
        return answer

    def _caller(self) -> Caller:
        access_key_id = self.get_access_key()
        _user_id, arn, _account = sts_backends[self.current_account][self.partition].get_caller_identity(
            access_key_id, self.region
        )
        address = self.normalized_request.environ.get("REMOTE_ADDR") or Caller.source
        return Caller(arn, access_key_id, address, self.headers.get("User-Agent", Caller.agent))

    def _checked_operation(self) -> str:
        operation = self._get_action()
        if operation not in kms_model().operation_names:
            raise UnknownOperationException()
        return operation


def _event_response(answer: TYPE_RESPONSE) -> dict[str, Any]:
    """Return the response, or the error, for a CloudTrail event."""
    status, headers, body = answer
    members: dict[str, Any] = json.loads(body or "{}")
    if status < 400:
        return members
    return {"errorCode": error_code(headers, body), "errorMessage": members.get("message", "")}


def _has_empty_service_name(request: dict[str, Any]) -> bool:
    return (
        request.get("XksProxyVpcEndpointServiceName") == "" and request.get("XksProxyConnectivity") == "PUBLIC_ENDPOINT"
    )
