# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runs of schedules: when the next attempt is due, and what becomes of it."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .schedules import Delivery
from .schedules import Schedule
from .targets import UNKNOWN

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
"""Seconds between two attempts: they double, from the first to the longest. AWS does not publish its own."""

SECOND_DELIVERY = 5.0
"""Seconds between a delivery that succeeded and the second one."""


@dataclass(frozen=True)
class DeliveryRule:
    """How the schedules whose names begin so are delivered: as they should be, unless a test says otherwise."""

    name_prefix: str = ""
    late_seconds: float = 0.0
    twice: bool = False
    never: bool = False


class Runs:
    """What was run in one account and Region, and how. Call: does what a schedule is for, returns "ok" or the error code."""

    def __init__(self, call: Callable[[Schedule], str]) -> None:
        self._call = call
        self._rules: list[DeliveryRule] = []
        self.log: list[dict[str, Any]] = []
        """One entry for each attempt: name, time, operation, outcome, attempt."""

    def deliver(self, rule: DeliveryRule) -> None:
        """Deliver so from here on."""
        self._rules.append(rule)

    def next_due(self, schedules: Iterable[Schedule]) -> float:
        """When the next attempt is due; infinity: never."""
        return min((self._next_attempt(schedule) for schedule in schedules), default=math.inf)

    def due(self, schedules: Iterable[Schedule], moment: float) -> list[Schedule]:
        """Those with an attempt that is due by a moment, the earliest first."""
        found = [schedule for schedule in schedules if self._next_attempt(schedule) <= moment]
        return sorted(found, key=self._next_attempt)

    def attempt(self, schedule: Schedule, moment: float) -> None:
        """Make the attempt that is due."""
        delivery = schedule.delivery
        if delivery.attempts == 0:
            delivery.began_at = moment
        delivery.attempts += 1
        outcome = self._outcome(schedule)
        self.log.append(
            {
                "name": schedule.name,
                "time": round(moment, 3),
                "operation": schedule.members["Target"]["Arn"].rpartition(":")[2],
                "outcome": outcome,
                "attempt": delivery.attempts,
            }
        )
        if outcome == "ok" and self._rule(schedule).twice and not delivery.is_second:
            schedule.delivery = Delivery(is_second=True, retry_at=moment + SECOND_DELIVERY)
        elif outcome in ("ok", UNKNOWN):
            delivery.is_over = True
        else:
            self._retry(schedule, moment)

    def _outcome(self, schedule: Schedule) -> str:
        try:
            return self._call(schedule)
        except Exception:
            # It shall not spoil the request that comes along just when it is due.
            traceback.print_exc()
            return "InternalFailure"

    def _retry(self, schedule: Schedule, moment: float) -> None:
        """Try again later, or give up."""
        delivery, policy = schedule.delivery, schedule.retry_policy
        # No power beyond the one that leads to the longest: it would be a number without end.
        pause = min(FIRST_RETRY * 2 ** min(delivery.attempts - 1, 10), LONGEST_RETRY)
        delivery.retry_at = moment + pause
        is_too_old = delivery.retry_at > delivery.began_at + policy["MaximumEventAgeInSeconds"]
        delivery.is_over = is_too_old or delivery.attempts > policy["MaximumRetryAttempts"]

    def _next_attempt(self, schedule: Schedule) -> float:
        delivery, rule = schedule.delivery, self._rule(schedule)
        if schedule.due_at is None or delivery.is_over or rule.never or not schedule.is_enabled:
            return math.inf
        return schedule.due_at + rule.late_seconds if delivery.retry_at is None else delivery.retry_at

    def _rule(self, schedule: Schedule) -> DeliveryRule:
        """The last one that fits."""
        fitting = (rule for rule in reversed(self._rules) if schedule.name.startswith(rule.name_prefix))
        return next(fitting, DeliveryRule())
