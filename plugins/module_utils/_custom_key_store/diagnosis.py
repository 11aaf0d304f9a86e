# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What went wrong and what to do: connection error codes and the exceptions of the operations.

The codes and remedies come from KMS's model and from the KMS developer guide, "Troubleshooting a custom key store".
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from typing import Mapping
from typing import Tuple

from .model import AWS_CLOUDHSM
from .model import EXTERNAL_KEY_STORE
from .version import DOCUMENTATION_URL

_DISCONNECT = "Disconnect the custom key store (state=disconnected)."
_CONNECT = "Connect the custom key store (state=connected)."
_RECONNECT = "Connect the custom key store again (state=connected). If it is FAILED, the task disconnects it first."
_TELL_KMS = "Tell KMS that password (key_store_password with update_credentials=always)."
_TELL_CLUSTER = "Tell KMS the id of that cluster (cloud_hsm_cluster_id)."
_SET_PASSWORD = "As an admin of the cluster, set a new password for kmsuser (cloudhsm-cli user change-password)"  # noqa: S105


def address_of(page: str) -> str:
    """The URL of a page of the documentation, by its name in docs/docsite/rst."""
    return f"{DOCUMENTATION_URL}/docsite/{page}.html"


@dataclass(frozen=True)
class ConnectionFailure:
    """Why a custom key store is FAILED.

    Attributes:
        code: C(ConnectionErrorCode) of KMS's model.
        cause: one sentence.
        remedy: what to do, step by step.
        may_lock_kmsuser: another attempt with the same password may lock C(kmsuser) out of its cluster (R13).
        page: the name of the page about it, if that is not the runbook with the name of the code.
    """

    code: str
    cause: str
    remedy: Tuple[str, ...]
    may_lock_kmsuser: bool = False
    page: str = ""

    @property
    def guide(self) -> str:
        """The URL of the page about it."""
        return address_of(self.page or f"runbook_{self.code.lower()}")

    def to_result(self) -> dict[str, Any]:
        return {"code": self.code, "cause": self.cause, "remedy": list(self.remedy), "guide": self.guide}

    def __str__(self) -> str:
        steps = " ".join(f"({number}) {step}" for number, step in enumerate(self.remedy, 1))
        return f"{self.code}: {self.cause} What to do: {steps} See {self.guide}."


def _codes(*failures: ConnectionFailure) -> Mapping[str, ConnectionFailure]:
    return {failure.code: failure for failure in failures}


_BOTH = _codes(
    ConnectionFailure(
        "INTERNAL_ERROR",
        "KMS could not complete the request because of a fault of its own.",
        (_RECONNECT, "If it fails again with this code, ask AWS Support."),
    ),
    ConnectionFailure(
        "NETWORK_ERRORS",
        "Network errors keep KMS from reaching the backing key store.",
        ("Wait a few minutes.", _RECONNECT, "If it fails again, check the network between KMS and the key store."),
    ),
)

