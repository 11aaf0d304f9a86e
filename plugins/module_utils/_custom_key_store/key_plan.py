# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides what to do with the KMS key of an alias. Pure: from the descriptions and the options of the task."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any
from typing import Mapping
from typing import Optional
from typing import Tuple

from .clusters import ACTIVE
from .clusters import Cluster
from .keys import Key
from .model import AWS_CLOUDHSM
from .model import EXTERNAL_KEY_STORE
from .model import ConnectionState
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import plain

PREFIX = "alias/"

MARK = "keyops.aws:created-for"
"""The tag of each key that a task creates in AWS CloudHSM; its value is the alias.

By this tag, a task finds a key again if CreateKey got no answer, or if a killed task left the key without its alias. In an
external store, a task finds it by the id of the external key."""

CREATE_KEY = "CreateKey"
CREATE_ALIAS = "CreateAlias"
UPDATE_ALIAS = "UpdateAlias"
SCHEDULE_DELETION = "ScheduleKeyDeletion"

ENABLED = "Enabled"
PENDING_DELETION = "PendingDeletion"

NEEDED_HSMS = 2


@dataclass(frozen=True)
class DesiredKey:
    """The options of the task.

    Attributes:
        alias: with C(alias/).
        state: C(present) or C(absent).
        custom_key_store_id: which store; None if it is selected by name.
        custom_key_store_name: which store, if there is no id.
        xks_key_id: of the external key; None for a key in AWS CloudHSM.
        description: of a new key; None for that of the key that it replaces, if any.
        policy: the same, in JSON. If there is no such key, KMS has a default.
        tags: the same.
        rotate: may a new key replace the present one?
        older_than_days: the age at which a key is replaced; None if only another external key is a reason.
        pending_window_in_days: how long a deletion can be cancelled.
        wait: wait until the key can be used by the alias?
        wait_timeout: seconds for all waiting of the task together.
    """

    alias: str
    state: str = "present"
    custom_key_store_id: Optional[str] = None
    custom_key_store_name: Optional[str] = None
    xks_key_id: Optional[str] = None
    description: Optional[str] = None
    policy: Optional[str] = None
    tags: Optional[Mapping[str, str]] = None
    rotate: bool = False
    older_than_days: Optional[int] = None
    pending_window_in_days: int = 30
    wait: bool = True
    wait_timeout: int = 300

    def members(self, store: CustomKeyStore) -> dict[str, Any]:
        """The members of CreateKey."""
        mark = {} if store.type == EXTERNAL_KEY_STORE else {MARK: self.alias}
        tags = {**(self.tags or {}), **mark}
        members = {
            "CustomKeyStoreId": store.id,
            "Origin": store.type,
            "XksKeyId": self.xks_key_id,
            "Description": self.description,
            "Policy": self.policy,
            "Tags": [{"TagKey": name, "TagValue": value} for name, value in sorted(tags.items())] or None,
        }
        return {name: value for name, value in members.items() if value is not None}


@dataclass(frozen=True)
class Found:
    """What a task has described before it plans.

    Attributes:
        key: the key of the alias; None if there is no such alias.
        store: the store that the task names; None if the description of the key is enough.
        now: the time by KMS's clock, or by the host's clock if KMS does not report it.
    """

    key: Optional[Key]
    store: Optional[CustomKeyStore]
    now: datetime.datetime


@dataclass(frozen=True)
class KeyPlan:
    """What to do with the key.

    Attributes:
        operations: of KMS, in order.
        members: of CreateKey; None if no key is created.
        adopted: a key without an alias that an earlier task created for this one; used instead of a new key.
        key: the present key, which stays unless the plan replaces it.
        store: the store of a new key; None if no key is created.
    """

    operations: Tuple[str, ...] = ()
    members: Optional[Mapping[str, Any]] = None
    adopted: Optional[Key] = None
    key: Optional[Key] = None
    store: Optional[CustomKeyStore] = None


