# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adds to the results of a window the cluster of each store, and its keys with their last use.

Each store is described by the client that also moves it. If something cannot be described, the result says so; nothing is raised.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from typing import Any
from typing import Mapping
from typing import Optional
from typing import Sequence

from .clusters import Cluster
from .clusters import describe_clusters
from .keys import keys_in_stores
from .keys import results_by_store
from .keys import usages
from .kms import KmsError
from .kms_stores import Kms
from .model import CustomKeyStore


def add_clusters(
    cloudhsm: Any, stores: Sequence[Optional[CustomKeyStore]], results: Sequence[dict[str, Any]]
) -> Mapping[str, Cluster]:
    """Add C(cloud_hsm_cluster) to the result of each store in AWS CloudHSM.

    Args:
        cloudhsm: a boto3 client for C(cloudhsmv2).
        stores: of one account and Region.
        results: of these stores.

    Returns:
        The clusters by their ids.
    """
    ids = [store.description.get("CloudHsmClusterId") if store else None for store in stores]
    clusters = describe_clusters(cloudhsm, {each for each in ids if each})
    for cluster_id, result in zip(ids, results):
        if cluster_id:
            result["cloud_hsm_cluster"] = clusters[cluster_id].to_result()
    return clusters


def add_keys(kms: Kms, stores: Sequence[Optional[CustomKeyStore]], results: Sequence[dict[str, Any]]) -> None:
    """Add C(keys) and C(keys_not_described) to the result of each store; if that fails, C(keys_problem).

    Args:
        kms: see C(Kms).
        stores: of one account and Region.
        results: of these stores.
    """
    try:
        found = keys_in_stores(kms.keys, {store.id for store in stores if store})
    except KmsError as error:
        for result in results:
            result["keys_problem"] = error.message
        return
    keys_by_store = results_by_store(found.keys, usages(kms.keys, found.keys))
    for store, result in zip(stores, results):
        result["keys"] = keys_by_store.get(store.id, []) if store else []
        result["keys_not_described"] = found.missing()
