# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One KMS, simulated time, and tasks that are run on them: each predicted in check mode, done, and done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Protocol
from unittest import mock

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import result
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.history import History
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import desired_store
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.task import Task
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from kms_emulator import Control
from kms_emulator.injections import Injections
from kms_emulator.journal import Record
from kms_emulator.models import EmulatedBackend
from kms_emulator.models import backends
from tests.histories.direct import DirectKms
from tests.unit.harness import CREDENTIALS
from tests.unit.harness import ModuleRunner
from tests.unit.harness import SimulatedTime

Options = dict[str, Any]
Result = dict[str, Any]

CHANGES = (
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "DeleteCustomKeyStore",
    "DisconnectCustomKeyStore",
    "UpdateCustomKeyStore",
)
KEY_CHANGES = ("CreateAlias", "CreateKey", "ScheduleKeyDeletion", "UpdateAlias")
MUTATING = CHANGES + KEY_CHANGES

LATER = 4000.0
"""Seconds after which everything that was begun has ended and is visible."""


@dataclass
class Mishaps:
    """What goes wrong during a task.

    Attributes:
        faults: arguments of Control.add_fault().
        others: arguments of Control.add_intruder(), without the id of the store.
    """

    faults: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.faults or self.others)


@dataclass(frozen=True)
class Run:
    """One run of a task.

    Attributes:
        result: what Ansible would see.
        requests: to KMS, in order.
        looks: how many requests had been made when the module saw the store in a state, and the state.
        seconds: how long it took.
    """

    result: Result
    requests: list[Record]
    descriptions: list[tuple[int, str]]
    seconds: float

    @property
    def failed(self) -> bool:
        return bool(self.result.get("failed"))

    @property
    def message(self) -> str:
        return str(self.result.get("msg", ""))

    @property
    def applied(self) -> list[str]:
        """The mutating operations that KMS has carried out, each repetition of one told once."""
        done = [each["operation"] for each in self.requests if each["applied"] and each["operation"] in MUTATING]
        return [each for each, before in zip(done, ["", *done]) if each != before]

    @property
    def sent(self) -> list[str]:
        """The mutating operations that KMS was asked for."""
        return [each["operation"] for each in self.requests if each["operation"] in MUTATING]


@dataclass(frozen=True)
class TaskRun:
    """A task, and all that is known of how it went.

    Attributes:
        options: of the module.
        mishaps: what was to go wrong.
        undisturbed: nothing is out of date, nothing is to fail, and KMS changes in place what it says it does.
        found: the connection state before; None where there is no store.
        end: the same afterwards, and much later.
        later: see C(end).
        predicted: the run in check mode.
        done: the real run.
        again: the same task much later, without mishaps; None where it was not to be repeated.
        intrusions: what others did meanwhile, and whether KMS let them.
    """

    options: Options
    mishaps: Mishaps
    undisturbed: bool
    found: str | None
    end: str | None
    later: str | None
    predicted: Run
    done: Run
    again: Run | None
    intrusions: list[dict[str, str]]

    @property
    def runs(self) -> list[Run]:
        """All of them."""
        return [self.predicted, self.done, *([self.again] if self.again is not None else [])]

    @property
    def was_joined(self) -> bool:
        """Has somebody else changed the store meanwhile?"""
        return any(each["outcome"] == "ok" for each in self.intrusions)


class Front(Protocol):
    """A way to run the module: its result, with what a history of it saw."""

    def __call__(self, options: Options, history: Callable[[], History], *, check: bool) -> Result: ...


@dataclass
class DirectFront:
    """The task of the module without Ansible, HTTP and SDK."""

    time: SimulatedTime
    backend: EmulatedBackend

    def __call__(self, options: Options, history: Callable[[], History], *, check: bool) -> Result:
        seen = history()
        try:
            desired = desired_store({**_DEFAULTS, **options, "custom_key_store_id": options.get("id")})
            task = Task(
                desired,
                client=DirectKms(self.backend),
                place=lambda: "the Region us-east-1",
                history=seen,
                clock=self.time.clock(),
            )
            plan = task.plan()
            return task.predict(plan) if check else task.run(plan)
        except CustomKeyStoreError as error:
            return {"failed": True, **result.failed(seen, error)}


