# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays the requests of a recording to the emulator, which stays in step with what AWS said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
from moto.core import DEFAULT_ACCOUNT_ID

from kms_emulator import HttpControl
from tests.record.account import CHANGING
from tests.record.account import READING
from tests.record.disguise import ACCOUNT
from tests.record.disguise import STORE_ID
from tests.record.disguise import STORE_NAME
from tests.record.disguise import Disguise
from tests.record.player import Player
from tests.record.player import Step
from tests.record.player import StoppedError
from tests.record.recording import Recording
from tests.record.recording import store
from tests.record.requests import CONNECT
from tests.record.requests import DESCRIBE
from tests.record.requests import DISCONNECT
from tests.record.requests import UPDATE

TRANSITION_SECONDS = 60.0
POLL_SECONDS = 20.0
"""Of the emulator's clock, so that three looks see a transition."""

CREDENTIAL = {"AccessKeyId": "PLACEHOLDERACCESSKEY", "RawSecretAccessKey": "placeholder" * 4}
PROXY = {
    "Connectivity": "XksProxyConnectivity",
    "UriEndpoint": "XksProxyUriEndpoint",
    "UriPath": "XksProxyUriPath",
    "VpcEndpointServiceName": "XksProxyVpcEndpointServiceName",
    "VpcEndpointServiceOwner": "XksProxyVpcEndpointServiceOwner",
}
REFUSED_AT_ONCE = ("CloudHsmClusterNotActiveException", "CloudHsmClusterInvalidConfigurationException")


class Emulated:
    """The emulator with a key store in the state in which a recording begins.

    Args: url: of an emulator, which forgets all it has; rules: switches that are not as they are by default.
    """

    def __init__(self, url: str, recording: Recording, rules: Mapping[str, bool]) -> None:
        self._steps: list[Step] = recording["steps"]
        self._control = HttpControl(url)
        self._control.reset()
        self._control.freeze_clock()
        self._control.set_transitions(connect_seconds=TRANSITION_SECONDS, disconnect_seconds=TRANSITION_SECONDS)
        for rule, value in rules.items():
            self._control.set_rule(rule, value)
        self._store_id = self._create(store(recording))
        self._name = STORE_NAME
        session = boto3.Session("AKIAIOSFODNN7EXAMPLE", "any-secret-access-key", region_name="us-east-1")
        reading = session.client("kms", endpoint_url=url, config=READING)
        (entry,) = reading.describe_custom_key_stores(CustomKeyStoreId=self._store_id)["CustomKeyStores"]
        self._seconds = 0.0
        self._player = Player(
            reading,
            session.client("kms", endpoint_url=url, config=CHANGING),
            entry,
            Disguise(entry, DEFAULT_ACCOUNT_ID),
            self._sleep,
            lambda: self._seconds,
            POLL_SECONDS,
        )

    def _create(self, described: dict[str, Any]) -> str:
        proxy = described.get("XksProxyConfiguration", {})
        parameters = {PROXY[name]: value for name, value in proxy.items() if name in PROXY}
        if proxy:
            parameters["XksProxyAuthenticationCredential"] = CREDENTIAL
            if parameters.get("XksProxyVpcEndpointServiceOwner") == ACCOUNT:
                parameters["XksProxyVpcEndpointServiceOwner"] = DEFAULT_ACCOUNT_ID
        else:
            parameters = {name: described[name] for name in ("CloudHsmClusterId", "TrustAnchorCertificate")}
        return self._control.create_store(
            custom_key_store_name=STORE_NAME,
            custom_key_store_type=described["CustomKeyStoreType"],
            connection_state="CONNECTED",
            parameters=parameters,
        )

    def _sleep(self, seconds: float) -> None:
        self._control.advance(seconds)
        self._seconds += seconds

    def play(self) -> list[Step]:
        """What the emulator answers to each step of the recording. Raises ValueError for a step that is not to be played."""
        return [self._play(number) for number in range(len(self._steps))]

    def _play(self, number: int) -> Step:
        recorded = self._steps[number]
        played = self._played(number, recorded)
        self._follow(recorded)
        return played

    def _played(self, number: int, recorded: Step) -> Step:
        name = recorded["step"]
        if "operation" in recorded:
            if recorded["operation"] == CONNECT:
                self._control.set_connect_outcomes(self._store_id, self._outcomes(number))
            request = {member: self._own(value) for member, value in recorded["request"].items()}
            return self._player.ask(name, recorded["operation"], **request)
        if "until" in recorded:
            return self._wait(name, recorded["until"])
        if "watched_seconds" in recorded:
            return self._player.watch(name, recorded["watched_seconds"])
        if "named" in recorded:
            return self._player.see_name(name, recorded["named"]["CustomKeyStoreName"])
        if "left_out" in recorded:
            return recorded
        raise ValueError(f"The recording has a step {name!r} that cannot be played.")

    def _wait(self, name: str, until: list[str]) -> Step:
        try:
            return self._player.wait(name, until, seconds=10 * TRANSITION_SECONDS)
        except StoppedError:
            # The emulator did not begin what AWS did.
            entry = self._player.disguise.members(self._player.describe())
            return {"step": name, "until": until, "states": [entry["ConnectionState"]], "entry": entry}

    def _own(self, value: Any) -> Any:
        return self._store_id if value == STORE_ID else value

    def _outcomes(self, number: int) -> list[str]:
        """How the connect of this step ended in AWS."""
        if self._steps[number]["outcome"] in REFUSED_AT_ONCE:
            return [self._steps[number]["outcome"]]
        for step in self._steps[number + 1 :]:
            if step.get("operation") == CONNECT and step.get("outcome") == "ok" and step.get("state") == "DISCONNECTED":
                return []
            if "until" in step and step["entry"]["ConnectionState"] == "FAILED":
                return [step["entry"]["ConnectionErrorCode"]]
        return []

    def _follow(self, recorded: Step) -> None:
        """Have the emulator where AWS was after a step, so that one that differs does not make all later ones differ."""
        if recorded.get("operation") == DESCRIBE or "left_out" in recorded:
            return
        if recorded.get("operation") == UPDATE and recorded["outcome"] == "ok":
            self._name = recorded["request"].get("NewCustomKeyStoreName", self._name)
        state, code = _end(recorded)
        now = self._player.describe()
        if state is not None and state != now["ConnectionState"]:
            self._control.set_connection_state(self._store_id, state, code)
            now = self._player.describe()
        if now["CustomKeyStoreName"] != self._name:
            self._rename(now)

    def _rename(self, now: Mapping[str, Any]) -> None:
        """Give the key store the name that AWS has, whatever the state."""
        self._control.set_connection_state(self._store_id, "DISCONNECTED")
        self._player.reading.update_custom_key_store(CustomKeyStoreId=self._store_id, NewCustomKeyStoreName=self._name)
        self._control.set_connection_state(self._store_id, now["ConnectionState"], now.get("ConnectionErrorCode"))


def _end(recorded: Step) -> tuple[str | None, str | None]:
    """The connection state, and the error code, after a step."""
    if "entry" in recorded:
        state = recorded["entry"]["ConnectionState"]
        return state, recorded["entry"].get("ConnectionErrorCode") if state == "FAILED" else None
    if recorded.get("operation") in (CONNECT, DISCONNECT) and recorded["outcome"] == "ok":
        # AWS may have shown the state of before for a while.
        return None, None
    state = recorded.get("state_after", (recorded.get("states") or [None])[-1])
    # Its code is not in such a step, and the emulator has it.
    return (None if state == "FAILED" else state), None
