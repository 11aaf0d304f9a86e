# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds the emulator against a recording: what is the same, what differs, and which switchable rule that settles."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from kms_emulator.custom_key_stores.rules import Rules
from tests.record.disguise import OTHER_ACCOUNT
from tests.record.emulated import Emulated
from tests.record.player import Step
from tests.record.recording import Recording
from tests.record.recording import store

DISPUTES = {
    "rename_when_connected_is_valid": 1,
    "proxy_update_when_connected_is_valid": 2,
    "connect_when_connected_is_valid": 3,
    "empty_vpc_service_name_is_valid": 4,
    "vpc_service_of_another_account_is_valid": 5,
    "error_code_outlives_disconnect": 6,
    "proxy_update_in_any_state_is_valid": 7,
}
"""The switches that a recording can say something about, with the numbers of section 3.9."""

CONTROL = "update-endpoint-connected"
"""KMS must refuse this one. If it takes it, it takes any update with the values that the key store has already."""
BY_SAME_VALUES = ("proxy_update_when_connected_is_valid", "proxy_update_in_any_state_is_valid")
SAME_VALUE_NOTE = " Tried with the values that the key store has; the credential is a secret, and was not tried."

PASSING = ("CONNECTING", "DISCONNECTING")
DEFAULTS: dict[str, bool] = {
    each.name: each.default for each in dataclasses.fields(Rules) if isinstance(each.default, bool)
}

Difference = tuple[str, str, str]
"""What differs, what AWS said, and what the emulator said."""


def sense(step: Step) -> dict[str, str]:
    """What of a step is compared, by its name. A message has its shape only, as KMS's wording is not known."""
    if "operation" in step:
        outcome = {"outcome": step["outcome"], "HTTP status": str(step["http_status"])}
        if step["outcome"] == "ok":
            return {**outcome, **dict(_flat("answer", step["answer"]))}
        return {**outcome, "message": shape(step["message"])}
    if "until" in step:
        # How fast a transition begins is no rule.
        return {} if step["step"].startswith("begins-") else dict(_flat("store", step["entry"]))
    if "watched_seconds" in step:
        return {"states": " -> ".join(step["states"])}
    return {"new name": "seen" if step["seen"] else "not seen"} if "named" in step else {}


def shape(message: str) -> str:
    """What kind of text a message is."""
    if not message:
        return "none"
    return "validation errors" if re.match(r"\d+ validation errors? detected: ", message) else "a text"


def _flat(place: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each member of an answer. Two answers have the same ones, with the same placeholders and words of KMS."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{place}.{name}", item)
    elif isinstance(value, list):
        yield place, f"a list of {len(value)}"
        for item in value:
            yield from _flat(f"{place}[]", item)
    else:
        yield place, str(value)


def differences(recorded: Step, played: Step) -> list[Difference]:
    """How the answers of AWS and of the emulator differ."""
    aws, emulator = sense(recorded), sense(played)
    if aws.get("outcome", "") != emulator.get("outcome", ""):
        return [("outcome", aws["outcome"], emulator["outcome"])]
    found = [
        (name, aws.get(name, "not there"), emulator.get(name, "not there"))
        for name in dict.fromkeys((*aws, *emulator))
        if aws.get(name) != emulator.get(name)
    ]
    if "until" in recorded and sense(recorded) and not _is_way(recorded["states"], played["states"]):
        found.append(("states", " -> ".join(recorded["states"]), " -> ".join(played["states"])))
    return found


def _is_way(recorded: list[str], played: list[str]) -> bool:
    """Is the way to a state the same, but for a short part that AWS was not seen in?"""
    rest = iter(played)
    return recorded[-1] == played[-1] and all(state in rest for state in recorded)


def unsure(recorded: Step) -> str:
    """Why AWS's answer says nothing; empty if it does say something."""
    if "left_out" in recorded:
        return str(recorded["left_out"])
    state = recorded.get("state")
    if state in PASSING and state != recorded["state_after"]:
        # An accepted disconnect moves a key store, too; but not one that is on its way.
        return f"The key store went from {state} to {recorded['state_after']} meanwhile."
    return ""


@dataclass
class Verdict:
    """One step, compared.

    Attributes:
        step: as it is in the recording.
        differences: from the emulator as it is by default.
        settles: the switches of which the step tells the value.
        explained: would the emulator do the same, with its switches set as AWS does?
    """

    step: Step
    differences: list[Difference]
    settles: dict[str, bool]
    explained: bool = False

    @property
    def is_fine(self) -> bool:
        return not self.differences or self.explained


@dataclass
class Comparison:
    """A whole recording, compared.

    Attributes:
        verdicts: of each step.
        contradictions: switches that one step has on, and another one off.
        void: are updates with the values that are there already no proof of anything?
    """

    verdicts: list[Verdict]
    contradictions: set[str] = field(default_factory=set)
    void: bool = False

    @property
    def settled(self) -> dict[str, bool]:
        """The switches that AWS's answers settle, with their values."""
        found: dict[str, bool] = {}
        for verdict in self.verdicts:
            found |= verdict.settles
        return {rule: found[rule] for rule in DISPUTES if rule in found and rule not in self.contradictions}

    @property
    def is_fine(self) -> bool:
        return not self.contradictions and all(verdict.is_fine for verdict in self.verdicts)


