# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backends of custom key stores: moto's CloudHSM clusters, and proxies that never fail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .clusters import Clusters
from .exceptions import CloudHsmClusterInUseException
from .exceptions import CloudHsmClusterNotRelatedException
from .exceptions import KMSInvalidStateException
from .rules import ConnectionState
from .rules import Rules
from .rules import StoreType
from .stores import CustomKeyStore
from .stores import Request

if TYPE_CHECKING:
    from .keys import CustomStoreKey


class Backing:
    """The clusters and proxies of the custom key stores of one account and Region. Subclasses add failures."""

    def __init__(self, *, account_id: str, region_name: str, rules: Rules) -> None:
        self.clusters = Clusters(account_id=account_id, region_name=region_name, rules=rules)

    # For operations on stores

    def check_new(self, request: Request, store_type: StoreType, others: Iterable[CustomKeyStore]) -> None:
        """Check the cluster or proxy of CreateCustomKeyStore. Raises KMS's errors (section 3.7)."""
        if store_type is StoreType.AWS_CLOUDHSM:
            cluster_id = request["CloudHsmClusterId"]
            if any(self.clusters.related(used, cluster_id) for used in _clusters_of(others)):
                raise CloudHsmClusterInUseException()
            self.clusters.check(cluster_id)

    def check_change(self, store: CustomKeyStore, request: Request, others: Iterable[CustomKeyStore]) -> None:
        """Check the changes of UpdateCustomKeyStore. A new name requires no check. Raises KMS's errors."""
        if store.custom_key_store_type is StoreType.AWS_CLOUDHSM and set(request) - {
            "CustomKeyStoreId",
            "NewCustomKeyStoreName",
        }:
            before = cluster_of(store)
            cluster_id = request.get("CloudHsmClusterId", before)
            self.clusters.check(cluster_id)
            # A related cluster cannot be in use by another store (R20).
            if cluster_id in _clusters_of(others) or self.clusters.related(before, cluster_id) is False:
                raise CloudHsmClusterNotRelatedException()

    def record_secrets(self, store: CustomKeyStore, request: Request) -> None:
        """Record the secrets of an accepted create or update request. A subclass may need them."""

    def password_matches(self, store: CustomKeyStore, request: Request) -> bool:
        """Whether a create request has the password of an existing store (R27)."""
        return True

    def forget(self, store: CustomKeyStore) -> None:
        """Remove a deleted store. Its cluster or proxy does not change (R26)."""

    def failure(self, store: CustomKeyStore) -> str | None:
        """Return the reason why KMS cannot connect a store: a ConnectionErrorCode, or the exception of a fast failure."""
        return self.clusters.failure(cluster_of(store)) if store.cloud_hsm_cluster_id is not None else None

    def connect(self, store: CustomKeyStore) -> str:
        """Return the outcome of a connect that begins now: CONNECTED, NEVER, or the result of failure()."""
        return self.failure(store) or ConnectionState.CONNECTED

    def on_connected(self, store: CustomKeyStore) -> None:
        """Hook after a successful connect."""

    # For KMS keys

    def check_new_key(self, store: CustomKeyStore, request: Request) -> None:
        """Check that KMS can create a key in a CONNECTED store. Raises KMS's errors (R34)."""
        if store.cloud_hsm_cluster_id is not None:
            self.clusters.check_for_key(store.cloud_hsm_cluster_id)

    def check_use(self, key: CustomStoreKey, operations: Iterable[str]) -> None:
        """Check that KMS can use a key whose state allows it. Operations: ENCRYPT, DECRYPT. Raises KMS's errors (R34)."""
        cluster_id = key.store.cloud_hsm_cluster_id
        if cluster_id is not None and self.clusters.failure_of_use(cluster_id) is not None:
            raise KMSInvalidStateException(
                "AWS KMS cannot reach the CloudHSM cluster of the custom key store that holds this KMS key."
            )


def cluster_of(store: CustomKeyStore) -> str:
    """Return the cluster's ID. A CloudHSM store always has one."""
    return store.cloud_hsm_cluster_id or ""


def _clusters_of(stores: Iterable[CustomKeyStore]) -> set[str]:
    return {store.cloud_hsm_cluster_id for store in stores if store.cloud_hsm_cluster_id is not None}
