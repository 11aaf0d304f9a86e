# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether KMS could connect to a CloudHSM cluster, as AWS CloudHSM and Amazon EC2 tell."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.cluster_checks import check_cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Check
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Outcome
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import to_prediction
from kms_emulator import Control
from tests.unit.harness import CREDENTIALS

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc)
SOON = NOW + datetime.timedelta(hours=5)
ID = "cluster-2345abcdefg"
GOOD = Cluster(
    ID,
    "ACTIVE",
    {"ACTIVE": {"us-east-1a": 1, "us-east-1b": 1}},
    hsm_type="hsm2m.medium",
    hsm_types={"hsm2m.medium": 2},
    network_type="IPV4",
    subnets={"us-east-1a": "subnet-1", "us-east-1b": "subnet-2"},
    security_group="sg-1",
)
STATE, HSMS = "State of the CloudHSM cluster", "HSMs of the cluster"
SUBNETS, GROUP = "Subnets of the cluster", "Security group of the cluster"


def aws(service: Any) -> Any:
    return boto3.client(
        service,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["access_key"],
        aws_secret_access_key=CREDENTIALS["secret_key"],
    )


def cluster(**other: Any) -> Cluster:
    return dataclasses.replace(GOOD, **other)


def named(checks: list[Check], name: str) -> Check:
    (check,) = [check for check in checks if check.name == name]
    return check


def brief(check: Check) -> tuple[Outcome, str]:
    return check.outcome, check.code


# ---- what AWS CloudHSM tells


def test_a_cluster_that_is_fine() -> None:
    checks = check_cluster(GOOD, None, now=NOW)
    assert [(check.name, check.outcome, check.text) for check in checks] == [
        (STATE, Outcome.PASSED, f"The CloudHSM cluster {ID} is ACTIVE."),
        (HSMS, Outcome.PASSED, f"The CloudHSM cluster {ID} has 2 active HSMs in 2 Availability Zones."),
        (
            "Network of the cluster",
            Outcome.UNKNOWN,
            f"Amazon EC2 was not asked for the subnets and the security group of the CloudHSM cluster {ID}.",
        ),
    ]
    assert to_prediction(checks)["fails"] is False


def test_a_cluster_that_is_not_there() -> None:
    cloudhsm = mock.Mock()
    cloudhsm.get_paginator.return_value.paginate.return_value = [{"Clusters": []}]
    (check,) = check_cluster(describe_clusters(cloudhsm, [ID])[ID], None, now=NOW)
    assert brief(check) == (Outcome.FAILED, "CLUSTER_NOT_FOUND")
    assert check.text == (
        f"There is no CloudHSM cluster {ID} in this account and Region. If it was deleted, create one from a recent backup, and"
        " tell KMS its id while the store is disconnected (cloud_hsm_cluster_id)."
    )


def test_a_cluster_that_was_deleted() -> None:
    (check,) = check_cluster(cluster(state="DELETED", hsms={}), None, now=NOW)
    assert brief(check) == (Outcome.FAILED, "CLUSTER_NOT_FOUND")
    assert check.text == (
        f"The CloudHSM cluster {ID} is DELETED. Create a cluster from a recent backup, and tell KMS its id while the store is"
        " disconnected (cloud_hsm_cluster_id)."
    )


def test_a_cluster_that_may_not_be_seen() -> None:
    cloudhsm = aws("cloudhsmv2")
    with Stubber(cloudhsm) as stubber:
        stubber.add_client_error("describe_clusters", "AccessDeniedException", "not for you")
        found = describe_clusters(cloudhsm, [ID])[ID]
    (check,) = check_cluster(found, None, now=NOW)
    assert brief(check) == (Outcome.UNKNOWN, "")
    assert check.text.startswith("AWS CloudHSM was asked for the cluster, but: ")
    assert "cloudhsm:DescribeClusters" in check.text


def test_a_cluster_of_which_nothing_is_known() -> None:
    (check,) = check_cluster(Cluster(ID), None, now=NOW)
    assert (check.outcome, check.text) == (Outcome.UNKNOWN, f"Nothing is known of the CloudHSM cluster {ID}.")
    check = named(check_cluster(cluster(hsms=None), None, now=NOW), HSMS)
    assert brief(check) == (Outcome.UNKNOWN, "")
    assert check.text == f"It is not known which HSMs the CloudHSM cluster {ID} has."


CHANGED = (
    " Until then no user of the cluster can be changed, but a connect changes the password of kmsuser: do not disconnect a store"
    " that is connected."
)


