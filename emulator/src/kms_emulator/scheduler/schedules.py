# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules and the state of their delivery."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from .expressions import due_at

Request = Mapping[str, Any]
"""The members of a request, by the names of the model, without nulls."""

GROUP = "default"
"""The default schedule group of each account and Region."""

RETRY_POLICY = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}

DEFAULTS = {
    "GroupName": GROUP,
    "ScheduleExpressionTimezone": "UTC",
    "State": "ENABLED",
    "ActionAfterCompletion": "NONE",
}

UNIVERSAL = re.compile(r"arn:(?P<partition>[^:]+):scheduler:::aws-sdk:(?P<service>[^:]+):(?P<operation>[^:]+)")
"""The ARN of a universal target: an operation of any service."""


@dataclass
class Delivery:
    """The state of the delivery of a one-time schedule."""

    attempts: int = 0
    began_at: float = 0.0
    """Time of the first attempt."""
    retry_at: float | None = None
    """Due time of the next attempt. None: the due time of the schedule."""
    is_second: bool = False
    """Whether it follows a successful delivery."""
    is_over: bool = False


@dataclass
class Schedule:
    """One schedule. Members: those of the last create or update request, with defaults."""

    arn: str
    members: dict[str, Any]
    due_at: float | None
    """Seconds since the epoch; None for a recurring schedule."""
    created_by: Request
    creation_date: float
    last_modification_date: float
    delivery: Delivery = field(default_factory=Delivery)

    @property
    def name(self) -> str:
        """Unique in its group."""
        return str(self.members["Name"])

    @property
    def group_name(self) -> str:
        """The schedule group."""
        return str(self.members["GroupName"])

    @property
    def is_enabled(self) -> bool:
        """Whether it can run."""
        return bool(self.members["State"] == "ENABLED")

    @property
    def retry_policy(self) -> dict[str, int]:
        """The maximum age and number of retries."""
        policy: dict[str, int] = self.members["Target"]["RetryPolicy"]
        return policy

    def update(self, request: Request, now: float) -> None:
        """Apply an update request. If the due time does not change, the delivery continues."""
        self.members = with_defaults(request)
        before, self.due_at = self.due_at, due_of(self.members)
        if self.due_at != before:
            self.delivery = Delivery()
        self.last_modification_date = now

    def describe(self) -> dict[str, Any]:
        """Return the members of the GetSchedule response."""
        return {
            "Arn": self.arn,
            **self.members,
            "CreationDate": self.creation_date,
            "LastModificationDate": self.last_modification_date,
        }

    def summary(self) -> dict[str, Any]:
        """Return the entry of the ListSchedules response."""
        described = self.describe()
        names = ("Arn", "Name", "GroupName", "State", "CreationDate", "LastModificationDate")
        return {**{name: described[name] for name in names}, "Target": {"Arn": self.members["Target"]["Arn"]}}

    def sort_key(self) -> str:
        """Return a sort key for newest first."""
        return f"{10**12 - self.creation_date:017.3f} {self.arn}"


def with_defaults(request: Request) -> dict[str, Any]:
    """Return the members of a create or update request, with defaults."""
    own = {name: value for name, value in request.items() if name != "ClientToken"}
    target = {**own["Target"], "RetryPolicy": {**RETRY_POLICY, **own["Target"].get("RetryPolicy", {})}}
    return {**DEFAULTS, **own, "Target": target}


def due_of(members: Request) -> float | None:
    """Return the due time of a schedule with these members. Raises ValidationException."""
    return due_at(members["ScheduleExpression"], members["ScheduleExpressionTimezone"])


def input_of(target: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the Input of a target, or None if it is not a JSON object."""
    try:
        value = json.loads(target.get("Input", "{}"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
