# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution of commands to the emulator, and the validation of their arguments."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any
from typing import Concatenate
from typing import ParamSpec
from typing import TypeVar
from typing import cast

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.exceptions import JsonRESTError

from .models import EmulatedBackend
from .models import backends

LONGEST = 10**9
"""Seconds, about 32 years: a time plus this duration must still be representable."""

P = ParamSpec("P")
R = TypeVar("R")

JSON_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    dict: "an object",
    types.NoneType: "null",
}


def command(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Mark a method of Control as a command. The class of the object executes it: in process, or over HTTP."""

    @functools.wraps(method)
    def call(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        arguments = check_arguments(method, (self, *args), kwargs)
        result: R = self._perform(method, arguments)
        return result

    call.is_command = True  # type: ignore[attr-defined]  # a mark on a function
    return cast(Callable[Concatenate[Any, P], R], call)


def check_arguments(method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, without self. Raises TypeError if they do not match the signature."""
    signature, hints = _signature(method)
    known = [name for name in signature.parameters if name != "self"]
    unknown = [name for name in kwargs if name not in known]
    if unknown:
        raise TypeError(f"there is no parameter {unknown[0]!r}; {_listed(known)}")
    try:
        arguments = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{error}; {_listed(known)}") from error
    arguments.pop("self")
    for name, value in arguments.items():
        if not _has_type(value, hints[name]):
            raise TypeError(f"{name} must be {describe_type(hints[name])}")
    return dict(arguments)


@functools.cache
def _signature(method: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    """Return the signature of a method and the types of its parameters. Python evaluates annotations again at each call."""
    return inspect.signature(method), typing.get_type_hints(method)


def _listed(parameters: list[str]) -> str:
    return f"there are: {', '.join(parameters)}" if parameters else "there are none"


def describe_type(hint: Any) -> str:
    """Describe the type of an argument in terms of JSON."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(describe_type(member) for member in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        return f"a list, each item {describe_type(typing.get_args(hint)[0])}"
    return JSON_NAMES[typing.get_origin(hint) or hint]


def _has_type(value: Any, hint: Any) -> bool:
    """Whether a value, such as one read from JSON, has a type. Supports the types that commands use."""
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        return any(_has_type(value, member) for member in typing.get_args(hint))
    if origin is list:
        return isinstance(value, list) and all(_has_type(item, typing.get_args(hint)[0]) for item in value)
    if isinstance(value, bool):
        return origin is bool
    return isinstance(value, (int, float) if origin is float else origin)


class Commands:
    """Base class of commands: their account and Region, and their execution."""

    def __init__(self, *, account_id: str = DEFAULT_ACCOUNT_ID, region_name: str = "us-east-1") -> None:
        self.account_id = account_id
        self.region_name = region_name

    @property
    def _backend(self) -> EmulatedBackend:
        # Looked up on each use: moto creates a new backend when it is reset.
        if not (len(self.account_id) == 12 and self.account_id.isascii() and self.account_id.isdigit()):
            raise ValueError(f"An account has 12 digits, unlike {self.account_id!r}.")
        account = backends()[self.account_id]
        if self.region_name not in account:
            raise ValueError(f"There is no Region {self.region_name!r}; a Region is such as us-east-1.")
        return account[self.region_name]

    def _perform(self, method: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        with self._backend.lock:
            try:
                self._backend.agenda.catch_up()
                return method(self, **arguments)
            except JsonRESTError as error:
                raise ValueError(error.message) from error