_CLOUDHSM = _codes(
    ConnectionFailure(
        "CLUSTER_NOT_FOUND",
        "KMS cannot find the CloudHSM cluster with the cluster id of this key store.",
        (
            "Check that the cluster was not deleted; if it was, create one from a recent backup, with at least two HSMs.",
            _DISCONNECT,
            _TELL_CLUSTER,
            _CONNECT,
        ),
    ),
    ConnectionFailure(
        "INSUFFICIENT_CLOUDHSM_HSMS",
        "The CloudHSM cluster has no active HSM; to connect, it needs at least one.",
        ("Add at least one HSM to the cluster and wait until it is ACTIVE.", _RECONNECT),
    ),
    ConnectionFailure(
        "INSUFFICIENT_FREE_ADDRESSES_IN_SUBNET",
        "A private subnet of the CloudHSM cluster has no free IP address; KMS needs one in each of them, better two.",
        (
            "Free IP addresses in the private subnets of the cluster,"
            " or create a cluster in other subnets from a recent backup and tell KMS its id while disconnected.",
            _RECONNECT,
        ),
    ),
    ConnectionFailure(
        "SUBNET_NOT_FOUND",
        "A private subnet of the CloudHSM cluster was deleted; a cluster cannot be moved to another subnet.",
        (
            "Create a cluster with private subnets in two Availability Zones from a recent backup, with at least two HSMs.",
            _DISCONNECT,
            _TELL_CLUSTER,
            _CONNECT,
        ),
    ),
    ConnectionFailure(
        "INVALID_CREDENTIALS",
        "The password that KMS has for kmsuser is not the one that kmsuser has in the CloudHSM cluster.",
        (
            _DISCONNECT,
            f"{_SET_PASSWORD}.",
            _TELL_KMS,
            _CONNECT,
        ),
        may_lock_kmsuser=True,
        page="runbook_invalid_credentials_cloudhsm",
    ),
    ConnectionFailure(
        "USER_LOCKED_OUT",
        "kmsuser is locked out of the CloudHSM cluster after too many logins with a wrong password.",
        (
            _DISCONNECT,
            f"{_SET_PASSWORD}, which unlocks it.",
            _TELL_KMS,
            _CONNECT,
        ),
        may_lock_kmsuser=True,
    ),
    ConnectionFailure(
        "USER_LOGGED_IN",
        "Somebody is logged in to the CloudHSM cluster as kmsuser, which only KMS may be while it connects.",
        (
            _DISCONNECT,
            "Log kmsuser out of the cluster.",
            "If kmsuser's password was changed meanwhile: " + _TELL_KMS,
            _CONNECT,
        ),
        may_lock_kmsuser=True,
    ),
    ConnectionFailure(
        "USER_NOT_FOUND",
        "There is no crypto user kmsuser in the CloudHSM cluster.",
        (
            _DISCONNECT,
            "As an admin of the cluster, create the crypto user kmsuser on all HSMs (cloudhsm-cli user create), without a second"
            " factor.",
            _TELL_KMS,
            _CONNECT,
        ),
        may_lock_kmsuser=True,
    ),
)

_EXTERNAL = _codes(
    ConnectionFailure(
        "INVALID_CREDENTIALS",
        "The external key store proxy does not accept the authentication credential that KMS signs its requests with.",
        (
            _DISCONNECT,
            "Tell KMS the proxy's credential (access_key_id and raw_secret_access_key, with update_credentials=always where"
            " only the secret is another).",
            _CONNECT,
        ),
        page="runbook_invalid_credentials_external",
    ),
    ConnectionFailure(
        "XKS_PROXY_ACCESS_DENIED",
        "The external key store proxy refuses KMS's requests.",
        ("In the proxy, check the authorization rules for this key store and for KMS.", _RECONNECT),
    ),
    ConnectionFailure(
        "XKS_PROXY_INVALID_CONFIGURATION",
        "The external key store proxy is not set up for this key store; often the URI path is wrong.",
        (
            "Compare the key store's URI path with the one that the proxy serves.",
            "Fix the one that is wrong.",
            _RECONNECT,
        ),
    ),
    ConnectionFailure(
        "XKS_PROXY_INVALID_RESPONSE",
        "KMS does not understand what the external key store proxy answers.",
        (_RECONNECT, "If it fails again with this code, report it to the vendor of the proxy."),
    ),
    ConnectionFailure(
        "XKS_PROXY_INVALID_TLS_CONFIGURATION",
        "KMS cannot set up a TLS connection to the external key store proxy.",
        (
            "Check that the proxy speaks TLS 1.2 or 1.3 and that its certificate has not expired,"
            " names the proxy's host, and comes from a certificate authority that KMS trusts.",
            _RECONNECT,
        ),
    ),
    ConnectionFailure(
        "XKS_PROXY_NOT_REACHABLE",
        "KMS cannot reach the external key store proxy, or the proxy reaches none of its key managers.",
        (
            "Check that the proxy and its key managers are up, and that the key store's URI endpoint and path are right.",
            _RECONNECT,
        ),
    ),
    ConnectionFailure(
        "XKS_PROXY_TIMED_OUT",
        "The external key store proxy does not answer within the 250 milliseconds that KMS waits.",
        ("Find out what slows the proxy or the way to it down; ask its vendor.", _RECONNECT),
    ),
    ConnectionFailure(
        "XKS_VPC_ENDPOINT_SERVICE_INVALID_CONFIGURATION",
        "The VPC endpoint service of the external key store proxy is not set up as KMS needs it.",
        (
            "Check the service: a Network Load Balancer in at least two Availability Zones, no acceptance required,"
            " the KMS principal of the Region allowed, and a verified private DNS name that is the host of the URI endpoint.",
            _RECONNECT,
        ),
    ),
    ConnectionFailure(
        "XKS_VPC_ENDPOINT_SERVICE_NOT_FOUND",
        "KMS cannot find the VPC endpoint service of the external key store proxy.",
        (
            "Check that the service exists, that the key store has its name, and that it allows the KMS principal"
            " of the Region (cks.kms.REGION.amazonaws.com).",
            _RECONNECT,
        ),
    ),
)

