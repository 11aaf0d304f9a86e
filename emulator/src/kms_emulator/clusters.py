# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudHSM clusters that a test creates, with all properties that KMS checks (R20, R25)."""

from __future__ import annotations

import datetime
import functools
from dataclasses import dataclass
from typing import Any
from typing import cast

import botocore.session
from botocore.model import StringShape
from moto.cloudhsmv2.models import Cluster
from moto.moto_api._internal import mock_random

from .custom_key_stores.clusters import CHANGING
from .custom_key_stores.clusters import Clusters
from .custom_key_stores.exceptions import IncorrectTrustAnchorException
from .custom_key_stores.rules import Rules

HSM_TYPE = "hsm2m.medium"
HSM_TYPES = ("hsm1.medium", HSM_TYPE)
MODES = ("FIPS", "NON_FIPS")
NETWORK_TYPES = ("IPV4", "DUALSTACK")


def generate_id(prefix: str) -> str:
    """Generate an ID in the format of CloudHSM: the prefix and 11 characters of Base32."""
    letters = "".join(mock_random.choice("234567abcdefghijklmnopqrstuvwxyz") for _turn in range(11))
    return f"{prefix}-{letters}"


class EmulatedCluster(Cluster):
    """moto's cluster, with properties that moto does not model."""

    def __init__(self, moto_cluster: Cluster) -> None:
        self.__dict__.update(vars(moto_cluster))
        self.security_group: str | None = None
        """Its ID, if the cluster has a network in moto's EC2."""
        self.rollback_expiration: datetime.datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the cluster as in DescribeClusters. Without a network, omit its IDs, which moto's EC2 would not find."""
        described: dict[str, Any] = super().to_dict()
        if self.security_group is None:
            del described["SubnetMapping"]
        else:
            described["SecurityGroup"] = self.security_group
        if self.rollback_expiration is not None:
            described["HsmTypeRollbackExpiration"] = self.rollback_expiration
        return described


@dataclass(frozen=True)
class Kind:
    """The type of a cluster. Raises ValueError for a value that CloudHSM does not have."""

    hsm_type: str = HSM_TYPE
    mode: str = MODES[0]
    network_type: str = NETWORK_TYPES[0]

    def __post_init__(self) -> None:
        _check_in("HSM type", self.hsm_type, HSM_TYPES)
        _check_in("mode", self.mode, MODES)
        _check_in("network type", self.network_type, NETWORK_TYPES)
        if (self.hsm_type, self.mode) == ("hsm1.medium", "NON_FIPS"):
            raise ValueError("HSMs of the type hsm1.medium have the mode FIPS only.")


