# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixed list of what is asked of KMS, about one key store that is CONNECTED."""

from __future__ import annotations

from typing import Any

from tests.record.player import Player
from tests.record.player import Step
from tests.record.player import StoppedError
from tests.record.requests import CONNECT
from tests.record.requests import DESCRIBE
from tests.record.requests import DISCONNECT
from tests.record.requests import PROXY_MEMBERS
from tests.record.requests import RANDOM
from tests.record.requests import RANDOM_BYTES
from tests.record.requests import UNKNOWN_ID
from tests.record.requests import UNKNOWN_NAME
from tests.record.requests import UPDATE
from tests.record.requests import renamed

CONNECT_SECONDS = 45 * 60.0
DISCONNECT_SECONDS = 30 * 60.0
BEGIN_SECONDS = 120.0
"""So long after a connect or a disconnect, KMS may show the state of before."""
WATCH_SECONDS = 30.0

MAY_BE_TRIED_AGAIN = frozenset(
    {"INTERNAL_ERROR", "NETWORK_ERRORS", "XKS_PROXY_TIMED_OUT", "XKS_PROXY_NOT_REACHABLE", "XKS_PROXY_INVALID_RESPONSE"}
)
"""Error codes after which one more connect cannot lock C(kmsuser) out."""

CONNECTED, CONNECTING, DISCONNECTED = "CONNECTED", "CONNECTING", "DISCONNECTED"
DISCONNECTING, FAILED = "DISCONNECTING", "FAILED"


