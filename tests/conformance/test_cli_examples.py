# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples for KMS in the documentation of AWS's command line, replayed with that program against the emulator."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import pytest

from dev.environment import BIN
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.conformance.cli_examples import PLAINTEXT
from tests.conformance.cli_examples import REGION
from tests.conformance.cli_examples import REPLICA_REGION
from tests.conformance.cli_examples import Command
from tests.conformance.cli_examples import Example
from tests.conformance.cli_examples import World
from tests.conformance.cli_examples import examples
from tests.conformance.cli_examples import folder
from tests.conformance.cli_examples import members

VERSION = tuple(int(part) for part in version("awscli").split("."))
"""Of the command line whose documentation this is."""

NEWEST = (1, 46)
"""The version that DIFFERENCES tells of. An older one has fewer examples."""

TELLING = frozenset(
    {
        "ConnectionState",
        "Connectivity",
        "CustomKeyStoreType",
        "CustomerMasterKeySpec",
        "Enabled",
        "EncryptionAlgorithms",
        "KeyManager",
        "KeyRotationEnabled",
        "KeySpec",
        "KeyState",
        "KeyUsage",
        "MacAlgorithm",
        "MacAlgorithms",
        "MacValid",
        "MultiRegion",
        "MultiRegionKeyType",
        "Origin",
        "PendingWindowInDays",
        "PolicyNames",
        "SignatureValid",
        "SigningAlgorithm",
        "SigningAlgorithms",
    }
)
"""Members whose values an example determines."""


class Kind(Enum):
    """How an answer differs from the one that is documented."""

    LACKS = "a member is documented, and not answered"
    BEYOND = "a member is answered, and not documented"
    OTHER = "a member has another value"
    REFUSED = "an error is answered"


@dataclass(frozen=True)
class Difference:
    """One difference between the documentation and the emulator that is as it should be, or that is known.

    Attributes:
        command: such as create-key.
        kind: see Kind.
        what: the member, such as KeyMetadata.KeySpec; or the error code.
        reason: why that is so.
        of: only in examples that have this somewhere, in the command or in the documented answer.
        since: the first version of the command line where it shows.
    """

    command: str
    kind: Kind
    what: str
    reason: str
    of: str = ""
    since: tuple[int, ...] = ()

    def fits(self, command: Command) -> bool:
        """Does it show in an example? All is known for that but the answer."""
        if self.command != command.name or self.of not in f"{command.line} {command.documented}":
            return False
        documented = self.what in members(command.documented)
        possible = {
            Kind.LACKS: documented,
            Kind.OTHER: documented,
            Kind.BEYOND: command.documented is not None and not documented,
            Kind.REFUSED: True,
        }
        return possible[self.kind] and self.since <= VERSION


OLD_EXAMPLE = "The example is older than the member."
NO_MATERIAL_ID = "moto does not report the key materials of a key apart."
READS_ALL = "The command line reads all pages, and leaves out whether there are more."
SHORT_GRANT = "moto does not keep it with a grant."
SHORT_ROTATION = "moto keeps only whether a key is rotated."
NO_MAC_ALGORITHMS = "moto does not report what an HMAC key is for, but has lists for keys of other kinds."
NO_IMPORT = "Neither moto nor the emulator imports key material."
NOT_THERE = "Neither moto nor the emulator has the operation, and the error says so."
UNKNOWN = "UnknownOperationException"

