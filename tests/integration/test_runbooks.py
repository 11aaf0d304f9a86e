# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each runbook is followed, block by block, in the very failure that it is about, until the key store works again.

The commands are those of the page. A repair that no command of the page can do, such as a setting of a proxy's vendor, is done to
what stands for it here, between Diagnosis and What to do.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import boto3
import botocore.exceptions
import pytest

from tests.integration.guides import GUIDES
from tests.integration.guides import Reader
from tests.integration.guides import all_blocks
from tests.integration.guides import blocks_of
from tests.integration.harness import Ansible
from tests.integration.test_predict import own_address
from tests.integration.test_predict import port_443_is_ours
from tests.proxy import Certificate
from tests.proxy import Keys
from tests.proxy import proxy
from tests.sdk import needs_cluster_mode
from tests.sdk import needs_hsm_type_changes

SECTIONS = ["Meaning", "Impact", "Diagnosis", "What to do"]
PAGES = sorted(path.stem for path in GUIDES.glob("runbook_*.rst"))
PATH = "/kms/xks/v1"
KEYS = Keys("A" * 20, "CanaryOfTheProxyWith43CharactersOrMore01234")
WRONG = {"AccessKeyId": KEYS.access_key_id, "RawSecretAccessKey": "T" * 43}
PEM = "-----BEGIN CERTIFICATE-----\nemulated\n-----END CERTIFICATE-----\n"
SECRETS = {"ADMIN_PASSWORD": "CanaryOfTheAdmin8642", "KMSUSER_PASSWORD": "CanaryOfKmsUser8642"}


def text_of(page: str) -> str:
    return (GUIDES / f"{page}.rst").read_text("utf-8")


def sections(page: str) -> dict[str, str]:
    """The text of each section of a page, by its title, in order."""
    _before, *parts = re.split(r"(?m)^(.+)\n-+$\n", text_of(page))
    return dict(zip(parts[::2], parts[1::2]))