@pytest.mark.parametrize(
    ("state", "types", "words"),
    [
        ("INITIALIZED", {}, "Activate it (cloudhsm-cli cluster activate)."),
        ("UPDATE_IN_PROGRESS", {}, "Wait until it is ACTIVE."),
        ("DEGRADED", {}, "Fix it: see its state message in AWS CloudHSM."),
        (
            "MODIFY_IN_PROGRESS",
            {"hsm1.medium": 1, "hsm2m.medium": 2},
            "The type of its HSMs is being changed: wait until it is ACTIVE. It takes about 30 minutes for each HSM (2 of 3 are"
            f" hsm2m.medium by now).{CHANGED}",
        ),
        (
            "ROLLBACK_IN_PROGRESS",
            {},
            "A change of the type of its HSMs is being rolled back: wait until it is ACTIVE. It takes about 30 minutes for each"
            f" HSM.{CHANGED} If the store was connected anew since the change of the type began, kmsuser may then have its"
            " earlier password: set the password of kmsuser in the cluster and tell it to KMS before you connect (the playbook"
            " keyops.aws.rotate_kmsuser_password).",
        ),
    ],
)
def test_a_cluster_that_is_not_active(state: str, types: dict[str, int], words: str) -> None:
    """KMS refuses the connect, which gives no error code."""
    checks = check_cluster(cluster(state=state, hsm_types=types), None, now=NOW)
    check = named(checks, STATE)
    assert brief(check) == (Outcome.FAILED, "")
    assert check.text == f"The CloudHSM cluster {ID} is {state}, and must be ACTIVE. {words}"
    assert to_prediction(checks) == {"fails": True, "codes": [], "checks": mock.ANY}


AND_SO = (
    " To create or change a key store, or to create a KMS key in it, KMS needs two active HSMs in different Availability Zones."
    " Add an HSM in another zone."
)


@pytest.mark.parametrize(
    ("active", "outcome", "code", "words"),
    [
        (
            {},
            Outcome.FAILED,
            "INSUFFICIENT_CLOUDHSM_HSMS",
            "has no active HSM, and needs one. Add an HSM to it, and wait until that is ACTIVE.",
        ),
        (
            {"us-east-1a": 1},
            Outcome.WARNING,
            "",
            f"has 1 active HSM. That is enough to connect. If that HSM fails, KMS can no longer connect.{AND_SO}",
        ),
        (
            {"us-east-1a": 3},
            Outcome.WARNING,
            "",
            "has 3 active HSMs, all in us-east-1a. That is enough to connect. If that zone fails, KMS can no longer connect."
            + AND_SO,
        ),
    ],
)
def test_its_hsms(active: dict[str, int], outcome: Outcome, code: str, words: str) -> None:
    hsms = {"ACTIVE": active, "DEGRADED": {"us-east-1b": 1}}
    check = named(check_cluster(cluster(hsms=hsms), None, now=NOW), HSMS)
    assert brief(check) == (outcome, code)
    assert check.text == f"The CloudHSM cluster {ID} {words}"


def test_a_change_of_the_type_that_can_be_rolled_back() -> None:
    check = named(check_cluster(cluster(rollback_until=SOON), None, now=NOW), "Rollback of the HSM type")
    assert brief(check) == (Outcome.WARNING, "")
    assert check.text == (
        f"Until 2026-03-01 17:00 UTC, you can roll back the CloudHSM cluster {ID} to its earlier HSM type. A connect changes the"
        " password of kmsuser. A rollback after that probably restores the earlier password, and then the next connect fails with"
        " INVALID_CREDENTIALS. AWS's documents do not state this plainly. They say only that keys and users created since the"
        " change are lost. Connect after that time. If you have rolled back the cluster, set the password of kmsuser in the"
        " cluster and tell it to KMS before you connect (the playbook keyops.aws.rotate_kmsuser_password)."
    )


def test_a_change_of_the_type_that_was_rolled_back() -> None:
    found = cluster(rollback_until=SOON, hsm_type="hsm1.medium")
    check = named(check_cluster(found, None, now=NOW), "Rollback of the HSM type")
    assert brief(check) == (Outcome.WARNING, "")
    assert check.text.startswith(
        f"The change of the HSM type of the CloudHSM cluster {ID} seems to have been rolled back. If the store was connected anew"
        " in between, kmsuser may have its earlier password now, and a connect would end with INVALID_CREDENTIALS."
    )


@pytest.mark.parametrize(
    "other", [{"rollback_until": NOW}, {"rollback_until": SOON, "state": "ROLLBACK_IN_PROGRESS"}, {}]
)
def test_nothing_to_say_of_a_rollback(other: dict[str, Any]) -> None:
    """Over, or said already, or never."""
    assert "Rollback of the HSM type" not in [check.name for check in check_cluster(cluster(**other), None, now=NOW)]


