# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes made from botocore's model of KMS: a null, a member that there is not, a value that breaks a constraint.

They are made for every operation that the model has. Whatever is asked, the answer is one that the model declares, or an error
that any operation may have, in JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import botocore.session
import pytest
from botocore.model import ListShape
from botocore.model import MapShape
from botocore.model import OperationModel
from botocore.model import Shape
from botocore.model import StringShape
from botocore.model import StructureShape

from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.unit.emulator.stores import post

MODEL = botocore.session.get_session().get_service_model("kms")

OF_ANY_OPERATION = {"ValidationException", "SerializationException"}
"""Errors that the model declares for no operation, and that KMS answers with."""

NOT_THERE = "UnknownOperationException"
"""What the emulator says to an operation that neither it nor moto has."""

BLOB = base64.b64encode(b"0123456789abcdef").decode()

KEY_MEMBERS = {"KeyId", "SourceKeyId", "DestinationKeyId", "TargetKeyId"}

FITTING = {
    "CloudHsmClusterId": "cluster-abcdefghijk",
    "CustomKeyStoreName": "store",
    "NewCustomKeyStoreName": "renamed",
    "AliasName": "alias/new",
    "NumberOfBytes": 32,
    "KeySpec": "AES_256",
    "Policy": "{}",
    "PolicyName": "default",
    "PendingWindowInDays": 7,
    "RotationPeriodInDays": 365,
    "GranteePrincipal": "arn:aws:iam::123456789012:role/user",
    "RetiringPrincipal": "arn:aws:iam::123456789012:role/user",
    "ReplicaRegion": "eu-west-1",
    "PrimaryRegion": "eu-west-1",
}
"""Values that fit a member of this name, where one made from its shape would not make sense."""

INSTEAD = {"CreateKey": {"KeySpec": "SYMMETRIC_DEFAULT"}}


class Probe(NamedTuple):
    """One request: what is odd about it, and the error code that it must lead to, if it is one only."""

    operation: str
    odd: str
    members: dict[str, Any]
    expected: str | None = None


def fitting(shape: Shape, name: str) -> Any:
    """A value that a member may have."""
    if name in FITTING:
        return FITTING[name]
    if isinstance(shape, StructureShape):
        return {member: fitting(shape.members[member], member) for member in shape.required_members}
    if isinstance(shape, ListShape):
        return [fitting(shape.member, "")]
    if isinstance(shape, MapShape):
        return {fitting(shape.key, ""): fitting(shape.value, "")}
    if isinstance(shape, StringShape):
        return shape.enum[0] if shape.enum else "A" * max(int(shape.metadata.get("min", 1)), 1)
    return {"blob": BLOB, "boolean": False, "timestamp": 2_000_000_000}.get(
        shape.type_name, int(shape.metadata.get("min", 1))
    )


def given(operation: str) -> dict[str, Any]:
    """A request with each member that the operation needs; KEY stands for a key."""
    shape = MODEL.operation_model(operation).input_shape
    if shape is None:
        return {}
    members = {name: fitting(shape.members[name], name) for name in shape.required_members}
    return {**members, **dict.fromkeys(KEY_MEMBERS & set(members), "KEY"), **INSTEAD.get(operation, {})}


def out_of_bounds(shape: Shape) -> Iterator[tuple[str, Any]]:
    """Values that break a constraint, each with a name for it."""
    size = {"min": -1, "max": 1}
    for limit in sorted(set(shape.metadata) & set(size)):
        wanted = shape.metadata[limit] + size[limit]
        if wanted >= 0 and shape.type_name == "integer":
            yield f"beyond {limit}", wanted
        elif 0 <= wanted <= 10_000 and shape.type_name == "string":
            yield f"length beyond {limit}", "A" * wanted
        elif 0 <= wanted <= 10_000 and shape.type_name == "blob":
            yield f"length beyond {limit}", base64.b64encode(b"A" * wanted).decode()
    if isinstance(shape, StringShape) and (shape.enum or shape.metadata.get("pattern")):
        yield "no such value", "\N{SNOWMAN}" * max(int(shape.metadata.get("min", 1)), 1)


def probes(operation: str) -> Iterator[Probe]:
    """All that is asked of one operation."""
    shape = MODEL.operation_model(operation).input_shape
    members = given(operation)
    yield Probe(operation, "nothing odd", members)
    yield Probe(operation, "a member that there is not", {**members, "Unheard": "of"})
    for name, member in shape.members.items() if shape is not None else ():
        required = shape is not None and name in shape.required_members
        yield Probe(operation, f"{name}: null", {**members, name: None}, "ValidationException" if required else None)
        wrong = {} if member.type_name == "string" else "text of no kind"
        yield Probe(operation, f"{name}: another type", {**members, name: wrong}, "SerializationException")
        for oddity, value in out_of_bounds(member):
            yield Probe(operation, f"{name}: {oddity}", {**members, name: value}, "ValidationException")
        if not required:
            value = "KEY" if name in KEY_MEMBERS else fitting(member, name)
            yield Probe(operation, f"{name}: given", {**members, name: value})


PROBES = {operation: list(probes(operation)) for operation in MODEL.operation_names}


def judged(model: OperationModel, probe: Probe, status: int, answer: Any) -> str | None:
    """What is wrong with an answer, if anything."""
    if status == 200:
        expected: set[str] = set(model.output_shape.members) if model.output_shape is not None else set()
        wrong = sorted(set(answer or {}) - expected)
        missing = probe.expected is not None and f"it must be {probe.expected}, and succeeded"
        return missing or (f"the answer has {wrong}" if wrong else None)
    code = answer["__type"]
    if code == NOT_THERE:
        return None if answer["message"] == f"The emulator does not have {probe.operation}." else str(answer)
    declared = {shape.name for shape in model.error_shapes} | OF_ANY_OPERATION
    if probe.expected is not None and code != probe.expected:
        return f"it must be {probe.expected}, and is {code}: {answer['message']}"
    return None if code in declared and status < 500 else f"{status} {code}: {answer['message']}"


@pytest.mark.parametrize("in_store", [False, True], ids=["outside", "in a store"])
@pytest.mark.parametrize("operation", PROBES)
def test_each_probe_is_answered_as_the_model_says(
    emulator_server: EmulatorServer, http_control: HttpControl, operation: str, in_store: bool
) -> None:
    store_id = http_control.create_store(connection_state="CONNECTED") if in_store else None
    (key_id,) = http_control.create_keys(1, custom_key_store_id=store_id)
    model = MODEL.operation_model(operation)
    found = {}
    for probe in PROBES[operation]:
        members = {name: key_id if value == "KEY" else value for name, value in probe.members.items()}
        status, answer = post(emulator_server.url, operation, json.dumps(members))
        wrong = judged(model, probe, status, answer)
        if wrong is not None:
            found[probe.odd] = wrong
    assert found == {}


def test_there_are_many_probes() -> None:
    assert sum(len(asked) for asked in PROBES.values()) > 500
