# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks whether KMS could log in to the CloudHSM cluster of a key store as kmsuser: by cloudhsm-cli, without a login.

cloudhsm-cli lists the users of the cluster in its configuration. Of its output, only the entry of kmsuser is reported.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from typing import Callable
from typing import Iterable
from typing import Iterator
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Tuple

from .clusters import Cluster
from .prediction import Check
from .prediction import Outcome

Run = Callable[[Sequence[str]], Tuple[int, str, str]]
"""Runs a program with arguments, for a bounded time. Returns its exit code, stdout and stderr."""

PROGRAM = "cloudhsm-cli"
USUAL_PATH = "/opt/cloudhsm/bin/cloudhsm-cli"
USER = "kmsuser"
ROLE = "crypto-user"

_NAME = "kmsuser in the CloudHSM cluster"
_CREATE = f"{PROGRAM} user create --username {USER} --role {ROLE}"
_REMEDY_MISSING = (
    f"Create it as a crypto user on all HSMs ({_CREATE}), and tell KMS its password while the store is disconnected."
)


class _NotKnownError(Exception):
    """Something could not be checked. The text says what and why, for the user."""


def check_kmsuser(cluster: Cluster, run: Run, path: Optional[str] = None) -> list[Check]:
    """Check what would keep KMS from logging in to a cluster. Raises nothing for what cannot be checked.

    The password cannot be checked, nor whether a user is logged in as kmsuser.

    Args:
        cluster: as C(describe_clusters) returned it.
        run: runs a program on this host, for half a minute or so at most, as a cluster may not answer. It may raise C(OSError) or
            C(subprocess.SubprocessError), such as C(subprocess.TimeoutExpired).
        path: of C(cloudhsm-cli); None to search for it.

    Returns:
        One check for each fault; or one that has passed if there is none; or one that says why nothing is known.
    """
    try:
        client = _Client.found(run, path)
        client.choose(cluster)
        hsms = client.hsms()
        client.must_talk_to(cluster, hsms)
        return _checks_of_users(cluster, client.users(), len(hsms))
    except _NotKnownError as reason:
        return [Check(_NAME, Outcome.UNKNOWN, f"{USER} could not be described: {reason}")]


class _Client:
    """cloudhsm-cli on this host."""

    def __init__(self, run: Run, path: str) -> None:
        self._run = run
        self._path = path
        self._options: tuple[str, ...] = ()

    @classmethod
    def found(cls, run: Run, path: Optional[str]) -> _Client:
        """The program at a path; by default, the installed one. Raises _NotKnownError."""
        if path is not None:
            known = shutil.which(path)
            where = f"there is no program {path} on this host."
        else:
            known = shutil.which(PROGRAM) or shutil.which(USUAL_PATH)
            where = f"{PROGRAM} is not on this host. It is where the users of a cluster are managed, within reach of its HSMs."
        if known is None:
            raise _NotKnownError(where)
        return cls(run, known)

    def choose(self, cluster: Cluster) -> None:
        """Select a cluster for the commands, if several are configured. A single cluster may be configured without its id."""
        self._options = ("--cluster-id", cluster.id) if len(self._configured()[0]) > 1 else ()

    def hsms(self) -> list[Any]:
        """The HSMs that cloudhsm-cli talks to. Raises _NotKnownError."""
        return self._list("hsms", "cluster", "hsm-info")

    def must_talk_to(self, cluster: Cluster, hsms: Sequence[Any]) -> None:
        """Raises _NotKnownError unless cloudhsm-cli certainly talks to the cluster.

        According to AWS, C(cluster hsm-info) prints serial numbers, which AWS CloudHSM does not report, and no addresses. The
        configuration has the addresses of one or more HSMs of each cluster; the client finds the others through these.
        """
        if not cluster.addresses:
            raise _NotKnownError(
                f"AWS CloudHSM does not report the addresses of the HSMs of {cluster.id}, so it is not known whether {PROGRAM}"
                " talks to them."
            )
        printed = {address for hsm in hsms for address in _addresses(_places(hsm))}
        clusters, problem = self._configured()
        known = [printed] if printed else clusters
        if not any(known):
            raise _NotKnownError(
                problem
                or f"no addresses of HSMs are in the configuration of {PROGRAM}, to see to which cluster it talks. Configure it"
                f" for {cluster.id} (configure-cli -a)."
            )
        if not any(addresses & set(cluster.addresses) for addresses in known):
            raise _NotKnownError(
                f"{PROGRAM} talks to another cluster: {cluster.id} has no HSM at the addresses of its configuration. If the HSMs"
                " were replaced, configure it again (configure-cli -a)."
            )

    def users(self) -> list[Mapping[str, Any]]:
        """The users of the cluster. Raises _NotKnownError."""
        found = self._list("users", "user", "list")
        if not all(isinstance(user, Mapping) and isinstance(user.get("username"), str) for user in found):
            raise _NotKnownError(_not_understood("user list"))
        return found

    def _configured(self) -> tuple[list[set[str]], str]:
        """The addresses of HSMs of each cluster in the configuration; and why it could not be read, or an empty text."""
        path = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(self._path))), "etc", f"{PROGRAM}.cfg")
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
            return [], f"{path}, which names the cluster that {PROGRAM} uses, could not be read ({reason})."
        clusters = content.get("clusters") if isinstance(content, dict) else None
        return [set(_servers(entry)) for entry in clusters] if isinstance(clusters, list) else [], ""

    def _list(self, member: str, *command: str) -> list[Any]:
        """The list that a command prints in JSON. Raises _NotKnownError."""
        name = " ".join(command)
        try:
            exit_code, printed, _errors = self._run([self._path, *command, *self._options])
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise _NotKnownError(f"{PROGRAM} {name} did not end properly ({type(error).__name__}).") from error
        answer = _parsed(printed)
        if exit_code != 0 or answer.get("error_code", 0) != 0:
            # Its output may name other users.
            raise _NotKnownError(f"{PROGRAM} {name} failed. Run it on this host to see why.")
        data = answer.get("data")
        found = data.get(member) if isinstance(data, dict) else None
        if not isinstance(found, list):
            raise _NotKnownError(_not_understood(name))
        return found


