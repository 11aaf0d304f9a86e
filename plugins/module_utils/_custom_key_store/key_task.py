# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The KMS key that an alias stands for, from what is asked for to what the task returns.

KMS takes no token that would make CreateKey idempotent. So before a key is created, all keys of the store are looked at for one
that an earlier task has made for the alias and left without it. A CreateKey that was not answered is not repeated before that.
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
    """What became of an alias, where a request for it failed."""

    BY_US = "by us"
    BY_ANOTHER = "by another"
    NOT_YET = "not yet"


@dataclass
class KeyHistory:
    """What a task has seen and done, kept up to date for the result, however the task ends.

    Attributes:
        operations: the mutating operations that KMS accepted, in order.
        found: the key that the alias stood for at first; None where there was none.
        key: the key that the alias stands for, as last described; or that it shall stand for.
        unnamed: keys that this task has created, and that have no alias.
        warnings: what the user should know though the task succeeded.
        alias: that the task is about.
    """

    operations: list[str] = field(default_factory=list)
    found: Optional[Key] = None
    key: Optional[Key] = None
    unnamed: list[Key] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    alias: str = ""

    def told(self, key: Optional[Key]) -> dict[str, Any]:
        """A key for the result, with its alias and what KMS tells of it; empty where there is none."""
        if key is None:
            return {}
        told = {
            **key.to_result(),
            "alias": self.alias,
            "custom_key_store_id": key.metadata.get("CustomKeyStoreId"),
            "cloud_hsm_cluster_id": key.metadata.get("CloudHsmClusterId"),
            "origin": key.metadata.get("Origin"),
            "description": key.metadata.get("Description", ""),
        }
        return {name: value for name, value in told.items() if value is not None}

    def failed(self, error: CustomKeyStoreError) -> dict[str, Any]:
        """The result of a task that failed, C(msg) included."""
        after = self.told(self.key)
        result: dict[str, Any] = {
            "changed": bool(self.operations),
            "operations": list(self.operations),
            "key": after,
            "diff": {"before": self.told(self.found), "after": after},
            "msg": self._named(error) + self._left_behind(),
        }
        if error.error is not None:
            result["error"] = dict(error.error)
        return result

    def warn(self, text: str) -> None:
        """Tell the user, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def _named(self, error: CustomKeyStoreError) -> str:
        """A message that says what it is about; one about a request to KMS may not."""
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
    """What is to be done about one alias.

    Args:
        desired: what is asked for.
        client: a boto3 client for KMS, made with C(client_config()).
        place: names Region and account; asked only when there is no such store.
        describe_cluster: describes the CloudHSM cluster with an id.
        history: is kept up to date.
        clock: see there. The time that the task may wait begins now.
        notes: the folder of C(noted()); None: nothing is remembered.
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
            CustomKeyStoreError: KMS could not be asked, or what is asked for is refused.
        """
        plan = self._plan()
        key = plan.adopted or plan.key
        after = self._history.told(key)
        if plan.members is not None:
            after = _predicted(plan, plan.members, self._desired)
        if SCHEDULE_DELETION in plan.operations:
            after["key_state"] = PENDING_DELETION
        return self._result(plan, list(plan.operations), after)

    def run(self) -> dict[str, Any]:
        """Do it.

        Returns:
            The task's result.

        Raises:
            CustomKeyStoreError: it could not be done; C(history) tells how far it came.
        """
        plan = self._plan(looks_around=False)
        if plan.store is not None:
            plan = self._make(plan.store)
        elif SCHEDULE_DELETION in plan.operations:
            self._schedule_deletion(plan)
        return self._result(plan, self._history.operations, self._history.told(self._history.key))

    # ---- looking

    def _plan(self, *, looks_around: bool = True) -> KeyPlan:
        found = self._describe()
        plan = decide(found, self._desired)
        if plan.members is None or not looks_around:
            return plan
        self._check_cluster(plan)
        return with_spare(self._taking_over(plan), self._candidates(plan), self._desired, found)

    def _taking_over(self, plan: KeyPlan) -> KeyPlan:
        """What the task does not give, a key has from the one whose place it takes: a lost policy would be a wide one."""
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
                " A new key takes over what the task does not give: give policy and tags, or allow it to look."
            )
            raise
        if self._desired.description is not None:
            before = replace(before, description=self._desired.description)
        return replace(plan, members=before.members(plan.store))

    def _tags_of(self, key: Key) -> dict[str, str]:
        """Those that a task may give."""
        tags = self._kms.keys.list_tags(key.id)
        return {name: value for name, value in tags.items() if name != MARK and not name.lower().startswith("aws:")}

    def _spare(self, plan: KeyPlan) -> Optional[Key]:
        """A key that was made for the alias, and has it not yet, or got it just now."""
        if self._found is None:
            return None
        taken = with_spare(plan, self._candidates(plan), self._desired, self._found)
        return taken.adopted or (taken.key if not taken.operations else None)

    def _describe(self) -> Found:
        key = self._described()
        now = self._kms.keys.now()
        found = Found(key, None, now)
        if self._found is None:
            self._history.found = key
        self._history.key = key
        if needs_store(found, self._desired):
            found = replace(found, store=self._store())
        self._found = found
        return found

    def _described(self) -> Optional[Key]:
        """The key that the alias stands for."""
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
        """The keys of the store that may have been made for the alias, each with its aliases."""
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

    # ---- doing

    def _make(self, store: CustomKeyStore) -> KeyPlan:
        """Have a key made, or take one that is there, and have the alias stand for it; one task at a time on this host."""
        which = f"{self._desired.alias} in the custom key store {store.id}"
        with noted(self._notes, which, self._deadline, self._deadline.back_off) as note:
            self._wait_for_lost_key(note)
            plan = self._plan()
            if not plan.operations:
                note.settle()
                self._history.key = plan.key
                return plan  # another task has just done it
            key = plan.adopted or self._create(plan, note)
            self._history.key = key
            self._name(plan, key)
            if self._desired.wait:
                self._wait_until_usable(key)
                note.settle()
            return plan

    def _wait_for_lost_key(self, note: Note) -> None:
        """A task that was killed, or did not wait, may have created a key that KMS does not show yet."""
        passed = note.unsettled_seconds()
        if passed is None or passed >= STALE_SECONDS:
            return
        rest = STALE_SECONDS - passed
        end = self._at_most(rest)
        if not wait_until(self._has_candidate, clock=self._clock, deadline=end) and end.seconds < rest:
            raise CustomKeyStoreError(
                f"Another task on this host was about to create a KMS key for {self._desired.alias} {passed:.0f} seconds before"
                " this one, and KMS does not show yet what became of it. Run the task again, with a wait_timeout of"
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
                # Asking once more for an external key is safe, and tells: there is but one KMS key for it.
                found = None if is_unclear and self._desired.xks_key_id is not None else self._find_lost(plan, error)
                if found is None and not is_unclear:
                    raise
            if found is not None:
                key = found
                if not maybe_applied:
                    return key  # of somebody else
                break
            self._deadline.back_off(turn)
        self._history.operations.append(CREATE_KEY)
        self._history.unnamed.append(key)
        return key

    def _find_lost(self, plan: KeyPlan, error: KmsError) -> Optional[Key]:
        """The key that came of a CreateKey that failed; None where none did."""
        seen: list[Optional[Key]] = [None]

        def shows() -> bool:
            seen[0] = self._spare(plan)
            return seen[0] is not None

        self._find_out(CREATE_KEY, shows, error)
        return seen[0]

    def _at_most(self, seconds: float) -> Deadline:
        """What is left of the time, but no more than so much."""
        return Deadline(self._clock, max(1.0, min(seconds, self._deadline.seconds - self._deadline.elapsed())))

    def _name(self, plan: KeyPlan, key: Key) -> None:
        """Have the alias stand for a key. At no moment does it stand for none that it stood for before."""
        operation = plan.operations[-1]
        if operation == UPDATE_ALIAS and self._has_moved(plan):
            return
        end = self._at_most(VISIBLE_SECONDS)
        maybe_applied = False
        attempt = 0
        while True:
            attempt += 1
            try:
                self._kms.keys.point_alias(operation, self._desired.alias, key.id)
                break
            except KmsError as error:
                error.maybe_applied = maybe_applied = maybe_applied or error.maybe_applied
                outcome = self._in_spite_of(error, operation, key)
                if outcome is Named.BY_US:
                    break
                if outcome is Named.BY_ANOTHER:
                    return
                if end.passed():
                    raise
                # The new key, or the alias, is not seen everywhere yet; or somebody has deleted the alias. One that is there now
                # and was not when the task began is somebody else's, and is not moved.
                if self._described_after(error, operation) is None:
                    operation = CREATE_ALIAS
            self._deadline.back_off(attempt)
        self._history.operations.append(operation)
        self._history.unnamed = [other for other in self._history.unnamed if other.id != key.id]

    def _in_spite_of(self, error: KmsError, operation: str, key: Key) -> Named:
        """What became of the alias, where a request for it failed. Raises the error where it is not to be sent again."""
        if error.code == EXISTS:
            now = self._described_after(error, operation)
            if now is None:
                return Named.NOT_YET  # it is there, and KMS does not show it yet
            if now.id == key.id:
                return Named.BY_US if error.maybe_applied else Named.BY_ANOTHER
            if error.maybe_applied:
                self._history.operations.append(operation)  # ours at first, or never: it counts as ours
            self._leave_to(now, key)
            return Named.BY_ANOTHER
        if error.code == NOT_FOUND:
            return Named.NOT_YET
        if error.maybe_applied and self._find_out(operation, lambda: self._stands_for(key), error):
            return Named.BY_US
        raise error

    def _described_after(self, error: KmsError, operation: str) -> Optional[Key]:
        """The key that the alias stands for, after a request for it that may have had its effect."""
        try:
            return self._described()
        except KmsError as unknown:
            if error.maybe_applied:
                self._history.operations.append(operation)
                unknown.message += _NOT_KNOWN.format(operation)
            raise

    def _stands_for(self, key: Key) -> bool:
        now = self._described()
        return now is not None and now.id == key.id

    def _find_out(self, operation: str, condition: Callable[[], bool], error: KmsError) -> bool:
        """Has a request had its effect that KMS did not answer until the time was up?

        Looks for as long as KMS may show what was before. Where that cannot be found out, the request counts as made.

        Raises:
            KmsError: it cannot be found out.
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
        """Has somebody else rotated the key since it was looked at?"""
        now = self._described()
        if now is None or plan.key is None or now.id == plan.key.id:
            return False
        self._leave(now)
        return True

    def _leave_to(self, now: Key, key: Key) -> None:
        """The alias stands for another key already.

        Raises:
            CustomKeyStoreError: for one that is elsewhere.
        """
        if now.metadata.get("CustomKeyStoreId") != key.custom_key_store_id:
            raise CustomKeyStoreError(
                f"Meanwhile somebody else has created {self._desired.alias}, which stands for the KMS key {now.id} now."
                " Give another alias, or find out who it was."
            )
        self._leave(now)

    def _leave(self, now: Key) -> None:
        """Another task was faster: its key is the one, and the user is told of this one's."""
        for key in self._history.unnamed:
            self._history.warn(
                f"Another task has made the KMS key {now.id} for {self._desired.alias} at the same time. The KMS key {key.id},"
                " which this task has created, is not needed: schedule its deletion"
                f" (aws kms schedule-key-deletion --key-id {key.id})."
            )
        self._history.key = now
        self._history.unnamed = []

    def _wait_until_usable(self, key: Key) -> None:
        """Wait for the alias to show the key, enabled; and notice a task elsewhere that has moved it at the same moment."""
        before = self._history.found
        seen: list[Optional[Key]] = [None]

        def usable() -> bool:
            now = seen[0] = self._described()
            if now is None or (before is not None and now.id == before.id):
                return False  # shown as it was
            return now.id != key.id or now.metadata["KeyState"] == ENABLED

        is_named = self._history.key is not None and self._history.key.id == key.id
        if not is_named:
            return
        reached = wait_until(usable, clock=self._clock, deadline=self._deadline)
        now = seen[0]
        if reached and now is not None and now.id != key.id:
            self._history.unnamed = [key] if CREATE_KEY in self._history.operations else []
            self._leave(now)
        elif reached:
            self._history.key = now
        else:
            state = "not shown yet" if now is None or now.id != key.id else now.metadata["KeyState"]
            raise CustomKeyStoreError(
                f"The KMS key {key.id} is there, and {self._desired.alias} stands for it, but after"
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
            if lost and not (error.maybe_applied and self._find_out(SCHEDULE_DELETION, self._is_pending, error)):
                raise
            if not self._is_pending():
                raise
            if not error.maybe_applied:
                return  # somebody else was faster
        self._history.operations.append(SCHEDULE_DELETION)
        wait_until(self._is_pending, clock=self._clock, deadline=self._at_most(STALE_SECONDS))
        if key.xks_key_id is None:
            date = plain(self._history.key.metadata.get("DeletionDate")) if self._history.key is not None else None
            self._history.warn(
                f"KMS deletes the KMS key {key.id} on {date}, and its key material in the CloudHSM cluster only if the custom"
                f" key store {key.custom_key_store_id} is connected then. Check that it is, or delete the material in the cluster"
                " yourself."
            )

    def _is_pending(self) -> bool:
        seen = self._described()
        if seen is not None:
            self._history.key = seen
        return seen is None or seen.metadata["KeyState"] == PENDING_DELETION

    # ---- telling

    def _result(self, plan: KeyPlan, operations: list[str], after: dict[str, Any]) -> dict[str, Any]:
        before = self._history.told(self._history.found)
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
    """A key that would be created, but for what only KMS can know."""
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
