# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorization of KMS requests (R21): moto's IAM, if it is enabled, with the errors of KMS."""

from __future__ import annotations

from typing import ClassVar
from typing import NoReturn

from moto.iam.access_control import IAMRequest

from .exceptions import AccessDeniedException
from .exceptions import InvalidSignatureException
from .exceptions import UnrecognizedClientException


class KmsAccess(IAMRequest):
    """Authorizes one KMS request: the caller's policies must allow the action."""

    def _raise_access_denied(self) -> NoReturn:
        raise AccessDeniedException(f"{self._access_key.arn} is not authorized to perform {self._action}.")

    def _raise_invalid_access_key(self, _reason: str) -> NoReturn:
        raise UnrecognizedClientException()

    def _raise_signature_does_not_match(self) -> NoReturn:
        raise InvalidSignatureException()


class KmsAccessWithSecondAction(KmsAccess):
    """Authorizes an operation that requires permission for a second action."""

    second_action: ClassVar[str]

    def check_action_permitted(self, resource: str) -> None:
        """Raises AccessDeniedException, naming the action that the caller's policies do not allow."""
        super().check_action_permitted(resource)
        self._action = self.second_action
        super().check_action_permitted(resource)


class KmsAccessToCluster(KmsAccessWithSecondAction):
    """KMS describes the CloudHSM cluster with the caller's permissions."""

    second_action = "cloudhsm:DescribeClusters"


class KmsAccessToTags(KmsAccessWithSecondAction):
    """CreateKey with tags."""

    second_action = "kms:TagResource"
