# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change a store, and whether the run of Ansible that asked for it is still there."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import run as run_module
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import Ownership
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import Permit
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import RunGone
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import TakenOver
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import Run
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.run import token_of

STORE = "cks-1"


@pytest.fixture
def zombie() -> Iterator[str]:
    """The token of a run that has ended, and whose parent has not noticed."""
    process = os.fork()
    if process == 0:
        signal.pause()
    token = token_of(process)
    assert token is not None
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    yield token
    os.waitpid(process, 0)


def described(state: str) -> CustomKeyStore:
    return CustomKeyStore({"CustomKeyStoreId": STORE, "CustomKeyStoreName": "payments", "ConnectionState": state})


def ownership(folder: Path, token: str | None = None) -> Ownership:
    return Ownership(str(folder / "owners"), Run(token))


def test_a_run_that_is_there_is_not_gone() -> None:
    run = Run(token_of(os.getpid()))
    assert (run.is_visible, run.is_gone()) == (True, False)


def test_a_run_that_has_ended_is_gone(ended: str, zombie: str) -> None:
    assert Run(ended).is_gone() is True
    assert Run(zombie).is_gone() is True


def test_a_number_that_is_used_again_is_another_run() -> None:
    token = token_of(os.getpid())
    assert token is not None
    pid, namespace, began = token.split(":", 2)
    assert Run(f"{pid}:{namespace}:{int(began) - 1}").is_gone() is True


@pytest.mark.parametrize("token", [None, "", "1:another-namespace:123"])
def test_a_run_on_another_host_cannot_be_seen(token: str | None) -> None:
    run = Run(token)
    assert (run.is_visible, run.is_gone()) == (False, False)


def test_it_works_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch, ended: str) -> None:
    monkeypatch.setattr(run_module, "began_of", run_module._began_by_ps)
    token = token_of(os.getpid())
    assert Run(token).is_gone() is False
    assert Run(f"{ended.split(':')[0]}:{run_module._namespace()}:Wed Nov 25").is_gone() is True


def test_who_begins_last_is_the_owner(tmp_path: Path) -> None:
    first, second = ownership(tmp_path), ownership(tmp_path)
    first.claim(STORE, wants="disconnected")
    with first.hold(STORE):
        pass
    second.claim(STORE, wants="connected")
    with pytest.raises(TakenOver) as caught, first.hold(STORE):
        pass
    assert caught.value.message.startswith(
        "Another task on this host began to work on the custom key store cks-1 at 20"
    )
    assert caught.value.message.endswith(
        ", with state=connected, so this one makes no more changes to it. Check the store, and run the task again if the"
        " change is still needed."
    )
    with pytest.raises(TakenOver):
        first.check(STORE)
    second.check(STORE)
    with second.hold(STORE):
        pass


def test_nobody_takes_over_in_the_middle_of_a_request(tmp_path: Path) -> None:
    first, second = ownership(tmp_path), ownership(tmp_path)
    first.claim(STORE, wants="disconnected")
    order = []

    def take_over() -> None:
        second.claim(STORE, wants="connected")
        order.append("taken over")

    with first.hold(STORE):
        thread = threading.Thread(target=take_over)
        thread.start()
        thread.join(0.2)
        order.append("request made")
    thread.join()
    assert order == ["request made", "taken over"]


def test_an_owner_that_has_ended_leaves_nothing(tmp_path: Path) -> None:
    first, second = ownership(tmp_path), ownership(tmp_path)
    first.claim(STORE, wants="connected")
    second.claim(STORE, wants="connected")
    second.release()
    assert list((tmp_path / "owners").iterdir()) == []
    with pytest.raises(TakenOver) as caught, first.hold(STORE):
        pass
    assert caught.value.by is None
    first.release()
    assert list((tmp_path / "owners").iterdir()) == []


def test_without_a_place_all_may_do_all(tmp_path: Path) -> None:
    (tmp_path / "owners").touch()
    first, second = ownership(tmp_path), ownership(tmp_path)
    first.claim(STORE, wants="disconnected")
    second.claim(STORE, wants="connected")
    with first.hold(STORE):
        first.check(STORE)
    first.release()


def test_only_a_task_that_nobody_waits_for_is_ended_by_one_that_does_nothing(tmp_path: Path, ended: str) -> None:
    waited_for, abandoned, newcomer = (
        ownership(tmp_path, token_of(os.getpid())),
        ownership(tmp_path, ended),
        ownership(tmp_path),
    )
    waited_for.claim(STORE, wants="connected")
    newcomer.end_abandoned(STORE, wants="disconnected")
    waited_for.check(STORE)
    abandoned.claim(STORE, wants="connected")
    newcomer.end_abandoned(STORE, wants="disconnected")
    with pytest.raises(TakenOver):
        abandoned.check(STORE)


def test_a_file_that_cannot_be_read_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "owners").mkdir()
    (tmp_path / "owners" / f"{STORE}.json").write_text("{")
    newcomer = ownership(tmp_path)
    newcomer.end_abandoned(STORE, wants="connected")
    newcomer.claim(STORE, wants="connected")
    assert json.loads((tmp_path / "owners" / f"{STORE}.json").read_text())["wants"] == "connected"


@pytest.mark.parametrize("state", ["CONNECTED", "CONNECTING"])
def test_a_task_that_nobody_waits_for_takes_no_store_out_of_service(tmp_path: Path, ended: str, state: str) -> None:
    permit = Permit(ownership(tmp_path), Run(ended))
    with (
        pytest.raises(RunGone, match="has ended, so this task disconnects no store"),
        permit.to_change(STORE, disconnects=True, store=described(state)),
    ):
        pass


def test_it_may_bring_one_back(tmp_path: Path, ended: str) -> None:
    permit = Permit(ownership(tmp_path), Run(ended))
    with permit.to_change(STORE, disconnects=True, store=described("FAILED")):
        pass
    with permit.to_change(STORE, disconnects=False, store=described("DISCONNECTED")):
        permit.to_wait(STORE, wants="connected")
    with pytest.raises(RunGone):
        permit.to_wait(STORE, wants="disconnected")


def test_two_that_want_the_same_may_both_wait(tmp_path: Path) -> None:
    first, second = ownership(tmp_path), ownership(tmp_path)
    permit = Permit(first, Run(None))
    first.claim(STORE, wants="connected")
    second.claim(STORE, wants="connected")
    permit.to_wait(STORE, wants="connected")
    second.claim(STORE, wants="disconnected")
    with pytest.raises(TakenOver):
        permit.to_wait(STORE, wants="connected")
