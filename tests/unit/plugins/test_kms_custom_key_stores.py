# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several stores at once: what is refused before anything is done, what is noted, and what one failure leaves of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms_stores import Kms
from kms_emulator import Control
from tests.unit.harness import ModuleRunner

CHANGES = ("ConnectCustomKeyStore", "DisconnectCustomKeyStore")


def changes(run_stores: ModuleRunner) -> list[str]:
    return [call for call in run_stores.calls if call in CHANGES]


def test_two_stores_and_nothing_the_second_time(run_stores: ModuleRunner, control: Control) -> None:
    ids = [control.create_store(custom_key_store_name=name) for name in ("payments", "ledger")]
    stores = [{"name": "payments"}, {"custom_key_store_id": ids[1]}]
    first = run_stores(state="connected", stores=stores)
    assert first["changed"] is True
    assert [store["custom_key_store_id"] for store in first["stores"]] == ids
    assert [store["name"] for store in first["stores"]] == ["payments", "ledger"]
    assert {store["region"] for store in first["stores"]} == {"us-east-1"}
    for store in first["stores"]:
        assert store["operations"] == ["ConnectCustomKeyStore"]
        assert [move["connection_state"] for move in store["transitions"]] == store["connection_states"]
        # Two threads move the simulated time, so that one may be CONNECTED before it is looked at again.
        assert [store["connection_states"][0], store["connection_states"][-1]] == ["DISCONNECTED", "CONNECTED"]
    again = run_stores(state="connected", stores=stores)
    assert again["changed"] is False
    assert changes(run_stores) == []


def test_check_mode_predicts_and_changes_nothing(run_stores: ModuleRunner, control: Control) -> None:
    control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    predicted = run_stores(check=True, diff=True, state="disconnected", stores=[{"name": "payments"}])
    assert changes(run_stores) == []
    real = run_stores(diff=True, state="disconnected", stores=[{"name": "payments"}])
    assert predicted["changed"] is real["changed"] is True
    assert predicted["diff"] == real["diff"]
    assert predicted["stores"][0]["operations"] == real["stores"][0]["operations"] == ["DisconnectCustomKeyStore"]


def test_where_one_is_not_there_none_is_disconnected(run_stores: ModuleRunner, control: Control) -> None:
    control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    result = run_stores(state="disconnected", stores=[{"name": "payments"}, {"name": "nothing"}])
    assert result["msg"] == (
        "1 of 2 custom key stores could not be disconnected. None of the stores was changed. nothing in us-east-1: There is no"
        ' custom key store named "nothing" in the Region us-east-1 of the account 123456789012. Check the id or name, the'
        " Region, and whose credentials the task uses."
    )
    assert [store["failed"] for store in result["stores"]] == [False, True]
    assert changes(run_stores) == []


def test_where_one_is_not_there_the_others_are_connected(run_stores: ModuleRunner, control: Control) -> None:
    control.create_store(custom_key_store_name="payments")
    result = run_stores(state="connected", stores=[{"name": "payments"}, {"name": "nothing"}])
    assert result["msg"].startswith(
        "1 of 2 custom key stores could not be connected. nothing in us-east-1: There is no"
    )
    assert result["stores"][0]["connection_states"][-1] == "CONNECTED"
    assert result["changed"] is True


