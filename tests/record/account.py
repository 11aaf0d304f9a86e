# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's own AWS account: what must be so before the user is asked, and before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.record.disguise import Disguise
from tests.record.disguise import parts_of_arn
from tests.record.player import StoppedError
from tests.record.requests import UNKNOWN_NAME
from tests.record.requests import renamed

READING = Config(retries={"mode": "standard", "total_max_attempts": 5})
CHANGING = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
"""A second try could meet what the first one has done. What KMS must refuse is for KMS to refuse."""

NOT_FOUND = "CustomKeyStoreNotFoundException"


@dataclass
class Account:
    """One key store of a user's account, and the clients for it. No secret is asked for.

    Attributes:
        reading, changing: boto3 clients for KMS, as Player has them.
        store: the key store as KMS describes it.
        number: of the account.
        caller: the ARN of the caller, and what else of the caller must not get into a recording.
    """

    reading: Any
    changing: Any
    store: dict[str, Any]
    number: str = field(repr=False)
    caller: set[str] = field(repr=False)

    @property
    def region(self) -> str:
        return str(self.reading.meta.region_name)

    @property
    def partition(self) -> str:
        return str(self.reading.meta.partition)

    def disguise(self) -> Disguise:
        return Disguise(self.store, self.number, {*self.caller, self.region})


def find(name: str, session: Any = None) -> Account:
    """The key store with a name, which must be CONNECTED, and fit to be connected again. Raises StoppedError."""
    session = session or boto3.Session()
    reading, changing = session.client("kms", config=READING), session.client("kms", config=CHANGING)
    store = _described(reading, name)
    if store is None:
        raise StoppedError(f"There is no custom key store {name!r} in {reading.meta.region_name}. Nothing was done.")
    state = store["ConnectionState"]
    if state != "CONNECTED":
        raise StoppedError(f"{name} is {state}. Only a key store that is CONNECTED is recorded. Nothing was done.")
    for other in (renamed(name), UNKNOWN_NAME):
        if _described(reading, other) is not None:
            raise StoppedError(f"There is a key store {other!r}, and that name is needed. Nothing was done.")
    if "CloudHsmClusterId" in store:
        _check_cluster(session.client("cloudhsmv2", config=READING), store["CloudHsmClusterId"])
    identity = session.client("sts", config=READING).get_caller_identity()
    caller = {*parts_of_arn(identity["Arn"]), identity["UserId"], *identity["UserId"].split(":")}
    return Account(reading, changing, store, identity["Account"], {*caller, session.get_credentials().access_key})


def _described(kms: Any, name: str) -> dict[str, Any] | None:
    try:
        (store,) = kms.describe_custom_key_stores(CustomKeyStoreName=name)["CustomKeyStores"]
    except ClientError as error:
        if error.response["Error"]["Code"] == NOT_FOUND:
            return None
        raise
    return dict(store)


def _check_cluster(cloudhsm: Any, cluster_id: str) -> None:
    """Could KMS connect to the cluster again? Raises StoppedError."""
    clusters = cloudhsm.describe_clusters(Filters={"clusterIds": [cluster_id]})["Clusters"]
    state = clusters[0]["State"] if clusters else "not there"
    if state != "ACTIVE":
        raise StoppedError(f"The cluster is {state}: KMS could not connect to it again. Nothing was done.")
    if not any(hsm.get("State") == "ACTIVE" for hsm in clusters[0].get("Hsms", [])):
        raise StoppedError("The cluster has no active HSM: KMS could not connect to it again. Nothing was done.")
