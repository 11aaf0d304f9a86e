# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A custom key store that is asked one thing after the other over HTTP, of an emulator of ours or of any other KMS."""

from __future__ import annotations

import base64
import itertools
import time
import uuid
from collections.abc import Callable
from typing import Any

from aalpy.base import SUL
from botocore.exceptions import ClientError

from kms_emulator import HttpControl
from tests.learn import published
from tests.learn.machine import Output

UNKNOWN_ID = "cks-00000000000000000"
"""The store that is asked for while none has been created."""
ANOTHER = "ok, another store"
"""The answer to a create that made a second store, though there is one with the same values."""
LONGER_THAN_ANY = 86400
"""Seconds after which a connect or a disconnect has ended on the clock of our emulator."""
UNDER_WAY = ("CONNECTING", "DISCONNECTING")


def fresh() -> str:
    """Letters and digits that nobody else has."""
    return base64.b32encode(uuid.uuid4().bytes).decode().rstrip("=").lower()


def create_request(store_type: str) -> dict[str, Any]:
    """The members of a CreateCustomKeyStore that collides with no other."""
    own = fresh()
    request = {"CustomKeyStoreName": f"learned-{own}", "CustomKeyStoreType": store_type}
    if store_type == published.CLOUDHSM:
        return {
            **request,
            "CloudHsmClusterId": f"cluster-{own[:11]}",
            "TrustAnchorCertificate": "-----BEGIN CERTIFICATE-----\nlearned\n-----END CERTIFICATE-----\n",
            "KeyStorePassword": f"kmsuser{own[:20]}",
        }
    return {
        **request,
        "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        "XksProxyUriEndpoint": f"https://{own}.xks.example.com",
        "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyAuthenticationCredential": {
            "AccessKeyId": "LEARNEDACCESSKEY2345",
            "RawSecretAccessKey": "learned+secret/access=key" * 2,
        },
    }


