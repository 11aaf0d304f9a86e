# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where AWS's documents disagree: each switch (set_rule), by default and turned round."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from tests.sdk import needs_hsm_type_changes
from tests.sdk import needs_owner
from tests.unit.emulator.stores import ENDPOINT
from tests.unit.emulator.stores import EXTERNAL
from tests.unit.emulator.stores import NEW_CREDENTIAL
from tests.unit.emulator.stores import NEW_PASSWORD
from tests.unit.emulator.stores import Connection
from tests.unit.emulator.stores import Cycle
from tests.unit.emulator.stores import cloudhsm
from tests.unit.emulator.stores import external
from tests.unit.emulator.stores import outcome
from tests.unit.emulator.stores import post
from tests.unit.emulator.stores import private

CLOUDHSM = "AWS_CLOUDHSM"
INVALID = "CustomKeyStoreInvalidStateException"


def store_in(control: Control, state: str, store_type: str) -> str:
    code = "INTERNAL_ERROR" if state == "FAILED" else None
    return control.create_store(custom_key_store_type=store_type, connection_state=state, connection_error_code=code)


@pytest.mark.parametrize(("store_type", "by_default", "turned"), [(CLOUDHSM, "ok", INVALID), (EXTERNAL, "ok", "ok")])
def test_dispute_1_rename_while_connected(
    kms: Any, control: Control, store_type: str, by_default: str, turned: str
) -> None:
    store_id = store_in(control, "CONNECTED", store_type)
    update = kms.update_custom_key_store
    assert outcome(update, CustomKeyStoreId=store_id, NewCustomKeyStoreName="first") == by_default
    control.set_rule("rename_when_connected_is_valid", False)
    assert outcome(update, CustomKeyStoreId=store_id, NewCustomKeyStoreName="second") == turned


@pytest.mark.parametrize(
    "change", [{"XksProxyAuthenticationCredential": NEW_CREDENTIAL}, {"XksProxyUriPath": "/other/kms/xks/v1"}]
)
def test_dispute_2_credential_and_path_while_connected(kms: Any, control: Control, change: dict[str, Any]) -> None:
    store_id = store_in(control, "CONNECTED", EXTERNAL)
    assert outcome(kms.update_custom_key_store, CustomKeyStoreId=store_id, **change) == "ok"
    control.set_rule("proxy_update_when_connected_is_valid", False)
    assert outcome(kms.update_custom_key_store, CustomKeyStoreId=store_id, **change) == INVALID


@pytest.mark.parametrize("state", ["CONNECTED", "CONNECTING"])
def test_dispute_3_connect_while_connected(kms: Any, control: Control, connection: Connection, state: str) -> None:
    store_id = store_in(control, state, CLOUDHSM)
    assert outcome(kms.connect_custom_key_store, CustomKeyStoreId=store_id) == INVALID
    control.set_rule("connect_when_connected_is_valid", True)
    assert outcome(kms.connect_custom_key_store, CustomKeyStoreId=store_id) == "ok"
    assert connection(store_id) == (state, None)


def test_dispute_3_is_not_about_failed(kms: Any, control: Control) -> None:
    store_id = store_in(control, "FAILED", CLOUDHSM)
    control.set_rule("connect_when_connected_is_valid", True)
    assert outcome(kms.connect_custom_key_store, CustomKeyStoreId=store_id) == INVALID


def test_dispute_4_no_name_of_a_vpc_endpoint_service(
    emulator_server: EmulatorServer, http_control: HttpControl
) -> None:
    """By requests that botocore would not send: it takes neither an empty name nor a null."""
    store_id = http_control.create_store(custom_key_store_type=EXTERNAL, parameters=private())

    def status(name: str | None) -> int:
        change = {
            "CustomKeyStoreId": store_id,
            "XksProxyConnectivity": "PUBLIC_ENDPOINT",
            "XksProxyUriEndpoint": "https://public.example.com",
            "XksProxyVpcEndpointServiceName": name,
        }
        return post(emulator_server.url, "UpdateCustomKeyStore", json.dumps(change))[0]

    assert status("") == 400
    http_control.set_rule("empty_vpc_service_name_is_valid", True)
    assert status("") == 200
    http_control.set_rule("empty_vpc_service_name_is_valid", False)
    assert status(None) == 200


