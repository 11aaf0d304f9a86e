# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether KMS could log in to a CloudHSM cluster as kmsuser, as cloudhsm-cli tells."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import kmsuser
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kmsuser import check_kmsuser
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Check
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Outcome

ID = "cluster-2345abcdefg"
GOOD = Cluster(
    ID,
    "ACTIVE",
    {"ACTIVE": {"us-east-1a": 1, "us-east-1b": 1}},
    addresses=("10.0.0.10", "10.0.1.11", "2001:db8::a"),
)
UNKNOWN = "kmsuser could not be described: "
CREATE = "cloudhsm-cli user create --username kmsuser --role crypto-user"


def user(name: str, role: str, **other: Any) -> dict[str, Any]:
    return {"username": name, "role": role, "locked": "false", "mfa": [], "cluster-coverage": "full", **other}


OTHERS = [
    user("admin", "admin"),
    user("app_user", "internal(APPLIANCE_USER)"),
    user("zelda", "crypto-user", locked="true", **{"cluster-coverage": "inconsistent"}),
]
KMSUSER = user("kmsuser", "crypto-user")


def hsm(number: int) -> dict[str, Any]:
    """As the documents show it."""
    return {
        "vendor": "Marvell Semiconductors, Inc.",
        "model": "NITROX-III CNN35XX-NFBE",
        "serial-number": f"5.3G1941-ICM00059{number}",
        "hardware-version-major": "5",
        "firmware-id": "CNN35XX-NFBE-FW-2.06-16",
        "fips-state": "2 [FIPS mode with single factor authentication]",
    }


def done(data: Any) -> str:
    return json.dumps({"error_code": 0, "data": data}, indent=2)


def configuration(*clusters: Sequence[str]) -> dict[str, Any]:
    """As configure-cli writes it."""
    return {
        "clusters": [
            {
                "type": "hsm1",
                "cluster": {
                    "hsm_ca_file": "/opt/cloudhsm/etc/customerCA.crt",
                    "servers": [{"hostname": host, "port": 2223, "enable": True} for host in hosts],
                },
            }
            for hosts in clusters
        ],
        "logging": {"log_type": "file"},
    }


@dataclass
class Cli:
    """A host with cloudhsm-cli, which prints what a test wants.

    Attributes:
        folder: as /opt/cloudhsm is.
        hsms: that it talks to.
        users: of the cluster that it talks to.
        printed: by a command, in place of these.
        exit_code: of all commands.
        calls: the arguments of each.
    """

    folder: Path
    hsms: list[dict[str, Any]] = field(default_factory=lambda: [hsm(1), hsm(2)])
    users: list[Any] = field(default_factory=lambda: [*OTHERS, KMSUSER])
    printed: dict[str, str] = field(default_factory=dict)
    exit_code: int = 0
    calls: list[list[str]] = field(default_factory=list)

    @property
    def path(self) -> str:
        return str(self.folder / "bin" / "cloudhsm-cli")

    def __call__(self, command: Sequence[str]) -> tuple[int, str, str]:
        program, *arguments = command
        assert program == self.path
        self.calls.append(arguments)
        name = " ".join(arguments[:2])
        answers = {"cluster hsm-info": done({"hsms": self.hsms}), "user list": done({"users": self.users})}
        return self.exit_code, self.printed.get(name, answers[name]), "zelda"

    def configure(self, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.folder / "etc" / "cloudhsm-cli.cfg").write_text(text)

    def check(self, cluster: Cluster = GOOD) -> list[Check]:
        checks = check_kmsuser(cluster, self, self.path)
        for check in checks:
            assert check.name == "kmsuser in the CloudHSM cluster"
            assert not any(other["username"] in check.text.split() for other in OTHERS)
        return checks

    def only(self, cluster: Cluster = GOOD) -> Check:
        (check,) = self.check(cluster)
        return check


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    for name in ("bin", "etc"):
        (tmp_path / name).mkdir()
    made = Cli(tmp_path)
    Path(made.path).write_text("#!/bin/sh\nexit 9\n")
    Path(made.path).chmod(0o755)
    made.configure(configuration(["10.0.0.10"]))
    return made


