# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests judged and masked by botocore's own models of KMS, EventBridge Scheduler and CloudTrail."""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Collection
from collections.abc import Iterator
from typing import Any
from typing import cast

import botocore.session
from botocore.model import ListShape
from botocore.model import MapShape
from botocore.model import ServiceModel
from botocore.model import Shape
from botocore.model import StringShape
from botocore.model import StructureShape

from .custom_key_stores.exceptions import ValidationException
from .exceptions import SerializationException

MASK = "********"

JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "blob": str,
    "integer": int,
    "boolean": bool,
    "timestamp": (int, float),
}


@functools.cache
def kms_model() -> ServiceModel:
    """botocore's description of KMS."""
    return botocore.session.get_session().get_service_model("kms")


@functools.cache
def scheduler_model() -> ServiceModel:
    """botocore's description of EventBridge Scheduler."""
    return botocore.session.get_session().get_service_model("scheduler")


@functools.cache
def cloudtrail_model() -> ServiceModel:
    """botocore's description of CloudTrail."""
    return botocore.session.get_session().get_service_model("cloudtrail")


def input_shape(operation: str) -> StructureShape:
    """The shape of the request of a KMS operation. Raises botocore's OperationNotFoundError."""
    return cast(StructureShape, kms_model().operation_model(operation).input_shape)


def check_request(operation: str, request: dict[str, Any], *, leave_out: Collection[str] = ()) -> None:
    """Judge a request as KMS does before it looks at anything else. Leave_out: members to be judged elsewhere.

    Raises SerializationException for a value of the wrong type, and ValidationException, in the form of AWS's own validation,
    naming all members that break a constraint. A value is repeated unless the member is sensitive, or a blob.
    """
    check_members(input_shape(operation), request, leave_out=leave_out)


def check_members(shape: StructureShape, request: dict[str, Any], *, leave_out: Collection[str] = ()) -> None:
    """Judge the members of a request to any service, in the same way."""
    elsewhere = {_joined("", name) for name in leave_out if request.get(name) is not None}
    found = [text for path, text in failures(shape, request, "") if path not in elsewhere]
    if found:
        noun = "error" if len(found) == 1 else "errors"
        raise ValidationException(f"{len(found)} validation {noun} detected: {'; '.join(found)}")


def check_value(shape_name: str, value: str, name: str) -> None:
    """Judge one value as KMS would. Raises ValueError, which does not repeat it if it is a secret."""
    for _path, text in failures(kms_model().shape_for(shape_name), value, name):
        raise ValueError(text)


def failures(shape: Shape, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Each constraint that a value breaks: the place, and a clause about it. Path: the place, such as 'tags.1.member.tagKey'."""
    json_type = JSON_TYPES[shape.type_name]
    if not isinstance(value, json_type) or (isinstance(value, bool) and json_type is not bool):
        raise SerializationException(f"The value at {path!r} is not a {shape.type_name}.")
    for constraint in _broken(shape, value, path):
        yield path, f"Value{_repeated(shape, value)} at {path!r} failed to satisfy constraint: {constraint}"
    for member_shape, member_value, member_path in _members(shape, value, path):
        yield from failures(member_shape, member_value, member_path)


def _repeated(shape: Shape, value: Any) -> str:
    """A value as AWS repeats it; nothing for one that may be a secret."""
    if isinstance(shape, _MissingShape):
        return " null"
    if shape.metadata.get("sensitive") or shape.type_name == "blob":
        return ""
    if isinstance(value, list):
        return f" '[{', '.join(str(item) for item in value)}]'"
    return f" '{value}'"


def _members(shape: Shape, value: Any, path: str) -> Iterator[tuple[Shape, Any, str]]:
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            if value.get(name) is None:
                yield _MissingShape(), "", _joined(path, name)
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield member, value[name], _joined(path, name)
    elif isinstance(shape, ListShape):
        for number, item in enumerate(value, 1):
            yield shape.member, item, f"{path}.{number}.member"
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield shape.key, key, f"{path}.key"
            yield shape.value, item, f"{path}.value"


class _MissingShape(Shape):
    """Stands for a required member that is not in the request."""

    def __init__(self) -> None:
        super().__init__("Missing", {"type": "string"})


def _joined(path: str, member: str) -> str:
    name = member[0].lower() + member[1:]
    return f"{path}.{name}" if path else name


def _broken(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(shape, _MissingShape):
        yield "Member must not be null"
        return
    size, noun = _size(shape, value, path)
    if size is not None and size < shape.metadata.get("min", size):
        yield f"Member must have {noun} greater than or equal to {shape.metadata['min']}"
    if size is not None and size > shape.metadata.get("max", size):
        yield f"Member must have {noun} less than or equal to {shape.metadata['max']}"
    if isinstance(shape, StringShape):
        yield from _broken_by_text(shape, value)


def _size(shape: Shape, value: Any, path: str) -> tuple[int | None, str]:
    if shape.type_name == "integer":
        return value, "value"
    if shape.type_name == "blob":
        try:
            return len(base64.b64decode(value, validate=True)), "length"
        except (binascii.Error, ValueError) as error:
            raise SerializationException(f"The value at {path!r} is not Base64.") from error
    if shape.type_name in ("string", "list", "map"):
        return len(value), "length"
    return None, ""


def _broken_by_text(shape: StringShape, value: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        yield f"Member must satisfy regular expression pattern: {pattern}"


def masked(shape: Shape | None, value: Any, member: str = "") -> Any:
    """A value as it may be shown: members that the model calls sensitive, and members it does not know, are masked.

    AccessKeyId is shown although the model calls it sensitive, as DescribeCustomKeyStores returns it (R18).
    """
    if shape is None or (shape.metadata.get("sensitive") and member != "AccessKeyId"):
        return MASK
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return MASK
        return {name: masked(shape.members.get(name), item, name) for name, item in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [masked(shape.member, item) for item in value]
    return value
