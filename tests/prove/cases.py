# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a history begins with: a store in some state, and a task."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

from tests.unit.options import CLOUDHSM
from tests.unit.options import OTHER_CLUSTER
from tests.unit.options import PUBLIC

Options = dict[str, Any]

STORES: dict[str, Options] = {"cloudhsm": CLOUDHSM, "external": PUBLIC}
"""By type, the options that a store was made with."""

CODES: dict[str, dict[str, str]] = {
    "cloudhsm": {"FAILED": "INTERNAL_ERROR", "FAILED-MAY-LOCK": "USER_LOCKED_OUT"},
    "external": {"FAILED": "XKS_PROXY_TIMED_OUT"},
}
"""The ConnectionErrorCode of each failed start. No code of an external store may lock anybody out."""

NOT_THERE = "NOT-THERE"

FOUND = ("DISCONNECTED", "DISCONNECTING", "CONNECTING", "CONNECTED", "FAILED", "FAILED-MAY-LOCK", NOT_THERE)
"""The starts; those that begin with FAILED have a code of CODES."""

STATES = ("present", "connected", "disconnected", "absent")

CHANGED: dict[str, dict[str, Options]] = {
    "cloudhsm": {"same": {}, "in-place": {"name": "invoices"}, "offline": {"cloud_hsm_cluster_id": OTHER_CLUSTER}},
    "external": {
        "same": {},
        "in-place": {"xks_proxy_configuration": {"uri_path": "/invoices/kms/xks/v1"}},
        "offline": {"xks_proxy_configuration": {"uri_endpoint": "https://other.example.com"}},
    },
}
"""By type: no change, one that KMS makes while CONNECTED, and one for which it wants the store to be DISCONNECTED."""


@dataclass(frozen=True)
class Case:
    """A store and a task.

    Attributes:
        store: the type of the store, a key of STORES.
        found: the state that the store is in, one of FOUND.
        state: that the task asks for, one of STATES.
        change: a key of CHANGED[store].
        allow: the option C(allow_disconnect).
        wait: the option C(wait).
    """

    store: str
    found: str
    state: str
    change: str
    allow: bool
    wait: bool

    def __str__(self) -> str:
        flags = ("allow" if self.allow else "forbid", "wait" if self.wait else "go-on")
        return "/".join((self.store, self.found, self.state, self.change, *flags))

    @classmethod
    def of(cls, text: str) -> Case:
        """The case that is written so, see C(__str__).

        Raises:
            ValueError: none is.
        """
        known = _known()
        if text not in known:
            raise ValueError(f"There is no case {text!r}; there are such as {next(iter(known))}.")
        return known[text]

    @property
    def connection_state(self) -> str | None:
        """The state that the store is in, in KMS's words; None where there is no store."""
        return None if self.found == NOT_THERE else self.found.partition("-")[0]

    @property
    def error_code(self) -> str | None:
        """Why it is FAILED; None where it is not."""
        return CODES[self.store].get(self.found)

    def options(self, store_id: str | None) -> Options:
        """Those of the module. A task that renames a store names it by its id, any other by its name."""
        change = CHANGED[self.store][self.change]
        if store_id is None:
            change = STORES[self.store]  # all that it takes to create it
        which = {"id": store_id} if store_id and "name" in change else {"name": STORES[self.store]["name"]}
        return {**which, **change, "state": self.state, "allow_disconnect": self.allow, "wait": self.wait}


def every_case() -> list[Case]:
    """All cases, in a fixed order, without those that cannot differ from another one."""
    whole = itertools.product(STORES, FOUND, STATES, ("same", "in-place", "offline"), (False, True), (True, False))
    return [case for case in (Case(*values) for values in whole) if not is_another(case)]


@functools.cache
def _known() -> dict[str, Case]:
    """All cases, by their text."""
    return {str(case): case for case in every_case()}


def is_another(case: Case) -> bool:
    """Is a case left out, because another one goes the same way?

    absent looks at no property, so a change asks for nothing; and of a store that is not there, nothing is changed, but all is
    given. allow_disconnect is read in two places of plan.py only, where a store that is in service is to be deleted or shall keep
    its state with changed properties: without either, true is as false. (A test runs both, and compares.) An external store has
    no code that may lock somebody out.
    """
    if case.found.startswith("FAILED") and case.error_code is None:
        return True
    if case.state == "absent" or case.found == NOT_THERE:
        return case.change != "same" or (case.allow and case.found == NOT_THERE)
    return case.allow and (case.change == "same" or case.state == "disconnected")
