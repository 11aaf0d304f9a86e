# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all requests to KMS have in common: the client, the errors, and the caller."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from typing import Any
from typing import Callable
from typing import Iterator
from typing import Mapping
from typing import Optional
from typing import Protocol

try:
    import botocore
    import botocore.exceptions
except ImportError:
    pass  # AnsibleAWSModule says which library is missing

from .clock import Deadline
from .service import Service
from .service import ServiceError

VERIFY_SECONDS = 60.0
"""How long the verification of a store is retried: a dead cluster looks like a fault of KMS, and does not recover."""

INVALID_STATE = "CustomKeyStoreInvalidStateException"
NOT_FOUND = "CustomKeyStoreNotFoundException"
IN_USE = (
    "CustomKeyStoreNameInUseException",
    "CloudHsmClusterInUseException",
    "XksProxyUriInUseException",
    "XksProxyUriEndpointInUseException",
    "XksProxyVpcEndpointServiceInUseException",
)


class Client(Protocol):
    """The methods of boto3's KMS client that are used."""

    def describe_custom_key_stores(self, **kwargs: str) -> dict[str, Any]: ...

    def describe_key(self, **kwargs: str) -> dict[str, Any]: ...

    def list_keys(self, **kwargs: Any) -> dict[str, Any]: ...

    def list_aliases(self, **kwargs: Any) -> dict[str, Any]: ...

    def get_key_last_usage(self, **kwargs: str) -> dict[str, Any]: ...

    def create_custom_key_store(self, **kwargs: Any) -> dict[str, Any]: ...

    def create_key(self, **kwargs: Any) -> dict[str, Any]: ...

    def create_alias(self, **kwargs: str) -> dict[str, Any]: ...

    def update_alias(self, **kwargs: str) -> dict[str, Any]: ...

    def schedule_key_deletion(self, **kwargs: Any) -> dict[str, Any]: ...

    def list_resource_tags(self, **kwargs: Any) -> dict[str, Any]: ...

    def get_key_policy(self, **kwargs: str) -> dict[str, Any]: ...

    def generate_random(self, **kwargs: Any) -> dict[str, Any]: ...

    def encrypt(self, **kwargs: Any) -> dict[str, Any]: ...


class KmsError(ServiceError):
    """KMS refused an operation for good, or did not answer."""


class InvalidState(KmsError):
    """KMS refuses this in the store's connection state: another user, or our own unanswered request, has moved the store."""


class NotFound(KmsError):
    """There is no such custom key store."""


class InUse(KmsError):
    """Another store already uses a value of the new one. After a lost answer, that is the store that we created."""


class KmsService(Service):
    """The requests to KMS.

    Args:
        client: a boto3 client for KMS, made with C(client_config()).
        deadline: until when to retry a request that KMS throttled or did not answer.
    """

    name = "KMS"
    error = KmsError
    errors = {INVALID_STATE: InvalidState, NOT_FOUND: NotFound, **dict.fromkeys(IN_USE, InUse)}
    naming = ("AliasName", "CustomKeyStoreId", "CustomKeyStoreName", "KeyId")

    def __init__(self, client: Client, deadline: Deadline) -> None:
        super().__init__(deadline)
        self._client = client

    def explain(self, code: str, operation: str, text: str) -> str:
        from .diagnosis import explain_exception  # long, and few tasks need it

        return explain_exception(code, operation, text)

    def _method(self, operation: str) -> Callable[..., dict[str, Any]]:
        """The client's method for an operation of KMS's model."""
        method: Callable[..., dict[str, Any]] = getattr(self._client, botocore.xform_name(operation))
        return method

    def _pages(
        self, operation: str, method: Callable[..., dict[str, Any]], arguments: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Yield the pages. A failed page is retried alone; botocore's paginator would start with the first page again."""
        page: dict[str, Any] = {}
        while not page or page.get("Truncated"):
            marker = {"Marker": page["NextMarker"]} if page else {}
            page = self._call(operation, method, {**arguments, **marker})
            yield page


def place(region: str, sts: Any) -> str:
    """Where the task searched for a store, for a message: the Region, and the account if AWS STS reports it.

    Args:
        region: its name.
        sts: a boto3 client for AWS STS.
    """
    account = caller_account(sts)
    return f"the Region {region}" if account is None else f"the Region {region} of the account {account}"


def caller_account(sts: Any) -> Optional[str]:
    """The account of the credentials, or None if AWS STS does not report it.

    Args:
        sts: a boto3 client for AWS STS.
    """
    try:
        return str(sts.get_caller_identity()["Account"])
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return None


def sdk_version() -> str:
    """The version of botocore."""
    return str(botocore.__version__)
