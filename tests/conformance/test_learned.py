# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator, as learned by asking it alone, is AWS's table of states; and the program that finds it sees what is otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.client import aws_variables
from tests.learn import published
from tests.learn.__main__ import PICTURES
from tests.learn.__main__ import TITLES
from tests.learn.__main__ import emulator_client
from tests.learn.__main__ import main
from tests.learn.__main__ import report
from tests.learn.comparing import differences
from tests.learn.drawing import draw
from tests.learn.learning import NotLearned
from tests.learn.learning import learn
from tests.learn.machine import Machine
from tests.learn.machine import Output
from tests.learn.published import CLOUDHSM
from tests.learn.published import CONNECT
from tests.learn.published import EXTERNAL
from tests.learn.published import INVALID_STATE
from tests.learn.published import LINES
from tests.learn.published import OK
from tests.learn.store import EmulatedStore
from tests.learn.store import Store

GUIDE = PICTURES[CLOUDHSM].with_name("guide_learned.rst")
TYPES = (CLOUDHSM, EXTERNAL)


def learned(
    server: EmulatorServer, store_type: str, *, keys: bool = False, extra: int = 0
) -> tuple[Machine, EmulatedStore]:
    """The machine of the emulator at its URL, and the store that was asked for it."""
    control = HttpControl(server.url)
    system = EmulatedStore(emulator_client(server.url), control, store_type)
    letters = published.inputs(store_type, steered=True, keys=keys)
    try:
        return learn(system, published.published(store_type, letters).machine, extra=extra), system
    finally:
        control.reset()


@pytest.fixture(scope="module", params=TYPES)
def store_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def learning(emulator_server: EmulatorServer, store_type: str) -> tuple[Machine, EmulatedStore]:
    return learned(emulator_server, store_type)


@pytest.fixture
def machine(learning: tuple[Machine, EmulatedStore]) -> Machine:
    return learning[0]