@needs_owner
def test_dispute_5_a_service_of_another_account(kms: Any, control: Control, cycle: Cycle) -> None:
    request = private(XksProxyVpcEndpointServiceOwner="210987654321")
    store_id = kms.create_custom_key_store(**request)["CustomKeyStoreId"]
    assert cycle.connect(store_id) == "CONNECTED"
    control.set_rule("vpc_service_of_another_account_is_valid", False)
    assert cycle.reconnect(store_id) == "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND"


def test_dispute_6_the_error_code_after_a_disconnect(kms: Any, control: Control, connection: Connection) -> None:
    store_id = store_in(control, "FAILED", CLOUDHSM)
    kms.disconnect_custom_key_store(CustomKeyStoreId=store_id)
    assert connection(store_id) == ("DISCONNECTING", None)
    control.set_rule("error_code_outlives_disconnect", True)
    assert connection(store_id) == ("DISCONNECTING", "INTERNAL_ERROR")
    control.advance(10)
    assert connection(store_id) == ("DISCONNECTED", "INTERNAL_ERROR")


def test_dispute_7_changes_of_a_proxy_in_any_state(kms: Any, control: Control) -> None:
    store_id = store_in(control, "FAILED", EXTERNAL)
    change = {"CustomKeyStoreId": store_id, "XksProxyUriPath": "/other/kms/xks/v1"}
    assert outcome(kms.update_custom_key_store, **change) == INVALID
    control.set_rule("proxy_update_in_any_state_is_valid", True)
    assert outcome(kms.update_custom_key_store, **change) == "ok"
    endpoint = {"CustomKeyStoreId": store_id, "XksProxyUriEndpoint": "https://other.example.com"}
    assert outcome(kms.update_custom_key_store, **endpoint) == INVALID


def test_dispute_8_passwords_of_letters_and_digits_only(kms: Any, control: Control, store: str) -> None:
    change = {"CustomKeyStoreId": store, "KeyStorePassword": NEW_PASSWORD}
    assert outcome(kms.update_custom_key_store, **change) == "ok"
    control.set_rule("password_must_be_alphanumeric", True)
    assert outcome(kms.update_custom_key_store, **change) == "ValidationException"
    assert outcome(kms.update_custom_key_store, **{**change, "KeyStorePassword": "abcDEF123"}) == "ok"


def test_dispute_9_the_quota_of_stores_is_raised(kms: Any, control: Control) -> None:
    for _turn in range(10):
        control.create_store()
    assert outcome(kms.create_custom_key_store, **external()) == "LimitExceededException"
    control.set_rule("custom_key_store_quota", 11)
    assert outcome(kms.create_custom_key_store, **external()) == "ok"


def test_dispute_10_names_in_other_regions(kms: Any, control: Control) -> None:
    Control(region_name="eu-west-1").create_store(custom_key_store_name="hsm")
    control.set_rule("names_are_unique_in_all_regions", True)
    request = cloudhsm("cluster-abcdefghijk")
    assert outcome(kms.create_custom_key_store, **request) == "CustomKeyStoreNameInUseException"
    control.set_rule("names_are_unique_in_all_regions", False)
    assert outcome(kms.create_custom_key_store, **request) == "ok"


def test_dispute_11_failures_at_the_proxy_as_internal_errors(kms: Any, control: Control) -> None:
    store_id = control.create_store(
        custom_key_store_type=EXTERNAL, connection_state="CONNECTED", parameters={"XksProxyUriEndpoint": ENDPOINT}
    )
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)
    control.set_proxy(ENDPOINT, failure="TimedOut")
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"plain") == "KMSInvalidStateException"
    control.set_rule("external_failures_of_use_are_internal", True)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"plain") == "KMSInternalException"


