#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_custom_key_store
short_description: Manage an AWS KMS custom key store
version_added: 0.1.0
description:
  - Creates, changes, connects, disconnects, and deletes an AWS KMS custom key store. A custom key store keeps its KMS keys in an
    AWS CloudHSM cluster, or in an external key manager behind a proxy.
  - B(While a custom key store is disconnected, you cannot use any KMS key in it.) Data that is encrypted under these keys cannot
    be decrypted until the key store is connected again. This module disconnects a connected key store only with
    O(state=disconnected) or O(allow_disconnect=true).
  - The module sends only properties that differ. Some properties can change only while the key store is disconnected. With
    O(allow_disconnect=true), the module disconnects the key store, changes it, and connects it again. If KMS refuses the change,
    the module connects the key store again with its old settings, and the task fails with the reason.
  - With O(state=present), the module writes a lease before such a disconnect, to the folder C(~/.keyops-aws) on the managed host.
    The lease records that the key store was in service. If the task is killed or reaches its timeout, run it again within a day.
    The task then connects the key store, and warns you.
  - On one host, the task that starts last owns the key store. If the Ansible run of an earlier task was interrupted, that task
    may still run in the background, but it makes no more changes to the key store.
  - If the requested transition is already in progress, the task joins it and does not start it again. It does not matter who
    started the transition.
  - If nothing has to change, the task makes one request.