class Scene:
    """What a runbook takes for granted: the key stores payments and invoices, which were in service, and an operator.

    Attributes:
        ansible: runs playbooks.
        control: steers the emulator.
        kms: a boto3 client.
        cluster_id: of payments.
        ids: of the key stores, by their names.
        reader: follows the page.
    """

    def __init__(self, ansible: Ansible) -> None:
        self.ansible = ansible
        self.control = ansible.control
        self.control.set_transitions(connect_seconds=0.1, disconnect_seconds=0.1)
        self.kms = ansible.kms()
        self.cluster_id = self.control.create_cluster(network=True)
        self.ids = {
            "payments": self.control.create_store(
                custom_key_store_name="payments",
                parameters={"CloudHsmClusterId": self.cluster_id, "KeyStorePassword": "ToldToKms1"},
            )
        }
        self.reader = self._reader()

    def _reader(self) -> Reader:
        folder = self.ansible.folder
        self.ansible.environment |= {
            **SECRETS,
            "XKS_ACCESS_KEY_ID": KEYS.access_key_id,
            "XKS_SECRET_ACCESS_KEY": KEYS.raw_secret_access_key,
            "SUBNET_A": "subnet-0123456789abcdef0",
            "SUBNET_B": "subnet-0fedcba9876543210",
        }
        (folder / "cluster").write_text(self.cluster_id)
        (folder / "etc").mkdir()
        servers = [{"hostname": hsm["EniIp"], "port": 2223, "enable": True} for hsm in self.cluster()["Hsms"]]
        configured = {"clusters": [{"type": "hsm1", "cluster": {"servers": servers}}]}
        (folder / "etc" / "cloudhsm-cli.cfg").write_text(json.dumps(configured))
        return Reader(self.ansible, {}, {"cluster-2a34b5cdefg": self.cluster_id})

    def external_store(self, *, path: str = PATH, **parameters: Any) -> None:
        """Make invoices, whose proxy may or may not be there; it has a KMS key."""
        self.ids["invoices"] = self.control.create_store(
            custom_key_store_name="invoices",
            custom_key_store_type="EXTERNAL_KEY_STORE",
            connection_state="CONNECTED",
            parameters={
                "XksProxyUriEndpoint": f"https://{own_address()}",
                "XksProxyUriPath": path,
                "XksProxyAuthenticationCredential": {
                    "AccessKeyId": KEYS.access_key_id,
                    "RawSecretAccessKey": KEYS.raw_secret_access_key,
                },
                **parameters,
            },
        )
        self.kms.create_key(
            Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=self.ids["invoices"], XksKeyId="invoices-2026"
        )
        self.reader.names |= {"xks.example.com": own_address(), "/example/kms/xks/v1": PATH}

    def disconnect(self, name: str) -> None:
        """Disconnect a store, and wait for it."""
        self.kms.disconnect_custom_key_store(CustomKeyStoreId=self.ids[name])
        self._wait(name, "DISCONNECTING")

    def connect(self, name: str) -> dict[str, Any]:
        """Connect a store, and wait for it. Returns it as it then is."""
        if self.store(name)["ConnectionState"] == "CONNECTED":
            self.disconnect(name)
        self.kms.connect_custom_key_store(CustomKeyStoreId=self.ids[name])
        return self._wait(name, "CONNECTING")

    def _wait(self, name: str, state: str) -> dict[str, Any]:
        for _turn in range(200):
            store = self.store(name)
            if store["ConnectionState"] != state:
                return store
            time.sleep(0.05)
        raise AssertionError(f"{name} is still {state}.")

    def client(self, service: str) -> Any:
        """A boto3 client for the emulator."""
        environment = self.ansible.environment
        make: Any = boto3.client  # its types are of services that are named in the source
        return make(
            service,
            endpoint_url=environment["AWS_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def cluster(self) -> dict[str, Any]:
        """The cluster of payments, as CloudHSM describes it."""
        found = self.client("cloudhsmv2").describe_clusters(Filters={"clusterIds": [self.cluster_id]})
        return dict(found["Clusters"][0])

    def store(self, name: str) -> dict[str, Any]:
        """A key store, as KMS describes it."""
        return dict(self.kms.describe_custom_key_stores(CustomKeyStoreName=name)["CustomKeyStores"][0])

    def say_of_kmsuser(self, reported: dict[str, Any] | None) -> None:
        """What cloudhsm-cli tells of kmsuser that is unusual; None: there is no such user."""
        (self.ansible.folder / "kmsuser.json").write_text(json.dumps(reported))

    def proxy_fails(self, failure: str | None = None, *, reachable: bool = True) -> None:
        """What KMS meets at the proxy of invoices; None: all is well."""
        self.control.set_proxy(f"https://{own_address()}", failure=failure, reachable=reachable)


def nothing(_scene: Scene) -> None:
    """The page has all that is to be done."""


@dataclass(frozen=True)
class Case:
    """How a page is followed.

    Attributes:
        break_: brings about what the failure comes from.
        repair: what the page has somebody do where no command of it reaches.
        seen: what the diagnosis shows, and the page tells to look for.
        store: the name of the store.
        code: the connection error code, for a page about one.
        refused: what KMS refuses, for a page about that; and the error code.
        ends: what holds when all is done, where that is not that the store is connected and works.
        between: what happens before one of the blocks of What to do, by its number.
        proxy: how the real proxy of the store is; None where there is none.
    """

    break_: Callable[[Scene], None]
    repair: Callable[[Scene], None] = nothing
    seen: tuple[str, ...] = ()
    store: str = "payments"
    code: str = ""
    refused: tuple[Callable[[Scene], Any], str] | None = None
    ends: Callable[[Scene], bool] | None = None
    between: dict[int, Callable[[Scene], None]] = field(default_factory=dict)
    proxy: dict[str, Any] | None = None


# ---- what goes wrong with a cluster


def kms_once_meets(code: str) -> Callable[[Scene], None]:
    """A failure of KMS's own, of which nothing else can be seen."""
    return lambda scene: scene.control.set_connect_outcomes(scene.ids["payments"], [code])


def close_the_security_group(scene: Scene) -> None:
    kms_once_meets("NETWORK_ERRORS")(scene)
    ec2, group = scene.client("ec2"), scene.cluster()["SecurityGroup"]
    rules = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=rules)


def delete_the_cluster(scene: Scene) -> None:
    scene.control.set_cluster(scene.cluster_id, state="DELETED")


def delete_the_hsms(scene: Scene) -> None:
    scene.control.set_cluster(scene.cluster_id, active_hsms=0)


def fill_a_subnet(scene: Scene) -> None:
    kms_once_meets("INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET")(scene)
    ec2, subnet = scene.client("ec2"), sorted(scene.cluster()["SubnetMapping"].values())[0]
    free = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"]
    made = ec2.create_network_interface(SubnetId=subnet, SecondaryPrivateIpAddressCount=free - 1, Description="Unused")
    scene.reader.names["eni-0123456789abcdef0"] = made["NetworkInterface"]["NetworkInterfaceId"]


def delete_a_subnet(scene: Scene) -> None:
    kms_once_meets("SUBNET_NOT_FOUND")(scene)
    scene.client("ec2").delete_subnet(SubnetId=sorted(scene.cluster()["SubnetMapping"].values())[0])


def change_the_password(scene: Scene) -> None:
    scene.control.change_kmsuser_password(scene.cluster_id, "NobodyToldKms1")


def lock_kmsuser(scene: Scene) -> None:
    change_the_password(scene)
    for _login in range(5):
        scene.connect("payments")
        scene.disconnect("payments")
    scene.say_of_kmsuser({"locked": "true"})


def log_in_as_kmsuser(scene: Scene) -> None:
    scene.control.set_kmsuser_logged_in(scene.cluster_id, True)
    logs, group = scene.client("logs"), {"logGroupName": f"/aws/cloudhsm/{scene.cluster_id}"}
    logs.create_log_group(**group)
    logs.create_log_stream(**group, logStreamName="hsm-1")
    message = (
        "Opcode : CN_LOGIN (0xd)\nResponse : 0:HSM Return: SUCCESS\nUser Name : kmsuser\nUser Type : CN_CRYPTO_USER (1)"
    )
    event = {"timestamp": int(time.time() * 1000), "message": message}
    logs.put_log_events(**group, logStreamName="hsm-1", logEvents=[event])


def log_out_as_kmsuser(scene: Scene) -> None:
    scene.control.set_kmsuser_logged_in(scene.cluster_id, False)


def delete_kmsuser(scene: Scene) -> None:
    scene.control.delete_kmsuser(scene.cluster_id)
    scene.say_of_kmsuser(None)


# ---- what goes wrong with a proxy


def external(failure: str | None = None, *, reachable: bool = True, **options: Any) -> Callable[[Scene], None]:
    """A store whose proxy fails KMS in this way."""

    def break_(scene: Scene) -> None:
        scene.external_store(**options)
        scene.proxy_fails(failure, reachable=reachable)

    return break_


def mend_the_proxy(scene: Scene) -> None:
    scene.proxy_fails()


def replace_the_credential(scene: Scene) -> None:
    """The proxy has another credential than KMS, and the operator gets that."""
    scene.external_store(XksProxyAuthenticationCredential=WRONG)
    scene.control.set_proxy(
        f"https://{own_address()}",
        access_key_id=KEYS.access_key_id,
        raw_secret_access_key=KEYS.raw_secret_access_key,
    )


# ---- what goes wrong with a VPC endpoint service


def make_the_service(scene: Scene) -> str:
    """A service that requires acceptance, and allows nobody. Returns its name."""
    subnets = sorted(scene.cluster()["SubnetMapping"].values())
    balancer = scene.client("elbv2").create_load_balancer(
        Name="proxy", Type="network", Scheme="internal", Subnets=subnets
    )
    made = scene.client("ec2").create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[balancer["LoadBalancers"][0]["LoadBalancerArn"]], AcceptanceRequired=True
    )["ServiceConfiguration"]
    scene.reader.names["vpce-svc-0123456789abcdef0"] = made["ServiceId"]
    return str(made["ServiceName"])


