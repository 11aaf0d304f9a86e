# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input to the control API: HTTP 400 with a sentence that says what is wrong and what is allowed."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
import urllib3

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator import install
from kms_emulator.client import CONTROL_PATH

COMMANDS: dict[str, list[inspect.Parameter]] = {
    name: [parameter for parameter in inspect.signature(member).parameters.values() if parameter.name != "self"]
    for name, member in inspect.getmembers(Control)
    if getattr(member, "is_command", False)
}
IN_WORDS = {
    "set_transitions.connect_seconds": "a number or null",
    "set_transitions.disconnect_seconds": "a number or null",
    "set_connect_outcomes.custom_key_store_id": "a string",
    "set_connect_outcomes.outcomes": "a list, each item a string",
    "set_connection_state.custom_key_store_id": "a string",
    "set_connection_state.connection_state": "a string",
    "set_connection_state.connection_error_code": "a string or null",
    "set_visibility_delay.seconds": "a number",
    "set_latency.seconds": "a number",
    "set_trail_delay.seconds": "a number",
    "set_usage_delay.seconds": "a number",
    "set_rule.name": "a string",
    "set_rule.value": "true or false or a whole number",
    "add_fault.operation": "a string",
    "add_fault.error": "a string or null",
    "add_fault.drop": "true or false",
    "add_fault.applied": "true or false",
    "add_fault.skip": "a whole number",
    "add_fault.times": "a whole number or null",
    "add_fault.probability": "a number",
    "add_fault.seed": "a whole number",
    "set_quota.operation": "a string",
    "set_quota.per_second": "a number or null",
    "add_intruder.operation": "a string",
    "add_intruder.skip": "a whole number",
    "add_intruder.action": "a string",
    "add_intruder.parameters": "an object",
    "create_store.custom_key_store_name": "a string or null",
    "create_store.custom_key_store_type": "a string",
    "create_store.connection_state": "a string",
    "create_store.connection_error_code": "a string or null",
    "create_store.parameters": "an object or null",
    "freeze_clock.seconds_per_request": "a number",
    "advance.seconds": "a number",
    "create_cluster.active_hsms": "a whole number",
    "create_cluster.availability_zones": "a whole number",
    "create_cluster.state": "a string",
    "create_cluster.certificate": "a string or null",
    "create_cluster.source_cluster_id": "a string or null",
    "create_cluster.hsm_type": "a string",
    "create_cluster.mode": "a string",
    "create_cluster.network_type": "a string",
    "create_cluster.network": "true or false",
    "set_cluster.cluster_id": "a string",
    "set_cluster.state": "a string or null",
    "set_cluster.active_hsms": "a whole number or null",
    "set_cluster.certificate": "a string or null",
    "set_cluster.hsm_type": "a string or null",
    "set_cluster.rollback_seconds": "a number or null",
    "set_external_key.uri_endpoint": "a string",
    "set_external_key.xks_key_id": "a string",
    "set_external_key.key_spec": "a string",
    "set_external_key.key_status": "a string",
    "set_external_key.key_usage": "a list, each item a string or null",
    "change_kmsuser_password.custom_key_store_or_cluster_id": "a string",
    "change_kmsuser_password.password": "a string",
    "set_kmsuser_logged_in.custom_key_store_or_cluster_id": "a string",
    "set_kmsuser_logged_in.logged_in": "true or false",
    "create_kmsuser.custom_key_store_or_cluster_id": "a string",
    "create_kmsuser.password": "a string",
    "create_kmsuser.second_factor": "true or false",
    "delete_kmsuser.custom_key_store_or_cluster_id": "a string",
    "set_proxy.uri_endpoint": "a string",
    "set_proxy.access_key_id": "a string or null",
    "set_proxy.raw_secret_access_key": "a string or null",
    "set_proxy.keep_credentials": "true or false",
    "set_proxy.reachable": "true or false",
    "set_proxy.failure": "a string or null",
    "set_proxy.external_keys": "a list, each item a string or null",
    "create_keys.count": "a whole number",
    "create_keys.custom_key_store_id": "a string or null",
    "set_schedule_delivery.name_prefix": "a string",
    "set_schedule_delivery.late_seconds": "a number",
    "set_schedule_delivery.twice": "true or false",
    "set_schedule_delivery.never": "true or false",
    "create_schedule_role.name": "a string",
    "create_schedule_role.trusted": "true or false",
    "create_schedule_role.actions": "a list, each item a string or null",
}
"""What each parameter must be, in the words of the message."""

