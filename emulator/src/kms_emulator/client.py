# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that controls an emulator in another process."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID

from .control import Control

CONTROL_PATH = "/moto-api/kms/custom-key-stores/"


def aws_variables(base_url: str) -> dict[str, str]:
    """Return environment variables that make Ansible's modules, the AWS SDKs and the AWS CLI use the emulator.

    They disable the user's AWS configuration files, so that a request can never reach a real account.
    """
    return {
        "AWS_URL": base_url,
        "AWS_ENDPOINT_URL": base_url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "any-secret-access-key",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


class HttpControl(Control):
    """All of Control's methods, over HTTP. Invalid input raises ValueError with the server's message."""

    def __init__(self, base_url: str, *, account_id: str = DEFAULT_ACCOUNT_ID, region_name: str = "us-east-1") -> None:
        super().__init__(account_id=account_id, region_name=region_name)
        self.base_url = base_url
        query = urllib.parse.urlencode({"account": account_id, "region": region_name})
        self._url = f"{base_url.rstrip('/')}{CONTROL_PATH}{{}}?{query}"
        # The emulator is local: ignore proxies of the environment.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _perform(self, method: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310 (the caller chose the URL)
            self._url.format(method.__name__.replace("_", "-")),
            data=json.dumps(arguments).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=60) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise
            raise ValueError(json.load(error)["message"]) from error
