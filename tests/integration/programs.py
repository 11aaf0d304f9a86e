# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that guides use, and that cannot be had as they are: C(python -m tests.integration.programs NAME ARGUMENT ...).

The AWS CLI is the real one, but for those requests to CloudHSM that moto does not know: it checks them and does not send them,
and the emulator's control does what they would. CloudHSM's own command line does it to the emulator.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3

from dev.environment import BIN
from kms_emulator import HttpControl

FOLDER = Path(os.environ["GUIDE_FOLDER"])
"""That of the reader of the guide: Ansible may start a program elsewhere."""

CLUSTER = FOLDER / "cluster"
"""A file with the id of the cluster that was created last; CloudHSM's own command line is set up for one cluster, too."""

KMSUSER = FOLDER / "kmsuser.json"
"""What C(user list) tells of kmsuser that is unusual, or null where there is no such user. Without the file, all is well."""

REQUEST = FOLDER / "cluster.request"
"""The cluster's own request for a certificate."""


def real_aws(arguments: list[str], *more: str) -> int:
    return subprocess.run([str(BIN / "aws"), *arguments, *more], check=False).returncode


def option(arguments: list[str], name: str) -> str:
    """The value of an option. Raises ValueError if it is not there."""
    return arguments[arguments.index(name) + 1]


def aws(arguments: list[str]) -> int:
    emulated = {"create-cluster": create_cluster, "create-hsm": create_hsm, "initialize-cluster": initialize_cluster}
    command = arguments[1]
    if "Clusters[0].Certificates.ClusterCsr" in arguments:
        print(REQUEST.read_text(), end="")
        return 0
    if arguments[0] != "cloudhsmv2" or command not in emulated:
        return real_aws(arguments)
    checked = subprocess.run(
        [str(BIN / "aws"), *arguments, "--generate-cli-skeleton", "output"], capture_output=True, check=False
    )
    if checked.returncode:
        sys.stderr.buffer.write(checked.stderr)
        return checked.returncode
    emulated[command](arguments)
    return 0


def control() -> HttpControl:
    return HttpControl(os.environ["AWS_URL"])


def create_cluster(arguments: list[str]) -> None:
    source = None
    if "--source-backup-id" in arguments:
        source = CLUSTER.read_text()
        if option(arguments, "--source-backup-id") in ("", "None"):
            raise ValueError("That is no backup.")
    cluster_id = control().create_cluster(
        active_hsms=0, state="ACTIVE" if source else "UNINITIALIZED", source_cluster_id=source
    )
    CLUSTER.write_text(cluster_id)
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=cluster"]
        + ["-out", str(REQUEST)],
        capture_output=True,
        check=True,
    )
    print(cluster_id)


def create_hsm(arguments: list[str]) -> None:
    cluster_id = option(arguments, "--cluster-id")
    made = FOLDER / f"{cluster_id}.hsms"
    zones = [*(made.read_text().split() if made.exists() else ()), option(arguments, "--availability-zone")]
    made.write_text(" ".join(zones))
    control().set_cluster(cluster_id, active_hsms=len(set(zones)))


def initialize_cluster(arguments: list[str]) -> None:
    anchor = Path(option(arguments, "--trust-anchor").removeprefix("file://"))
    signed = option(arguments, "--signed-cert").removeprefix("file://")
    subprocess.run(["openssl", "verify", "-CAfile", str(anchor), signed], check=True, stdout=subprocess.DEVNULL)
    control().set_cluster(option(arguments, "--cluster-id"), state="INITIALIZED", certificate=anchor.read_text())


def hsm_count(cluster_id: str) -> int:
    """How many HSMs a cluster has."""
    cloudhsm = boto3.client("cloudhsmv2", endpoint_url=os.environ["AWS_URL"], region_name=os.environ["AWS_REGION"])
    (cluster,) = cloudhsm.describe_clusters(Filters={"clusterIds": [cluster_id]})["Clusters"]
    return len(cluster["Hsms"])


def without_login(command: list[str]) -> dict[str, Any] | None:
    """What CloudHSM's command line tells of a cluster to everybody; None for another command."""
    if command == ["cluster", "hsm-info"]:
        return {"hsms": [{"vendor": "Marvell", "serial-number": "5.3G1"}] * hsm_count(CLUSTER.read_text())}
    if command == ["user", "list"]:
        admin = {"username": "admin", "role": "admin", "locked": "false", "mfa": [], "cluster-coverage": "full"}
        kmsuser = {**admin, "username": "kmsuser", "role": "crypto-user"}
        reported = json.loads(KMSUSER.read_text()) if KMSUSER.exists() else {}
        return {"users": [admin] if reported is None else [admin, {**kmsuser, **reported}]}
    return None


def cloudhsm_cli(arguments: list[str]) -> int:
    """The commands of CloudHSM's command line that guides use, with the options that these have there."""
    reported = without_login(arguments)
    if reported is not None:
        print(json.dumps({"error_code": 0, "data": reported}, indent=2))
        return 0
    cluster_id = CLUSTER.read_text()
    if arguments == ["cluster", "activate"]:
        control().set_cluster(cluster_id, state="ACTIVE")
        return 0
    if os.environ["CLOUDHSM_ROLE"] != "admin" or not os.environ["CLOUDHSM_PIN"].startswith("admin:"):
        raise ValueError("Only an admin, who is a crypto officer, may do that.")
    parser = argparse.ArgumentParser()
    parser.add_argument("command", nargs=2)
    parser.add_argument("--username", choices=["kmsuser"], required=True)
    parser.add_argument("--role", choices=["crypto-user"], required=True)
    parser.add_argument("--password", required=True)
    given = parser.parse_args(arguments)
    if given.command == ["user", "create"]:
        if not KMSUSER.exists() or json.loads(KMSUSER.read_text()) is not None:
            control().delete_kmsuser(cluster_id)  # an emulated cluster has one from the start
        control().create_kmsuser(cluster_id, given.password)
        KMSUSER.unlink(missing_ok=True)
    elif given.command == ["user", "change-password"]:
        control().change_kmsuser_password(cluster_id, given.password)
        KMSUSER.unlink(missing_ok=True)
    else:
        raise ValueError(f"There is no command {given.command}.")
    return 0


if __name__ == "__main__":
    sys.exit({"aws": aws, "cloudhsm-cli": cloudhsm_cli}[sys.argv[1]](sys.argv[2:]))
