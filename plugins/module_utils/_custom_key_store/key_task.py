# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task for the KMS key of an alias, from its options to its result.

CreateKey takes no idempotency token. So before a task creates a key, it searches all keys of the store for one that an earlier
task created for the alias and left without it. It also does that before it repeats a CreateKey that got no answer.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from enum import Enum
from typing import Any
from typing import Callable
from typing import Mapping
from typing import Optional
from typing import Tuple

from .clock import Clock
from .clock import Deadline
from .clusters import Cluster
from .key_notes import Note
from .key_notes import noted
from .key_plan import CREATE_ALIAS
from .key_plan import CREATE_KEY
from .key_plan import ENABLED
from .key_plan import MARK
from .key_plan import PENDING_DELETION
from .key_plan import SCHEDULE_DELETION
from .key_plan import UPDATE_ALIAS
from .key_plan import DesiredKey
from .key_plan import Found
from .key_plan import KeyPlan
from .key_plan import decide
from .key_plan import needs_store
from .key_plan import refuse_cluster
from .key_plan import with_spare
from .keys import Key
from .keys import aliases_of
from .keys import keys_in_stores
from .kms import Client
from .kms import KmsError
from .kms_stores import Kms
from .model import AWS_CLOUDHSM
from .model import EXTERNAL_KEY_STORE
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .model import DesiredStore
from .model import plain
from .wait import STALE_SECONDS
from .wait import VISIBLE_SECONDS
from .wait import wait_until

NOT_FOUND = "NotFoundException"
EXISTS = "AlreadyExistsException"
IN_USE = "XksKeyAlreadyInUseException"
KEY_STATE = "KMSInvalidStateException"


_NOT_KNOWN = " Whether KMS has carried out {} is not known: run the task again; it checks."


class Named(Enum):
    """The state of an alias after a request for it has failed."""

    BY_US = "by us"
    BY_ANOTHER = "by another"
    NOT_YET = "not yet"