@pytest.fixture
def endpoint(
    emulator_server: EmulatorServer, http_control: HttpControl, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The emulator as any other: credentials and Region are in the environment, and connects take no time."""
    for name, value in aws_variables(emulator_server.url).items():
        monkeypatch.setenv(name, value)
    http_control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    yield emulator_server.url
    assert emulator_client(emulator_server.url).describe_custom_key_stores()["CustomKeyStores"] == []


def test_the_emulator_is_what_aws_has_published(learning: tuple[Machine, EmulatedStore], store_type: str) -> None:
    machine, system = learning
    table = published.published(store_type, machine.inputs)
    text, code = report(machine, table, system.words)
    size = f"equal: {len(machine.states)} states, {len(machine.moves)} transitions"
    assert text == f"{size}, {system.words} queries\n"
    assert code == 0
    assert size in " ".join(GUIDE.read_text("utf-8").split())


def test_the_documentation_shows_what_was_learned(machine: Machine, store_type: str) -> None:
    assert PICTURES[store_type].read_text("utf-8") == draw(machine, TITLES[store_type]), "python -m tests.learn --draw"


@pytest.mark.long
@pytest.mark.parametrize("store_type", TYPES)
def test_no_state_more_is_found_with_longer_words(emulator_server: EmulatorServer, store_type: str) -> None:
    machine, _system = learned(emulator_server, store_type, extra=1)
    assert differences(machine, published.published(store_type, machine.inputs)) == []


@pytest.mark.long
@pytest.mark.parametrize("store_type", TYPES)
def test_a_store_with_a_key(emulator_server: EmulatorServer, store_type: str) -> None:
    machine, _system = learned(emulator_server, store_type, keys=True)
    assert differences(machine, published.published(store_type, machine.inputs)) == []
    assert f"equal: {len(machine.states)} states, {len(machine.moves)} transitions" in " ".join(
        GUIDE.read_text("utf-8").split()
    )


def with_another_answer(letter: str, state: str, **changes: Any) -> tuple[published.Line, ...]:
    """The lines, but for those of an input in a state."""
    return tuple(
        replace(line, **changes) if line.letter == letter and state in line.states and line.key is not True else line
        for line in LINES
    )


@pytest.mark.parametrize(
    ("letter", "state", "changes"),
    [
        (CONNECT, published.FAILED, {"answer": OK}),
        (published.DISCONNECT, published.DISCONNECTED, {"answer": OK}),
        (published.DISCONNECT, published.FAILED, {"answer": INVALID_STATE, "then": None}),
        (published.TIME, published.TO_FAIL, {"then": published.DISCONNECTED}),
        (published.RENAME, published.CONNECTED, {"answer": INVALID_STATE}),
        (published.DELETE, published.DISCONNECTED, {"then": None}),
    ],
)
@pytest.mark.long
def test_a_planted_difference_is_found(
    machine: Machine, store_type: str, letter: str, state: str, changes: Any
) -> None:
    lines = with_another_answer(letter, state, others=(), **changes)
    table = published.published(store_type, machine.inputs, lines=lines)
    found = differences(machine, table)
    assert (state, letter, False) in {(each.state, each.letter, each.allowed) for each in found}
    assert {each.letter for each in found} == {letter}
    text, code = report(machine, table, 0)
    assert code == 1
    assert text.startswith(f"{len(found)} other than AWS's table:\nState ")
    assert text.endswith(
        f"{len(found)} differences: {len(machine.states)} states, {len(machine.moves)} transitions, 0 queries\n"
    )


def test_what_another_text_allows_is_reported_and_no_failure(machine: Machine, store_type: str) -> None:
    lines = with_another_answer(CONNECT, published.CONNECTED, answer=OK, others=(INVALID_STATE,))
    table = published.published(store_type, machine.inputs, lines=lines)
    found = differences(machine, table)
    assert {(each.state, each.letter) for each in found} == {
        (state, CONNECT) for state in (published.CONNECTED, *published.UNDER_WAY)
    }
    assert all(each.allowed for each in found)
    text, code = report(machine, table, 0)
    assert code == 0
    assert text.startswith("3 as another of AWS's texts allows:\n")
    assert "\n\nequal: " in text


def test_each_line_of_the_table_is_for_something() -> None:
    tables = [
        published.published(store_type, published.inputs(store_type, steered=True, keys=True)) for store_type in TYPES
    ]
    used = [line for table in tables for line in table.lines.values()]
    assert [line for line in LINES if line not in used] == []
    assert all(line.source for line in LINES)


def test_another_endpoint_that_waits_after_each_request(
    endpoint: str, store_type: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--endpoint-url", endpoint, "--type", store_type, "--settled"]) == 0
    assert capsys.readouterr().out.startswith(f"{store_type}\nequal: 3 states, ")


def test_another_endpoint_where_nothing_takes_time(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--endpoint-url", endpoint, "--type", CLOUDHSM]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "2 other than AWS's table:"
    assert [line.split()[:2] for line in lines[3:5]] == [["DISCONNECTED", "connect"], ["CONNECTED", "disconnect"]]
    assert lines[-1].startswith("2 differences: 3 states, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--endpoint-url", "https://kms.eu-west-1.amazonaws.com"], "it is for emulators, and not for AWS"),
        (["--endpoint-url", "http://127.0.0.1:9", "--keys"], "for our own emulator"),
        (["--draw", "--settled"], "goes with neither"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


def test_an_endpoint_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in aws_variables("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    assert main(["--endpoint-url", "http://127.0.0.1:9"]) == 2
    assert "Could not connect to the endpoint URL" in capsys.readouterr().err


class Moody(Store):
    """What never answers twice the same."""

    def __init__(self) -> None:
        super().__init__(None, CLOUDHSM)
        self._moods = itertools.count()

    def step(self, letter: str) -> Output:
        return Output(OK, f"state {next(self._moods)}")


def test_what_does_not_answer_the_same_is_not_learned() -> None:
    table = published.published(CLOUDHSM, published.inputs(CLOUDHSM, steered=False))
    with pytest.raises(NotLearned, match="The same inputs were answered differently"):
        learn(Moody(), table.machine)
