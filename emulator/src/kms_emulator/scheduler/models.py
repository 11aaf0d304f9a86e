# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EventBridge Scheduler of one account and Region, with the clock of KMS. The caller must hold KMS's lock."""

from __future__ import annotations

from typing import Any
from typing import cast

from moto.scheduler.models import EventBridgeSchedulerBackend
from moto.scheduler.models import ScheduleGroup
from moto.scheduler.models import scheduler_backends
from moto.utilities.utils import get_partition

from ..custom_key_stores.exceptions import InvalidMarkerException
from ..custom_key_stores.paging import page
from ..in_place import replace_backend
from ..models import EmulatedBackend
from ..models import backends
from . import targets
from .exceptions import ConflictException
from .exceptions import ResourceNotFoundException
from .exceptions import ValidationException
from .runs import DeliveryRule
from .runs import Runs
from .schedules import GROUP
from .schedules import UNIVERSAL
from .schedules import Request
from .schedules import Schedule
from .schedules import due_of
from .schedules import input_of
from .schedules import with_defaults

DEFAULT_PAGE = 100

EARLIEST_START = 300.0
"""Maximum age of the StartDate of a recurring schedule, in seconds."""


def install_scheduler() -> None:
    """Make moto's EventBridge Scheduler run schedules. Idempotent. The first call clears moto's."""
    replace_backend(scheduler_backends, SchedulerBackend)


