# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes out of a recording what is private, and finds what is left of it."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from urllib.parse import urlsplit

from tests.record.requests import UNKNOWN_ID
from tests.record.requests import UNKNOWN_NAME
from tests.record.requests import renamed

ACCOUNT = "111122223333"
OTHER_ACCOUNT = "444455556666"
"""The owner of a VPC endpoint service, where that is not the account of the key store."""
STORE_ID = "cks-00000000000000001"
STORE_NAME = "store-01"
CLUSTER_ID = "cluster-placeholder"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nplaceholder\n-----END CERTIFICATE-----\n"
ENDPOINT = "https://xks-01.example.com"
PATH = "/placeholder/kms/xks/v1"
SERVICE = "com.amazonaws.vpce.us-east-1.vpce-svc-00000000000000001"
PROXY_ACCESS_KEY_ID = "PLACEHOLDERACCESSKEY"
TIME = "2000-01-01T00:00:00+00:00"
SOME_TEXT = "(text)"

MEMBERS = {
    "CustomKeyStoreId": STORE_ID,
    "CustomKeyStoreName": STORE_NAME,
    "CloudHsmClusterId": CLUSTER_ID,
    "TrustAnchorCertificate": CERTIFICATE,
    "UriEndpoint": ENDPOINT,
    "UriPath": PATH,
    "VpcEndpointServiceName": SERVICE,
    "AccessKeyId": PROXY_ACCESS_KEY_ID,
}
"""What describes a key store and is private, with what is put in its place. All of it is valid for KMS, too."""

ENUMERATIONS = frozenset(
    {"ConnectionState", "ConnectionErrorCode", "CustomKeyStoreType", "Connectivity", "XksProxyConnectivity"}
)
"""Members whose values are KMS's own words, and stay."""

COMMON = frozenset(
    {"aws", "amazonaws", "com", "eu", "kms", "net", "org", "proxy", "xks", "https", "user", "role", "root"}
)
"""Parts of hosts, paths and ARNs that say nothing of anybody."""

PATTERNS = {
    "an ARN": r"arn:[\w-]*:[^\s\"']*",
    "a certificate": r"-----BEGIN [\w ]+-----[^\"]*?-----END [\w ]+-----(?:\\n|\n)?",
    "a request id": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
    "the id of a key store": r"\bcks-[0-9a-z]+",
    "the id of a cluster": r"\bcluster-[2-7a-zA-Z]{11,16}\b",
    "a VPC endpoint service": r"\b(?:com|eu)\.amazonaws\.vpce\.[\w.-]+|\bvpce-[0-9a-z-]+",
    "an address": r"https?://[^\s\"']+",
    "an e-mail address": r"[\w.+-]+@[\w-]+\.[\w.-]+",
    "an access key id": r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b",
    "a time": r"\b\d{4}-\d\d-\d\dT\d\d:\d\d[\d:.]*(?:Z|[+-]\d\d:?\d\d)?",
    "an IP address": r"\b\d{1,3}(?:\.\d{1,3}){3}\b|\b(?:[0-9a-fA-F]{1,4}:){3,}[0-9a-fA-F:]+",
    "an account id": r"\b\d{12}\b",
    "the host of AWS": r"\b[\w.-]+\.amazonaws\.[\w.]+",
}
"""What looks like something private, whatever it is. The more special ones come first."""

PLACEHOLDERS = (
    *MEMBERS.values(),
    renamed(STORE_NAME),
    ACCOUNT,
    OTHER_ACCOUNT,
    TIME,
    SOME_TEXT,
    UNKNOWN_ID,
    UNKNOWN_NAME,
)