DIFFERENCES = (
    Difference("create-key", Kind.LACKS, "KeyMetadata.CurrentKeyMaterialId", NO_MATERIAL_ID),
    Difference("create-key", Kind.LACKS, "KeyMetadata.MacAlgorithms", NO_MAC_ALGORITHMS),
    Difference("create-key", Kind.BEYOND, "KeyMetadata.EncryptionAlgorithms", NO_MAC_ALGORITHMS, of="HMAC_"),
    Difference("create-key", Kind.BEYOND, "KeyMetadata.SigningAlgorithms", NO_MAC_ALGORITHMS, of="HMAC_"),
    Difference("create-key", Kind.OTHER, "KeyMetadata.Enabled", NO_IMPORT, of="PendingImport"),
    Difference("create-key", Kind.OTHER, "KeyMetadata.KeyState", NO_IMPORT, of="PendingImport"),
    Difference("create-key", Kind.REFUSED, "ValidationException", "moto has no ML-DSA keys.", of="ML_DSA"),
    Difference("delete-imported-key-material", Kind.REFUSED, UNKNOWN, NO_IMPORT),
    Difference("derive-shared-secret", Kind.REFUSED, UNKNOWN, NOT_THERE),
    Difference("describe-custom-key-stores", Kind.BEYOND, "CustomKeyStores.CustomKeyStoreType", OLD_EXAMPLE),
    Difference(
        "describe-custom-key-stores",
        Kind.BEYOND,
        "CustomKeyStores.XksProxyConfiguration.VpcEndpointServiceOwner",
        OLD_EXAMPLE,
        of="VPC_ENDPOINT_SERVICE",
        since=(1, 42, 70),
    ),
    Difference("describe-key", Kind.LACKS, "KeyMetadata.CurrentKeyMaterialId", NO_MATERIAL_ID),
    Difference("describe-key", Kind.LACKS, "KeyMetadata.MacAlgorithms", NO_MAC_ALGORITHMS),
    Difference("describe-key", Kind.BEYOND, "KeyMetadata.EncryptionAlgorithms", NO_MAC_ALGORITHMS, of="HMAC_"),
    Difference("describe-key", Kind.BEYOND, "KeyMetadata.SigningAlgorithms", NO_MAC_ALGORITHMS, of="HMAC_"),
    Difference("describe-key", Kind.BEYOND, "KeyMetadata.KeySpec", OLD_EXAMPLE),
    Difference("describe-key", Kind.BEYOND, "KeyMetadata.MultiRegion", OLD_EXAMPLE),
    Difference(
        "describe-key",
        Kind.OTHER,
        "KeyMetadata.KeyManager",
        "moto's AWS managed keys are like others.",
        of="alias/aws/",
    ),
    Difference("generate-data-key", Kind.LACKS, "KeyMaterialId", NO_MATERIAL_ID),
    Difference("generate-data-key-pair", Kind.REFUSED, UNKNOWN, NOT_THERE),
    Difference("generate-data-key-pair-without-plaintext", Kind.REFUSED, UNKNOWN, NOT_THERE),
    Difference("generate-data-key-without-plaintext", Kind.LACKS, "KeyMaterialId", NO_MATERIAL_ID),
    Difference("get-key-rotation-status", Kind.LACKS, "KeyId", SHORT_ROTATION),
    Difference("get-key-rotation-status", Kind.LACKS, "NextRotationDate", SHORT_ROTATION),
    Difference("get-key-rotation-status", Kind.LACKS, "RotationPeriodInDays", SHORT_ROTATION),
    Difference("get-parameters-for-import", Kind.REFUSED, UNKNOWN, NO_IMPORT),
    Difference("import-key-material", Kind.REFUSED, UNKNOWN, NO_IMPORT),
    Difference("list-grants", Kind.LACKS, "Grants.CreationDate", SHORT_GRANT),
    Difference("list-grants", Kind.LACKS, "Grants.IssuingAccount", SHORT_GRANT),
    Difference("list-key-rotations", Kind.LACKS, "Truncated", READS_ALL),
    Difference("list-resource-tags", Kind.LACKS, "Truncated", READS_ALL),
    Difference("list-retirable-grants", Kind.LACKS, "Grants.CreationDate", SHORT_GRANT),
    Difference("list-retirable-grants", Kind.LACKS, "Grants.IssuingAccount", SHORT_GRANT),
    Difference("list-retirable-grants", Kind.LACKS, "Truncated", READS_ALL),
)
"""All differences. An example shows each of them that fits it, and no other."""