def desired_key(params: Mapping[str, Any]) -> DesiredKey:
    """Read the options of a task.

    Raises:
        CustomKeyStoreError: the options exclude each other, or KMS would refuse a value.
    """
    alias = params["alias"]
    alias = alias if alias.startswith(PREFIX) else PREFIX + alias
    _check_alias(alias)
    _check_texts(params)
    rotate = params.get("rotate")
    if params["state"] == "absent":
        _refuse_with_absent(params)
    if not 7 <= params["pending_window_in_days"] <= 30:
        raise CustomKeyStoreError("pending_window_in_days must be a number from 7 to 30.")
    older_than_days = rotate.get("older_than_days") if rotate is not None else None
    if older_than_days is not None and older_than_days < 1:
        raise CustomKeyStoreError(
            "rotate.older_than_days must be 1 or more: with 0, each run would make a new KMS key."
        )
    if params["wait_timeout"] < 1:
        raise CustomKeyStoreError("wait_timeout must be 1 second or more.")
    return DesiredKey(
        alias=alias,
        state=params["state"],
        custom_key_store_id=params["custom_key_store_id"],
        custom_key_store_name=params["custom_key_store_name"],
        xks_key_id=params["xks_key_id"],
        description=params["description"],
        policy=params["policy"],
        tags=None if params["tags"] is None else {str(name): str(value) for name, value in params["tags"].items()},
        rotate=rotate is not None,
        older_than_days=older_than_days,
        pending_window_in_days=params["pending_window_in_days"],
        wait=params["wait"],
        wait_timeout=params["wait_timeout"],
    )


def _check_alias(alias: str) -> None:
    if alias.startswith("alias/aws/"):
        raise CustomKeyStoreError(
            f"alias must not begin with aws/, which is for keys of AWS itself: {alias}. Give another one."
        )
    if not re.fullmatch("alias/[a-zA-Z0-9/_-]{1,250}", alias):
        raise CustomKeyStoreError(
            f"alias may have 1 to 250 letters, digits and any of / _ -, after alias/: {alias!r} is no such name. Correct it."
        )


_LENGTHS = {
    "custom_key_store_id": (1, 64),
    "custom_key_store_name": (1, 256),
    "xks_key_id": (1, 128),
    "description": (0, 8192),
    "policy": (1, 131072),
}


def _check_texts(params: Mapping[str, Any]) -> None:
    for option, (shortest, longest) in _LENGTHS.items():
        value = params[option]
        if value is not None and not shortest <= len(value) <= longest:
            raise CustomKeyStoreError(
                f"{option} must have {shortest} to {longest} characters, and has {len(value)}. Correct it."
            )
    if not re.fullmatch("[a-zA-Z0-9_.-]*", params["xks_key_id"] or ""):
        raise CustomKeyStoreError(
            f"xks_key_id may have letters, digits and any of _ . -, unlike {params['xks_key_id']!r}. Correct it."
        )
    for name, value in (params["tags"] or {}).items():
        _check_tag(str(name), str(value))


def _check_tag(name: str, value: str) -> None:
    if name == MARK:
        raise CustomKeyStoreError(f"tags must not have {MARK}: this module sets it itself. Leave it out.")
    if not 1 <= len(name) <= 128 or len(value) > 256 or name.lower().startswith("aws:"):
        raise CustomKeyStoreError(
            f"tags has {name!r}: a tag's key has 1 to 128 characters and does not begin with aws:, and its value has at most 256."
            " Correct it."
        )


def _refuse_with_absent(params: Mapping[str, Any]) -> None:
    given = [name for name in ("description", "policy", "rotate", "tags") if params[name] is not None]
    if given:
        raise CustomKeyStoreError(f"With state=absent, {', '.join(given)} has no effect. Leave it out.")


def decide(found: Found, desired: DesiredKey) -> KeyPlan:
    """Plan without a search for keys that have no alias.

    Returns:
        The plan. If it has C(members), it creates a key, and C(with_spare()) must revise it before it is applied.

    Raises:
        CustomKeyStoreError: the task is refused.
    """
    key = found.key
    if key is None:
        return KeyPlan() if desired.state == "absent" else _creation(found, desired, CREATE_ALIAS)
    _check_belonging(key, found, desired)
    if desired.state == "absent":
        pending = key.metadata["KeyState"] == PENDING_DELETION
        return KeyPlan(() if pending else (SCHEDULE_DELETION,), key=key)
    _refuse_pending(key, desired)
    if _is_due(key, found.now, desired):
        return _creation(found, desired, UPDATE_ALIAS)
    return KeyPlan(key=key)


