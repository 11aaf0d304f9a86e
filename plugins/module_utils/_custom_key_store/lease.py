# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Leases: which stores are disconnected for a while, until when, and who reconnects them.

A task opens a lease before it disconnects the store, and ends it when the store is CONNECTED again. The lease is in a folder of
the managed host, so that a later run finds it if this one is killed. KMS cannot hold it: custom key stores have no tags.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import contextlib
import datetime
import json
import os
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import fields
from dataclasses import replace
from typing import Any
from typing import Callable
from typing import Iterator
from typing import Mapping
from typing import Optional

from .file_lock import lock
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .run import Run

PATIENCE = 10.0
"""Seconds to wait for another task that writes a lease. A write takes milliseconds."""


@dataclass(frozen=True)
class Lease:
    """A store that is disconnected, and will be reconnected.

    Attributes:
        custom_key_store_id: its id.
        name: its name.
        connection_state: its state before the disconnect.
        time: when it was disconnected, in ISO 8601.
        until: when its keeper reconnects it at the latest, in ISO 8601; None if it has no keeper.
        holder: the token of the keeper that reconnects it; empty if only the run that opened the lease does.
        run: the token of the run of Ansible that has the window, see C(Run); empty if unknown.
        host: the name of the host that has the lease; empty on that host itself.
        machine: identifies the machine of C(run), see C(schedule.machine()).
        seen: when its keeper last renewed it, in ISO 8601; None if no keeper does.
        schedule: the name of the schedule that is its lease in AWS; empty if there is none.
        keeper: the token of the keeper's process, as that of a run; empty if there is none.
        connecting: does a task connect the store already? Then any task that connects it may end the lease.
        reached: the connection options of the store, without secrets.
    """

    custom_key_store_id: str
    name: str
    connection_state: str
    time: str
    until: Optional[str] = None
    holder: str = ""
    run: str = ""
    host: str = ""
    machine: str = ""
    seen: Optional[str] = None
    schedule: str = ""
    keeper: str = ""
    connecting: bool = False
    reached: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def on(cls, store: CustomKeyStore) -> Lease:
        """A lease that starts now, for a store that is in service."""
        return cls(store.id, store.name, store.connection_state.value, now().isoformat(timespec="seconds"))

    def held(
        self, *, until: Optional[datetime.datetime] = None, holder: str = "", run: str = "", connecting: bool = False
    ) -> Lease:
        """The same lease with another holder."""
        ends = None if until is None else until.isoformat(timespec="seconds")
        return replace(self, until=ends, holder=holder, run=run, connecting=connecting)

    @property
    def is_in_use(self) -> bool:
        """Does the play of the window still run?"""
        run = Run(self.run)
        return run.is_visible and not run.is_gone()

    def is_kept(self, at: datetime.datetime) -> bool:
        """Does a process on this host still run that reconnects the store: the play, or the keeper until the lease expires?

        Args:
            at: the time.
        """
        run, keeper = Run(self.run), Run(self.keeper)
        if run.is_visible:
            return not run.is_gone()
        is_over = self.until is not None and at >= datetime.datetime.fromisoformat(self.until)
        return keeper.is_visible and not keeper.is_gone() and not is_over

    def to_result(self) -> dict[str, Any]:
        """The lease for the result of a task."""
        names = ("custom_key_store_id", "name", "connection_state", "time", "until")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Report:
    """What a keeper did with a store when its play no longer ran.

    Attributes:
        custom_key_store_id: the store.
        time: when it did so, in ISO 8601.
        since: when the lease started, in ISO 8601.
        reason: why the keeper acted: C(gone), C(over) or C(ended), see C(keeper.Reason).
        connection_state: the state of the store afterwards.
        msg: the error; empty if there was none.
    """

    custom_key_store_id: str
    time: str
    since: str
    reason: str
    connection_state: str
    msg: str = ""

    def __str__(self) -> str:
        came = {
            "ended": f"The keeper of the window that began at {self.since} was ended, for example by a shutdown of its host.",
            "gone": f"The window that began at {self.since} was not closed: its play had ended.",
            "over": f"The lease of the window that began at {self.since} was over before the window was closed.",
        }
        done = (
            f"tried to connect it at {self.time}, and failed: {self.msg}"
            if self.msg
            else f"connected it at {self.time}."
        )
        return f"{came[self.reason]} The keeper {done}"


