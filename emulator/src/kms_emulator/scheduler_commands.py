# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands for EventBridge Scheduler: schedules, runs, and their delivery."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any
from typing import cast

from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.scheduler.models import scheduler_backends
from moto.utilities.utils import get_partition

from .commands import LONGEST
from .commands import Commands
from .commands import command
from .scheduler.models import SchedulerBackend
from .scheduler.runs import DeliveryRule
from .scheduler.schedules import GROUP
from .scheduler.schedules import Schedule
from .scheduler.schedules import input_of
from .scheduler.targets import SERVICE

ROLE_ACTIONS = ["kms:ConnectCustomKeyStore", "cloudhsm:DescribeClusters"]
POLICY_NAME = "schedule"
ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)


class SchedulerCommands(Commands):
    """The part of Control for EventBridge Scheduler."""

    @property
    def _scheduler(self) -> SchedulerBackend:
        account = scheduler_backends[self.account_id]
        if self.region_name not in account:
            raise ValueError(f"There is no EventBridge Scheduler in the Region {self.region_name!r}.")
        return cast(SchedulerBackend, account[self.region_name])

    @command
    def schedules(self) -> list[dict[str, Any]]:
        """Return all schedules, sorted by group and name.

        Each: name; group; at (ISO 8601, in UTC; None for a recurring one); operation, the last part of the target's ARN;
        parameters: the Input, None if it is not a JSON object; state; description; role_arn; attempts of the delivery so far.
        """
        found = sorted(self._scheduler.all_schedules(), key=lambda schedule: (schedule.group_name, schedule.name))
        return [_as_response(schedule) for schedule in found]

    @command
    def schedule_runs(self) -> list[dict[str, Any]]:
        """Return all attempts to run a schedule, in order.

        Each: name; time (seconds since the epoch); operation; outcome: "ok", or the error code; attempt (from 1).
        """
        return [dict(entry) for entry in self._scheduler.runs.log]

    @command
    def set_schedule_delivery(
        self, name_prefix: str, *, late_seconds: float = 0, twice: bool = False, never: bool = False
    ) -> None:
        """Set the delivery of all schedules with this name prefix, including later ones.

        If several calls match a name, the last one applies.
        Args: late_seconds: delay of the first attempt. twice: deliver again after a successful delivery.
        never: make no attempt, until another call for these names.
        """
        if not 0 <= late_seconds <= LONGEST:
            raise ValueError(f"A number of seconds must be 0 or more, and at most {LONGEST}.")
        self._scheduler.set_delivery(DeliveryRule(name_prefix, late_seconds, twice, never))

    @command
    def create_schedule_role(
        self, name: str = "keyops-aws-lease", *, trusted: bool = True, actions: list[str] | None = None
    ) -> str:
        """Create an execution role in moto's IAM, or replace the one with this name. Returns its ARN.

        Args: trusted: whether it trusts EventBridge Scheduler, for schedules of this account and the group default. actions: the
        actions that its only policy allows (default: to connect stores of either type).
        """
        if not ROLE_NAME.fullmatch(name):
            raise ValueError(f"A role cannot be named {name!r}: 1 to 64 letters, digits, and any of +=,.@-_.")
        iam = iam_backends[self.account_id][get_partition(self.region_name)]
        trust = _policy(self._trust(SERVICE if trusted else "ec2.amazonaws.com"))
        try:
            role = iam.get_role(name)
            iam.update_assume_role_policy(name, trust)
        except NotFoundException:
            role = iam.create_role(name, trust, "/", None, "Made by the emulator.", [], None)
        role.managed_policies.clear()
        role.policies.clear()
        allowed = ROLE_ACTIONS if actions is None else actions
        if allowed:
            iam.put_role_policy(name, POLICY_NAME, _policy({"Effect": "Allow", "Action": allowed, "Resource": "*"}))
        return str(role.arn)

    def _trust(self, service: str) -> dict[str, Any]:
        place = f"arn:{get_partition(self.region_name)}:scheduler:{self.region_name}:{self.account_id}"
        return {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {
                    "aws:SourceAccount": self.account_id,
                    "aws:SourceArn": f"{place}:schedule-group/{GROUP}",
                }
            },
        }


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _as_response(schedule: Schedule) -> dict[str, Any]:
    target, at = schedule.members["Target"], schedule.due_at
    return {
        "name": schedule.name,
        "group": schedule.group_name,
        "at": None if at is None else datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat(),
        "operation": target["Arn"].rpartition(":")[2],
        "parameters": input_of(target),
        "state": schedule.members["State"],
        "description": schedule.members.get("Description"),
        "role_arn": target["RoleArn"],
        "attempts": schedule.delivery.attempts,
    }