def needs_store(found: Found, desired: DesiredKey) -> bool:
    """Must the store be described before the task can plan?

    The description of the key has the id of its store. So a task with the id of the store that changes nothing makes one request.
    """
    if found.key is None:
        return desired.state == "present"
    if desired.custom_key_store_id is None:
        return True
    belongs = found.key.metadata.get("CustomKeyStoreId") == desired.custom_key_store_id
    return desired.state == "present" and belongs and _is_due(found.key, found.now, desired)


def _check_belonging(key: Key, found: Found, desired: DesiredKey) -> None:
    wanted = found.store.id if found.store is not None else desired.custom_key_store_id
    has = key.metadata.get("CustomKeyStoreId")
    if has != wanted:
        where = f"in the custom key store {has}" if has else "in no custom key store"
        raise CustomKeyStoreError(
            f"{desired.alias} refers to the KMS key {key.id}, which is {where}, and not in {wanted}. Users of the alias"
            " would get another key, so this module does not move it. Give another alias, or move this one yourself."
        )
    if key.xks_key_id is None and desired.xks_key_id is not None:
        raise CustomKeyStoreError(_NOT_EXTERNAL.format(has))


_NOT_EXTERNAL = "xks_key_id is for external key stores, and {} is in AWS CloudHSM. Leave xks_key_id out."


def _refuse_pending(key: Key, desired: DesiredKey) -> None:
    if key.metadata["KeyState"] == PENDING_DELETION:
        raise CustomKeyStoreError(
            f"{desired.alias} refers to the KMS key {key.id}, which will be deleted on"
            f" {plain(key.metadata.get('DeletionDate'))}. To keep the key, cancel its deletion (amazon.aws.kms_key with that"
            " key_id and state=present). To create a new key, delete the alias, or give another alias."
        )


def _is_due(key: Key, now: datetime.datetime, desired: DesiredKey) -> bool:
    """Should a new key replace this one?

    Raises:
        CustomKeyStoreError: it should, but cannot.
    """
    another = desired.xks_key_id is not None and key.xks_key_id is not None and key.xks_key_id != desired.xks_key_id
    if another and not desired.rotate:
        raise CustomKeyStoreError(
            f"{desired.alias} refers to the KMS key {key.id} with the external key {key.xks_key_id}, and xks_key_id is"
            f" {desired.xks_key_id}. A KMS key never gets another external key: give rotate, so that a new one takes its place."
        )
    if key.xks_key_id is None:
        _check_condition(desired)
    if not desired.rotate or desired.older_than_days is None:
        return another
    if _days_old(key, now) < desired.older_than_days:
        return False
    if key.xks_key_id is not None and not another:
        raise _too_old(key, now, desired)
    return True


def _days_old(key: Key, now: datetime.datetime) -> float:
    created: datetime.datetime = key.metadata["CreationDate"].replace(
        microsecond=0
    )  # KMS reports the time in whole seconds
    return (now - created).total_seconds() / 86400


def _too_old(key: Key, now: datetime.datetime, desired: DesiredKey) -> CustomKeyStoreError:
    return CustomKeyStoreError(
        f"The KMS key {key.id} for {desired.alias} is {_days_old(key, now):.0f} days old, and its external key {key.xks_key_id}"
        " cannot have another KMS key in the same store. Create a new external key, and give its id in xks_key_id."
    )


def _check_condition(desired: DesiredKey) -> None:
    if desired.rotate and desired.older_than_days is None:
        raise CustomKeyStoreError(
            f"The custom key store of {desired.alias} is in AWS CloudHSM, where rotate needs a condition, or each run would make"
            " a new key. Give rotate.older_than_days."
        )


