# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The properties of a custom key store: the options that set them, when they may change, and how KMS calls them.

The documentation of UpdateCustomKeyStore says what may change in which connection state. AWS's documents disagree on the
properties marked C(in_place): the task sends the change, and if KMS refuses it, the store must be disconnected (R6).
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Mapping
from typing import Optional
from typing import Tuple

from .model import AWS_CLOUDHSM
from .model import EXTERNAL_KEY_STORE
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore

XKS = "xks_proxy_configuration"
PUBLIC_ENDPOINT = "PUBLIC_ENDPOINT"
VPC_ENDPOINT_SERVICE = "VPC_ENDPOINT_SERVICE"
MASKED = "********"


@dataclass(frozen=True)
class Property:
    """One property that KMS describes and that UpdateCustomKeyStore can change.

    Attributes:
        option: of the module; those of C(xks_proxy_configuration) have its name and a dot before them.
        member: of UpdateCustomKeyStore.
        path: where DescribeCustomKeyStores reports it.
        in_place: may it change while the store is CONNECTED?
    """

    option: str
    member: str
    path: Tuple[str, ...]
    in_place: bool = False


def _xks(key: str, member: str, shown: str, *, in_place: bool = False) -> Property:
    return Property(f"{XKS}.{key}", member, ("XksProxyConfiguration", shown), in_place)


NAME = Property("name", "NewCustomKeyStoreName", ("CustomKeyStoreName",), in_place=True)
CLUSTER = Property("cloud_hsm_cluster_id", "CloudHsmClusterId", ("CloudHsmClusterId",))
CONNECTIVITY = _xks("connectivity", "XksProxyConnectivity", "Connectivity")
URI_ENDPOINT = _xks("uri_endpoint", "XksProxyUriEndpoint", "UriEndpoint")
URI_PATH = _xks("uri_path", "XksProxyUriPath", "UriPath", in_place=True)
SERVICE_NAME = _xks("vpc_endpoint_service_name", "XksProxyVpcEndpointServiceName", "VpcEndpointServiceName")
SERVICE_OWNER = _xks("vpc_endpoint_service_owner", "XksProxyVpcEndpointServiceOwner", "VpcEndpointServiceOwner")
COMPARED = (CLUSTER, CONNECTIVITY, URI_ENDPOINT, URI_PATH, SERVICE_NAME, SERVICE_OWNER)


@dataclass(frozen=True)
class Change:
    """One change that UpdateCustomKeyStore makes.

    Attributes:
        option: as in C(Property).
        member: of UpdateCustomKeyStore.
        value: of that member; may hold a secret.
        in_place: may it change while the store is CONNECTED?
        shown: the path and value in DescribeCustomKeyStores after the change; None if it never reports the value.
        secret: the option of the secret that is sent with it.
    """

    option: str
    member: str
    value: Any = field(repr=False)
    in_place: bool = False
    shown: Optional[Tuple[Tuple[str, ...], str]] = None
    secret: Optional[str] = None


# ---- checks of the options, before any request


@dataclass(frozen=True)
class _Rule:
    shortest: int
    longest: int
    pattern: str
    words: str


