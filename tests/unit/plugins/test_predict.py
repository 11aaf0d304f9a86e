# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules predict of a connect, and what is refused of their options."""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import inside
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import predict
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Check
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Outcome
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_info
from kms_emulator import Control
from tests.unit.harness import ModuleRunner

EXTERNAL = "EXTERNAL_KEY_STORE"
CREDENTIAL = {"access_key_id": "A" * 20, "raw_secret_access_key": "CanaryOfTheProxyWith43CharactersOrMore01234"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """The proxies that were checked, each with its credential. All are well."""
    proxies: list[tuple[Any, Any]] = []

    def check_proxy(configuration: Any, credential: Any, **_others: Any) -> list[Check]:
        proxies.append((configuration["UriEndpoint"], credential))
        return [Check("Health", Outcome.PASSED, "All is well.")]

    monkeypatch.setattr(predict, "check_proxy", check_proxy)
    return proxies


def checks(result: dict[str, Any], outcome: str) -> list[str]:
    return [check["name"] for check in result["connect_prediction"]["checks"] if check["outcome"] == outcome]


def test_a_cluster_without_an_active_hsm_is_predicted(run_info: ModuleRunner, control: Control) -> None:
    cluster_id = control.create_cluster()
    control.create_store(custom_key_store_name="payments", parameters={"CloudHsmClusterId": cluster_id})
    (store,) = run_info(predict_connect=True)["custom_key_stores"]
    assert store["connect_prediction"]["fails"] is False
    assert checks(store, "failed") == []
    control.set_cluster(cluster_id, active_hsms=0)
    (store,) = run_info(predict_connect=True)["custom_key_stores"]
    assert store["connect_prediction"]["fails"] is True
    assert store["connect_prediction"]["codes"] == ["INSUFFICIENT_CLOUDHSM_HSMS"]


def test_a_cluster_that_is_gone_is_predicted(run_info: ModuleRunner, control: Control) -> None:
    control.create_store(parameters={"CloudHsmClusterId": "cluster-2345abcdefg"})
    (store,) = run_info(predict_connect=True)["custom_key_stores"]
    assert store["connect_prediction"]["codes"] == ["CLUSTER_NOT_FOUND"]


def test_a_proxy_is_asked_with_the_credential_that_has_its_id(
    run_info: ModuleRunner, control: Control, asked: list[tuple[Any, Any]]
) -> None:
    control.create_store(custom_key_store_name="invoices", custom_key_store_type=EXTERNAL)
    (store,) = run_info()["custom_key_stores"]
    assert "connect_prediction" not in store
    own = store["xks_proxy_configuration"]["access_key_id"]
    result = run_info(predict_connect=True, xks_proxy_credentials=[CREDENTIAL, {**CREDENTIAL, "access_key_id": own}])
    assert checks(result["custom_key_stores"][0], "passed") == ["Health"]
    run_info(predict_connect=True, xks_proxy_credentials=[CREDENTIAL])
    (endpoint, found), (_endpoint, other) = asked
    assert endpoint == store["xks_proxy_configuration"]["uri_endpoint"]
    assert (found.access_key_id, found.raw_secret_access_key) == (own, CREDENTIAL["raw_secret_access_key"])
    assert other is None
    assert CREDENTIAL["raw_secret_access_key"] not in repr(found)
    assert CREDENTIAL["raw_secret_access_key"] not in str(result)


def test_several_stores_have_a_prediction_each(
    run_stores: ModuleRunner, control: Control, asked: list[tuple[Any, Any]]
) -> None:
    cluster_id = control.create_cluster()
    control.create_store(custom_key_store_name="payments", parameters={"CloudHsmClusterId": cluster_id})
    control.create_store(custom_key_store_name="invoices", custom_key_store_type=EXTERNAL)
    result = run_stores(
        state="connected",
        stores=[{"name": "invoices"}, {"name": "payments"}, {"name": "nobody"}],
        predict_connect=True,
        check=True,
    )
    external, cluster, _missing = result["stores"]
    assert checks(external, "passed") == ["Health"]
    assert "State of the CloudHSM cluster" in checks(cluster, "passed")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"predict_connect": True, "xks_proxy_credentials": [CREDENTIAL, CREDENTIAL]},
            f"xks_proxy_credentials has {'A' * 20} twice: leave out the secret that is not valid.",
        ),
        (
            {"xks_proxy_credentials": [CREDENTIAL]},
            "xks_proxy_credentials is for predict_connect: set that to true, or leave it out.",
        ),
    ],
)
def test_credentials_that_cannot_be_used(
    run_info: ModuleRunner, run_stores: ModuleRunner, options: dict[str, Any], message: str
) -> None:
    assert run_info(**options)["msg"] == message
    assert run_stores(state="connected", stores=[{"name": "payments"}], **options)["msg"] == message
    assert run_stores.calls == []


