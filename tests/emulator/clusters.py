# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudHSM clusters, as moto's CloudHSM v2 has them, and what KMS asks of them (R20, R25)."""

from __future__ import annotations

from typing import Any
from typing import cast

import botocore.session
from botocore.model import StringShape
from moto.cloudhsmv2.models import CloudHSMV2Backend
from moto.cloudhsmv2.models import Cluster
from moto.cloudhsmv2.models import cloudhsmv2_backends
from moto.moto_api._internal import mock_random

from .exceptions import CloudHsmClusterInvalidConfigurationException
from .exceptions import CloudHsmClusterNotActiveException
from .exceptions import CloudHsmClusterNotFoundException
from .exceptions import IncorrectTrustAnchorException
from .rules import Rules

HSM_TYPE = "hsm2m.medium"


def made_up_id(prefix: str) -> str:
    """An id such as CloudHSM makes: the prefix and 11 characters of Base32."""
    letters = "".join(mock_random.choice("234567abcdefghijklmnopqrstuvwxyz") for _turn in range(11))
    return f"{prefix}-{letters}"


class Clusters:
    """The clusters of one account and Region.

    A cluster that moto does not have, and that was not created here, is taken for good, unless the rule
    clusters_must_exist is on: so a test of custom key stores needs no cluster.
    """

    def __init__(self, *, account_id: str, region_name: str, rules: Rules) -> None:
        self._account_id = account_id
        self._region_name = region_name
        self._rules = rules
        self._certificates: dict[str, str] = {}
        """Of all clusters created here, deleted ones included."""

    def create(self, *, active_hsms: int, zones: int, state: str, certificate: str | None, source: str | None) -> str:
        """Create a cluster. Returns its id. See Control.create_cluster."""
        _check_state(state)
        _check_size(active_hsms, zones)
        moto = self._moto_backend()
        if moto is None:
            raise ValueError(f"There is no CloudHSM in Region {self._region_name}.")
        source_backup = self._backup_of(source) if source is not None else None
        cluster_id = made_up_id("cluster")
        known = moto.create_cluster(None, HSM_TYPE, source_backup, [], None, None, None)["ClusterId"]
        cluster = moto.clusters.pop(known)
        # moto's own ids are such that KMS refuses them.
        moto.clusters[cluster_id] = cluster
        for backup in moto.backups.values():
            if backup.cluster_id == known:
                backup.cluster_id = cluster_id
        cluster.cluster_id = cluster_id
        cluster.subnet_mapping = {
            f"{self._region_name}{letter}": f"subnet-{mock_random.get_random_hex(17)}" for letter in "abcdef"[:zones]
        }
        anchor = self._certificates[source] if source else certificate or _made_up(cluster_id)
        self.change(cluster_id, state=state, active_hsms=active_hsms, certificate=anchor)
        return cluster_id

    def change(
        self, cluster_id: str, *, state: str | None, active_hsms: int | None, certificate: str | None = None
    ) -> None:
        """Change a cluster. See Control.set_cluster."""
        cluster = self.find(cluster_id)
        if cluster is None:
            raise ValueError(f"There is no cluster {cluster_id!r}.")
        if state is not None:
            _check_state(state)
        if active_hsms is not None:
            _check_size(active_hsms, len(cluster.subnet_mapping))
            added = [_new_hsm(cluster, number) for number in range(len(cluster.hsms), active_hsms)]
            cluster.hsms = [*cluster.hsms[:active_hsms], *added]
        if certificate is not None:
            self._certificates[cluster_id] = certificate
            cluster.certificates = {**cluster.certificates, "ClusterCertificate": certificate}
        cluster.state = state or cluster.state
        cluster.state_message = f"The cluster is {cluster.state}."

    def forget(self) -> None:
        """Take all clusters that were created here out of moto."""
        moto = self._moto_backend() if self._certificates else None
        for cluster_id in self._certificates:
            if moto is not None:
                moto.clusters.pop(cluster_id, None)
        self._certificates.clear()

    def find(self, cluster_id: str) -> Cluster | None:
        """The cluster with this id, if moto has it."""
        moto = self._moto_backend()
        cluster: Cluster | None = moto.clusters.get(cluster_id) if moto is not None else None
        return cluster if cluster is not None and cluster.state != "DELETED" else None

    def certificate(self, cluster_id: str) -> str | None:
        """The certificate of a cluster that was created here; it may be gone by now."""
        return self._certificates.get(cluster_id)

    def related(self, cluster_id: str, other_id: str) -> bool | None:
        """Do two clusters share a backup history, hence a certificate? None: nothing is known of one of them."""
        if cluster_id == other_id:
            return True
        certificates = self._certificates
        if cluster_id not in certificates or other_id not in certificates:
            return None
        return certificates[cluster_id] == certificates[other_id]

    # What KMS checks

    def check(self, cluster_id: str) -> None:
        """Is a cluster fit for CreateCustomKeyStore and UpdateCustomKeyStore? Raises KMS's errors (R20)."""
        cluster = self.find(cluster_id)
        if cluster is None:
            if self._missing(cluster_id):
                raise CloudHsmClusterNotFoundException()
        elif cluster.state != "ACTIVE":
            raise CloudHsmClusterNotActiveException()
        self.check_hsms(cluster_id)

    def check_hsms(self, cluster_id: str) -> None:
        """Raises CloudHsmClusterInvalidConfigurationException without two active HSMs in different zones (R20)."""
        cluster = self.find(cluster_id)
        if cluster is not None and len({hsm["AvailabilityZone"] for hsm in _active_hsms(cluster)}) < 2:
            raise CloudHsmClusterInvalidConfigurationException(
                "The CloudHSM cluster needs at least two active HSMs in different Availability Zones."
            )

    def check_trust_anchor(self, cluster_id: str, certificate: str) -> None:
        """Raises IncorrectTrustAnchorException if this is not the cluster's certificate, white space aside."""
        expected = self._certificates.get(cluster_id)
        if expected is not None and expected.split() != certificate.split():
            raise IncorrectTrustAnchorException()

    def failure(self, cluster_id: str) -> str | None:
        """Why KMS cannot connect to a cluster: a ConnectionErrorCode, or the exception of a fast failure (R2)."""
        cluster = self.find(cluster_id)
        if cluster is None:
            return "CLUSTER_NOT_FOUND" if self._missing(cluster_id) else None
        if cluster.state != "ACTIVE":
            return "CloudHsmClusterNotActiveException"
        return None if _active_hsms(cluster) else "INSUFFICIENT_CLOUDHSM_HSMS"

    def _missing(self, cluster_id: str) -> bool:
        return cluster_id in self._certificates or self._rules.clusters_must_exist

    def _moto_backend(self) -> CloudHSMV2Backend | None:
        account = cloudhsmv2_backends[self._account_id]
        if self._region_name not in account:
            return None
        # Not get(): moto makes a Region's backend when it is asked for like this.
        return account[self._region_name]

    def _backup_of(self, cluster_id: str) -> str:
        moto = self._moto_backend()
        backups = moto.backups.values() if moto is not None else ()
        found = [cast(str, backup.backup_id) for backup in backups if backup.cluster_id == cluster_id]
        if not found or cluster_id not in self._certificates:
            raise ValueError(f"There is no backup of cluster {cluster_id!r}.")
        return found[0]