_RULES: Mapping[str, _Rule] = {
    "custom_key_store_id": _Rule(1, 64, r".*", "an id such as cks-1234567890abcdef0"),
    "name": _Rule(1, 256, r".*", "the custom key store's friendly name"),
    "cloud_hsm_cluster_id": _Rule(19, 24, r"cluster-[2-7a-zA-Z]{11,16}", "an id such as cluster-2a34b5cdefg"),
    "trust_anchor_certificate": _Rule(1, 5000, r".*", "the content of customerCA.crt"),
    "key_store_password": _Rule(7, 32, r".*", "the password of kmsuser"),
    f"{XKS}.uri_endpoint": _Rule(10, 128, r"https://[a-zA-Z0-9.-]+", "https:// and a host name, and nothing after it"),
    f"{XKS}.uri_path": _Rule(
        10, 128, r"(/[a-zA-Z0-9/_-]+)?/kms/xks/v\d{1,2}", "a path that begins with / and ends with /kms/xks/v1"
    ),
    f"{XKS}.vpc_endpoint_service_name": _Rule(
        20,
        64,
        r"(com|eu)\.amazonaws\.vpce\.([a-z]+-){2,3}\d+\.vpce-svc-[0-9a-z]+",
        "a name such as com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0",
    ),
    f"{XKS}.vpc_endpoint_service_owner": _Rule(12, 12, r"[0-9]{12}", "an account id of 12 digits, in quotes"),
    f"{XKS}.access_key_id": _Rule(20, 30, r"[A-Z2-7]+", "an access key id of A to Z and 2 to 7"),
    f"{XKS}.raw_secret_access_key": _Rule(43, 64, r"[a-zA-Z0-9/+=]+", "the secret that belongs to access_key_id"),
}
"""Lengths and patterns of KMS's model, and a hint."""

_CLOUDHSM_OPTIONS = ("cloud_hsm_cluster_id", "trust_anchor_certificate", "key_store_password")
_PLAIN_OPTIONS = ("custom_key_store_id", "name", "custom_key_store_type", *_CLOUDHSM_OPTIONS)


def desired_store(params: Mapping[str, Any]) -> DesiredStore:
    """Read the module's parameters, and check them against KMS's model and against each other before any request.

    Raises:
        CustomKeyStoreError: KMS would refuse a value, or options exclude each other.
    """
    given = _given_options(params)
    check_values(given)
    _check_type(given)
    _check_proxy(given)
    check_wait_timeout(params["wait_timeout"], ": to return without waiting for the end state, set wait=false")
    return DesiredStore(
        state=params["state"],
        custom_key_store_id=params["custom_key_store_id"],
        name=params["name"],
        wait=params["wait"],
        wait_timeout=params["wait_timeout"],
        update_credentials=params["update_credentials"],
        allow_disconnect=params["allow_disconnect"],
        given=given,
    )


def check_wait_timeout(seconds: int, instead: str = "") -> None:
    """Check a timeout.

    Args:
        seconds: the timeout.
        instead: what the user may have meant, for the message.

    Raises:
        CustomKeyStoreError: it is zero or negative.
    """
    if seconds < 1:
        raise CustomKeyStoreError(f"wait_timeout must be at least 1 second, but is {seconds}{instead}.")


def check_values(given: Mapping[str, Any]) -> None:
    """Check the values of options against KMS's model.

    Args:
        given: the options that have a value, those of C(xks_proxy_configuration) flat, after a dot.

    Raises:
        CustomKeyStoreError: KMS would refuse a value.
    """
    for option, rule in _RULES.items():
        if option in given:
            _check_value(option, given[option], rule)


