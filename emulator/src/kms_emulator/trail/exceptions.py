# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of CloudTrail. The class name is the error code."""

from __future__ import annotations

from ..custom_key_stores.exceptions import KmsError


class InvalidEventCategoryException(KmsError):
    default_message = "Occurs if an event category that is not valid is specified as a value of EventCategory."


class InvalidLookupAttributesException(KmsError):
    default_message = "You can use only one lookup attribute in a request."


class InvalidMaxResultsException(KmsError):
    default_message = "MaxResults must be from 1 to 50."


class InvalidNextTokenException(KmsError):
    default_message = "The NextToken is not valid, or was made for other parameters."


class InvalidTimeRangeException(KmsError):
    default_message = "The StartTime must not be after the EndTime."
