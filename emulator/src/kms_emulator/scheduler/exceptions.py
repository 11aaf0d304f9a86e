# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of EventBridge Scheduler. The class name is the error code. The messages are AWS's texts, if known."""

from __future__ import annotations

from typing import ClassVar

from moto.core.exceptions import JsonRESTError


class SchedulerError(JsonRESTError):
    """An error response, with HTTP 400 unless a subclass overrides it."""

    code: int = 400
    default_message: ClassVar[str] = "The request failed."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(type(self).__name__, message or self.default_message)


class AccessDeniedException(SchedulerError):
    code = 403


class ConflictException(SchedulerError):
    code = 409


class InvalidSignatureException(SchedulerError):
    code = 403
    default_message = "The signature of the request does not match the secret access key."


class ResourceNotFoundException(SchedulerError):
    code = 404


class UnrecognizedClientException(SchedulerError):
    code = 403
    default_message = "The security token included in the request is invalid."


class ValidationException(SchedulerError):
    default_message = "The request is not valid."