_FAILURES = {AWS_CLOUDHSM: {**_BOTH, **_CLOUDHSM}, EXTERNAL_KEY_STORE: {**_BOTH, **_EXTERNAL}}


def diagnose(code: str, store_type: str) -> ConnectionFailure:
    """Diagnose a C(ConnectionErrorCode): the remedy depends on the type of the key store.

    Args:
        code: one of the 18 codes of KMS's model. A newer code gets a generic text.
        store_type: C(AWS_CLOUDHSM) or C(EXTERNAL_KEY_STORE).
    """
    unknown = ConnectionFailure(
        code,
        "KMS gives a reason that this version of keyops.aws does not know.",
        ("Look the code up in the KMS developer guide, under troubleshooting custom key stores.", _RECONNECT),
        page="guide_failed",
    )
    return _FAILURES[store_type].get(code, unknown)


_ROLE = "Custom key stores are governed by IAM policies alone and cannot be used from another account."

_ON_KEYS = (
    *("DescribeKey", "GetKeyLastUsage", "GetKeyPolicy", "ListResourceTags", "ScheduleKeyDeletion"),
    *("CreateAlias", "UpdateAlias", "Encrypt"),
)
_KEY_POLICY = (
    "The caller may not do this. Allow {action} in the key policy, or in an IAM policy of the caller where the key policy"
    " leaves that to IAM."
)

_NEW_CREDENTIALS = (
    "Get new credentials, and run the task again. KMS continues the operations that it has accepted, and the task continues from"
    " the current state. If a maintenance window was cut short, run its play with --tags reconnect to reconnect the key stores."
)

_DEAD_CLUSTER = (
    "KMS returns this error if KMS has a fault. It also returns it if the cluster behind the custom key store does not answer,"
    " although the store is CONNECTED. Check that the cluster is ACTIVE and has active HSMs, and that its security group"
    " lets TCP 2223 to 2225 through to itself. If all is well, see the AWS Health Dashboard."
)

_DEAD_PROXY = (
    "KMS returns this error if the external key store proxy or its key manager does not answer, or if the external key is deleted"
    " or disabled, although the store is CONNECTED. It also returns it if KMS has a fault. Check that the proxy and the key"
    " manager run, and that the external key is enabled. If all is well, see the AWS Health Dashboard."
)