_CREDENTIALS = {
    "access_key": ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
    "secret_key": ("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
    "session_token": ("AWS_SESSION_TOKEN",),
}
_PROFILE = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")


def refuse_two_identities(params: Mapping[str, Any]) -> None:
    """Refuse a profile together with credentials, as amazon.aws does, and say where each comes from.

    Args:
        params: of a module. Missing ones come from environment variables.

    Raises:
        CustomKeyStoreError: both are set.
    """
    credentials = [_origin(option, params, names) for option, names in _CREDENTIALS.items() if params.get(option)]
    if not params.get("profile") or not credentials:
        return
    raise CustomKeyStoreError(
        f"The task has a profile and credentials, and amazon.aws does not choose between them: {params['profile']} by"
        f" {_origin('profile', params, _PROFILE)}, and credentials by {_list(credentials)}. Remove one of the two. If an"
        " environment variable is not meant for this task, set it to an empty string in the environment of the task."
    )


def _origin(option: str, params: Mapping[str, Any], variables: Tuple[str, ...]) -> str:
    """Where the value of a connection option comes from, without the value itself."""
    variable = next((name for name in variables if os.environ.get(name) == params[option]), None)
    return f"the option {option}" if variable is None else f"the environment variable {variable}"


def _given_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have a value, those of C(xks_proxy_configuration) flat, after a dot."""
    flat = {option: params[option] for option in _PLAIN_OPTIONS}
    flat.update({f"{XKS}.{key}": value for key, value in (params[XKS] or {}).items()})
    return {option: value for option, value in flat.items() if value is not None}


def _check_value(option: str, value: str, rule: _Rule) -> None:
    """Check a value. The message never has the value: it may be a secret."""
    if not rule.shortest <= len(value) <= rule.longest:
        length = f"{rule.shortest} to {rule.longest}" if rule.shortest < rule.longest else str(rule.longest)
        raise CustomKeyStoreError(
            f"{option} must have {length} characters, but has {len(value)}: give {rule.words}, or leave the option out."
        )
    if option == URI_ENDPOINT.option and re.match(r"https://[a-zA-Z0-9.-]+:", value):
        raise CustomKeyStoreError(
            f"{option} has a port, and KMS connects to a proxy on port 443 and no other: give {rule.words}."
        )
    if not re.fullmatch(rule.pattern, value, re.DOTALL):
        raise CustomKeyStoreError(f"{option} has characters or a form that KMS does not take: give {rule.words}.")


def _of_cloudhsm(given: Mapping[str, Any]) -> list[str]:
    """The given options that only stores in AWS CloudHSM have."""
    return [option for option in _CLOUDHSM_OPTIONS if option in given]


def _of_external(given: Mapping[str, Any]) -> list[str]:
    """The given options that only external stores have."""
    return [option for option in given if option.startswith(XKS)]


def _check_type(given: Mapping[str, Any]) -> None:
    cloudhsm = _of_cloudhsm(given)
    if cloudhsm and _of_external(given):
        raise CustomKeyStoreError(
            f"{_list(cloudhsm)} and {XKS} do not go together: the first is for stores of the type {AWS_CLOUDHSM},"
            f" the second for {EXTERNAL_KEY_STORE}. Leave one of them out."
        )
    refuse_misfits(given, given.get("custom_key_store_type"))


def refuse_misfits(given: Mapping[str, Any], store_type: Optional[str]) -> None:
    """Refuse options of the other type of store.

    Raises:
        CustomKeyStoreError: there are some; the message names them.
    """
    misfits = {
        AWS_CLOUDHSM: _of_external(given),
        EXTERNAL_KEY_STORE: _of_cloudhsm(given),
    }.get(store_type or "", [])
    if misfits:
        raise CustomKeyStoreError(
            f"{_list(misfits)} cannot be given for a custom key store of the type {store_type}: leave it out."
        )


def _check_proxy(given: Mapping[str, Any]) -> None:
    if f"{XKS}.raw_secret_access_key" in given and f"{XKS}.access_key_id" not in given:
        raise CustomKeyStoreError(
            f"{XKS}.raw_secret_access_key needs {XKS}.access_key_id: KMS takes both together. Give the id, too."
        )
    service = [each.option for each in (SERVICE_NAME, SERVICE_OWNER) if each.option in given]
    if given.get(CONNECTIVITY.option) == PUBLIC_ENDPOINT and service:
        raise CustomKeyStoreError(
            f"{_list(service)} cannot be given with connectivity={PUBLIC_ENDPOINT}: leave it out."
        )


def _list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


# ---- create


def create_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """The members of CreateCustomKeyStore."""
    members = {
        "CustomKeyStoreName": given.get("name"),
        "CustomKeyStoreType": given.get("custom_key_store_type"),
        "TrustAnchorCertificate": given.get("trust_anchor_certificate"),
        "KeyStorePassword": given.get("key_store_password"),
        **{each.member: given.get(each.option) for each in COMPARED},
    }
    if f"{XKS}.raw_secret_access_key" in given:
        members["XksProxyAuthenticationCredential"] = _credential(given)
    return {member: value for member, value in members.items() if value is not None}


def missing_to_create(given: Mapping[str, Any]) -> list[str]:
    """The missing options that a new store needs."""
    required = ["name", *_CLOUDHSM_OPTIONS]
    if given.get("custom_key_store_type") == EXTERNAL_KEY_STORE or _of_external(given):
        keys = ["connectivity", "uri_endpoint", "uri_path", "access_key_id", "raw_secret_access_key"]
        if given.get(CONNECTIVITY.option) == VPC_ENDPOINT_SERVICE:
            keys.append("vpc_endpoint_service_name")
        required = ["name", "custom_key_store_type", *(f"{XKS}.{key}" for key in keys)]
    return [option for option in required if option not in given]


def wants_creation(given: Mapping[str, Any]) -> bool:
    """Is there any option that makes sense only if the store should be created?"""
    return bool("custom_key_store_type" in given or _of_cloudhsm(given) or _of_external(given))


def described(given: Mapping[str, Any]) -> dict[str, Any]:
    """A new store as KMS will describe it, without its id and creation date, which only KMS knows."""
    store: dict[str, Any] = {
        "CustomKeyStoreName": given["name"],
        "CustomKeyStoreType": given.get("custom_key_store_type", AWS_CLOUDHSM),
        "ConnectionState": "DISCONNECTED",
    }
    if "trust_anchor_certificate" in given:
        store["TrustAnchorCertificate"] = given["trust_anchor_certificate"]
    for each in COMPARED:
        if each.option in given:
            _put(store, each.path, given[each.option])
    if f"{XKS}.access_key_id" in given:
        _put(store, ("XksProxyConfiguration", "AccessKeyId"), given[f"{XKS}.access_key_id"])
    return store


# ---- update


def changes(store: CustomKeyStore, desired: DesiredStore) -> Tuple[Change, ...]:
    """The changes that give the store the properties that the task asks for: only those that differ.

    Raises:
        CustomKeyStoreError: a property can never change, or a change is incomplete.
    """
    given = desired.given
    _refuse_the_unchangeable(store, given)
    found = [_changed(store, each, given) for each in (NAME, *COMPARED)]
    found += [_password(desired), _proxy_credential(store, desired)]
    wanted = tuple(change for change in found if change is not None)
    _refuse_connectivity_alone(store, wanted, given)
    return wanted


def _changed(store: CustomKeyStore, each: Property, given: Mapping[str, Any]) -> Optional[Change]:
    if each.option not in given or given[each.option] == _get(store.description, each.path):
        return None
    value = given[each.option]
    return Change(each.option, each.member, value, each.in_place, (each.path, value))


def _refuse_the_unchangeable(store: CustomKeyStore, given: Mapping[str, Any]) -> None:
    store_type = given.get("custom_key_store_type", store.type)
    if store_type != store.type:
        raise CustomKeyStoreError(
            f"The custom key store {store} has the custom_key_store_type {store.type}, which can never change:"
            f" create another store for {store_type}."
        )
    refuse_misfits(given, store.type)
    certificate = given.get("trust_anchor_certificate")
    if certificate is not None and _bare(certificate) != _bare(store.description.get("TrustAnchorCertificate", "")):
        raise CustomKeyStoreError(
            f"The custom key store {store} has another trust_anchor_certificate, which can never change:"
            f" correct the option or leave it out, or create another store.{_of_another_cluster(store, given)}"
        )


def _of_another_cluster(store: CustomKeyStore, given: Mapping[str, Any]) -> str:
    """What to do if both differ: then the store is probably older than the present cluster."""
    cluster_id, present = given.get(CLUSTER.option), _get(store.description, CLUSTER.path)
    if cluster_id in (None, present):
        return ""
    return (
        f" It also has another cluster: {present}, not {cluster_id}. It may be the key store of an earlier cluster, and its keys"
        f" may need that cluster. To create a key store for {cluster_id}, give it another name. Or rename this key store"
        " (custom_key_store_id and another name). Or delete this key store (state=absent) after its KMS keys are deleted."
    )


def _bare(certificate: str) -> str:
    return "".join(certificate.split())


def _password(desired: DesiredStore) -> Optional[Change]:
    """A password is not sent just because it is given: each connect rotates it, so the given one may be invalid (R12)."""
    password = desired.given.get("key_store_password")
    if password is None or desired.update_credentials != "always":
        return None
    return Change("key_store_password", "KeyStorePassword", password, secret="key_store_password")  # noqa: S106  the name of an option


def _proxy_credential(store: CustomKeyStore, desired: DesiredStore) -> Optional[Change]:
    """The credential is compared by its id, because KMS never returns the secret (R17)."""
    given = desired.given
    option = f"{XKS}.access_key_id"
    path = ("XksProxyConfiguration", "AccessKeyId")
    same = given.get(option) == _get(store.description, path)
    if option not in given or (same and desired.update_credentials != "always"):
        return None
    if f"{XKS}.raw_secret_access_key" not in given:
        if same:
            return None
        raise CustomKeyStoreError(
            f"To change {option} of the custom key store {store}, {XKS}.raw_secret_access_key is needed: KMS takes both"
            " together. Give the secret, too."
        )
    secret = f"{XKS}.raw_secret_access_key"
    member = "XksProxyAuthenticationCredential"
    return Change(option, member, _credential(given), in_place=True, shown=(path, given[option]), secret=secret)


def _credential(given: Mapping[str, Any]) -> dict[str, str]:
    return {
        "AccessKeyId": given[f"{XKS}.access_key_id"],
        "RawSecretAccessKey": given[f"{XKS}.raw_secret_access_key"],
    }


def _refuse_connectivity_alone(store: CustomKeyStore, wanted: Tuple[Change, ...], given: Mapping[str, Any]) -> None:
    """KMS accepts a new connectivity only together with another endpoint and, for a VPC, with the service."""
    sent = [change.option for change in wanted]
    if CONNECTIVITY.option not in sent:
        return
    needed = [URI_ENDPOINT, *([SERVICE_NAME] if given[CONNECTIVITY.option] == VPC_ENDPOINT_SERVICE else [])]
    missing = [each.option for each in needed if each.option not in sent]
    if missing:
        raise CustomKeyStoreError(
            f"To change {CONNECTIVITY.option} of the custom key store {store} to {given[CONNECTIVITY.option]}, KMS needs"
            f" another {_list(missing)} as well: give it."
        )


def with_changes(store: CustomKeyStore, wanted: Tuple[Change, ...]) -> CustomKeyStore:
    """The store as KMS will describe it after the changes."""
    description = {**store.description}
    if "XksProxyConfiguration" in description:
        description["XksProxyConfiguration"] = {**description["XksProxyConfiguration"]}
    for change in wanted:
        if change.shown is not None:
            _put(description, *change.shown)
    proxy = description.get("XksProxyConfiguration", {})
    if proxy.get("Connectivity") == PUBLIC_ENDPOINT:
        proxy.pop("VpcEndpointServiceName", None)
        proxy.pop("VpcEndpointServiceOwner", None)
    return CustomKeyStore(description)


def shows(store: CustomKeyStore, wanted: Tuple[Change, ...]) -> bool:
    """Does KMS describe the store with these changes?"""
    return all(_get(store.description, change.shown[0]) == change.shown[1] for change in wanted if change.shown)


def masked_secrets(options: Tuple[str, ...]) -> dict[str, Any]:
    """The secrets in a diff: that they are sent, without any part of them."""
    shown: dict[str, Any] = {}
    for option in options:
        _put(shown, tuple(option.split(".")), MASKED)
    return shown


def _get(tree: Mapping[str, Any], path: Tuple[str, ...]) -> Any:
    for key in path:
        tree = tree.get(key, {})
    return tree or None


def _put(tree: dict[str, Any], path: Tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value
