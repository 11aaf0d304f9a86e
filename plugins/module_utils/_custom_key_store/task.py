# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One store, from what is asked for to what the task returns: what the modules for one store and for several share."""

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
    """What is to be done about one store.

    Args:
        desired: what is asked for.
        client: a boto3 client for KMS, made with C(client_config()).
        place: names Region and account; asked only when there is no such store.
        history: is kept up to date, so that it tells how far the task came, however it ends.
        clock: see there. The time that the task may wait begins now.
        leases: of stores that a task was to bring back, should it be killed before it has.
        permit: see there.
        hands_over: may it raise C(MustWait) where another process could go on?
        describe_cluster: describes the CloudHSM cluster with an id; None: no cluster is described.
        check_endpoint: checks an external key store proxy with a configuration; None: none is checked.
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
        """Look at the store and decide. Changes nothing.

        Raises:
            CustomKeyStoreError: there is no such store, KMS could not be asked, or what is asked for is refused.
        """
        return self._runner.plan()

    def hand_over(self) -> Handover:
        """What another process needs to go on from here."""
        return self._runner.hand_over()

    def resume(self, handover: Handover) -> None:
        """Go on in place of another process, whose C(history) this task was made with."""
        self._runner.resume(handover)

    def predict(self, plan: Plan) -> dict[str, Any]:
        """The result in check mode."""
        return result.predicted(self._history, plan)

    def begin(self, plan: Plan) -> None:
        """Become the owner of the store, see C(Runner)."""
        self._runner.begin(plan)

    def run(self, plan: Plan) -> dict[str, Any]:
        """Carry the plan out.

        Returns:
            The task's result.

        Raises:
            CustomKeyStoreError: it could not be done; C(history) tells how far it came.
        """
        self._runner.run(plan)
        return result.reached(self._history, plan, waited=self._desired.wait)
