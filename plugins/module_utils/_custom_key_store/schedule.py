# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Leases in AWS: EventBridge Scheduler connects a store when its lease expires, even if the controller is lost.

Each lease is a one-time schedule, created before its store is disconnected, and deleted when the store is CONNECTED again. Its
name comes from the id of the store, so that only one window can have it, and any machine can find it. The description of the
schedule has what other machines need to know about the window. All times are by AWS's clock: that of the host may be wrong.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import platform
import re
import secrets
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any
from typing import Callable
from typing import Mapping
from typing import Optional
from typing import Protocol

from .clock import Clock
from .clock import Deadline
from .lease import Lease
from .lease import now
from .model import CustomKeyStoreError
from .run import Run
from .service import Service
from .service import ServiceError

PREFIX = "keyops-aws-"
"""The prefix of the names of all leases. The id of the store follows."""

GROUP = "default"
"""The schedule group of all leases. Each Region of an account has it."""

RENEW_SECONDS = 60.0
"""How often a keeper renews its leases, so that other machines know that it runs."""

LOST_SECONDS = 300.0
"""A window whose keeper has not renewed its lease for so long is lost."""

PATIENCE = 30.0
"""How long to retry a request to EventBridge Scheduler, in seconds."""

RETRY_POLICY = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
"""The maximum of AWS: KMS refuses a connect during a disconnect, or while it has a fault."""

SENTENCE = "Connects a custom key store of AWS KMS at the end of its maintenance window (keyops.aws)."

ROLE_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/(?P<name>[\w+=,.@/-]+)")
"""As in the model of EventBridge Scheduler."""


class SchedulerClient(Protocol):
    """The methods of boto3's client for EventBridge Scheduler that are used."""

    meta: Any

    def create_schedule(self, **kwargs: Any) -> dict[str, Any]: ...

    def get_schedule(self, **kwargs: str) -> dict[str, Any]: ...

    def update_schedule(self, **kwargs: Any) -> dict[str, Any]: ...

    def delete_schedule(self, **kwargs: str) -> dict[str, Any]: ...

    def list_schedules(self, **kwargs: str) -> dict[str, Any]: ...


class ScheduleError(ServiceError):
    """EventBridge Scheduler refused an operation, or did not answer."""


class NoSchedule(ScheduleError):
    """There is no such schedule."""


class ScheduleTaken(ScheduleError):
    """The schedule already exists."""


def schedule_name(custom_key_store_id: str) -> str:
    """The name of the lease of a store. It has at most 64 characters, which is enough for the ids of KMS."""
    if len(PREFIX + custom_key_store_id) <= 64:
        return PREFIX + custom_key_store_id
    return PREFIX + hashlib.sha256(custom_key_store_id.encode()).hexdigest()[:40]