def test_a_kmsuser_that_is_fine(cli: Cli) -> None:
    check = cli.only()
    assert (check.outcome, check.code) == (Outcome.PASSED, "")
    assert check.text == (
        f"kmsuser is a crypto user on all HSMs of the CloudHSM cluster {ID}, is not locked, and has no second factor. Whether KMS"
        " knows its password, and whether somebody is logged in as it, cannot be seen."
    )
    assert cli.calls == [["cluster", "hsm-info"], ["user", "list"]]


MISSING = (
    f"Create it as a crypto user on all HSMs ({CREATE}), and tell KMS its password while the store is disconnected."
)


@pytest.mark.parametrize(
    ("entries", "code", "words"),
    [
        ([], "USER_NOT_FOUND", f"There is no kmsuser in the CloudHSM cluster {ID}. {MISSING}"),
        (
            [user("kmsuser", "admin")],
            "USER_NOT_FOUND",
            f"kmsuser in the CloudHSM cluster {ID} is not a crypto user on all HSMs, so that KMS does not find it. Delete the"
            f" user with the other role. {MISSING}",
        ),
        (
            [user("kmsuser", "inconsistent")],
            "USER_NOT_FOUND",
            f"kmsuser in the CloudHSM cluster {ID} is not a crypto user on all HSMs, so that KMS does not find it. Delete the"
            f" user with the other role. {MISSING}",
        ),
        (
            [{**KMSUSER, "cluster-coverage": "inconsistent"}],
            "USER_NOT_FOUND",
            f"kmsuser is not on all HSMs of the CloudHSM cluster {ID}, and KMS needs it on each. Create it again ({CREATE}),"
            " which adds it where it is missing. Then set its password, which may differ by HSM, and tell it to KMS (the playbook"
            " keyops.aws.rotate_kmsuser_password).",
        ),
        (
            [{**KMSUSER, "locked": "true"}],
            "USER_LOCKED_OUT",
            f"kmsuser is locked in the CloudHSM cluster {ID}, by wrong passwords. Set its password (cloudhsm-cli user"
            " change-password), which unlocks it, and tell it to KMS while the store is disconnected (the playbook"
            " keyops.aws.rotate_kmsuser_password).",
        ),
        (
            [{**KMSUSER, "locked": True}],
            "USER_LOCKED_OUT",
            f"kmsuser is locked in the CloudHSM cluster {ID}, by wrong passwords. Set its password (cloudhsm-cli user"
            " change-password), which unlocks it, and tell it to KMS while the store is disconnected (the playbook"
            " keyops.aws.rotate_kmsuser_password).",
        ),
        (
            [{**KMSUSER, "mfa": [{"strategy": "token-sign", "status": "enabled"}]}],
            "INVALID_CREDENTIALS",
            f"kmsuser in the CloudHSM cluster {ID} has a second factor, which KMS cannot provide. Remove it (cloudhsm-cli user"
            " change-mfa token-sign --username kmsuser --role crypto-user --deregister).",
        ),
    ],
)
def test_each_fault(cli: Cli, entries: list[Any], code: str, words: str) -> None:
    cli.users = [*OTHERS, *entries]
    check = cli.only()
    assert (check.outcome, check.code) == (Outcome.FAILED, code)
    assert check.text == words


def test_all_faults_are_reported(cli: Cli) -> None:
    cli.users = [{**KMSUSER, "locked": "true", "mfa": ["any"], "cluster-coverage": "inconsistent"}]
    assert [check.code for check in cli.check()] == ["USER_NOT_FOUND", "USER_LOCKED_OUT", "INVALID_CREDENTIALS"]


def test_a_second_factor_that_is_off(cli: Cli) -> None:
    cli.users = [{**KMSUSER, "mfa": [{"strategy": "token-sign", "status": "disabled"}]}]
    assert cli.only().outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "users",
    [
        [{"username": "kmsuser"}],
        [{"role": "crypto-user"}],
        ["zelda"],
        [{**KMSUSER, "locked": "inconsistent"}],
        [{**KMSUSER, "locked": None}],
        [{**KMSUSER, "mfa": "none"}],
        [{**KMSUSER, "cluster-coverage": None}],
    ],
)
def test_users_that_are_not_understood(cli: Cli, users: list[Any]) -> None:
    cli.users = users
    check = cli.only()
    assert (check.outcome, check.code) == (Outcome.UNKNOWN, "")
    assert check.text == (
        f"{UNKNOWN}what cloudhsm-cli user list printed was not understood. It may be of another version."
    )