def behind_a_service(failure: str, name: str = "") -> Callable[[Scene], None]:
    """A store behind a VPC endpoint service, of another name if there is one, that fails KMS in this way."""

    def break_(scene: Scene) -> None:
        service = make_the_service(scene)
        scene.external_store(
            XksProxyConnectivity="VPC_ENDPOINT_SERVICE", XksProxyVpcEndpointServiceName=name or service
        )
        scene.proxy_fails(failure)

    return break_


def the_service_is_set_up(scene: Scene) -> None:
    """What the page has done is what KMS needs."""
    ec2 = scene.client("ec2")
    service = ec2.describe_vpc_endpoint_service_configurations()["ServiceConfigurations"][
        -1
    ]  # others are of other tests
    assert service["AcceptanceRequired"] is False
    allowed = ec2.describe_vpc_endpoint_service_permissions(ServiceId=service["ServiceId"])["AllowedPrincipals"]
    assert [each["Principal"] for each in allowed] == ["cks.kms.us-east-1.amazonaws.com"]
    scene.proxy_fails()


# ---- what KMS refuses


def in_service(scene: Scene) -> None:
    scene.connect("payments")


def update(store: str = "payments", **members: Any) -> Callable[[Scene], Any]:
    """A request to change a store."""
    return lambda scene: scene.kms.update_custom_key_store(CustomKeyStoreId=scene.ids[store], **members)


