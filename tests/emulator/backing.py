# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind custom key stores: clusters, proxies, and what KMS was told to reach them."""

from __future__ import annotations

from collections.abc import Iterable

from .clusters import Clusters
from .exceptions import CloudHsmClusterInUseException
from .exceptions import CloudHsmClusterNotRelatedException
from .exceptions import error_for
from .passwords import Hasher
from .passwords import Passwords
from .proxies import FAILURES
from .proxies import VPC_FAILURES
from .proxies import Proxies
from .rules import ConnectionState
from .rules import Rules
from .rules import StoreType
from .stores import CustomKeyStore
from .stores import Request
from .stores import proxy_configuration


class Backing:
    """What is behind the custom key stores of one account and Region."""

    def __init__(self, *, account_id: str, region_name: str, rules: Rules) -> None:
        hasher = Hasher()
        self.clusters = Clusters(account_id=account_id, region_name=region_name, rules=rules)
        self.passwords = Passwords(hasher)
        self.proxies = Proxies(hasher)
        self._account_id = account_id
        self._rules = rules

    def check_new(self, request: Request, store_type: StoreType, others: Iterable[CustomKeyStore]) -> None:
        """Can KMS work with what CreateCustomKeyStore names? Raises KMS's errors (section 3.7)."""
        if store_type is StoreType.AWS_CLOUDHSM:
            cluster_id = request["CloudHsmClusterId"]
            if any(self.clusters.related(used, cluster_id) for used in _clusters_of(others)):
                raise CloudHsmClusterInUseException()
            self.clusters.check(cluster_id)
            self.clusters.check_trust_anchor(cluster_id, request["TrustAnchorCertificate"])
            return
        configuration = proxy_configuration(request)
        failure = self.proxies.failure_with(configuration, request["XksProxyAuthenticationCredential"])
        # A proxy behind a VPC endpoint service is reached at connect and update only (R22).
        if failure is not None and (configuration["Connectivity"] == "PUBLIC_ENDPOINT" or failure in VPC_FAILURES):
            raise error_for(failure)

    def check_change(self, store: CustomKeyStore, request: Request, others: Iterable[CustomKeyStore]) -> None:
        """Can KMS work with what UpdateCustomKeyStore changes? A new name alone needs nothing. Raises KMS's errors."""
        if not set(request) - {"CustomKeyStoreId", "NewCustomKeyStoreName"}:
            return
        if store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
            self._check_cluster_change(store, request, others)
            return
        failure = self._proxy_failure_after(store, request)
        if failure is not None:
            raise error_for(failure)

    def _check_cluster_change(self, store: CustomKeyStore, request: Request, others: Iterable[CustomKeyStore]) -> None:
        before = _cluster_of(store)
        cluster_id = request.get("CloudHsmClusterId", before)
        self.clusters.check(cluster_id)
        # No related cluster can be in another store's use (R20).
        if cluster_id in _clusters_of(others) or self.clusters.related(before, cluster_id) is False:
            raise CloudHsmClusterNotRelatedException()

    def _proxy_failure_after(self, store: CustomKeyStore, request: Request) -> str | None:
        configuration = store.proxy_after(request)
        if "XksProxyAuthenticationCredential" in request:
            return self.proxies.failure_with(configuration, request["XksProxyAuthenticationCredential"])
        return self.proxies.failure(configuration, told_to=store.custom_key_store_id)

    def tell(self, store: CustomKeyStore, request: Request) -> None:
        """Take note of the secrets in an accepted create or update request."""
        if "KeyStorePassword" in request:
            self.passwords.tell(store.custom_key_store_id, _cluster_of(store), request["KeyStorePassword"])
        if "XksProxyAuthenticationCredential" in request:
            self.proxies.tell(store.custom_key_store_id, request["XksProxyAuthenticationCredential"])

    def forget(self, store: CustomKeyStore) -> None:
        """A store is deleted. What was behind it stays as it is (R26)."""
        self.passwords.forget(store.custom_key_store_id)
        self.proxies.forget(store.custom_key_store_id)

    def failure(self, store: CustomKeyStore) -> str | None:
        """Why KMS cannot reach what is behind a store: a ConnectionErrorCode, or a fast failure's exception."""
        if store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
            return self.clusters.failure(_cluster_of(store))
        configuration = store.xks_proxy_configuration
        foreign = configuration.get("VpcEndpointServiceOwner", self._account_id) != self._account_id
        if foreign and not self._rules.vpc_service_of_another_account_is_valid:
            return "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND"
        failure = self.proxies.failure(configuration, told_to=store.custom_key_store_id)
        return FAILURES[failure] if failure is not None else None

    def connect(self, store: CustomKeyStore) -> str:
        """How a connect will end: CONNECTED, or as failure() says, or because of kmsuser. Counts as a login (R13)."""
        failure = self.failure(store)
        if failure is None and store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
            failure = self.passwords.log_in(store.custom_key_store_id, _cluster_of(store))
        return failure or ConnectionState.CONNECTED

    def connected(self, store: CustomKeyStore) -> None:
        """A connect succeeded: kmsuser's password is rotated (R12)."""
        if store.custom_key_store_type is StoreType.AWS_CLOUDHSM:
            self.passwords.rotate(store.custom_key_store_id, _cluster_of(store))


def _cluster_of(store: CustomKeyStore) -> str:
    """The cluster's id. A CloudHSM store always has one."""
    return store.cloud_hsm_cluster_id or ""


def _clusters_of(stores: Iterable[CustomKeyStore]) -> set[str]:
    return {store.cloud_hsm_cluster_id for store in stores if store.cloud_hsm_cluster_id is not None}