@pytest.mark.parametrize("command", ["cluster hsm-info", "user list"])
@pytest.mark.parametrize("printed", ["", "zelda", "{", "[]", "{}", done([]), done({"users": {}, "hsms": 1})])
def test_answers_that_are_not_understood(cli: Cli, command: str, printed: str) -> None:
    cli.printed = {command: printed}
    assert cli.only() == Check(
        "kmsuser in the CloudHSM cluster",
        Outcome.UNKNOWN,
        f"{UNKNOWN}what cloudhsm-cli {command} printed was not understood. It may be of another version.",
    )


def test_lines_before_the_json_are_skipped(cli: Cli) -> None:
    cli.printed = {"user list": f"Warning: an old version\n{done({'users': [KMSUSER]})}\n"}
    assert cli.only().outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "failure",
    [{"exit_code": 1}, {"printed": {"cluster hsm-info": json.dumps({"error_code": 1, "data": "zelda is not known"})}}],
)
def test_a_command_that_fails(cli: Cli, failure: dict[str, Any]) -> None:
    for name, value in failure.items():
        setattr(cli, name, value)
    check = cli.only()
    assert (check.outcome, check.text) == (
        Outcome.UNKNOWN,
        f"{UNKNOWN}cloudhsm-cli cluster hsm-info failed. Run it on this host to see why.",
    )


@pytest.mark.parametrize("error", [subprocess.TimeoutExpired("cloudhsm-cli", 30), OSError("no such file")])
def test_a_command_that_does_not_end(cli: Cli, error: Exception) -> None:
    def run(_command: Sequence[str]) -> tuple[int, str, str]:
        raise error

    (check,) = check_kmsuser(GOOD, run, cli.path)
    assert check.outcome is Outcome.UNKNOWN
    assert check.text == (f"{UNKNOWN}cloudhsm-cli cluster hsm-info did not end properly ({type(error).__name__}).")


# ---- which program


def test_a_path_with_no_program(cli: Cli) -> None:
    (check,) = check_kmsuser(GOOD, cli, "/no/such/cloudhsm-cli")
    assert (check.outcome, check.text) == (
        Outcome.UNKNOWN,
        f"{UNKNOWN}there is no program /no/such/cloudhsm-cli on this host.",
    )
    assert cli.calls == []


def test_a_host_without_the_program(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cli.folder))
    monkeypatch.setattr(kmsuser, "USUAL_PATH", str(cli.folder / "nothing"))
    (check,) = check_kmsuser(GOOD, cli)
    assert (check.outcome, check.text) == (
        Outcome.UNKNOWN,
        f"{UNKNOWN}cloudhsm-cli is not on this host. It is where the users of a cluster are managed, within reach of its HSMs.",
    )


@pytest.mark.parametrize("by_path", [True, False])
def test_the_program_is_found(cli: Cli, monkeypatch: pytest.MonkeyPatch, by_path: bool) -> None:
    monkeypatch.setenv("PATH", str(cli.folder / "bin") if by_path else "")
    monkeypatch.setattr(kmsuser, "USUAL_PATH", "/no/such" if by_path else cli.path)
    (check,) = check_kmsuser(GOOD, cli)
    assert check.outcome is Outcome.PASSED


def test_a_program_in_a_process_of_its_own(cli: Cli) -> None:
    """As modules start it, with a script that prints the published forms."""
    (cli.folder / "hsms").write_text(done({"hsms": cli.hsms}))
    (cli.folder / "users").write_text(done({"users": cli.users}))
    Path(cli.path).write_text(
        f'#!/bin/sh\ncase "$*" in\n"cluster hsm-info") cat {cli.folder}/hsms;;\n"user list") cat {cli.folder}/users;;\n'
        "*) exit 2;;\nesac\n"
    )

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        ended = subprocess.run(list(command), capture_output=True, text=True, timeout=30, check=False)
        return ended.returncode, ended.stdout, ended.stderr

    (check,) = check_kmsuser(GOOD, run, cli.path)
    assert check.outcome is Outcome.PASSED


# ---- which cluster