author:
  - Contributors to the keyops.aws collection (!UNKNOWN)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - keyops.aws.attributes
  - keyops.aws.attributes.actiongroup_aws
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(present) ensures that the key store exists and has the given properties. If it does not exist, the task creates it, or
        fails if you do not give all options that are required to create it. The connection state stays as it is, with one
        exception. If a property of a C(FAILED) key store must change, the task disconnects the key store.
      - V(connected) also connects the key store, and waits until it is C(CONNECTED). If the key store is C(FAILED), the task
        disconnects it first and then connects it, once. Connecting takes up to 20 minutes for a key store in AWS CloudHSM, and
        about 5 minutes for an external key store.
      - A key store in AWS CloudHSM can be C(FAILED) with C(INVALID_CREDENTIALS), C(USER_LOCKED_OUT), C(USER_LOGGED_IN) or
        C(USER_NOT_FOUND). With V(connected), the task then leaves the key store alone and fails with the remedy. Each further
        attempt is a login that may lock C(kmsuser) out of the cluster. To connect with a new password, set O(key_store_password)
        and O(update_credentials=always).
      - V(disconnected) disconnects the key store, or aborts a connect in progress, and waits until it is C(DISCONNECTED). All
        KMS keys in it become unusable at once. The task changes properties after the disconnect.
      - V(absent) deletes the key store. If the key store is connected, this needs O(allow_disconnect=true). The task disconnects
        it only after it has verified that the key store holds no KMS keys. Keys that are pending deletion count, too. If the key
        store is not in service, KMS makes this check. If KMS refuses, the task names the keys that the caller may describe.
    type: str
    default: present
    choices:
      - present
      - absent
      - connected
      - disconnected
  custom_key_store_id:
    description:
      - The ID of the custom key store.
      - O(custom_key_store_id) or O(name) is required.
    type: str
    aliases:
      - id
  name:
    description:
      - The friendly name of the custom key store.
      - Without O(custom_key_store_id), the name identifies the key store. With O(custom_key_store_id), a key store that has
        another name is renamed to this one.
    type: str
    aliases:
      - custom_key_store_name
  custom_key_store_type:
    description:
      - What backs the key store. It can never change.
      - If you do not set it, a new key store has the type V(AWS_CLOUDHSM).
    type: str
    choices:
      - AWS_CLOUDHSM
      - EXTERNAL_KEY_STORE
  cloud_hsm_cluster_id:
    description:
      - The ID of the AWS CloudHSM cluster. Required to create a key store of the type V(AWS_CLOUDHSM).
      - While the key store is disconnected, you can change this ID to that of a cluster that was created from a backup of the
        old cluster.
    type: str
  trust_anchor_certificate:
    description:
      - The certificate C(customerCA.crt) with which the cluster was initialized, in PEM format. It can never change.
      - Required to create a key store of the type V(AWS_CLOUDHSM).
    type: str
  key_store_password:
    description:
      - The password of the crypto user C(kmsuser) in the cluster. Required to create a key store of the type V(AWS_CLOUDHSM).
      - This option gives KMS the password. It changes nothing in the cluster.
      - Each successful connect changes the password to one that only KMS knows. For an existing key store, the task therefore
        sends this option only with O(update_credentials=always).
    type: str
  xks_proxy_configuration:
    description:
      - How KMS reaches the proxy of an external key store. Suboptions that you leave out keep their values.
    type: dict
    suboptions:
      connectivity:
        description:
          - Whether KMS reaches the proxy over the internet or through a VPC endpoint service.
          - To change it, also change O(xks_proxy_configuration.uri_endpoint). For V(VPC_ENDPOINT_SERVICE), also set
            O(xks_proxy_configuration.vpc_endpoint_service_name). The connectivity can change only while the key store is
            disconnected.
        type: str
        choices:
          - PUBLIC_ENDPOINT
          - VPC_ENDPOINT_SERVICE
      uri_endpoint:
        description:
          - The scheme and host of the proxy, such as V(https://xks.example.com). It can change only while the key store is
            disconnected.
          - KMS connects to port 443 only, so the value has no port.
        type: str
      uri_path:
        description: The path of the proxy's API, such as V(/example/kms/xks/v1). It can change while the key store is connected.
        type: str
      vpc_endpoint_service_name:
        description: The name of the VPC endpoint service. It can change only while the key store is disconnected.
        type: str
      vpc_endpoint_service_owner:
        description:
          - The account that owns the VPC endpoint service, if it differs from the account of the key store. It can change only
            while the key store is disconnected.
          - Requires botocore 1.40.70 or newer.
        type: str
      access_key_id:
        description:
          - The ID of the credential with which KMS signs its requests to the proxy. It can change while the key store is
            connected.
          - The task sends the credential if this ID differs from the ID that the key store has.
        type: str
      raw_secret_access_key:
        description: The secret that belongs to O(xks_proxy_configuration.access_key_id). KMS never returns it.
        type: str
  update_credentials:
    description:
      - When to send O(key_store_password) and O(xks_proxy_configuration.raw_secret_access_key), which KMS never returns.
      - V(on_create) sends them when the key store is created. The credential of a proxy is also sent when its ID changes.
      - V(always) sends them on each run, so each run reports a change.
    type: str
    default: on_create
    choices:
      - on_create
      - always
  allow_disconnect:
    description:
      - Whether the task may disconnect a connected or connecting key store, if a change or its deletion needs that. With
        V(false), such a task fails before it changes anything.
      - O(state=disconnected) does not need this option.
      - If the task has to disconnect a key store in AWS CloudHSM and connect it again, it checks the cluster before the
        disconnect. If O(cloud_hsm_cluster_id) names a new cluster, the task checks the new cluster instead. If the cluster is
        not C(ACTIVE), or has too few active HSMs, the task fails and the key store stays in service. If the caller may not
        describe the cluster, the task warns and continues.
      - Before it disconnects an external key store, the task checks the proxy. If KMS could not use the proxy, the task fails and
        the key store stays in service.
    type: bool
    default: false
  wait:
    description:
      - Wait until the key store is in the requested state.
      - With V(false), the task still waits if its next request needs that. For example, it waits for C(DISCONNECTED) before it
        connects a key store that was C(FAILED).
    type: bool
    default: true
  wait_timeout:
    description:
      - The timeout in seconds for all waits of the task together, including waits caused by throttling.
      - When the time is up, the task fails, but KMS continues the operation. Run the task again to resume the wait.
      - According to AWS, a connect takes up to 20 minutes. Users have seen more than 30 minutes. If the default is too short for
        you, raise it.
    type: int
    default: 1800
seealso:
  - name: AWS KMS custom key stores
    description: The chapter on custom key stores in the AWS KMS developer guide.
    link: https://docs.aws.amazon.com/kms/latest/developerguide/key-store-overview.html
  - module: keyops.aws.kms_custom_key_store_info
  - module: amazon.aws.kms_key
  - module: amazon.aws.kms_key_info
notes:
  - The caller needs the permission C(kms:DescribeCustomKeyStores) in an IAM policy. Depending on the task, the caller also needs
    C(kms:ConnectCustomKeyStore) and C(kms:DisconnectCustomKeyStore), C(kms:CreateCustomKeyStore), C(kms:UpdateCustomKeyStore) or
    C(kms:DeleteCustomKeyStore).
  - To delete a connected key store, the caller also needs C(kms:ListKeys) and C(kms:DescribeKey). For a change that needs a
    disconnect, the caller also needs C(cloudhsm:DescribeClusters), to check whether the cluster can connect the key store again.
  - C(CONNECTED) means that the last connect succeeded, and that nobody has disconnected the key store since. It does not show
    whether the backing key store is healthy.
"""

EXAMPLES = r"""
- name: Disconnect the key store before maintenance on its cluster
  keyops.aws.kms_custom_key_store:
    custom_key_store_id: cks-1234567890abcdef0
    state: disconnected

- name: Connect the key store and wait until its keys can be used again
  keyops.aws.kms_custom_key_store:
    name: payments
    state: connected

- name: Start a connect and do not wait for it
  keyops.aws.kms_custom_key_store:
    name: payments
    state: connected
    wait: false

- name: Return the key store, or fail if it does not exist
  keyops.aws.kms_custom_key_store:
    name: payments
  register: payments

- name: Ensure that a key store in AWS CloudHSM exists and is connected
  keyops.aws.kms_custom_key_store:
    name: ledger
    state: connected
    custom_key_store_type: AWS_CLOUDHSM
    cloud_hsm_cluster_id: cluster-2a34b5cdefg
    trust_anchor_certificate: "{{ lookup('ansible.builtin.file', 'customerCA.crt') }}"
    key_store_password: "{{ kmsuser_password }}"

- name: Ensure that an external key store with a public proxy endpoint exists
  keyops.aws.kms_custom_key_store:
    name: invoices
    custom_key_store_type: EXTERNAL_KEY_STORE
    xks_proxy_configuration:
      connectivity: PUBLIC_ENDPOINT
      uri_endpoint: https://xks.example.com
      uri_path: /invoices/kms/xks/v1
      access_key_id: "{{ proxy_access_key_id }}"
      raw_secret_access_key: "{{ proxy_secret_access_key }}"

- name: Ensure that an external key store behind a VPC endpoint service exists
  keyops.aws.kms_custom_key_store:
    name: archive
    custom_key_store_type: EXTERNAL_KEY_STORE
    xks_proxy_configuration:
      connectivity: VPC_ENDPOINT_SERVICE
      uri_endpoint: https://xks.internal.example.com
      uri_path: /archive/kms/xks/v1
      vpc_endpoint_service_name: com.amazonaws.vpce.us-east-1.vpce-svc-0123456789abcdef0
      access_key_id: "{{ proxy_access_key_id }}"
      raw_secret_access_key: "{{ proxy_secret_access_key }}"

- name: Rename a key store
  keyops.aws.kms_custom_key_store:
    custom_key_store_id: cks-1234567890abcdef0
    name: card-payments

- name: Replace the cluster with one that was created from its backup, with a short interruption
  keyops.aws.kms_custom_key_store:
    name: payments
    cloud_hsm_cluster_id: cluster-7f65g4edcba
    allow_disconnect: true

# To rotate the password of kmsuser: disconnect, change the password in the cluster, give KMS the new password, and connect. The
# last task sends the password on each run, so keep it out of the playbook that describes the key store.
- name: Disconnect the key store to log out kmsuser
  keyops.aws.kms_custom_key_store:
    name: payments
    state: disconnected

- name: Change the password on all HSMs of the cluster
  ansible.builtin.include_tasks: change_kmsuser_password.yml

- name: Give KMS the new password and connect
  keyops.aws.kms_custom_key_store:
    name: payments
    state: connected
    key_store_password: "{{ new_kmsuser_password }}"
    update_credentials: always

# To rotate the proxy credential of an external key store without interruption: make the proxy accept both credentials, and give
# KMS the new one. After five minutes, when KMS has stopped using the old one, remove it from the proxy.
- name: Give KMS the new credential
  keyops.aws.kms_custom_key_store:
    name: invoices
    xks_proxy_configuration:
      access_key_id: "{{ new_proxy_access_key_id }}"
      raw_secret_access_key: "{{ new_proxy_secret_access_key }}"

- name: Delete a key store that no longer holds any keys
  keyops.aws.kms_custom_key_store:
    name: archive
    state: absent
    allow_disconnect: true
"""

RETURN = r"""
custom_key_store:
  description:
    - The custom key store as KMS last described it. In check mode, the key store as it would be after the task. A key store that
      would be created has no ID yet.
    - Empty if the key store does not exist.
  returned: always
  type: dict
  contains:
    custom_key_store_id:
      description: The ID of the custom key store.
      returned: always
      type: str
      sample: cks-1234567890abcdef0
    custom_key_store_name:
      description: The friendly name of the custom key store.
      returned: always
      type: str
      sample: payments
    custom_key_store_type:
      description: What backs the custom key store, V(AWS_CLOUDHSM) or V(EXTERNAL_KEY_STORE).
      returned: always
      type: str
      sample: AWS_CLOUDHSM
    connection_state:
      description: One of V(CONNECTED), V(CONNECTING), V(DISCONNECTED), V(DISCONNECTING) and V(FAILED).
      returned: always
      type: str
      sample: CONNECTED
    connection_error_code:
      description: Why KMS could not connect the key store.
      returned: when C(connection_state) is V(FAILED)
      type: str
      sample: NETWORK_ERRORS
    creation_date:
      description: When the custom key store was created, in ISO 8601 format.
      returned: always
      type: str
      sample: "2026-01-31T12:00:00+00:00"
    cloud_hsm_cluster_id:
      description: The ID of the CloudHSM cluster.
      returned: for key stores in AWS CloudHSM
      type: str
      sample: cluster-2a34b5cdefg
    trust_anchor_certificate:
      description: The certificate that was created when the CloudHSM cluster was initialized, in PEM format.
      returned: for key stores in AWS CloudHSM
      type: str
    xks_proxy_configuration:
      description: How KMS reaches the external key store proxy.
      returned: for external key stores
      type: dict
      contains:
        connectivity:
          description: V(PUBLIC_ENDPOINT) or V(VPC_ENDPOINT_SERVICE).
          returned: always
          type: str
          sample: PUBLIC_ENDPOINT
        access_key_id:
          description: The access key ID of the credential with which KMS signs its requests to the proxy.
          returned: always
          type: str
          sample: ABCDE12345670EXAMPLE
        uri_endpoint:
          description: The scheme and host of the proxy.
          returned: always
          type: str
          sample: https://xks.example.com
        uri_path:
          description: The path of the proxy's API.
          returned: always
          type: str
          sample: /example/kms/xks/v1
        vpc_endpoint_service_name:
          description: The name of the VPC endpoint service.
          returned: when C(connectivity) is V(VPC_ENDPOINT_SERVICE)
          type: str
          sample: com.amazonaws.vpce.us-east-1.vpce-svc-example
        vpc_endpoint_service_owner:
          description: The account that owns the VPC endpoint service.
          returned: when C(connectivity) is V(VPC_ENDPOINT_SERVICE)
          type: str
          sample: "123456789012"
operations:
  description:
    - The mutating operations that KMS accepted, in order. In check mode, the operations that the task would request.
    - RV(ignore:changed) is true if and only if the list has an entry.
  returned: always
  type: list
  elements: str
  sample:
    - DisconnectCustomKeyStore
    - ConnectCustomKeyStore
connection_states:
  description: The connection states that the task saw, in order. The first is the state before the task.
  returned: always
  type: list
  elements: str
  sample:
    - FAILED
    - DISCONNECTING
    - DISCONNECTED
    - CONNECTING
    - CONNECTED
connection_error:
  description:
    - Why the store is C(FAILED), or was C(FAILED) at some time during the task. After a disconnect, KMS no longer returns the
      reason.
  returned: when the store is or was C(FAILED)
  type: dict
  contains:
    code:
      description: The connection error code.
      returned: always
      type: str
      sample: NETWORK_ERRORS
    cause:
      description: What the code means.
      returned: always
      type: str
      sample: Network errors keep KMS from reaching the backing key store.
    remedy:
      description: What to do, step by step.
      returned: always
      type: list
      elements: str
      sample:
        - Wait a few minutes.
        - Connect the custom key store again (state=connected). If it is FAILED, the task disconnects it first.
    guide:
      description: The address of the runbook for this code, with commands for the diagnosis and for what to do.
      returned: always
      type: str
      sample: https://example.org/keyops.aws/docs/docsite/runbook_network_errors.html
error:
  description: The error that AWS returned.
  returned: when an error from AWS made the task fail
  type: dict
  contains:
    code:
      description: The error code.
      returned: always
      type: str
      sample: AccessDeniedException
    message:
      description: The error message from AWS.
      returned: always
      type: str
"""

import gc

if __name__ == "__main__":
    gc.disable()  # during the imports: no imported object is freed, and garbage collection takes a tenth of a task's time

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from typing import Any
from typing import Mapping
from typing import Optional
from typing import Sequence

from ansible_collections.amazon.aws.plugins.module_utils.common import set_collection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import result
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.apply import Handover
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.apply import MustWait
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Worker
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clients import service_client
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.history import History
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms import place
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.lease import Leases
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import FOLDER
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import Ownership
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.owner import Permit
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import SERVICE_OWNER
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import desired_store
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import refuse_two_identities
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.service import client_config
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.task import Task
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_NAME
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_VERSION


def argument_spec() -> dict[str, dict[str, Any]]:
    """The options of this module; C(AnsibleAWSModule) adds those of every AWS module."""
    return {
        "state": {"type": "str", "default": "present", "choices": ["present", "absent", "connected", "disconnected"]},
        "custom_key_store_id": {"type": "str", "aliases": ["id"]},
        "name": {"type": "str", "aliases": ["custom_key_store_name"]},
        "custom_key_store_type": {"type": "str", "choices": ["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"]},
        "cloud_hsm_cluster_id": {"type": "str"},
        "trust_anchor_certificate": {"type": "str"},
        "key_store_password": {"type": "str", "no_log": True},
        "xks_proxy_configuration": {
            "type": "dict",
            "options": {
                "connectivity": {"type": "str", "choices": ["PUBLIC_ENDPOINT", "VPC_ENDPOINT_SERVICE"]},
                "uri_endpoint": {"type": "str"},
                "uri_path": {"type": "str"},
                "vpc_endpoint_service_name": {"type": "str"},
                "vpc_endpoint_service_owner": {"type": "str"},
                "access_key_id": {"type": "str", "no_log": False},
                "raw_secret_access_key": {"type": "str", "no_log": True},
            },
        },
        "update_credentials": {"type": "str", "default": "on_create", "choices": ["on_create", "always"]},
        "allow_disconnect": {"type": "bool", "default": False},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 1800},
    }


INTERRUPTED = "~/.keyops-aws/interrupted"
"""On the managed host: a lease for each store that a task has disconnected for a change and not reconnected yet."""

if TYPE_CHECKING:
    from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Check

NO_PROCESS = (
    "The task has to wait, and no process could be started on the managed host that does it in the background. Nothing was lost:"
    " run the task again; it continues from the current state."
)

MODULE = "ansible_collections.keyops.aws.plugins.modules.kms_custom_key_store"


def ensure(module: AnsibleAWSModule, history: History, clock: Clock, worker: Worker, permit: Permit) -> dict[str, Any]:
    """Bring the store to the state that the task asks for.

    Returns:
        The task's result; or the job that will have it, if another process continues the task.

    Raises:
        CustomKeyStoreError: the task failed; C(history) has the steps up to then.
    """
    desired = desired_store(module.params)
    if SERVICE_OWNER.option in desired.given:
        module.require_botocore_at_least("1.40.70", reason=f"to use {SERVICE_OWNER.option}")
    refuse_two_identities(module.params)
    client = module.client("kms", config=client_config())

    def describe_cluster(cluster_id: str) -> Cluster:
        cloudhsm = service_client(module, "cloudhsmv2", timeout=10)
        return describe_clusters(cloudhsm, [cluster_id])[cluster_id]

    def check_endpoint(configuration: Mapping[str, Any]) -> Sequence[Check]:
        from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import predict  # few tasks need it

        predictor = predict.Predictor(
            partial(service_client, module, timeout=10), predict.own_credential(module.params)
        )
        return predictor.check_endpoint(configuration, str(client.meta.region_name))

    def where() -> str:
        return place(client.meta.region_name, service_client(module, "sts", timeout=2))

    clock = replace(clock, announce=worker.progress.reporter(desired, history))
    leases = Leases(INTERRUPTED, expires_after=24 * 3600)
    task = Task(
        desired,
        client=client,
        place=where,
        history=history,
        clock=clock,
        leases=leases,
        permit=permit,
        hands_over=worker.can_hand_over and not module.check_mode,
        describe_cluster=describe_cluster,
        check_endpoint=check_endpoint,
    )

    try:
        handover: Optional[Handover] = worker.handed_over and worker.handed_over[0]
        if handover is not None:
            task.resume(handover)
        plan = task.plan() if handover is None or handover.plan is None else handover.plan
        return task.predict(plan) if module.check_mode else task.run(plan)
    except MustWait:
        job = worker.hand_over(MODULE, lambda: (task.hand_over(), permit.ownership.hand_over()))
        if not job:
            raise CustomKeyStoreError(NO_PROCESS) from None
        return job
    finally:
        warn(module, history)


def warn(module: AnsibleAWSModule, history: History) -> None:
    for text in history.warnings:
        module.warn(text)
    if history.interrupted is not None:
        module.warn(
            f"The custom key store {history.store} was disconnected at {history.interrupted.time} by a task that was ended"
            " before it had connected it again. This one connects it."
        )


def main(worker: Optional[Worker] = None) -> None:
    worker = worker or Worker()
    set_collection_info(COLLECTION_NAME, COLLECTION_VERSION)
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        required_one_of=[("custom_key_store_id", "name")],
        supports_check_mode=True,
    )
    handover, claims = worker.handed_over or (None, None)
    history = handover.history if handover else History()
    permit = Permit(Ownership(FOLDER, worker.run, claims), worker.run)
    finish = module.exit_json
    try:
        outcome = ensure(module, history, Clock(), worker, permit)
    except CustomKeyStoreError as error:
        finish, outcome = module.fail_json, result.failed(history, error)
    finally:
        permit.ownership.release()
    if not module._diff:
        outcome.pop("diff", None)  # the other process has no result yet
    finish(**outcome)


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    main()