def _checks_of_users(cluster: Cluster, users: Sequence[Mapping[str, Any]], reported: int) -> list[Check]:
    entries = [user for user in users if user["username"].lower() == USER]
    if not entries:
        return [
            _failed(f"There is no {USER} in the CloudHSM cluster {cluster.id}. {_REMEDY_MISSING}", "USER_NOT_FOUND")
        ]
    entry = next((each for each in entries if each.get("role") == ROLE), None)
    if entry is None:
        if not all(isinstance(each.get("role"), str) for each in entries):
            raise _NotKnownError(_not_understood("user list"))
        text = (
            f"{USER} in the CloudHSM cluster {cluster.id} is not a crypto user on all HSMs, so that KMS does not find it."
            f" Delete the user with the other role. {_REMEDY_MISSING}"
        )
        return [_failed(text, "USER_NOT_FOUND")]
    faults = [*_coverage(cluster, entry), *_lock(cluster, entry), *_second_factor(cluster, entry)]
    if faults:
        return faults
    active = cluster.active_hsms or 0
    if reported < active:
        raise _NotKnownError(
            f"{PROGRAM} talks to {reported} of the {active} active HSMs of {cluster.id}. It is fine there, but the others are not"
            " known. Configure it again (configure-cli -a), and check that the HSMs are within reach."
        )
    text = (
        f"{USER} is a crypto user on all HSMs of the CloudHSM cluster {cluster.id}, is not locked, and has no second factor."
        " Whether KMS knows its password, and whether somebody is logged in as it, cannot be seen."
    )
    return [Check(_NAME, Outcome.PASSED, text)]


def _coverage(cluster: Cluster, entry: Mapping[str, Any]) -> list[Check]:
    coverage = entry.get("cluster-coverage")
    if not isinstance(coverage, str):
        raise _NotKnownError(_not_understood("user list"))
    if coverage == "full":
        return []
    text = (
        f"{USER} is not on all HSMs of the CloudHSM cluster {cluster.id}, and KMS needs it on each. Create it again ({_CREATE}),"
        " which adds it where it is missing. Then set its password, which may differ by HSM, and tell it to KMS (the playbook"
        " keyops.aws.rotate_kmsuser_password)."
    )
    return [_failed(text, "USER_NOT_FOUND")]


def _lock(cluster: Cluster, entry: Mapping[str, Any]) -> list[Check]:
    locked = str(entry.get("locked")).lower()
    if locked not in ("true", "false"):
        raise _NotKnownError(_not_understood("user list"))
    if locked == "false":
        return []
    text = (
        f"{USER} is locked in the CloudHSM cluster {cluster.id}, by wrong passwords. Set its password ({PROGRAM} user"
        " change-password), which unlocks it, and tell it to KMS while the store is disconnected (the playbook"
        " keyops.aws.rotate_kmsuser_password)."
    )
    return [_failed(text, "USER_LOCKED_OUT")]


def _second_factor(cluster: Cluster, entry: Mapping[str, Any]) -> list[Check]:
    factors = entry.get("mfa")
    if not isinstance(factors, list):
        raise _NotKnownError(_not_understood("user list"))
    if not any(not isinstance(factor, Mapping) or factor.get("status") != "disabled" for factor in factors):
        return []
    text = (
        f"{USER} in the CloudHSM cluster {cluster.id} has a second factor, which KMS cannot provide. Remove it ({PROGRAM} user"
        f" change-mfa token-sign --username {USER} --role {ROLE} --deregister)."
    )
    return [_failed(text, "INVALID_CREDENTIALS")]


def _failed(text: str, code: str) -> Check:
    return Check(_NAME, Outcome.FAILED, text, code)


def _not_understood(command: str) -> str:
    return f"what {PROGRAM} {command} printed was not understood. It may be of another version."


def _parsed(printed: str) -> dict[str, Any]:
    """The JSON in the output, from its first brace on; empty if there is none."""
    try:
        answer, _end = json.JSONDecoder().raw_decode(printed[max(printed.find("{"), 0) :])
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _servers(entry: Any) -> Iterator[str]:
    """The addresses of the servers of a cluster in the configuration."""
    cluster = entry.get("cluster") if isinstance(entry, dict) else None
    servers = cluster.get("servers") if isinstance(cluster, dict) else None
    hosts = [server.get("hostname") for server in servers or [] if isinstance(server, dict)]
    yield from _addresses(hosts)


def _places(hsm: Any) -> Iterator[Any]:
    """The values in the entry of an HSM that may be addresses. A version may look like one."""
    for name, value in hsm.items() if isinstance(hsm, dict) else ():
        if any(word in name for word in ("address", "host", "ip")):
            yield value


def _addresses(values: Iterable[Any]) -> Iterator[str]:
    """The values that are IP addresses."""
    for value in values:
        with suppress(ValueError):
            yield str(ip_address(str(value)))