@pytest.fixture
def world(kms_server: EmulatorServer, http_control: HttpControl, example: Example, tmp_path: Path) -> Iterator[World]:
    """Empty but for the files that the example shows."""
    kms = boto3.client(
        "kms",
        region_name=REGION,
        endpoint_url=kms_server.url,
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="not-a-secret",
    )
    yield World(kms, http_control, tmp_path, example.files)
    HttpControl(kms_server.url, region_name=REPLICA_REGION).reset()


@pytest.fixture
def environment(kms_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """For AWS's command line, set as its examples say: a URL is no place to read a value from."""
    settings = tmp_path / "settings"
    settings.write_text("[default]\ncli_follow_urlparam = false\n")
    return {
        **kms_environment,
        "AWS_CONFIG_FILE": str(settings),
        "AWS_DEFAULT_REGION": REGION,
        "PATH": f"{BIN}:{kms_environment['PATH']}",
    }


def run(world: World, command: Command, environment: dict[str, str], home: Path) -> Any:
    """Run a command, which KMS must have been asked for what it says. Returns the answer; the error's code if it is one."""
    line = world.ready(command)
    world.control.clear_requests()
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    requests = world.control.requests()
    assert [request["operation"] for request in requests] == [command.operation], done.stderr
    if done.returncode:
        outcome = requests[0]["outcome"]
        assert f"({outcome})" in done.stderr
        assert f"does not have {command.operation}." in done.stderr or outcome != UNKNOWN
        return outcome
    assert not done.stderr
    return json.loads(done.stdout) if done.stdout else None


def differences(command: Command, answer: Any) -> set[tuple[Kind, str]]:
    """How an answer differs from the documented one."""
    if isinstance(answer, str):
        return {(Kind.REFUSED, answer)}
    documented, answered = members(command.documented), members(answer)
    return {
        *((Kind.LACKS, name) for name in documented.keys() - answered.keys()),
        *((Kind.BEYOND, name) for name in answered.keys() - documented.keys()),
        *(
            (Kind.OTHER, name)
            for name in documented.keys() & answered.keys()
            if name.split(".")[-1] in TELLING and sorted(documented[name]) != sorted(answered[name])
        ),
    }


def check_file(world: World, command: Command, path: Path) -> None:
    """What a command has written is not empty; if it is a text that was given, in clear or not, it is that text."""
    content = path.read_bytes()
    if path.suffix == ".base64":
        content = base64.b64decode(content)
    if command.name in ("encrypt", "re-encrypt"):
        content = world.kms.decrypt(CiphertextBlob=content)["Plaintext"]
    assert content == (PLAINTEXT if "crypt" in command.name else content)
    assert content


@pytest.mark.long
@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_an_example(example: Example, world: World, environment: dict[str, str], tmp_path: Path) -> None:
    for command in example.commands:
        expected = {(known.kind, known.what) for known in DIFFERENCES if known.fits(command)}
        answer = run(world, command, environment, tmp_path)
        assert differences(command, answer) == expected
        if command.written:
            check_file(world, command, tmp_path / command.written)


def test_the_examples_are_found() -> None:
    commands = [command for example in examples() for command in example.commands]
    text = "\n".join(path.read_text("utf-8") for path in folder().glob("*.rst"))
    assert len(commands) >= len(re.findall(r"^[ \t]+(?:\$ )?aws kms ", text, re.MULTILINE))
    assert len(commands) > 70
    assert len({command.name for command in commands}) > 40
    assert sum(command.documented is not None for command in commands) > 30
    assert sum(command.written is not None for command in commands) > 10


@pytest.mark.skipif(VERSION < NEWEST, reason="An older command line has fewer examples.")
def test_no_difference_is_left_over() -> None:
    commands = [command for example in examples() for command in example.commands]
    left_over = [known for known in DIFFERENCES if not any(known.fits(command) for command in commands)]
    assert left_over == []
