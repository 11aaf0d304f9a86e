# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as botocore's model of KMS has them, and clients with the newest and the oldest SDK that the collection supports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import Shape
from botocore.model import StructureShape

from kms_emulator import Control
from kms_emulator import EmulatorServer
from kms_emulator import HttpControl
from kms_emulator.validation import input_shape
from kms_emulator.validation import kms_model
from tests.sdk import KNOWS_OWNER
from tests.unit.emulator import sdk_client
from tests.unit.emulator.stores import CREDENTIAL
from tests.unit.emulator.stores import ENDPOINT
from tests.unit.emulator.stores import EXTERNAL
from tests.unit.emulator.stores import NEW_CREDENTIAL
from tests.unit.emulator.stores import SERVICE
from tests.unit.emulator.stores import cloudhsm
from tests.unit.emulator.stores import external
from tests.unit.emulator.stores import post
from tests.unit.emulator.stores import private

OLDEST_SDK = Path(sys.prefix) / "oldest-sdk"
OLDEST_VERSION = "1.34.0"

Members = dict[str, Any]
Cause = Callable[[Control], Members]
"""Brings about that an error is due, and returns the request that will meet it."""

CREATE = "CreateCustomKeyStore"
CONNECT = "ConnectCustomKeyStore"
DISCONNECT = "DisconnectCustomKeyStore"
DESCRIBE = "DescribeCustomKeyStores"
UPDATE = "UpdateCustomKeyStore"
DELETE = "DeleteCustomKeyStore"
UNKNOWN = {"CustomKeyStoreId": "cks-0"}
CLUSTER = "cluster-abcdefghijk"
OTHER_ENDPOINT = "https://other.example.com"
OTHER_PATH = "/other/kms/xks/v1"


def store(control: Control, **options: Any) -> Members:
    return {"CustomKeyStoreId": control.create_store(**options)}


def internal(operation: str, members: Members) -> Cause:
    """The only error of the model with no cause in what the emulator knows: on demand."""

    def cause(control: Control) -> Members:
        control.add_fault(operation, error="KMSInternalException")
        return members

    return cause


def created(**cluster: Any) -> Cause:
    """A CloudHSM store is created with a cluster like this."""
    return lambda control: cloudhsm(control.create_cluster(**{"certificate": "certificate", **cluster}))


def created_without_clusters(control: Control) -> Members:
    control.set_rule("clusters_must_exist", True)
    return cloudhsm(CLUSTER)


def created_beside(*, used: Members, wanted: Members) -> Cause:
    """A store is created while there is another one."""

    def cause(control: Control) -> Members:
        kind = used.get("CustomKeyStoreType", "AWS_CLOUDHSM")
        control.create_store(custom_key_store_type=kind, parameters={**used, "CustomKeyStoreName": "first"})
        return wanted

    return cause


def created_too_many(control: Control) -> Members:
    control.set_rule("custom_key_store_quota", 0)
    return cloudhsm(CLUSTER)


def created_with_proxy(request: Members, **proxy: Any) -> Cause:
    def cause(control: Control) -> Members:
        control.set_proxy(ENDPOINT, **proxy)
        return request

    return cause


def updated(change: Members, **options: Any) -> Cause:
    """A store like this is updated."""
    return lambda control: {**store(control, **options), **change}


def updated_cluster(**cluster: Any) -> Cause:
    return lambda control: {**store(control), "CloudHsmClusterId": control.create_cluster(**cluster)}


def updated_to_unrelated_cluster(control: Control) -> Members:
    before = control.create_cluster()
    return {
        **store(control, parameters={"CloudHsmClusterId": before}),
        "CloudHsmClusterId": control.create_cluster(),
    }


def updated_without_clusters(control: Control) -> Members:
    which = store(control)
    control.set_rule("clusters_must_exist", True)
    return {**which, "CloudHsmClusterId": CLUSTER}


def updated_beside(*, used: Members, mine: Members, change: Members) -> Cause:
    """A store is updated while there is another one."""

    def cause(control: Control) -> Members:
        kind = used.get("CustomKeyStoreType", "AWS_CLOUDHSM")
        control.create_store(custom_key_store_type=kind, parameters={**used, "CustomKeyStoreName": "first"})
        return {**store(control, custom_key_store_type=kind, parameters=mine), **change}

    return cause