class Store(SUL):
    """A system under learning: one store of a type, by public operations of KMS alone. Each word begins without a store."""

    def __init__(self, kms: Any, store_type: str, *, patience: float = 10, settled: bool = False) -> None:
        super().__init__()
        self._kms = kms
        self._type = store_type
        self._patience = patience
        self._settled = settled
        self._numbers = itertools.count(1)
        self._request: dict[str, Any] = {}
        self._store_id = UNKNOWN_ID
        self._made: list[str] = []
        self._shown = published.NO_STORE
        self.words = 0
        """How often it was begun anew."""
        self._inputs: dict[str, Callable[[], str]] = {
            published.CREATE: self._create,
            published.CONNECT: lambda: self._answer(self._kms.connect_custom_key_store),
            published.DISCONNECT: lambda: self._answer(self._kms.disconnect_custom_key_store),
            published.TIME: self._let_time_pass,
            published.RENAME: lambda: self._update("CustomKeyStoreName", f"learned-{fresh()}", "NewCustomKeyStoreName"),
            published.CLUSTER: lambda: self._update("CloudHsmClusterId", f"cluster-{fresh()[:11]}"),
            published.PATH: lambda: self._update("XksProxyUriPath", f"/p{next(self._numbers)}/kms/xks/v1"),
            published.ENDPOINT: lambda: self._update("XksProxyUriEndpoint", f"https://{fresh()}.xks.example.com"),
            published.DELETE: lambda: self._answer(self._kms.delete_custom_key_store),
            published.RANDOM: lambda: self._answer(self._kms.generate_random, NumberOfBytes=8),
            published.CREATE_KEY: self._create_key,
        }

    def pre(self) -> None:
        """Begin anew, without a store."""
        self.words += 1
        self._store_id, self._shown = UNKNOWN_ID, published.NO_STORE

    def post(self) -> None:
        """Clear away what was made, as far as it goes: disconnect, wait, delete."""
        for store_id in self._made:
            self._answer(self._kms.disconnect_custom_key_store, CustomKeyStoreId=store_id)
            self._store_id = store_id
            self._let_time_pass()
            self._answer(self._kms.delete_custom_key_store, CustomKeyStoreId=store_id)
        self._made.clear()

    def step(self, letter: str) -> Output:
        """Ask one thing."""
        answer = published.OK if letter == published.DESCRIBE else self._inputs[letter]()
        if self._settled:
            self._let_time_pass()
        refusal, self._shown = self._describe()
        return Output(refusal if letter == published.DESCRIBE else answer, self._shown)

    def _answer(self, operation: Callable[..., Any], **members: Any) -> str:
        """ "ok", or the error code."""
        try:
            operation(**{"CustomKeyStoreId": self._store_id, **members})
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return published.OK

    def _describe(self) -> tuple[str, str]:
        """What DescribeCustomKeyStores answers, and what it shows: the state, with an error code if there is one."""
        try:
            stores = self._kms.describe_custom_key_stores(CustomKeyStoreId=self._store_id)["CustomKeyStores"]
        except ClientError as error:
            code = str(error.response["Error"]["Code"])
            return code, published.NO_STORE if code == published.NOT_FOUND else f"no answer ({code})"
        if len(stores) != 1:
            return published.OK, f"{len(stores)} stores"
        code = stores[0].get("ConnectionErrorCode")
        return published.OK, stores[0]["ConnectionState"] + (f" {code}" if code else "")

    def _create(self) -> str:
        """Create a store, or the same again. A new one has nothing of the one before: its cluster would remember the password."""
        if self._shown == published.NO_STORE:
            self._request = create_request(self._type)
        try:
            store_id = str(self._kms.create_custom_key_store(**self._request)["CustomKeyStoreId"])
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        if store_id not in self._made:
            self._made.append(store_id)
        if self._shown == published.NO_STORE:
            self._store_id = store_id
        return published.OK if store_id == self._store_id else ANOTHER

    def _update(self, name: str, value: str, member: str | None = None) -> str:
        """Change a property to a value that it never had. The next create asks for the store as it is then."""
        answer = self._answer(self._kms.update_custom_key_store, **{member or name: value})
        if answer == published.OK:
            self._request[name] = value
        return answer

    def _create_key(self) -> str:
        external = {"XksKeyId": f"key-{next(self._numbers)}"} if self._type == published.EXTERNAL else {}
        return self._answer(self._kms.create_key, Origin=self._type, **external)

    def _let_time_pass(self) -> str:
        """Wait until nothing is under way, or patience ends."""
        until = time.monotonic() + self._patience
        pause = 0.01
        while self._describe()[1].startswith(UNDER_WAY) and time.monotonic() < until:
            time.sleep(pause)
            pause = min(1, 2 * pause)
        return published.OK


class EmulatedStore(Store):
    """One on an emulator of ours: its clock stands still until time is to pass, and a connect can be made to fail."""

    def __init__(self, kms: Any, control: HttpControl, store_type: str, *, settled: bool = False) -> None:
        super().__init__(kms, store_type, settled=settled)
        self._control = control
        self._inputs[published.CONNECT_TO_FAIL] = self._connect_to_fail

    def pre(self) -> None:
        """Begin anew, with an empty KMS."""
        super().pre()
        self._control.reset()
        self._control.freeze_clock()

    def post(self) -> None:
        """Nothing: all is forgotten before the next word."""
        self._made.clear()

    def _let_time_pass(self) -> str:
        self._control.advance(LONGER_THAN_ANY)
        return published.OK

    def _connect_to_fail(self) -> str:
        if self._shown == published.NO_STORE:
            return self._answer(self._kms.connect_custom_key_store)
        self._control.set_connect_outcomes(self._store_id, [published.ERROR_CODE])
        answer = self._answer(self._kms.connect_custom_key_store)
        self._control.set_connect_outcomes(self._store_id, [])
        return answer
