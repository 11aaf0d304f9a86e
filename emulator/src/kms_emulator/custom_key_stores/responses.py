# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS requests and responses: moto's, with custom key stores and enforced key states."""

from __future__ import annotations

import json
from typing import Any

from moto.core.common_types import TYPE_RESPONSE
from moto.core.exceptions import InvalidToken
from moto.core.exceptions import JsonRESTError
from moto.core.utils import camelcase_to_underscores
from moto.kms.models import Key
from moto.kms.responses import KmsResponse
from moto.moto_api._internal import mock_random

from .exceptions import DryRunOperationException
from .exceptions import IncorrectKeyException
from .exceptions import InvalidKeyUsageException
from .exceptions import InvalidMarkerException
from .exceptions import ValidationException
from .key_states import CRYPTOGRAPHIC_OPERATIONS
from .key_states import NEVER_IN_STORES
from .key_states import check_key
from .key_states import check_state
from .key_states import in_store
from .models import DEFAULT_PAGE
from .models import CustomKeyStoreBackend
from .models import backends

KEY_MEMBERS = ("KeyId", "SourceKeyId", "DestinationKeyId", "TargetKeyId")
"""Members of requests that name a KMS key."""

RE_ENCRYPT_SIDES = ("SourceEncryptionAlgorithm", "DestinationEncryptionAlgorithm")

SYMMETRIC = "SYMMETRIC_DEFAULT"
"""The key spec of symmetric encryption keys, and the name of their only algorithm."""

GRANT_OPERATIONS = ("CreateGrant", "ListGrants", "RetireGrant", "RevokeGrant")
"""Operations for which moto does not check whether the key exists."""

PENDING_WINDOW = range(7, 31)
"""Valid waiting periods before a key is deleted, in days."""