def updated_with_proxy(request: Members, change: Members, **proxy: Any) -> Cause:
    def cause(control: Control) -> Members:
        which = store(control, custom_key_store_type=EXTERNAL, parameters=request)
        control.set_proxy(ENDPOINT, **proxy)
        return {**which, **change}

    return cause


def connected_fast_failure(error: str) -> Cause:
    def cause(control: Control) -> Members:
        which = store(control)
        control.set_connect_outcomes(which["CustomKeyStoreId"], [error])
        return which

    return cause


def connected_to_inactive_cluster(control: Control) -> Members:
    cluster_id = control.create_cluster()
    which = store(control, parameters={"CloudHsmClusterId": cluster_id})
    control.set_cluster(cluster_id, state="DEGRADED")
    return which


def deleted_with_keys(control: Control) -> Members:
    which = store(control)
    control.create_keys(1, custom_key_store_id=which["CustomKeyStoreId"])
    return which


def in_state(state: str) -> Cause:
    return lambda control: store(control, connection_state=state)


UNREACHABLE = {"reachable": False}
INCORRECT = {"access_key_id": CREDENTIAL["AccessKeyId"], "raw_secret_access_key": "another"}
PATH = {"XksProxyUriPath": OTHER_PATH}
NEW_PATH = {**PATH, "XksProxyAuthenticationCredential": NEW_CREDENTIAL}

CAUSES: dict[tuple[str, str], Cause] = {
    (CREATE, "CloudHsmClusterInUseException"): created_beside(used=cloudhsm(CLUSTER), wanted=cloudhsm(CLUSTER)),
    (CREATE, "CustomKeyStoreNameInUseException"): created_beside(
        used=cloudhsm(CLUSTER), wanted=external(CustomKeyStoreName="first")
    ),
    (CREATE, "CloudHsmClusterNotFoundException"): created_without_clusters,
    (CREATE, "KMSInternalException"): internal(CREATE, cloudhsm(CLUSTER)),
    (CREATE, "CloudHsmClusterNotActiveException"): created(state="INITIALIZED"),
    (CREATE, "IncorrectTrustAnchorException"): created(certificate="another"),
    (CREATE, "CloudHsmClusterInvalidConfigurationException"): created(active_hsms=1),
    (CREATE, "LimitExceededException"): created_too_many,
    (CREATE, "XksProxyUriInUseException"): created_beside(used=external(), wanted=external()),
    (CREATE, "XksProxyUriEndpointInUseException"): created_beside(used=external(), wanted=private(**PATH)),
    (CREATE, "XksProxyUriUnreachableException"): created_with_proxy(external(), **UNREACHABLE),
    (CREATE, "XksProxyIncorrectAuthenticationCredentialException"): created_with_proxy(external(), **INCORRECT),
    (CREATE, "XksProxyVpcEndpointServiceInUseException"): created_beside(
        used=private(), wanted=private(XksProxyUriEndpoint=OTHER_ENDPOINT)
    ),
    **{
        (CREATE, error): created_with_proxy(private() if "Vpc" in error else external(), failure=error)
        for error in (
            "XksProxyVpcEndpointServiceNotFoundException",
            "XksProxyVpcEndpointServiceInvalidConfigurationException",
            "XksProxyInvalidResponseException",
            "XksProxyInvalidConfigurationException",
        )
    },
    (CONNECT, "CloudHsmClusterNotActiveException"): connected_to_inactive_cluster,
    (CONNECT, "CustomKeyStoreInvalidStateException"): in_state("CONNECTED"),
    (CONNECT, "CustomKeyStoreNotFoundException"): lambda control: UNKNOWN,
    (CONNECT, "KMSInternalException"): internal(CONNECT, UNKNOWN),
    (CONNECT, "CloudHsmClusterInvalidConfigurationException"): connected_fast_failure(
        "CloudHsmClusterInvalidConfigurationException"
    ),
    (DISCONNECT, "CustomKeyStoreInvalidStateException"): in_state("DISCONNECTED"),
    (DISCONNECT, "CustomKeyStoreNotFoundException"): lambda control: UNKNOWN,
    (DISCONNECT, "KMSInternalException"): internal(DISCONNECT, UNKNOWN),
    (DESCRIBE, "CustomKeyStoreNotFoundException"): lambda control: UNKNOWN,
    (DESCRIBE, "InvalidMarkerException"): lambda control: {"Marker": "made-up"},
    (DESCRIBE, "KMSInternalException"): internal(DESCRIBE, {}),
    (UPDATE, "CustomKeyStoreNotFoundException"): lambda control: {**UNKNOWN, "NewCustomKeyStoreName": "new"},
    (UPDATE, "CustomKeyStoreNameInUseException"): updated_beside(
        used=cloudhsm(CLUSTER), mine={}, change={"NewCustomKeyStoreName": "first"}
    ),
    (UPDATE, "CloudHsmClusterNotFoundException"): updated_without_clusters,
    (UPDATE, "CloudHsmClusterNotRelatedException"): updated_to_unrelated_cluster,
    (UPDATE, "CustomKeyStoreInvalidStateException"): updated(
        {"KeyStorePassword": "another-password"}, connection_state="CONNECTED"
    ),
    (UPDATE, "KMSInternalException"): internal(UPDATE, {**UNKNOWN, "NewCustomKeyStoreName": "new"}),
    (UPDATE, "CloudHsmClusterNotActiveException"): updated_cluster(state="DEGRADED"),
    (UPDATE, "CloudHsmClusterInvalidConfigurationException"): updated_cluster(active_hsms=1),
    (UPDATE, "XksProxyUriInUseException"): updated_beside(
        used=external(), mine=external(**PATH), change={"XksProxyUriPath": "/kms/xks/v1"}
    ),
    (UPDATE, "XksProxyUriEndpointInUseException"): updated_beside(
        used=private(),
        mine=external(**PATH, XksProxyUriEndpoint=OTHER_ENDPOINT),
        change={"XksProxyUriEndpoint": ENDPOINT},
    ),
    (UPDATE, "XksProxyUriUnreachableException"): updated_with_proxy(external(), PATH, **UNREACHABLE),
    (UPDATE, "XksProxyIncorrectAuthenticationCredentialException"): updated_with_proxy(
        external(), NEW_PATH, **INCORRECT
    ),
    (UPDATE, "XksProxyVpcEndpointServiceInUseException"): updated_beside(
        used=private(),
        mine=private(XksProxyUriEndpoint=OTHER_ENDPOINT, XksProxyVpcEndpointServiceName=f"{SERVICE}9"),
        change={"XksProxyVpcEndpointServiceName": SERVICE},
    ),
    **{
        (UPDATE, error): updated_with_proxy(private() if "Vpc" in error else external(), PATH, failure=error)
        for error in (
            "XksProxyVpcEndpointServiceNotFoundException",
            "XksProxyVpcEndpointServiceInvalidConfigurationException",
            "XksProxyInvalidResponseException",
            "XksProxyInvalidConfigurationException",
        )
    },
    (DELETE, "CustomKeyStoreHasCMKsException"): deleted_with_keys,
    (DELETE, "CustomKeyStoreInvalidStateException"): in_state("CONNECTED"),
    (DELETE, "CustomKeyStoreNotFoundException"): lambda control: UNKNOWN,
    (DELETE, "KMSInternalException"): internal(DELETE, UNKNOWN),
}
"""How each error that botocore's model lists for the six operations comes about."""