_EXCEPTIONS: Mapping[str, str] = {
    "CloudHsmClusterInUseException": (
        "The CloudHSM cluster backs another custom key store already, or shares a backup history with one that does."
        " Give a cluster of its own in cloud_hsm_cluster_id."
    ),
    "CloudHsmClusterInvalidConfigurationException": (
        "The CloudHSM cluster of the custom key store is not set up as KMS needs it."
        " Check that the cluster has private subnets in two Availability Zones, a security group that lets TCP 2223 to 2225"
        " through to itself, and enough active HSMs: one to connect, two in different zones to create or change a store."
    ),
    "CloudHsmClusterNotActiveException": (
        "The CloudHSM cluster of the custom key store is not active. Look at its state: where it is being updated, modified or"
        " rolled back (such as MODIFY_IN_PROGRESS), wait until it is ACTIVE; initialize and activate one that is UNINITIALIZED."
        " Check that it has an active HSM, and run the task again."
    ),
    "CloudHsmClusterNotFoundException": (
        "There is no CloudHSM cluster with this id in the account and Region of the task. Correct cloud_hsm_cluster_id."
    ),
    "CloudHsmClusterNotRelatedException": (
        "The CloudHSM cluster has another certificate than the cluster that holds the keys of the custom key store."
        " In cloud_hsm_cluster_id, give a cluster that was created from a backup of the old cluster."
    ),
    "CustomKeyStoreHasCMKsException": (
        "The custom key store still holds KMS keys, those whose deletion is pending included. Schedule the deletion of those"
        " that you are sure not to need any more, and run the task again when all are gone."
    ),
    "CustomKeyStoreNameInUseException": (
        "Another custom key store of the account and Region has this name. Give another name."
    ),
    "IncorrectTrustAnchorException": (
        "The certificate is not that of the CloudHSM cluster."
        " Give the content of the customerCA.crt with which the cluster was initialized in trust_anchor_certificate."
    ),
    "LimitExceededException": (
        "The account has as many custom key stores in this Region as its quota allows."
        " Delete one that is not needed, or ask AWS for a higher quota."
    ),
    "XksProxyIncorrectAuthenticationCredentialException": (
        "The external key store proxy does not accept the credential."
        " Correct access_key_id and raw_secret_access_key, or the uri_path that tells the proxy which key store it is."
    ),
    "XksProxyInvalidConfigurationException": (
        "The external key store proxy is not set up as KMS needs it. Compare uri_endpoint and uri_path with the proxy's set-up."
    ),
    "XksProxyInvalidResponseException": (
        "KMS does not understand what the external key store proxy answers."
        " Run the task again; if it lasts, report it to the vendor of the proxy."
    ),
    "XksProxyUriEndpointInUseException": (
        "Another external key store of this Region uses this endpoint. Give another uri_endpoint, or find out which it is."
    ),
    "XksProxyUriInUseException": (
        "Another external key store of this Region uses this endpoint and path. Give another uri_path."
    ),
    "XksProxyUriUnreachableException": (
        "KMS does not reach the external key store proxy there, or the proxy reaches none of its key managers."
        " Check that both are up, and correct uri_endpoint and uri_path."
    ),
    "XksProxyVpcEndpointServiceInUseException": (
        "Another external key store of this Region uses this VPC endpoint service."
        " Give a service of its own in vpc_endpoint_service_name."
    ),
    "XksProxyVpcEndpointServiceInvalidConfigurationException": (
        "The VPC endpoint service is not set up as KMS needs it: a Network Load Balancer in at least two Availability Zones,"
        " no acceptance required, the KMS principal of the Region allowed, and a verified private DNS name that is the host"
        " of uri_endpoint. Fix the service."
    ),
    "XksProxyVpcEndpointServiceNotFoundException": (
        "KMS does not find the VPC endpoint service. Correct vpc_endpoint_service_name and vpc_endpoint_service_owner, and"
        " check that the service allows the KMS principal of the Region (cks.kms.REGION.amazonaws.com)."
    ),
    "CustomKeyStoreInvalidStateException": (
        "KMS does not do this in the connection state that the custom key store is in."
        " Somebody else is changing it: find out who, and run the task again."
    ),
    "CustomKeyStoreNotFoundException": (
        "The custom key store is not there any more: somebody deleted it, or changed its name, while this task ran."
        " Find out who, and run the task again."
    ),
    "InvalidMarkerException": "KMS did not accept its own marker for the next page. Run the task again.",
    "KMSInvalidStateException": (
        "The state of the KMS key does not allow this. Look at its key state, and at the connection state of its custom key"
        " store."
    ),
    "MalformedPolicyDocumentException": "KMS does not accept the key policy. Correct policy.",
    "NotFoundException": (
        "KMS finds no such KMS key or alias in the account and Region. A new one may show late: run the task again."
    ),
    "TagException": "KMS does not accept the tags. Correct tags.",
    "XksKeyAlreadyInUseException": (
        "Another KMS key of the custom key store has this external key. Give another one in xks_key_id."
    ),
    "XksKeyInvalidConfigurationException": (
        "The external key is not such as a KMS key needs it: a symmetric AES_256 key that is enabled, for encryption and"
        " decryption. Fix it in the external key manager, or give another one in xks_key_id."
    ),
    "XksKeyNotFoundException": (
        "The external key store proxy does not find the external key. Create it in the external key manager, or correct"
        " xks_key_id."
    ),
    "KMSInternalException": "KMS has a fault of its own. Run the task again; if it lasts, look at AWS's health dashboard.",
    "DependencyTimeoutException": "A service that KMS depends on did not answer in time. Run the task again.",
    "ThrottlingException": (
        "KMS throttled the request until the time was up: it takes 5 a second of each of these operations,"
        " for the whole account and Region. Run fewer tasks at once, or give them a longer wait_timeout."
    ),
    "AccessDeniedException": "The caller may not do this. Allow {action} in an IAM policy of the caller. " + _ROLE,
    "UnrecognizedClientException": "AWS does not know these credentials. Check access_key, secret_key and session_token.",
    "InvalidClientTokenId": "AWS does not know these credentials. Check access_key, secret_key and session_token.",
    "InvalidSignatureException": (
        "AWS refused the signature of the request. Check secret_key, and that the clock of the managed host is right."
    ),
    **dict.fromkeys(("ExpiredTokenException", "ExpiredToken"), "The session token has expired. " + _NEW_CREDENTIALS),
    "RequestExpired": (
        "The request was too old when it arrived: the session token has expired, or the clock of the managed host is wrong. "
        + _NEW_CREDENTIALS
    ),
    "ValidationException": "KMS refused a value. Compare the task's options with the message of KMS.",
    "UnsupportedOperationException": "KMS does not offer this for this custom key store.",
}


