# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A custom key store as KMS describes it, and the store that the user asks for."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import datetime
from dataclasses import dataclass
from dataclasses import field
from enum import Enum
from typing import Any
from typing import Mapping
from typing import Optional

from ansible.module_utils.common.dict_transformations import camel_dict_to_snake_dict

AWS_CLOUDHSM = "AWS_CLOUDHSM"
EXTERNAL_KEY_STORE = "EXTERNAL_KEY_STORE"


class ConnectionState(Enum):
    """The five values of C(ConnectionState) in KMS's model."""

    CONNECTED = "CONNECTED"
    CONNECTING = "CONNECTING"
    DISCONNECTED = "DISCONNECTED"
    DISCONNECTING = "DISCONNECTING"
    FAILED = "FAILED"


IN_SERVICE = (ConnectionState.CONNECTED, ConnectionState.CONNECTING)
"""The states of a store whose keys can be used, or soon can: a disconnect would make them unavailable."""

OUT_OF_SERVICE = (ConnectionState.DISCONNECTED, ConnectionState.DISCONNECTING)
"""The states of a store that a user has disconnected."""


class CustomKeyStoreError(Exception):
    """A failure that is reported to the user in one message.

    Attributes:
        message: what is wrong, where, and what to do.
        error: C(code) and C(message) as AWS returned them; None if no request was made or answered.
    """

    def __init__(self, message: str, *, error: Optional[Mapping[str, str]] = None) -> None:
        super().__init__(message)
        self.message = message
        self.error = error

    @property
    def code(self) -> Optional[str]:
        """The error code of AWS; None if no request was made or answered."""
        return None if self.error is None else self.error["code"]


@dataclass(frozen=True)
class CustomKeyStore:
    """One custom key store, as DescribeCustomKeyStores returned it.

    Attributes:
        description: the entry of C(CustomKeyStores), with the member names of KMS's model, C(CreationDate) a datetime.
    """

    description: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.description["CustomKeyStoreId"])

    @property
    def name(self) -> str:
        return str(self.description["CustomKeyStoreName"])

    @property
    def type(self) -> str:
        """C(AWS_CLOUDHSM) or C(EXTERNAL_KEY_STORE)."""
        return str(self.description.get("CustomKeyStoreType", AWS_CLOUDHSM))

    @property
    def connection_state(self) -> ConnectionState:
        return ConnectionState(self.description["ConnectionState"])

    @property
    def connection_error_code(self) -> Optional[str]:
        """Why the last connect failed. KMS reports it only while the state is FAILED (R4)."""
        return self.description.get("ConnectionErrorCode")

    def with_connection_state(self, state: ConnectionState) -> CustomKeyStore:
        """The same store in another state, as KMS would describe it: there is an error code only in FAILED."""
        description = {key: value for key, value in self.description.items() if key != "ConnectionErrorCode"}
        return CustomKeyStore({**description, "ConnectionState": state.value})

    def to_result(self) -> dict[str, Any]:
        """The store for a task's result: keys in snake_case, the creation date in ISO 8601."""
        return dict(camel_dict_to_snake_dict({key: plain(value) for key, value in self.description.items()}))

    def __str__(self) -> str:
        return f'{self.id} ("{self.name}")'


def plain(value: Any) -> Any:
    """A date as text in ISO 8601, any other value unchanged."""
    return value.isoformat() if isinstance(value, datetime.datetime) else value


@dataclass(frozen=True)
class DesiredStore:
    """The options of the task.

    Attributes:
        state: C(present), C(absent), C(connected) or C(disconnected).
        custom_key_store_id: which store; None if it is selected by name.
        name: which store, if there is no id; with an id, the name that the store should have.
        wait: wait for the end state?
        wait_timeout: seconds for all waiting of the task together.
        update_credentials: C(on_create) or C(always): when to send secrets, which KMS never returns.
        allow_disconnect: may the task disconnect a connected store, if a change needs it?
        given: all options that have a value, those of C(xks_proxy_configuration) flat, after a dot. It has the secrets.
    """

    state: str
    custom_key_store_id: Optional[str] = None
    name: Optional[str] = None
    wait: bool = True
    wait_timeout: int = 1800
    update_credentials: str = "on_create"
    allow_disconnect: bool = False
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        if self.custom_key_store_id is not None:
            return f"with the id {self.custom_key_store_id}"
        return f'named "{self.name}"'