def _creation(found: Found, desired: DesiredKey, operation: str) -> KeyPlan:
    store = found.store
    if store is None:
        raise ValueError("the store was not described")
    if store.type == AWS_CLOUDHSM:
        _check_condition(desired)
        if desired.xks_key_id is not None:
            raise CustomKeyStoreError(_NOT_EXTERNAL.format(store))
    if store.type == EXTERNAL_KEY_STORE and desired.xks_key_id is None:
        raise CustomKeyStoreError(
            f"The custom key store {store} is external, and a KMS key in it is made with an external key."
            " Give the id of that in xks_key_id."
        )
    if store.connection_state is not ConnectionState.CONNECTED:
        raise CustomKeyStoreError(
            f"The custom key store {store} is {store.connection_state.value}, and KMS creates keys only in one that is CONNECTED."
            " Connect it (keyops.aws.kms_custom_key_store with state=connected), and run the task again."
        )
    return KeyPlan((CREATE_KEY, operation), desired.members(store), key=found.key, store=store)


def refuse_cluster(cluster: Cluster, store: CustomKeyStore) -> None:
    """Raises CustomKeyStoreError if CreateKey would fail in this cluster. If the cluster could not be described, KMS decides."""
    zones = None if cluster.hsms is None else len(cluster.hsms.get(ACTIVE, {}))
    if cluster.state is None and zones is None:
        return
    if cluster.state != ACTIVE:
        what = f"is {cluster.state}" if cluster.state is not None else "does not exist"
    elif zones is not None and zones < NEEDED_HSMS:
        what = f"has {cluster.active_hsms} active HSM(s) in {zones} Availability Zone(s)"
    else:
        return
    raise CustomKeyStoreError(
        f"The CloudHSM cluster {cluster.id} of the custom key store {store} {what}, and to create a KMS key it must be ACTIVE,"
        f" with at least {NEEDED_HSMS} active HSMs in different Availability Zones. Fix the cluster, and run the task again."
    )


def with_spare(
    plan: KeyPlan, keys: Mapping[str, Tuple[Key, Tuple[str, ...]]], desired: DesiredKey, found: Found
) -> KeyPlan:
    """Use a key that an earlier task created for this alias, and left without it, instead of a new one.

    Args:
        plan: for a new key.
        keys: the candidates by id, each with its aliases: in an external store, the keys with the external key; in AWS CloudHSM,
            the keys with the tag.
        desired: the options of the task.
        found: what the task has described.

    Raises:
        CustomKeyStoreError: the external key is in use.
    """
    for key, aliases in keys.values():
        if key.xks_key_id is None:
            continue
        if desired.alias in aliases:
            return KeyPlan(key=key)  # another task was faster
        if aliases or key.metadata["KeyState"] != ENABLED:
            named = f" ({', '.join(aliases)})" if aliases else ""
            raise CustomKeyStoreError(
                f"The external key {desired.xks_key_id} already has the KMS key {key}{named} in the custom key store"
                f" {plan.store}, and can have only one. Give another external key in xks_key_id, or use that alias."
            )
    spares = [key for key, aliases in keys.values() if not aliases and _is_spare(key, desired, found)]
    if not spares:
        return plan
    newest = max(spares, key=lambda key: (key.metadata["CreationDate"], key.id))
    if desired.older_than_days is not None and _days_old(newest, found.now) >= desired.older_than_days:
        raise _too_old(newest, found.now, desired)  # an external key, which would be due at once
    return KeyPlan(plan.operations[1:], None, newest, plan.key, plan.store)


def _is_spare(key: Key, desired: DesiredKey, found: Found) -> bool:
    """Was a key without an alias left by an earlier task? In AWS CloudHSM, keys that were rotated have the tag, too."""
    if key.metadata["KeyState"] != ENABLED:
        return False
    if key.xks_key_id is not None:
        return True
    if found.key is not None and key.metadata["CreationDate"] <= found.key.metadata["CreationDate"]:
        return False
    return desired.older_than_days is None or _days_old(key, found.now) < desired.older_than_days
