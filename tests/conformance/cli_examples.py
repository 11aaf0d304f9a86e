# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples for KMS in the documentation of AWS's command line, as installed, and the world that each of them presumes."""

from __future__ import annotations

import functools
import re
import shlex
import textwrap
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from kms_emulator import HttpControl

REGION = "us-east-1"
ACCOUNT = "123456789012"
REPLICA_REGION = "eu-west-1"
PLAINTEXT = b"a text that is no secret"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nexample\n-----END CERTIFICATE-----\n"
ACCESS_KEY_ID = "EXAMPLEACCESSKEY2345"

TITLE = re.compile(r"^\*\*.+\*\*[ ]*$", re.MULTILINE)
LITERAL_BLOCK = re.compile(r"^(?P<lead>.*)::[ ]*\n(?:[ \t]*\n)+(?P<text>(?:[ \t]+\S.*\n?|[ \t]*\n)+)", re.MULTILINE)
CONTINUED = re.compile(r"[\\^][ \t]*\n[ \t]*")
"""The end of a line that goes on in the next, for a POSIX shell or for Windows; blanks in between are a slip of the documents."""

KEY_ARN = re.compile(r"(?<=arn:aws:kms:)[\w-]+:\d{12}(?=:key/)")
KEY_ID = re.compile(r"(?:mrk-[0-9a-f]{32,}|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
STORE_ID = re.compile(r"\bcks-[0-9a-f]+\b")
CLUSTER_ID = re.compile(r"(?<=\s)cluster-\w+\b")
GRANT_ID = re.compile(r"\b[0-9a-f]{64}\b")
ALIAS = re.compile(r"\balias/(?!aws/)[\w/-]+")


@dataclass(frozen=True)
class Command:
    """A command line, in one line, and the answer that the documentation shows for it, if any."""

    line: str
    documented: Any = None

    @property
    def name(self) -> str:
        """Such as create-key."""
        return self.line.split()[2]

    @property
    def operation(self) -> str:
        """KMS's name for it, such as CreateKey."""
        return "".join(word.title() for word in self.name.split("-"))

    def option(self, name: str) -> str | None:
        """The first word that an option is given."""
        words = shlex.split(self.line)
        return words[words.index(name) + 1] if name in words[:-1] else None

    @property
    def written(self) -> str | None:
        """The name of the file that the output is sent to."""
        _command, sign, name = self.line.rpartition(" > ")
        return "".join(shlex.split(name)) if sign else None


@dataclass
class Example:
    """One example: commands to be run in turn, and the files that it shows, by their names."""

    name: str
    commands: list[Command] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


def folder() -> Path:
    """Where the examples for KMS are. The package is not imported: it puts a botocore of its own in the place of the other."""
    spec = find_spec("awscli")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "examples" / "kms"


@functools.cache
def examples() -> list[Example]:
    """All examples that have a command."""
    return [example for path in sorted(folder().glob("*.rst")) for example in _examples_of(path)]


def _examples_of(path: Path) -> Iterator[Example]:
    sections = TITLE.split(path.read_text("utf-8"))[1:]
    for number, section in enumerate(sections, 1):
        example = Example(path.stem if len(sections) == 1 else f"{path.stem}-{number}")
        for block in LITERAL_BLOCK.finditer(section):
            _add(example, block["lead"], textwrap.dedent(block["text"]), own=path.stem)
        if example.commands:
            yield example


def _add(example: Example, lead: str, text: str, *, own: str) -> None:
    """Add what a literal block has. Own: the command of the file, which may stand without the program's name."""
    commands = example.commands
    if not text.lstrip().startswith("{"):
        commands += [Command(line) for line in _command_lines(text, own)]
    elif commands and commands[-1].documented is None:
        commands[-1] = replace(commands[-1], documented=_parsed(text))
    elif name := re.search(r"Contents of ``(\S+)``$", lead):
        example.files[name[1]] = text


def _command_lines(text: str, own: str) -> Iterator[str]:
    for line in CONTINUED.sub(" ", text).splitlines():
        words = line.strip().removeprefix("$ ")
        if words.startswith("aws kms "):
            yield words
        elif words.startswith(f"{own} "):
            yield f"aws kms {words}"


def _parsed(text: str) -> Any:
    """JSON as the documentation has it: with ellipses, without some commas, and without some quotes, which YAML needs neither."""
    without_ellipses = re.sub(r"^\s*\.\.\.\s*$", "", text, flags=re.MULTILINE)
    with_commas = re.sub(r'(["\]}])[ ]*\n([ ]*")', r"\1,\n\2", without_ellipses)
    return yaml.safe_load(with_commas)


def members(answer: Any, path: str = "") -> dict[str, list[Any]]:
    """The members of an answer, and theirs, such as Grants.Name, each with all its values, an object's left out.

    An encryption context has names that the caller chose.
    """
    found: dict[str, list[Any]] = {}
    if isinstance(answer, dict) and not path.endswith("EncryptionContextSubset"):
        for name, value in answer.items():
            inner = f"{path}.{name}" if path else name
            items = value if isinstance(value, list) else [value]
            found.setdefault(inner, []).extend(item for item in items if not isinstance(item, dict))
            for item in items:
                for key, values in members(item, inner).items():
                    found.setdefault(key, []).extend(values)
    return found


class World:
    """What an example presumes, made as its commands come: keys, stores, grants, aliases, files."""

    def __init__(self, kms: Any, control: HttpControl, home: Path, files: dict[str, str]) -> None:
        self.kms = kms
        self.control = control
        self._home = home
        self._real: dict[str, str] = {}
        """What takes the place of an id in the documentation."""
        for name, text in files.items():
            (home / name).write_text(text)

    def ready(self, command: Command) -> str:
        """The command line with real ids, for which all is ready now."""
        line = KEY_ARN.sub(f"{REGION}:{ACCOUNT}", command.line)
        line = re.sub(r"AccessKeyId=\w+", f"AccessKeyId={ACCESS_KEY_ID}", line)
        makers = ((CLUSTER_ID, self._cluster), (STORE_ID, self._store), (KEY_ID, self._key), (GRANT_ID, self._grant))
        for pattern, make in makers:
            for documented in pattern.findall(line):
                if documented not in self._real and documented not in self._real.values():
                    self._real[documented] = make(command)
                line = line.replace(documented, self._real.get(documented, documented))
        BEFORE.get(command.name, _nothing)(self, command)
        for name in ALIAS.findall(line) if command.name != "create-alias" else ():
            self.alias(name)
        for option, name in re.findall(r"--([\w-]+) fileb?://(\S+)", line):
            if not (self._home / name).exists():
                (self._home / name).write_bytes(FILES[option](self, command))
        return line

    @property
    def key_id(self) -> str:
        """The key that the commands so far name first."""
        return next(self._real[documented] for documented in self._real if KEY_ID.fullmatch(documented))

    def _key(self, command: Command) -> str:
        metadata = self.kms.create_key(**_kind(command))["KeyMetadata"]
        if metadata["MultiRegion"]:
            self.kms.replicate_key(KeyId=metadata["KeyId"], ReplicaRegion=REPLICA_REGION)
        if _documented_key(command).get("KeyState") == "Disabled":
            self.kms.disable_key(KeyId=metadata["KeyId"])
        return str(metadata["KeyId"])

    def _cluster(self, command: Command) -> str:
        """One that a store may be made with, or moved to: its certificate says of which family it is."""
        return self.control.create_cluster(certificate=CERTIFICATE)

    def _store(self, command: Command) -> str:
        configuration = _documented_store(command).get("XksProxyConfiguration", {})
        external = configuration or "--xks" in command.line
        cluster = {"CloudHsmClusterId": self.control.create_cluster(certificate=CERTIFICATE)}
        members = ("UriEndpoint", "UriPath", "Connectivity", "VpcEndpointServiceName")
        proxy = {f"XksProxy{name}": configuration[name] for name in members if name in configuration}
        connected = command.name in ("create-key", "describe-custom-key-stores", "disconnect-custom-key-store")
        return self.control.create_store(
            custom_key_store_name=command.option("--custom-key-store-name"),
            custom_key_store_type="EXTERNAL_KEY_STORE" if external else "AWS_CLOUDHSM",
            connection_state="CONNECTED" if connected else "DISCONNECTED",
            parameters=proxy if external else cluster,
        )

    def named_store(self, command: Command) -> None:
        """A store that is looked for by its name."""
        if command.option("--custom-key-store-name"):
            self._store(command)

    def _grant(self, command: Command) -> str:
        return self.grant(command.option("--retiring-principal"))

    def grant(self, retiring_principal: str | None = None) -> str:
        """A grant with all that one may have."""
        return str(
            self.kms.create_grant(
                KeyId=self.key_id if self._real else self.new_key(),
                GranteePrincipal=f"arn:aws:iam::{ACCOUNT}:role/grantee",
                RetiringPrincipal=retiring_principal or f"arn:aws:iam::{ACCOUNT}:role/retiring",
                Operations=["Decrypt"],
                Name="example",
                Constraints={"EncryptionContextSubset": {"Department": "IT"}},
            )["GrantId"]
        )

    def alias(self, name: str, key_id: str | None = None) -> None:
        """An alias of a key, or of one that the example does not name."""
        self.kms.create_alias(AliasName=name, TargetKeyId=key_id or self.new_key())

    def new_key(self) -> str:
        """A symmetric key that the example does not name."""
        return str(self.kms.create_key()["KeyMetadata"]["KeyId"])


def _documented_key(command: Command) -> dict[str, Any]:
    """What the documentation shows of the key that a command looks at."""
    documented = command.documented or {}
    found: dict[str, Any] = documented.get("KeyMetadata", documented)
    return found


def _documented_store(command: Command) -> dict[str, Any]:
    found: list[dict[str, Any]] = (command.documented or {}).get("CustomKeyStores", [{}])
    return found[0]


def _kind(command: Command) -> dict[str, Any]:
    """The members of CreateKey for the key that a command is about."""
    if "import" in command.name:
        return {"Origin": "EXTERNAL"}
    if command.name == "derive-shared-secret":
        return {"KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"}
    if mac := command.option("--mac-algorithm"):
        return {"KeySpec": mac.replace("SHA_", ""), "KeyUsage": "GENERATE_VERIFY_MAC"}
    if command.option("--signing-algorithm"):
        return {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}
    shown = _documented_key(command)
    spec = shown.get("KeySpec") or shown.get("CustomerMasterKeySpec")
    if spec:
        return {"KeySpec": spec, "KeyUsage": shown["KeyUsage"], "MultiRegion": shown.get("MultiRegion", False)}
    rsa = command.option("--encryption-algorithm") or command.name == "get-public-key"
    return {"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"} if rsa else {}


def _nothing(world: World, command: Command) -> None:
    """What has to be done before most commands."""


def _make_grant(world: World, command: Command) -> None:
    world.grant(command.option("--retiring-principal"))


def _make_alias(world: World, command: Command) -> None:
    world.alias("alias/made", world.key_id if command.option("--key-id") else None)


def _tag(world: World, command: Command) -> None:
    tag = {"TagKey": command.option("--tag-key") or "any", "TagValue": "any"}
    world.kms.tag_resource(KeyId=world.key_id, Tags=[tag])


BEFORE: dict[str, Callable[[World, Command], Any]] = {
    "cancel-key-deletion": lambda world, command: world.kms.schedule_key_deletion(KeyId=world.key_id),
    "describe-custom-key-stores": World.named_store,
    "disable-key-rotation": lambda world, command: world.kms.enable_key_rotation(KeyId=world.key_id),
    "enable-key": lambda world, command: world.kms.disable_key(KeyId=world.key_id),
    "get-key-rotation-status": lambda world, command: world.kms.enable_key_rotation(KeyId=world.key_id),
    "list-aliases": _make_alias,
    "list-grants": _make_grant,
    "list-key-rotations": lambda world, command: world.kms.rotate_key_on_demand(KeyId=world.key_id),
    "list-keys": lambda world, command: world.new_key(),
    "list-resource-tags": _tag,
    "list-retirable-grants": _make_grant,
    "untag-resource": _tag,
}
"""What has to be done before a command."""


def _ciphertext(world: World, command: Command) -> bytes:
    return bytes(world.kms.encrypt(KeyId=world.key_id, Plaintext=PLAINTEXT)["CiphertextBlob"])


def _mac(world: World, command: Command) -> bytes:
    algorithm = command.option("--mac-algorithm")
    return bytes(world.kms.generate_mac(KeyId=world.key_id, Message=PLAINTEXT, MacAlgorithm=algorithm)["Mac"])


def _signature(world: World, command: Command) -> bytes:
    algorithm = command.option("--signing-algorithm")
    return bytes(world.kms.sign(KeyId=world.key_id, Message=PLAINTEXT, SigningAlgorithm=algorithm)["Signature"])


FILES: dict[str, Callable[[World, Command], bytes]] = {
    "ciphertext-blob": _ciphertext,
    "encrypted-key-material": lambda world, command: PLAINTEXT,
    "import-token": lambda world, command: PLAINTEXT,
    "mac": _mac,
    "message": lambda world, command: PLAINTEXT,
    "plaintext": lambda world, command: PLAINTEXT,
    "signature": _signature,
    "trust-anchor-certificate": lambda world, command: CERTIFICATE.encode(),
}
"""What is in the file that an option names."""
