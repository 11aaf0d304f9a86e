# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runs of schedules: due times and outcomes of attempts."""

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
"""Seconds between two attempts. They double, from the first to the longest. AWS does not publish its values."""

SECOND_DELIVERY = 5.0
"""Seconds between a successful delivery and the second one."""


@dataclass(frozen=True)
class DeliveryRule:
    """The delivery of schedules with a name prefix. By default, one delivery on time."""

    name_prefix: str = ""
    late_seconds: float = 0.0
    twice: bool = False
    never: bool = False


class Runs:
    """The attempts in one account and Region. Call: calls the target of a schedule, and returns "ok" or the error code."""

    def __init__(self, call: Callable[[Schedule], str]) -> None:
        self._call = call
        self._rules: list[DeliveryRule] = []
        self.log: list[dict[str, Any]] = []
        """One entry for each attempt: name, time, operation, outcome, attempt."""

    def add_rule(self, rule: DeliveryRule) -> None:
        """Add a delivery rule, which takes precedence over earlier ones."""
        self._rules.append(rule)

    def next_due(self, schedules: Iterable[Schedule]) -> float:
        """Return the due time of the next attempt. Infinity: never."""
        return min((self._next_attempt(schedule) for schedule in schedules), default=math.inf)

    def due(self, schedules: Iterable[Schedule], now: float) -> list[Schedule]:
        """Return the schedules with an attempt that is due, earliest first."""
        found = [schedule for schedule in schedules if self._next_attempt(schedule) <= now]
        return sorted(found, key=self._next_attempt)

    def attempt(self, schedule: Schedule, now: float) -> None:
        """Make an attempt that is due."""
        delivery = schedule.delivery
        if delivery.attempts == 0:
            delivery.began_at = now
        delivery.attempts += 1
        outcome = self._outcome(schedule)
        self.log.append(
            {
                "name": schedule.name,
                "time": round(now, 3),
                "operation": schedule.members["Target"]["Arn"].rpartition(":")[2],
                "outcome": outcome,
                "attempt": delivery.attempts,
            }
        )
        if outcome == "ok" and self._rule(schedule).twice and not delivery.is_second:
            schedule.delivery = Delivery(is_second=True, retry_at=now + SECOND_DELIVERY)
        elif outcome in ("ok", UNKNOWN):
            delivery.is_over = True
        else:
            self._retry(schedule, now)

    def _outcome(self, schedule: Schedule) -> str:
        try:
            return self._call(schedule)
        except Exception:
            # A failure must not affect the request during which the attempt is due.
            traceback.print_exc()
            return "InternalFailure"

    def _retry(self, schedule: Schedule, now: float) -> None:
        """Plan a retry, or end the delivery."""
        delivery, policy = schedule.delivery, schedule.retry_policy
        # Limit the exponent: the power would otherwise grow without limit.
        pause = min(FIRST_RETRY * 2 ** min(delivery.attempts - 1, 10), LONGEST_RETRY)
        delivery.retry_at = now + pause
        is_expired = delivery.retry_at > delivery.began_at + policy["MaximumEventAgeInSeconds"]
        delivery.is_over = is_expired or delivery.attempts > policy["MaximumRetryAttempts"]

    def _next_attempt(self, schedule: Schedule) -> float:
        delivery, rule = schedule.delivery, self._rule(schedule)
        if schedule.due_at is None or delivery.is_over or rule.never or not schedule.is_enabled:
            return math.inf
        return schedule.due_at + rule.late_seconds if delivery.retry_at is None else delivery.retry_at

    def _rule(self, schedule: Schedule) -> DeliveryRule:
        """Return the last rule that matches."""
        matching = (rule for rule in reversed(self._rules) if schedule.name.startswith(rule.name_prefix))
        return next(matching, DeliveryRule())
