# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The AWS CloudHSM clusters behind custom key stores."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from datetime import datetime
from datetime import timezone
from typing import Any
from typing import Collection
from typing import Mapping
from typing import Optional

with suppress(ImportError):  # AnsibleAWSModule says which library is missing
    import botocore.exceptions

ACTIVE = "ACTIVE"
DELETED = "DELETED"

_REMEDIES: Mapping[str, str] = {
    "CREATE_IN_PROGRESS": "Wait until it is UNINITIALIZED, then initialize and activate it.",
    "UNINITIALIZED": "Initialize and activate it.",
    "INITIALIZE_IN_PROGRESS": "Wait until it is INITIALIZED, then activate it.",
    "INITIALIZED": "Activate it (cloudhsm-cli cluster activate).",
    "UPDATE_IN_PROGRESS": "Wait until it is ACTIVE.",
    "MODIFY_IN_PROGRESS": "The type of its HSMs is being changed: wait until it is ACTIVE.",
    "ROLLBACK_IN_PROGRESS": "A change of the type of its HSMs is being rolled back: wait until it is ACTIVE.",
    "DELETE_IN_PROGRESS": "It is being deleted: create a cluster from a recent backup.",
    DELETED: "Create a cluster from a recent backup.",
    "DEGRADED": "Fix it: see its state message in AWS CloudHSM.",
}


def remedy_of_state(state: str) -> str:
    """What to do about a cluster that is not ACTIVE, in a sentence."""
    return _REMEDIES.get(state, "Wait until it is ACTIVE.")


@dataclass(frozen=True)
class Cluster:
    """A CloudHSM cluster, with the properties that matter to a custom key store.

    Attributes:
        id: of the cluster.
        state: C(ClusterState) of CloudHSM's model; None if unknown, or if the cluster does not exist.
        hsms: the number of HSMs, by state and then by Availability Zone; None if unknown.
        problem: why the cluster is not described; None when it is.
        hsm_type: such as C(hsm2m.medium); during a change, the new type. This attribute and those below are None or empty if AWS
            CloudHSM, or an older SDK, does not report them.
        hsm_types: the number of HSMs, by type.
        mode: C(FIPS) or C(NON_FIPS).
        network_type: C(IPV4) or C(DUALSTACK).
        rollback_until: until when the change of the type of its HSMs can be rolled back; with a time zone.
        subnets: the id of its subnet, by Availability Zone.
        security_group: the id of its security group.
        addresses: of its HSMs, IPv4 and IPv6.
    """

    id: str
    state: Optional[str] = None
    hsms: Optional[Mapping[str, Mapping[str, int]]] = None
    problem: Optional[str] = None
    hsm_type: Optional[str] = None
    hsm_types: Mapping[str, int] = field(default_factory=dict)
    mode: Optional[str] = None
    network_type: Optional[str] = None
    rollback_until: Optional[datetime] = None
    subnets: Mapping[str, str] = field(default_factory=dict)
    security_group: Optional[str] = None
    addresses: Collection[str] = ()

    @property
    def active_hsms(self) -> Optional[int]:
        """KMS needs one to connect a store, and two in different Availability Zones to create or change one (R20)."""
        return None if self.hsms is None else sum(self.hsms.get(ACTIVE, {}).values())

    @property
    def is_known(self) -> bool:
        """Did AWS CloudHSM describe it, or report that it does not exist?"""
        return self.state is not None or self.hsms is not None

    def flaw(self, *, zones: int) -> Optional[str]:
        """Why KMS cannot use the cluster, and what to do: the end of a sentence that begins with its id.

        Args:
            zones: in how many Availability Zones KMS needs an active HSM.

        Returns:
            None if KMS can use it, or if that is unknown.
        """
        if not self.is_known:
            return None
        if self.state is None:
            return f"does not exist. {self.problem}"
        if self.state != ACTIVE:
            return f"is {self.state}, and must be {ACTIVE}. {remedy_of_state(self.state)}"
        found = len((self.hsms or {}).get(ACTIVE, {}))
        if found >= zones:
            return None
        if zones == 1:
            return "has no active HSM, and needs one. Add an HSM to it, and wait until that is ACTIVE."
        return (
            f"has {self.active_hsms} active HSMs, in {found} Availability Zones, and needs {zones} in different zones."
            " Add HSMs to it, and wait until they are ACTIVE."
        )

    def to_result(self) -> dict[str, Any]:
        """C(cloud_hsm_cluster) of a store for the result of a task."""
        until = self.rollback_until
        details = {
            "problem": self.problem,
            "hsm_type": self.hsm_type,
            "hsm_types": dict(self.hsm_types) or None,
            "mode": self.mode,
            "network_type": self.network_type,
            "hsm_type_rollback_expiration": until and until.astimezone(timezone.utc).isoformat(timespec="seconds"),
            "subnets": dict(self.subnets) or None,
            "security_group": self.security_group,
        }
        return {
            "cluster_id": self.id,
            "state": self.state,
            "hsms": self.hsms,
            "active_hsms": self.active_hsms,
            **{name: value for name, value in details.items() if value is not None},
        }


def describe_clusters(cloudhsm: Any, cluster_ids: Collection[str]) -> dict[str, Cluster]:
    """Describe the clusters with these ids. If AWS CloudHSM does not report one, its C(problem) says why; nothing is raised.

    Args:
        cloudhsm: a boto3 client for C(cloudhsmv2).
        cluster_ids: which clusters; with none, no request is made.
    """
    if not cluster_ids:
        return {}
    try:
        pages = cloudhsm.get_paginator("describe_clusters").paginate(Filters={"clusterIds": sorted(cluster_ids)})
        found = {entry["ClusterId"]: _cluster(entry) for page in pages for entry in page["Clusters"]}
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        problem = f"AWS CloudHSM was asked for the cluster, but: {str(error).rstrip('.')}. {_REMEDY}"
        return {each: Cluster(each, problem=problem) for each in cluster_ids}
    return {each: found.get(each, _gone(each)) for each in cluster_ids}


_REMEDY = "Check that the caller has cloudhsm:DescribeClusters, and that the managed host reaches AWS CloudHSM."


def _cluster(entry: Mapping[str, Any]) -> Cluster:
    hsms: dict[str, dict[str, int]] = {}
    for hsm in entry.get("Hsms", []):
        zones = hsms.setdefault(hsm["State"], {})
        zones[hsm["AvailabilityZone"]] = zones.get(hsm["AvailabilityZone"], 0) + 1
    return Cluster(
        entry["ClusterId"],
        entry["State"],
        hsms,
        hsm_type=entry.get("HsmType"),
        hsm_types=Counter(hsm["HsmType"] for hsm in entry.get("Hsms", []) if "HsmType" in hsm),
        mode=entry.get("Mode"),
        network_type=entry.get("NetworkType"),
        rollback_until=entry.get("HsmTypeRollbackExpiration"),
        subnets=entry.get("SubnetMapping", {}),
        security_group=entry.get("SecurityGroup"),
        addresses=tuple(hsm[of] for hsm in entry.get("Hsms", []) for of in ("EniIp", "EniIpV6") if of in hsm),
    )


def _gone(cluster_id: str) -> Cluster:
    return Cluster(
        cluster_id,
        hsms={},
        problem=f"There is no CloudHSM cluster {cluster_id} in this account and Region. If it was deleted, create one from a"
        " recent backup, and tell KMS its id while the store is disconnected (cloud_hsm_cluster_id).",
    )
