# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each policy of the guide suffices for what it is for; and without any one of its actions the task says which is missing."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from typing import Any

import boto3
import pytest
import yaml
from moto.core import set_initial_no_auth_action_count

from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_info
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_key
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_stores
from dev.environment import ROOT
from tests.sdk import needs_last_usage
from tests.unit.harness import ModuleRunner
from tests.unit.options import CLOUDHSM
from tests.unit.options import OTHER_CLUSTER
from tests.unit.options import PUBLIC

GUIDE = (ROOT / "docs" / "docsite" / "rst" / "guide_permissions.rst").read_text()
TITLE_AND_POLICY = re.compile(
    r"^(\S.*)\n-+\n(?:(?!.*\n---).*\n)*?\.\. code-block:: json\n\n((?:   .*\n)+)", re.MULTILINE
)
POLICIES: dict[str, dict[str, Any]] = {
    found[1]: json.loads(textwrap.dedent(found[2])) for found in TITLE_AND_POLICY.finditer(GUIDE)
}

IAM_IS_ON = set_initial_no_auth_action_count(0)


def stores(state: str, **more: Any) -> dict[str, Any]:
    return {"module": kms_custom_key_stores, "state": state, "stores": [{"name": "payments"}], **more}


def key(**more: Any) -> dict[str, Any]:
    return {"module": kms_custom_key_store_key, "alias": "new", "custom_key_store_name": "payments", **more}


ALARMS = "Set alarms"
"""The policy of a role: see tests/integration/test_permissions.py."""

ROLE = "keyops-aws-lease"
LEASE: dict[str, Any] = {
    "lease_role_arn": f"arn:aws:iam::123456789012:role/{ROLE}",
    "lease_minutes": 60,
    "keeper": False,
}
BY_NAME = {"name": "payments"}
CHANGE = {**BY_NAME, "cloud_hsm_cluster_id": OTHER_CLUSTER, "allow_disconnect": True}
TASKS: dict[str, tuple[str | None, list[dict[str, Any]]]] = {
    "Describe a store, and rename it": ("CONNECTED", [BY_NAME, {"id": "{id}", "name": "renamed"}]),
    "Change what needs a disconnect": ("CONNECTED", [CHANGE]),
    "Connect": ("FAILED", [{**BY_NAME, "state": "connected"}]),
    "Disconnect": ("CONNECTED", [{**BY_NAME, "state": "disconnected"}]),
    "Create a store in AWS CloudHSM": (None, [{**CLOUDHSM, "state": "connected"}]),
    "Create an external store": (None, [{**PUBLIC, "state": "connected"}]),
    "Delete": ("CONNECTED", [{**BY_NAME, "state": "absent", "allow_disconnect": True}]),
    "Describe keys and clusters": (
        "CONNECTED",
        [{"module": kms_custom_key_store_info, "include_keys": True, "include_cloud_hsm_cluster": True}],
    ),
    "Watch": (
        "CONNECTED",
        [
            {
                "module": kms_custom_key_stores,
                "state": "connected",
                "leased": True,
                "leases_in_aws": True,
                "check": True,
            },
            {"module": kms_custom_key_store_info, "include_events": True},
        ],
    ),
    "Create and rotate keys": ("CONNECTED", [key(), key(after_days=30, rotate={"older_than_days": 30})]),
    "Retire a key": ("CONNECTED", [key(alias="retired", state="absent")]),
    "Maintenance windows": ("CONNECTED", [stores("disconnected"), stores("connected", verify=True)]),
    "Predict a connect": ("CONNECTED", [{"module": kms_custom_key_store_info, "predict_connect": True}]),
    "Verify external stores": ("CONNECTED", [stores("connected", verify=True)]),
    "Windows with a lease in AWS": (
        "CONNECTED",
        [
            stores("disconnected", **LEASE, check=True, include_cloud_hsm_cluster=True),
            stores("disconnected", **LEASE),
            stores("disconnected", extend_lease=True, lease_minutes=90, leases_in_aws=True),
            stores("connected", leases_in_aws=True, verify=True),
            {"module": kms_custom_key_stores, "state": "connected", "leased": True, "leases_in_aws": True},
        ],
    ),
}
"""By the name of the policy: the state in which the store is found, and the tasks, some of them some days later."""

TOLD_ONLY = {
    ("Watch", "cloudtrail:LookupEvents"),
    ("Create and rotate keys", "cloudhsm:DescribeClusters"),
    ("Predict a connect", "cloudhsm:DescribeClusters"),
    *(("Predict a connect", f"ec2:Describe{of}") for of in ("SecurityGroups", "Subnets", "VpcEndpointServices")),
    *(("Verify external stores", f"kms:{operation}") for operation in ("ListKeys", "DescribeKey", "Encrypt")),
    ("Windows with a lease in AWS", "iam:GetRole"),
    ("Windows with a lease in AWS", "iam:SimulatePrincipalPolicy"),
}
"""Actions without which a task goes on, with a warning."""

IN_SERVICE = ("CONNECTED", "CONNECTING")


def actions(policy: dict[str, Any]) -> list[str]:
    found = [statement["Action"] for statement in policy["Statement"]]
    return [action for each in found for action in (each if isinstance(each, list) else [each])]


