# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Predicts whether KMS could connect custom key stores, from what AWS, their proxies and this host report."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from typing import Callable
from typing import Mapping
from typing import Optional
from typing import Sequence
from typing import Tuple

from .cluster_checks import check_cluster
from .clusters import Cluster
from .clusters import describe_clusters
from .kms import caller_account
from .kmsuser import check_kmsuser
from .lease import now
from .model import AWS_CLOUDHSM
from .model import CustomKeyStore
from .model import CustomKeyStoreError
from .prediction import Check
from .prediction import to_prediction
from .xks_probe import ProxyCredential
from .xks_probe import check_proxy
from .xks_probe import check_vpc_service

AT_ONCE = 10
"""Proxies. The quota of AWS for stores."""

PROGRAM_SECONDS = 30
"""The timeout of one command of cloudhsm-cli."""


def credentials_of(params: Mapping[str, Any]) -> dict[str, ProxyCredential]:
    """The option C(xks_proxy_credentials) of a module, by access key id.

    Raises:
        CustomKeyStoreError: two of them have the same access key id, or the task does not need them.
    """
    found: dict[str, ProxyCredential] = {}
    if params["xks_proxy_credentials"] and not params["predict_connect"]:
        raise CustomKeyStoreError("xks_proxy_credentials is for predict_connect: set that to true, or leave it out.")
    for option in params["xks_proxy_credentials"] or []:
        if option["access_key_id"] in found:
            raise CustomKeyStoreError(
                f"xks_proxy_credentials has {option['access_key_id']} twice: leave out the secret that is not valid."
            )
        found[option["access_key_id"]] = ProxyCredential(option["access_key_id"], option["raw_secret_access_key"])
    return found


def own_credential(params: Mapping[str, Any]) -> dict[str, ProxyCredential]:
    """The proxy credential in the options of a task, by its access key id."""
    options = params["xks_proxy_configuration"] or {}
    access_key_id, secret = (options.get(name) for name in ("access_key_id", "raw_secret_access_key"))
    if access_key_id is None or secret is None:
        return {}
    return {access_key_id: ProxyCredential(access_key_id, secret)}


class Predictor:
    """Checks what a connect needs, for stores in one account and Region. It changes nothing, and raises nothing.

    Args:
        client: makes a boto3 client for a service other than KMS, by its name in boto3.
        credentials: of external key store proxies, by access key id.
    """

    def __init__(self, client: Callable[[str], Any], credentials: Mapping[str, ProxyCredential]) -> None:
        self._client = client
        self._credentials = credentials
        self._lock = threading.Lock()
        self._made: dict[str, Any] = {}

    def predict(
        self, stores: Sequence[CustomKeyStore], region: str, clusters: Optional[Mapping[str, Cluster]] = None
    ) -> list[dict[str, Any]]:
        """Check each store.

        Args:
            stores: of one Region.
            region: its name.
            clusters: of the stores, by id; None if they were not described yet.

        Returns:
            C(connect_prediction) for the result of each store.
        """
        if not stores:
            return []
        known = self._clusters(stores) if clusters is None else clusters
        with ThreadPoolExecutor(AT_ONCE) as pool:
            checks = list(pool.map(lambda store: self._checks(store, known, region), stores))
        return [to_prediction(each) for each in checks]

    def _clusters(self, stores: Sequence[CustomKeyStore]) -> Mapping[str, Cluster]:
        ids = {store.description["CloudHsmClusterId"] for store in stores if store.type == AWS_CLOUDHSM}
        return describe_clusters(self._client("cloudhsmv2"), ids) if ids else {}

    def _checks(self, store: CustomKeyStore, clusters: Mapping[str, Cluster], region: str) -> list[Check]:
        if store.type == AWS_CLOUDHSM:
            cluster = clusters[store.description["CloudHsmClusterId"]]
            return [*check_cluster(cluster, self._network(cluster), now=now()), *check_kmsuser(cluster, run_program)]
        return self.check_endpoint(store.description["XksProxyConfiguration"], region)

    def _network(self, cluster: Cluster) -> Any:
        return self._ec2() if cluster.subnets or cluster.security_group else None

    def _ec2(self) -> Any:
        """A client for Amazon EC2, made only if needed: its model is the largest of AWS."""
        return self._once("ec2", lambda: self._client("ec2"))

    def _account(self) -> str:
        return str(self._once("account", lambda: caller_account(self._client("sts")) or ""))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        """Make a value once for all stores, in one thread at a time: amazon.aws makes clients from the options of the module."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    def check_endpoint(self, configuration: Mapping[str, Any], region: str) -> list[Check]:
        """Check an external key store proxy, and the VPC endpoint service in front of it.

        Args:
            configuration: C(XksProxyConfiguration) as KMS describes it.
            region: of the store.
        """
        credential = self._credentials.get(configuration.get("AccessKeyId", ""))
        checks = []
        if configuration.get("Connectivity") == "VPC_ENDPOINT_SERVICE":
            checks += check_vpc_service(self._ec2(), configuration, store_account=self._account())
        return checks + check_proxy(configuration, credential, region=region, now=now)


def run_program(command: Sequence[str]) -> Tuple[int, str, str]:
    """Run a program of this host.

    Returns:
        Its exit code, stdout and stderr; 127 if it cannot be run, 124 if it takes too long.
    """
    try:
        done = subprocess.run(  # noqa: S603  cloudhsm-cli, with arguments of our own
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PROGRAM_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"It did not end within {PROGRAM_SECONDS} seconds."
    except OSError as error:
        return 127, "", str(error)
    return done.returncode, done.stdout, done.stderr