def update_proxy(store: str = "invoices", **members: Any) -> Callable[[Scene], Any]:
    """A request to change a proxy, which is sent while the store is disconnected."""

    def attempt(scene: Scene) -> Any:
        if scene.store(store)["ConnectionState"] == "CONNECTED":
            scene.disconnect(store)
        return update(store, **members)(scene)

    return attempt


def connect(scene: Scene) -> Any:
    return scene.kms.connect_custom_key_store(CustomKeyStoreId=scene.ids["payments"])


def create(**members: Any) -> Callable[[Scene], Any]:
    """A request to create a store in the cluster of payments."""

    def attempt(scene: Scene) -> Any:
        request = {
            "CustomKeyStoreName": "ledger",
            "CustomKeyStoreType": "AWS_CLOUDHSM",
            "CloudHsmClusterId": scene.cluster_id,
            "TrustAnchorCertificate": scene.cluster()["Certificates"]["ClusterCertificate"],
            "KeyStorePassword": "ToldToKms1",
            **members,
        }
        return scene.kms.create_custom_key_store(**request)

    return attempt


def refuse(operation: str, error: str) -> Callable[[Scene], None]:
    """KMS refuses one request with this."""
    return lambda scene: scene.control.add_fault(operation, error=error)


def credentials_expire(scene: Scene) -> None:
    refuse("ConnectCustomKeyStore", "ExpiredTokenException")(scene)
    scene.reader.names["https://kms.us-east-1.amazonaws.com"] = scene.ansible.environment["AWS_URL"]


def change_the_hsm_type(scene: Scene) -> None:
    scene.control.set_cluster(scene.cluster_id, state="MODIFY_IN_PROGRESS")


def cluster_is_active(scene: Scene) -> None:
    scene.control.set_cluster(scene.cluster_id, state="ACTIVE")


def delete_one_hsm(scene: Scene) -> None:
    scene.control.set_cluster(scene.cluster_id, active_hsms=1)
    (scene.ansible.folder / f"{scene.cluster_id}.hsms").write_text("us-east-1a")


def clusters_must_exist(scene: Scene) -> None:
    scene.control.set_rule("clusters_must_exist", True)


def make_an_unrelated_cluster(scene: Scene) -> None:
    scene.reader.names["cluster-7f65g4edcba"] = scene.control.create_cluster()


def give_the_unrelated_cluster(scene: Scene) -> Any:
    return update(CloudHsmClusterId=scene.reader.names["cluster-7f65g4edcba"])(scene)


def sign_with_a_certificate(scene: Scene) -> None:
    """No key store yet; the cluster has a certificate of customerCA.crt, and the file is another one."""
    scene.kms.delete_custom_key_store(CustomKeyStoreId=scene.ids["payments"])
    for name in ("right", "customerCA"):
        subject = f"/CN={name}"
        command = ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null"]
        subprocess.run(
            [*command, "-subj", subject, "-out", str(scene.ansible.folder / f"{name}.crt")],
            check=True,
            capture_output=True,
        )
    certificate = (scene.ansible.folder / "right.crt").read_text()
    scene.control.set_cluster(scene.cluster_id, certificate=certificate)
    scene.control.change_kmsuser_password(scene.cluster_id, SECRETS["KMSUSER_PASSWORD"])


def create_with_the_wrong_certificate(scene: Scene) -> Any:
    certificate = (scene.ansible.folder / "customerCA.crt").read_text()
    return create(TrustAnchorCertificate=certificate)(scene)


def find_the_certificate(scene: Scene) -> None:
    (scene.ansible.folder / "right.crt").rename(scene.ansible.folder / "customerCA.crt")