def test_a_program_is_run_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert predict.run_program([sys.executable, "-c", "print('so')"]) == (0, "so\n", "")
    exit_code, _output, errors = predict.run_program(["/no/such/program"])
    assert (exit_code, "No such file" in errors) == (127, True)
    monkeypatch.setattr(predict, "PROGRAM_SECONDS", 0.1)
    assert predict.run_program([sys.executable, "-c", "import time; time.sleep(60)"]) == (
        124,
        "",
        "It did not end within 0.1 seconds.",
    )


# ---- before a change that needs a disconnect

NEW = {"uri_endpoint": "https://new.example.com", "uri_path": "/kms/xks/v1"}


def change(run: ModuleRunner, **options: Any) -> dict[str, Any]:
    return run(name="invoices", allow_disconnect=True, xks_proxy_configuration={**NEW, **options})


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the proxy is found to be, and what it was asked with."""
    reported: dict[str, Any] = {"check": Check("Certificate", Outcome.FAILED, "The certificate has expired.", "A_CODE")}

    def check_proxy(configuration: Any, credential: Any, **others: Any) -> list[Check]:
        reported.update(configuration=configuration, credential=credential, **others)
        return [reported["check"]]

    monkeypatch.setattr(predict, "check_proxy", check_proxy)
    return reported


def connected(control: Control) -> str:
    return control.create_store(
        custom_key_store_name="invoices", custom_key_store_type=EXTERNAL, connection_state="CONNECTED"
    )


def test_a_new_endpoint_that_does_not_work_costs_no_outage(
    run: ModuleRunner, control: Control, outcome: dict[str, Any]
) -> None:
    connected(control)
    result = change(run)
    assert (
        '("invoices") was left CONNECTED, because KMS could not connect it after the change (A_CODE). The'
        in result["msg"]
    )
    assert result["msg"].endswith("The certificate has expired. Then run the task again.")
    assert outcome["configuration"]["UriEndpoint"] == "https://new.example.com"
    assert outcome["credential"] is None
    assert set(run.calls) == {"DescribeCustomKeyStores"}


def test_the_credential_of_the_task_is_used(run: ModuleRunner, control: Control, outcome: dict[str, Any]) -> None:
    connected(control)
    result = change(run, **CREDENTIAL)
    assert outcome["credential"].raw_secret_access_key == CREDENTIAL["raw_secret_access_key"]
    assert CREDENTIAL["raw_secret_access_key"] not in str(result)


def test_what_is_not_known_is_warned_of(
    run: ModuleRunner, control: Control, outcome: dict[str, Any], warnings: list[str]
) -> None:
    connected(control)
    outcome["check"] = Check("Way", Outcome.UNKNOWN, "This host does not reach it.")
    result = change(run)
    assert result["changed"] is True, result
    assert result["custom_key_store"]["connection_state"] == "CONNECTED"
    (warning,) = warnings
    assert warning.endswith("again was not checked before the disconnect. This host does not reach it.")


def test_a_plain_disconnect_is_never_kept_from(run: ModuleRunner, control: Control, outcome: dict[str, Any]) -> None:
    connected(control)
    assert run(name="invoices", state="disconnected")["changed"] is True
    assert "configuration" not in outcome


# ---- what is asked for once


@pytest.mark.parametrize("one", [True, False])
def test_clusters_that_are_shown_are_not_described_again(
    run_info: ModuleRunner, run_stores: ModuleRunner, control: Control, monkeypatch: pytest.MonkeyPatch, one: bool
) -> None:
    cluster_id = control.create_cluster()
    control.create_store(custom_key_store_name="payments", parameters={"CloudHsmClusterId": cluster_id})
    asks = mock.Mock(side_effect=describe_clusters)
    for module in (predict, inside, kms_custom_key_store_info):
        monkeypatch.setattr(module, "describe_clusters", asks)
    wanted = {"predict_connect": True, "include_cloud_hsm_cluster": True}
    if one:
        (store,) = run_info(**wanted)["custom_key_stores"]
    else:
        (store,) = run_stores(state="connected", stores=[{"name": "payments"}], check=True, **wanted)["stores"]
    asks.assert_called_once()
    assert store["cloud_hsm_cluster"]["cluster_id"] == cluster_id
    assert "State of the CloudHSM cluster" in checks(store, "passed")


def test_clients_are_made_once_for_all_stores(
    run_info: ModuleRunner, control: Control, asked: list[tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    vpc = {"XksProxyConnectivity": "VPC_ENDPOINT_SERVICE"}
    for _number in range(3):
        control.create_store(custom_key_store_type=EXTERNAL, parameters=vpc)
    account = mock.Mock(return_value="123456789012")
    monkeypatch.setattr(predict, "caller_account", account)
    assert len(run_info(predict_connect=True)["custom_key_stores"]) == len(asked) == 3
    account.assert_called_once()
