# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SimulatePrincipalPolicy of IAM, which moto lacks: evaluates the policies of a user, group or role."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import InvalidInput
from moto.iam.exceptions import NoSuchEntity
from moto.iam.models import IAMBackend
from moto.iam.responses import IamResponse

from .policies import decide
from .policies import policies_of
from .policies import statements


def install_simulation() -> None:
    """Add the operation to moto's IAM. Idempotent."""
    IamResponse.simulate_principal_policy = simulate_principal_policy


def simulate_principal_policy(self: IamResponse) -> ActionResult:
    """Decide each action on each resource.

    Raises NoSuchEntity for a principal that does not exist in the account, and InvalidInput for an invalid policy.
    """
    given = self._get_param("PolicyInputList", [])
    if not all(statements(policy) for policy in given):
        raise InvalidInput("Syntax errors in policy.")
    policies = [*policies_of(self.backend, _principal(self.backend, self._get_param("PolicySourceArn"))), *given]
    context = {
        entry["ContextKeyName"].lower(): entry.get("ContextKeyValues", [])
        for entry in self._get_param("ContextEntries", [])
    }
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": decide(policies, action, resource, context).value,
        }
        for action in self._get_param("ActionNames", [])
        for resource in self._get_param("ResourceArns", []) or ["*"]
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _principal(iam: IAMBackend, arn: str) -> Any:
    for principal in (*iam.get_roles(), *iam.users.values(), *iam.groups.values()):
        if principal.arn == arn:
            return principal
    raise NoSuchEntity(f"The principal {arn} cannot be found.")