def make_a_key(scene: Scene) -> None:
    in_service(scene)
    key = scene.kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId=scene.ids["payments"])
    scene.reader.names["1234abcd-12ab-34cd-56ef-1234567890ab"] = key["KeyMetadata"]["KeyId"]
    scene.disconnect("payments")


def delete_the_store(scene: Scene) -> Any:
    return scene.kms.delete_custom_key_store(CustomKeyStoreId=scene.ids["payments"])


def a_month_passes(scene: Scene) -> None:
    scene.control.advance(31 * 86400)


def payments_is_gone(scene: Scene) -> bool:
    return not scene.kms.describe_custom_key_stores()["CustomKeyStores"]


def take_the_name(scene: Scene) -> None:
    in_service(scene)
    scene.control.create_store(custom_key_store_name="ledger")
    scene.reader.names["cks-1234567890abcdef0"] = scene.ids["payments"]


def fill_the_quota(scene: Scene) -> None:
    in_service(scene)
    scene.control.create_store(custom_key_store_name="obsolete")
    scene.control.set_rule("custom_key_store_quota", 2)


def there_is_room(scene: Scene) -> bool:
    return bool(
        create(CloudHsmClusterId=scene.control.create_cluster(certificate=PEM), TrustAnchorCertificate=PEM)(scene)
    )


def break_while_in_service(scene: Scene) -> None:
    in_service(scene)
    delete_the_hsms(scene)


def use(scene: Scene) -> Any:
    return scene.kms.generate_random(NumberOfBytes=1, CustomKeyStoreId=scene.ids["payments"])


def get_the_wrong_credential(scene: Scene) -> None:
    """The operator has one that the proxy does not accept."""
    scene.external_store()
    scene.control.set_proxy(
        f"https://{own_address()}",
        access_key_id=KEYS.access_key_id,
        raw_secret_access_key=KEYS.raw_secret_access_key,
    )
    scene.ansible.environment["XKS_SECRET_ACCESS_KEY"] = WRONG["RawSecretAccessKey"]


def get_the_right_credential(scene: Scene) -> None:
    scene.ansible.environment["XKS_SECRET_ACCESS_KEY"] = KEYS.raw_secret_access_key
    (scene.ansible.folder / "state.sh").unlink()  # what the shell knows


def take_the_path(scene: Scene) -> None:
    scene.external_store(path="/other/kms/xks/v1")
    scene.control.create_store(
        custom_key_store_name="archive",
        custom_key_store_type="EXTERNAL_KEY_STORE",
        parameters={"XksProxyUriEndpoint": f"https://{own_address()}", "XksProxyUriPath": PATH},
    )


def hide_the_external_key(scene: Scene) -> None:
    scene.external_store()
    scene.control.set_proxy(f"https://{own_address()}", external_keys=["invoices-2026"])


def mend_the_external_key(scene: Scene) -> None:
    scene.control.set_proxy(f"https://{own_address()}", external_keys=["invoices-2026", "ledger-2026"])


def make_the_role(scene: Scene) -> None:
    policy = {"Version": "2012-10-17", "Statement": []}
    scene.client("iam").create_role(RoleName="key-store-operator", AssumeRolePolicyDocument=json.dumps(policy))


def be_disconnected_by_somebody(scene: Scene) -> None:
    in_service(scene)
    scene.disconnect("payments")


def create_a_key(scene: Scene) -> Any:
    return scene.kms.create_key(
        Origin="EXTERNAL_KEY_STORE", CustomKeyStoreId=scene.ids["invoices"], XksKeyId="ledger-2026"
    )


