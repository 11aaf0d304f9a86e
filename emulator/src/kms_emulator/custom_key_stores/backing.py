# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is behind custom key stores, as far as KMS meets it: CloudHSM clusters of moto's, and proxies that are fine."""

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
    """What is behind the custom key stores of one account and Region. Subclasses have it fail in more ways."""

    def __init__(self, *, account_id: str, region_name: str, rules: Rules) -> None:
        self.clusters = Clusters(account_id=account_id, region_name=region_name, rules=rules)

    # What the operations on stores ask

    def check_new(self, request: Request, store_type: StoreType, others: Iterable[CustomKeyStore]) -> None:
        """Can KMS work with what CreateCustomKeyStore names? Raises KMS's errors (section 3.7)."""
        if store_type is StoreType.AWS_CLOUDHSM:
            cluster_id = request["CloudHsmClusterId"]
            if any(self.clusters.related(used, cluster_id) for used in _clusters_of(others)):
                raise CloudHsmClusterInUseException()
            self.clusters.check(cluster_id)

    def check_change(self, store: CustomKeyStore, request: Request, others: Iterable[CustomKeyStore]) -> None:
        """Can KMS work with what UpdateCustomKeyStore changes? A new name alone needs nothing. Raises KMS's errors."""
        if store.custom_key_store_type is StoreType.AWS_CLOUDHSM and set(request) - {
            "CustomKeyStoreId",
            "NewCustomKeyStoreName",
        }:
            before = cluster_of(store)
            cluster_id = request.get("CloudHsmClusterId", before)
            self.clusters.check(cluster_id)
            # No related cluster can be in another store's use (R20).
            if cluster_id in _clusters_of(others) or self.clusters.related(before, cluster_id) is False:
                raise CloudHsmClusterNotRelatedException()

    def accepted(self, store: CustomKeyStore, request: Request) -> None:
        """A create or update request was accepted: take note of its secrets, where something here needs them."""

    def was_told(self, store: CustomKeyStore, request: Request) -> bool:
        """Has a create request the password of a store that is there already? (R27)"""
        return True

    def forget(self, store: CustomKeyStore) -> None:
        """A store is deleted. What was behind it stays as it is (R26)."""

    def failure(self, store: CustomKeyStore) -> str | None:
        """Why KMS cannot reach what is behind a store: a ConnectionErrorCode, or a fast failure's exception."""
        return self.clusters.failure(cluster_of(store)) if store.cloud_hsm_cluster_id is not None else None

    def connect(self, store: CustomKeyStore) -> str:
        """How a connect that begins now will end: CONNECTED, NEVER, or as failure() says."""
        return self.failure(store) or ConnectionState.CONNECTED

    def connected(self, store: CustomKeyStore) -> None:
        """A connect succeeded."""

    # What keys ask

    def check_new_key(self, store: CustomKeyStore, request: Request) -> None:
        """Can KMS create a key in a store that is CONNECTED? Raises KMS's errors (R34)."""
        if store.cloud_hsm_cluster_id is not None:
            self.clusters.check_for_key(store.cloud_hsm_cluster_id)

    def check_use(self, key: CustomStoreKey, operations: Iterable[str]) -> None:
        """Can KMS use a key whose state allows it? Operations: ENCRYPT, DECRYPT. Raises KMS's errors (R34)."""
        cluster_id = key.store.cloud_hsm_cluster_id
        if cluster_id is not None and self.clusters.failure_of_use(cluster_id) is not None:
            raise KMSInvalidStateException(
                "AWS KMS cannot reach the CloudHSM cluster of the custom key store that holds this KMS key."
            )


def cluster_of(store: CustomKeyStore) -> str:
    """The cluster's id. A CloudHSM store always has one."""
    return store.cloud_hsm_cluster_id or ""


def _clusters_of(stores: Iterable[CustomKeyStore]) -> set[str]:
    return {store.cloud_hsm_cluster_id for store in stores if store.cloud_hsm_cluster_id is not None}
