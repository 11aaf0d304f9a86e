# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks whether KMS could connect to the CloudHSM cluster of a key store, from what AWS CloudHSM and Amazon EC2 report."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from datetime import timezone
from ipaddress import IPv4Network
from ipaddress import collapse_addresses
from typing import Any
from typing import Callable
from typing import Iterable
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Union

with suppress(ImportError):  # AnsibleAWSModule says which library is missing
    import botocore.exceptions

from .clusters import ACTIVE
from .clusters import DELETED
from .clusters import Cluster
from .clusters import remedy_of_state
from .prediction import Check
from .prediction import Outcome

PORTS = (2223, 2224, 2225)
"""TCP ports between KMS and the HSMs."""

OLD_TYPE = "hsm1.medium"

_STATE = "State of the CloudHSM cluster"
_HSMS = "HSMs of the cluster"
_TYPE = "HSM type of the cluster"
_ROLLBACK = "Rollback of the HSM type"
_NETWORK_TYPE = "Network type of the cluster"
_NETWORK = "Network of the cluster"
_SUBNETS = "Subnets of the cluster"
_GROUP = "Security group of the cluster"

_REMEDY_PASSWORD = (
    "set the password of kmsuser in the cluster and tell it to KMS before you connect (the playbook"  # noqa: S105
    " keyops.aws.rotate_kmsuser_password)"
)
_REMEDY_GONE = (
    "Create a cluster from a recent backup, and tell KMS its id while the store is disconnected (cloud_hsm_cluster_id)."
)


def check_cluster(cluster: Cluster, ec2: Any | None, *, now: datetime) -> list[Check]:
    """Check what would keep KMS from connecting to a cluster, or soon could. Raises nothing for what cannot be described.

    Args:
        cluster: as C(describe_clusters) returned it.
        ec2: a boto3 client for Amazon EC2, for the subnets and the security group; None leaves these unknown.
        now: with a time zone.

    Returns:
        The checks, those of the cluster before those of its network. At least one.
    """
    if not cluster.is_known:
        return [Check(_STATE, Outcome.UNKNOWN, cluster.problem or f"Nothing is known of {_named(cluster)}.")]
    if cluster.state in (None, DELETED):
        text = cluster.problem or f"{_named(cluster, 'The')} is {DELETED}. {_REMEDY_GONE}"
        return [Check(_STATE, Outcome.FAILED, text, "CLUSTER_NOT_FOUND")]
    return [
        _state(cluster),
        _hsms(cluster),
        *_rollback(cluster, now),
        *_type(cluster),
        *_network_type(cluster),
        *_network(cluster, ec2),
    ]


def _named(cluster: Cluster, article: str = "the") -> str:
    return f"{article} CloudHSM cluster {cluster.id}"


# ---- what AWS CloudHSM reports


def _state(cluster: Cluster) -> Check:
    """If the cluster is not ACTIVE, ConnectCustomKeyStore raises CloudHsmClusterNotActiveException, so there is no error code."""
    name = _named(cluster, "The")
    if cluster.state == ACTIVE:
        return Check(_STATE, Outcome.PASSED, f"{name} is {ACTIVE}.")
    text = f"{name} is {cluster.state}, and must be {ACTIVE}. {remedy_of_state(cluster.state or '')}"
    if cluster.state in ("MODIFY_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"):
        text += (
            f" It takes about 30 minutes for each HSM{_progress(cluster)}. Until then no user of the cluster can be changed, but"
            " a connect changes the password of kmsuser: do not disconnect a store that is connected."
        )
    if cluster.state == "ROLLBACK_IN_PROGRESS":
        text += (
            " If the store was connected anew since the change of the type began, kmsuser may then have its earlier password:"
            f" {_REMEDY_PASSWORD}."
        )
    return Check(_STATE, Outcome.FAILED, text)


def _progress(cluster: Cluster) -> str:
    """The progress of a change of the type, in parentheses."""
    total = sum(cluster.hsm_types.values())
    if not total or not cluster.hsm_type:
        return ""
    return f" ({cluster.hsm_types.get(cluster.hsm_type, 0)} of {total} are {cluster.hsm_type} by now)"


def _hsms(cluster: Cluster) -> Check:
    name = _named(cluster, "The")
    if cluster.hsms is None:
        return Check(_HSMS, Outcome.UNKNOWN, f"It is not known which HSMs {_named(cluster)} has.")
    zones = cluster.hsms.get(ACTIVE, {})
    count = sum(zones.values())
    if not count:
        text = f"{name} has no active HSM, and needs one. Add an HSM to it, and wait until that is {ACTIVE}."
        return Check(_HSMS, Outcome.FAILED, text, "INSUFFICIENT_CLOUDHSM_HSMS")
    if len(zones) > 1:
        return Check(_HSMS, Outcome.PASSED, f"{name} has {count} active HSMs in {len(zones)} Availability Zones.")
    (zone,) = zones
    has = "1 active HSM" if count == 1 else f"{count} active HSMs, all in {zone}"
    what = "that HSM" if count == 1 else "that zone"
    return Check(
        _HSMS,
        Outcome.WARNING,
        f"{name} has {has}. That is enough to connect. If {what} fails, KMS can no longer connect. To create or change a key"
        " store, or to create a KMS key in it, KMS needs two active HSMs in different Availability Zones. Add an HSM in another"
        " zone.",
    )


