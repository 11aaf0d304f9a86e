# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends requests to KMS, or to the emulator, and notes each with its answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from botocore.exceptions import ClientError

from tests.record.disguise import Disguise
from tests.record.requests import DESCRIBE
from tests.record.requests import DISCONNECT
from tests.record.requests import METHODS
from tests.record.requests import UPDATE
from tests.record.requests import Members
from tests.record.requests import check_harmless

Step = dict[str, Any]
"""One step of a recording, as it is in the file."""

THROTTLED = "ThrottlingException"
TRIES = 5
OF_THE_CALLER = (
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "OptInRequired",
    "UnrecognizedClientException",
)
"""Error codes that tell of the caller's credentials and permissions, and nothing of the rules of custom key stores."""

OF_THE_MOMENT = (THROTTLED, "InternalFailure", "KMSInternalException", "ServiceUnavailable")
"""Error codes that tell of a bad moment, and nothing of the rules either."""

REPORT_SECONDS = 60.0
NAME_SECONDS = 120.0
"""So long after a rename, KMS may show the name of before: it says seconds, and in rare cases minutes."""


class StoppedError(Exception):
    """The recording cannot go on. The message says why."""


@dataclass
class Player:
    """Sends the requests of a recording, one after the other.

    Attributes:
        reading: a boto3 client that tries again, for looks.
        changing: one that does not, as a second try could meet what the first one has done; and that sends what KMS must refuse.
        store: the key store as it was described at first.
        disguise: takes out what is private.
        sleep, clock: time.
        poll: seconds between two looks.
        tell: is called with each step when it is done.
        waiting: is called with the state and the seconds so far, each minute of a long wait.
        steps: what is done.
        disconnected_at: when a disconnect was sent, until a look shows that the key store was not connected; None: not at all.
        renamed: may the key store have another name?
        touched: was a request sent that changes the key store, whatever became of it?
    """

    reading: Any
    changing: Any
    store: Mapping[str, Any]
    disguise: Disguise
    sleep: Callable[[float], None]
    clock: Callable[[], float]
    poll: float = 2.0
    tell: Callable[[Step], None] = lambda _step: None
    waiting: Callable[[str, float], None] = lambda _state, _seconds: None
    steps: list[Step] = field(default_factory=list)
    disconnected_at: float | None = None
    renamed: bool = False
    touched: bool = False

    @property
    def store_id(self) -> str:
        return str(self.store["CustomKeyStoreId"])

    @property
    def _name(self) -> str:
        return str(self.store["CustomKeyStoreName"])

    def describe(self) -> Members:
        """The key store as KMS describes it now."""
        (entry,) = self.reading.describe_custom_key_stores(CustomKeyStoreId=self.store_id)["CustomKeyStores"]
        if entry["ConnectionState"] != "CONNECTED":
            self.disconnected_at = None
        return dict(entry)

    def state(self) -> str:
        return str(self.describe()["ConnectionState"])

    def ask(self, name: str, operation: str, **request: Any) -> Step:
        """Send a request, with a look before and after it where it may change something."""
        check_harmless(operation, request, self.store)
        step: Step = {"step": name, "operation": operation, "request": self.disguise.members(request)}
        if operation == DESCRIBE:
            return self._done({**step, **self._answer(operation, request)})
        step["state"] = self.state()
        own = request.get("CustomKeyStoreId") == self.store_id
        if own and operation == DISCONNECT:
            self.disconnected_at = self.clock()
        self.touched |= own and operation in (UPDATE, DISCONNECT)
        renames = request.get("NewCustomKeyStoreName", self._name) != self._name
        self.renamed |= renames
        step |= self._answer(operation, request)
        if renames and step["outcome"] != "ok":
            self.renamed = False
        return self._done({**step, "state_after": self.state()})

    def _answer(self, operation: str, request: Members) -> Step:
        """The outcome of a request. Raises StoppedError for one that says nothing of KMS."""
        for turn in range(TRIES):
            try:
                answer = getattr(self.changing, METHODS[operation])(**request)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == THROTTLED and turn + 1 < TRIES:
                    self.sleep(self.poll)
                    continue
                if code in (*OF_THE_CALLER, *OF_THE_MOMENT):
                    raise StoppedError(f"{operation} was answered with {code}: {_message(error)}") from error
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                return {
                    "outcome": code if re.fullmatch(r"[A-Za-z.]+", code) else "unknown",
                    "http_status": status,
                    "message": self.disguise.text(_message(error)),
                }
            status = answer.pop("ResponseMetadata")["HTTPStatusCode"]
            return {"outcome": "ok", "http_status": status, "answer": self.disguise.members(answer)}
        raise AssertionError("The last turn returns or raises.")

    def wait(self, name: str, until: Collection[str], *, seconds: float) -> Step:
        """Look until the key store is in one of these states. Raises StoppedError if that takes too long."""
        began, states, reported = self.clock(), list[str](), 0.0
        while True:
            entry = self.describe()
            state = entry["ConnectionState"]
            if states[-1:] != [state]:
                states.append(state)
            took = self.clock() - began
            if state in until:
                break
            if took > seconds:
                raise StoppedError(f"After {took:.0f} seconds, the key store is {state}, not {' or '.join(until)}.")
            if took >= reported + REPORT_SECONDS:
                reported = took
                self.waiting(state, took)
            self.sleep(self.poll)
        members = self.disguise.members(entry)
        step = {"step": name, "until": sorted(until), "states": states, "seconds": round(took, 1), "entry": members}
        return self._done(step)

    def watch(self, name: str, seconds: float) -> Step:
        """Look for so long, whatever the state."""
        began, states = self.clock(), list[str]()
        while True:
            state = self.state()
            if states[-1:] != [state]:
                states.append(state)
            if self.clock() - began >= seconds:
                return self._done({"step": name, "watched_seconds": seconds, "states": states})
            self.sleep(self.poll)

    def see_name(self, name: str, new: str) -> Step:
        """Look until the key store has a name, which KMS may show late."""
        began = self.clock()
        while True:
            shown, took = self.describe()["CustomKeyStoreName"], self.clock() - began
            if shown == new or took > NAME_SECONDS:
                break
            self.sleep(self.poll)
        if shown == new == self._name:
            self.renamed = False
        named = self.disguise.members({"CustomKeyStoreName": new})
        return self._done({"step": name, "named": named, "seen": shown == new, "seconds": round(took, 1)})

    def leave_out(self, name: str, why: str) -> None:
        self._done({"step": name, "left_out": why})

    def _done(self, step: Step) -> Step:
        self.steps.append(step)
        self.tell(step)
        return step


def _message(error: ClientError) -> str:
    return str(error.response["Error"].get("Message") or "")
