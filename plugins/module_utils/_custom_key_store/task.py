# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The task for one store, from its options to its result. The modules for one store and for several stores share it."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from dataclasses import replace
from typing import Any
from typing import Callable
from typing import ContextManager
from typing import Optional

from . import result
from .apply import Handover
from .apply import Runner
from .clock import Clock
from .clock import Deadline
from .history import History
from .kms import Client
from .kms_stores import Kms
from .lease import Leases
from .model import DesiredStore
from .owner import Permit
from .plan import Plan
from .prechecks import CheckEndpoint
from .prechecks import DescribeCluster
from .prechecks import Prechecks


class Task:
    """The task for one store.

    Args:
        desired: the options of the task.
        client: a boto3 client for KMS, made with C(client_config()).
        place: returns the Region and account; called only if there is no such store.
        history: the task keeps it up to date, so that it has all steps, however the task ends.
        clock: see C(Clock). The wait_timeout of the task starts now.
        leases: of stores that a task disconnects for a change, in case it is killed before it has reconnected them.
        permit: see C(Permit).
        hands_over: may the task raise C(MustWait) if another process could continue?
        describe_cluster: describes the CloudHSM cluster with an id; None to describe no cluster.
        check_endpoint: checks an external key store proxy with a configuration; None to check no proxy.
    """

    def __init__(
        self,
        desired: DesiredStore,
        *,
        client: Client,
        place: Callable[[], str],
        history: History,
        clock: Clock,
        leases: Optional[Leases] = None,
        permit: Optional[Permit] = None,
        hands_over: bool = False,
        describe_cluster: Optional[DescribeCluster] = None,
        check_endpoint: Optional[CheckEndpoint] = None,
    ) -> None:
        self._check_outside = clock.check
        clock = replace(clock, check=self._check)
        deadline = Deadline(clock, desired.wait_timeout)
        self.kms = Kms(client, deadline, place, self._may_change)
        self._desired = desired
        self._history = history
        self._runner = Runner(
            self.kms,
            desired,
            history,
            clock,
            deadline,
            leases or Leases(None),
            permit or Permit(),
            hands_over,
            Prechecks(self.kms, history, describe_cluster, check_endpoint),
        )

    def _may_change(self, custom_key_store_id: str, operation: str) -> ContextManager[None]:
        return self._runner.may_change(custom_key_store_id, operation)

    def _check(self) -> None:
        self._check_outside()
        self._runner.check()

    def plan(self) -> Plan:
        """Describe the store and plan. Changes nothing.

        Raises:
            CustomKeyStoreError: there is no such store, the request to KMS failed, or the task is refused.
        """
        return self._runner.plan()

    def hand_over(self) -> Handover:
        """Returns what another process needs to continue from here."""
        return self._runner.hand_over()

    def resume(self, handover: Handover) -> None:
        """Continue in place of another process. The task must have been created with the history of that process."""
        self._runner.resume(handover)

    def predict(self, plan: Plan) -> dict[str, Any]:
        """The result in check mode."""
        return result.predicted(self._history, plan)

    def begin(self, plan: Plan) -> None:
        """Claim the store, see C(Runner)."""
        self._runner.begin(plan)

    def run(self, plan: Plan) -> dict[str, Any]:
        """Apply the plan.

        Returns:
            The task's result.

        Raises:
            CustomKeyStoreError: the task failed; C(history) has the steps up to then.
        """
        self._runner.run(plan)
        return result.reached(self._history, plan, waited=self._desired.wait)
