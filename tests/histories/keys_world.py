# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A KMS with stores, keys and aliases, and tasks about the aliases, watched at each request: by whom was what changed?"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from dataclasses import field
from types import SimpleNamespace
from typing import Any
from typing import Protocol
from unittest import mock

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from moto.core.exceptions import JsonRESTError

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import key_notes
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import keys
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.key_plan import desired_key
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.key_task import KeyHistory
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.key_task import KeyTask
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_key
from kms_emulator import Control
from kms_emulator.custom_key_stores.keys import CustomStoreKey
from kms_emulator.models import EmulatedBackend
from kms_emulator.visibility import Visibility
from tests.histories.direct import BY_METHOD
from tests.histories.direct import DirectKms
from tests.histories.direct import carry_out
from tests.histories.world import LATER
from tests.histories.world import MUTATING
from tests.histories.world import Mishaps
from tests.histories.world import Options
from tests.histories.world import Result
from tests.histories.world import Run
from tests.histories.world import Scene
from tests.unit.harness import ModuleRunner
from tests.unit.harness import SimulatedTime

MOST_RUNS = 4
"""After so many runs that nothing disturbs, a task has got where it can get."""

UNCLEAR = ("KMSInternalException", "DependencyTimeoutException", "dropped")
"""Outcomes after which nobody knows whether a request had its effect."""


class Killed(BaseException):
    """The process of a task is gone; nothing of it runs any more but what the operating system does."""


@dataclass(frozen=True)
class KeyState:
    """A key as it is, whoever may see it.

    Attributes:
        store_id: of its store; None for one outside of any.
        aliases: that stand for it.
        pending: is its deletion scheduled?
        xks_key_id: of its external key.
        created: seconds since the epoch.
    """

    store_id: str | None
    aliases: frozenset[str]
    pending: bool
    xks_key_id: str | None
    created: float


Truth = dict[str, KeyState]
"""All keys, by their ids."""


def targets(truth: Truth, alias: str) -> list[str]:
    """The keys that an alias stands for."""
    return [key_id for key_id, key in truth.items() if alias in key.aliases]


@dataclass
class Step:
    """A request of a task.

    Attributes:
        operation: of KMS.
        members: of the request.
        before: the truth before; what somebody else did just before the request is in it.
        after: the truth after it.
        seen: the key that KMS described in its answer; None where it described none.
        applied: did KMS carry it out?
        outcome: as in the log of the emulator.
    """

    operation: str
    members: Mapping[str, Any]
    before: Truth
    after: Truth = field(default_factory=dict)
    seen: str | None = None
    applied: bool = False
    outcome: str = ""


@dataclass
class KeyMishaps(Mishaps):
    """What goes wrong during a task.

    Attributes:
        others: each C(operation) and C(skip): before which request; and C(act): a method of Somebody.
        killed_at: the number of the request at which the task is killed; 0: it is not.
        killed_after: is that request carried out before?
    """

    killed_at: int = 0
    killed_after: bool = False

    def __bool__(self) -> bool:
        return super().__bool__() or self.killed_at > 0


@dataclass(frozen=True)
class KeyRun(Run):
    """One run of a task about a key.

    Attributes:
        steps: its requests, in order.
        warnings: of the task.
        killed: it was killed, and has no result.
        intrusions: what somebody else has done meanwhile.
        before: the truth before.
        after: the truth after.
        begin: in seconds since the epoch.
    """

    steps: list[Step]
    warnings: list[str]
    killed: bool
    intrusions: list[str]
    before: Truth
    after: Truth
    begin: float

    @property
    def end(self) -> float:
        """In seconds since the epoch."""
        return self.begin + self.seconds

    @property
    def made(self) -> list[str]:
        """The keys that this run has created."""
        return [
            key_id
            for step in self.steps
            if step.operation == "CreateKey"
            for key_id in step.after
            if key_id not in step.before
        ]

    @property
    def reported(self) -> str:
        """All that the user reads."""
        return "\n".join([self.message, *self.warnings])

    def was_unclear(self, operation: str) -> bool:
        """Was there a request of this operation of which the task cannot know whether it had its effect?"""
        return any(step.operation == operation and step.outcome in UNCLEAR for step in self.steps)


