# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules that connect a custom key store, and how tests make them."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable
from typing import Any
from typing import TypeVar
from typing import cast

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.core import set_initial_no_auth_action_count

from kms_emulator import Control
from kms_emulator.models import backends

ACCOUNT = "123456789012"
REGION = "us-east-1"
CONNECT = "arn:aws:scheduler:::aws-sdk:kms:connectCustomKeyStore"
DISCONNECT = "arn:aws:scheduler:::aws-sdk:kms:disconnectCustomKeyStore"
OFF = {"Mode": "OFF"}


SESSION: Any = boto3.Session()
"""One for all clients, as it remembers the models that it has read."""


Test = TypeVar("Test", bound=Callable[..., None])


def iam_is_on(test: Test) -> Test:
    """moto's IAM is on during a test."""
    return cast(Test, set_initial_no_auth_action_count(0)(test))


def scheduler_client(endpoint_url: str | None = None, region_name: str = REGION, **credentials: str) -> Any:
    """A client of EventBridge Scheduler that checks nothing and does not retry.

    Without a URL: the one in process, while moto's mock is on.
    """
    given = credentials or {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "not-a-secret"}
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    return SESSION.client("scheduler", region_name=region_name, endpoint_url=endpoint_url, config=config, **given)


def now(region_name: str = REGION) -> float:
    """The emulator's time, in process."""
    return backends()[ACCOUNT][region_name].clock.now()


def expression(moment: float) -> str:
    """The schedule expression of a time in seconds since the epoch."""
    return f"at({datetime.datetime.fromtimestamp(moment, datetime.timezone.utc):%Y-%m-%dT%H:%M:%S})"


def to_full_second(control: Control) -> None:
    """Move a clock that is stopped on to a full second, as a schedule is due at one."""
    control.advance(math.ceil(now()) - now())


def refusal(call: Any, **members: Any) -> tuple[int, str, str]:
    """The HTTP status, code and message of a request that must be refused."""
    try:
        call(**members)
    except ClientError as error:
        reported = error.response
        return reported["ResponseMetadata"]["HTTPStatusCode"], reported["Error"]["Code"], reported["Error"]["Message"]
    raise AssertionError(f"{members} was not refused.")


def target(store_id: str, role_arn: str, **members: Any) -> dict[str, Any]:
    """The universal target that connects a store."""
    return {"Arn": CONNECT, "RoleArn": role_arn, "Input": json.dumps({"CustomKeyStoreId": store_id}), **members}


class Schedules:
    """Makes schedules of one store, with the emulator in process and its clock stopped."""

    def __init__(self, client: Any, control: Control, store_id: str) -> None:
        self.client = client
        self.control = control
        self.store_id = store_id
        self.role_arn = control.create_schedule_role()

    def request(self, name: str = "lease", *, seconds: float = 60, **members: Any) -> dict[str, Any]:
        """The members of a request to create or update a schedule that is due in so many seconds."""
        return {
            "Name": name,
            "ScheduleExpression": expression(now() + seconds),
            "FlexibleTimeWindow": OFF,
            "Target": target(self.store_id, self.role_arn),
            **members,
        }

    def create(self, name: str = "lease", *, seconds: float = 60, **members: Any) -> None:
        self.client.create_schedule(**self.request(name, seconds=seconds, **members))

    def update(self, name: str = "lease", *, seconds: float = 60, **members: Any) -> None:
        self.client.update_schedule(**self.request(name, seconds=seconds, **members))

    def target(self, **members: Any) -> dict[str, Any]:
        return target(self.store_id, self.role_arn, **members)

    def names(self) -> list[str]:
        return [schedule["name"] for schedule in self.control.schedules()]

    def outcomes(self) -> list[str]:
        return [run["outcome"] for run in self.control.schedule_runs()]

    def times(self, since: float) -> list[float]:
        """When the runs were, in seconds since a time."""
        return [round(run["time"] - since, 3) for run in self.control.schedule_runs()]
