# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries one history out: the world of tests/histories, with disturbances at given requests."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionClosedError

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import result
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.history import History
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Lease
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Leases
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import create_arguments
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import desired_store
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.task import Task
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from kms_emulator import Control
from kms_emulator.custom_key_stores.stores import Description
from kms_emulator.journal import Record
from kms_emulator.visibility import Visibility
from tests.histories.direct import BY_METHOD
from tests.histories.direct import DirectKms
from tests.histories.keys_world import Killed
from tests.histories.world import LATER
from tests.histories.world import Mishaps
from tests.histories.world import Options
from tests.histories.world import Result
from tests.histories.world import Run
from tests.histories.world import TaskRun
from tests.histories.world import World
from tests.prove.cases import STORES
from tests.prove.cases import Case
from tests.prove.disturbances import ACTS
from tests.prove.disturbances import FAILS
from tests.prove.disturbances import KILLED_AFTER
from tests.prove.disturbances import KILLED_BEFORE
from tests.prove.disturbances import ORDER
from tests.prove.disturbances import SPOILT
from tests.prove.disturbances import STALE
from tests.prove.disturbances import TIME
from tests.prove.disturbances import Disturbance
from tests.prove.disturbances import Step

MOVES_SECONDS = 0.5
"""How long a connect and a disconnect take. Less than the shortest pause between two looks: a wait sees the store on its way
once, and then at its end. One more look on its way differs from the one before by the time alone, which may run out at either."""

WAIT_TIMEOUT = 1800.0
"""The default of the module: how far its clock jumps where its time runs out."""

MOST_REPEATS = 3
"""After so many runs that nothing disturbs, a task has got where it can get."""

STORE_TYPES = {"cloudhsm": "AWS_CLOUDHSM", "external": "EXTERNAL_KEY_STORE"}

OTHERS: dict[str, dict[str, Options]] = {
    "cloudhsm": {
        "renames": {"NewCustomKeyStoreName": "renamed"},
        "updates": {"CloudHsmClusterId": "cluster-aaaaaaaaaaa"},
    },
    "external": {
        "renames": {"NewCustomKeyStoreName": "renamed"},
        "updates": {"XksProxyUriPath": "/somebody/kms/xks/v1"},
    },
}
"""What somebody else sends with an act."""

_DEFAULTS = {name: option.get("default") for name, option in kms_custom_key_store.argument_spec().items()}


class Quick(Control):
    """Steers the emulator in this process, without the checks of what it is told, which take as long as a history itself."""

    def requests(self) -> list[Record]:
        return [dict(record) for record in self._backend.journal._records]


_STEERING = (
    "add_fault add_intruder advance clear_requests create_store freeze_clock intrusions reset set_connect_outcomes"
)
for _command in (*_STEERING.split(), "set_transitions"):
    setattr(Quick, _command, inspect.unwrap(getattr(Control, _command)))


class StaleDescriptions(Visibility):
    """KMS shows a store as it was before its last change, for a number of descriptions and not for a time.

    Attributes:
        left: for how many descriptions it does so from now on.
        before: the store before its last change, by id; None where that created it.
    """

    left = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.before: dict[str, Description | None] = {}

    def before_change(self, identifier: str, before: Description | None) -> None:
        self.before[identifier] = before

    def visible_stores(self, actual: dict[str, Description]) -> list[Description]:
        if self.left == 0:
            return super().visible_stores(actual)
        self.left -= 1
        return [entry for entry in {**actual, **self.before}.values() if entry is not None]


class InMemory(Leases):
    """The leases of a host, without a disk: they outlive a process that is killed."""

    def __init__(self) -> None:
        super().__init__(None)
        self._kept: dict[str, Lease] = {}

    def of(self, custom_key_store_id: str) -> Lease | None:
        return self._kept.get(custom_key_store_id)

    def open(self, lease: Lease) -> Lease:
        self._kept[lease.custom_key_store_id] = lease
        return lease

    def end(self, custom_key_store_id: str) -> None:
        self._kept.pop(custom_key_store_id, None)


