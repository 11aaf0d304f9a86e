# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a key store back into service, and back to its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError

from tests.record.player import OF_THE_CALLER
from tests.record.player import Player
from tests.record.scenario import CONNECT_SECONDS
from tests.record.scenario import CONNECTED
from tests.record.scenario import DISCONNECTED
from tests.record.scenario import FAILED
from tests.record.scenario import MAY_BE_TRIED_AGAIN

STALE_SECONDS = 60.0
"""So long after a disconnect, a look that shows CONNECTED may be late."""
RETRY_SECONDS = 15.0


class NotBackError(Exception):
    """The key store is not as it was. The message says how it is."""


@dataclass
class Back:
    """Brings a key store back. It may be called any number of times.

    Attributes:
        player: what has changed it.
        say: tells the user something.
    """

    player: Player
    say: Callable[[str], None]
    _is_done: bool = False
    _tried_again: bool = False
    _said: str = ""

    def bring(self) -> None:
        """Bring it back, however often that must be tried. Raises NotBackError, the first time, if it cannot be done."""
        if self._is_done or not self.player.touched:
            return
        try:
            self._bring()
        finally:
            self._is_done = True

    def _bring(self) -> None:
        deadline = self.player.clock() + CONNECT_SECONDS
        problem = ""
        while True:
            try:
                if self._step():
                    return
                problem = ""
            except (BotoCoreError, ClientError) as error:
                _check_that_it_may_pass(error)
                if problem != str(error):
                    self.say(f"That did not work, and is tried again: {error}")
                problem = str(error)
            if self.player.clock() > deadline:
                raise NotBackError(problem or f"It is not CONNECTED after {CONNECT_SECONDS:.0f} seconds.")
            self.player.sleep(RETRY_SECONDS if problem else self.player.poll)

    def _step(self) -> bool:
        """Do what is next, if it is time for it. Is all done?"""
        entry = self.player.describe()
        state = entry["ConnectionState"]
        if state != self._said:
            self._said = state
            self.say(f"The key store is {state}.")
        other_name = entry["CustomKeyStoreName"] != self._name
        if state in (CONNECTED, DISCONNECTED) and (other_name or self.player.renamed):
            self._rename_back(state, other_name=other_name)
        if state == DISCONNECTED:
            self._ask("connect_custom_key_store")
        elif state == FAILED:
            self._leave_failed(entry)
        return state == CONNECTED and not other_name and not self._may_be_late()

    @property
    def _name(self) -> str:
        return str(self.player.store["CustomKeyStoreName"])

    def _may_be_late(self) -> bool:
        sent = self.player.disconnected_at
        return sent is not None and self.player.clock() < sent + STALE_SECONDS

    def _rename_back(self, state: str, *, other_name: bool) -> None:
        refusal = self._ask("update_custom_key_store", NewCustomKeyStoreName=self._name)
        # Refused, and with its name: the rename whose answer is not known was refused as well.
        self.player.renamed &= bool(refusal) and other_name
        if refusal and other_name and state == CONNECTED and not self._may_be_late():
            raise NotBackError(f"It is CONNECTED, and KMS does not give it its name back: {refusal}")

    def _leave_failed(self, entry: dict[str, Any]) -> None:
        code = entry.get("ConnectionErrorCode", "")
        if self._tried_again or code not in MAY_BE_TRIED_AGAIN:
            raise NotBackError(f"It is FAILED with {code}. Disconnect it, remove the cause, and connect it.")
        if not self._ask("disconnect_custom_key_store"):
            self._tried_again = True

    def _ask(self, method: str, **members: str) -> str:
        """Send a request. Returns why KMS refuses it, if it does for a state that has changed since the look."""
        try:
            getattr(self.player.changing, method)(CustomKeyStoreId=self.player.store_id, **members)
        except ClientError as error:
            if error.response["Error"]["Code"] != "CustomKeyStoreInvalidStateException":
                raise
            return str(error)
        return ""


def _check_that_it_may_pass(error: BotoCoreError | ClientError) -> None:
    """Raises NotBackError for an error that would come again each time."""
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    if code in (*OF_THE_CALLER, "CustomKeyStoreNotFoundException"):
        raise NotBackError(str(error)) from error
