# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module's main() in this process, against the emulator in this process, on a clock that nobody waits for."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import pickle
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from types import ModuleType
from typing import Any
from unittest import mock

import boto3.session
import botocore.hooks
import botocore.session
import moto.core.models
import pytest
from ansible.module_utils import basic
from ansible.module_utils.common import dict_transformations
from botocore.hooks import EventAliaser
from botocore.hooks import HierarchicalEmitter

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Worker
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from kms_emulator import Control
from tests.unit.options import SECRETS

CREDENTIALS = {
    "region": "us-east-1",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE",
}


MOST_SLEEPS = 10_000
"""More than any test needs, as a wait of half an hour takes less than 170."""


@dataclass
class SimulatedTime:
    """Time for the module and for the emulator, moved on by each sleep.

    Attributes:
        control: the emulator's, its clock frozen.
        sleeps: the seconds of each sleep, in order.
    """

    control: Control
    now: float = 0.0
    sleeps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        assert len(self.sleeps) < MOST_SLEEPS, "It waits without end."
        self.sleeps.append(seconds)
        self.now += seconds
        self.control.advance(seconds)

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep, random=lambda: 0.5)


@dataclass
class ModuleRunner:
    """Runs a module, and tells which requests the last run made.

    Attributes:
        control: the emulator's.
        time: for the module and the emulator.
        module: the one to run, kms_custom_key_store unless it is told otherwise.
    """

    control: Control
    time: SimulatedTime
    module: ModuleType = kms_custom_key_store

    def __call__(self, *, check: bool = False, diff: bool = False, **options: Any) -> dict[str, Any]:
        """Run the module with these options.

        Returns:
            The result that Ansible would see; C(failed) is true after a failure.
        """
        self.control.clear_requests()
        arguments = {**CREDENTIALS, **options, "_ansible_check_mode": check, "_ansible_diff": diff}
        with (
            mock.patch.object(self.module, "Clock", self.time.clock),
            mock.patch.object(kms_custom_key_store, "describe_clusters", known_clusters),
            module_arguments(arguments),
            contextlib.redirect_stdout(io.StringIO()) as output,
            pytest.raises(SystemExit),
        ):
            self.module.main()
        result: dict[str, Any] = json.loads(output.getvalue().strip().splitlines()[-1])
        return result

    @property
    def calls(self) -> list[str]:
        """The operations that KMS was asked for in the last run, in order."""
        return [request["operation"] for request in self.control.requests()]

    @property
    def calls_and_polls(self) -> list[str]:
        """The same, with each run of DescribeCustomKeyStores told once."""
        calls = self.calls
        return [call for call, before in zip(calls, ["", *calls]) if call != before]


def known_clusters(cloudhsm: Any, cluster_ids: list[str]) -> dict[str, Cluster]:
    """As the emulator's KMS has it: a cluster that CloudHSM does not know is a good one."""
    good = {"ACTIVE": {"us-east-1a": 1, "us-east-1b": 1}}
    return {
        cluster_id: Cluster(cluster_id, "ACTIVE", good) if cluster.is_known and cluster.problem else cluster
        for cluster_id, cluster in describe_clusters(cloudhsm, cluster_ids).items()
    }


class InTwo:
    """Runs a module as two processes do: the first one hands over, and the second one goes on.

    Args:
        run: runs the module.
        monkeypatch: gives the module its workers.
        module: that one.

    Attributes:
        first: what the first one asked KMS for.
        second: the same of the second, with repeated requests once.
        between: is called when the first one has ended.
    """

    def __init__(
        self, run: ModuleRunner, monkeypatch: pytest.MonkeyPatch, module: ModuleType = kms_custom_key_store
    ) -> None:
        self._run, self._monkeypatch, self._module = run, monkeypatch, module
        self.first: list[str] = []
        self.second: list[str] = []
        self.between: Callable[[], None] = lambda: None

    def __call__(self, **options: Any) -> dict[str, Any]:
        handed_over: list[bytes] = []

        class First(Worker):
            @property
            def can_hand_over(self) -> bool:
                return True

            def hand_over(self, module: str, state: Callable[[], Any]) -> dict[str, Any]:
                handed_over.append(pickle.dumps(state()))
                return {"keyops_aws_job": module}

        class Second(Worker):
            def __init__(self) -> None:
                super().__init__()
                self.handed_over = pickle.loads(handed_over[0])  # noqa: S301 - from above

        self._monkeypatch.setattr(self._module, "Worker", First)
        job = self._run(**options)
        self.first = self._run.calls
        of_ansible = {"deprecations", "invocation", "warnings"}  # each ansible-core has others
        assert set(job) - of_ansible == {"keyops_aws_job"}
        assert [secret for secret in SECRETS if secret in str(job)] == []
        self.between()
        self._monkeypatch.setattr(self._module, "Worker", Second)
        result = self._run(**options)
        self.second = self._run.calls_and_polls
        return result


@contextlib.contextmanager
def module_arguments(arguments: dict[str, Any]) -> Iterator[None]:
    """Hand arguments to an AnsibleModule as Ansible would, on any supported ansible-core."""
    data = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(basic, "_ANSIBLE_ARGS", data))
        if hasattr(basic, "_ANSIBLE_PROFILE"):
            stack.enter_context(mock.patch.object(basic, "_ANSIBLE_PROFILE", "legacy"))
        yield


@contextlib.contextmanager
def no_needless_work() -> Iterator[None]:
    """Leave out what takes most of the time of a test, and says nothing about the collection.

    - moto registers 1,300 URLs with a mock of the library requests, for each test. boto3 does not use that library.
    - Ansible converts each CamelCase name with three regular expressions, and a store is described many times.
    - Each session of botocore finds and parses the same files, and works out the same names of events.
    """
    with (
        mock.patch.object(moto.core.models, "RESPONSES_METHODS", []),
        mock.patch.object(
            dict_transformations, "_camel_to_snake", functools.cache(dict_transformations._camel_to_snake)
        ),
        sessions_made_fast(),
    ):
        yield


@contextlib.contextmanager
def sessions_made_fast() -> Iterator[None]:
    """Let all sessions of botocore share what they find in its files."""
    shared = boto3.session.Session()._session.get_component("data_loader")
    aliaser = EventAliaser(HierarchicalEmitter())
    alias = EventAliaser._alias_event_name  # type: ignore[attr-defined]  # private
    aliased = functools.cache(lambda name: alias(aliaser, name))
    accepts = functools.lru_cache(botocore.hooks.accepts_kwargs)
    with (
        mock.patch.object(botocore.session, "create_loader", return_value=shared),
        mock.patch.object(boto3.session.Session, "_setup_loader"),  # the shared one has boto3's files by now
        mock.patch.object(EventAliaser, "_alias_event_name", lambda _self, name: aliased(name)),
        # The function of a bound method, as the cache would keep its client alive.
        mock.patch.object(botocore.hooks, "accepts_kwargs", lambda func: accepts(getattr(func, "__func__", func))),
    ):
        yield