CASES = {
    "runbook_internal_error": Case(
        kms_once_meets("INTERNAL_ERROR"), seen=("nothing was found",), code="INTERNAL_ERROR"
    ),
    "runbook_network_errors": Case(
        close_the_security_group, seen=("a connect would fail with NETWORK_ERRORS", "[]"), code="NETWORK_ERRORS"
    ),
    "runbook_cluster_not_found": Case(delete_the_cluster, code="CLUSTER_NOT_FOUND"),
    "runbook_subnet_not_found": Case(delete_a_subnet, seen=("InvalidSubnetID.NotFound",), code="SUBNET_NOT_FOUND"),
    "runbook_insufficient_cloudhsm_hsms": Case(delete_the_hsms, seen=("[]",), code="INSUFFICIENT_CLOUDHSM_HSMS"),
    "runbook_insufficient_free_addresses_in_subnet": Case(
        fill_a_subnet, seen=("0",), code="INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET"
    ),
    "runbook_invalid_credentials_cloudhsm": Case(
        change_the_password, seen=('"mfa": []', '"locked": "false"'), code="INVALID_CREDENTIALS"
    ),
    "runbook_user_locked_out": Case(lock_kmsuser, seen=('"locked": "true"',), code="USER_LOCKED_OUT"),
    "runbook_user_logged_in": Case(log_in_as_kmsuser, log_out_as_kmsuser, seen=("CN_LOGIN",), code="USER_LOGGED_IN"),
    "runbook_user_not_found": Case(
        delete_kmsuser, seen=("a connect would fail with USER_NOT_FOUND",), code="USER_NOT_FOUND"
    ),
    "runbook_invalid_credentials_external": Case(
        replace_the_credential,
        seen=("Credential of the proxy", "passed"),
        store="invoices",
        code="INVALID_CREDENTIALS",
        proxy={},
    ),
    "runbook_xks_proxy_access_denied": Case(
        external("AccessDeniedException"),
        mend_the_proxy,
        seen=("a connect would fail with XKS_PROXY_ACCESS_DENIED",),
        store="invoices",
        code="XKS_PROXY_ACCESS_DENIED",
        proxy={"denied": True},
    ),
    "runbook_xks_proxy_invalid_configuration": Case(
        external("InvalidUriPathException", path="/other/kms/xks/v1"),
        mend_the_proxy,
        seen=("401",),
        store="invoices",
        code="XKS_PROXY_INVALID_CONFIGURATION",
        proxy={},
    ),
    "runbook_xks_proxy_invalid_response": Case(
        external("MalformedResponse"),
        mend_the_proxy,
        seen=("{}", "200"),
        store="invoices",
        code="XKS_PROXY_INVALID_RESPONSE",
        proxy={"status": 200, "body": b"{}"},
    ),
    "runbook_xks_proxy_invalid_tls_configuration": Case(
        external("InvalidTls"),
        mend_the_proxy,
        seen=("Certificate of the proxy", "notAfter=", "issuer="),
        store="invoices",
        code="XKS_PROXY_INVALID_TLS_CONFIGURATION",
        proxy={"certificate": Certificate.EXPIRED},
    ),
    "runbook_xks_proxy_not_reachable": Case(
        external(reachable=False),
        mend_the_proxy,
        seen=("Failed to connect",),
        store="invoices",
        code="XKS_PROXY_NOT_REACHABLE",
    ),
    "runbook_xks_proxy_timed_out": Case(
        external("TimedOut"),
        mend_the_proxy,
        seen=("a connect would fail with XKS_PROXY_TIMED_OUT",),
        store="invoices",
        code="XKS_PROXY_TIMED_OUT",
        proxy={"seconds": 0.4},
    ),
    "runbook_xks_vpc_endpoint_service_invalid_configuration": Case(
        behind_a_service("XksProxyVpcEndpointServiceInvalidConfigurationException"),
        seen=("true",),
        store="invoices",
        code="XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION",
        between={2: the_service_is_set_up},
    ),
    "runbook_xks_vpc_endpoint_service_not_found": Case(
        behind_a_service("XksProxyVpcEndpointServiceNotFoundException", "com.amazonaws.vpce.us-east-1.vpce-svc-gone"),
        mend_the_proxy,
        seen=("Available",),
        store="invoices",
        code="XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND",
    ),
    "runbook_accessdeniedexception": Case(
        refuse("ConnectCustomKeyStore", "AccessDeniedException"),
        make_the_role,
        refused=(connect, "AccessDeniedException"),
    ),
    "runbook_expiredtokenexception": Case(
        credentials_expire, seen=("Account",), refused=(connect, "ExpiredTokenException")
    ),
    "runbook_customkeystoreinvalidstateexception": Case(
        be_disconnected_by_somebody,
        seen=("DISCONNECTED", "DisconnectCustomKeyStore"),
        refused=(use, "CustomKeyStoreInvalidStateException"),
    ),
    "runbook_kmsinternalexception": Case(
        break_while_in_service,
        seen=("does not work", "INSUFFICIENT_CLOUDHSM_HSMS"),
        refused=(use, "DependencyTimeoutException"),
    ),
    "runbook_cloudhsmclusternotactiveexception": Case(
        change_the_hsm_type,
        cluster_is_active,
        seen=("MODIFY_IN_PROGRESS",),
        refused=(connect, "CloudHsmClusterNotActiveException"),
    ),
    "runbook_cloudhsmclusterinvalidconfigurationexception": Case(
        delete_one_hsm,
        seen=("ACTIVE",),
        refused=(update(KeyStorePassword="ToldToKms1"), "CloudHsmClusterInvalidConfigurationException"),
    ),
    "runbook_cloudhsmclusternotfoundexception": Case(
        clusters_must_exist,
        seen=("ACTIVE",),
        refused=(update(CloudHsmClusterId="cluster-22222222222"), "CloudHsmClusterNotFoundException"),
    ),
    "runbook_cloudhsmclusternotrelatedexception": Case(
        make_an_unrelated_cluster,
        seen=("None",),
        refused=(give_the_unrelated_cluster, "CloudHsmClusterNotRelatedException"),
    ),
    "runbook_cloudhsmclusterinuseexception": Case(
        in_service, seen=("cluster-2a34b5cdefg",), refused=(create(), "CloudHsmClusterInUseException")
    ),
    "runbook_incorrecttrustanchorexception": Case(
        sign_with_a_certificate,
        find_the_certificate,
        seen=("verification failed",),
        refused=(create_with_the_wrong_certificate, "IncorrectTrustAnchorException"),
    ),
    "runbook_customkeystorehascmksexception": Case(
        make_a_key,
        in_service,
        seen=("last_usage:",),
        refused=(delete_the_store, "CustomKeyStoreHasCMKsException"),
        between={1: a_month_passes},
        ends=payments_is_gone,
    ),
    "runbook_customkeystorenameinuseexception": Case(
        take_the_name,
        seen=("ledger",),
        store="ledger-2",
        refused=(update(NewCustomKeyStoreName="ledger"), "CustomKeyStoreNameInUseException"),
    ),
    "runbook_limitexceededexception": Case(
        fill_the_quota,
        seen=("DISCONNECTED",),
        refused=(there_is_room, "LimitExceededException"),
        ends=there_is_room,
    ),
    "runbook_xksproxyincorrectauthenticationcredentialexception": Case(
        get_the_wrong_credential,
        get_the_right_credential,
        seen=("refuses the signature",),
        store="invoices",
        refused=(
            update("invoices", XksProxyAuthenticationCredential=WRONG),
            "XksProxyIncorrectAuthenticationCredentialException",
        ),
        proxy={},
    ),
    "runbook_xksproxyuriunreachableexception": Case(
        external(reachable=False),
        mend_the_proxy,
        seen=("Failed to connect",),
        store="invoices",
        refused=(update_proxy(XksProxyUriPath="/other/kms/xks/v1"), "XksProxyUriUnreachableException"),
    ),
    "runbook_xksproxyinvalidconfigurationexception": Case(
        external("InvalidUriPathException", path="/other/kms/xks/v1"),
        mend_the_proxy,
        seen=("401", "errorName"),
        store="invoices",
        refused=(update_proxy(XksProxyUriPath="/wrong/kms/xks/v1"), "XksProxyInvalidConfigurationException"),
        proxy={},
    ),
    "runbook_xksproxyvpcendpointserviceinvalidconfigurationexception": Case(
        behind_a_service("XksProxyVpcEndpointServiceInvalidConfigurationException"),
        seen=("true",),
        store="invoices",
        refused=(
            update_proxy(XksProxyUriPath="/other/kms/xks/v1"),
            "XksProxyVpcEndpointServiceInvalidConfigurationException",
        ),
        between={2: the_service_is_set_up},
    ),
    "runbook_xksproxyuriinuseexception": Case(
        take_the_path,
        seen=("https://xks.example.com",),
        store="invoices",
        refused=(update_proxy(XksProxyUriPath=PATH), "XksProxyUriInUseException"),
    ),
    "runbook_xkskeynotfoundexception": Case(
        hide_the_external_key,
        mend_the_external_key,
        seen=("xks_key_id",),
        store="invoices",
        refused=(create_a_key, "XksKeyNotFoundException"),
    ),
}