@dataclass(frozen=True)
class KeyTaskRun:
    """A task, and all that is known of how it went.

    Attributes:
        options: of the module.
        alias: with C(alias/).
        store_id: of the store that the task names.
        undisturbed: nothing is out of date when it begins, and nothing is to go wrong.
        ideal: what the task says that it would do, if it saw all as it is.
        predicted: the run in check mode.
        done: the run with mishaps.
        again: the same task, run until it has succeeded twice, or cannot succeed, and nothing goes wrong any more.
        made_for: the keys that any task has created so far, each with the alias that it is for.
    """

    options: Options
    alias: str
    store_id: str
    undisturbed: bool
    ideal: KeyRun
    predicted: KeyRun
    done: KeyRun
    again: list[KeyRun]
    made_for: Mapping[str, str]

    @property
    def real_runs(self) -> list[KeyRun]:
        """Those that may change something."""
        return [self.done, *self.again]

    @property
    def runs(self) -> list[KeyRun]:
        """All of them but the ideal."""
        return [self.predicted, *self.real_runs]

    @property
    def intrusions(self) -> list[dict[str, str]]:
        """For the tally."""
        return [{"action": act, "outcome": "ok"} for act in self.done.intrusions]

    @property
    def was_joined(self) -> bool:
        """Has somebody else done anything meanwhile?"""
        return bool(self.done.intrusions)


class Somebody:
    """Somebody else in the same account, who knows nothing of tasks.

    Args:
        backend: KMS.
        control: steers the emulator.
    """

    def __init__(self, backend: EmulatedBackend, control: Control) -> None:
        self._backend = backend
        self._control = control

    def act(self, act: str, alias: str, store_id: str) -> bool:
        """Do it. False: it could not be done."""
        try:
            getattr(self, act)(alias, store_id)
        except (JsonRESTError, LookupError):
            return False
        return True

    def creates_the_alias(self, alias: str, store_id: str) -> None:
        """For a key of their own in the same store."""
        self._point("CreateAlias", alias, store_id)

    def creates_the_alias_elsewhere(self, alias: str, store_id: str) -> None:
        self._point("CreateAlias", alias, None)

    def moves_the_alias(self, alias: str, store_id: str) -> None:
        self._point("UpdateAlias", alias, store_id)

    def moves_the_alias_elsewhere(self, alias: str, store_id: str) -> None:
        self._point("UpdateAlias", alias, None)

    def deletes_the_alias(self, alias: str, store_id: str) -> None:
        self._ask("DeleteAlias", AliasName=alias)

    def makes_a_key(self, alias: str, store_id: str) -> None:
        self._control.create_keys(1, custom_key_store_id=store_id)

    def schedules_the_deletion(self, alias: str, store_id: str) -> None:
        """Of the key that the alias stands for."""
        self._ask("ScheduleKeyDeletion", KeyId=self._target(alias), PendingWindowInDays=7)

    def schedules_the_deletion_of_the_newest(self, alias: str, store_id: str) -> None:
        """Of whatever key has come last."""
        newest = sorted((key.creation_date, key_id) for key_id, key in self._backend.keys.items())[-1]
        self._ask("ScheduleKeyDeletion", KeyId=newest[1], PendingWindowInDays=7)

    def cancels_the_deletion(self, alias: str, store_id: str) -> None:
        """KMS leaves the key disabled."""
        self._ask("CancelKeyDeletion", KeyId=self._target(alias))

    def cancels_the_deletion_and_enables_the_key(self, alias: str, store_id: str) -> None:
        self.cancels_the_deletion(alias, store_id)
        self._ask("EnableKey", KeyId=self._target(alias))

    def disconnects_the_store(self, alias: str, store_id: str) -> None:
        self._control.set_connection_state(store_id, "DISCONNECTED")

    def connects_the_store(self, alias: str, store_id: str) -> None:
        self._control.set_connection_state(store_id, "CONNECTED")

    def _point(self, operation: str, alias: str, store_id: str | None) -> None:
        (theirs,) = self._control.create_keys(1, custom_key_store_id=store_id)
        self._ask(operation, AliasName=alias, TargetKeyId=theirs)

    def _target(self, alias: str) -> str:
        return [key_id for key_id, key in self._backend.keys.items() if alias in key.aliases][0]

    def _ask(self, operation: str, **members: Any) -> None:
        carry_out(self._backend, operation, members)