@pytest.mark.parametrize(
    ("other", "name", "words"),
    [
        (
            {"hsm_type": "hsm1.medium"},
            "HSM type of the cluster",
            f"The CloudHSM cluster {ID} has HSMs of the type hsm1.medium. AWS's documents disagree on the end of its support: 1"
            " December 2025 or 31 March 2026. Change the type: see the guide to the HSM type of a cluster.",
        ),
        (
            {"network_type": "DUALSTACK"},
            "Network type of the cluster",
            f"The network type of the CloudHSM cluster {ID} is DUALSTACK. That works, but KMS uses IPv4 only: keep IPv4 addresses"
            " free in its subnets, and rules for IPv4 in its security group.",
        ),
    ],
)
def test_what_works_for_now(other: dict[str, Any], name: str, words: str) -> None:
    checks = check_cluster(cluster(**other), None, now=NOW)
    assert brief(named(checks, name)) == (Outcome.WARNING, "")
    assert named(checks, name).text == words
    assert to_prediction(checks)["fails"] is False


# ---- what Amazon EC2 tells


@pytest.fixture(scope="module")
def client() -> Any:
    """Made once, as its model is large."""
    return aws("ec2")


@pytest.fixture
def stubber(client: Any) -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber


def subnets(*free: int) -> list[dict[str, Any]]:
    return [
        {"SubnetId": f"subnet-{number + 1}", "AvailableIpAddressCount": count, "CidrBlock": f"10.0.{number}.0/24"}
        for number, count in enumerate(free)
    ]


ITSELF = [{"GroupId": "sg-1"}]


def rule(first: int = 2223, last: int = 2225, **whom: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **(whom or {"UserIdGroupPairs": ITSELF})}


def cidr(*ranges: str) -> dict[str, Any]:
    return {"IpRanges": [{"CidrIp": each} for each in ranges]}


ALL = {"IpProtocol": "-1", **cidr("0.0.0.0/0")}
RULES = {"IpPermissions": [rule()], "IpPermissionsEgress": [ALL]}


def answer(stubber: Stubber, found: list[dict[str, Any]], groups: list[dict[str, Any]]) -> None:
    stubber.add_response(
        "describe_subnets",
        {"Subnets": found},
        {"Filters": [{"Name": "subnet-id", "Values": ["subnet-1", "subnet-2"]}]},
    )
    stubber.add_response(
        "describe_security_groups",
        {"SecurityGroups": groups},
        {"Filters": [{"Name": "group-id", "Values": ["sg-1"]}]},
    )


def test_a_network_that_is_fine(stubber: Stubber) -> None:
    answer(stubber, subnets(200, 7), [{"GroupId": "sg-1", **RULES}])
    checks = check_cluster(GOOD, stubber.client, now=NOW)
    assert [(check.name, check.outcome, check.text) for check in checks[2:]] == [
        (
            SUBNETS,
            Outcome.PASSED,
            f"Each of the 2 subnets of the CloudHSM cluster {ID} exists and has free addresses, 7 or more.",
        ),
        (
            GROUP,
            Outcome.PASSED,
            f"The security group sg-1 of the CloudHSM cluster {ID} allows TCP on the ports 2223 to 2225 within itself.",
        ),
    ]


@pytest.mark.parametrize(
    ("found", "outcome", "code", "words"),
    [
        (
            subnets(200),
            Outcome.FAILED,
            "SUBNET_NOT_FOUND",
            "does not exist. It cannot be given another. Create a cluster from a recent backup, and tell KMS its id while the"
            " store is disconnected (cloud_hsm_cluster_id).",
        ),
        (
            subnets(200, 0),
            Outcome.FAILED,
            "INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET",
            "has no free IP address, and KMS needs one in each. Free one, better two. A store that is connected may hold one"
            " itself; AWS's documents do not say whether a disconnect frees it.",
        ),
        (
            subnets(200, 1),
            Outcome.WARNING,
            "",
            "has one free IP address, which KMS needs; AWS advises two. Free another.",
        ),
    ],
)
def test_its_subnets(stubber: Stubber, found: list[dict[str, Any]], outcome: Outcome, code: str, words: str) -> None:
    answer(stubber, found, [{"GroupId": "sg-1", **RULES}])
    check = named(check_cluster(GOOD, stubber.client, now=NOW), SUBNETS)
    assert brief(check) == (outcome, code)
    assert check.text == f"The subnet subnet-2 of the CloudHSM cluster {ID} in us-east-1b {words}"


