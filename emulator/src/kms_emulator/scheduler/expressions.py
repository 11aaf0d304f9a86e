# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedule expressions in their time zones."""

from __future__ import annotations

import datetime
import re
from zoneinfo import ZoneInfo
from zoneinfo import ZoneInfoNotFoundError

from .exceptions import ValidationException

ONE_TIME = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
RECURRING = re.compile(r"rate\(\d+ (minute|hour|day)s?\)|cron\((\S+ ){5}\S+\)")


def due_at(expression: str, timezone: str) -> float | None:
    """Return the due time of a one-time schedule, in seconds since the epoch. None: a recurring schedule, which never runs here.

    Raises ValidationException for an invalid expression or time zone.
    """
    zone = _zone(timezone)
    if RECURRING.fullmatch(expression):
        return None
    matched = ONE_TIME.fullmatch(expression)
    try:
        local_time = datetime.datetime.fromisoformat(matched[1] if matched else "")
        # astimezone() raises OverflowError if the year is out of range in UTC.
        return local_time.replace(tzinfo=zone).astimezone(datetime.timezone.utc).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValidationException(f"Invalid Schedule Expression {expression}.") from error


def _zone(name: str) -> datetime.tzinfo:
    if name == "UTC":
        # Do not read the system's time zones, which may be missing.
        return datetime.timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationException(f"Invalid Schedule Expression Timezone {name}.") from error
