# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the stores that windows have disconnected, by their leases: on this host, and in AWS."""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

import datetime
from typing import Any
from typing import Optional
from typing import Tuple

from .lease import Lease
from .lease import Leases
from .model import CustomKeyStoreError
from .schedule import AwsLeases
from .schedule import holder_token
from .schedule import is_in_use

Stores = list[dict[str, Any]]


def leased_stores(
    leases: Leases, in_aws: Optional[AwsLeases], *, even_in_use: bool
) -> Tuple[Stores, Stores, list[str], str]:
    """Find the stores that windows have disconnected.

    Args:
        leases: of this host.
        in_aws: the leases of an account and Region; None to read none.
        even_in_use: also return stores that a window still has?

    Returns:
        The stores to reconnect, as C(stores) of the module's options; the stores to leave alone, and who has them; the ids of all
        with a lease in AWS; and why the leases in AWS could not be listed, which does not stop the reconnect of other stores.

    Raises:
        CustomKeyStoreError: the leases of this host cannot be read.
    """
    of_aws, problem = {}, ""
    try:
        of_aws = {} if in_aws is None else {lease.custom_key_store_id: lease for lease in in_aws.all()}
    except CustomKeyStoreError as error:
        problem = f"The leases in AWS could not be read. {error.message}"
    of_host = {lease.custom_key_store_id: lease for lease in leases.all()}
    found: Stores = []
    left: Stores = []
    for store_id in [*of_host, *(each for each in of_aws if each not in of_host)]:
        lease = _held(of_host.get(store_id), of_aws.get(store_id), in_aws)
        if lease is None or even_in_use:
            reached = of_host[store_id].reached if store_id in of_host else {}
            found.append({"custom_key_store_id": store_id, **reached})
        else:
            left.append(_result(lease))
    return found, left, list(of_aws), problem


def _held(on_host: Optional[Lease], in_aws: Optional[Lease], leases: Optional[AwsLeases]) -> Optional[Lease]:
    """The lease by which a window still has the store; None if there is none.

    If the lease in AWS has another holder than the lease on this host, it decides. Otherwise, the lease on this host decides.
    """
    if in_aws is not None and leases is not None:
        is_own = on_host is not None and holder_token(on_host.holder) == in_aws.holder
        if not is_own:
            return in_aws if is_in_use(in_aws, leases.now()) else None
    return on_host if on_host is not None and on_host.is_kept(datetime.datetime.now(datetime.timezone.utc)) else None


def _result(lease: Lease) -> dict[str, Any]:
    names = ("custom_key_store_id", "name", "host", "time", "until")
    return {name: getattr(lease, name) or None for name in names}