def test_each_subnet_is_reported(stubber: Stubber) -> None:
    answer(stubber, subnets(0), [{"GroupId": "sg-1", **RULES}])
    checks = check_cluster(GOOD, stubber.client, now=NOW)
    assert to_prediction(checks)["codes"] == ["INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET", "SUBNET_NOT_FOUND"]


def test_a_security_group_that_is_not_there(stubber: Stubber) -> None:
    answer(stubber, subnets(9, 9), [])
    check = named(check_cluster(GOOD, stubber.client, now=NOW), GROUP)
    assert brief(check) == (Outcome.FAILED, "NETWORK_ERRORS")
    assert check.text == (
        f"The security group sg-1 of the CloudHSM cluster {ID} does not exist. It cannot be given another. Create a cluster from"
        " a recent backup, and tell KMS its id while the store is disconnected (cloud_hsm_cluster_id)."
    )


LISTS: dict[str, Any] = {"PrefixListIds": [{"PrefixListId": "pl-1"}]}
OTHERS: dict[str, Any] = {"UserIdGroupPairs": [{"GroupId": "sg-2"}]}
YES, NO, UNSURE = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param([rule()], YES, id="itself"),
        pytest.param([rule(0, 65535)], YES, id="more ports"),
        pytest.param([{**rule(), "IpProtocol": "6"}], YES, id="TCP by its number"),
        pytest.param([{"IpProtocol": "-1", "UserIdGroupPairs": ITSELF}], YES, id="all traffic"),
        pytest.param([{"IpProtocol": "tcp", "UserIdGroupPairs": ITSELF}], YES, id="all of TCP"),
        pytest.param([rule(2223, 2223), rule(2224, 2225)], YES, id="several rules"),
        pytest.param([rule(2223, 2224, **cidr("10.0.0.0/16")), rule(2225, 2225)], YES, id="several ways"),
        pytest.param([ALL], YES, id="from anywhere"),
        pytest.param([rule(**cidr("10.0.0.0/16"))], YES, id="addresses of all subnets"),
        pytest.param([rule(**cidr("10.0.0.0/24", "10.0.1.0/24"))], YES, id="each subnet"),
        pytest.param([rule(**cidr("10.0.1.0/25", "10.0.1.128/25", "10.0.0.0/24"))], YES, id="parts of a subnet"),
        pytest.param([], NO, id="no rule"),
        pytest.param([rule(2223, 2224)], NO, id="a port is missing"),
        pytest.param([{**rule(), "IpProtocol": "udp"}], NO, id="UDP"),
        pytest.param([rule(**OTHERS)], NO, id="another group"),
        pytest.param([rule(**cidr("192.168.0.0/16"))], NO, id="other addresses"),
        pytest.param([rule(Ipv6Ranges=[{"CidrIpv6": "::/0"}])], NO, id="IPv6"),
        pytest.param([rule(**cidr("10.0.0.0/24"))], UNSURE, id="one subnet of two"),
        pytest.param([rule(**cidr("10.0.0.10/32", "10.0.1.11/32"))], UNSURE, id="some addresses"),
        pytest.param([rule(**LISTS)], UNSURE, id="a prefix list"),
        pytest.param([rule(2223, 2224), rule(2225, 2225, **LISTS)], UNSURE, id="a prefix list for a port"),
        pytest.param([rule(2224, 2224, **LISTS), rule(2225, 2225)], NO, id="a prefix list, and nothing"),
    ],
)
@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_rules_are_judged(stubber: Stubber, rules: list[dict[str, Any]], expected: Outcome, direction: str) -> None:
    member = {"inbound": "IpPermissions", "outbound": "IpPermissionsEgress"}[direction]
    answer(stubber, subnets(9, 9), [{"GroupId": "sg-1", **RULES, member: rules}])
    check = named(check_cluster(GOOD, stubber.client, now=NOW), GROUP)
    assert brief(check) == (expected, "NETWORK_ERRORS" if expected is NO else "")
    which = f"the security group sg-1 of the CloudHSM cluster {ID}"
    remedy = "with the group itself as source of the inbound, and as destination of the outbound rule."
    if expected is NO:
        assert check.text == (
            f"T{which[1:]} does not allow TCP on the ports 2223 to 2225 within itself ({direction}), by which KMS talks to the"
            f" HSMs. Add the rules again that AWS CloudHSM made, {remedy}"
        )
    elif expected is UNSURE:
        assert check.text == (
            f"It is not known whether {which} allows TCP on the ports 2223 to 2225 within itself ({direction}): its rules name"
            f" addresses or prefix lists. AWS asks for rules {remedy}"
        )


