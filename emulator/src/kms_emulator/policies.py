# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation of IAM policies, including resources and conditions. moto ignores them, or takes them for a denial."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from enum import Enum
from typing import Any

from moto.iam.access_control import IAMPolicy

Statement = Mapping[str, Any]

Context = Mapping[str, list[str]]
"""The values of condition keys, by name in lower case."""


class Decision(str, Enum):
    """The decision on a request, with the values of SimulatePrincipalPolicy."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


def policies_of(iam: Any, principal: Any) -> list[Any]:
    """Return all policies of a role or user of moto's IAM, including those of the user's groups."""
    holders = [principal]
    if hasattr(principal, "access_keys"):
        holders += iam.get_groups_for_user(principal.name)
    return [policy for holder in holders for policy in (*holder.policies.values(), *holder.managed_policies.values())]


def decide(policies: Iterable[Any], action: str, resource: str = "*", context: Context | None = None) -> Decision:
    """Decide whether these policies (in any form that moto has) allow an action."""
    found = {
        statement["Effect"]
        for policy in policies
        for statement in statements(policy)
        if _applies_to(statement, action, resource) and _conditions_are_true(statement, context or {})
    }
    if "Deny" in found:
        return Decision.EXPLICIT_DENY
    return Decision.ALLOWED if "Allow" in found else Decision.IMPLICIT_DENY


def trusts(policy: Any, service: str, context: Context) -> bool:
    """Whether a trust policy allows a service to assume the role."""
    found = {
        statement["Effect"]
        for statement in statements(policy)
        if _has_service_principal(statement, service)
        and _matches(statement, "Action", "sts:AssumeRole", ignore_case=True)
        and _conditions_are_true(statement, context)
    }
    return found == {"Allow"}


def statements(policy: Any) -> list[Statement]:
    """Return the statements of a policy in any form that moto has. Empty for an invalid one, which moto accepts for a role."""
    try:
        found = as_list(IAMPolicy(policy)._policy_json["Statement"])
    except (ValueError, TypeError, KeyError):
        return []
    return found if all(_is_valid(statement) for statement in found) else []


def _is_valid(statement: Any) -> bool:
    if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
        return False
    conditions = statement.get("Condition", {})
    return isinstance(conditions, dict) and all(isinstance(block, dict) for block in conditions.values())


def as_list(value: Any) -> list[Any]:
    """Return the list, or a list of the single value."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _has_service_principal(statement: Statement, service: str) -> bool:
    principal = statement.get("Principal")
    return principal == "*" or (isinstance(principal, dict) and service in as_list(principal.get("Service")))


def _applies_to(statement: Statement, action: str, resource: str) -> bool:
    return _matches(statement, "Action", action, ignore_case=True) and _matches(statement, "Resource", resource)


def _matches(statement: Statement, element: str, value: str, *, ignore_case: bool = False) -> bool:
    """Whether the value matches a pattern of an element, or no pattern of its negation, such as NotAction."""
    negation = f"Not{element}"
    if negation in statement:
        return not any(_matches_pattern(str(pattern), value, ignore_case) for pattern in as_list(statement[negation]))
    return any(_matches_pattern(str(pattern), value, ignore_case) for pattern in as_list(statement.get(element)))


@functools.lru_cache(maxsize=1000)
def _matches_pattern(pattern: str, value: str, ignore_case: bool = False) -> bool:
    """Whether a value matches a pattern with * and ?."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL) is not None


def _equal(wanted: str, value: str) -> bool:
    return wanted == value


def _equal_in_any_case(wanted: str, value: str) -> bool:
    return wanted.lower() == value.lower()


OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _equal,
    "StringEqualsIgnoreCase": _equal_in_any_case,
    "StringLike": _matches_pattern,
    "ArnEquals": _matches_pattern,
    "ArnLike": _matches_pattern,
    "Bool": _equal_in_any_case,
}
"""Condition operators. Each except the last has a negation, such as StringNotEquals. All can have the suffix IfExists."""


def _conditions_are_true(statement: Statement, context: Context) -> bool:
    """Whether all conditions are true. A condition with an unknown operator is false."""
    return all(
        _is_true(operator, as_list(wanted), context.get(key.lower()))
        for operator, block in statement.get("Condition", {}).items()
        for key, wanted in block.items()
    )


def _is_true(operator: str, wanted: list[Any], values: list[str] | None) -> bool:
    name = operator.removesuffix("IfExists")
    compare = OPERATORS.get(name.replace("Not", "", 1))
    if compare is None:
        return False
    negated = "Not" in name
    if values is None:
        return negated or name != operator
    found = any(compare(_text(each), value) for each in wanted for value in values)
    return found != negated


def _text(value: Any) -> str:
    """Convert a value to a string: a policy may have true instead of "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)