@pytest.mark.parametrize("where", ["describe_by_id", "describe"])
def test_an_error_that_nobody_expects_does_not_keep_the_others_out(
    run_stores: ModuleRunner, control: Control, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    control.create_store(custom_key_store_name="payments")
    strange = control.create_store(custom_key_store_name="ledger")
    whole = getattr(Kms, where)

    def broken(self: Kms, which: Any) -> Any:
        if strange in str(which):
            raise KeyError("surprise")
        return whole(self, which)

    monkeypatch.setattr(Kms, where, broken)
    result = run_stores(state="connected", stores=[{"name": "payments"}, {"custom_key_store_id": strange}])
    assert [store["failed"] for store in result["stores"]] == [False, True]
    assert result["stores"][0]["connection_states"][-1] == "CONNECTED"
    assert result["stores"][1]["msg"].startswith(
        "An unexpected error. Report it to the maintainers of the collection: KeyError: 'surprise'"
    )


def test_a_connect_that_fails_has_cause_and_remedy(run_stores: ModuleRunner, control: Control) -> None:
    control.create_store(custom_key_store_name="payments")
    broken = control.create_store(custom_key_store_name="ledger")
    control.set_connect_outcomes(broken, ["NETWORK_ERRORS"])
    result = run_stores(state="connected", stores=[{"name": "payments"}, {"name": "ledger"}])
    assert [store["failed"] for store in result["stores"]] == [False, True]
    assert result["stores"][1]["connection_error"]["code"] == "NETWORK_ERRORS"
    assert result["stores"][1]["connection_error"]["remedy"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stores": []}, "stores is empty: name at least one custom key store."),
        ({"stores": [{"name": "a"}], "wait_timeout": 0}, "wait_timeout must be at least 1 second, but is 0."),
        ({"stores": [{"name": "a"}, {"name": "x" * 257}]}, "In number 2 of stores: name "),
        ({"stores": [{"region": "us-east-1"}]}, "one of the following is required: custom_key_store_id, name"),
        (
            {"stores": [{"name": "a", "profile": "p", "access_key": "k", "secret_key": "LongCanarySecret"}]},
            "parameters are mutually exclusive: profile|access_key",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    run_stores: ModuleRunner, options: dict[str, Any], text: str
) -> None:
    result = run_stores(state="connected", **options)
    assert text in result["msg"]
    assert "LongCanarySecret" not in json.dumps(result)
    assert run_stores.calls == []


def test_a_note_is_kept_while_a_store_is_out_of_service(
    run_stores: ModuleRunner, control: Control, tmp_path: Path
) -> None:
    store_id = control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    off = control.create_store(custom_key_store_name="off")
    stores = [{"name": "payments"}, {"name": "off"}]
    memory = str(tmp_path / "memory")
    first = run_stores(state="disconnected", stores=stores, memory=memory)
    assert [store["remembered"] for store in first["stores"]] == [None, None]
    note = json.loads((tmp_path / "memory" / f"{store_id}.json").read_text())
    assert (note["custom_key_store_id"], note["name"], note["connection_state"]) == (store_id, "payments", "CONNECTED")
    assert not (tmp_path / "memory" / f"{off}.json").exists()
    later = run_stores(check=True, state="disconnected", stores=stores, memory=memory)
    assert later["stores"][0]["remembered"] == {
        name: note[name] for name in ("custom_key_store_id", "name", "connection_state", "time", "until")
    }
    run_stores(state="connected", stores=[{"name": "payments"}], memory=memory)
    assert list((tmp_path / "memory").iterdir()) == []


def test_without_a_note_nothing_is_disconnected(run_stores: ModuleRunner, control: Control, tmp_path: Path) -> None:
    control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    (tmp_path / "file").touch()
    result = run_stores(state="disconnected", stores=[{"name": "payments"}], memory=str(tmp_path / "file" / "memory"))
    assert f"The lease {tmp_path}/file/memory/" in result["msg"]
    assert "be written: " in result["msg"] or "be read: " in result["msg"]
    assert changes(run_stores) == []


def test_a_note_that_cannot_be_read_is_reported(run_stores: ModuleRunner, control: Control, tmp_path: Path) -> None:
    store_id = control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    (tmp_path / f"{store_id}.json").write_text("{")
    result = run_stores(state="disconnected", stores=[{"name": "payments"}], memory=str(tmp_path))
    assert f"The lease {tmp_path}/{store_id}.json cannot be read:" in result["msg"]
    assert "Make it readable; or remove it if the store is where it should be." in result["msg"]
    assert changes(run_stores) == []


def test_a_store_that_is_connected_and_does_not_work(run_stores: ModuleRunner, control: Control) -> None:
    control.create_store(custom_key_store_name="payments", connection_state="CONNECTED")
    control.add_fault("GenerateRandom", error="AccessDeniedException")
    result = run_stores(state="connected", stores=[{"name": "payments"}], verify=True)
    assert '("payments") is CONNECTED, but does not work. GenerateRandom of cks-' in result["msg"]
    assert "kms:GenerateRandom" in result["msg"]


def test_a_profile_beside_credentials_is_refused_unless_no_store_uses_them(
    run_stores: ModuleRunner, control: Control, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    control.create_store(custom_key_store_name="payments")
    (tmp_path / "config").write_text("[profile archive]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    own = {"access_key": "AKIAIOSFODNN7OTHERS0", "secret_key": "CanaryOfASecretKey0123456789"}
    monkeypatch.setenv("AWS_PROFILE", "archive")
    result = run_stores(check=True, state="connected", stores=[{"name": "payments"}])
    assert (
        "The task has a profile and credentials, and amazon.aws does not choose between them: archive by the"
        in result["msg"]
    )
    assert "environment variable AWS_PROFILE" in result["msg"]
    assert run_stores.calls == []
    assert "failed" not in run_stores(check=True, state="connected", stores=[{"name": "payments", **own}])
