# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role to assume for each store, whose credentials are renewed."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import botocore.exceptions
import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.assumed_role import assume_role
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from kms_emulator import Control
from tests.unit.harness import ModuleRunner

OTHER_ACCOUNT = "222222222222"
ROLE_ARN = f"arn:aws:iam::{OTHER_ACCOUNT}:role/KeyStoreMaintenance"


@pytest.fixture
def other(control: Control) -> Control:
    """KMS in another account, on the same clock."""
    other = Control(account_id=OTHER_ACCOUNT)
    other.reset()
    other.create_store(custom_key_store_name="archive", connection_state="CONNECTED")
    return other


def test_each_store_has_a_role_of_its_own(
    run_stores: ModuleRunner, control: Control, other: Control, tmp_path: Path
) -> None:
    control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    stores: list[dict[str, Any]] = [{"name": "payments"}, {"name": "archive", "assume_role_arn": ROLE_ARN}]
    result = run_stores(check=True, state="disconnected", stores=stores)
    assert [store["custom_key_store"]["connection_state"] for store in result["stores"]] == ["DISCONNECTED"] * 2
    assert "DescribeCustomKeyStores" in [each["operation"] for each in other.requests()]
    missing = run_stores(check=True, state="disconnected", stores=[{"name": "none", "assume_role_arn": ROLE_ARN}])
    assert f"in the Region us-east-1 of the account {OTHER_ACCOUNT}" in missing["msg"]


def test_a_lease_on_this_host_knows_the_role(run_stores: ModuleRunner, other: Control, tmp_path: Path) -> None:
    other.set_transitions(connect_seconds=0, disconnect_seconds=0)
    memory = str(tmp_path / "memory")
    stores = [{"name": "archive", "assume_role_arn": ROLE_ARN}]
    assert "failed" not in run_stores(state="disconnected", stores=stores, memory=memory)
    (note,) = (tmp_path / "memory").glob("*.json")
    assert json.loads(note.read_text())["reached"] == {"region": "us-east-1", "assume_role_arn": ROLE_ARN}
    result = run_stores(state="connected", leased=True, memory=memory)
    assert result["stores"][0]["custom_key_store"]["connection_state"] == "CONNECTED"


def test_an_arn_that_is_none_is_refused(run_stores: ModuleRunner) -> None:
    result = run_stores(state="connected", stores=[{"name": "archive", "assume_role_arn": "KeyStoreMaintenance"}])
    assert 'In number 1 of stores: assume_role_arn is "KeyStoreMaintenance", and must be the ARN of' in result["msg"]
    assert run_stores.calls == []


class Sts:
    """AWS STS, whose credentials last an hour; or that answers with an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self.error = error

    def assume_role(self, **_members: str) -> dict[str, Any]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        return {"Credentials": {**{name: f"{name}{self.asked}" for name in names}, "Expiration": expires}}


def test_the_credentials_are_renewed_before_they_expire() -> None:
    sts = Sts()
    client = assume_role(boto3.client("kms", region_name="us-east-1"), sts, ROLE_ARN)
    assert sts.asked == 0
    credentials = client._request_signer._credentials
    assert credentials.get_frozen_credentials().access_key == "AccessKeyId1"
    assert credentials.get_frozen_credentials().access_key == "AccessKeyId1"
    in_an_hour = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=55)
    with mock.patch.object(credentials, "_time_fetcher", return_value=in_an_hour):
        assert credentials.get_frozen_credentials().access_key == "AccessKeyId2"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            botocore.exceptions.ClientError({"Error": {"Code": "AccessDenied", "Message": "No."}}, "AssumeRole"),
            f"The role {ROLE_ARN} could not be assumed: AccessDenied. Allow sts:AssumeRole on it in an IAM policy of the caller,",
        ),
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url="https://sts"),
            f'The role {ROLE_ARN} could not be assumed: Could not connect to the endpoint URL: "https://sts".',
        ),
    ],
)
def test_a_role_that_cannot_be_assumed(error: Exception, text: str) -> None:
    client = assume_role(boto3.client("kms", region_name="us-east-1"), Sts(error), ROLE_ARN)
    with pytest.raises(CustomKeyStoreError) as refused:
        client.list_keys()
    assert str(refused.value).startswith(text)