class SchedulerBackend(EventBridgeSchedulerBackend):
    """moto's backend, with schedules that run. They are in moto's groups. Tags are moto's."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.runs = Runs(lambda schedule: targets.call(self.kms, schedule))

    def forget(self) -> None:
        """Reset all state."""
        self.__init__(self.region_name, self.account_id)  # type: ignore[misc]  # as moto itself resets

    def reset(self) -> None:
        """Reset all state. moto's own method deletes the attributes meanwhile, and other threads may use them."""
        self.forget()

    @property
    def kms(self) -> EmulatedBackend:
        """KMS of the same account and Region."""
        return backends()[self.account_id][self.region_name]

    # Operations. Each takes the members of the request, and returns those of the response.

    def create_schedule(self, request: Request) -> dict[str, str]:
        """CreateSchedule. Idempotent for the same request with a ClientToken."""
        group = self._group(request)
        members = self._checked(request)
        existing = group.schedules.get(request["Name"])
        if existing is not None:
            if "ClientToken" in request and existing.created_by == request:
                return {"ScheduleArn": existing.arn}
            raise ConflictException(f"Schedule {request['Name']} already exists.")
        now = self.kms.now()
        schedule = Schedule(
            arn=f"{self._arn('schedule')}/{group.name}/{request['Name']}",
            members=members,
            due_at=due_of(members),
            created_by=request,
            creation_date=now,
            last_modification_date=now,
        )
        group.add_schedule(schedule)
        self.plan()
        return {"ScheduleArn": schedule.arn}

    def get_schedule(self, request: Request) -> dict[str, Any]:
        """GetSchedule."""
        return self._schedule(request).describe()

    def update_schedule(self, request: Request) -> dict[str, str]:
        """UpdateSchedule. Missing members get their defaults."""
        schedule = self._schedule(request)
        self._checked(request)
        schedule.update(request, self.kms.now())
        self.plan()
        return {"ScheduleArn": schedule.arn}

    def delete_schedule(self, request: Request) -> dict[str, Any]:
        """DeleteSchedule. Cancels all further attempts."""
        schedule = self._schedule(request)
        self._group(request).delete_schedule(schedule.name)
        self.plan()
        return {}

    def list_schedules(self, request: Request) -> dict[str, Any]:
        """ListSchedules: of one group or of all groups, in pages, newest first."""
        schedules = list(self._group(request).schedules.values()) if "GroupName" in request else self.all_schedules()
        found = [
            schedule
            for schedule in sorted(schedules, key=Schedule.sort_key)
            if schedule.name.startswith(request.get("NamePrefix", ""))
            and schedule.members["State"] == request.get("State", schedule.members["State"])
        ]
        try:
            shown, rest = page(
                found,
                Schedule.sort_key,
                limit=request.get("MaxResults", DEFAULT_PAGE),
                marker=request.get("NextToken"),
                prefix=f"schedules {self.account_id} {self.region_name} ",
            )
        except InvalidMarkerException:
            raise ValidationException("Invalid NextToken.") from None
        more = {"NextToken": rest["NextMarker"]} if rest["Truncated"] else {}
        return {"Schedules": [schedule.summary() for schedule in shown], **more}

    # Shared by the operations

    def all_schedules(self) -> list[Schedule]:
        """Return the schedules of all groups."""
        return [schedule for group in self.schedule_groups.values() for schedule in group.schedules.values()]

    def _group(self, request: Request) -> ScheduleGroup:
        name = request.get("GroupName", GROUP)
        if name not in self.schedule_groups:
            raise ResourceNotFoundException(f"Schedule group {name} does not exist.")
        return self.schedule_groups[name]

    def _schedule(self, request: Request) -> Schedule:
        schedules = self._group(request).schedules
        if request["Name"] not in schedules:
            raise ResourceNotFoundException(f"Schedule {request['Name']} does not exist.")
        return cast(Schedule, schedules[request["Name"]])

    def _arn(self, resource: str) -> str:
        return f"arn:{get_partition(self.region_name)}:scheduler:{self.region_name}:{self.account_id}:{resource}"

    def _checked(self, request: Request) -> dict[str, Any]:
        """Return the members of a create or update request, with defaults. Raises ValidationException."""
        members = with_defaults(request)
        if due_of(members) is None and members.get("StartDate", self.kms.now()) < self.kms.now() - EARLIEST_START:
            raise ValidationException("The StartDate you specify cannot be earlier than 5 minutes ago.")
        window = members["FlexibleTimeWindow"]
        if (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window):
            raise ValidationException(
                "A FlexibleTimeWindow has MaximumWindowInMinutes if its Mode is FLEXIBLE, and only then."
            )
        target = members["Target"]
        check_target(target, get_partition(self.region_name))
        if targets.role_for(self.kms, target["RoleArn"], members["GroupName"]) is None:
            raise ValidationException(
                "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
            )
        return members

    # Runs

    def set_delivery(self, rule: DeliveryRule) -> None:
        """Set a delivery rule, also for existing schedules."""
        self.runs.add_rule(rule)
        self.plan()

    def plan(self) -> None:
        """Plan the next attempt."""
        self.kms.agenda.set_next(self, self.runs.next_due(self.all_schedules()))

    def run_due(self, now: float) -> float:
        """Make all attempts that are due. Returns the next due time."""
        for schedule in self.runs.due(self.all_schedules(), now):
            self.runs.attempt(schedule, now)
            if schedule.delivery.is_over and schedule.members["ActionAfterCompletion"] == "DELETE":
                self.schedule_groups[schedule.group_name].delete_schedule(schedule.name)
        return self.runs.next_due(self.all_schedules())


def check_target(target: Request, partition: str) -> None:
    """Raises ValidationException for an invalid target."""
    arn = target["Arn"].split(":")
    if len(arn) < 6 or arn[0] != "arn":
        raise ValidationException("Provided Arn is not in correct format.")
    if arn[1] != partition:
        raise ValidationException(f"The target {target['Arn']} is not in the partition of this Region, {partition}.")
    if arn[2] == "scheduler" and not UNIVERSAL.fullmatch(target["Arn"]):
        raise ValidationException("scheduler is not a supported service for a target.")
    if UNIVERSAL.fullmatch(target["Arn"]) and input_of(target) is None:
        raise ValidationException("The Input of a universal target must be a JSON object.")


def existing_scheduler(account_id: str, region_name: str) -> SchedulerBackend | None:
    """Return the scheduler of an account and Region, or None if it was never used. Does not create it, which takes time."""
    account = scheduler_backends.get(account_id)
    return account.get(region_name) if account is not None else None
