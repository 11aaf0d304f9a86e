# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS has published of the connection states, as data: each line with where it is from, and the machine of them all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tests.learn.machine import Machine
from tests.learn.machine import Move
from tests.learn.machine import Output
from tests.learn.machine import Word

CLOUDHSM = "AWS_CLOUDHSM"
EXTERNAL = "EXTERNAL_KEY_STORE"

# States. A store that is CONNECTING looks the same whether it will fail or not.
NO_STORE = "no store"
DISCONNECTED = "DISCONNECTED"
CONNECTING = "CONNECTING"
TO_FAIL = "CONNECTING, to fail"
CONNECTED = "CONNECTED"
DISCONNECTING = "DISCONNECTING"
FAILED = "FAILED"
ALL = (DISCONNECTED, CONNECTING, TO_FAIL, CONNECTED, DISCONNECTING, FAILED)
UNDER_WAY = (CONNECTING, TO_FAIL)
WITH_KEY = " with a key"
"""What the name of a state ends with when the store holds a KMS key."""

ERROR_CODE = "INTERNAL_ERROR"
"""The ConnectionErrorCode of the connects that fail; it fits both types."""
SHOWS = {TO_FAIL: CONNECTING, FAILED: f"{FAILED} {ERROR_CODE}"}
"""What DescribeCustomKeyStores shows of a state, where it is not the state's own name."""

# Inputs.
CREATE = "create"
CONNECT = "connect"
CONNECT_TO_FAIL = "connect, to fail"
DISCONNECT = "disconnect"
TIME = "time passes"
DESCRIBE = "describe"
RENAME = "rename"
CLUSTER = "new cluster"
PATH = "new path"
ENDPOINT = "new endpoint"
DELETE = "delete"
RANDOM = "random bytes"
CREATE_KEY = "create a key"

UPDATES = {CLOUDHSM: (RENAME, CLUSTER), EXTERNAL: (RENAME, PATH, ENDPOINT)}
"""A property that may change while CONNECTED, and one that may not; of an external store, a name and an address as well."""

# Answers.
OK = "ok"
INVALID_STATE = "CustomKeyStoreInvalidStateException"
NOT_FOUND = "CustomKeyStoreNotFoundException"
NAME_IN_USE = "CustomKeyStoreNameInUseException"
CLUSTER_IN_USE = "CloudHsmClusterInUseException"
URI_IN_USE = "XksProxyUriInUseException"
HAS_KEYS = "CustomKeyStoreHasCMKsException"
UNSUPPORTED = "UnsupportedOperationException"

# Sources: pages of the API reference and of the developer guide, by the names that they have in their addresses.
EXCEPTION = "CustomKeyStoreInvalidStateException, as each operation describes it"
XKS_GUIDE = "xks-connect-disconnect"
ENTRY = "API_CustomKeyStoresListEntry"


def inputs(store_type: str, *, steered: bool, keys: bool = False) -> Word:
    """The inputs for a store of a type. Steered: can a connect be made to fail? Keys: may the store be given a KMS key?"""
    left_out = (*(() if steered else (CONNECT_TO_FAIL,)), *(() if keys else (CREATE_KEY,)))
    asked = (
        CREATE,
        CONNECT,
        CONNECT_TO_FAIL,
        DISCONNECT,
        TIME,
        DESCRIBE,
        *UPDATES[store_type],
        DELETE,
        RANDOM,
        CREATE_KEY,
    )
    return tuple(letter for letter in asked if letter not in left_out)


@dataclass(frozen=True)
class Line:
    """What an input is answered in some states, and where it leads.

    Then: the state afterwards; None: the same. Others: answers that another of AWS's texts, or the order of KMS's checks that no
    text tells, allows as well; they leave the store as it is. Of: the type of the store; None: both. Key: does the line need a
    store with a key (True), without one (False), or neither (None)?
    """

    letter: str
    states: tuple[str, ...]
    answer: str
    source: str
    then: str | None = None
    others: tuple[str, ...] = ()
    of: str | None = None
    key: bool | None = None

    def fits(self, store_type: str, state: str, letter: str, *, key: bool) -> bool:
        """Is this the line for an input in a state?"""
        return (
            letter == self.letter and state in self.states and self.of in (None, store_type) and self.key in (None, key)
        )