def machine() -> str:
    """Identifies this machine until it restarts. Containers on one machine have the same value."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return platform.node()


def holder_token(holder: str) -> str:
    """The holder of a lease as it is sent to AWS: short, and without the paths of the host."""
    return hashlib.sha256((holder or secrets.token_hex(16)).encode()).hexdigest()[:16]


def is_in_use(lease: Lease, at: datetime.datetime) -> bool:
    """Does a window still have the store? If unknown, it does until the lease expires.

    Args:
        lease: in AWS.
        at: the time, by AWS's clock.
    """
    if lease.until is not None and at >= datetime.datetime.fromisoformat(lease.until):
        return False
    run = Run(lease.run)
    if lease.machine == machine() and run.is_visible:
        return not run.is_gone()
    if lease.seen is not None:
        return (at - datetime.datetime.fromisoformat(lease.seen)).total_seconds() < LOST_SECONDS
    return True


def refuse_second_window(lease: Lease, at: datetime.datetime) -> None:
    """Raises CustomKeyStoreError if another window has the store.

    Args:
        lease: in AWS.
        at: the time, by AWS's clock.
    """
    if not is_in_use(lease, at):
        return
    where = f" on the host {lease.host}" if lease.host else ""
    until = "" if lease.until is None else f", and ends at {lease.until} at the latest"
    raise CustomKeyStoreError(
        f"The custom key store {lease.custom_key_store_id} is in another maintenance window, as its lease in AWS says. That began"
        f" at {lease.time}{where}{until}. Wait for its end. If that window is lost, bring the store back with the playbook"
        " keyops.aws.reconnect, and run this again."
    )


def end_report(deleted: Optional[Lease], known: Optional[Lease], *, at: datetime.datetime) -> Optional[str]:
    """What differed when a lease in AWS was deleted, in a sentence; None if nothing did.

    Args:
        deleted: the lease; None if it did not exist any more.
        known: the lease on the host; None if there is none.
        at: the time, by AWS's clock.
    """
    lease = deleted or (known if known is not None and known.schedule else None)
    if lease is None or lease.until is None:
        return None
    if at >= datetime.datetime.fromisoformat(lease.until):
        return f"The lease of its window was over at {lease.until}: AWS connects the store then, whether the work is done or not."
    if deleted is None:
        return (
            f"Its lease in AWS, the schedule {lease.schedule}, was gone before its end. Somebody deleted it, so AWS could not"
            " have connected the store."
        )
    return None


@dataclass
class AwsLeases(Service):
    """The leases of one account and Region.

    Attributes:
        client: a boto3 client for EventBridge Scheduler, made with C(client_config()).
        role_arn: of the role with which EventBridge Scheduler connects a store; empty if no lease is created.
        patience: how long to retry a request, in seconds.
        clock: see C(Clock).
    """

    client: SchedulerClient
    role_arn: str = ""
    patience: float = PATIENCE
    clock: Clock = field(default_factory=Clock)

    name = "EventBridge Scheduler"
    error = ScheduleError
    errors = {"ResourceNotFoundException": NoSchedule, "ConflictException": ScheduleTaken}
    naming = ("Name",)

    def __post_init__(self) -> None:
        super().__init__(Deadline(self.clock, self.patience))

    def explain(self, code: str, operation: str, text: str) -> str:
        if code == "AccessDeniedException":
            action = "iam:PassRole" if "iam:PassRole" in text else f"scheduler:{operation}"
            return f"The caller needs the permission {action}, see the guide to permissions."
        if code == "ValidationException" and "assume the role" in text:
            return (
                f"The role {self.role_arn} must exist, and its trust policy must allow scheduler.amazonaws.com to assume it. The"
                " playbook keyops.aws.prepare_lease creates such a role."
            )
        if code == "ServiceQuotaExceededException":
            return "The account has as many schedules in this Region as it may have."
        return "Look at the message of AWS."

    def of(self, custom_key_store_id: str) -> Optional[Lease]:
        """The lease of a store, or None.

        Raises:
            ScheduleError: the request to EventBridge Scheduler failed.
        """
        schedule = self._get(schedule_name(custom_key_store_id))
        return None if schedule is None else _to_lease(schedule)

    def all(self) -> list[Lease]:
        """The leases of all stores in the account and Region."""
        names = []
        page: dict[str, Any] = {"NextToken": None}
        while "NextToken" in page:
            token = {"NextToken": page["NextToken"]} if page["NextToken"] else {}
            page = self._ask(
                "ListSchedules", self.client.list_schedules, {"GroupName": GROUP, "NamePrefix": PREFIX, **token}
            )
            names += [each["Name"] for each in page["Schedules"]]
            if not page.get("NextToken"):
                break
        found = [self._get(name) for name in sorted(names)]
        return [_to_lease(schedule) for schedule in found if schedule is not None]

    def open(self, lease: Lease, *, minutes: float) -> Lease:
        """Create the lease of a store, or take over a lease whose window has ended or is lost.

        Args:
            lease: of this window.
            minutes: its duration from now on.

        Returns:
            The lease as AWS has it.

        Raises:
            CustomKeyStoreError: another window has the store, or the lease could not be created.
        """
        present = self.of(lease.custom_key_store_id)
        own = replace(
            lease,
            until=_rounded_up(self.now() + datetime.timedelta(minutes=minutes)).isoformat(),
            holder=holder_token(lease.holder),
            host=platform.node(),
            machine=machine(),
            seen=self.now().isoformat() if lease.holder else None,
        )
        if present is None:
            present = self._create(own)
        if present is None:
            return own
        refuse_second_window(present, self.now())
        return self._take_over(own, present)

    def _create(self, lease: Lease) -> Optional[Lease]:
        """Returns None if the lease was created; otherwise the lease that another window has created meanwhile."""
        arguments = {**self._members(lease), "ClientToken": lease.holder}
        try:
            self._ask("CreateSchedule", self.client.create_schedule, arguments)
        except ScheduleTaken:
            present = self.of(lease.custom_key_store_id)
            if present is None:
                raise
            return None if present.holder == lease.holder else present  # our own: its answer was lost
        except ScheduleError as error:
            present = self.of(lease.custom_key_store_id) if error.maybe_applied else None
            if present is None or present.holder != lease.holder:
                raise
        return None

    def _take_over(self, own: Lease, present: Lease) -> Lease:
        own = replace(own, time=present.time, connection_state=present.connection_state)
        self._ask("UpdateSchedule", self.client.update_schedule, self._members(own))
        found = self.of(own.custom_key_store_id)
        if (
            found is not None and found.holder != own.holder
        ):  # two windows took it over at the same time: the last one has it
            refuse_second_window(found, self.now())
        return own

    def _members(self, lease: Lease) -> dict[str, Any]:
        partition = self.client.meta.partition
        return {
            "Name": schedule_name(lease.custom_key_store_id),
            "GroupName": GROUP,
            "Description": _to_description(lease),
            "ScheduleExpression": _expression(datetime.datetime.fromisoformat(str(lease.until))),
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "State": "ENABLED",
            "Target": {
                "Arn": f"arn:{partition}:scheduler:::aws-sdk:kms:connectCustomKeyStore",
                "RoleArn": self.role_arn,
                "Input": json.dumps({"CustomKeyStoreId": lease.custom_key_store_id}),
                "RetryPolicy": RETRY_POLICY,
            },
        }

    def renew(self, lease: Lease) -> Optional[Lease]:
        """Renew the lease, so that other machines know that the window still has the store.

        Args:
            lease: as open() returned it.

        Returns:
            The present lease: a user may have extended it, or another window may have it now. None if it does not exist any more.
        """
        schedule = self._get(schedule_name(lease.custom_key_store_id))
        if schedule is None:
            return None
        present = _to_lease(schedule)
        if present.holder == lease.holder:
            self._rewrite(schedule, replace(present, seen=self.now().isoformat()))
        return present

    def is_held(self, lease: Lease) -> bool:
        """Does a lease still exist, and has it not expired?

        Args:
            lease: as open() returned it.
        """
        present = self.of(lease.custom_key_store_id)
        if present is None or present.holder != lease.holder or present.until is None:
            return False
        return self.now() < datetime.datetime.fromisoformat(present.until)

    def end_at(self, custom_key_store_id: str, *, seconds: float, later_only: bool = False) -> Optional[Lease]:
        """Let the lease of a store expire so many seconds from now.

        Args:
            custom_key_store_id: which store.
            seconds: from now.
            later_only: leave a lease unchanged that expires later than that?

        Returns:
            The changed lease; None if there is none.
        """
        schedule = self._get(schedule_name(custom_key_store_id))
        if schedule is None:
            return None
        present = _to_lease(schedule)
        until = _rounded_up(self.now() + datetime.timedelta(seconds=seconds))
        if later_only and present.until is not None and until <= datetime.datetime.fromisoformat(present.until):
            return present
        present = replace(present, until=until.isoformat())
        self._rewrite(schedule, present)
        return present

    def _rewrite(self, schedule: Mapping[str, Any], lease: Lease) -> None:
        """Update the schedule with all its members: AWS would reset the missing ones to their defaults."""
        until = datetime.datetime.fromisoformat(lease.until) if lease.until else None
        own = {
            "Description": _to_description(lease),
            "ScheduleExpression": _expression(until) if until else schedule["ScheduleExpression"],
            "ScheduleExpressionTimezone": "UTC" if until else schedule["ScheduleExpressionTimezone"],
            "ActionAfterCompletion": "DELETE",
        }
        kept = {
            name: schedule[name]
            for name in ("Name", "GroupName", "FlexibleTimeWindow", "State", "Target", "KmsKeyArn")
            if schedule.get(name) is not None
        }
        self._ask("UpdateSchedule", self.client.update_schedule, {**kept, **own})

    def end(
        self, custom_key_store_id: str, *, unless: Callable[[Lease], bool] = lambda lease: False
    ) -> Optional[Lease]:
        """Delete the lease of a store that is in service again.

        Args:
            custom_key_store_id: which store.
            unless: should a lease be left unchanged?

        Returns:
            The deleted lease; None if there was none.

        Raises:
            ScheduleError: the lease still exists. It would connect the store at its end, even if a user disconnects it by then.
        """
        name = schedule_name(custom_key_store_id)
        schedule = self._get(name)
        if schedule is None:
            return None
        lease = _to_lease(schedule)
        if not unless(lease):
            with contextlib.suppress(NoSchedule):
                self._ask("DeleteSchedule", self.client.delete_schedule, {"Name": name, "GroupName": GROUP})
        return lease

    def _get(self, name: str) -> Optional[dict[str, Any]]:
        try:
            return self._ask("GetSchedule", self.client.get_schedule, {"Name": name, "GroupName": GROUP})
        except NoSchedule:
            return None

    def _ask(self, operation: str, method: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._deadline = Deadline(self.clock, self.patience)
        return self._call(operation, method, arguments)


def _rounded_up(time: datetime.datetime) -> datetime.datetime:
    """Round up to a full minute, the precision of AWS."""
    return (time + datetime.timedelta(seconds=59, microseconds=999999)).replace(second=0, microsecond=0)


def _expression(time: datetime.datetime) -> str:
    return f"at({time.astimezone(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S})"


_FACTS = {
    "since": "time",
    "found": "connection_state",
    "holder": "holder",
    "host": "host",
    "machine": "machine",
    "run": "run",
    "seen": "seen",
}
"""The names in the description, with the attributes of a lease."""


def _to_description(lease: Lease) -> str:
    """The description: a sentence for a person who reads the schedule, and the facts for other machines."""
    facts = {short: getattr(lease, name) for short, name in _FACTS.items()}
    facts["host"] = lease.host[:60]
    return f"{SENTENCE} {json.dumps({short: value for short, value in facts.items() if value}, separators=(',', ':'))}"


def _to_lease(schedule: Mapping[str, Any]) -> Lease:
    """Read a lease from its schedule. Another version may have written it, and a user may have changed it."""
    facts: dict[str, Any] = {}
    with contextlib.suppress(ValueError):
        _sentence, brace, text = str(schedule.get("Description", "")).partition("{")
        content = json.loads(brace + text)
        facts = {name: content[short] for short, name in _FACTS.items() if isinstance(content.get(short), str)}
    for name in ("time", "seen"):
        if name in facts and not _is_time(facts[name]):
            del facts[name]
    created = schedule.get("CreationDate")
    until = _until(schedule)
    return Lease(
        custom_key_store_id=_store_id(schedule),
        name="",
        until=None if until is None else until.isoformat(),
        schedule=schedule["Name"],
        **{
            "connection_state": "CONNECTED",
            "time": created.astimezone(datetime.timezone.utc).isoformat()
            if created
            else now().isoformat(timespec="seconds"),
            **facts,
        },
    )


def _is_time(text: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _store_id(schedule: Mapping[str, Any]) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(schedule["Target"]["Input"])["CustomKeyStoreId"])
    return str(schedule["Name"])[len(PREFIX) :]


def _until(schedule: Mapping[str, Any]) -> Optional[datetime.datetime]:
    """When the lease expires, in UTC: a user may have set another time zone. None if the expression is not a time."""
    matched = re.fullmatch(r"at\((.*)\)", schedule.get("ScheduleExpression", ""))
    try:
        time = datetime.datetime.fromisoformat(matched.group(1) if matched else "")
        zone = schedule.get("ScheduleExpressionTimezone") or "UTC"
        if zone == "UTC":
            return time.replace(tzinfo=datetime.timezone.utc)
        from zoneinfo import ZoneInfo  # its data is not on every host

        return time.replace(tzinfo=ZoneInfo(zone)).astimezone(datetime.timezone.utc)
    except (ValueError, ImportError, LookupError):
        return None
