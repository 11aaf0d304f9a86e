# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steering what is behind custom key stores: clusters with their kmsuser, and proxies."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from .clusters import HSM_TYPE
from .clusters import Kind
from .commands import LONGEST
from .commands import Commands
from .commands import command
from .proxies import BY_EXCEPTION
from .proxies import FAILURES
from .proxies import KEY_SPEC
from .proxies import KEY_STATUS
from .proxies import KEY_USAGE
from .proxies import UNREACHABLE
from .proxies import ExternalKey
from .validation import check_value

if TYPE_CHECKING:
    from .passwords import Passwords

ROLLBACK_SECONDS = 24 * 60 * 60
"""So long after it began, the change of a cluster's HSM type can be rolled back (R35)."""


class BackingCommands(Commands):
    """The part of Control for clusters, kmsuser and proxies."""

    @command
    def create_cluster(
        self,
        *,
        active_hsms: int = 2,
        availability_zones: int = 2,
        state: str = "ACTIVE",
        certificate: str | None = None,
        source_cluster_id: str | None = None,
        hsm_type: str = HSM_TYPE,
        mode: str = "FIPS",
        network_type: str = "IPV4",
        network: bool = False,
    ) -> str:
        """Create a CloudHSM cluster, which moto's CloudHSM v2 then describes, and return its id.

        Args: active_hsms: how many, spread over so many availability_zones; state: one of CloudHSM's;
        certificate: the trust anchor, which moto shows as ClusterCertificate (default: one made up);
        source_cluster_id: the cluster whose backup, taken now, this one is made of: it has the same certificate, and
        kmsuser with the same password (R25); hsm_type: hsm1.medium or hsm2m.medium; mode: FIPS or NON_FIPS;
        network_type: IPV4 or DUALSTACK; network: it has subnets and a security group, which are there in moto's EC2, where a test
        may spoil them; KMS does not look at them (default: CloudHSM tells of none).
        """
        if certificate is not None and source_cluster_id is not None:
            raise ValueError("A cluster made from a backup has the certificate of its source.")
        backend = self._backend
        backend.settle()
        cluster_id = backend.backing.clusters.create(
            active_hsms=active_hsms,
            zones=availability_zones,
            state=state,
            certificate=certificate,
            source=source_cluster_id,
            kind=Kind(hsm_type, mode, network_type),
            network=network,
        )
        if source_cluster_id is not None:
            backend.backing.passwords.restore(cluster_id, source_cluster_id)
        return cluster_id

    @command
    def set_cluster(
        self,
        cluster_id: str,
        *,
        state: str | None = None,
        active_hsms: int | None = None,
        certificate: str | None = None,
        hsm_type: str | None = None,
        rollback_seconds: float | None = None,
    ) -> None:
        """Change a cluster's state, its number of active HSMs, its certificate, or its HSM type; None: as before.

        Args: state: DELETED: it is gone. MODIFY_IN_PROGRESS, with the new hsm_type: that is being changed, until it is ACTIVE;
        its users, as they are now, are kept. ROLLBACK_IN_PROGRESS, with the old one: that is rolled back, and its users are those
        of before, unless a rule says otherwise (R35). rollback_seconds: for so long from now it can be rolled back,
        HsmTypeRollbackExpiration (default: for 24 hours from when it is MODIFY_IN_PROGRESS).
        """
        backend = self._backend
        backend.settle()
        clusters, passwords = backend.backing.clusters, backend.backing.passwords
        known = clusters.find(cluster_id)
        begins = state if known is not None and known.state != state else None
        if begins == "MODIFY_IN_PROGRESS" and rollback_seconds is None:
            rollback_seconds = ROLLBACK_SECONDS
        clusters.change(
            cluster_id,
            state=state,
            active_hsms=active_hsms,
            certificate=certificate,
            hsm_type=hsm_type,
            rollback_expiration=None if rollback_seconds is None else self._in(rollback_seconds),
        )
        if begins == "MODIFY_IN_PROGRESS":
            passwords.back_up(cluster_id)
        elif begins == "ROLLBACK_IN_PROGRESS" and backend.rules.rollback_restores_password:
            passwords.roll_back(cluster_id)

    def _in(self, seconds: float) -> datetime.datetime:
        """The date in so many seconds, by the emulator's clock."""
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"rollback_seconds must be 0 or more, and at most {LONGEST}.")
        return self._backend.clock.date() + datetime.timedelta(seconds=seconds)

    @command
    def change_kmsuser_password(self, custom_key_store_or_cluster_id: str, password: str) -> None:
        """Change kmsuser's password in a cluster, like changePswd there: unlocks kmsuser; KMS is not told (R15)."""
        check_value("KeyStorePasswordType", password, "password")
        passwords, cluster_id = self._kmsuser(custom_key_store_or_cluster_id)
        passwords.change(cluster_id, password)

    @command
    def set_kmsuser_logged_in(self, custom_key_store_or_cluster_id: str, logged_in: bool) -> None:
        """Log in to a cluster as kmsuser, or out: KMS cannot connect meanwhile, USER_LOGGED_IN (R15)."""
        passwords, cluster_id = self._kmsuser(custom_key_store_or_cluster_id)
        passwords.set_logged_in(cluster_id, logged_in)

    @command
    def create_kmsuser(
        self, custom_key_store_or_cluster_id: str, password: str, *, second_factor: bool = False
    ) -> None:
        """Create kmsuser in a cluster where it was deleted. Others have it from the start.

        Args: second_factor: with two-factor authentication, so that KMS cannot log in, INVALID_CREDENTIALS; only
        delete_kmsuser() ends that (R16).
        """
        check_value("KeyStorePasswordType", password, "password")
        passwords, cluster_id = self._kmsuser(custom_key_store_or_cluster_id)
        passwords.create(cluster_id, password, second_factor=second_factor)

    @command
    def delete_kmsuser(self, custom_key_store_or_cluster_id: str) -> None:
        """Delete kmsuser from a cluster: KMS cannot connect then, USER_NOT_FOUND (R16)."""
        passwords, cluster_id = self._kmsuser(custom_key_store_or_cluster_id)
        passwords.delete(cluster_id)

    def _kmsuser(self, custom_key_store_or_cluster_id: str) -> tuple[Passwords, str]:
        """All passwords, as they are now, and the cluster's id."""
        backend = self._backend
        backend.settle()
        if custom_key_store_or_cluster_id.startswith("cluster-"):
            check_value("CloudHsmClusterIdType", custom_key_store_or_cluster_id, "custom_key_store_or_cluster_id")
            return backend.backing.passwords, custom_key_store_or_cluster_id
        cluster_id = backend.known_store(custom_key_store_or_cluster_id).cloud_hsm_cluster_id
        if cluster_id is None:
            raise ValueError("An external key store has no kmsuser.")
        return backend.backing.passwords, cluster_id

    @command
    def set_proxy(
        self,
        uri_endpoint: str,
        *,
        access_key_id: str | None = None,
        raw_secret_access_key: str | None = None,
        keep_credentials: bool = False,
        reachable: bool = True,
        failure: str | None = None,
        external_keys: list[str] | None = None,
    ) -> None:
        """Say what the external key store proxy at an endpoint is like. Others are fine with everything.

        Args: access_key_id, raw_secret_access_key: the only credential that it accepts (default: it accepts any);
        keep_credentials: it accepts those from before as well (R17); reachable: False, KMS does not reach it;
        failure: what is wrong with it. The error that it answers with, by the names of the XKS proxy API specification, such as
        AccessDeniedException; UndecryptableCiphertext, InvalidTls, TimedOut or MalformedResponse; or the exception that creating
        a store with it ends with, such as XksProxyVpcEndpointServiceNotFoundException. Stores, connects, and keys then fail each
        in its own way; external_keys: ids of all the keys behind it (default: any id is good).
        """
        check_value("XksProxyUriEndpointType", uri_endpoint, "uri_endpoint")
        if (access_key_id is None) != (raw_secret_access_key is None):
            raise ValueError("A credential has an access key id and a raw secret access key.")
        failures = sorted((set(FAILURES) | set(BY_EXCEPTION)) - {UNREACHABLE})
        if failure is not None and (not reachable or failure not in failures):
            raise ValueError(f"A reachable proxy can fail with: {', '.join(failures)}.")
        proxies = self._backend.backing.proxies
        proxy = proxies.configured(uri_endpoint)
        name = failure if reachable else UNREACHABLE
        proxy.failure = FAILURES[BY_EXCEPTION.get(name, name)] if name is not None else None
        proxy.external_keys = frozenset(external_keys) if external_keys is not None else None
        if not keep_credentials:
            proxy.credentials = frozenset()
        if access_key_id is not None and raw_secret_access_key is not None:
            proxy.credentials |= {proxies.credential(access_key_id, raw_secret_access_key)}

    @command
    def set_external_key(
        self,
        uri_endpoint: str,
        xks_key_id: str,
        *,
        key_spec: str = KEY_SPEC,
        key_status: str = KEY_STATUS,
        key_usage: list[str] | None = None,
    ) -> None:
        """Say what a key behind the proxy at an endpoint is like. Others are good for KMS keys.

        Args: key_spec: anything but AES_256, and key_status: anything but ENABLED, such as DISABLED, keep KMS from creating a KMS
        key with it; so does a key_usage (default: ENCRYPT, DECRYPT) that lacks one of the two. A KMS key that has it already
        cannot be used then.
        """
        check_value("XksProxyUriEndpointType", uri_endpoint, "uri_endpoint")
        check_value("XksKeyIdType", xks_key_id, "xks_key_id")
        usage = frozenset(KEY_USAGE if key_usage is None else key_usage)
        proxy = self._backend.backing.proxies.configured(uri_endpoint)
        proxy.flawed_keys[xks_key_id] = ExternalKey(key_spec, key_status, usage)
