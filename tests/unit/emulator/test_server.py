# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emulator over HTTP: dropped connections, the control API, and its own process."""

from __future__ import annotations

import concurrent.futures
import io
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionClosedError

from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.client import CONTROL_PATH

ROOT = Path(__file__).parents[3]


def state(kms: Any, store_id: str) -> str:
    (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
    return str(store["ConnectionState"])


@pytest.mark.parametrize("applied", [False, True])
def test_a_connection_that_is_really_dropped(http_kms: Any, http_control: HttpControl, applied: bool) -> None:
    store_id = http_control.create_store(connection_state="CONNECTED")
    http_control.set_transitions(disconnect_seconds=0)
    http_control.add_fault("DisconnectCustomKeyStore", drop=True, applied=applied)
    with pytest.raises(ConnectionClosedError):
        http_kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert state(http_kms, store_id) == ("DISCONNECTED" if applied else "CONNECTED")
    assert [record["outcome"] for record in http_control.requests()] == ["dropped", "ok"]


def test_an_error_after_the_effect(http_kms: Any, http_control: HttpControl) -> None:
    store_id = http_control.create_store()
    http_control.set_transitions(connect_seconds=0)
    http_control.add_fault("ConnectCustomKeyStore", error="KMSInternalException", applied=True)
    with pytest.raises(ClientError) as error:
        http_kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert state(http_kms, store_id) == "CONNECTED"


def test_all_of_control_over_http(http_kms: Any, http_control: HttpControl) -> None:
    http_control.freeze_clock()
    store_id = http_control.create_store(custom_key_store_type="EXTERNAL_KEY_STORE")
    http_control.set_connect_outcomes(store_id, ["XKS_PROXY_TIMED_OUT"])
    http_control.add_intruder(
        "DescribeCustomKeyStores", action="ConnectCustomKeyStore", parameters={"CustomKeyStoreId": store_id}
    )
    assert state(http_kms, store_id) == "CONNECTING"
    http_control.advance(2)
    assert state(http_kms, store_id) == "FAILED"
    assert http_control.intrusions() == [
        {"before": "DescribeCustomKeyStores", "action": "ConnectCustomKeyStore", "outcome": "ok"}
    ]
    with pytest.raises(ValueError, match="no custom key store 'cks-0'"):
        http_control.set_connection_state("cks-0", "CONNECTED")


def test_motos_own_control_api_sets_the_duration(
    emulator_server: EmulatorServer, http_kms: Any, http_control: HttpControl
) -> None:
    store_id = http_control.create_store()
    answer = urllib3.request(
        "POST",
        f"{emulator_server.url}/moto-api/state-manager/set-transition",
        json={"model_name": "kms::connect_custom_key_store", "transition": {"progression": "immediate"}},
    )
    assert answer.status == 201
    http_kms.connect_custom_key_store(CustomKeyStoreId=store_id)
    assert state(http_kms, store_id) == "CONNECTED"


def test_the_log_by_get(emulator_server: EmulatorServer, http_kms: Any, http_control: HttpControl) -> None:
    http_kms.list_keys()
    answer = urllib3.request("GET", f"{emulator_server.url}{CONTROL_PATH}requests?region=us-east-1")
    assert [record["operation"] for record in json.loads(answer.data)["result"]] == ["ListKeys"]


def test_many_clients_at_once(http_kms: Any, http_control: HttpControl) -> None:
    store_ids = [http_control.create_store() for _turn in range(8)]
    http_control.set_transitions(connect_seconds=0, disconnect_seconds=0)

    def cycle(number: int) -> None:
        store_id = store_ids[number % 8]
        if number < 8:
            http_kms.connect_custom_key_store(CustomKeyStoreId=store_id)
        http_kms.describe_custom_key_stores()

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(cycle, range(64)))
    assert {state(http_kms, store_id) for store_id in store_ids} == {"CONNECTED"}
    assert len(http_control.requests()) == 8 + 64 + 8


def test_log_lines() -> None:
    log = io.StringIO()
    with EmulatorServer(log=log) as server:
        steering = HttpControl(server.url, account_id="123456789012")
        steering.reset()
        answer = urllib3.request(
            "POST",
            server.url,
            body='{"CustomKeyStoreId": "cks-0"}',
            headers={
                "X-Amz-Target": "TrentService.ConnectCustomKeyStore",
                "Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/kms/aws4_request, Signature=0",
            },
        )
        assert answer.status == 400
        steering.reset()
    (line,) = log.getvalue().splitlines()
    assert line.split()[1:] == ["ConnectCustomKeyStore", "cks-0", "CustomKeyStoreNotFoundException"]


def test_url_of_a_server_that_does_not_run() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        print(EmulatorServer().url)  # noqa: T201  in a program of its own


def test_motos_dashboard_shows_no_secret(emulator_server: EmulatorServer, http_control: HttpControl) -> None:
    parameters = {"KeyStorePassword": "seen-by-nobody"}
    store_id = http_control.create_store(parameters=parameters)
    http_control.change_kmsuser_password(store_id, "seen-by-nobody")
    http_control.set_proxy(
        "https://xks.example.com",
        access_key_id="ABCDEFGHIJKLMNOPQRST",
        raw_secret_access_key="seen-by-nobody",
    )
    (key_id,) = http_control.create_keys(1, custom_key_store_id=store_id)
    dashboard = urllib3.request("GET", f"{emulator_server.url}/moto-api/data.json").data.decode()
    assert store_id in dashboard
    assert key_id in dashboard
    assert "seen-by-nobody" not in dashboard


def test_motos_own_reset(emulator_server: EmulatorServer, http_kms: Any, http_control: HttpControl) -> None:
    http_control.create_store()
    assert urllib3.request("POST", f"{emulator_server.url}/moto-api/reset").status == 200
    assert http_kms.describe_custom_key_stores()["CustomKeyStores"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_of_its_own(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready"
    words = ["--port", "0", "--connect-seconds", "0", "--log", "--ready-file", str(ready)]
    with subprocess.Popen(
        [sys.executable, "-m", "kms_emulator", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        deadline = time.monotonic() + 10
        while not ready.exists():
            assert time.monotonic() < deadline
        url = ready.read_text(encoding="utf-8").strip()
        assert line == f"KMS emulator ready at {url}\n"
        HttpControl(url).create_store()
        process.send_signal(number)
        _ignored, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "kms_emulator", "--port", port],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"The emulator cannot listen on 127.0.0.1, port {port}: Address already in use.\n"
