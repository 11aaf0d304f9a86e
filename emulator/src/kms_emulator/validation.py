# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation and masking of requests by botocore's models of KMS, EventBridge Scheduler and CloudTrail."""

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
    """Return botocore's model of KMS."""
    return botocore.session.get_session().get_service_model("kms")


@functools.cache
def scheduler_model() -> ServiceModel:
    """Return botocore's model of EventBridge Scheduler."""
    return botocore.session.get_session().get_service_model("scheduler")


@functools.cache
def cloudtrail_model() -> ServiceModel:
    """Return botocore's model of CloudTrail."""
    return botocore.session.get_session().get_service_model("cloudtrail")


def input_shape(operation: str) -> StructureShape:
    """Return the input shape of a KMS operation. Raises botocore's OperationNotFoundError."""
    return cast(StructureShape, kms_model().operation_model(operation).input_shape)


def check_request(operation: str, request: dict[str, Any], *, leave_out: Collection[str] = ()) -> None:
    """Validate a request like KMS, before any other check. Leave_out: members that another check validates.

    Raises SerializationException for a value of the wrong type, and ValidationException, in AWS's format, for members that
    violate constraints. The message has their values, except those of sensitive members and of blobs.
    """
    check_members(input_shape(operation), request, leave_out=leave_out)


def check_members(shape: StructureShape, request: dict[str, Any], *, leave_out: Collection[str] = ()) -> None:
    """Validate the members of a request to any service, in the same way."""
    excluded = {_join_path("", name) for name in leave_out if request.get(name) is not None}
    found = [text for path, text in failures(shape, request, "") if path not in excluded]
    if found:
        noun = "error" if len(found) == 1 else "errors"
        raise ValidationException(f"{len(found)} validation {noun} detected: {'; '.join(found)}")


def check_value(shape_name: str, value: str, name: str) -> None:
    """Validate one value like KMS. Raises ValueError, whose message does not have the value if it is a secret."""
    for _path, text in failures(kms_model().shape_for(shape_name), value, name):
        raise ValueError(text)


def failures(shape: Shape, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the message for each violated constraint. Path: of the value, such as 'tags.1.member.tagKey'."""
    json_type = JSON_TYPES[shape.type_name]
    if not isinstance(value, json_type) or (isinstance(value, bool) and json_type is not bool):
        raise SerializationException(f"The value at {path!r} is not a {shape.type_name}.")
    for constraint in _violations(shape, value, path):
        yield path, f"Value{_format_value(shape, value)} at {path!r} failed to satisfy constraint: {constraint}"
    for member_shape, member_value, member_path in _members(shape, value, path):
        yield from failures(member_shape, member_value, member_path)


def _format_value(shape: Shape, value: Any) -> str:
    """Format a value for AWS's message. Empty for a value that may be a secret."""
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
                yield _MissingShape(), "", _join_path(path, name)
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield member, value[name], _join_path(path, name)
    elif isinstance(shape, ListShape):
        for number, item in enumerate(value, 1):
            yield shape.member, item, f"{path}.{number}.member"
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            yield shape.key, key, f"{path}.key"
            yield shape.value, item, f"{path}.value"


class _MissingShape(Shape):
    """Represents a required member that is missing in the request."""

    def __init__(self) -> None:
        super().__init__("Missing", {"type": "string"})


def _join_path(path: str, member: str) -> str:
    name = member[0].lower() + member[1:]
    return f"{path}.{name}" if path else name


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(shape, _MissingShape):
        yield "Member must not be null"
        return
    size, noun = _size(shape, value, path)
    if size is not None and size < shape.metadata.get("min", size):
        yield f"Member must have {noun} greater than or equal to {shape.metadata['min']}"
    if size is not None and size > shape.metadata.get("max", size):
        yield f"Member must have {noun} less than or equal to {shape.metadata['max']}"
    if isinstance(shape, StringShape):
        yield from _string_violations(shape, value)


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


def _string_violations(shape: StringShape, value: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        yield f"Member must satisfy regular expression pattern: {pattern}"


def mask(shape: Shape | None, value: Any, member: str = "") -> Any:
    """Mask the sensitive members, and the unknown members, of a value.

    AccessKeyId is sensitive in the model, but not masked, because DescribeCustomKeyStores returns it (R18).
    """
    if shape is None or (shape.metadata.get("sensitive") and member != "AccessKeyId"):
        return MASK
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return MASK
        return {name: mask(shape.members.get(name), item, name) for name, item in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [mask(shape.member, item) for item in value]
    return value