class Scenario:
    """Everything that is asked, in order. before_the_window() leaves the key store in service."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._id = {"CustomKeyStoreId": player.store_id}
        self._name: str = player.store["CustomKeyStoreName"]
        self._proxy: dict[str, str] = dict(player.store.get("XksProxyConfiguration", {}))

    def before_the_window(self) -> None:
        """Requests that only look or that KMS must refuse, and changes that a connected key store may take."""
        ask = self._player.ask
        ask("describe-by-id", DESCRIBE, **self._id)
        ask("describe-by-name", DESCRIBE, CustomKeyStoreName=self._name)
        ask("describe-by-both", DESCRIBE, **self._id, CustomKeyStoreName=self._name)
        ask("describe-unknown-id", DESCRIBE, CustomKeyStoreId=UNKNOWN_ID)
        ask("describe-unknown-name", DESCRIBE, CustomKeyStoreName=UNKNOWN_NAME)
        # These two are also a proof that the caller may do it, before it has to.
        ask("connect-unknown-id", CONNECT, CustomKeyStoreId=UNKNOWN_ID)
        ask("disconnect-unknown-id", DISCONNECT, CustomKeyStoreId=UNKNOWN_ID)
        self._random(CONNECTED)
        ask("update-nothing", UPDATE, **self._id)
        self._rename(CONNECTED)
        self._same_proxy(CONNECTED)

    def window(self) -> None:
        """Disconnect and connect, with what KMS is asked meanwhile."""
        self._disconnect("disconnect")
        self._in_passing(DISCONNECTING, CONNECTED)
        self._player.wait("disconnected", {DISCONNECTED}, seconds=DISCONNECT_SECONDS)
        self._player.ask("disconnect-disconnected", DISCONNECT, **self._id)
        self._random(DISCONNECTED)
        self._rename(DISCONNECTED)
        self._same_proxy(DISCONNECTED)
        self._empty_service_name()
        self._connect("connect")
        self._in_passing(CONNECTING, DISCONNECTED)
        self._wait_connected()
        self._player.ask("connect-connected", CONNECT, **self._id)
        self._player.watch("after-connect-connected", WATCH_SECONDS)
        self._player.wait("connected-again", {CONNECTED}, seconds=CONNECT_SECONDS)
        self._random(f"{CONNECTED}-again")

    def _disconnect(self, name: str) -> None:
        _accepted(self._player.ask(name, DISCONNECT, **self._id))

    def _connect(self, name: str) -> None:
        _accepted(self._player.ask(name, CONNECT, **self._id))

    def _wait_connected(self) -> None:
        """Wait for the end of a connect. One that failed is tried once more, where that cannot do harm."""
        ends = {CONNECTED, FAILED}
        entry = self._player.wait("connected", ends, seconds=CONNECT_SECONDS)["entry"]
        if entry["ConnectionState"] == CONNECTED:
            return
        code = entry.get("ConnectionErrorCode", "no error code")
        if code not in MAY_BE_TRIED_AGAIN:
            raise StoppedError(f"The connect has FAILED with {code}.")
        self._disconnect("disconnect-failed")
        self._player.wait("disconnected-failed", {DISCONNECTED}, seconds=DISCONNECT_SECONDS)
        self._connect("connect-after-failed")
        end = self._player.wait("connected-after-failed", ends, seconds=CONNECT_SECONDS)["entry"]
        if end["ConnectionState"] == FAILED:
            raise StoppedError(f"A second connect has FAILED, too, with {end.get('ConnectionErrorCode')}.")

    def _in_passing(self, state: str, stale: str) -> None:
        """What is asked while the key store is on its way."""
        others = {CONNECTED, CONNECTING, DISCONNECTED, DISCONNECTING, FAILED} - {stale}
        self._player.wait(f"begins-{state.lower()}", others, seconds=BEGIN_SECONDS)
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("update-name", UPDATE, {"NewCustomKeyStoreName": self._name}),
            *([("update-path", UPDATE, self._same("XksProxyUriPath"))] if self._proxy else ()),
            # Not in the middle of a connect: KMS may have changed the password of kmsuser by half.
            *([("disconnect", DISCONNECT, {})] if state == DISCONNECTING else ()),
            *([("connect", CONNECT, {})] if state == CONNECTING else ()),
            *([("random", RANDOM, {"NumberOfBytes": RANDOM_BYTES})] if state == CONNECTING else ()),
        ]
        for name, operation, members in requests:
            step = f"{name}-{state.lower()}"
            now = self._player.state()
            if now == state:
                self._player.ask(step, operation, **self._id, **members)
            else:
                self._player.leave_out(step, f"The key store was {now} already.")

    def _rename(self, state: str) -> None:
        """Rename the key store, and back."""
        place = state.lower()
        step = self._player.ask(f"rename-{place}", UPDATE, **self._id, NewCustomKeyStoreName=renamed(self._name))
        if step["outcome"] != "ok":
            return
        self._player.see_name(f"renamed-{place}", renamed(self._name))
        self._player.ask(f"rename-back-{place}", UPDATE, **self._id, NewCustomKeyStoreName=self._name)
        self._player.see_name(f"renamed-back-{place}", self._name)

    def _same_proxy(self, state: str) -> None:
        """Give the proxy the path, and the endpoint, that it has."""
        for member, name in (("XksProxyUriPath", "path"), ("XksProxyUriEndpoint", "endpoint")):
            if self._proxy:
                self._player.ask(f"update-{name}-{state.lower()}", UPDATE, **self._id, **self._same(member))

    def _empty_service_name(self) -> None:
        """Give a public proxy what it has, and no name of a VPC endpoint service."""
        if self._proxy.get("Connectivity") == "PUBLIC_ENDPOINT":
            same = self._same("XksProxyConnectivity", "XksProxyUriEndpoint")
            self._player.ask("update-no-service", UPDATE, **self._id, **same, XksProxyVpcEndpointServiceName="")

    def _same(self, *members: str) -> dict[str, str]:
        return {member: self._proxy[PROXY_MEMBERS[member]] for member in members}

    def _random(self, state: str) -> None:
        self._player.ask(f"random-{state.lower()}", RANDOM, **self._id, NumberOfBytes=RANDOM_BYTES)


def _accepted(step: Step) -> None:
    if step["outcome"] != "ok":
        raise StoppedError(f"{step['operation']} was refused with {step['outcome']}: {step['message']}")
