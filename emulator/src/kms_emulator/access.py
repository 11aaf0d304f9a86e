# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May the caller do this (R21)? moto's IAM, while it is on, with the errors of KMS."""

from __future__ import annotations

from typing import ClassVar
from typing import NoReturn

from moto.iam.access_control import IAMRequest

from .exceptions import AccessDeniedException
from .exceptions import InvalidSignatureException
from .exceptions import UnrecognizedClientException


class KmsAccess(IAMRequest):
    """One request to KMS, as IAM sees it: the caller's policies must allow the action."""

    def _raise_access_denied(self) -> NoReturn:
        raise AccessDeniedException(f"{self._access_key.arn} is not authorized to perform {self._action}.")

    def _raise_invalid_access_key(self, _reason: str) -> NoReturn:
        raise UnrecognizedClientException()

    def _raise_signature_does_not_match(self) -> NoReturn:
        raise InvalidSignatureException()


class KmsAccessAndMore(KmsAccess):
    """The same for an operation that another action has to be allowed for, too."""

    also: ClassVar[str]

    def check_action_permitted(self, resource: str) -> None:
        """Raises AccessDeniedException, naming the action that the caller's policies do not allow."""
        super().check_action_permitted(resource)
        self._action = self.also
        super().check_action_permitted(resource)


class KmsAccessToCluster(KmsAccessAndMore):
    """KMS looks at the CloudHSM cluster with the permissions of the caller."""

    also = "cloudhsm:DescribeClusters"


class KmsAccessToTags(KmsAccessAndMore):
    """A new key gets tags."""

    also = "kms:TagResource"