LINES = (
    Line(CREATE, (NO_STORE,), OK, "API_CreateCustomKeyStore", DISCONNECTED),
    Line(CREATE, (DISCONNECTED,), OK, "create-keystore: the id of the one that is there (R27)", of=CLOUDHSM),
    Line(
        CREATE,
        (CONNECTING, TO_FAIL, CONNECTED, DISCONNECTING, FAILED),
        NAME_IN_USE,
        "API_CreateCustomKeyStore: errors, in no order",
        others=(CLUSTER_IN_USE,),
        of=CLOUDHSM,
    ),
    Line(CREATE, ALL, NAME_IN_USE, "API_CreateCustomKeyStore: errors, in no order", others=(URI_IN_USE,), of=EXTERNAL),
    Line(CONNECT, (DISCONNECTED,), OK, "API_ConnectCustomKeyStore", CONNECTING),
    Line(CONNECT, (DISCONNECTING, FAILED), INVALID_STATE, EXCEPTION),
    Line(CONNECT, (CONNECTED, *UNDER_WAY), INVALID_STATE, f"{XKS_GUIDE}; otherwise {EXCEPTION}", others=(OK,)),
    Line(CONNECT_TO_FAIL, (DISCONNECTED,), OK, "API_ConnectCustomKeyStore", TO_FAIL),
    Line(CONNECT_TO_FAIL, (DISCONNECTING, FAILED), INVALID_STATE, EXCEPTION),
    Line(CONNECT_TO_FAIL, (CONNECTED, *UNDER_WAY), INVALID_STATE, f"{XKS_GUIDE}; otherwise {EXCEPTION}", others=(OK,)),
    Line(DISCONNECT, (CONNECTED, *UNDER_WAY, FAILED), OK, EXCEPTION, DISCONNECTING),
    Line(DISCONNECT, (DISCONNECTED, DISCONNECTING), INVALID_STATE, EXCEPTION),
    Line(TIME, (CONNECTING,), OK, "API_ConnectCustomKeyStore", CONNECTED),
    Line(TIME, (TO_FAIL,), OK, "API_ConnectCustomKeyStore", FAILED),
    Line(TIME, (DISCONNECTING,), OK, "API_DisconnectCustomKeyStore", DISCONNECTED),
    Line(TIME, (NO_STORE, DISCONNECTED, CONNECTED, FAILED), OK, f"{ENTRY}: ConnectionState"),
    Line(DESCRIBE, ALL, OK, f"{ENTRY}: ConnectionState, ConnectionErrorCode (R4)"),
    Line(
        RENAME,
        (CONNECTED,),
        OK,
        "API_UpdateCustomKeyStore; otherwise update-keystore",
        others=(INVALID_STATE,),
        of=CLOUDHSM,
    ),
    Line(RENAME, (CONNECTED,), OK, "API_UpdateCustomKeyStore", of=EXTERNAL),
    Line(PATH, (CONNECTED,), OK, f"API_UpdateCustomKeyStore; otherwise {EXCEPTION}", others=(INVALID_STATE,)),
    *(Line(letter, (DISCONNECTED,), OK, "API_UpdateCustomKeyStore") for letter in (RENAME, CLUSTER, PATH, ENDPOINT)),
    *(
        Line(letter, (*UNDER_WAY, DISCONNECTING, FAILED), INVALID_STATE, EXCEPTION, of=CLOUDHSM)
        for letter in (RENAME, CLUSTER)
    ),
    *(
        Line(
            letter,
            (*UNDER_WAY, DISCONNECTING, FAILED),
            INVALID_STATE,
            f"{EXCEPTION}; otherwise an older update-xks-keystore (R7)",
            others=(OK,),
            of=EXTERNAL,
        )
        for letter in (RENAME, PATH)
    ),
    Line(ENDPOINT, (*UNDER_WAY, DISCONNECTING, FAILED), INVALID_STATE, EXCEPTION),
    *(Line(letter, (CONNECTED,), INVALID_STATE, "API_UpdateCustomKeyStore") for letter in (CLUSTER, ENDPOINT)),
    Line(DELETE, (DISCONNECTED,), OK, "API_DeleteCustomKeyStore", NO_STORE, key=False),
    Line(DELETE, (DISCONNECTED,), HAS_KEYS, "API_DeleteCustomKeyStore", key=True),
    Line(DELETE, (*UNDER_WAY, CONNECTED, DISCONNECTING, FAILED), INVALID_STATE, EXCEPTION, key=False),
    Line(
        DELETE,
        (*UNDER_WAY, CONNECTED, DISCONNECTING, FAILED),
        INVALID_STATE,
        f"{EXCEPTION}; API_DeleteCustomKeyStore: errors, in no order",
        others=(HAS_KEYS,),
        key=True,
    ),
    Line(RANDOM, (CONNECTED,), OK, "API_GenerateRandom", of=CLOUDHSM),
    Line(RANDOM, (DISCONNECTED, *UNDER_WAY, DISCONNECTING, FAILED), INVALID_STATE, EXCEPTION, of=CLOUDHSM),
    Line(RANDOM, ALL, UNSUPPORTED, "API_GenerateRandom (R24)", of=EXTERNAL),
    Line(CREATE_KEY, (CONNECTED,), OK, "API_CreateKey", CONNECTED + WITH_KEY),
    Line(CREATE_KEY, (DISCONNECTED, *UNDER_WAY, DISCONNECTING, FAILED), INVALID_STATE, EXCEPTION),
    *(
        Line(letter, (NO_STORE,), NOT_FOUND, "the operation's errors")
        for letter in (
            CONNECT,
            CONNECT_TO_FAIL,
            DISCONNECT,
            DESCRIBE,
            RENAME,
            CLUSTER,
            PATH,
            ENDPOINT,
            DELETE,
            RANDOM,
            CREATE_KEY,
        )
    ),
)
"""AWS's table, with what goes with it: section 3.1 of the rules of this project, with R4, R7, R24, R26 and R27."""


