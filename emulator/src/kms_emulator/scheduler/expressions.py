# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a schedule is due: its expression, in its time zone."""

from __future__ import annotations

import datetime
import re
from zoneinfo import ZoneInfo
from zoneinfo import ZoneInfoNotFoundError

from .exceptions import ValidationException

ONE_TIME = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
RECURRING = re.compile(r"rate\(\d+ (minute|hour|day)s?\)|cron\((\S+ ){5}\S+\)")


def due_at(expression: str, timezone: str) -> float | None:
    """When a one-time schedule is due, in seconds since the epoch; None: it is a recurring one, which never runs here.

    Raises ValidationException for an expression or time zone that there is not.
    """
    zone = _zone(timezone)
    if RECURRING.fullmatch(expression):
        return None
    matched = ONE_TIME.fullmatch(expression)
    try:
        moment = datetime.datetime.fromisoformat(matched[1] if matched else "")
        # In UTC, as it may be in another year there, of which there are 9999.
        return moment.replace(tzinfo=zone).astimezone(datetime.timezone.utc).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValidationException(f"Invalid Schedule Expression {expression}.") from error


def _zone(name: str) -> datetime.tzinfo:
    if name == "UTC":
        # Without a look at the system's time zones, which it may not have.
        return datetime.timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationException(f"Invalid Schedule Expression Timezone {name}.") from error
