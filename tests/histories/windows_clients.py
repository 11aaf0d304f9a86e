# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients for KMS and EventBridge Scheduler in this process, whose requests take time, and at any of which the caller may die."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from typing import Protocol
from typing import cast

from botocore import xform_name
from botocore.exceptions import ClientError
from moto.core.exceptions import JsonRESTError
from moto.scheduler.models import scheduler_backends

from kms_emulator.journal import Record
from kms_emulator.models import EmulatedBackend
from kms_emulator.scheduler.models import SchedulerBackend
from kms_emulator.scheduler.responses import input_shape
from kms_emulator.validation import check_members
from tests.histories.direct import BY_METHOD
from tests.histories.direct import DirectKms
from tests.histories.direct import _date
from tests.histories.direct import _dated

SCHEDULER_OPERATIONS = ("CreateSchedule", "DeleteSchedule", "GetSchedule", "ListSchedules", "UpdateSchedule")
SCHEDULER_BY_METHOD = {xform_name(operation): operation for operation in SCHEDULER_OPERATIONS}
META = SimpleNamespace(partition="aws", region_name="us-east-1")


class Watch(Protocol):
    """Who is told of requests."""

    def request(self, operation: str, carry_out: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Have a request carried out."""

    def changing(self, operation: str, members: dict[str, Any]) -> Callable[[], None]:
        """A request is carried out now. What is returned is called when it was."""


class WatchedKms(DirectKms):
    """KMS."""

    meta = META

    def __init__(self, backend: EmulatedBackend, watch: Watch) -> None:
        super().__init__(backend)
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        operation = "GenerateRandom" if name == "generate_random" else BY_METHOD.get(name)
        if operation is None:
            raise AttributeError(name)
        return lambda **members: self._watch.request(operation, lambda: self._request(operation, members))

    def _handle(self, record: Record, members: dict[str, Any]) -> dict[str, Any]:
        done = self._watch.changing(record["operation"], members)
        answer = super()._handle(record, members)
        done()
        return answer

    def _answer(self, operation: str, members: dict[str, Any]) -> dict[str, Any]:
        if operation == "GenerateRandom":
            self._backend.check_random_source(members)
            return {"Plaintext": b"0", **_dated(self._backend)}
        return super()._answer(operation, members)


class WatchedScheduler(DirectKms):
    """EventBridge Scheduler."""

    meta = META

    def __init__(self, backend: EmulatedBackend, watch: Watch) -> None:
        super().__init__(backend)
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        if name not in SCHEDULER_BY_METHOD:
            raise AttributeError(name)
        operation = SCHEDULER_BY_METHOD[name]
        return lambda **members: self._watch.request(operation, lambda: self._request(operation, members))

    def _handle(self, record: Record, members: dict[str, Any]) -> dict[str, Any]:
        operation = record["operation"]
        done = self._watch.changing(operation, members)
        try:
            check_members(input_shape(operation), members)
            of = cast(SchedulerBackend, scheduler_backends[self._backend.account_id][self._backend.region_name])
            answer: dict[str, Any] = copy.deepcopy(getattr(of, xform_name(operation))(copy.deepcopy(members)))
        except JsonRESTError as error:
            record["outcome"] = str(error.relative_error_type)
            raise self._refusal(operation, record["outcome"], str(error.message)) from error
        record["outcome"], record["applied"] = "ok", True
        done()
        for name in ("CreationDate", "LastModificationDate"):
            if name in answer:
                answer[name] = _date(answer[name])
        return {**answer, **_dated(self._backend)}


class Denied:
    """A client for a service that the caller may not use."""

    meta = META

    def __getattr__(self, name: str) -> Any:
        def denied(**_members: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, name)

        return denied