ACTS = tuple(name for name in vars(Somebody) if not name.startswith("_") and name != "act")
"""What somebody else may do."""


class Watched:
    """A client for KMS whose requests are written down, with what somebody else does just before them.

    Args:
        client: that it stands before.
        truth: tells it.
        before: is told of each request before it is made.
        mishaps: tell at which request the task is killed.
    """

    def __init__(
        self, client: Any, *, truth: Callable[[], Truth], before: Callable[[str], None], mishaps: KeyMishaps
    ) -> None:
        self._client = client
        self._truth = truth
        self._before = before
        self._mishaps = mishaps
        self.steps: list[Step] = []

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)
        return functools.partial(self._request, BY_METHOD[name], member) if name in BY_METHOD else member

    def _request(self, operation: str, method: Callable[..., dict[str, Any]], **members: Any) -> dict[str, Any]:
        dies = len(self.steps) + 1 == self._mishaps.killed_at
        if dies and not self._mishaps.killed_after:
            raise Killed
        self._before(operation)
        step = Step(operation, members, self._truth())
        self.steps.append(step)
        try:
            answer = method(**members)
            step.seen = answer.get("KeyMetadata", {}).get("KeyId")
            return answer
        finally:
            step.after = self._truth() if operation in MUTATING else step.before
            if dies:
                raise Killed


class InTurn:
    """Stands for a pool of threads, and does everything at once: a history is the same each time."""

    def __init__(self, _workers: int) -> None:
        pass

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_how: Any) -> None:
        pass


class KeyFront(Protocol):
    """A way to run a task: its options, in check mode or not, its client under watch, with what its history notes."""

    def __call__(
        self, options: Options, history: KeyHistory, watch: Callable[[Any], Any], *, check: bool
    ) -> Result: ...


@dataclass
class DirectKeyFront:
    """The task without Ansible, HTTP and SDK."""

    time: SimulatedTime
    backend: EmulatedBackend
    folder: str

    def __call__(self, options: Options, history: KeyHistory, watch: Callable[[Any], Any], *, check: bool) -> Result:
        try:
            task = KeyTask(
                desired_key({**_DEFAULTS, **options}),
                client=watch(DirectKms(self.backend)),
                place=lambda: "the Region us-east-1",
                describe_cluster=Cluster,
                history=history,
                clock=self.time.clock(),
                notes=self.folder,
            )
            return task.predict() if check else task.run()
        except CustomKeyStoreError as error:
            return {"failed": True, **history.failed(error)}


_DEFAULTS = {name: option.get("default") for name, option in kms_custom_key_store_key.argument_spec().items()}


@dataclass
class KeyModuleFront:
    """The module, from its arguments to the printed result, with the SDK."""

    runner: ModuleRunner
    folder: str

    def __call__(self, options: Options, history: KeyHistory, watch: Callable[[Any], Any], *, check: bool) -> Result:
        module = kms_custom_key_store_key
        made = AnsibleAWSModule.client

        def client(of: Any, service: str, **more: Any) -> Any:
            return watch(made(of, service, **more)) if service == "kms" else made(of, service, **more)

        with (
            mock.patch.object(AnsibleAWSModule, "client", client),
            mock.patch.object(module, "KeyHistory", return_value=history),
            mock.patch.object(module, "FOLDER", self.folder),
        ):
            return self.runner(check=check, diff=True, **options)