@dataclass
class KeyHistory:
    """What a task has described and changed, kept up to date for the result, however the task ends.

    Attributes:
        operations: the mutating operations that KMS accepted, in order.
        found: the key of the alias before the task; None if there was none.
        key: the key of the alias, as last described; or the key that the alias will point to.
        unnamed: keys that this task has created and that have no alias.
        warnings: for the user.
        alias: the alias of the task.
    """

    operations: list[str] = field(default_factory=list)
    found: Optional[Key] = None
    key: Optional[Key] = None
    unnamed: list[Key] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    alias: str = ""

    def to_result(self, key: Optional[Key]) -> dict[str, Any]:
        """A key for the result, with its alias and its description; empty if there is none."""
        if key is None:
            return {}
        to_result = {
            **key.to_result(),
            "alias": self.alias,
            "custom_key_store_id": key.metadata.get("CustomKeyStoreId"),
            "cloud_hsm_cluster_id": key.metadata.get("CloudHsmClusterId"),
            "origin": key.metadata.get("Origin"),
            "description": key.metadata.get("Description", ""),
        }
        return {name: value for name, value in to_result.items() if value is not None}

    def failed(self, error: CustomKeyStoreError) -> dict[str, Any]:
        """The result of a task that failed, C(msg) included."""
        after = self.to_result(self.key)
        result: dict[str, Any] = {
            "changed": bool(self.operations),
            "operations": list(self.operations),
            "key": after,
            "diff": {"before": self.to_result(self.found), "after": after},
            "msg": self._named(error) + self._left_behind(),
        }
        if error.error is not None:
            result["error"] = dict(error.error)
        return result

    def warn(self, text: str) -> None:
        """Warn the user, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def _named(self, error: CustomKeyStoreError) -> str:
        """The message with the alias in it. A message about a request to KMS may not name it."""
        is_named = not isinstance(error, KmsError) or self.alias in error.message
        return error.message if is_named else f"{self.alias}: {error.message}"

    def _left_behind(self) -> str:
        names = ", ".join(key.id for key in self.unnamed)
        if not names:
            return ""
        return (
            f" This task has created the KMS key {names}, which has no alias yet: run the task again; it uses that key."
        )


class KeyTask:
    """The task for one alias.

    Args:
        desired: the options of the task.
        client: a boto3 client for KMS, made with C(client_config()).
        place: returns the Region and account; called only if there is no such store.
        describe_cluster: describes the CloudHSM cluster with an id.
        history: the task keeps it up to date.
        clock: see C(Clock). The wait_timeout of the task starts now.
        notes: the folder of C(noted()); None to record nothing.
    """

    def __init__(
        self,
        desired: DesiredKey,
        *,
        client: Client,
        place: Callable[[], str],
        describe_cluster: Callable[[str], Cluster],
        history: KeyHistory,
        clock: Clock,
        notes: Optional[str] = None,
    ) -> None:
        self._desired = desired
        self._history = history
        history.alias = desired.alias
        self._clock = clock
        self._deadline = Deadline(clock, desired.wait_timeout)
        self._kms = Kms(client, self._deadline, place)
        self._describe_cluster = describe_cluster
        self._notes = notes
        self._found: Optional[Found] = None

    def predict(self) -> dict[str, Any]:
        """The result in check mode.

        Raises:
            CustomKeyStoreError: a request to KMS failed, or the task is refused.
        """
        plan = self._plan()
        key = plan.adopted or plan.key
        after = self._history.to_result(key)
        if plan.members is not None:
            after = _predicted(plan, plan.members, self._desired)
        if SCHEDULE_DELETION in plan.operations:
            after["key_state"] = PENDING_DELETION
        return self._result(plan, list(plan.operations), after)

    def run(self) -> dict[str, Any]:
        """Apply the plan.

        Returns:
            The task's result.

        Raises:
            CustomKeyStoreError: the task failed; C(history) has the operations up to then.
        """
        plan = self._plan(with_candidates=False)
        if plan.store is not None:
            plan = self._ensure_key(plan.store)
        elif SCHEDULE_DELETION in plan.operations:
            self._schedule_deletion(plan)
        return self._result(plan, self._history.operations, self._history.to_result(self._history.key))

    # ---- describe and plan

    def _plan(self, *, with_candidates: bool = True) -> KeyPlan:
        found = self._describe()
        plan = decide(found, self._desired)
        if plan.members is None or not with_candidates:
            return plan
        self._check_cluster(plan)
        return with_spare(self._inherit(plan), self._candidates(plan), self._desired, found)

    def _inherit(self, plan: KeyPlan) -> KeyPlan:
        """A new key inherits from the key that it replaces what the task does not give: the default policy may allow more."""
        if plan.key is None or plan.store is None:
            return plan
        try:
            before = replace(
                self._desired,
                description=plan.key.metadata.get("Description") or None,
                policy=self._desired.policy or self._kms.keys.key_policy(plan.key.id),
                tags=self._tags_of(plan.key) if self._desired.tags is None else self._desired.tags,
            )
        except KmsError as error:
            error.message += (
                " A new key takes its policy and tags from the old one if the task does not give them. Give policy and tags,"
                " or permit the task to read them."
            )
            raise
        if self._desired.description is not None:
            before = replace(before, description=self._desired.description)
        return replace(plan, members=before.members(plan.store))

    def _tags_of(self, key: Key) -> dict[str, str]:
        """The tags of a key that a task may set."""
        tags = self._kms.keys.list_tags(key.id)
        return {name: value for name, value in tags.items() if name != MARK and not name.lower().startswith("aws:")}

    def _spare(self, plan: KeyPlan) -> Optional[Key]:
        """A key that was created for the alias, and does not have it yet, or just got it."""
        if self._found is None:
            return None
        taken = with_spare(plan, self._candidates(plan), self._desired, self._found)
        return taken.adopted or (taken.key if not taken.operations else None)

    def _describe(self) -> Found:
        key = self._key_of_alias()
        now = self._kms.keys.now()
        found = Found(key, None, now)
        if self._found is None:
            self._history.found = key
        self._history.key = key
        if needs_store(found, self._desired):
            found = replace(found, store=self._store())
        self._found = found
        return found

    def _key_of_alias(self) -> Optional[Key]:
        """The key of the alias."""
        try:
            return Key(self._kms.keys.describe_key(self._desired.alias))
        except KmsError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    def _store(self) -> CustomKeyStore:
        which = DesiredStore("present", self._desired.custom_key_store_id, self._desired.custom_key_store_name)
        return self._kms.describe(which)

    def _check_cluster(self, plan: KeyPlan) -> None:
        store = plan.store
        if store is None or store.type != AWS_CLOUDHSM:
            return
        cluster = self._describe_cluster(store.description["CloudHsmClusterId"])
        refuse_cluster(cluster, store)
        if cluster.problem is not None:
            self._history.warn(f"Whether the CloudHSM cluster allows a new KMS key is not known. {cluster.problem}")

    def _candidates(self, plan: KeyPlan) -> dict[str, Tuple[Key, Tuple[str, ...]]]:
        """The keys of the store that may have been created for the alias, each with its aliases."""
        store = plan.store
        if store is None:
            return {}
        keys = keys_in_stores(self._kms.keys, [store.id]).keys
        if store.type == EXTERNAL_KEY_STORE:
            keys = tuple(key for key in keys if key.xks_key_id == self._desired.xks_key_id)
        if not keys:
            return {}
        aliases = aliases_of(self._kms.keys, [key.id for key in keys])
        if store.type == AWS_CLOUDHSM:
            keys = tuple(key for key in keys if not aliases[key.id] and self._has_mark(key))
        return {key.id: (key, tuple(aliases[key.id])) for key in keys}

    def _has_mark(self, key: Key) -> bool:
        if key.metadata["KeyState"] != ENABLED:
            return False
        try:
            return self._kms.keys.list_tags(key.id).get(MARK) == self._desired.alias
        except KmsError as error:
            self._history.warn(
                f"Whether the KMS key {key.id}, which has no alias, was made for {self._desired.alias} is not known, and this"
                f" task does not take it. {error.message}"
            )
            return False

    # ---- apply

    def _ensure_key(self, store: CustomKeyStore) -> KeyPlan:
        """Create a key, or use an existing one, and point the alias to it; one task at a time on this host."""
        which = f"{self._desired.alias} in the custom key store {store.id}"
        with noted(self._notes, which, self._deadline, self._deadline.back_off) as note:
            self._wait_for_lost_key(note)
            plan = self._plan()
            if not plan.operations:
                note.settle()
                self._history.key = plan.key
                return plan  # another task has just created the key
            key = plan.adopted or self._create(plan, note)
            self._history.key = key
            self._point_alias(plan, key)
            if self._desired.wait:
                self._wait_until_usable(key)
                note.settle()
            return plan

    def _wait_for_lost_key(self, note: Note) -> None:
        """Wait for a key that a killed task, or one without a wait, may have created, and that KMS does not report yet."""
        passed = note.unsettled_seconds()
        if passed is None or passed >= STALE_SECONDS:
            return
        rest = STALE_SECONDS - passed
        end = self._deadline_within(rest)
        if not wait_until(self._has_candidate, clock=self._clock, deadline=end) and end.seconds < rest:
            raise CustomKeyStoreError(
                f"Another task on this host tried to create a KMS key for {self._desired.alias} {passed:.0f} seconds before"
                " this one, and KMS does not yet show whether the key exists. Run the task again, with a wait_timeout of"
                f" {rest:.0f} or more."
            )

    def _has_candidate(self) -> bool:
        return self._plan().members is None

    def _create(self, plan: KeyPlan, note: Note) -> Key:
        maybe_applied = False
        turn = 0
        while True:
            turn += 1
            note.creates()
            try:
                key = Key(self._kms.keys.create_key(plan.members or {}))
                break
            except KmsError as error:
                is_unclear = error.maybe_applied and not self._deadline.passed()
                error.maybe_applied = maybe_applied = maybe_applied or error.maybe_applied
                if not maybe_applied and error.code != IN_USE:
                    note.settle()
                    raise
                # To repeat CreateKey for an external key is safe, and shows the outcome: there can be only one KMS key for it.
                found = None if is_unclear and self._desired.xks_key_id is not None else self._find_lost(plan, error)
                if found is None and not is_unclear:
                    raise
            if found is not None:
                key = found
                if not maybe_applied:
                    return key  # another user created it
                break
            self._deadline.back_off(turn)
        self._history.operations.append(CREATE_KEY)
        self._history.unnamed.append(key)
        return key

    def _find_lost(self, plan: KeyPlan, error: KmsError) -> Optional[Key]:
        """The key that a failed CreateKey has created after all; None if there is none."""
        found: list[Optional[Key]] = [None]

        def shows() -> bool:
            found[0] = self._spare(plan)
            return found[0] is not None

        self._poll_effect(CREATE_KEY, shows, error)
        return found[0]

    def _deadline_within(self, seconds: float) -> Deadline:
        """A deadline after so many seconds, or at the deadline of the task if that is earlier."""
        return Deadline(self._clock, max(1.0, min(seconds, self._deadline.seconds - self._deadline.elapsed())))

    def _point_alias(self, plan: KeyPlan, key: Key) -> None:
        """Point the alias to a key. An alias that had a key is never without one."""
        operation = plan.operations[-1]
        if operation == UPDATE_ALIAS and self._has_moved(plan):
            return
        end = self._deadline_within(VISIBLE_SECONDS)
        maybe_applied = False
        attempt = 0
        while True:
            attempt += 1
            try:
                self._kms.keys.point_alias(operation, self._desired.alias, key.id)
                break
            except KmsError as error:
                error.maybe_applied = maybe_applied = maybe_applied or error.maybe_applied
                outcome = self._state_after_error(error, operation, key)
                if outcome is Named.BY_US:
                    break
                if outcome is Named.BY_ANOTHER:
                    return
                if end.passed():
                    raise
                # KMS does not report the new key, or the alias, everywhere yet; or a user has deleted the alias. An alias that
                # exists now, and did not when the task began, belongs to another user: the task does not change it.
                if self._key_of_alias_after(error, operation) is None:
                    operation = CREATE_ALIAS
            self._deadline.back_off(attempt)
        self._history.operations.append(operation)
        self._history.unnamed = [other for other in self._history.unnamed if other.id != key.id]

    def _state_after_error(self, error: KmsError, operation: str, key: Key) -> Named:
        """The state of the alias after a request for it has failed. Raises the error if the request must not be repeated."""
        if error.code == EXISTS:
            current = self._key_of_alias_after(error, operation)
            if current is None:
                return Named.NOT_YET  # the alias exists, but KMS does not report it yet
            if current.id == key.id:
                return Named.BY_US if error.maybe_applied else Named.BY_ANOTHER
            if error.maybe_applied:
                self._history.operations.append(operation)  # it may have been ours for a time: it counts as ours
            self._accept_if_in_store(current, key)
            return Named.BY_ANOTHER
        if error.code == NOT_FOUND:
            return Named.NOT_YET
        if error.maybe_applied and self._poll_effect(operation, lambda: self._points_to(key), error):
            return Named.BY_US
        raise error

    def _key_of_alias_after(self, error: KmsError, operation: str) -> Optional[Key]:
        """The key of the alias, after a request for it that may have had its effect."""
        try:
            return self._key_of_alias()
        except KmsError as unknown:
            if error.maybe_applied:
                self._history.operations.append(operation)
                unknown.message += _NOT_KNOWN.format(operation)
            raise

    def _points_to(self, key: Key) -> bool:
        current = self._key_of_alias()
        return current is not None and current.id == key.id

    def _poll_effect(self, operation: str, condition: Callable[[], bool], error: KmsError) -> bool:
        """Did a request have its effect, although KMS did not answer it before the deadline?

        Polls for as long as KMS may report the old state. If the outcome stays unknown, the request counts as made.

        Raises:
            KmsError: the outcome stays unknown.
        """
        try:
            return wait_until(condition, clock=self._clock, deadline=Deadline(self._clock, STALE_SECONDS))
        except CustomKeyStoreError as unknown:
            if error.maybe_applied:
                self._history.operations.append(operation)
                error.message += _NOT_KNOWN.format(operation)
                raise error from None
            raise unknown

    def _has_moved(self, plan: KeyPlan) -> bool:
        """Has another user rotated the key since it was described?"""
        current = self._key_of_alias()
        if current is None or plan.key is None or current.id == plan.key.id:
            return False
        self._accept(current)
        return True

    def _accept_if_in_store(self, current: Key, key: Key) -> None:
        """Accept that the alias points to another key already.

        Raises:
            CustomKeyStoreError: the other key is not in the store.
        """
        if current.metadata.get("CustomKeyStoreId") != key.custom_key_store_id:
            raise CustomKeyStoreError(
                f"Meanwhile somebody else has created {self._desired.alias}, which refers to the KMS key {current.id} now."
                " Give another alias, or find out who it was."
            )
        self._accept(current)

    def _accept(self, current: Key) -> None:
        """Accept the key of a faster task, and warn the user about the key of this one."""
        for key in self._history.unnamed:
            self._history.warn(
                f"Another task has made the KMS key {current.id} for {self._desired.alias} at the same time. The KMS key"
                f" {key.id}, which this task has created, is not needed: schedule its deletion"
                f" (aws kms schedule-key-deletion --key-id {key.id})."
            )
        self._history.key = current
        self._history.unnamed = []

    def _wait_until_usable(self, key: Key) -> None:
        """Wait until the alias points to the key, and the key is enabled; or until a task elsewhere has moved the alias."""
        before = self._history.found
        described: list[Optional[Key]] = [None]

        def usable() -> bool:
            current = described[0] = self._key_of_alias()
            if current is None or (before is not None and current.id == before.id):
                return False  # the old description
            return current.id != key.id or current.metadata["KeyState"] == ENABLED

        is_named = self._history.key is not None and self._history.key.id == key.id
        if not is_named:
            return
        reached = wait_until(usable, clock=self._clock, deadline=self._deadline)
        current = described[0]
        if reached and current is not None and current.id != key.id:
            self._history.unnamed = [key] if CREATE_KEY in self._history.operations else []
            self._accept(current)
        elif reached:
            self._history.key = current
        else:
            state = "not shown yet" if current is None or current.id != key.id else current.metadata["KeyState"]
            raise CustomKeyStoreError(
                f"The KMS key {key.id} exists, and {self._desired.alias} refers to it, but after"
                f" {self._deadline.elapsed():.0f} seconds it is {state} (wait_timeout={self._deadline.seconds:.0f}). If it is"
                " Unavailable, its custom key store was disconnected meanwhile: connect it."
            )

    def _schedule_deletion(self, plan: KeyPlan) -> None:
        key = plan.key
        if key is None:
            raise ValueError("there is no key to delete")
        try:
            self._kms.keys.schedule_deletion(key.id, self._desired.pending_window_in_days)
        except KmsError as error:
            lost = error.code != KEY_STATE
            if lost and not (error.maybe_applied and self._poll_effect(SCHEDULE_DELETION, self._is_pending, error)):
                raise
            if not self._is_pending():
                raise
            if not error.maybe_applied:
                return  # another user was faster
        self._history.operations.append(SCHEDULE_DELETION)
        wait_until(self._is_pending, clock=self._clock, deadline=self._deadline_within(STALE_SECONDS))
        if key.xks_key_id is None:
            date = plain(self._history.key.metadata.get("DeletionDate")) if self._history.key is not None else None
            self._history.warn(
                f"KMS deletes the KMS key {key.id} on {date}, and its key material in the CloudHSM cluster only if the custom"
                f" key store {key.custom_key_store_id} is connected then. Check that it is, or delete the material in the cluster"
                " yourself."
            )

    def _is_pending(self) -> bool:
        described = self._key_of_alias()
        if described is not None:
            self._history.key = described
        return described is None or described.metadata["KeyState"] == PENDING_DELETION

    # ---- result

    def _result(self, plan: KeyPlan, operations: list[str], after: dict[str, Any]) -> dict[str, Any]:
        before = self._history.to_result(self._history.found)
        result: dict[str, Any] = {"changed": bool(operations), "operations": list(operations), "key": after}
        if before and UPDATE_ALIAS in operations:
            result["previous_key"] = before
        shown = dict(after)
        if CREATE_KEY in operations:
            given = {"policy": (plan.members or {}).get("Policy"), "tags": _tags(plan)}
            shown = {name: value for name, value in after.items() if name not in _KNOWN_BY_KMS_ALONE}
            shown.update({name: value for name, value in given.items() if value})
        elif SCHEDULE_DELETION in operations:
            shown.pop("deletion_date", None)
        result["diff"] = {"before": before, "after": shown}
        return result


_KNOWN_BY_KMS_ALONE = ("key_id", "key_arn", "creation_date")


def _tags(plan: KeyPlan) -> dict[str, str]:
    tags = (plan.members or {}).get("Tags") or ()
    return {tag["TagKey"]: tag["TagValue"] for tag in tags}


def _predicted(plan: KeyPlan, members: Mapping[str, Any], desired: DesiredKey) -> dict[str, Any]:
    """A key that would be created, without the values that only KMS knows."""
    store = plan.store
    predicted = {
        "key_state": ENABLED,
        "xks_key_id": desired.xks_key_id,
        "alias": desired.alias,
        "custom_key_store_id": store.id if store is not None else None,
        "cloud_hsm_cluster_id": store.description.get("CloudHsmClusterId") if store is not None else None,
        "origin": store.type if store is not None else None,
        "description": members.get("Description", ""),
    }
    return {name: value for name, value in predicted.items() if value is not None}