OF_ANY_TYPE: dict[str, Any] = {"a s": "text", "a w": 1, "a n": 1.5, "tru": True, "an ": {}, "a l": []}
"""A value that fits, by the beginning of the words."""

CLUSTER = "cluster-abcdefghijk"
LISTED = "there are: "


def post(url: str, path: str, body: str, method: str = "POST") -> str:
    """The message of an answer that must be a refusal."""
    answer = urllib3.request(method, f"{url}{CONTROL_PATH}{path}", body=body)
    assert answer.status == 400, answer.data
    assert answer.headers["Content-Type"] == "application/json"
    content = json.loads(answer.data)
    assert set(content) == {"message"}
    message: str = content["message"]
    assert message.startswith(f"{path.split('?')[0]}: ")
    assert message.endswith(".")
    assert "\n" not in message
    return message


def fitting(command: str) -> dict[str, Any]:
    """Arguments of the right types for all parameters that a command needs."""
    needed = [parameter.name for parameter in COMMANDS[command] if parameter.default is parameter.empty]
    return {name: OF_ANY_TYPE[IN_WORDS[f"{command}.{name}"][:3]] for name in needed}


def test_the_table_has_every_parameter() -> None:
    assert {f"{name}.{parameter.name}" for name, taken in COMMANDS.items() for parameter in taken} == set(IN_WORDS)


@pytest.mark.parametrize("which", IN_WORDS)
def test_a_parameter_of_the_wrong_type(emulator_server: EmulatorServer, which: str) -> None:
    command, name = which.split(".")
    wrong: Any = [[]] if "true or false" in IN_WORDS[which] or "string" in IN_WORDS[which] else True
    message = post(emulator_server.url, command.replace("_", "-"), json.dumps({**fitting(command), name: wrong}))
    assert message == f"{command.replace('_', '-')}: {name} must be {IN_WORDS[which]}."


@pytest.mark.parametrize("command", COMMANDS)
def test_a_parameter_that_there_is_not(emulator_server: EmulatorServer, command: str) -> None:
    body = json.dumps({**fitting(command), "minutes": 1})
    names = ", ".join(parameter.name for parameter in COMMANDS[command])
    assert post(emulator_server.url, command.replace("_", "-"), body).endswith(
        f": there is no parameter 'minutes'; {LISTED + names if names else 'there are none'}."
    )


@pytest.mark.parametrize("command", [name for name in COMMANDS if fitting(name)])
def test_a_parameter_that_is_missing(emulator_server: EmulatorServer, command: str) -> None:
    needed = fitting(command)
    for missing in needed:
        body = json.dumps({name: value for name, value in needed.items() if name != missing})
        message = post(emulator_server.url, command.replace("_", "-"), body)
        assert f": missing a required argument: '{missing}'; {LISTED}" in message


@pytest.mark.parametrize("body", ["[]", "null", '"text"', "no JSON", '{"seconds": 1', "\udcff", "[" * 100_000])
def test_a_body_that_is_no_object(emulator_server: EmulatorServer, body: str) -> None:
    url = f"{emulator_server.url}{CONTROL_PATH}advance"
    answer = urllib3.request("POST", url, body=body.encode(errors="surrogateescape"))
    assert (answer.status, json.loads(answer.data)) == (
        400,
        {"message": "advance: the body must be a JSON object, with an argument for each parameter."},
    )


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("POST", "no-such-command", "no-such-command: there is no such command; there are: set-transitions, "),
        ("POST", "account-id", "there is no such command"),
        ("POST", "", "there is no such command"),
        ("GET", "reset", "reset: use POST."),
        ("GET", "create-store", "create-store: use POST."),
        ("PUT", "requests", "requests: use POST."),
        ("POST", "reset?region=nowhere", "There is no Region 'nowhere'; a Region is such as us-east-1."),
        ("POST", "reset?account=12", "An account has 12 digits, unlike '12'."),
        ("POST", "reset?acount=123456789012", "there is no query parameter 'acount'; there are: account, region."),
    ],
)
def test_a_call_that_cannot_be(emulator_server: EmulatorServer, method: str, path: str, message: str) -> None:
    assert message in post(emulator_server.url, path, "{}", method)


SECONDS = "A number of seconds must be 0 or more, and at most 1000000000."