def _rollback(cluster: Cluster, now: datetime) -> list[Check]:
    until = cluster.rollback_until
    if until is None or until <= now or cluster.state == "ROLLBACK_IN_PROGRESS":
        return []
    if cluster.hsm_type == OLD_TYPE:
        # During a change of the type, and after it, the cluster reports the new one.
        text = (
            f"The change of the HSM type of {_named(cluster)} seems to have been rolled back. If the store was connected anew in"
            " between, kmsuser may have its earlier password now, and a connect would end with INVALID_CREDENTIALS. AWS's"
            f" documents do not state this plainly. If in doubt, {_REMEDY_PASSWORD}."
        )
        return [Check(_ROLLBACK, Outcome.WARNING, text)]
    at = until.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    text = (
        f"Until {at}, you can roll back {_named(cluster)} to its earlier HSM type. A connect changes the password of kmsuser. A"
        " rollback after that probably restores the earlier password, and then the next connect fails with INVALID_CREDENTIALS."
        " AWS's documents do not state this plainly. They say only that keys and users created since the change are lost."
        f" Connect after that time. If you have rolled back the cluster, {_REMEDY_PASSWORD}."
    )
    return [Check(_ROLLBACK, Outcome.WARNING, text)]


def _type(cluster: Cluster) -> list[Check]:
    if cluster.hsm_type != OLD_TYPE:
        return []
    text = (
        f"{_named(cluster, 'The')} has HSMs of the type {OLD_TYPE}. AWS's documents disagree on the end of its support: 1"
        " December 2025 or 31 March 2026. Change the type: see the guide to the HSM type of a cluster."
    )
    return [Check(_TYPE, Outcome.WARNING, text)]


def _network_type(cluster: Cluster) -> list[Check]:
    if cluster.network_type != "DUALSTACK":
        return []
    text = (
        f"The network type of {_named(cluster)} is DUALSTACK. That works, but KMS uses IPv4 only: keep IPv4 addresses free in its"
        " subnets, and rules for IPv4 in its security group."
    )
    return [Check(_NETWORK_TYPE, Outcome.WARNING, text)]


# ---- what Amazon EC2 reports


def _network(cluster: Cluster, ec2: Any | None) -> list[Check]:
    if ec2 is None:
        text = f"Amazon EC2 was not asked for the subnets and the security group of {_named(cluster)}."
        return [Check(_NETWORK, Outcome.UNKNOWN, text)]
    subnets, checks = _subnets(cluster, ec2)
    return [*checks, _security_group(cluster, ec2, subnets)]


def _subnets(cluster: Cluster, ec2: Any) -> tuple[Optional[list[IPv4Network]], list[Check]]:
    """The addresses of all its subnets, None if unknown; and the faults of the subnets."""
    if not cluster.subnets:
        text = f"AWS CloudHSM does not report the subnets of {_named(cluster)}."
        return None, [Check(_SUBNETS, Outcome.UNKNOWN, text)]
    # By a filter: for a list of ids, EC2 would return an error for the first that does not exist.
    ids = sorted(set(cluster.subnets.values()))
    found = _request(
        _SUBNETS,
        f"the subnets of {_named(cluster)} could not be described",
        "ec2:DescribeSubnets",
        lambda: ec2.describe_subnets(Filters=[{"Name": "subnet-id", "Values": ids}])["Subnets"],
    )
    if isinstance(found, Check):
        return None, [found]
    by_id = {subnet["SubnetId"]: subnet for subnet in found}
    checks = [_subnet(cluster, zone, each, by_id.get(each)) for zone, each in sorted(cluster.subnets.items())]
    addresses = [IPv4Network(subnet["CidrBlock"]) for subnet in by_id.values() if "CidrBlock" in subnet]
    flaws = [check for check in checks if check is not None]
    if flaws:
        return (addresses if len(addresses) == len(ids) else None), flaws
    least = min(subnet["AvailableIpAddressCount"] for subnet in by_id.values())
    text = f"Each of the {len(ids)} subnets of {_named(cluster)} exists and has free addresses, {least} or more."
    return addresses, [Check(_SUBNETS, Outcome.PASSED, text)]


def _subnet(cluster: Cluster, zone: str, subnet_id: str, subnet: Optional[Mapping[str, Any]]) -> Optional[Check]:
    """The fault of a subnet, None if it has none."""
    which = f"subnet {subnet_id} of {_named(cluster)} in {zone}"
    if subnet is None:
        text = f"The {which} does not exist. It cannot be given another. {_REMEDY_GONE}"
        return Check(_SUBNETS, Outcome.FAILED, text, "SUBNET_NOT_FOUND")
    free = subnet["AvailableIpAddressCount"]
    if free == 0:
        text = (
            f"The {which} has no free IP address, and KMS needs one in each. Free one, better two. A store that is connected may"
            " hold one itself; AWS's documents do not say whether a disconnect frees it."
        )
        return Check(_SUBNETS, Outcome.FAILED, text, "INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET")
    if free == 1:
        text = f"The {which} has one free IP address, which KMS needs; AWS advises two. Free another."
        return Check(_SUBNETS, Outcome.WARNING, text)
    return None


