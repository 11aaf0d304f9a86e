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

import pytest

from tests.integration.harness import Ansible


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state": "connected"}, "one of the following is required: custom_key_store_id, name"),
        (
            {"id": "c" * 65},
            "custom_key_store_id must have 1 to 64 characters, but has 65: give an id such as cks-1234567890abcdef0,"
            " or leave the option out.",
        ),
    ],
)
def test_input_that_is_refused_before_any_request(ansible: Ansible, options: dict[str, Any], message: str) -> None:
    result = ansible.module(**options)
    assert ansible.request_count == 0
    assert result["failed"] is True
    assert result["msg"] == message


def test_an_endpoint_that_cannot_be_reached(ansible: Ansible) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        result = ansible.module(name="payments", endpoint_url=url, wait_timeout=2)
    assert result["msg"] == (
        f'DescribeCustomKeyStores got no answer from KMS: Could not connect to the endpoint URL: "{url}/". Check region and'
        " endpoint_url, and that the managed host reaches that address (network, proxy, VPC endpoint, firewall, TLS"
        " certificates)."
    )


def test_no_credentials(ansible: Ansible) -> None:
    del ansible.environment["AWS_ACCESS_KEY_ID"], ansible.environment["AWS_SECRET_ACCESS_KEY"]
    result = ansible.module(name="payments")
    assert ansible.request_count == 0
    assert result["msg"] == (
        "DescribeCustomKeyStores could not be sent to KMS: Unable to locate credentials. Give access_key and secret_key, or"
        " profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on the managed host, or give it an instance role."
    )


def test_no_region(ansible: Ansible) -> None:
    del ansible.environment["AWS_REGION"]
    result = ansible.module(name="payments")
    assert ansible.request_count == 0
    assert "requires a region and none was found in configuration, environment variables or module" in result["msg"]


def test_access_denied(ansible: Ansible) -> None:
    ansible.control.add_fault("DescribeCustomKeyStores", error="AccessDeniedException")
    result = ansible.module(name="payments")
    assert result["msg"].startswith(
        "DescribeCustomKeyStores of payments failed with AccessDeniedException. The caller may not do this."
        " Allow kms:DescribeCustomKeyStores in an IAM policy of the caller."
    )
    assert result["error"]["code"] == "AccessDeniedException"


def test_botocore_missing(ansible: Ansible, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    result = ansible.module(name="payments", variables={"ansible_python_interpreter": str(bare / "bin" / "python")})
    assert result["failed"] is True
    assert "Failed to import the required Python library (botocore and boto3)" in result["msg"]
    assert "Traceback" not in result["msg"]
