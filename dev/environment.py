# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment in which the demo and the tests run Ansible: collections, and KMS at the emulator's URL."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.prefix) / "bin"
COLLECTIONS = Path(sys.prefix) / "collections"

TOOLS = Path(sys.prefix) / "checks" / "bin"
"""The programs of dev/checks/requirements.txt, in a separate environment."""


def ansible_environment(endpoint_url: str) -> dict[str, str]:
    """Return environment variables that make all AWS modules of ansible-playbook use the emulator.

    They exclude the caller's AWS and Ansible settings, so that a request can never reach a real account.
    """
    foreign = ("AWS_", "ANSIBLE_", "BOTO", "EC2_")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "AWS_URL": endpoint_url,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "ANSIBLE_CONFIG": str(ROOT / "dev" / "ansible.cfg"),
    }