def _security_group(cluster: Cluster, ec2: Any, subnets: Optional[Sequence[IPv4Network]]) -> Check:
    group_id = cluster.security_group
    if group_id is None:
        return Check(_GROUP, Outcome.UNKNOWN, f"AWS CloudHSM does not report the security group of {_named(cluster)}.")
    found = _request(
        _GROUP,
        f"the security group {group_id} of {_named(cluster)} could not be described",
        "ec2:DescribeSecurityGroups",
        lambda: ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": [group_id]}])["SecurityGroups"],
    )
    if isinstance(found, Check):
        return found
    which = f"security group {group_id} of {_named(cluster)}"
    if not found:
        text = f"The {which} does not exist. It cannot be given another. {_REMEDY_GONE}"
        return Check(_GROUP, Outcome.FAILED, text, "NETWORK_ERRORS")
    inside = _Inside(group_id, subnets)
    answers = {
        "inbound": inside.is_open(found[0].get("IpPermissions", [])),
        "outbound": inside.is_open(found[0].get("IpPermissionsEgress", [])),
    }
    return _group_check(which, answers)


def _group_check(which: str, answers: Mapping[str, Optional[bool]]) -> Check:
    ports = f"TCP on the ports {PORTS[0]} to {PORTS[-1]}"
    closed = [direction for direction, answer in answers.items() if answer is False]
    unsure = [direction for direction, answer in answers.items() if answer is None]
    remedy = "with the group itself as source of the inbound, and as destination of the outbound rule"
    if closed:
        text = (
            f"The {which} does not allow {ports} within itself ({' and '.join(closed)}), by which KMS talks to the HSMs. Add the"
            f" rules again that AWS CloudHSM made, {remedy}."
        )
        return Check(_GROUP, Outcome.FAILED, text, "NETWORK_ERRORS")
    if unsure:
        text = (
            f"It is not known whether the {which} allows {ports} within itself ({' and '.join(unsure)}): its rules name"
            f" addresses or prefix lists. AWS asks for rules {remedy}."
        )
        return Check(_GROUP, Outcome.UNKNOWN, text)
    return Check(_GROUP, Outcome.PASSED, f"The {which} allows {ports} within itself.")


@dataclass(frozen=True)
class _Inside:
    """Traffic between the members of a security group, all in the given subnets."""

    group_id: str
    subnets: Optional[Sequence[IPv4Network]]
    """None if unknown."""

    def is_open(self, rules: Iterable[Mapping[str, Any]]) -> Optional[bool]:
        """Do the rules of one direction allow it on all ports? None if unknown."""
        rules = list(rules)
        answers = [self._allowed([rule for rule in rules if _is_for(rule, port)]) for port in PORTS]
        return False if False in answers else None if None in answers else True

    def _allowed(self, rules: Sequence[Mapping[str, Any]]) -> Optional[bool]:
        """The same for one port. All the rules are for that port."""
        if any(pair.get("GroupId") == self.group_id for rule in rules for pair in rule.get("UserIdGroupPairs", [])):
            return True
        ranges = [IPv4Network(each["CidrIp"], strict=False) for rule in rules for each in rule.get("IpRanges", [])]
        covered = self._covered(ranges)
        if covered is False and any(rule.get("PrefixListIds") for rule in rules):
            return None
        return covered

    def _covered(self, ranges: Sequence[IPv4Network]) -> Optional[bool]:
        """Are all the subnets in these ranges? None if only some are, or the addresses of the subnets are unknown."""
        joined = list(collapse_addresses(ranges))
        if any(each.prefixlen == 0 for each in joined):
            return True
        if not joined or self.subnets == []:
            return False
        if self.subnets is None:
            return None
        if all(any(subnet.subnet_of(each) for each in joined) for subnet in self.subnets):
            return True
        return None if any(subnet.overlaps(each) for subnet in self.subnets for each in joined) else False


def _is_for(rule: Mapping[str, Any], port: int) -> bool:
    protocol = str(rule.get("IpProtocol"))
    if protocol == "-1":
        return True
    return protocol in ("tcp", "6") and rule.get("FromPort", 0) <= port <= rule.get("ToPort", 65535)


def _request(
    name: str, problem: str, action: str, ask: Callable[[], list[dict[str, Any]]]
) -> Union[list[dict[str, Any]], Check]:
    """The answer of EC2, or a check that says why it is unknown."""
    try:
        return ask()
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        denied = code.startswith(("UnauthorizedOperation", "AccessDenied"))
        reason = f"{action} is not permitted" if denied else str(error).rstrip(".")
        return Check(name, Outcome.UNKNOWN, f"{problem[0].upper()}{problem[1:]} ({reason}).")