@dataclass(frozen=True)
class Published:
    """AWS's table for a type of store: as a machine, and the line behind each of its moves."""

    machine: Machine
    lines: dict[tuple[str, str], Line]


def line_for(store_type: str, state: str, letter: str, lines: tuple[Line, ...] = LINES) -> Line:
    """The one line for an input in a state. Raises ValueError if there is none, or several."""
    key = state.endswith(WITH_KEY)
    plain = state.removesuffix(WITH_KEY)
    found = [line for line in lines if line.fits(store_type, plain, letter, key=key)]
    if len(found) != 1:
        raise ValueError(f"There are {len(found)} lines for {letter!r} in {state!r} of {store_type}.")
    return found[0]


def published(store_type: str, letters: Word, *, settled: bool = False, lines: tuple[Line, ...] = LINES) -> Published:
    """AWS's table for a store of a type, from no store on.

    Settled: as it looks to somebody who waits after each request until nothing is under way.
    """
    moves: dict[tuple[str, str], Move] = {}
    behind: dict[tuple[str, str], Line] = {}
    waiting, known = deque([NO_STORE]), {NO_STORE}
    while waiting:
        state = waiting.popleft()
        for letter in letters:
            line = line_for(store_type, state, letter, lines)
            then = _after(line, state)
            if settled:
                then = _after(line_for(store_type, then, TIME, lines), then)
            plain = then.removesuffix(WITH_KEY)
            moves[state, letter] = Move(Output(line.answer, SHOWS.get(plain, plain)), then)
            behind[state, letter] = line
            if then not in known:
                known.add(then)
                waiting.append(then)
    return Published(Machine(letters, NO_STORE, moves), behind)


def _after(line: Line, state: str) -> str:
    """The state after a line. A key stays where it is."""
    if line.then is None:
        return state
    held = WITH_KEY if state.endswith(WITH_KEY) else ""
    return line.then.removesuffix(WITH_KEY) + (held or line.then[len(line.then.removesuffix(WITH_KEY)) :])
