# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pagination, with markers that are valid for one account, Region and listing only."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable
from typing import Any
from typing import TypeVar

from .exceptions import InvalidMarkerException

T = TypeVar("T")


def page(
    entries: list[T], key: Callable[[T], str], *, limit: int, marker: str | None, prefix: str
) -> tuple[list[T], dict[str, Any]]:
    """Return one page of entries, which are sorted by key, and the members Truncated and NextMarker.

    Raises InvalidMarkerException for a marker with another prefix.
    """
    start = bisect_right(entries, _last(marker, prefix), key=key) if marker is not None else 0
    found = entries[start : start + limit]
    truncated = len(entries) > start + limit
    rest: dict[str, Any] = {"Truncated": truncated}
    if truncated:
        rest["NextMarker"] = base64.urlsafe_b64encode((prefix + key(found[-1])).encode()).decode()
    return found, rest


def _last(marker: str, prefix: str) -> str:
    try:
        text = base64.urlsafe_b64decode(marker).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidMarkerException() from error
    if not text.startswith(prefix):
        raise InvalidMarkerException()
    return text.removeprefix(prefix)