IN_MAKE_TEST = ("runbook_xks_proxy_invalid_tls_configuration",)
"""The others take make test too long."""

ON_PORT_443 = [page for page, case in CASES.items() if case.store == "invoices"]
MAKES_CLUSTERS = ("runbook_cluster_not_found", "runbook_subnet_not_found", "runbook_cloudhsmclusternotrelatedexception")


def marks(page: str) -> list[pytest.MarkDecorator]:
    needed = [needs_cluster_mode] if page in MAKES_CLUSTERS else []
    if page == "runbook_cloudhsmclusternotactiveexception":
        needed.append(needs_hsm_type_changes)
    if page in ON_PORT_443:
        needed.append(pytest.mark.skipif(not port_443_is_ours(), reason="needs port 443 of a loopback address"))
    return needed if page in IN_MAKE_TEST else [*needed, pytest.mark.long]


@contextlib.contextmanager
def proxy_of(scene: Scene, case: Case) -> Iterator[None]:
    """The real proxy, for as long as the page is followed."""
    if case.proxy is None:
        yield
        return
    folder = scene.ansible.folder / "proxy"
    with proxy(folder, address=own_address(), port=443, credential=KEYS, **case.proxy) as running:
        ca_file = str(running.ca_file)
        scene.ansible.environment |= {"SSL_CERT_FILE": ca_file, "CURL_CA_BUNDLE": ca_file}
        yield