_OF_OPERATIONS: Mapping[Tuple[str, str], str] = {
    ("CreateKey", "CustomKeyStoreInvalidStateException"): (
        "KMS creates keys only in a custom key store that is CONNECTED, and whose external key store proxy, if it has one,"
        " answers. Look at its connection state; if it is CONNECTED, check that the proxy and its key manager are up."
    ),
    ("CreateKey", "LimitExceededException"): (
        "The account has as many KMS keys in this Region as its quota allows. Delete some that are not needed, or ask AWS for a"
        " higher quota."
    ),
    ("CreateKey", "UnsupportedOperationException"): (
        "KMS does not offer this for a KMS key in this custom key store. Compare the task's options with the message of KMS."
    ),
    ("GenerateRandom", "KMSInternalException"): _DEAD_CLUSTER,
    ("GenerateRandom", "DependencyTimeoutException"): _DEAD_CLUSTER,
    ("Encrypt", "KMSInternalException"): _DEAD_PROXY,
    ("Encrypt", "DependencyTimeoutException"): _DEAD_PROXY,
    ("Encrypt", "KMSInvalidStateException"): _DEAD_PROXY,
    ("CreateAlias", "LimitExceededException"): "The KMS key has as many aliases as its quota allows. Delete one.",
}
"""The meaning of an error code for one operation, if it differs from the meaning for the others."""


