# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes what can be seen of windows, and asks the model whether they may do that."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any
from unittest import mock

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.group import StoreTask
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Lease
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Leases
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.schedule import schedule_name
from tests.histories.windows_host import Machine
from tests.histories.windows_play import Play
from tests.histories.windows_time import Process
from tests.model.path import BEGINS
from tests.model.path import KILLS
from tests.model.path import OTHERS
from tests.model.path import Event
from tests.model.path import refused
from tests.model.state import NOBODY
from tests.model.state import UNHELD
from tests.model.state import Run
from tests.model.steps import ACTS
from tests.model.steps import CONNECT as SENDS_CONNECT
from tests.model.steps import DISCONNECT as SENDS_DISCONNECT
from tests.model.steps import IN_THE_CLOUD
from tests.model.steps import OFF_HOST
from tests.model.steps import OFF_THE_CLOUD
from tests.model.steps import ON_HOST

if TYPE_CHECKING:
    from tests.histories.windows_world import WindowWorld

REQUEST_SECONDS = 0.06
"""A request takes no longer."""

IMPRECISE_SECONDS = 61.0
"""A keeper acts so much before the end of its lease in AWS, which is rounded up to a minute; and requests take time."""

OF_KMS = {
    "ConnectCustomKeyStore": SENDS_CONNECT,
    "DisconnectCustomKeyStore": SENDS_DISCONNECT,
    "DeleteCustomKeyStore": "deletes",
}