@dataclass
class Disguise:
    """Puts placeholders in place of what is private. Not to be shown: it has the originals.

    Attributes:
        store: the key store as it was described at first.
        account: the account of the key store.
        others: further private values, such as the names of the caller, which are only looked for in texts.
    """

    store: Mapping[str, Any] = field(repr=False)
    account: str = field(repr=False)
    others: set[str] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        described = {**self.store, **self.store.get("XksProxyConfiguration", {})}
        own = {described[member]: placeholder for member, placeholder in MEMBERS.items() if described.get(member)}
        own[renamed(described["CustomKeyStoreName"])] = renamed(STORE_NAME)
        own[self.account] = ACCOUNT
        owner = described.get("VpcEndpointServiceOwner", self.account)
        own.setdefault(owner, OTHER_ACCOUNT)
        self._own = own
        self._parts = set(_parts(described))

    def originals(self) -> list[str]:
        """All that must not be in a recording, the longest first."""
        known = {UNKNOWN_ID, UNKNOWN_NAME, ""}
        return sorted({*self._own, *self._parts, *self.others} - known, key=len, reverse=True)

    def members(self, value: Any, name: str = "") -> Any:
        """A request or an answer without anything private. What is not known to be harmless becomes SOME_TEXT."""
        if isinstance(value, Mapping):
            return {key: self.members(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.members(item, name) for item in value]
        if isinstance(value, datetime.datetime):
            return TIME
        if isinstance(value, str) and not (name in ENUMERATIONS and re.fullmatch("[A-Z_]+", value)):
            return self._own.get(value, value if value in (UNKNOWN_ID, UNKNOWN_NAME, "") else SOME_TEXT)
        return SOME_TEXT if isinstance(value, bytes) else value

    def text(self, text: str) -> str:
        """A message of KMS without anything private."""
        placeholders = {original.lower(): placeholder for original, placeholder in self._own.items()}
        # All at once, so that nothing is found in what was just put there.
        known = "|".join(_pattern(original) for original in self.originals())
        text = re.sub(known, lambda found: placeholders.get(found[0].lower(), SOME_TEXT), text, flags=re.IGNORECASE)
        for pattern in PATTERNS.values():
            text = re.sub(pattern, lambda found: found[0] if found[0] in PLACEHOLDERS else SOME_TEXT, text)
        return text

    def leaks(self, text: str) -> list[str]:
        """What of the private values is left in the JSON of a recording, in words that do not repeat it."""
        values = list(_texts(json.loads(text)))
        found = [
            f"a value that begins with {original[:2]!r} and has {len(original)} characters, in {place}"
            for original in self.originals()
            for place, value in values
            if re.search(_pattern(original), _without_placeholders(value), re.IGNORECASE)
        ]
        return found + may_be_private(text)


def may_be_private(text: str) -> list[str]:
    """What in the JSON of a recording looks private, and is no placeholder."""
    return [
        f"{noun}, in {place}"
        for place, value in _texts(json.loads(text))
        for noun, pattern in PATTERNS.items()
        if re.search(pattern, _without_placeholders(value))
    ]


def _parts(described: Mapping[str, Any]) -> Iterator[str]:
    """Parts of values that could stand alone in a message."""
    host = urlsplit(described.get("UriEndpoint", "")).netloc
    if host:
        yield host
    for part in re.split(r"[./]", f"{host}/{described.get('UriPath', '')}"):
        if part.lower() not in COMMON and not re.fullmatch(r"v\d+|.{0,2}", part):
            yield part
    service = described.get("VpcEndpointServiceName", "")
    if service:
        yield service.rpartition(".")[2]


def parts_of_arn(arn: str) -> Iterator[str]:
    """The ARN of a caller, and the names in it."""
    yield arn
    for part in arn.split(":")[-1].split("/"):
        if part.lower() not in COMMON:
            yield part


def _texts(value: Any, place: str = "the recording") -> Iterator[tuple[str, str]]:
    """All texts of a recording but its own words, which may be somebody's name by accident."""
    if isinstance(value, Mapping):
        where = f"step {value['step']}" if "step" in value else place
        for name, item in value.items():
            if name not in OWN_WORDS:
                yield from _texts(item, where)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, place)
    elif isinstance(value, str):
        yield place, value


OWN_WORDS = ENUMERATIONS | {
    "step",
    "operation",
    "outcome",
    "state",
    "state_after",
    "states",
    "until",
    "store_type",
    "partition",
    "recorded",
    "sdk",
}
"""Members of a recording whose values are words of KMS, or of this program."""


def _without_placeholders(text: str, placeholders: Iterable[str] = PLACEHOLDERS) -> str:
    for placeholder in sorted(placeholders, key=len, reverse=True):
        text = text.replace(placeholder, " ")
    return text


def _pattern(original: str) -> str:
    """Finds a value. One of letters only, or a short one, may be a part of a common word: it must stand alone."""
    escaped = re.escape(original)
    alone = original.isalpha() or len(original) < 6
    return rf"(?<![A-Za-z0-9]){escaped}(?![A-Za-z0-9])" if alone else escaped