def _active_hsms(cluster: Cluster) -> list[dict[str, Any]]:
    return [hsm for hsm in cluster.hsms if hsm["State"] == "ACTIVE"]


def _new_hsm(cluster: Cluster, number: int) -> dict[str, Any]:
    """An HSM as cloudhsmv2 describes it; HSMs take turns in the cluster's zones."""
    zone, subnet = list(cluster.subnet_mapping.items())[number % len(cluster.subnet_mapping)]
    return {
        "AvailabilityZone": zone,
        "ClusterId": cluster.cluster_id,
        "SubnetId": subnet,
        "EniId": f"eni-{mock_random.get_random_hex(17)}",
        "EniIp": f"10.0.{number % len(cluster.subnet_mapping)}.{number + 10}",
        "HsmId": made_up_id("hsm"),
        "HsmType": cluster.hsm_type,
        "State": "ACTIVE",
        "StateMessage": "The HSM is ready for use.",
    }


def _made_up(cluster_id: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{cluster_id.removeprefix('cluster-')}\n-----END CERTIFICATE-----\n"


def _check_state(state: str) -> None:
    model = botocore.session.get_session().get_service_model("cloudhsmv2")
    states = cast(StringShape, model.shape_for("ClusterState")).enum
    if state not in states:
        raise ValueError(f"A cluster has no state {state!r}; there are: {', '.join(sorted(states))}.")


def _check_size(active_hsms: int, zones: int) -> None:
    if not 0 <= active_hsms <= 28:
        raise ValueError("A cluster has 0 to 28 HSMs.")
    if not 1 <= zones <= 6:
        raise ValueError("A cluster has 1 to 6 Availability Zones.")