def now() -> datetime.datetime:
    """The time, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)


class Leases:
    """The leases in a folder of the managed host. Without a folder, no store has a lease.

    Args:
        folder: created if needed, with C(~) for the home of the user; None to write nothing.
        expires_after: seconds after which a lease is ignored; None for never.
    """

    def __init__(self, folder: Optional[str], *, expires_after: Optional[float] = None) -> None:
        self._folder = None if folder is None else os.path.expanduser(folder)
        self._expires_after = expires_after

    def of(self, custom_key_store_id: str) -> Optional[Lease]:
        """The lease of a store, or None.

        Raises:
            CustomKeyStoreError: it cannot be read.
        """
        if self._folder is None:
            return None
        path = self._path(custom_key_store_id)
        try:
            content = _content(path)
            lease = None if content is None else Lease(**_known(content))
            return None if lease is None or self._has_expired(lease) else lease
        except (OSError, ValueError, TypeError) as error:
            raise CustomKeyStoreError(
                f"The lease {path} cannot be read: {error}. It records whether the store was in service before it was"
                " disconnected. Make it readable; or remove it if the store is where it should be."
            ) from error

    def all(self) -> list[Lease]:
        """All leases in the folder.

        Raises:
            CustomKeyStoreError: one of them cannot be read.
        """
        try:
            names = sorted(os.listdir(self._folder)) if self._folder is not None else []
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CustomKeyStoreError(
                f"The folder of the leases, {self._folder}, cannot be read: {error.strerror}. Make it readable."
            ) from error
        found = [self.of(name[: -len(".json")]) for name in names if name.endswith(".json")]
        return [lease for lease in found if lease is not None]

    def _has_expired(self, lease: Lease) -> bool:
        age = now() - datetime.datetime.fromisoformat(lease.time)
        return self._expires_after is not None and age.total_seconds() > self._expires_after

    def open(self, lease: Lease) -> Lease:
        """Write a lease before its store is disconnected, or in place of an earlier lease. Returns the lease.

        Raises:
            CustomKeyStoreError: it cannot be written.
        """
        with self._locked():
            self._write_lease(lease)
        return lease

    def change(self, custom_key_store_id: str, decide: Callable[[Optional[Lease]], Optional[Lease]]) -> Optional[Lease]:
        """Replace the lease of a store under a lock.

        Args:
            custom_key_store_id: which store.
            decide: gets the present lease, or None; returns the new one, or None for no lease. If it raises, nothing changes.

        Returns:
            The new lease, or None.

        Raises:
            CustomKeyStoreError: the present lease cannot be read, or the new one cannot be written.
        """
        with self._locked():
            present = self.of(custom_key_store_id)
            lease = decide(present)
            if lease is None:
                self._remove(self._path(custom_key_store_id))
            elif lease != present:
                self._write_lease(lease)
        return lease

    def update(self, custom_key_store_id: str, decide: Callable[[Lease], Optional[Lease]]) -> Optional[Lease]:
        """Like change(), but only if the store has a lease. Otherwise returns None, and does not create the folder."""
        if self.of(custom_key_store_id) is None:
            return None
        return self.change(custom_key_store_id, lambda present: None if present is None else decide(present))

    def end(self, custom_key_store_id: str) -> None:
        """Delete the lease of a store that is in service again. Errors are ignored: it does no harm during service."""
        self._remove(self._path(custom_key_store_id))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One task at a time. If the folder cannot be locked, as on some network file systems, all tasks run at once."""
        folder = None
        try:
            if self._folder is not None:
                with contextlib.suppress(OSError):
                    os.makedirs(self._folder, mode=0o700, exist_ok=True)
                    folder = os.open(self._folder, os.O_RDONLY)
                    lock(folder, PATIENCE)
            yield
        finally:
            if folder is not None:
                os.close(folder)  # this also ends the lock

    def _write_lease(self, lease: Lease) -> None:
        if self._folder is None:
            return
        path = self._path(lease.custom_key_store_id)
        try:
            self._write(path, asdict(lease))
        except OSError as error:
            raise CustomKeyStoreError(
                f"The lease {path} cannot be written: {error.strerror}. Without it, a run that is killed would not know that"
                " the store was in service. Name a folder that can be written to."
            ) from error

    def report(self, custom_key_store_id: str) -> Optional[Report]:
        """The report of a keeper about a store, if no result had it yet; also None if it cannot be read."""
        if self._folder is None:
            return None
        with contextlib.suppress(OSError, ValueError, TypeError):
            content = _content(self._report_path(custom_key_store_id))
            return None if content is None else Report(**content)
        return None

    def write_report(self, report: Report) -> None:
        """Write the report for the next run. Errors are ignored: no run waits for the keeper."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._write(self._report_path(report.custom_key_store_id), asdict(report))

    def forget_report(self, custom_key_store_id: str) -> None:
        """Delete the report: a result has it."""
        self._remove(self._report_path(custom_key_store_id))

    def _write(self, path: str, content: dict[str, Any]) -> None:
        os.makedirs(self._folder or "", mode=0o700, exist_ok=True)
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())  # the machine may also go down
        os.replace(f"{path}.tmp", path)

    def _remove(self, path: str) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _path(self, custom_key_store_id: str) -> str:
        return os.path.join(self._folder or "", f"{custom_key_store_id}.json")

    def _report_path(self, custom_key_store_id: str) -> str:
        return os.path.join(self._folder or "", f"{custom_key_store_id}.report")


def _content(path: str) -> Optional[dict[str, Any]]:
    """The content of a file; None if there is no file. Raises OSError or ValueError if it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return None


def _known(content: dict[str, Any]) -> dict[str, Any]:
    """The content without members that a newer version may have added."""
    names = {each.name for each in fields(Lease)}
    return {name: value for name, value in content.items() if name in names}
