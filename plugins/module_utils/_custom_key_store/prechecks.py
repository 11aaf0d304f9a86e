# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks before a disconnect: could KMS connect the store again, and does the store hold keys?"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any
from typing import Callable
from typing import Mapping
from typing import Optional
from typing import Sequence

from .history import History
from .kms import KmsError
from .kms_stores import Kms
from .model import IN_SERVICE
from .model import CustomKeyStore
from .plan import Plan
from .plan import cluster_to_check
from .plan import endpoint_to_check
from .plan import refuse_cluster
from .plan import refuse_cluster_in_use
from .plan import refuse_endpoint
from .prediction import Check
from .prediction import Outcome

if TYPE_CHECKING:
    from .clusters import Cluster
    from .keys import Key

DescribeCluster = Callable[[str], "Cluster"]
CheckEndpoint = Callable[[Mapping[str, Any]], Sequence[Check]]


class Prechecks:
    """Checks a store before a task disconnects it.

    Args:
        kms: the operations.
        history: takes the warnings.
        describe_cluster: describes the CloudHSM cluster with an id; None to describe no cluster.
        check_endpoint: checks an external key store proxy with a configuration; None to check no proxy.
    """

    def __init__(
        self,
        kms: Kms,
        history: History,
        describe_cluster: Optional[DescribeCluster] = None,
        check_endpoint: Optional[CheckEndpoint] = None,
    ) -> None:
        self._kms = kms
        self._history = history
        self._describe_cluster = describe_cluster
        self._check_endpoint = check_endpoint

    def check(self, store: CustomKeyStore, plan: Plan) -> None:
        """Refuse a plan that disconnects a store, if KMS could not connect it again.

        Raises:
            Refusal: KMS could not.
        """
        self._check_cluster(store, plan)
        self._check_proxy(store, plan)

    def _check_cluster(self, store: CustomKeyStore, plan: Plan) -> None:
        needed = cluster_to_check(store, plan)
        if needed is None or self._describe_cluster is None:
            return
        cluster_id, zones = needed
        cluster = self._describe_cluster(cluster_id)
        refuse_cluster(cluster, store, zones=zones)
        if cluster_id != store.description["CloudHsmClusterId"]:
            refuse_cluster_in_use(cluster_id, store, self._kms.describe_all({}))
        if not cluster.is_known:
            self._history.warn(
                f"Whether the CloudHSM cluster {cluster_id} could connect the custom key store {store} again was not checked"
                f" before the disconnect. {cluster.problem}"
            )

    def _check_proxy(self, store: CustomKeyStore, plan: Plan) -> None:
        """Only a failed check refuses the plan: KMS may reach a proxy that this host cannot check."""
        configuration = endpoint_to_check(store, plan)
        if configuration is None or self._check_endpoint is None:
            return
        checks = self._check_endpoint(configuration)
        refuse_endpoint(checks, store)
        if all(check.outcome is Outcome.UNKNOWN for check in checks):
            why = " ".join(check.text for check in checks)
            self._history.warn(
                f"Whether KMS could connect the custom key store {store} again was not checked before the disconnect. {why}"
            )
        for check in checks:
            if check.outcome is Outcome.WARNING:
                self._history.warn(check.text)

    def keys_of(self, store: CustomKeyStore) -> Sequence[Key]:
        """The KMS keys in a store that the task deletes.

        Before a disconnect, it must be certain that the store holds no keys. If the store is disconnected already, KMS itself
        refuses the deletion, and the error names the keys that the caller may describe.

        Raises:
            KmsError: a request to KMS failed; or, for a store in service, the caller may not describe its keys.
        """
        from .keys import DENIED  # long, and few tasks need it
        from .keys import keys_in_store
        from .keys import keys_in_stores

        if store.connection_state in IN_SERVICE:
            return keys_in_store(self._kms.keys, store.id)
        unseen: Optional[KmsError]
        try:
            found = keys_in_stores(self._kms.keys, [store.id])
            keys, unseen = found.keys, found.worst_error
        except KmsError as error:
            keys, unseen = (), error
        if unseen is not None and unseen.code != DENIED:
            raise unseen
        if unseen is not None:
            self._history.warn(f"Whether the custom key store {store} holds KMS keys is left to KMS. {unseen.message}")
        return keys
