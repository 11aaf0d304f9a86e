# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands for the backends of custom key stores: clusters with their kmsuser, and proxies."""

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
"""Seconds from the start of an HSM type change during which it can be rolled back (R35)."""


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
        """Create a CloudHSM cluster, which moto's CloudHSM v2 then describes. Returns its ID.

        Args: active_hsms: number of active HSMs, spread over availability_zones; state: a state of CloudHSM v2;
        certificate: the trust anchor, which moto returns as ClusterCertificate (default: a generated one);
        source_cluster_id: the cluster from whose current backup this one is created: both have the same certificate, and
        the same password of kmsuser (R25); hsm_type: hsm1.medium or hsm2m.medium; mode: FIPS or NON_FIPS;
        network_type: IPV4 or DUALSTACK; network: create subnets and a security group in moto's EC2, where a test can break
        them; KMS does not check them (default: CloudHSM returns none).
        """
        if certificate is not None and source_cluster_id is not None:
            raise ValueError("A cluster made from a backup has the certificate of its source.")
        backend = self._backend
        backend.apply_transitions()
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

        Args: state: DELETED: the cluster does not exist any more. MODIFY_IN_PROGRESS, with the new hsm_type: the change lasts
        until the state is ACTIVE; the current users are backed up. ROLLBACK_IN_PROGRESS, with the old hsm_type: the change is
        rolled back, and the users are restored, unless a rule disables that (R35). rollback_seconds: time until
        HsmTypeRollbackExpiration (default: 24 hours from the start of MODIFY_IN_PROGRESS).
        """
        backend = self._backend
        backend.apply_transitions()
        clusters, passwords = backend.backing.clusters, backend.backing.passwords
        cluster = clusters.find(cluster_id)
        new_state = state if cluster is not None and cluster.state != state else None
        if new_state == "MODIFY_IN_PROGRESS" and rollback_seconds is None:
            rollback_seconds = ROLLBACK_SECONDS
        clusters.change(
            cluster_id,
            state=state,
            active_hsms=active_hsms,
            certificate=certificate,
            hsm_type=hsm_type,
            rollback_expiration=None if rollback_seconds is None else self._date_after(rollback_seconds),
        )
        if new_state == "MODIFY_IN_PROGRESS":
            passwords.back_up(cluster_id)
        elif new_state == "ROLLBACK_IN_PROGRESS" and backend.rules.rollback_restores_password:
            passwords.roll_back(cluster_id)

    def _date_after(self, seconds: float) -> datetime.datetime:
        """Return the date after this number of seconds, by the emulator's clock."""
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"rollback_seconds must be 0 or more, and at most {LONGEST}.")
        return self._backend.clock.date() + datetime.timedelta(seconds=seconds)

    @command
    def change_kmsuser_password(self, custom_key_store_or_cluster_id: str, password: str) -> None:
        """Change kmsuser's password in a cluster, like changePswd. Unlocks kmsuser. KMS keeps the old password (R15)."""
        check_value("KeyStorePasswordType", password, "password")
        passwords, cluster_id = self._kmsuser(custom_key_store_or_cluster_id)
        passwords.change(cluster_id, password)

    @command
    def set_kmsuser_logged_in(self, custom_key_store_or_cluster_id: str, logged_in: bool) -> None:
        """Log in to a cluster as kmsuser, or log out. While logged in, connects fail with USER_LOGGED_IN (R15)."""
        passwords, cluster_id = self._kmsuser(custom_key_store_or_cluster_id)
        passwords.set_logged_in(cluster_id, logged_in)

    @command
    def create_kmsuser(
        self, custom_key_store_or_cluster_id: str, password: str, *, second_factor: bool = False
    ) -> None:
        """Create kmsuser in a cluster where it was deleted. Each new cluster has it.

        Args: second_factor: enable two-factor authentication, so that connects fail with INVALID_CREDENTIALS until
        delete_kmsuser() (R16).
        """
        check_value("KeyStorePasswordType", password, "password")
        passwords, cluster_id = self._kmsuser(custom_key_store_or_cluster_id)
        passwords.create(cluster_id, password, second_factor=second_factor)

    @command
    def delete_kmsuser(self, custom_key_store_or_cluster_id: str) -> None:
        """Delete kmsuser from a cluster. Connects then fail with USER_NOT_FOUND (R16)."""
        passwords, cluster_id = self._kmsuser(custom_key_store_or_cluster_id)
        passwords.delete(cluster_id)

    def _kmsuser(self, custom_key_store_or_cluster_id: str) -> tuple[Passwords, str]:
        """Return all current passwords, and the cluster's ID."""
        backend = self._backend
        backend.apply_transitions()
        if custom_key_store_or_cluster_id.startswith("cluster-"):
            check_value("CloudHsmClusterIdType", custom_key_store_or_cluster_id, "custom_key_store_or_cluster_id")
            return backend.backing.passwords, custom_key_store_or_cluster_id
        cluster_id = backend.get_store(custom_key_store_or_cluster_id).cloud_hsm_cluster_id
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
        """Configure the external key store proxy at an endpoint. A proxy that is not configured accepts every request.

        Args: access_key_id, raw_secret_access_key: the only credential that it accepts (default: any);
        keep_credentials: also accept the earlier credentials (R17); reachable: False: KMS cannot reach the proxy;
        failure: the failure of the proxy. One of: an error of the XKS proxy API specification, such as AccessDeniedException;
        UndecryptableCiphertext, InvalidTls, TimedOut or MalformedResponse; or an exception of CreateCustomKeyStore, such as
        XksProxyVpcEndpointServiceNotFoundException. It affects stores, connects, and keys, each in its own way;
        external_keys: IDs of all external keys (default: each ID is valid).
        """
        check_value("XksProxyUriEndpointType", uri_endpoint, "uri_endpoint")
        if (access_key_id is None) != (raw_secret_access_key is None):
            raise ValueError("A credential has an access key id and a raw secret access key.")
        failures = sorted((set(FAILURES) | set(BY_EXCEPTION)) - {UNREACHABLE})
        if failure is not None and (not reachable or failure not in failures):
            raise ValueError(f"A reachable proxy can fail with: {', '.join(failures)}.")
        proxies = self._backend.backing.proxies
        proxy = proxies.proxy_at(uri_endpoint)
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
        """Configure an external key of the proxy at an endpoint. An external key that is not configured is valid for KMS keys.

        Args: key_spec: KMS can create a KMS key with AES_256 only; key_status: with ENABLED only; key_usage: with both ENCRYPT
        and DECRYPT only (the default). If the status or the usage changes later, requests with the KMS key fail.
        """
        check_value("XksProxyUriEndpointType", uri_endpoint, "uri_endpoint")
        check_value("XksKeyIdType", xks_key_id, "xks_key_id")
        usage = frozenset(KEY_USAGE if key_usage is None else key_usage)
        proxy = self._backend.backing.proxies.proxy_at(uri_endpoint)
        proxy.flawed_keys[xks_key_id] = ExternalKey(key_spec, key_status, usage)