_DEFAULTS = {name: option.get("default") for name, option in kms_custom_key_store.argument_spec().items()}


@dataclass
class ModuleFront:
    """The module, from its arguments to the printed result, with the SDK."""

    runner: ModuleRunner

    def __call__(self, options: Options, history: Callable[[], History], *, check: bool) -> Result:
        with mock.patch.object(kms_custom_key_store, "History", history):
            return self.runner(check=check, diff=True, **options)


class Scene:
    """An empty KMS and the time."""

    def __init__(self, control: Control) -> None:
        self.control = control
        control.reset()
        control.freeze_clock()
        self.time = SimulatedTime(control)
        self.backend = backends()["123456789012"][CREDENTIALS["region"]]

    @property
    def request_count(self) -> int:
        return self.backend.journal.count

    def nothing_goes_wrong_any_more(self) -> None:
        self.backend.intrusions.clear()
        self.backend.injections = Injections()


class World(Scene):
    """A KMS with one store at the most.

    Args:
        control: steers the emulator.
        directly: take the short way to the module, see DirectFront.
    """

    def __init__(self, control: Control, *, directly: bool) -> None:
        super().__init__(control)
        self.store_id: str | None = None
        self._front: Front = (
            DirectFront(self.time, self.backend) if directly else ModuleFront(ModuleRunner(control, self.time))
        )

    @property
    def state(self) -> str | None:
        """The connection state that the store is in; None where there is no store."""
        with self.backend.lock:
            stores = list(self.backend.custom_key_stores.values())
            return stores[0].connection.status.value if stores else None

    @property
    def name(self) -> str | None:
        """The name of the store; None where there is no store."""
        stores = list(self.backend.custom_key_stores.values())
        return stores[0].custom_key_store_name if stores else None

    def task(self, options: Options, mishaps: Mishaps, *, undisturbed: bool) -> TaskRun:
        """Predict a task, do it, and, where it has succeeded, do it again much later.

        Args:
            options: of the module.
            mishaps: what goes wrong when it is done; nothing does when it is predicted or done again.
            undisturbed: is there nothing else that would make it go another way than predicted?
        """
        found = self.state
        predicted = self._run(options, check=True)
        if self.state != found:
            found = None  # whatever it was, it was just moving: nothing can be said of it
            undisturbed = False
        for fault in mishaps.faults:
            self.control.add_fault(**fault)
        for other in mishaps.others:
            self._let_in(other)
        done = self._run(options, check=False)
        end = self.state
        intrusions = self.control.intrusions()
        self.nothing_goes_wrong_any_more()
        self.control.advance(LATER)
        later = self.state
        again = None if done.failed else self._run(options, check=False)
        self.control.advance(LATER)  # nothing that a task is not told of is out of date when it begins
        stores = list(self.backend.custom_key_stores)
        for another in stores[1:]:  # made because somebody else had just given the first another name
            del self.backend.custom_key_stores[another]
        self.store_id = stores[0] if stores else None
        return TaskRun(
            options=options,
            mishaps=mishaps,
            undisturbed=undisturbed and not mishaps,
            found=found,
            end=end,
            later=later,
            predicted=predicted,
            done=done,
            again=again,
            intrusions=intrusions,
        )

    def _let_in(self, other: dict[str, Any]) -> None:
        if self.store_id is not None:
            parameters = {"CustomKeyStoreId": self.store_id, **other["parameters"]}
            self.control.add_intruder(**{**other, "parameters": parameters})

    def _run(self, options: Options, *, check: bool) -> Run:
        self.control.clear_requests()
        descriptions: list[tuple[int, str]] = []
        world = self

        class Watched(History):
            """Tells the world of each look."""

            def described(self, store: CustomKeyStore) -> CustomKeyStore:
                descriptions.append((world.request_count, store.connection_state.value))
                return super().described(store)

        begin = self.time.now
        printed = self._front(options, Watched, check=check)
        return Run(printed, self.control.requests(), descriptions, self.time.now - begin)