class Record:
    """What was seen in a history.

    Args:
        world: the history.

    Attributes:
        events: in order.
    """

    def __init__(self, world: WindowWorld) -> None:
        self.events: list[Event] = []
        self._world = world
        self._on_host: dict[tuple[str, str], Any] = {}
        self._in_aws: dict[str, tuple[str, Play]] = {}
        self._brings: set[Process] = set()
        self._kms: dict[str, str] = {}

    # ---- what is told

    def note(self, who: Play | None, what: str, store_id: str = "", before: str = "") -> None:
        """Something happens now. What it changes is noted afterwards."""
        if store_id and store_id in self._world.stores:
            hosts = {machine.name: self._on_host.get((machine.name, store_id), NOBODY) for machine in self._machines}
            aws = self._in_aws.get(store_id) if self._world.due(store_id) is not None else None
            kms = before or str(self._world.state(store_id))
            event = Event(self._world.sim.now, who, what, store_id, kms, hosts, NOBODY if aws is None else aws[1])
        else:
            event = Event(self._world.sim.now, who, what)
        self.events.append(event)

    def requested(self, play: Play, operation: str, members: dict[str, Any], before: str) -> None:
        """A request has had its effect."""
        if operation.startswith("Describe"):
            self.looked()
        elif operation in OF_KMS:
            self.note(play, OF_KMS[operation], str(members["CustomKeyStoreId"]), before)
        else:
            self._scheduled(play, operation, members)

    def looked(self) -> None:
        """Somebody looks at all stores, which may be in other states by now."""
        for store_id in self._world.stores:
            kms = str(self._world.state(store_id))
            if self._kms.get(store_id) != kms:
                self.note(None, "looks", store_id)
                self._kms[store_id] = kms

    def _scheduled(self, play: Play, operation: str, members: dict[str, Any]) -> None:
        for store_id in self._world.stores:
            if schedule_name(store_id) != members.get("Name"):
                continue
            if operation == "DeleteSchedule":
                # it is gone by now
                holder = self._in_aws.pop(store_id, ("", None))[1]
                self.note(play, OFF_THE_CLOUD, store_id)
                self.events[-1] = _with_aws(self.events[-1], holder)
            elif operation in ("CreateSchedule", "UpdateSchedule"):
                self._in_cloud(play, store_id, str(members["Description"]))

    def _in_cloud(self, play: Play, store_id: str, description: str) -> None:
        holder = str(json.loads("{" + description.partition("{")[2]).get("holder", ""))
        known = self._in_aws.get(store_id)
        if known is None or known[0] != holder:
            self.note(play, IN_THE_CLOUD, store_id)
            self.events[-1] = _with_aws(self.events[-1], None if known is None else known[1])
            self._in_aws[store_id] = (holder, play)

    @property
    def _machines(self) -> list[Machine]:
        return self._world.machines

    @contextlib.contextmanager
    def killing(self, victim: Play, what: str) -> Iterator[None]:
        """Meanwhile, something is killed, or told to end."""
        if what == "term":
            self.note(victim, KILLS + what)
        alive = [(play, play.is_alive, play.has_keeper) for play in self._world.plays]
        yield
        for play, was_alive, had_keeper in alive:
            dies = was_alive and not play.is_alive, had_keeper and not play.has_keeper
            end = {(True, False): "play", (False, True): "keeper", (True, True): "both"}.get(dies)
            if end is not None:
                self.note(play, KILLS + ("both" if end == "play" and not play.in_background else end))
        if what == "machine":
            lost = {machine.name for machine, boots in self._boots.items() if machine.boots != boots}
            self._on_host = {key: holder for key, holder in self._on_host.items() if key[0] not in lost}
        self._boots = {machine: machine.boots for machine in self._machines}

    _boots: dict[Machine, int]

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Meanwhile, look at leases on hosts, and at steps of plays."""
        self._boots = {machine: machine.boots for machine in self._machines}
        written, begun, step = Leases._write_lease, StoreTask.begin, Play._step

        def write(leases: Leases, lease: Lease) -> None:
            process = self._world.sim.process
            play: Play = process.owner
            key = (play.machine.name, lease.custom_key_store_id)
            if process in self._brings:
                self._on_host[key] = UNHELD
            elif play.kind == "window" and leases._folder is not None:
                self.note(play, ON_HOST, lease.custom_key_store_id)
                self._on_host[key] = play
            written(leases, lease)

        def begin(task: StoreTask) -> None:
            process = self._world.sim.process
            if task.store is not None:
                self.note(process.owner, ACTS, task.store.id)  # what the lease was until now
            self._brings.add(process)
            begun(task)
            self._brings.discard(process)

        def step_(play: Play, name: str, *more: Any) -> Any:
            if name == "reconnect":
                self.note(play, BEGINS)
            return step(play, name, *more)

        with (
            mock.patch.object(Leases, "_write_lease", write),
            mock.patch.object(StoreTask, "begin", begin),
            mock.patch.object(Play, "_step", step_),
            self._ends_going_on(),
        ):
            yield

    @contextlib.contextmanager
    def _ends_going_on(self) -> Iterator[None]:
        """Meanwhile, look at the ends of leases on hosts."""
        ended, withdrawn = StoreTask._end_lease, StoreTask._end_own_lease

        def end(task: StoreTask, store: CustomKeyStore) -> Lease | None:
            play: Play = self._world.sim.process.owner
            if task._leases._folder is None:
                return ended(task, store)
            self.note(play, OFF_HOST, store.id)
            stays = ended(task, store)
            if stays is None:
                self._on_host.pop((play.machine.name, store.id), None)
            return stays

        def withdraw(task: StoreTask, lease: Lease) -> None:
            play: Play = self._world.sim.process.owner
            key = (play.machine.name, lease.custom_key_store_id)
            self.note(play, OFF_HOST, lease.custom_key_store_id)
            if self._on_host.get(key) is play:
                del self._on_host[key]
            withdrawn(task, lease)

        with (
            mock.patch.object(StoreTask, "_end_lease", end),
            mock.patch.object(StoreTask, "_end_own_lease", withdraw),
        ):
            yield

    # ---- what is asked

    def each_window_is_a_path(self) -> int:
        """Each window does what the model allows with each of its stores.

        Returns:
            How many paths there are.

        Raises:
            AssertionError: one does something else.
        """
        paths = 0
        is_extended = any(play.kind == "extend" for play in self._world.plays)
        for play in [each for each in self._world.plays if each.kind == "window"]:
            seconds = 0.0 if is_extended else 60.0 * play.options["lease_minutes"] - IMPRECISE_SECONDS
            for number, store_id in enumerate(self._world.stores):
                events = self._about(play, store_id)
                if not any(is_own and event.store_id for event, is_own in events):
                    continue
                paths += 1
                event = refused(_run(play, number, store_id), seconds, events)
                assert event is None, ("no path of the model", str(play), store_id, event and _text(event))
        return paths

    def _about(self, play: Play, store_id: str) -> list[tuple[Event, bool]]:
        """The events that a window and one of its stores are about, as that window is told them."""
        events = []
        for event in self.events:
            if event.store_id == store_id:
                events.append((_as_seen_by(event, play), event.who is play))
                if event.what == "deletes":
                    break
            elif not event.store_id and event.who is play:
                events.append((event, True))
        return _with_requests_under_way(events)


def _with_requests_under_way(events: list[tuple[Event, bool]]) -> list[tuple[Event, bool]]:
    """A disconnect that is under way when its play is killed was begun before."""
    ordered: list[tuple[Event, bool]] = []
    for event, is_own in events:
        place = len(ordered)
        while event.what == SENDS_DISCONNECT and is_own and place and _was_just_killed(ordered[place - 1][0], event):
            place -= 1
        ordered.insert(place, (event, is_own))
    return ordered


def _was_just_killed(before: Event, event: Event) -> bool:
    return before.what.startswith(KILLS) and event.when - before.when <= REQUEST_SECONDS


def _with_aws(event: Event, holder: Play | None) -> Event:
    return Event(event.when, event.who, event.what, event.store_id, event.kms, event.host, holder or NOBODY)


def _as_seen_by(event: Event, play: Play) -> Event:
    """With numbers in place of plays."""
    host = event.host[play.machine.name]
    return Event(
        event.when, event.who, event.what, event.store_id, event.kms, _number(host, play), _number(event.aws, play)
    )


def _number(holder: Any, play: Play) -> int:
    if holder in (NOBODY, UNHELD):
        return int(holder)
    return 0 if holder is play else OTHERS


def _run(play: Play, number: int, store_id: str) -> Run:
    """A window as the model has it, over one of its stores."""
    roles = [
        store.get("lease_role_arn")
        for store in play.options["stores"]
        if store.get("name") == f"store-{number}" or store.get("id") == store_id
    ]
    in_aws = bool(play.options.get("lease_role_arn") or any(roles))
    return Run(
        stores=frozenset({0}),
        keeper=bool(play.options["keeper"]),
        aws=frozenset({0}) if in_aws else frozenset(),
        local=play.is_local,
    )


def _text(event: Event) -> str:
    return f"{event.when:.2f} {event.what}, {event.kms}, lease on the host: {event.host}, in AWS: {event.aws}"