class CustomKeyStoreResponse(KmsResponse):
    """Handles one KMS request."""

    request_id = ""
    """A UUID. Each request has its own object of this class."""

    @property
    def kms_backend(self) -> CustomKeyStoreBackend:
        """KMS in the caller's account and Region."""
        return backends()[self.current_account][self.region]

    # Custom key stores

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

    # KMS keys

    def create_key(self) -> str:
        """moto's; then moves the key into the custom key store, if any."""
        request = self._members()
        store = self.kms_backend.store_for_key(request)
        key = self.kms_backend.keys[json.loads(super().create_key())["KeyMetadata"]["KeyId"]]
        key.key_usage = key.key_usage or "ENCRYPT_DECRYPT"
        key.multi_region = bool(key.multi_region)
        if store is not None:
            key = self.kms_backend.move_key(key, store, request.get("XksKeyId"))
        return json.dumps(key.to_dict())

    def schedule_key_deletion(self) -> str:
        """ScheduleKeyDeletion. moto's returns fewer members, and accepts any number of days."""
        request = self._members()
        days = request.get("PendingWindowInDays", 30)
        if days not in PENDING_WINDOW:
            end, limit = ("greater", 7) if days < PENDING_WINDOW.start else ("less", 30)
            raise ValidationException(
                f"1 validation error detected: Value '{days}' at 'pendingWindowInDays' failed to satisfy constraint: "
                f"Member must have value {end} than or equal to {limit}"
            )
        key = self._key(request["KeyId"])
        due = self.kms_backend.schedule_key_deletion(key.id, days)
        return json.dumps(
            {"KeyId": key.arn, "DeletionDate": due, "KeyState": key.key_state, "PendingWindowInDays": days}
        )

    def cancel_key_deletion(self) -> str:
        """CancelKeyDeletion. moto's returns the ID of the request instead of the ARN."""
        key = self._key(self._members()["KeyId"])
        self.kms_backend.cancel_key_deletion(key.id)
        return json.dumps({"KeyId": key.arn})

    def encrypt(self) -> str:
        """moto's, and the algorithm."""
        return _with(super().encrypt(), EncryptionAlgorithm=self._algorithm("EncryptionAlgorithm"))

    def decrypt(self) -> str:
        """moto's, and the algorithm. A wrong key is an error, if one of the two keys is in a custom key store."""
        request = self._members()
        named = self._find(request["KeyId"]) if "KeyId" in request else None
        if named is not None:
            self.body = json.dumps({name: value for name, value in request.items() if name != "KeyId"})
            used = self.kms_backend.keys[self.kms_backend.get_key_id(json.loads(super().decrypt())["KeyId"])]
            if used is not named and (in_store(used) or in_store(named)):
                raise IncorrectKeyException()
            self.body = json.dumps(request)
        return _with(super().decrypt(), EncryptionAlgorithm=self._algorithm("EncryptionAlgorithm"))

    def re_encrypt(self) -> str:
        """moto's, and the algorithms. A wrong source key, which moto does not check, is an error."""
        answer = json.loads(super().re_encrypt())
        request = self._members()
        source = self._find(request["SourceKeyId"]) if "SourceKeyId" in request else None
        if source is not None and source.arn != answer["SourceKeyId"]:
            raise IncorrectKeyException()
        return json.dumps({**answer, **{side: self._algorithm(side) for side in RE_ENCRYPT_SIDES}})

    def _algorithm(self, member: str) -> str:
        return str(self._members().get(member, SYMMETRIC))

    def replicate_key(self) -> str:
        """moto's, also for ARNs, and for multi-Region keys only."""
        request = self._members()
        key = self._key(request["KeyId"])
        if not key.multi_region:
            raise NEVER_IN_STORES["ReplicateKey"](key, "ReplicateKey")
        self.body = json.dumps({**request, "KeyId": key.id})
        answer: str = super().replicate_key()
        return answer

    def generate_random(self) -> str:
        """moto's, also with a custom key store (R24)."""
        self.kms_backend.check_random_source(self._members())
        answer: str = super().generate_random()
        return answer

    def list_keys(self) -> str:
        """ListKeys, in pages."""
        request = self._members()
        return json.dumps(self.kms_backend.list_keys_page(request.get("Limit", DEFAULT_PAGE), request.get("Marker")))

    def get_key_policy(self) -> str:
        """moto's, with an optional PolicyName."""
        return self._with_default_policy(super().get_key_policy)

    def put_key_policy(self) -> str:
        """moto's, with an optional PolicyName."""
        return self._with_default_policy(super().put_key_policy)

    def _with_default_policy(self, answer: Any) -> str:
        self.body = json.dumps({"PolicyName": "default", **self._members()})
        return str(answer())

    def list_grants(self) -> str:
        """moto's, without a member that KMS does not return."""
        return _without(super().list_grants(), "GrantCount")

    def list_retirable_grants(self) -> str:
        """moto's, without a member that KMS does not return."""
        return _without(super().list_retirable_grants(), "GrantCount")

    def retire_grant(self) -> str:
        """moto's, which crashes if the request does not identify a grant."""
        request = self._members()
        if "GrantToken" not in request and not {"KeyId", "GrantId"} <= set(request):
            raise ValidationException("A grant is named by its GrantToken, or by its KeyId and GrantId.")
        return str(super().retire_grant())

    def list_key_rotations(self) -> str:
        """moto's, with KMS's error for an invalid marker."""
        try:
            return str(super().list_key_rotations())
        except InvalidToken as error:
            raise InvalidMarkerException() from error

    def _key(self, key_id: str) -> Key:
        """Return the key with an ID or ARN. Raises NotFoundException."""
        self._validate_cmk_id(key_id)
        return self.kms_backend.keys[self.kms_backend.get_key_id(key_id)]

    # Shared by the operations

    def call_action(self) -> TYPE_RESPONSE:
        """Handle one request: check the named keys, execute the operation, then check the keys that it used."""
        operation = self._get_action()
        self.request_id = self.request_id or str(mock_random.uuid4())
        try:
            self.body = json.dumps(self._members())
            self._check_named_keys(operation)
            status, headers, body = super().call_action()
            if status < 400 and operation in CRYPTOGRAPHIC_OPERATIONS:
                self._check_use(operation, json.loads(body))
        except JsonRESTError as error:
            return self._error(error)
        # moto returns null for a response without members
        return status, self._with_request_id(headers), "" if body == "null" else body

    def _check_named_keys(self, operation: str) -> None:
        request = self._members()
        if operation in GRANT_OPERATIONS and "KeyId" in request:
            self._validate_cmk_id(request["KeyId"])
        for key_id in (request[member] for member in KEY_MEMBERS if member in request):
            key = self._find(key_id)
            if key is not None:
                check_key(key, operation)
        if request.get("DryRun") and operation in GRANT_OPERATIONS:
            raise DryRunOperationException()

    def _find(self, key_id: str) -> Key | None:
        """Return the key with an ID, ARN, alias name or alias ARN. None: moto returns the error."""
        try:
            self._validate_key_id(key_id)
        except JsonRESTError:
            return None
        return self.kms_backend.keys.get(self.kms_backend.any_id_to_key_id(key_id))

    def _check_use(self, operation: str, answer: dict[str, Any]) -> None:
        """Check the keys after the operation: a ciphertext may determine the key. The operations change nothing."""
        keys = [self._find(answer[member]) for member in ("SourceKeyId", "KeyId") if member in answer]
        used = [key for key in keys if key is not None]
        for key in used:
            check_state(key, operation)
        self._check_algorithms(operation, used)
        self.kms_backend.check_use(operation, used)
        if self._members().get("DryRun"):
            raise DryRunOperationException()
        self.used(operation, used)

    def _check_algorithms(self, operation: str, keys: list[Key]) -> None:
        """Check the algorithms, because moto accepts any. Keys: for ReEncrypt, the source key first."""
        members = RE_ENCRYPT_SIDES if operation == "ReEncrypt" else ("EncryptionAlgorithm",)
        for key, member in zip(keys, members, strict=False):
            if key.key_spec == SYMMETRIC and self._algorithm(member) != SYMMETRIC:
                raise InvalidKeyUsageException(
                    f"Algorithm {self._algorithm(member)} is incompatible with key spec {SYMMETRIC}."
                )

    def used(self, operation: str, keys: list[Key]) -> None:
        """Hook after a successful cryptographic operation with these keys."""

    def _members(self) -> dict[str, Any]:
        """Return the members of the request, without nulls."""
        members: dict[str, Any] = without_nulls(self._request())
        return members

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = json.loads(self.body or "{}")
        return request

    def _get_action(self) -> str:
        # Use only the header: moto would parse "Action=..." inside a JSON body as a query.
        target: str = self.headers.get("X-Amz-Target", "")
        return target.split(".")[-1]

    def _error(self, error: JsonRESTError) -> TYPE_RESPONSE:
        # Use new headers: those of a discarded response must not be sent.
        headers = {"server": "amazon.com", **dict(error.get_headers()), "status": str(error.code)}
        headers, body = self._enrich_response(headers, error.get_body())
        return error.code, self._with_request_id(headers), body

    def _with_request_id(self, headers: dict[str, str]) -> dict[str, str]:
        """Set a request ID in KMS's format, a UUID. moto's is longer."""
        others = {name: value for name, value in headers.items() if name.lower() != "x-amzn-requestid"}
        return {**others, "x-amzn-RequestId": self.request_id}


def _with(answer: str, **members: str) -> str:
    return json.dumps({**json.loads(answer), **members})


def _without(answer: str, member: str) -> str:
    return json.dumps({name: value for name, value in json.loads(answer).items() if name != member})


def without_nulls(value: Any) -> Any:
    """Return a JSON value without null members of objects."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
