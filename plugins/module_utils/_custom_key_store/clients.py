# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients for stores in several Regions and accounts, each with its own connection options."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import os
import threading
from typing import Any
from typing import Callable
from typing import Mapping
from typing import Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from .clock import Clock
from .kms import place
from .schedule import AwsLeases
from .service import client_config
from .shared_descriptions import SharedDescriptions

CREDENTIALS = ("profile", "access_key", "secret_key", "session_token")
CONNECTION = ("region", "endpoint_url", *CREDENTIALS)
REACHED_BY = (*CONNECTION, "assume_role_arn")
"""The connection options of a store."""

Store = Mapping[str, Any]
"""One of C(stores) of the module's options."""


class Clients:
    """One client for each set of connection options, shared by all stores that use it.

    Args:
        module: its options are the defaults for each store.
        clock: see C(Clock).
    """

    def __init__(self, module: AnsibleAWSModule, clock: Clock) -> None:
        self._module = module
        self._clock = clock
        self._clients: dict[tuple[Any, ...], Any] = {}
        self._lock = threading.RLock()  # any thread may make a client

    def for_store(self, store: Store) -> Any:
        """The client for KMS, for a store with these options."""
        return self._shared(
            "kms", store, lambda: SharedDescriptions(self._client(store, "kms", timeout=30), self._clock)
        )

    def leases_in_aws(self, store: Store, *, role_arn: str = "") -> AwsLeases:
        """The leases of the account and Region of a store with these options."""
        client = self._shared("scheduler", store, lambda: self._client(store, "scheduler", timeout=10))
        return AwsLeases(client, role_arn=role_arn)

    def _shared(self, service: str, store: Store, make: Callable[[], Any]) -> Any:
        connection = (service, *(store.get(option) for option in REACHED_BY))
        with self._lock:
            if connection not in self._clients:
                self._clients[connection] = make()
            return self._clients[connection]

    def for_service(self, store: Store, service: str, *, timeout: int = 30) -> Any:
        """The client for another service, with the connection options of the store."""
        return self._client(store, service, timeout=timeout)

    def place(self, store: Store) -> str:
        """The Region and account of a store with these options, for a message."""
        return place(self.for_store(store).meta.region_name, self._client(store, "sts", timeout=2))

    def reached(self, store: Store) -> dict[str, str]:
        """The connection options of a store, without secrets, so that they can be written to a file."""
        own = {option: store.get(option) or self._module.params.get(option) for option in ("profile", "endpoint_url")}
        if store.get("access_key") is not None:
            own["profile"] = None
        if own["endpoint_url"] == _address_of_all():
            own["endpoint_url"] = None
        own["assume_role_arn"] = store.get("assume_role_arn")
        options = {option: str(value) for option, value in own.items() if value is not None}
        return {"region": str(self.for_store(store).meta.region_name), **options}

    def _client(self, store: Store, service: str, *, timeout: int) -> Any:
        client = self._of_caller(store, service, timeout=timeout)
        role_arn = store.get("assume_role_arn")
        if not role_arn:
            return client
        from .assumed_role import assume_role  # few tasks need it

        return assume_role(client, self._of_caller(store, "sts", timeout=30), role_arn)

    def _of_caller(self, store: Store, service: str, *, timeout: int) -> Any:
        """amazon.aws makes clients from the options of the task, so the options of the store replace them for that time."""
        with self._lock:
            of_task = dict(self._module.params)
            own = {option: store[option] for option in CONNECTION if store.get(option) is not None}
            no_credentials = dict.fromkeys(CREDENTIALS) if any(store.get(option) for option in CREDENTIALS) else {}
            self._module.params.update({**no_credentials, **own})
            try:
                if service != "kms":
                    return service_client(self._module, service, timeout=timeout)
                return self._module.client(service, config=client_config(timeout=timeout))
            finally:
                self._module.params.update(of_task)


def service_client(module: AnsibleAWSModule, service: str, *, timeout: int = 30) -> Any:
    """A client for a service other than KMS, at its own endpoint: the option endpoint_url is for KMS only.

    Args:
        module: the Ansible module.
        service: its name in boto3.
        timeout: seconds to wait for an answer.
    """
    of_kms = module.params["endpoint_url"]
    module.params["endpoint_url"] = _address_of_all()
    try:
        return module.client(service, config=client_config(timeout=timeout))
    finally:
        module.params["endpoint_url"] = of_kms


def _address_of_all() -> Optional[str]:
    """The endpoint of all services, as with an emulator. The option endpoint_url is for KMS only."""
    return os.environ.get("AWS_URL")
