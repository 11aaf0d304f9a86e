# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudHSM clusters of moto's CloudHSM v2, and the requirements of KMS (R20)."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from moto.cloudhsmv2.models import CloudHSMV2Backend
from moto.cloudhsmv2.models import Cluster
from moto.cloudhsmv2.models import cloudhsmv2_backends

from .exceptions import CloudHsmClusterInvalidConfigurationException
from .exceptions import CloudHsmClusterNotActiveException
from .exceptions import CloudHsmClusterNotFoundException
from .rules import Rules

CHANGING = frozenset({"MODIFY_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"})
"""States of a cluster during a change of its HSM type, or a rollback. The cluster can be read meanwhile (R35)."""


class Clusters:
    """The clusters of one account and Region.

    A cluster that moto does not have is valid, unless the rule clusters_must_exist is set. So tests of custom key stores need
    no cluster.
    """

    def __init__(self, *, account_id: str, region_name: str, rules: Rules) -> None:
        self._account_id = account_id
        self._region_name = region_name
        self._rules = rules

    def find(self, cluster_id: str) -> Cluster | None:
        """Return the cluster with this ID, if moto has it and it is not deleted."""
        moto = self.moto_backend()
        cluster: Cluster | None = moto.clusters.get(cluster_id) if moto is not None else None
        return cluster if cluster is not None and cluster.state != "DELETED" else None

    def related(self, cluster_id: str, other_id: str) -> bool | None:
        """Whether two clusters share a backup history. None: one of them is unknown."""
        return True if cluster_id == other_id else None

    def check(self, cluster_id: str) -> None:
        """Check a cluster for CreateCustomKeyStore and UpdateCustomKeyStore. Raises KMS's errors (R20)."""
        cluster = self.find(cluster_id)
        if cluster is None:
            if self.is_missing(cluster_id):
                raise CloudHsmClusterNotFoundException()
        elif cluster.state != "ACTIVE":
            raise CloudHsmClusterNotActiveException()
        self._check_hsms(cluster)

    def check_for_key(self, cluster_id: str) -> None:
        """Check a cluster for CreateKey, whose only error for clusters is CloudHsmClusterInvalidConfigurationException (R34)."""
        cluster = self.find(cluster_id)
        missing = cluster is None and self.is_missing(cluster_id)
        if missing or (cluster is not None and cluster.state != "ACTIVE"):
            raise CloudHsmClusterInvalidConfigurationException(
                "The CloudHSM cluster of the custom key store is not active."
            )
        self._check_hsms(cluster)

    def _check_hsms(self, cluster: Cluster | None) -> None:
        hsms = self.active_hsms(cluster) if cluster is not None else None
        if hsms is not None and len({hsm["AvailabilityZone"] for hsm in hsms}) < 2:
            raise CloudHsmClusterInvalidConfigurationException(
                "The CloudHSM cluster needs at least two active HSMs in different Availability Zones."
            )

    def failure(self, cluster_id: str) -> str | None:
        """Return the reason for a failing connect: a ConnectionErrorCode, or the exception of a fast failure (R2)."""
        cluster = self.find(cluster_id)
        if cluster is not None and cluster.state in CHANGING and not self._rules.connect_is_refused_while_hsms_change:
            return "INTERNAL_ERROR"
        return self._failure(cluster_id, cluster, {"ACTIVE"})

    def failure_of_use(self, cluster_id: str) -> str | None:
        """The same, why a store that is connected to a cluster cannot use keys in it."""
        return self._failure(cluster_id, self.find(cluster_id), {"ACTIVE", *CHANGING})

    def _failure(self, cluster_id: str, cluster: Cluster | None, states: Set[str]) -> str | None:
        if cluster is None:
            return "CLUSTER_NOT_FOUND" if self.is_missing(cluster_id) else None
        if cluster.state not in states:
            return "CloudHsmClusterNotActiveException"
        return "INSUFFICIENT_CLOUDHSM_HSMS" if self.active_hsms(cluster) == [] else None

    def active_hsms(self, cluster: Cluster) -> list[dict[str, Any]] | None:
        """Return the ACTIVE HSMs of a cluster. None: unknown, because moto has no CreateHsm."""
        return None

    def is_missing(self, cluster_id: str) -> bool:
        """Whether an ID that find() does not find counts as a missing cluster."""
        return self._rules.clusters_must_exist

    def moto_backend(self) -> CloudHSMV2Backend | None:
        """Return moto's CloudHSM v2, or None if the Region has none."""
        account = cloudhsmv2_backends[self._account_id]
        if self._region_name not in account:
            return None
        # Not get(): only this access makes moto create the backend of the Region.
        return account[self._region_name]