def make_lease(store_id: str) -> None:
    """A window of somebody else has the store."""
    target = {
        "Arn": "arn:aws:scheduler:::aws-sdk:kms:connectCustomKeyStore",
        "RoleArn": LEASE["lease_role_arn"],
        "Input": json.dumps({"CustomKeyStoreId": store_id}),
    }
    boto3.client("scheduler", region_name="us-east-1").create_schedule(
        Name=f"keyops-aws-{store_id}",
        ScheduleExpression="at(2099-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )


@pytest.fixture
def restricted(run: ModuleRunner) -> Callable[..., list[dict[str, Any]]]:
    """Runs the tasks of a policy as somebody who may do these actions and no more; returns the results."""
    control = run.control

    def do(name: str, allowed: list[str]) -> list[dict[str, Any]]:
        control.reset()
        control.freeze_clock()
        control.create_schedule_role(ROLE)
        state, tasks = TASKS[name]
        store_id = other = ""
        if name == "Verify external stores":
            external = control.create_store(
                custom_key_store_name="payments",
                custom_key_store_type="EXTERNAL_KEY_STORE",
                connection_state="CONNECTED",
            )
            control.create_keys(1, custom_key_store_id=external)
        elif state is not None:
            cluster_id = control.create_cluster(network=name == "Predict a connect")
            store_id = control.create_store(
                custom_key_store_name="payments",
                connection_state=state,
                connection_error_code="NETWORK_ERRORS" if state == "FAILED" else None,
                parameters={"CloudHsmClusterId": cluster_id},
            )
            other = control.create_cluster(source_cluster_id=cluster_id)
            (unnamed,) = control.create_keys(1, custom_key_store_id=None if name == "Delete" else store_id)
            if name == "Predict a connect":
                control.create_store(
                    custom_key_store_type="EXTERNAL_KEY_STORE",
                    parameters={"XksProxyConnectivity": "VPC_ENDPOINT_SERVICE"},
                )
            if name == "Watch":
                make_lease(store_id)
            if name == "Retire a key":
                kms = boto3.client("kms", region_name="us-east-1")
                kms.create_alias(AliasName="alias/retired", TargetKeyId=unnamed)
        iam = boto3.client("iam", region_name="us-east-1")
        user = f"operator-{len(iam.list_users()['Users'])}"
        iam.create_user(UserName=user)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        statement = {"Effect": "Allow", "Action": [*allowed, "sts:GetCallerIdentity"], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
        results = []
        for task in tasks:
            control.advance(86400 * task.get("after_days", 0))
            options = {key: value for key, value in task.items() if key not in ("module", "after_days")}
            if "id" in options:
                options["id"] = store_id
            if "cloud_hsm_cluster_id" in options and state is not None:
                options["cloud_hsm_cluster_id"] = other
            run.module = task.get("module", kms_custom_key_store)
            as_user = {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}
            results.append(IAM_IS_ON(run)(**options, **as_user))
        return results

    return do


def test_the_guide_and_these_tests_know_the_same_policies() -> None:
    assert sorted(POLICIES) == sorted([*TASKS, ALARMS])


@pytest.mark.parametrize("name", TASKS)
def test_the_policy_suffices(restricted: Callable[..., list[dict[str, Any]]], name: str) -> None:
    for result in restricted(name, actions(POLICIES[name])):
        assert "failed" not in result, result["msg"]
        assert "not permitted" not in json.dumps(result)
        assert "AccessDenied" not in json.dumps(result)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        pytest.param(name, action, marks=needs_last_usage if action == "kms:GetKeyLastUsage" else [])
        for name in TASKS
        for action in actions(POLICIES[name])
    ],
)
@pytest.mark.long
def test_a_missing_action_is_named(restricted: Callable[..., list[dict[str, Any]]], name: str, missing: str) -> None:
    allowed = [action for action in actions(POLICIES[name]) if action != missing]
    results = restricted(name, allowed)
    reported = json.dumps(results)
    assert missing in reported
    reported_only = name == "Describe keys and clusters" or (name, missing) in TOLD_ONLY
    assert any("failed" in result for result in results) or reported_only
    for result in results:
        store = result.get("custom_key_store", {})
        if (
            "failed" in result
            and TASKS[name][0] == "CONNECTED"
            and store.get("connection_state") not in (None, *IN_SERVICE)
        ):
            assert "run the task with state=connected" in result["msg"] or "NOT be connected again" in result["msg"]


def test_the_role_of_a_lease_works_and_is_that_of_the_playbook(run: ModuleRunner) -> None:
    section = GUIDE[GUIDE.index("The role of a lease\n~~~") :]
    blocks = re.findall(r"\.\. code-block:: json\n\n((?:   .*\n)+)", section)
    trust, permissions = (json.loads(textwrap.dedent(block)) for block in blocks)
    iam = boto3.client("iam", region_name="us-east-1")
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName=ROLE, PolicyName="p", PolicyDocument=json.dumps(permissions))
    store_id = run.control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    run.module = kms_custom_key_stores
    assert "failed" not in run(state="disconnected", stores=[BY_NAME], **LEASE)
    run.control.advance(3700)
    assert [each["outcome"] for each in run.control.schedule_runs()] == ["ok"]
    answer = boto3.client("kms", region_name="us-east-1").describe_custom_key_stores(CustomKeyStoreId=store_id)
    assert answer["CustomKeyStores"][0]["ConnectionState"] == "CONNECTED"

    (play,) = yaml.safe_load((ROOT / "playbooks" / "prepare_lease.yml").read_text())
    variables: dict[str, Any] = {}
    for task in play["tasks"]:
        variables |= task.get("vars", {})
    assert variables["keyops_aws_policy"] == permissions
    reported = json.dumps(variables["keyops_aws_trust"])
    for template, value in (("{{ keyops_aws_caller.account }}", "123456789012"), ("{{ keyops_aws_partition }}", "aws")):
        reported = reported.replace(template, value)
    assert json.loads(reported) == trust