CHANGES = pytest.mark.parametrize("state", ["MODIFY_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"])


@CHANGES
@needs_hsm_type_changes
def test_dispute_12_a_connect_while_the_hsm_type_is_changed(
    control: Control, connection: Connection, cycle: Cycle, state: str
) -> None:
    cluster_id = control.create_cluster()
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id})
    control.set_cluster(cluster_id, state=state)
    assert cycle.connect(store_id) == "CloudHsmClusterNotActiveException"
    assert connection(store_id) == ("DISCONNECTED", None)
    control.set_rule("connect_is_refused_while_hsms_change", False)
    assert cycle.connect(store_id) == "INTERNAL_ERROR"
    control.set_cluster(cluster_id, state="ACTIVE")
    assert cycle.reconnect(store_id) == "CONNECTED"


@CHANGES
@needs_hsm_type_changes
def test_dispute_12_is_not_about_a_store_that_is_connected(kms: Any, control: Control, state: str) -> None:
    """Keys can be used meanwhile, but none can be made."""
    cluster_id = control.create_cluster()
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id}, connection_state="CONNECTED")
    (key_id,) = control.create_keys(1, custom_key_store_id=store_id)
    control.set_cluster(cluster_id, state=state)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p") == "ok"
    assert outcome(kms.create_key, CustomKeyStoreId=store_id, Origin=CLOUDHSM) == (
        "CloudHsmClusterInvalidConfigurationException"
    )
    control.set_cluster(cluster_id, active_hsms=0)
    assert outcome(kms.encrypt, KeyId=key_id, Plaintext=b"p") == "KMSInvalidStateException"


def changed_and_rolled_back(control: Control, cluster_id: str, *, between: Callable[[], object]) -> None:
    """Change the HSM type of a cluster, do something, and roll the change back."""
    control.set_cluster(cluster_id, state="MODIFY_IN_PROGRESS", hsm_type="hsm2m.medium")
    control.set_cluster(cluster_id, state="ACTIVE")
    between()
    control.set_cluster(cluster_id, state="ROLLBACK_IN_PROGRESS", hsm_type="hsm1.medium")
    control.set_cluster(cluster_id, state="ACTIVE")


@pytest.mark.parametrize(("restores", "expected"), [(True, "INVALID_CREDENTIALS"), (False, "CONNECTED")])
@needs_hsm_type_changes
def test_dispute_13_a_rollback_of_the_hsm_type(
    kms: Any, control: Control, cycle: Cycle, restores: bool, expected: str
) -> None:
    control.set_rule("rollback_restores_password", restores)
    cluster_id = control.create_cluster(hsm_type="hsm1.medium")
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id})
    assert cycle.connect(store_id) == "CONNECTED"
    changed_and_rolled_back(control, cluster_id, between=lambda: cycle.reconnect(store_id))
    assert cycle.reconnect(store_id) == expected
    # The way out that the guide has for it.
    cycle.disconnect(store_id)
    control.change_kmsuser_password(store_id, NEW_PASSWORD)
    kms.update_custom_key_store(CustomKeyStoreId=store_id, KeyStorePassword=NEW_PASSWORD)
    assert cycle.connect(store_id) == "CONNECTED"


@needs_hsm_type_changes
def test_dispute_13_without_a_connect_in_between(control: Control, cycle: Cycle) -> None:
    cluster_id = control.create_cluster(hsm_type="hsm1.medium")
    store_id = control.create_store(parameters={"CloudHsmClusterId": cluster_id})
    assert cycle.connect(store_id) == "CONNECTED"
    changed_and_rolled_back(control, cluster_id, between=lambda: None)
    assert cycle.reconnect(store_id) == "CONNECTED"
    # Rolled back once, there is nothing left to roll back.
    control.set_cluster(cluster_id, state="ROLLBACK_IN_PROGRESS")
    control.set_cluster(cluster_id, state="ACTIVE")
    assert cycle.reconnect(store_id) == "CONNECTED"