class KeyWorld(Scene):
    """A KMS in which tasks have keys made.

    Args:
        control: steers the emulator.
        directly: take the short way to the module, see DirectKeyFront.
    """

    def __init__(self, control: Control, *, directly: bool) -> None:
        super().__init__(control)
        self.made_for: dict[str, str] = {}
        self.somebody = Somebody(self.backend, control)
        self._folder = tempfile.TemporaryDirectory()
        runner = ModuleRunner(control, self.time, kms_custom_key_store_key)
        self._front: KeyFront = (
            DirectKeyFront(self.time, self.backend, self._folder.name)
            if directly
            else KeyModuleFront(runner, self._folder.name)
        )

    def close(self) -> None:
        """Leave nothing behind."""
        self._folder.cleanup()

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.backend.clock.now()

    def truth(self) -> Truth:
        """All keys as they are."""
        self.backend.forget_deleted_keys()
        return {
            key_id: KeyState(
                store_id=key.store.custom_key_store_id if isinstance(key, CustomStoreKey) else None,
                aliases=frozenset(key.aliases),
                pending=key.deletion_date is not None,
                xks_key_id=key.xks_key_id if isinstance(key, CustomStoreKey) else None,
                created=key.creation_date,
            )
            for key_id, key in self.backend.keys.items()
        }

    def task(self, options: Options, store_id: str, mishaps: KeyMishaps, *, pause: float) -> KeyTaskRun:
        """Predict a task, do it with mishaps, and do it again without until it has nothing to do any more.

        Args:
            options: of the module.
            store_id: of the store that they name.
            mishaps: what goes wrong when it is done.
            pause: seconds before it is done again, and before any other task.
        """
        alias = f"alias/{options['alias']}"
        undisturbed = not mishaps and not self.backend.visibility.hidden()
        run = functools.partial(self._run, options, alias, store_id)
        with mock.patch.object(self.backend, "visibility", Visibility(self.backend.clock)):
            ideal = run(KeyMishaps(), check=True)
        predicted = run(KeyMishaps(), check=True)
        for fault in mishaps.faults:
            self.control.add_fault(**fault)
        runs = [run(mishaps, check=False)]
        self.nothing_goes_wrong_any_more()
        self.control.advance(pause)
        while len(runs) <= MOST_RUNS and not _is_settled(runs):
            runs.append(run(KeyMishaps(), check=False))
            self.control.advance(pause if len(runs) == 2 else LATER)
        return KeyTaskRun(
            options=options,
            alias=alias,
            store_id=store_id,
            undisturbed=undisturbed,
            ideal=ideal,
            predicted=predicted,
            done=runs[0],
            again=runs[1:],
            made_for=dict(self.made_for),
        )

    def _run(self, options: Options, alias: str, store_id: str, mishaps: KeyMishaps, *, check: bool) -> KeyRun:
        self.control.clear_requests()
        intrusions: list[str] = []
        waiting = [dict(other) for other in mishaps.others]

        def others_act(operation: str) -> None:
            for other in [each for each in waiting if each["operation"] == operation]:
                other["skip"] -= 1
                if other["skip"] < 0:
                    waiting.remove(other)
                    if self.somebody.act(other["act"], alias, store_id):
                        intrusions.append(other["act"])

        watched: list[Watched] = []

        def watch(client: Any) -> Watched:
            watched.append(Watched(client, truth=self.truth, before=others_act, mishaps=mishaps))
            return watched[-1]

        history = KeyHistory()
        begin, before = self.now, self.truth()
        result: Result = {"changed": None, "operations": []}
        killed = False
        with self._in_simulated_time():
            try:
                result = self._front(options, history, watch, check=check)
            except Killed:
                killed = True
        run = KeyRun(
            result=result,
            requests=self.control.requests(),
            descriptions=[],
            seconds=self.now - begin,
            begin=begin,
            steps=[step for client in watched for step in client.steps],
            warnings=list(history.warnings),
            killed=killed,
            intrusions=intrusions,
            before=before,
            after=self.truth(),
        )
        for step, request in zip(run.steps, run.requests, strict=True):
            step.applied, step.outcome = request["applied"], request["outcome"]
        self.made_for.update(dict.fromkeys(run.made, alias))
        return run

    @contextlib.contextmanager
    def _in_simulated_time(self) -> Iterator[None]:
        """What is noted on the host has a date, too; and no threads, whose order is different each time."""
        host = SimpleNamespace(time=lambda: self.now)
        with (
            mock.patch.object(key_notes, "time", host),
            mock.patch.object(os, "fsync"),
            mock.patch.object(keys, "ThreadPoolExecutor", InTurn),
        ):
            yield


def _is_settled(runs: list[KeyRun]) -> bool:
    """Has it succeeded, and once more; or is it refused, twice with the same message?"""
    if len(runs) < 2 or runs[-1].killed or runs[-2].killed:
        return False
    if runs[-1].failed:
        return len(runs) > 2 and runs[-2].failed and runs[-1].message == runs[-2].message
    return not runs[-2].failed