class EmulatedClusters(Clusters):
    """The clusters of one account and Region: moto's, and the certificates of clusters that the emulator created."""

    def __init__(self, *, account_id: str, region_name: str, rules: Rules) -> None:
        super().__init__(account_id=account_id, region_name=region_name, rules=rules)
        self._certificates: dict[str, str] = {}
        """By ID, for all clusters created by the emulator, including deleted ones."""

    def create(
        self,
        *,
        active_hsms: int,
        zones: int,
        state: str,
        certificate: str | None,
        source: str | None,
        kind: Kind | None = None,
        network: bool = False,
    ) -> str:
        """Create a cluster. Returns its id. See Control.create_cluster."""
        _check_state(state)
        _check_size(active_hsms, zones)
        kind = kind or Kind()
        moto = self.moto_backend()
        if moto is None:
            raise ValueError(f"There is no CloudHSM in Region {self._region_name}.")
        source_backup = self._backup_of(source) if source is not None else None
        cluster_id = generate_id("cluster")
        moto_id = moto.create_cluster(None, kind.hsm_type, source_backup, [], kind.network_type, None, kind.mode)[
            "ClusterId"
        ]
        # KMS rejects the format of moto's own IDs.
        cluster = moto.clusters[cluster_id] = EmulatedCluster(moto.clusters.pop(moto_id))
        for backup in moto.backups.values():
            if backup.cluster_id == moto_id:
                backup.cluster_id = cluster_id
        cluster.cluster_id = cluster_id
        cluster.subnet_mapping = {
            f"{self._region_name}{letter}": f"subnet-{mock_random.get_random_hex(17)}" for letter in "abcdef"[:zones]
        }
        if network:
            self._create_network(cluster)
        anchor = self._certificates[source] if source else certificate or _generate_certificate(cluster_id)
        self.change(cluster_id, state=state, active_hsms=active_hsms, certificate=anchor)
        return cluster_id

    def _create_network(self, cluster: EmulatedCluster) -> None:
        """Create a VPC, subnets and a security group in moto's EC2, to replace the random IDs of the cluster."""
        from moto.ec2.models import ec2_backends  # takes two seconds, and few tests need it

        ec2 = ec2_backends[self._account_id][self._region_name]
        vpc = ec2.create_vpc("10.0.0.0/16")
        cluster.vpc_id = vpc.id
        cluster.subnet_mapping = {
            zone: ec2.create_subnet(vpc.id, f"10.0.{number}.0/24", availability_zone=zone).id
            for number, zone in enumerate(cluster.subnet_mapping)
        }
        name = f"cloudhsm-{cluster.cluster_id}-sg"
        group = ec2.create_security_group(name, f"CloudHSM cluster {cluster.cluster_id}", vpc_id=vpc.id)
        ec2.authorize_security_group_ingress(group.id, "tcp", "2223", "2225", [], source_groups=[{"GroupId": group.id}])
        cluster.security_group = group.id

    def change(
        self,
        cluster_id: str,
        *,
        state: str | None,
        active_hsms: int | None,
        certificate: str | None = None,
        hsm_type: str | None = None,
        rollback_expiration: datetime.datetime | None = None,
    ) -> None:
        """Change a cluster. See Control.set_cluster."""
        cluster = self.find(cluster_id)
        if cluster is None:
            raise ValueError(f"There is no cluster {cluster_id!r}.")
        if state is not None:
            _check_state(state)
        _check_in("HSM type", hsm_type or HSM_TYPE, HSM_TYPES)
        if active_hsms is not None:
            _check_size(active_hsms, len(cluster.subnet_mapping))
            added = [_new_hsm(cluster, number) for number in range(len(cluster.hsms), active_hsms)]
            cluster.hsms = [*cluster.hsms[:active_hsms], *added]
        if certificate is not None:
            self._certificates[cluster_id] = certificate
            cluster.certificates = {**cluster.certificates, "ClusterCertificate": certificate}
        if rollback_expiration is not None:
            cluster.rollback_expiration = rollback_expiration
        cluster.hsm_type = hsm_type or cluster.hsm_type
        cluster.state = state or cluster.state
        cluster.state_message = f"The cluster is {cluster.state}."
        if cluster.state not in CHANGING:
            # During the change, the HSMs keep the old type.
            cluster.hsms = [{**hsm, "HsmType": cluster.hsm_type} for hsm in cluster.hsms]

    def forget(self) -> None:
        """Remove all clusters that the emulator created from moto."""
        moto = self.moto_backend() if self._certificates else None
        for cluster_id in self._certificates:
            if moto is not None:
                moto.clusters.pop(cluster_id, None)
        self._certificates.clear()

    def certificate(self, cluster_id: str) -> str | None:
        """Return the certificate of a cluster that the emulator created, even if it is deleted."""
        return self._certificates.get(cluster_id)

    def related(self, cluster_id: str, other_id: str) -> bool | None:
        """Whether two clusters share a backup history, and so a certificate. None: one of them is unknown."""
        if cluster_id == other_id:
            return True
        certificates = self._certificates
        if cluster_id not in certificates or other_id not in certificates:
            return None
        return certificates[cluster_id] == certificates[other_id]

    def check_trust_anchor(self, cluster_id: str, certificate: str) -> None:
        """Raises IncorrectTrustAnchorException if this is not the cluster's certificate. Ignores white space."""
        expected = self._certificates.get(cluster_id)
        if expected is not None and expected.split() != certificate.split():
            raise IncorrectTrustAnchorException()

    def active_hsms(self, cluster: Cluster) -> list[dict[str, Any]] | None:
        """Return the ACTIVE HSMs of a cluster."""
        return [hsm for hsm in cluster.hsms if hsm["State"] == "ACTIVE"]

    def is_missing(self, cluster_id: str) -> bool:
        """Whether an ID that moto does not have counts as a missing cluster. If the emulator created it, it is deleted."""
        return cluster_id in self._certificates or super().is_missing(cluster_id)

    def _backup_of(self, cluster_id: str) -> str:
        moto = self.moto_backend()
        backups = moto.backups.values() if moto is not None else ()
        found = [cast(str, backup.backup_id) for backup in backups if backup.cluster_id == cluster_id]
        if not found or cluster_id not in self._certificates:
            raise ValueError(f"There is no backup of cluster {cluster_id!r}.")
        return found[0]


def _new_hsm(cluster: Cluster, number: int) -> dict[str, Any]:
    """Return an HSM as in DescribeClusters, in the zones of the cluster in turn."""
    zone, subnet = list(cluster.subnet_mapping.items())[number % len(cluster.subnet_mapping)]
    ipv6 = {"EniIpV6": f"2001:db8::{number + 10:x}"} if cluster.network_type == "DUALSTACK" else {}
    return {
        "AvailabilityZone": zone,
        "ClusterId": cluster.cluster_id,
        "SubnetId": subnet,
        "EniId": f"eni-{mock_random.get_random_hex(17)}",
        "EniIp": f"10.0.{number % len(cluster.subnet_mapping)}.{number + 10}",
        **ipv6,
        "HsmId": generate_id("hsm"),
        "HsmType": cluster.hsm_type,
        "State": "ACTIVE",
        "StateMessage": "The HSM is ready for use.",
    }


def _generate_certificate(cluster_id: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{cluster_id.removeprefix('cluster-')}\n-----END CERTIFICATE-----\n"


@functools.cache
def _states() -> tuple[str, ...]:
    model = botocore.session.get_session().get_service_model("cloudhsmv2")
    return tuple(cast(StringShape, model.shape_for("ClusterState")).enum)


def _check_state(state: str) -> None:
    if state not in _states():
        raise ValueError(f"A cluster has no state {state!r}; there are: {', '.join(sorted(_states()))}.")


def _check_in(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"A cluster has no {what} {value!r}; there are: {', '.join(known)}.")


def _check_size(active_hsms: int, zones: int) -> None:
    if not 0 <= active_hsms <= 28:
        raise ValueError("A cluster has 0 to 28 HSMs.")
    if not 1 <= zones <= 6:
        raise ValueError("A cluster has 1 to 6 Availability Zones.")