OTHER_CLUSTER = (
    f"{UNKNOWN}cloudhsm-cli talks to another cluster: {ID} has no HSM at the addresses of its configuration. If the HSMs were"
    " replaced, configure it again (configure-cli -a)."
)
NO_ADDRESS = (
    f"{UNKNOWN}no addresses of HSMs are in the configuration of cloudhsm-cli, to see to which cluster it talks. Configure it for"
    f" {ID} (configure-cli -a)."
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (configuration(["10.9.9.9"]), OTHER_CLUSTER),
        (configuration(["10.9.9.9"], ["10.9.9.8"]), OTHER_CLUSTER),
        (configuration([]), NO_ADDRESS),
        (configuration(["hsm.example.com"]), NO_ADDRESS),
        ({"clusters": {}}, NO_ADDRESS),
        ({"clusters": [1, {"cluster": 1}, {"cluster": {"servers": None}}]}, NO_ADDRESS),
        ([], NO_ADDRESS),
        ("no JSON", "it is not JSON"),
    ],
)
def test_another_cluster_or_none_that_is_known(cli: Cli, content: Any, text: str) -> None:
    cli.configure(content)
    check = cli.only()
    assert (check.outcome, check.code) == (Outcome.UNKNOWN, "")
    if text.startswith(UNKNOWN):
        assert check.text == text
    else:
        assert check.text == (
            f"{UNKNOWN}{cli.folder}/etc/cloudhsm-cli.cfg, which names the cluster that cloudhsm-cli uses, could not be read"
            f" ({text})."
        )
    # Users of another cluster are none of our business.
    assert [call[:2] for call in cli.calls] == [["cluster", "hsm-info"]]


def test_a_configuration_that_is_not_there(cli: Cli) -> None:
    (cli.folder / "etc" / "cloudhsm-cli.cfg").unlink()
    assert "could not be read (No such file or directory)." in cli.only().text


@pytest.mark.parametrize("address", ["10.0.1.11", "2001:db8:0:0::a"])
def test_any_address_of_the_cluster_will_do(cli: Cli, address: str) -> None:
    cli.configure(configuration(["10.9.9.9", address]))
    assert cli.only().outcome is Outcome.PASSED


def test_one_of_several_clusters_is_named(cli: Cli) -> None:
    cli.configure(configuration(["10.9.9.9"], ["10.0.0.10"]))
    assert cli.only().outcome is Outcome.PASSED
    assert cli.calls == [["cluster", "hsm-info", "--cluster-id", ID], ["user", "list", "--cluster-id", ID]]


@pytest.mark.parametrize(("address", "outcome"), [("10.0.0.10", Outcome.PASSED), ("10.9.9.9", Outcome.UNKNOWN)])
def test_addresses_that_are_printed_come_first(cli: Cli, address: str, outcome: Outcome) -> None:
    """No version is known to print them."""
    cli.configure(configuration(["10.9.9.9" if address == "10.0.0.10" else "10.0.0.10"]))
    cli.hsms = [{**hsm(1), "hostname": address}, {**hsm(2), "hostname": address}]
    assert cli.only().outcome is outcome


def test_a_cluster_whose_addresses_are_not_known(cli: Cli) -> None:
    check = cli.only(Cluster(ID, problem="Not permitted."))
    assert (check.outcome, check.text) == (
        Outcome.UNKNOWN,
        f"{UNKNOWN}AWS CloudHSM does not report the addresses of the HSMs of {ID}, so it is not known whether cloudhsm-cli talks"
        " to them.",
    )


def test_full_coverage_of_some_of_its_hsms(cli: Cli) -> None:
    cli.hsms = [hsm(1)]
    check = cli.only()
    assert (check.outcome, check.text) == (
        Outcome.UNKNOWN,
        f"{UNKNOWN}cloudhsm-cli talks to 1 of the 2 active HSMs of {ID}. It is fine there, but the others are not known."
        " Configure it again (configure-cli -a), and check that the HSMs are within reach.",
    )


def test_a_fault_on_some_of_its_hsms_is_one(cli: Cli) -> None:
    cli.hsms, cli.users = [hsm(1)], [{**KMSUSER, "locked": "true"}]
    assert cli.only().code == "USER_LOCKED_OUT"
