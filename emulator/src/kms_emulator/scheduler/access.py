# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorization of requests: moto's IAM, if it is enabled, with full policy evaluation and EventBridge Scheduler's errors."""

from __future__ import annotations

from typing import Any
from typing import NoReturn

from botocore.awsrequest import AWSRequest
from moto.iam.access_control import IAMRequest

from ..policies import Context
from ..policies import Decision
from ..policies import decide
from .exceptions import AccessDeniedException
from .exceptions import InvalidSignatureException
from .exceptions import UnrecognizedClientException
from .targets import SERVICE

REASONS = {
    Decision.IMPLICIT_DENY: "because no identity-based policy allows the {action} action",
    Decision.EXPLICIT_DENY: "with an explicit deny in an identity-based policy",
}


class SchedulerAccess(IAMRequest):
    """Authorizes one request: the caller's policies must allow the action, and iam:PassRole if the request has a role."""

    def __init__(self, *, passed_role: str | None = None, **request: Any) -> None:
        super().__init__(**request)
        self._passed_role = passed_role

    def check_action_permitted(self, resource: str) -> None:
        """Raises AccessDeniedException, naming the action that the caller's policies do not allow."""
        self._check(self._action, resource, {})
        if self._passed_role is not None:
            self._check("iam:PassRole", self._passed_role, {"iam:passedtoservice": [SERVICE]})

    def _check(self, action: str, resource: str, context: Context) -> None:
        decision = decide(self._access_key.collect_policies(), action, resource, context)
        if decision is not Decision.ALLOWED:
            reason = REASONS[decision].format(action=action)
            raise AccessDeniedException(
                f"User: {self._access_key.arn} is not authorized to perform: {action} on resource: {resource} {reason}"
            )

    def _create_aws_request(self) -> AWSRequest:
        """Return the request as signed. For a request without a body, moto uses the query as the body."""
        request: AWSRequest = super()._create_aws_request()
        request.data = self._body
        return request

    def _raise_invalid_access_key(self, _reason: str) -> NoReturn:
        raise UnrecognizedClientException()

    def _raise_signature_does_not_match(self) -> NoReturn:
        raise InvalidSignatureException()