_RUNBOOKS: Mapping[str, str] = {
    **{
        code: f"runbook_{code.lower()}"
        for code in (
            *("AccessDeniedException", "CustomKeyStoreHasCMKsException", "CustomKeyStoreNameInUseException"),
            *("CloudHsmClusterInUseException", "CloudHsmClusterInvalidConfigurationException"),
            *("CloudHsmClusterNotActiveException", "CloudHsmClusterNotFoundException"),
            *("CloudHsmClusterNotRelatedException", "IncorrectTrustAnchorException", "LimitExceededException"),
            *("XksProxyIncorrectAuthenticationCredentialException", "XksProxyUriUnreachableException"),
        )
    },
    **dict.fromkeys(
        ("CustomKeyStoreInvalidStateException", "CustomKeyStoreNotFoundException"),
        "runbook_customkeystoreinvalidstateexception",
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
        + ("InvalidClientTokenId", "InvalidSignatureException", "UnrecognizedClientException"),
        "runbook_expiredtokenexception",
    ),
    **dict.fromkeys(
        ("KMSInternalException", "DependencyTimeoutException", "KMSInvalidStateException"),
        "runbook_kmsinternalexception",
    ),
    **dict.fromkeys(
        ("XksKeyNotFoundException", "XksKeyInvalidConfigurationException", "XksKeyAlreadyInUseException"),
        "runbook_xkskeynotfoundexception",
    ),
    **dict.fromkeys(
        ("XksProxyInvalidConfigurationException", "XksProxyInvalidResponseException"),
        "runbook_xksproxyinvalidconfigurationexception",
    ),
    **dict.fromkeys(
        ("XksProxyUriInUseException", "XksProxyUriEndpointInUseException", "XksProxyVpcEndpointServiceInUseException"),
        "runbook_xksproxyuriinuseexception",
    ),
    **dict.fromkeys(
        ("XksProxyVpcEndpointServiceInvalidConfigurationException", "XksProxyVpcEndpointServiceNotFoundException"),
        "runbook_xksproxyvpcendpointserviceinvalidconfigurationexception",
    ),
}
"""The name of the page about each error code that a person has to fix. Codes with the same remedy share a page."""

_OTHER_QUOTAS = ("CreateAlias", "CreateKey")
"""Operations whose C(LimitExceededException) is not about the quota of custom key stores."""


def runbook_of(code: str, operation: str) -> str:
    """The name of the page about an error code of an operation; empty if there is none."""
    if code == "LimitExceededException" and operation in _OTHER_QUOTAS:
        return ""
    return _RUNBOOKS.get(code, "")


_ELSEWHERE = re.compile(r"\b(?:cloudhsm|iam|ec2):[A-Z][A-Za-z]+")
"""Actions of other services."""


def explain_exception(code: str, operation: str, message: str = "") -> str:
    """The cause and remedy of an error code that an operation returned, and the page about it if there is one.

    Args:
        code: C(Error.Code) of the answer.
        operation: of KMS's model, such as C(ConnectCustomKeyStore).
        message: C(Error.Message) of the answer. It may name an action of another service that the caller lacks: KMS describes the
            clusters with the caller's permissions (R21).
    """
    page = runbook_of(code, operation)
    text = _explained(code, operation, message)
    return f"{text} See {address_of(page)}." if page else text


def _explained(code: str, operation: str, message: str) -> str:
    action = _ELSEWHERE.search(message)
    if code == "AccessDeniedException" and action:
        return _EXCEPTIONS[code].replace("{action}", action[0])
    if code == "AccessDeniedException" and operation in _ON_KEYS:
        return _KEY_POLICY.replace("{action}", f"kms:{operation}")
    known = _OF_OPERATIONS.get((operation, code)) or _EXCEPTIONS.get(code)
    text = known or "Run the task again; if it lasts, look the code up in the KMS API reference."
    return text.replace("{action}", f"kms:{operation}")
