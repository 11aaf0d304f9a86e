# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user meets who has set something up wrongly: one clear sentence each, through ansible-playbook."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.harness import MODULE
from tests.integration.harness import Ansible

TOO_LONG = (
    "custom_key_store_id must have 1 to 64 characters, but has 65: give an id such as cks-1234567890abcdef0,"
    " or leave the option out."
)
NO_CREDENTIALS = (
    "DescribeCustomKeyStores could not be sent to KMS: Unable to locate credentials. Give access_key and secret_key, or"
    " profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on the managed host, or give it an instance role."
)


def without(names: str, folder: Path) -> dict[str, Any]:
    """Variables of a task that runs its module on a host where these environment variables are not set."""
    path = folder / names.replace(" ", "_")
    path.write_text(f'#!/bin/sh\nunset {names}\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return {"ansible_python_interpreter": str(path)}


def bare(folder: Path) -> dict[str, Any]:
    """Variables of a task that runs its module with a Python that has no packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "bare")], check=True)
    return {"ansible_python_interpreter": str(folder / "bare" / "bin" / "python")}


def test_what_is_not_set_up_is_reported_in_one_sentence(ansible: Ansible, tmp_path: Path) -> None:
    tasks: list[dict[str, Any]] = [
        {MODULE: {"state": "connected"}},
        {MODULE: {"id": "c" * 65}},
        {MODULE: {"name": "payments"}, "vars": without("AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY", tmp_path)},
        {MODULE: {"name": "payments"}, "vars": without("AWS_REGION", tmp_path)},
        {MODULE: {"name": "payments"}, "vars": bare(tmp_path)},
    ]
    results = ansible.results(tasks)
    assert ansible.request_count == 0
    assert [result["failed"] for result in results] == [True] * 5
    neither, too_long, no_credentials, no_region, no_packages = (result["msg"] for result in results)
    assert neither == "one of the following is required: custom_key_store_id, name"
    assert too_long == TOO_LONG
    assert no_credentials == NO_CREDENTIALS
    assert "requires a region and none was found in configuration, environment variables or module" in no_region
    assert "Failed to import the required Python library (botocore and boto3)" in no_packages
    assert "Traceback" not in no_packages


def test_what_kms_does_not_answer_or_refuses_is_reported_in_one_sentence(ansible: Ansible) -> None:
    ansible.control.add_fault("DescribeCustomKeyStores", error="AccessDeniedException")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        tasks: list[dict[str, Any]] = [
            {MODULE: {"name": "payments", "endpoint_url": url, "wait_timeout": 2}},
            {MODULE: {"name": "payments"}},
        ]
        no_answer, denied = ansible.results(tasks)
    assert ansible.request_count == 1
    assert no_answer["msg"] == (
        f'DescribeCustomKeyStores got no answer from KMS: Could not connect to the endpoint URL: "{url}/". Check region and'
        " endpoint_url, and that the managed host reaches that address (network, proxy, VPC endpoint, firewall, TLS"
        " certificates)."
    )
    assert denied["msg"].startswith(
        "DescribeCustomKeyStores of payments failed with AccessDeniedException. The caller may not do this."
        " Allow kms:DescribeCustomKeyStores in an IAM policy of the caller."
    )
    assert denied["error"]["code"] == "AccessDeniedException"
