# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS's command line through all six operations: a client that nobody here wrote."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dev.environment import BIN
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl


class Cli:
    """AWS's command line, against the emulator."""

    def __init__(self, url: str, home: Path) -> None:
        # Version 1 takes a value such as https://... for the place to read the value from, unless it is told not to.
        (home / "config").write_text("[default]\ncli_follow_urlparam = false\n")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_CONFIG_FILE": str(home / "config"),
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "aws"), "kms", *words, "--output", "json"]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)

    def answer(self, *words: str) -> Any:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "{}")

    def refusal(self, *words: str) -> str:
        """What it says when KMS refuses."""
        done = self.run(*words)
        assert done.returncode in (254, 255)  # version 2 and version 1
        return done.stderr


@pytest.fixture
def cli(emulator_server: EmulatorServer, http_control: HttpControl, tmp_path: Path) -> Cli:
    http_control.freeze_clock()
    http_control.set_transitions(connect_seconds=10, disconnect_seconds=10)
    return Cli(emulator_server.url, tmp_path)


@pytest.mark.long
def test_the_life_of_a_cloudhsm_store(cli: Cli, http_control: HttpControl) -> None:
    store_id = cli.answer(
        "create-custom-key-store",
        *("--custom-key-store-name", "by-cli"),
        *("--cloud-hsm-cluster-id", "cluster-abcdefghijk"),
        *("--trust-anchor-certificate", "certificate"),
        *("--key-store-password", "kmsuser-password"),
    )["CustomKeyStoreId"]
    which = ("--custom-key-store-id", store_id)

    def described() -> tuple[str, str]:
        (store,) = cli.answer("describe-custom-key-stores", *which)["CustomKeyStores"]
        return store["CustomKeyStoreName"], store["ConnectionState"]

    assert described() == ("by-cli", "DISCONNECTED")
    assert cli.answer("connect-custom-key-store", *which) == {}
    assert described() == ("by-cli", "CONNECTING")
    http_control.advance(10)
    assert cli.answer("disconnect-custom-key-store", *which) == {}
    assert "CustomKeyStoreInvalidStateException" in cli.refusal("disconnect-custom-key-store", *which)
    http_control.advance(10)
    assert cli.answer("update-custom-key-store", *which, "--new-custom-key-store-name", "renamed") == {}
    assert described() == ("renamed", "DISCONNECTED")
    assert cli.answer("delete-custom-key-store", *which) == {}
    assert "CustomKeyStoreNotFoundException" in cli.refusal("describe-custom-key-stores", *which)


def test_an_external_store_and_pages(cli: Cli, http_control: HttpControl) -> None:
    store_id = cli.answer(
        "create-custom-key-store",
        *("--custom-key-store-name", "proxy"),
        *("--custom-key-store-type", "EXTERNAL_KEY_STORE"),
        *("--xks-proxy-connectivity", "PUBLIC_ENDPOINT"),
        *("--xks-proxy-uri-endpoint", "https://xks.example.com"),
        *("--xks-proxy-uri-path", "/kms/xks/v1"),
        *(
            "--xks-proxy-authentication-credential",
            f"AccessKeyId=ABCDEFGHIJKLMNOPQRST,RawSecretAccessKey={'s' * 43}",
        ),
    )["CustomKeyStoreId"]
    change = ("--xks-proxy-uri-path", "/other/kms/xks/v1")
    assert cli.answer("update-custom-key-store", "--custom-key-store-id", store_id, *change) == {}
    others = [http_control.create_store() for _turn in range(2)]
    stores = cli.answer("describe-custom-key-stores", "--page-size", "2")["CustomKeyStores"]
    assert sorted(store["CustomKeyStoreId"] for store in stores) == sorted([store_id, *others])
    (proxy,) = [store["XksProxyConfiguration"] for store in stores if store["CustomKeyStoreId"] == store_id]
    assert proxy["UriPath"] == "/other/kms/xks/v1"
    descriptions = [each for each in http_control.requests() if each["operation"] == "DescribeCustomKeyStores"]
    assert [describe["parameters"]["Limit"] for describe in descriptions] == [2, 2]
