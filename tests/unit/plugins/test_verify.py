# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that is connected is proved to work: in its cluster, or with a KMS key of an external store."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import AHEAD
from kms_emulator import Control
from tests.unit.harness import CREDENTIALS
from tests.unit.harness import ModuleRunner

EXTERNAL = "EXTERNAL_KEY_STORE"


@pytest.fixture
def kms() -> Any:
    return boto3.client(
        "kms",
        region_name=CREDENTIALS["region"],
        aws_access_key_id=CREDENTIALS["access_key"],
        aws_secret_access_key=CREDENTIALS["secret_key"],
    )


@pytest.fixture
def store_id(control: Control) -> str:
    return control.create_store(
        custom_key_store_name="invoices", custom_key_store_type=EXTERNAL, connection_state="CONNECTED"
    )


def new_key(kms: Any, store_id: str, external: str) -> str:
    key = kms.create_key(Origin=EXTERNAL, CustomKeyStoreId=store_id, XksKeyId=external)["KeyMetadata"]
    return str(key["KeyId"])


def verify(run: ModuleRunner, **store: Any) -> dict[str, Any]:
    result = run(state="connected", stores=[{"name": "invoices", **store}], verify=True)
    (each,) = result["stores"]
    return {**each, "msg": result.get("msg", "")}


def used(run: ModuleRunner) -> list[str]:
    """The KMS keys that Encrypt was asked for."""
    return [each["parameters"]["KeyId"] for each in run.control.requests() if each["operation"] == "Encrypt"]


def test_one_byte_is_encrypted_under_a_key_that_is_enabled(run_stores: ModuleRunner, kms: Any, store_id: str) -> None:
    pending, disabled, enabled = (new_key(kms, store_id, name) for name in ("one", "two", "three"))
    kms.schedule_key_deletion(KeyId=pending)
    kms.disable_key(KeyId=disabled)
    kms.create_key()  # outside of the store
    store = verify(run_stores)
    assert store["verified"] is True
    assert store["verification"] == f"Encrypt has used the KMS key {enabled}."
    assert used(run_stores) == [enabled]


def test_the_search_ends_with_the_first_key(run_stores: ModuleRunner, kms: Any, store_id: str) -> None:
    keys = {new_key(kms, store_id, f"external-{number}") for number in range(100)}
    assert verify(run_stores)["verified"] is True
    assert set(used(run_stores)) < keys
    assert run_stores.calls.count("DescribeKey") <= AHEAD + 1


@pytest.mark.parametrize("alias", [False, True])
def test_a_key_that_is_named_is_used_without_a_search(
    run_stores: ModuleRunner, kms: Any, store_id: str, alias: bool
) -> None:
    new_key(kms, store_id, "one")
    wanted = new_key(kms, store_id, "two")
    kms.create_alias(AliasName="alias/proof", TargetKeyId=wanted)
    store = verify(run_stores, verify_key_id="alias/proof" if alias else wanted)
    assert store["verification"] == f"Encrypt has used the KMS key {wanted}."
    assert used(run_stores) == [wanted]
    assert "ListKeys" not in run_stores.calls


def test_a_store_without_a_key_is_not_verified_and_says_so(run_stores: ModuleRunner, kms: Any, store_id: str) -> None:
    store = verify(run_stores)
    assert (store["failed"], store["verified"]) == (False, False)
    assert store["verification"] == "There is no KMS key in it, so there is nothing to encrypt under."
    for name in ("one", "two"):
        kms.disable_key(KeyId=new_key(kms, store_id, name))
    kms.schedule_key_deletion(KeyId=new_key(kms, store_id, "three"))
    store = verify(run_stores)
    assert (store["failed"], store["verified"]) == (False, False)
    assert store["verification"] == "None of the KMS keys in it is Enabled: 2 Disabled, 1 PendingDeletion."
    assert used(run_stores) == []


def test_a_key_that_is_named_and_not_fit(run_stores: ModuleRunner, kms: Any, store_id: str) -> None:
    outside = kms.create_key()["KeyMetadata"]["KeyId"]
    store = verify(run_stores, verify_key_id=outside)
    assert store["verification"] == f"The KMS key {outside} is not in this store. Correct verify_key_id."
    pending = new_key(kms, store_id, "one")
    kms.schedule_key_deletion(KeyId=pending)
    store = verify(run_stores, verify_key_id=pending)
    assert store["verification"] == (
        f"The KMS key {pending} is PendingDeletion, and must be Enabled. Choose another verify_key_id."
    )
    assert (store["failed"], store["verified"]) == (False, False)
    assert used(run_stores) == []


@pytest.mark.parametrize("operation", ["ListKeys", "DescribeKey", "Encrypt"])
def test_a_permission_that_is_missing_is_named_and_fails_nothing(
    run_stores: ModuleRunner, kms: Any, store_id: str, operation: str
) -> None:
    new_key(kms, store_id, "one")
    run_stores.control.add_fault(operation, error="AccessDeniedException", times=None)
    store = verify(run_stores)
    assert (store["failed"], store["verified"]) == (False, False)
    assert f"kms:{operation}" in store["verification"]
    assert "There is no KMS key" not in store["verification"]


@pytest.mark.parametrize("error", ["KMSInvalidStateException", "KMSInternalException", "DependencyTimeoutException"])
def test_a_store_that_is_connected_and_does_not_work(
    run_stores: ModuleRunner, kms: Any, store_id: str, error: str
) -> None:
    new_key(kms, store_id, "one")
    run_stores.control.add_fault("Encrypt", error=error, times=None)
    store = verify(run_stores)
    assert (store["failed"], store["verified"], store["verification"]) == (True, False, None)
    assert '("invoices") is CONNECTED, but does not work. Encrypt of ' in store["msg"]
    assert "the external key store proxy or its key manager does not answer" in store["msg"]


def test_a_cloudhsm_store_uses_no_key(run_stores: ModuleRunner, control: Control) -> None:
    control.create_store(custom_key_store_name="invoices", connection_state="CONNECTED")
    store = verify(run_stores)
    assert store["verification"] == "GenerateRandom has made a random byte in the cluster."
    assert "ListKeys" not in run_stores.calls
