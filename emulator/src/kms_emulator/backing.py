# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backends of custom key stores: clusters with kmsuser, proxies, and the secrets that KMS has for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .clusters import EmulatedClusters
from .custom_key_stores.backing import Backing
from .custom_key_stores.backing import cluster_of
from .custom_key_stores.exceptions import KMSInternalException
from .custom_key_stores.exceptions import KMSInvalidStateException
from .custom_key_stores.exceptions import XksKeyNotFoundException
from .custom_key_stores.keys import CustomStoreKey
from .custom_key_stores.rules import ConnectionState
from .custom_key_stores.rules import Rules
from .custom_key_stores.rules import StoreType
from .custom_key_stores.stores import CustomKeyStore
from .custom_key_stores.stores import Request
from .custom_key_stores.stores import proxy_configuration
from .passwords import Hasher
from .passwords import Passwords
from .proxies import FAILURES
from .proxies import Failure
from .proxies import Proxies
from .proxies import error_of


class EmulatedBacking(Backing):
    """The clusters and proxies of the custom key stores of one account and Region. Tests can change them."""

    clusters: EmulatedClusters

    def __init__(self, *, account_id: str, region_name: str, rules: Rules) -> None:
        super().__init__(account_id=account_id, region_name=region_name, rules=rules)
        hasher = Hasher()
        self.clusters = EmulatedClusters(account_id=account_id, region_name=region_name, rules=rules)
        self.passwords = Passwords(hasher)
        self.proxies = Proxies(hasher)
        self.outcomes: dict[str, deque[str]] = {}
        """Outcomes of the next connects of a store, by store ID. They take precedence over the state of its backend."""
        self._account_id = account_id
        self._rules = rules

    def check_new(self, request: Request, store_type: StoreType, others: Iterable[CustomKeyStore]) -> None:
        """Also check the cluster's certificate, or the proxy."""
        super().check_new(request, store_type, others)
        if store_type is StoreType.AWS_CLOUDHSM:
            self.clusters.check_trust_anchor(request["CloudHsmClusterId"], request["TrustAnchorCertificate"])
            return
        configuration = proxy_configuration(request)
        failure = self.proxies.failure_with(configuration, request["XksProxyAuthenticationCredential"])
        # KMS contacts a proxy behind a VPC endpoint service at connect and update only (R22).
        if failure is not None and (configuration["Connectivity"] == "PUBLIC_ENDPOINT" or failure.private):
            _raise_for_store(failure)

    def check_change(self, store: CustomKeyStore, request: Request, others: Iterable[CustomKeyStore]) -> None:
        """Also check the proxy with the changed configuration (R8)."""
        super().check_change(store, request, others)
        renamed_only = not set(request) - {"CustomKeyStoreId", "NewCustomKeyStoreName"}
        if store.custom_key_store_type is StoreType.EXTERNAL_KEY_STORE and not renamed_only:
            failure = self._proxy_failure_after(store, request)
            if failure is not None:
                _raise_for_store(failure)

    def _proxy_failure_after(self, store: CustomKeyStore, request: Request) -> Failure | None:
        configuration = store.proxy_after(request)
        if "XksProxyAuthenticationCredential" in request:
            return self.proxies.failure_with(configuration, request["XksProxyAuthenticationCredential"])
        return self.proxies.failure(configuration, store_id=store.custom_key_store_id)

    def record_secrets(self, store: CustomKeyStore, request: Request) -> None:
        """Record the secrets of an accepted request."""
        if "KeyStorePassword" in request:
            self.passwords.set_password(store.custom_key_store_id, cluster_of(store), request["KeyStorePassword"])
        if "XksProxyAuthenticationCredential" in request:
            self.proxies.set_credential(store.custom_key_store_id, request["XksProxyAuthenticationCredential"])

    def password_matches(self, store: CustomKeyStore, request: Request) -> bool:
        """Whether the request has the password that the owner of the store set last."""
        return self.passwords.matches(store.custom_key_store_id, request["KeyStorePassword"])

    def forget(self, store: CustomKeyStore) -> None:
        """Remove a deleted store. Its cluster or proxy does not change (R26)."""
        self.passwords.forget(store.custom_key_store_id)
        self.proxies.forget(store.custom_key_store_id)
        self.outcomes.pop(store.custom_key_store_id, None)

    def failure(self, store: CustomKeyStore) -> str | None:
        """Return the reason why KMS cannot reach the cluster or proxy of a store."""
        if store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
            return super().failure(store)
        failure = self._proxy_failure(store)
        return failure.code if failure is not None else None

    def _proxy_failure(self, store: CustomKeyStore) -> Failure | None:
        configuration = store.xks_proxy_configuration
        foreign = configuration.get("VpcEndpointServiceOwner", self._account_id) != self._account_id
        if foreign and not self._rules.vpc_service_of_another_account_is_valid:
            return FAILURES["XksProxyVpcEndpointServiceNotFoundException"]
        return self.proxies.failure(configuration, store_id=store.custom_key_store_id)

    def connect(self, store: CustomKeyStore) -> str:
        """Return the outcome of a connect: one that the test set, or else the result of the login as kmsuser (R13)."""
        outcomes = self.outcomes.get(store.custom_key_store_id)
        if outcomes:
            return outcomes.popleft()
        failure = self.failure(store)
        if failure is None and store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
            failure = self.passwords.log_in(store.custom_key_store_id, cluster_of(store))
        return failure or ConnectionState.CONNECTED

    def on_connected(self, store: CustomKeyStore) -> None:
        """Rotate the password of kmsuser after a successful connect (R12)."""
        if store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
            self.passwords.rotate(store.custom_key_store_id, cluster_of(store))

    def check_new_key(self, store: CustomKeyStore, request: Request) -> None:
        """Also check the proxy and the external key that it describes."""
        super().check_new_key(store, request)
        if store.custom_key_store_type is not StoreType.EXTERNAL_KEY_STORE:
            return
        failure = self._proxy_failure(store)
        if failure is not None and failure.of_keys is not None:
            raise error_of(failure.of_keys, failure)
        key = self.proxies.proxy_at(store.xks_proxy_configuration["UriEndpoint"]).external_key(request["XksKeyId"])
        if key is None:
            raise XksKeyNotFoundException(FAILURES["KeyNotFoundException"].text)
        key.check_for_key()

    def check_use(self, key: CustomStoreKey, operations: Iterable[str]) -> None:
        """Also check the proxy and the external key."""
        if key.store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
            super().check_use(key, operations)
            return
        uses = set(operations)
        failure = self._proxy_failure(key.store)
        if failure is None or not failure.of_use & uses:
            proxy = self.proxies.proxy_at(key.store.xks_proxy_configuration["UriEndpoint"])
            external = proxy.external_key(key.xks_key_id or "")
            failure = external.failure(uses) if external is not None else FAILURES["KeyNotFoundException"]
        if failure is not None:
            internal = self._rules.external_failures_of_use_are_internal
            raise (KMSInternalException if internal else KMSInvalidStateException)(failure.text)


def _raise_for_store(failure: Failure) -> None:
    """Raises the exception of CreateCustomKeyStore and UpdateCustomKeyStore, if the health check detects the failure."""
    if failure.of_stores is not None:
        raise error_of(failure.of_stores, failure)
