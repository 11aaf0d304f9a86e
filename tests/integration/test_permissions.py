# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy that the guide gives for maintenance windows suffices for a whole window, and no less does."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterator

import boto3
import pytest
import urllib3

from tests.integration.harness import Ansible
from tests.unit.plugins.test_permissions import ALARMS
from tests.unit.plugins.test_permissions import POLICIES
from tests.unit.plugins.test_permissions import actions

WINDOW = actions(POLICIES["Maintenance windows"])


@pytest.fixture
def operator(ansible: Ansible) -> Iterator[Callable[[list[str]], None]]:
    """Makes the play's user one who may do these actions and no more, and switches moto's access control on."""
    url = ansible.environment["AWS_URL"]
    iam = boto3.client(
        "iam",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE",
    )
    iam.create_user(UserName="operator")
    key = iam.create_access_key(UserName="operator")["AccessKey"]

    def switch(allowed_before: str) -> None:
        answer = urllib3.request("POST", f"{url}/moto-api/reset-auth", body=allowed_before)
        assert answer.status == 200

    def become(allowed: list[str]) -> None:
        statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="operator", PolicyName="window", PolicyDocument=document)
        ansible.environment["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]
        ansible.environment["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
        switch("0")

    yield become
    switch("inf")
    iam.delete_user_policy(UserName="operator", PolicyName="window")
    iam.delete_access_key(UserName="operator", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="operator")


@pytest.mark.parametrize("missing", [None, "kms:ConnectCustomKeyStore"])
@pytest.mark.long
def test_a_window(ansible: Ansible, operator: Callable[[list[str]], None], missing: str | None) -> None:
    cluster_id = ansible.control.create_cluster()
    ansible.control.create_store(
        custom_key_store_name="payments", connection_state="CONNECTED", parameters={"CloudHsmClusterId": cluster_id}
    )
    operator([action for action in WINDOW if action != missing])
    done = ansible.run("keyops.aws.window", "-e", "key_store=payments")
    assert (done.exit_code == 0) is (missing is None), done.output
    if missing is None:
        assert " yes " in f"{done.output} ".replace("\n", " ")
    else:
        assert f"Allow {missing} in an IAM policy of the caller." in " ".join(done.output.split())


@pytest.mark.long
@pytest.mark.parametrize("missing", [None, *actions(POLICIES[ALARMS])])
def test_alarms(ansible: Ansible, operator: Callable[[list[str]], None], missing: str | None) -> None:
    """moto calls the actions of Amazon CloudWatch monitoring:…, after the host that they are sent to."""
    ansible.control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    allowed = [action for action in actions(POLICIES[ALARMS]) if action != missing]
    operator([action.replace("cloudwatch:", "monitoring:") for action in allowed])
    for state in ("present", "absent"):
        role = {"name": "keyops.aws.key_store_alarms"}
        variables = {"key_store_alarms_state": state}
        done = ansible.playbook([{"name": "Set alarms", "ansible.builtin.include_role": role, "vars": variables}])
        if done.exit_code != 0:
            break
    assert (done.exit_code == 0) is (missing is None), done.output
    if missing is not None:
        assert missing.partition(":")[2] in done.output