def errors_of_the_model() -> dict[tuple[str, str], int]:
    """The HTTP status of each error of each of the six operations: by the model, a fault is KMS's, others the caller's."""
    shapes = Loader(include_default_search_paths=True).load_service_model("kms", "service-2")["shapes"]
    return {
        (operation, shape.name): 500 if shapes[shape.name].get("fault") else 400
        for operation in sdk_client.OPERATIONS
        for shape in kms_model().operation_model(operation).error_shapes
    }


def test_every_error_has_a_cause() -> None:
    assert set(CAUSES) == set(errors_of_the_model())


@pytest.mark.parametrize(("operation", "error"), CAUSES)
def test_an_error_and_its_http_form(http_kms: Any, http_control: HttpControl, operation: str, error: str) -> None:
    members = CAUSES[operation, error](http_control)
    raw: list[Any] = []
    http_kms.meta.events.register_first(f"response-received.kms.{operation}", lambda **seen: raw.append(seen), "raw")
    with pytest.raises(getattr(http_kms.exceptions, error)) as caught:
        getattr(http_kms, xform_name(operation))(**members)
    http_kms.meta.events.unregister(f"response-received.kms.{operation}", unique_id="raw")
    answer: dict[str, Any] = caught.value.response
    assert answer["Error"]["Code"] == error
    assert answer["Error"]["Message"].endswith(".")
    metadata = answer["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == errors_of_the_model()[operation, error]
    assert metadata["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"
    assert metadata["RequestId"] == metadata["HTTPHeaders"]["x-amzn-requestid"]
    body = raw[0]["response_dict"]["body"]
    assert set(json.loads(body)) == {"__type", "message"}
    assert json.loads(body)["__type"] == error


def bad_values(shape: Shape) -> Iterator[tuple[Any, str]]:
    """Values that break each constraint of a request's member, with the error code that each must lead to."""
    yield ({} if shape.type_name == "string" else "text"), "SerializationException"
    limits = {"min": -1, "max": 1}
    for limit in sorted(set(shape.metadata) & set(limits)):
        size = shape.metadata[limit] + limits[limit]
        yield (size if shape.type_name == "integer" else "x" * size), "ValidationException"
    if shape.metadata.get("pattern") or shape.metadata.get("enum"):
        yield "\N{SNOWMAN}" * shape.metadata.get("min", 1), "ValidationException"
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            for value, code in bad_values(member):
                yield {name: value}, code


def bad_members() -> list[tuple[str, str, Any, str]]:
    return [
        (operation, name, value, code)
        for operation in sdk_client.OPERATIONS
        for name, member in input_shape(operation).members.items()
        for value, code in bad_values(member)
    ]


@pytest.mark.parametrize(("operation", "name", "value", "code"), bad_members())
def test_every_constraint_of_every_member(
    emulator_server: EmulatorServer, operation: str, name: str, value: Any, code: str
) -> None:
    status, answer = post(emulator_server.url, operation, json.dumps({name: value}))
    assert (status, answer["__type"]) == (400, code)
    assert f"'{name[0].lower()}{name[1:]}" in answer["message"]


def run_sdk_client(url: str, *, packages: Path | None) -> dict[str, Any]:
    """What sdk_client.py sees with boto3 and botocore of a folder, or (None) with those of this environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull, "PYTHONNOUSERSITE": "1"}
    if packages is not None:
        environment["PYTHONPATH"] = str(packages)
    done = subprocess.run(
        [sys.executable, sdk_client.__file__, url],
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize(("packages", "version"), [(None, botocore.__version__), (OLDEST_SDK, OLDEST_VERSION)])
def test_clients_with_the_newest_and_the_oldest_sdk(
    emulator_server: EmulatorServer, http_control: HttpControl, packages: Path | None, version: str
) -> None:
    http_control.set_transitions(connect_seconds=0, disconnect_seconds=0)
    seen = run_sdk_client(emulator_server.url, packages=packages)
    assert seen["botocore"] == version
    hsm = {
        "CustomKeyStoreName": "hsm",
        "CustomKeyStoreType": "AWS_CLOUDHSM",
        "CloudHsmClusterId": "cluster-abcdefghijk",
        "TrustAnchorCertificate": "certificate",
    }
    states = ("DISCONNECTED", "CONNECTED", "DISCONNECTED")
    off = {**hsm, "ConnectionState": "DISCONNECTED"}
    assert seen["cloudhsm"] == [
        *({**hsm, "ConnectionState": state} for state in states),
        {**off, "CustomKeyStoreName": "renamed"},
        "CustomKeyStoreNotFoundException",
    ]
    proxy = {
        "Connectivity": "VPC_ENDPOINT_SERVICE",
        "AccessKeyId": "ABCDEFGHIJKLMNOPQRST",
        "UriEndpoint": "https://xks.example.com",
        "UriPath": "/kms/xks/v1",
        "VpcEndpointServiceName": "com.amazonaws.vpce.us-east-1.vpce-svc-0123456789",
    }
    if packages is None and KNOWS_OWNER:  # an older SDK leaves out what it does not know
        proxy["VpcEndpointServiceOwner"] = "123456789012"
    external_store = {"CustomKeyStoreName": "proxy", "CustomKeyStoreType": "EXTERNAL_KEY_STORE"}
    assert seen["external"] == [
        *({**external_store, "ConnectionState": state, "XksProxyConfiguration": proxy} for state in states),
        {
            **external_store,
            "ConnectionState": "DISCONNECTED",
            "XksProxyConfiguration": {**proxy, "UriPath": "/other/kms/xks/v1"},
        },
        "CustomKeyStoreNotFoundException",
    ]
    assert seen["pages"] == [2, 1]
    assert seen["errors"] == {
        f"{operation} {error}": {
            "class": error,
            "code": error,
            "status": status,
            "has_message": True,
            "has_request_id": True,
        }
        for (operation, error), status in errors_of_the_model().items()
    }