def test_both_directions_are_reported(stubber: Stubber) -> None:
    answer(stubber, subnets(9, 9), [{"GroupId": "sg-1"}])
    assert " within itself (inbound and outbound), " in named(check_cluster(GOOD, stubber.client, now=NOW), GROUP).text


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "AccessDeniedException"])
def test_what_may_not_be_described(stubber: Stubber, code: str) -> None:
    for operation in ("describe_subnets", "describe_security_groups"):
        stubber.add_client_error(operation, code, "You are not authorized to perform this operation.")
    checks = check_cluster(GOOD, stubber.client, now=NOW)
    assert [(check.outcome, check.code, check.text) for check in checks[2:]] == [
        (
            Outcome.UNKNOWN,
            "",
            f"The subnets of the CloudHSM cluster {ID} could not be described (ec2:DescribeSubnets is not permitted).",
        ),
        (
            Outcome.UNKNOWN,
            "",
            f"The security group sg-1 of the CloudHSM cluster {ID} could not be described"
            " (ec2:DescribeSecurityGroups is not permitted).",
        ),
    ]


def test_rules_by_address_where_the_subnets_may_not_be_described(stubber: Stubber) -> None:
    stubber.add_client_error("describe_subnets", "UnauthorizedOperation")
    stubber.add_response(
        "describe_security_groups",
        {"SecurityGroups": [{"GroupId": "sg-1", **RULES, "IpPermissions": [rule(**cidr("10.0.0.0/16"))]}]},
    )
    assert named(check_cluster(GOOD, stubber.client, now=NOW), GROUP).outcome is Outcome.UNKNOWN


def test_an_ec2_that_is_not_reached() -> None:
    ec2 = mock.Mock()
    error = EndpointConnectionError(endpoint_url="https://ec2")
    ec2.describe_subnets.side_effect = ec2.describe_security_groups.side_effect = error
    checks = check_cluster(GOOD, ec2, now=NOW)
    assert [check.outcome for check in checks[2:]] == [Outcome.UNKNOWN] * 2
    assert checks[2].text.endswith('(Could not connect to the endpoint URL: "https://ec2").')


def test_a_cluster_whose_network_is_unknown() -> None:
    checks = check_cluster(cluster(subnets={}, security_group=None), mock.Mock(), now=NOW)
    assert [(check.outcome, check.text) for check in checks[2:]] == [
        (Outcome.UNKNOWN, f"AWS CloudHSM does not report the subnets of the CloudHSM cluster {ID}."),
        (Outcome.UNKNOWN, f"AWS CloudHSM does not report the security group of the CloudHSM cluster {ID}."),
    ]


def test_with_the_answers_of_moto(control: Control, client: Any) -> None:
    """A cluster as the emulator makes it with its network, which is then taken apart."""
    cluster_id = control.create_cluster(network=True)
    cloudhsm = aws("cloudhsmv2")

    def checks() -> list[Check]:
        return check_cluster(describe_clusters(cloudhsm, [cluster_id])[cluster_id], client, now=NOW)

    assert {check.outcome for check in checks()} == {Outcome.PASSED}
    found = describe_clusters(cloudhsm, [cluster_id])[cluster_id]
    client.revoke_security_group_ingress(
        GroupId=found.security_group,
        IpPermissions=[rule(UserIdGroupPairs=[{"GroupId": found.security_group}])],
    )
    client.delete_subnet(SubnetId=found.subnets["us-east-1b"])
    assert to_prediction(checks())["codes"] == ["NETWORK_ERRORS", "SUBNET_NOT_FOUND"]
    client.delete_security_group(GroupId=found.security_group)
    assert " does not exist." in named(checks(), GROUP).text


def test_the_emulator_and_the_prediction_agree(control: Control) -> None:
    """What it says of a connect is how the emulator's connect ends."""
    cloudhsm = aws("cloudhsmv2")
    kms = aws("kms")
    control.freeze_clock()
    for change, code in (
        ({}, None),
        ({"active_hsms": 1}, None),
        ({"active_hsms": 0}, "INSUFFICIENT_CLOUDHSM_HSMS"),
        ({"state": "DELETED"}, "CLUSTER_NOT_FOUND"),
    ):
        cluster_id = control.create_cluster()
        store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id})
        control.set_cluster(cluster_id, **change)
        predicted = to_prediction(check_cluster(describe_clusters(cloudhsm, [cluster_id])[cluster_id], None, now=NOW))
        kms.connect_custom_key_store(CustomKeyStoreId=store_id)
        control.advance(60)
        (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
        assert (
            predicted["codes"]
            == [each for each in [store.get("ConnectionErrorCode")] if each]
            == ([code] if code else [])
        )