def tolerant(text: str) -> str:
    """Commands for a shell, which may fail: a diagnosis finds something, and says so."""
    return f"set +e\n{text}\nset -e"


def diagnose(scene: Scene, text: str) -> str:
    """Do what a section says to look at. Returns what is seen."""
    seen = ""
    for block in blocks_of(text):
        seen += scene.reader.write(block) if block.caption else scene.reader.shell(tolerant(block.text))
    return seen


def act(scene: Scene, text: str, between: dict[int, Callable[[Scene], None]]) -> str:
    """Do what a section says to do: all of it must succeed. Returns what is seen."""
    seen = ""
    for number, block in enumerate(blocks_of(text)):
        between.get(number, nothing)(scene)
        if block.kind == "file":
            seen += scene.reader.write(block)
        elif block.kind == "tasks":
            seen += scene.reader.run_tasks(block.text)
        else:
            seen += scene.reader.shell(block.text)
    return seen


@pytest.mark.parametrize("page", [pytest.param(page, marks=marks(page)) for page in CASES])
def test_a_runbook_brings_the_store_back(ansible: Ansible, page: str) -> None:
    scene, case, parts = Scene(ansible), CASES[page], sections(page)
    with proxy_of(scene, case):
        case.break_(scene)
        if case.code:
            assert scene.connect(case.store)["ConnectionErrorCode"] == case.code
        if case.refused is not None:
            attempt, error_code = case.refused
            with pytest.raises(botocore.exceptions.ClientError) as refusal:
                attempt(scene)
            assert refusal.value.response["Error"]["Code"] == error_code
        output = diagnose(scene, parts["Diagnosis"])
        for seen in case.seen:
            assert f"``{seen}``" in " ".join(parts["Diagnosis"].split()), seen
            assert scene.reader.named(seen) in output, output
        case.repair(scene)
        done = act(scene, parts["What to do"], case.between)
    if case.ends is not None:
        assert case.ends(scene), done
    else:
        assert scene.store(case.store)["ConnectionState"] == "CONNECTED", done
        assert "verified: true" in done
    for secret in (*SECRETS.values(), KEYS.raw_secret_access_key):
        assert secret not in output + done


@pytest.mark.parametrize("page", PAGES)
def test_a_runbook_has_four_sections(page: str) -> None:
    parts = sections(page)
    assert list(parts) == SECTIONS
    assert all(text.strip() for text in parts.values())
    assert f".. _ansible_collections.keyops.aws.docsite.{page}:\n" in text_of(page)
    for title in ("Diagnosis", "What to do"):
        assert blocks_of(parts[title]), title


def test_all_of_each_runbook_is_followed() -> None:
    assert sorted(CASES) == PAGES
    for page in PAGES:
        assert {block.kind for block in all_blocks(page)} <= {"shell", "file", "tasks"}, page
        assert text_of(page).count(".. code-block::") == len(all_blocks(page)), page
