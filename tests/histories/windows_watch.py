# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks over the shoulder of tasks: who gets the lease of a store, who gives it up, and who takes the store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any
from unittest import mock

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import leased
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.group import StoreTask
from tests.histories.windows_play import Hold
from tests.histories.windows_play import Play

if TYPE_CHECKING:
    from tests.histories.windows_world import WindowWorld


@contextlib.contextmanager
def watching(world: WindowWorld) -> Iterator[None]:  # noqa: C901 - small functions
    """Note who gets a lease, and who brings a store back."""
    opened, begun, back = StoreTask.open_lease, StoreTask.begin, StoreTask._back_in_service
    found = leased.leased_stores

    def open_lease(task: StoreTask, **how: Any) -> None:
        store = task.store
        store_id = "" if store is None else store.id
        play: Play = world.sim.process.owner
        in_aws = task._member.reads_leases_in_aws
        before, error = world.holder(store_id, play, in_aws=in_aws), task.error
        opened(task, **how)
        if task.error is not error:
            play.refused_lease = True
        elif error is None and task.lease is not None and play.kind == "window":
            if before is not None and before is world.holder(store_id, play, in_aws=in_aws):
                world.violations.append(f"5: {play} has got {store_id}, which {before} has")
            play.holds[store_id] = Hold(world.sim.now, task.lease_in_aws is not None, play.machine)
            play.held[store_id] = play.holds[store_id]
            world.leases.append((world.sim.now, store_id, play))

    def begin(task: StoreTask) -> None:
        """Who brings a store back takes it over."""
        begun(task)
        if task.store is not None and task._desired.state == "connected":
            for play in world.plays:
                play.holds.pop(task.store.id, None)

    def back_in_service(task: StoreTask) -> None:
        back(task)
        if task.store is not None and world.state(task.store.id) == "CONNECTED":
            for play in world.plays:
                play.holds.pop(task.store.id, None)

    def leased_stores(leases: Any, in_aws: Any, *, even_in_use: bool) -> Any:
        asker: Play = world.sim.process.owner
        before = {
            each: world.holder(each, asker, in_aws=in_aws is not None, leaves_alone=True) for each in world.stores
        }
        answer = found(leases, in_aws, even_in_use=even_in_use)
        for store in answer[0] if not even_in_use else ():
            which = store["custom_key_store_id"]
            now = world.holder(which, asker, in_aws=in_aws is not None, leaves_alone=True)
            if before[which] is not None and before[which] is now:
                world.violations.append(f"5: {asker} takes {which}, which {now} has")
        return answer

    with (
        mock.patch.object(StoreTask, "open_lease", open_lease),
        mock.patch.object(StoreTask, "begin", begin),
        mock.patch.object(StoreTask, "_back_in_service", back_in_service),
        mock.patch.object(leased, "leased_stores", leased_stores),
    ):
        yield