def compare(recording: Recording, url: str) -> Comparison:
    """Play a recording to the emulator at a URL, and compare. Raises ValueError for one that cannot be played.

    It is played once for each switch, too, turned round: where that makes a step the same or another one, the step settles it.
    """
    steps: list[Step] = recording["steps"]
    by_default = Emulated(url, recording, {}).play()
    turned = {rule: Emulated(url, recording, {rule: not DEFAULTS[rule]}).play() for rule in _in_question(recording)}
    void = any(step["step"] == CONTROL and step.get("outcome") == "ok" for step in steps)
    comparison = Comparison([], void=void)
    for number, step in enumerate(steps):
        found = [] if unsure(step) else differences(step, by_default[number])
        same_if_turned = {
            rule: not differences(step, played[number]) for rule, played in turned.items() if not unsure(step)
        }
        comparison.verdicts.append(Verdict(step, found, _settled(not found, same_if_turned, void=void)))
    _judge(comparison, lambda rules: Emulated(url, recording, rules).play())
    return comparison


def _in_question(recording: Recording) -> Iterator[str]:
    """The switches that make a difference to such a key store, so that the others need not be tried."""
    yield "connect_when_connected_is_valid"
    proxy = store(recording).get("XksProxyConfiguration")
    if proxy is None:
        yield "rename_when_connected_is_valid"
    else:
        yield from BY_SAME_VALUES
        if proxy.get("Connectivity") == "PUBLIC_ENDPOINT":
            yield "empty_vpc_service_name_is_valid"
        if proxy.get("VpcEndpointServiceOwner") == OTHER_ACCOUNT:
            yield "vpc_service_of_another_account_is_valid"
    if any(step.get("entry", {}).get("ConnectionState") == "FAILED" for step in recording["steps"]):
        yield "error_code_outlives_disconnect"


def _settled(same: bool, same_if_turned: Mapping[str, bool], *, void: bool) -> dict[str, bool]:
    """The switches that a step settles: those that make a difference to whether the emulator does the same."""
    return {
        rule: DEFAULTS[rule] is same
        for rule, turned in same_if_turned.items()
        if turned is not same and not (void and rule in BY_SAME_VALUES)
    }


def _judge(comparison: Comparison, play: Any) -> None:
    """Find what contradicts itself, and what is explained by all settled switches together."""
    said: dict[str, set[bool]] = {}
    for verdict in comparison.verdicts:
        for rule, value in verdict.settles.items():
            said.setdefault(rule, set()).add(value)
    comparison.contradictions = {rule for rule, values in said.items() if len(values) > 1}
    others = {rule: value for rule, value in comparison.settled.items() if value is not DEFAULTS[rule]}
    if not others:
        return
    for verdict, played in zip(comparison.verdicts, play(others), strict=True):
        verdict.explained = bool(verdict.differences) and not differences(verdict.step, played)


def lines(comparison: Comparison) -> Iterator[str]:
    """What is printed: a line for each step, and one for each dispute that is settled."""
    for verdict in comparison.verdicts:
        yield f"{_word(verdict):<8} {verdict.step['step']:<28} {_said(verdict)}{_about(verdict)}".rstrip()
    yield ""
    for rule, value in comparison.settled.items():
        default = "as the emulator has it by default" if value is DEFAULTS[rule] else "NOT as by default"
        note = SAME_VALUE_NOTE if value and rule in BY_SAME_VALUES else ""
        yield f"3.9({DISPUTES[rule]}) {rule}: AWS's answers are those of {_text(value)}, {default}.{note}"
    for rule in sorted(comparison.contradictions):
        yield f"3.9({DISPUTES[rule]}) {rule}: some answers are those of true, some of false. The rule has two parts."
    if comparison.void:
        yield f"{CONTROL}: KMS takes values that are there already in any case, so 3.9(2) and 3.9(7) are not settled."
    open_ones = [str(number) for rule, number in DISPUTES.items() if rule not in _decided(comparison)]
    if open_ones:
        yield f"This recording says nothing of 3.9({', '.join(open_ones)})."


def _decided(comparison: Comparison) -> Collection[str]:
    return {*comparison.settled, *comparison.contradictions}


def _word(verdict: Verdict) -> str:
    if unsure(verdict.step):
        return "unsure"
    if not verdict.differences:
        return "same"
    return "differs" if verdict.explained else "DIFFERS"


def _said(verdict: Verdict) -> str:
    if unsure(verdict.step):
        return unsure(verdict.step)
    if not verdict.differences:
        sensed = sense(verdict.step)
        return sensed.get("outcome") or " -> ".join(verdict.step.get("states", ())) or sensed.get("new name", "")
    return "; ".join(f"{name}: AWS {aws}, emulator {emulator}" for name, aws, emulator in verdict.differences)


def _about(verdict: Verdict) -> str:
    """Which switches a step settles, or that none explains it."""
    values = ", ".join(f"3.9({DISPUTES[rule]}) {rule} = {_text(value)}" for rule, value in verdict.settles.items())
    if verdict.differences and not verdict.explained:
        return f"  [no switch explains it{'; ' + values if values else ''}]"
    return f"  [{values}]" if values else ""


def _text(value: bool) -> str:
    return "true" if value else "false"