@dataclass(frozen=True)
class Played:
    """A history, and all that is known of how it went.

    Attributes:
        case: what it began with.
        disturbances: in the order in which they come.
        steps: the requests until the task had ended, over all its runs.
        killed: the runs that were.
        task: the run that came to its end, judged as any other.
        repeats: the same task, much later, undisturbed, until it had succeeded twice or could not.
        joined: has somebody else changed the store meanwhile?
        refused: did KMS refuse an act of somebody else? It should not have been tried.
        left: the store in the end, but for what is different each time; None where there is none.
    """

    case: Case
    disturbances: tuple[Disturbance, ...]
    steps: list[Step]
    killed: list[TaskRun]
    task: TaskRun
    repeats: list[Run]
    joined: bool
    refused: bool
    left: Description | None

    def __str__(self) -> str:
        return " ".join((str(self.case), *map(str, self.disturbances)))


class ProofWorld(World):
    """A KMS with one store, and a task that is disturbed at some of its requests.

    Args:
        control: steers the emulator.
        case: what the history begins with.
        disturbances: in order.
    """

    def __init__(self, control: Control, case: Case, disturbances: Sequence[Disturbance]) -> None:
        super().__init__(control, directly=True)
        self.case = case
        self.disturbances = self.disturbances_left = tuple(disturbances)
        self.steps: list[Step] = []
        self.leases = InMemory()
        self._front = self._run_directly
        control.set_transitions(connect_seconds=MOVES_SECONDS, disconnect_seconds=MOVES_SECONDS)
        if case.connection_state is not None:
            self.store_id = control.create_store(
                custom_key_store_type=STORE_TYPES[case.store],
                connection_state=case.connection_state,
                connection_error_code=case.error_code,
                parameters=_members(case.store),
            )
        self._descriptions = self.backend.visibility = StaleDescriptions(self.backend.clock)
        self.options = case.options(self.store_id)

    def play(self, predicted: Run | None = None) -> Played:
        """Carry the history out.

        Args:
            predicted: the run in check mode of the same case, which comes before all disturbances and so is the same each time;
                None to make it.
        """
        predicted = predicted or self._run(self.options, check=True)
        killed: list[TaskRun] = []
        while True:
            task = self._task(predicted, is_first=not killed)
            if task.done.result["changed"] is not None:
                break
            killed.append(task)
        steps = list(self.steps)
        intrusions = self.control.intrusions()
        self._nothing_goes_wrong_any_more()
        self.control.advance(LATER)
        later = self.state
        repeats = [self._repeat()]
        while repeats[-1].failed and len(repeats) < MOST_REPEATS:
            repeats.append(self._repeat())
        again = None if task.done.failed else repeats[0]
        return Played(
            case=self.case,
            disturbances=self.disturbances,
            steps=steps,
            killed=killed,
            task=replace(task, later=later, again=again),
            repeats=repeats,
            joined=any(each["outcome"] == "ok" for each in intrusions),
            refused=any(each["outcome"] != "ok" for each in intrusions),
            left=self._left(),
        )

    def _task(self, predicted: Run, *, is_first: bool) -> TaskRun:
        """One real run, to its end or to that of its process."""
        found = self.state
        rest = [each for each in self.disturbances if each.number > len(self.steps)]
        undisturbed = (
            not rest and self._descriptions.left == 0 and not any(each.kind == FAILS for each in self.disturbances)
        )
        if undisturbed and not is_first:
            predicted = self._run(self.options, check=True)
        done = self._run(self.options, check=False)
        return TaskRun(
            options=self.options,
            mishaps=Mishaps(faults=[{"operation": str(each)} for each in rest]),
            undisturbed=undisturbed,
            found=found,
            end=self.state,
            later=self.state,
            predicted=predicted,
            done=done,
            again=None,
            intrusions=self.control.intrusions(),  # also before a kill: a store may have another name since
        )

    def _repeat(self) -> Run:
        run = self._run(self.options, check=False)
        self.control.advance(LATER)
        return run

    def _nothing_goes_wrong_any_more(self) -> None:
        self.nothing_goes_wrong_any_more()
        self.backend.backing.outcomes.clear()
        self.disturbances_left = ()
        self._descriptions.left = 0

    def _left(self) -> Description | None:
        stores = list(self.backend.custom_key_stores.values())
        different = ("CustomKeyStoreId", "CreationDate")
        return (
            {name: value for name, value in stores[0].describe().items() if name not in different} if stores else None
        )

    # ---- the module

    def _run_directly(self, options: Options, history: Callable[[], History], *, check: bool) -> Result:
        """As DirectFront, but with disturbances, and with leases, which are what a process leaves that is killed."""
        seen = history()
        client: Any = DirectKms(self.backend)
        try:
            desired = desired_store({**_DEFAULTS, **options, "custom_key_store_id": options.get("id")})
            task = Task(
                desired,
                client=client if check else Disturbed(client, self),
                place=lambda: "the Region us-east-1",
                history=seen,
                clock=self.time.clock(),
                leases=self.leases,
            )
            plan = task.plan()
            return task.predict(plan) if check else task.run(plan)
        except CustomKeyStoreError as error:
            return {"failed": True, **result.failed(seen, error)}
        except Killed:
            return {"changed": None, "operations": []}

    # ---- its requests

    def request(self, operation: str, method: Callable[..., Result], members: Result) -> Result:
        """Make a request of the task, with what disturbs it.

        Raises:
            Killed: the process dies.
        """
        step = Step(len(self.steps) + 1, operation, self.time.now)
        self.steps.append(step)
        kinds = [each for each in self.disturbances_left if each.number == step.number]
        for each in [each for each in kinds if ORDER[each.kind] < ORDER["throttled"]]:
            self._disturb(each, operation)
        step.before, step.outdated = self.state, bool(self._descriptions.before)
        if any(each.kind == KILLED_BEFORE for each in kinds):
            raise Killed
        for each in kinds:
            if each.kind in SPOILT:
                self.control.add_fault(operation, **SPOILT[each.kind])
            self._descriptions.left = STALE.get(each.kind, self._descriptions.left)
        try:
            answer = method(**members)
            step.outcome = "ok"
            return answer
        except ClientError as error:
            step.outcome = error.response["Error"]["Code"]
            raise
        except ConnectionClosedError:
            step.outcome = "dropped"
            raise
        finally:
            step.end = self.time.now
            for each in [each for each in kinds if ORDER[each.kind] > ORDER["throttled"]]:
                self._disturb(each, operation)
            step.after = self.state
            if any(each.kind == KILLED_AFTER for each in kinds):
                raise Killed

    def _disturb(self, disturbance: Disturbance, operation: str) -> None:
        """Before a request, or after it."""
        if disturbance.kind == TIME:
            # That of the task alone: what KMS has begun goes on as fast as before. So its time may run out anywhere.
            self.time.now += WAIT_TIMEOUT
        elif disturbance.kind == FAILS:
            outcomes = {"cloudhsm": "INTERNAL_ERROR", "external": "XKS_PROXY_TIMED_OUT"}
            self.control.set_connect_outcomes(self._own_id, [outcomes[self.case.store]])
        elif disturbance.act is not None:
            parameters = {"CustomKeyStoreId": self._own_id, **OTHERS[self.case.store].get(disturbance.act, {})}
            self.control.add_intruder(operation, action=ACTS[disturbance.act], parameters=parameters)
            self.backend.run_intruders(operation)

    @property
    def _own_id(self) -> str:
        """Of the store that the task is about, which it may have created."""
        return self.store_id or next(iter(self.backend.custom_key_stores))


class Disturbed:
    """A client for KMS whose requests go through a world."""

    def __init__(self, client: DirectKms, world: ProofWorld) -> None:
        self._client = client
        self._world = world

    def __getattr__(self, name: str) -> Any:
        if name not in BY_METHOD:
            raise AttributeError(name)
        operation, method = BY_METHOD[name], getattr(self._client, name)
        return lambda **members: self._world.request(operation, method, members)


@functools.cache
def _members(store: str) -> Options:
    """Of CreateCustomKeyStore."""
    return dict(create_arguments(desired_store({**_DEFAULTS, **STORES[store]}).given))