@pytest.mark.parametrize("value", ["-1", "NaN", "Infinity", "-Infinity", "1e300", "1" + "0" * 400])
@pytest.mark.parametrize("command", ["advance", "set-latency", "set-visibility-delay"])
def test_seconds_that_are_none(emulator_server: EmulatorServer, command: str, value: str) -> None:
    assert post(emulator_server.url, command, f'{{"seconds": {value}}}') == f"{command}: {SECONDS}"


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("set_transitions", {"connect_seconds": 1, "disconnect_seconds": -1}, SECONDS),
        ("freeze_clock", {"seconds_per_request": -1}, SECONDS),
        (
            "set_connect_outcomes",
            {"custom_key_store_id": "cks-0", "outcomes": []},
            "no custom key store 'cks-0' in account",
        ),
        (
            "set_connect_outcomes",
            {"custom_key_store_id": "STORE", "outcomes": ["CONNECTED", "XKS_PROXY_TIMED_OUT"]},
            "of type AWS_CLOUDHSM cannot end with 'XKS_PROXY_TIMED_OUT'; it can with: CONNECTED, NEVER, CLUSTER",
        ),
        (
            "set_connection_state",
            {"custom_key_store_id": "cks-0", "connection_state": "CONNECTED"},
            "no custom key store",
        ),
        (
            "set_connection_state",
            {"custom_key_store_id": "STORE", "connection_state": "BROKEN"},
            "There is no connection state 'BROKEN'; there are: CONNECTED, CONNECTING, DISCONNECTED, DISCONNECTING, FAILED.",
        ),
        (
            "set_connection_state",
            {"custom_key_store_id": "STORE", "connection_state": "FAILED"},
            "A connection error code is needed for FAILED, and for no other connection state.",
        ),
        (
            "set_connection_state",
            {
                "custom_key_store_id": "STORE",
                "connection_state": "CONNECTED",
                "connection_error_code": "INTERNAL_ERROR",
            },
            "and for no other connection state.",
        ),
        (
            "set_connection_state",
            {"custom_key_store_id": "STORE", "connection_state": "FAILED", "connection_error_code": "OTHER"},
            "of type AWS_CLOUDHSM has no connection error code 'OTHER'; it has: CLUSTER_NOT_FOUND, ",
        ),
        (
            "set_rule",
            {"name": "no_such_rule", "value": True},
            "no rule 'no_such_rule'; there are: clusters_must_exist, ",
        ),
        (
            "set_rule",
            {"name": "custom_key_store_quota", "value": True},
            "custom_key_store_quota must be a whole number.",
        ),
        ("set_rule", {"name": "custom_key_store_quota", "value": -1}, "custom_key_store_quota must be 0 or more."),
        ("set_rule", {"name": "clusters_must_exist", "value": 1}, "clusters_must_exist must be true or false."),
        (
            "add_fault",
            {"operation": "Other", "drop": True},
            "KMS has no operation 'Other', unlike: CancelKeyDeletion, ",
        ),
        ("add_fault", {"operation": "ListKeys"}, "A fault is either an error code or a dropped connection."),
        ("add_fault", {"operation": "ListKeys", "drop": True, "error": "A"}, "either an error code or a dropped"),
        (
            "add_fault",
            {"operation": "ListKeys", "error": "A b"},
            "An error code has letters, digits and dots only, such as",
        ),
        (
            "add_fault",
            {"operation": "ListKeys", "error": ""},
            "An error code has letters, digits and dots only, such as",
        ),
        (
            "add_fault",
            {"operation": "ListKeys", "drop": True, "times": 0},
            "skip must be 0 or more, and times 1 or more.",
        ),
        (
            "add_fault",
            {"operation": "ListKeys", "drop": True, "skip": -1},
            "skip must be 0 or more, and times 1 or more.",
        ),
        (
            "add_fault",
            {"operation": "ListKeys", "drop": True, "probability": 1.5},
            "A probability is a number from 0 to 1.",
        ),
        ("set_quota", {"operation": "Other", "per_second": 1}, "KMS has no operation 'Other'"),
        (
            "set_quota",
            {"operation": "ListKeys", "per_second": 0},
            "more than 0 requests in a second, and at most 1000000000.",
        ),
        (
            "add_intruder",
            {"operation": "Other", "action": "DeleteCustomKeyStore", "parameters": {}},
            "no operation 'Other'",
        ),
        (
            "add_intruder",
            {"operation": "ListKeys", "action": "ListKeys", "parameters": {}},
            "An intruder can do: CreateCustomKeyStore, ConnectCustomKeyStore, DisconnectCustomKeyStore, ",
        ),
        (
            "add_intruder",
            {"operation": "ListKeys", "action": "ConnectCustomKeyStore", "parameters": {}},
            "Value null at 'customKeyStoreId' failed to satisfy constraint: Member must not be null",
        ),
        (
            "add_intruder",
            {"operation": "ListKeys", "action": "ConnectCustomKeyStore", "parameters": {"Name": "n"}},
            "ConnectCustomKeyStore has no member 'Name'; it has: CustomKeyStoreId.",
        ),
        (
            "add_intruder",
            {"operation": "ListKeys", "action": "ConnectCustomKeyStore", "parameters": {"CustomKeyStoreId": 1}},
            "The value at 'customKeyStoreId' is not a string.",
        ),
        (
            "add_intruder",
            {
                "operation": "ListKeys",
                "action": "ConnectCustomKeyStore",
                "parameters": {"CustomKeyStoreId": "i"},
                "skip": -1,
            },
            "skip must be 0 or more",
        ),
        (
            "add_intruder",
            {"operation": "ListKeys", "action": "SetConnectionState", "parameters": {"CustomKeyStoreId": "STORE"}},
            "SetConnectionState takes CustomKeyStoreId, ConnectionState, ConnectionErrorCode, all strings.",
        ),
        (
            "add_intruder",
            {
                "operation": "ListKeys",
                "action": "SetConnectionState",
                "parameters": {"CustomKeyStoreId": [], "ConnectionState": "CONNECTED"},
            },
            "SetConnectionState takes CustomKeyStoreId, ConnectionState, ConnectionErrorCode, all strings.",
        ),
        (
            "create_store",
            {"custom_key_store_type": "CLOUD"},
            "no type 'CLOUD'; there are: AWS_CLOUDHSM, EXTERNAL_KEY_STORE.",
        ),
        ("create_store", {"connection_state": "BROKEN"}, "There is no connection state 'BROKEN'"),
        ("create_store", {"connection_state": "FAILED"}, "needed for FAILED"),
        (
            "create_store",
            {"custom_key_store_name": ""},
            "Value '' at 'customKeyStoreName' failed to satisfy constraint: Member must have length",
        ),
        (
            "create_store",
            {"custom_key_store_name": "in use"},
            "Another custom key store of this account and Region",
        ),
        (
            "create_store",
            {"parameters": {"KeyStorePassword": "short"}},
            "'keyStorePassword' failed to satisfy constraint: ",
        ),
        (
            "create_store",
            {"parameters": {"Name": "n"}},
            "has no member 'Name'; it has: CustomKeyStoreName, ",
        ),
        (
            "create_store",
            {"parameters": {"CustomKeyStoreType": "EXTERNAL_KEY_STORE"}},
            "CustomKeyStoreType in parameters must be the same as custom_key_store_type.",
        ),
        (
            "add_fault",
            {"operation": "CreateScheduleGroup", "drop": True},
            "UpdateSchedule, DeleteSchedule, ListSchedules",
        ),
        ("set_schedule_delivery", {"name_prefix": "", "late_seconds": -1}, SECONDS),
        (
            "create_schedule_role",
            {"name": "no role"},
            "A role cannot be named 'no role': 1 to 64 letters, digits, and any",
        ),
        ("create_keys", {"count": -1}, "A number of keys must be 0 or more, and at most 100000."),
        ("create_keys", {"count": 10**9}, "A number of keys must be 0 or more, and at most 100000."),
        ("create_keys", {"count": 1, "custom_key_store_id": "cks-0"}, "no custom key store 'cks-0'"),
        ("create_cluster", {"state": "BROKEN"}, "A cluster has no state 'BROKEN'; there are: ACTIVE, "),
        ("create_cluster", {"active_hsms": 29}, "A cluster has 0 to 28 HSMs."),
        ("create_cluster", {"active_hsms": -1}, "A cluster has 0 to 28 HSMs."),
        ("create_cluster", {"availability_zones": 0}, "A cluster has 1 to 6 Availability Zones."),
        ("create_cluster", {"availability_zones": 7}, "A cluster has 1 to 6 Availability Zones."),
        ("create_cluster", {"source_cluster_id": CLUSTER}, f"There is no backup of cluster '{CLUSTER}'"),
        ("create_cluster", {"source_cluster_id": CLUSTER, "certificate": "c"}, "has the certificate of its source."),
        (
            "create_cluster",
            {"hsm_type": "hsm3"},
            "A cluster has no HSM type 'hsm3'; there are: hsm1.medium, hsm2m.medium.",
        ),
        ("create_cluster", {"mode": "DEFAULT"}, "A cluster has no mode 'DEFAULT'; there are: FIPS, NON_FIPS."),
        (
            "create_cluster",
            {"network_type": "IPV6"},
            "A cluster has no network type 'IPV6'; there are: IPV4, DUALSTACK.",
        ),
        (
            "create_cluster",
            {"hsm_type": "hsm1.medium", "mode": "NON_FIPS"},
            "HSMs of the type hsm1.medium have the mode FIPS only.",
        ),
        ("set_cluster", {"cluster_id": CLUSTER}, f"There is no cluster '{CLUSTER}'"),
        ("set_cluster", {"cluster_id": "MADE", "hsm_type": "hsm3"}, "A cluster has no HSM type 'hsm3'; there are: "),
        (
            "set_cluster",
            {"cluster_id": "MADE", "rollback_seconds": -1},
            "rollback_seconds must be 0 or more, and at most ",
        ),
        (
            "set_cluster",
            {"cluster_id": "MADE", "state": "BROKEN"},
            "A cluster has no state 'BROKEN'; there are: ACTIVE, ",
        ),
        ("set_cluster", {"cluster_id": "MADE", "active_hsms": 29}, "A cluster has 0 to 28 HSMs."),
        *(
            (command, {"custom_key_store_or_cluster_id": which, **others}, words)
            for command, others in (
                ("change_kmsuser_password", {"password": "long enough"}),
                ("set_kmsuser_logged_in", {"logged_in": True}),
                ("create_kmsuser", {"password": "long enough"}),
                ("delete_kmsuser", {}),
            )
            for which, words in (
                ("cks-0", "There is no custom key store 'cks-0' in account 123456789012, Region us-east-1."),
                (
                    "cluster-8",
                    "at 'custom_key_store_or_cluster_id' failed to satisfy constraint: Member must have length greater than",
                ),
                ("EXTERNAL", "An external key store has no kmsuser."),
            )
        ),
        *(
            (command, {"custom_key_store_or_cluster_id": CLUSTER, "password": "short"}, "'password' failed to satisfy")
            for command in ("change_kmsuser_password", "create_kmsuser")
        ),
        (
            "create_kmsuser",
            {"custom_key_store_or_cluster_id": "STORE", "password": "long enough"},
            "has a kmsuser; delete it",
        ),
        (
            "set_proxy",
            {"uri_endpoint": "xks.example.com"},
            "Value 'xks.example.com' at 'uri_endpoint' failed to satisfy constraint: Member must satisfy",
        ),
        (
            "set_proxy",
            {"uri_endpoint": "https://a.example.com", "access_key_id": "A"},
            "A credential has an access key id and a raw secret access key.",
        ),
        (
            "set_proxy",
            {"uri_endpoint": "https://a.example.com", "failure": "Other"},
            "A reachable proxy can fail with: AccessDeniedException, ",
        ),
        (
            "set_proxy",
            {
                "uri_endpoint": "https://a.example.com",
                "failure": "XksProxyInvalidResponseException",
                "reachable": False,
            },
            "A reachable proxy can fail with: ",
        ),
    ],
)
def test_a_value_that_is_refused_changes_nothing(
    emulator_server: EmulatorServer,
    http_control: HttpControl,
    http_kms: Any,
    command: str,
    arguments: dict[str, Any],
    words: str,
) -> None:
    ids = {
        "STORE": http_control.create_store(custom_key_store_name="in use"),
        "EXTERNAL": http_control.create_store(custom_key_store_type="EXTERNAL_KEY_STORE"),
        "MADE": http_control.create_cluster(),
    }
    before = http_kms.describe_custom_key_stores()["CustomKeyStores"]
    arguments = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in arguments.items()}
    message = post(emulator_server.url, command.replace("_", "-"), json.dumps(arguments))
    assert words in message
    assert http_kms.describe_custom_key_stores()["CustomKeyStores"] == before
    http_kms.list_keys()
    assert [record["outcome"] for record in http_control.requests()] == ["ok"] * 3


def test_a_null_in_parameters_is_as_if_it_were_not_there(http_control: HttpControl) -> None:
    http_control.create_store(parameters={"KeyStorePassword": None})
    with pytest.raises(ValueError, match="Member must not be null"):
        http_control.add_intruder("ListKeys", action="DeleteCustomKeyStore", parameters={"CustomKeyStoreId": None})


def test_both_kinds_of_control_refuse_alike(control: Control, http_control: HttpControl) -> None:
    for steering in (control, http_control):
        with pytest.raises(TypeError, match="^seconds must be a number$"):
            steering.advance("1")  # type: ignore[arg-type]  # that is the test
        with pytest.raises(ValueError, match="0 or more, and at most"):
            steering.advance(-1)


def test_unknown_account_and_region() -> None:
    install()
    with pytest.raises(ValueError, match="12 digits"):
        Control(account_id="1").requests()
    with pytest.raises(ValueError, match="no Region 'nowhere'"):
        Control(region_name="nowhere").requests()
