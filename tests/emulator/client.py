# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steering an emulator in another process."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID

from .control import Control

CONTROL_PATH = "/moto-api/kms/custom-key-stores/"


class HttpControl(Control):
    """All of Control's methods, over HTTP. Bad input raises ValueError with the server's message."""

    def __init__(self, base_url: str, *, account_id: str = DEFAULT_ACCOUNT_ID, region_name: str = "us-east-1") -> None:
        super().__init__(account_id=account_id, region_name=region_name)
        query = urllib.parse.urlencode({"account": account_id, "region": region_name})
        self._url = f"{base_url.rstrip('/')}{CONTROL_PATH}{{}}?{query}"
        # The emulator is near: no proxy of the environment.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _perform(self, method: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310 (whoever calls chose the URL)
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
