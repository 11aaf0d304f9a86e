# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks that predict whether a custom key store could connect."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any
from typing import Iterable


class Outcome(str, Enum):
    """The outcome of a check.

    C(PASSED): KMS has what it needs. C(WARNING): a connect works now, but may fail soon. C(FAILED): a connect would fail.
    C(UNKNOWN): it could not be checked from this host, which forbids nothing.
    """

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One thing that a connect needs.

    Attributes:
        name: what was checked, in a few words, such as C(Certificate of the proxy).
        outcome: see C(Outcome).
        text: the finding, in one or two sentences. For C(FAILED) and C(WARNING), with what to do; for C(UNKNOWN), the reason.
        code: for C(FAILED), the C(ConnectionErrorCode) of the connect. Empty otherwise, and if an exception refuses the connect,
            so that there is no such code.
    """

    name: str
    outcome: Outcome
    text: str
    code: str = ""

    def to_result(self) -> dict[str, Any]:
        return {"name": self.name, "outcome": self.outcome.value, "text": self.text, "code": self.code or None}


def prediction_options() -> dict[str, Any]:
    """The options with which a module predicts a connect, as an argument spec."""
    credential = {
        "access_key_id": {"type": "str", "required": True, "no_log": False},
        "raw_secret_access_key": {"type": "str", "required": True, "no_log": True},
    }
    return {
        "predict_connect": {"type": "bool", "default": False},
        "xks_proxy_credentials": {"type": "list", "elements": "dict", "no_log": False, "options": credential},
    }


def to_prediction(checks: Iterable[Check]) -> dict[str, Any]:
    """C(connect_prediction) of a store for the result of a task."""
    found = list(checks)
    failed = [check for check in found if check.outcome is Outcome.FAILED]
    return {
        "fails": bool(failed),
        "codes": sorted({check.code for check in failed if check.code}),
        "checks": [check.to_result() for check in found],
    }
