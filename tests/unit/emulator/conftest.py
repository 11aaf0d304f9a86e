# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the emulator share."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config

from kms_emulator import Control
from kms_emulator import EmulatorServer
from tests.unit.emulator.schedules import Schedules
from tests.unit.emulator.schedules import scheduler_client
from tests.unit.emulator.schedules import to_full_second
from tests.unit.emulator.stores import PASSWORD
from tests.unit.emulator.stores import Connection
from tests.unit.emulator.stores import Cycle


def client(endpoint_url: str | None = None) -> Any:
    """A client of KMS that does not retry. Without a URL: the one in process, while moto's mock is on."""
    return boto3.client(
        "kms",
        region_name="us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="not-a-secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="session")
def in_process() -> Any:
    """Made once, as making a client takes longer than most tests."""
    return client()


@pytest.fixture
def kms(in_process: Any, control: Control) -> Any:
    """A client of KMS in process, with the emulator's clock frozen and transitions of 10 seconds."""
    control.freeze_clock()
    control.set_transitions(connect_seconds=10, disconnect_seconds=10)
    return in_process


@pytest.fixture(scope="session")
def http_kms(emulator_server: EmulatorServer) -> Any:
    """A client of KMS over HTTP."""
    return client(emulator_server.url)


@pytest.fixture
def connection(kms: Any) -> Connection:
    """Reads the connection state and error code of a store."""

    def read(store_id: str) -> tuple[str, str | None]:
        (store,) = kms.describe_custom_key_stores(CustomKeyStoreId=store_id)["CustomKeyStores"]
        return store["ConnectionState"], store.get("ConnectionErrorCode")

    return read


@pytest.fixture
def cycle(kms: Any, control: Control, connection: Connection) -> Cycle:
    """Connects and disconnects stores, to the end of each."""
    return Cycle(kms, control, connection)


@pytest.fixture
def store(kms: Any, control: Control) -> str:
    """A CloudHSM store, disconnected, whose password is PASSWORD."""
    return control.create_store(parameters={"KeyStorePassword": PASSWORD})


@pytest.fixture(scope="session")
def scheduler() -> Any:
    """A client of EventBridge Scheduler in process, made once."""
    return scheduler_client()


@pytest.fixture
def schedules(scheduler: Any, kms: Any, control: Control) -> Schedules:
    """Schedules of a disconnected CloudHSM store. The clock is stopped at a full second; a connect takes 10 seconds."""
    to_full_second(control)
    return Schedules(scheduler, control, control.create_store())
