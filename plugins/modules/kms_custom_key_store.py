#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_custom_key_store
short_description: Manage a custom key store of AWS KMS
version_added: 0.1.0
description:
  - Creates, changes, connects, disconnects and deletes a custom key store of AWS KMS, which keeps its KMS keys in an AWS
    CloudHSM cluster, or in an external key manager behind a proxy.
  - B(While a custom key store is disconnected, every KMS key in it is unusable.) Whatever is encrypted under such a key cannot
    be decrypted until the store is connected again. This module never disconnects a connected store unless
    O(state=disconnected) asks for it or O(allow_disconnect) allows it.
  - Only properties that differ are sent. Where one can only change while the store is disconnected, and O(allow_disconnect)
    allows it, the store is disconnected, changed, and connected again. When KMS refuses the change, the store is connected again
    with its old settings, and the task fails with the reason.
  - Before that, it keeps a lease in the folder C(~/.keyops-aws) of the managed host. Should the task be killed, or not be done in
    time, running it again within a day connects the store, also with O(state=present), and warns of it.
  - On one host, the task that begins last owns a store. An earlier task that still works on it in the background, because its run
    of Ansible was interrupted, makes no more changes to it.
  - A transition that is under way already, whoever began it, is joined and not begun again.
  - A task that changes nothing makes one request.
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
      - V(present) means that the store exists and has the given properties. It is created when it is not there and all options
        for that are given. Its connection is left as it is found, but that one which is C(FAILED) is disconnected where a
        property must change.
      - V(connected) connects the store, too, and waits until it is C(CONNECTED). One that is C(FAILED) is disconnected first and
        then connected, once. Connecting takes up to 20 minutes for a store in AWS CloudHSM, and about 5 for an external one.
      - With V(connected), a store in AWS CloudHSM that is C(FAILED) with C(INVALID_CREDENTIALS), C(USER_LOCKED_OUT),
        C(USER_LOGGED_IN) or C(USER_NOT_FOUND) is left alone and the task fails with the remedy, because each further attempt is
        a login that may lock C(kmsuser) out of the cluster. With O(key_store_password) and O(update_credentials=always) it is
        connected with the new password.
      - V(disconnected) disconnects the store, or aborts its connecting, and waits until it is C(DISCONNECTED). All KMS keys in
        it become unusable at once. Properties are changed then.
      - V(absent) deletes the store. One that is connected is only disconnected for that with O(allow_disconnect=true), and not
        before it is proved that it holds no KMS key, one whose deletion is pending included. Of one that is not in service, KMS
        judges that itself, and the keys that the caller may describe are named.
    type: str
    default: present
    choices:
      - present
      - absent
      - connected
      - disconnected
  custom_key_store_id:
    description:
      - The id of the custom key store.
      - One of O(custom_key_store_id) and O(name) is required.
    type: str
    aliases:
      - id
  name:
    description:
      - The friendly name of the custom key store.
      - Alone, it tells which store. With O(custom_key_store_id), it is the name that the store should have, and a store that has
        another one is renamed.
    type: str
    aliases:
      - custom_key_store_name
  custom_key_store_type:
    description:
      - What backs the store. It can never change.
      - Where it is not given, a store that is created is one of the type V(AWS_CLOUDHSM).
    type: str
    choices:
      - AWS_CLOUDHSM
      - EXTERNAL_KEY_STORE
  cloud_hsm_cluster_id:
    description:
      - The id of the AWS CloudHSM cluster. Required to create a store of the type V(AWS_CLOUDHSM).
      - It can change to a cluster that was made from a backup of the old one, while the store is disconnected.
    type: str
  trust_anchor_certificate:
    description:
      - The certificate C(customerCA.crt) with which the cluster was initialized, in PEM. Required to create a store of the type
        V(AWS_CLOUDHSM). It can never change.
    type: str
  key_store_password:
    description:
      - The password that the crypto user C(kmsuser) has in the cluster. Required to create a store of the type V(AWS_CLOUDHSM).
      - It tells KMS the password and changes nothing in the cluster. Each successful connect changes the password to one that
        only KMS knows, so it is sent to an existing store only with O(update_credentials=always).
    type: str
  xks_proxy_configuration:
    description:
      - How KMS reaches the proxy of an external key store. A key that is left out is left as it is.
    type: dict
    suboptions:
      connectivity:
        description:
          - Whether KMS reaches the proxy over the internet or through a VPC endpoint service.
          - To change it, O(xks_proxy_configuration.uri_endpoint) must change as well, and for V(VPC_ENDPOINT_SERVICE)
            O(xks_proxy_configuration.vpc_endpoint_service_name) must be given. It changes while the store is disconnected.
        type: str
        choices:
          - PUBLIC_ENDPOINT
          - VPC_ENDPOINT_SERVICE
      uri_endpoint:
        description:
          - Scheme and host of the proxy, such as V(https://xks.example.com). It changes while the store is disconnected.
          - KMS connects to port 443 and no other, so the value has no port.
        type: str
      uri_path:
        description: The path of the proxy's API, such as V(/example/kms/xks/v1). It can change while the store is connected.
        type: str
      vpc_endpoint_service_name:
        description: The name of the VPC endpoint service. It changes while the store is disconnected.
        type: str
      vpc_endpoint_service_owner:
        description:
          - The account that owns the VPC endpoint service, when it is another one. It changes while the store is disconnected.
          - Needs botocore 1.40.70 or newer.
        type: str
      access_key_id:
        description:
          - The id of the credential that KMS signs its requests to the proxy with. It can change while the store is connected.
          - The credential is sent when this id is another one than the store has.
        type: str
      raw_secret_access_key:
        description: The secret that belongs to O(xks_proxy_configuration.access_key_id). KMS never shows it.
        type: str
  update_credentials:
    description:
      - When to send O(key_store_password) and O(xks_proxy_configuration.raw_secret_access_key), which KMS never shows.
      - V(on_create) sends them when the store is created, and a proxy's credential when its id changes.
      - V(always) sends them on each run, and each run is a change.
    type: str
    default: on_create
    choices:
      - on_create
      - always
  allow_disconnect:
    description:
      - May a store that is connected, or connecting, be disconnected where a change or its deletion needs that?
      - It is not needed for O(state=disconnected).
      - Before a store in AWS CloudHSM is disconnected to be connected again, its cluster is looked at, or the one in
        O(cloud_hsm_cluster_id). If it is not C(ACTIVE), or has too few active HSMs, the task is refused, and the store stays in
        service. Where the caller may not look, the task warns and goes on.
    type: bool
    default: false
  wait:
    description:
      - Wait until the store is in the state that is asked for.
      - With V(false), waits that the next request needs still happen, such as the one for C(DISCONNECTED) before a store that
        was C(FAILED) is connected.
    type: bool
    default: true
  wait_timeout:
    description:
      - How many seconds all waiting of the task may take together, that for the end of throttling included.
      - When the time is up, the task fails, but KMS goes on with what was begun. Running the task again joins the wait.
      - AWS says that a connect takes up to 20 minutes. Users have seen more than 30; raise this where that is too little.
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
  - The module needs the permissions C(kms:DescribeCustomKeyStores), and for what is asked for C(kms:ConnectCustomKeyStore) and
    C(kms:DisconnectCustomKeyStore), C(kms:CreateCustomKeyStore), C(kms:UpdateCustomKeyStore) or C(kms:DeleteCustomKeyStore), in
    an IAM policy of the caller. To delete a store that is connected, it also needs C(kms:ListKeys) and C(kms:DescribeKey), and
    to change what needs a disconnect C(cloudhsm:DescribeClusters), to look whether the cluster can connect the store again.
  - C(CONNECTED) means that the last connect succeeded, and that nobody has disconnected the store since. It does not tell whether
    the backing key store is healthy.
"""

EXAMPLES = r"""
- name: Disconnect the key store before its cluster is worked on
  keyops.aws.kms_custom_key_store:
    custom_key_store_id: cks-1234567890abcdef0
    state: disconnected

- name: Connect the key store and wait until its keys can be used again
  keyops.aws.kms_custom_key_store:
    name: payments
    state: connected

- name: Begin to connect, and do other things meanwhile
  keyops.aws.kms_custom_key_store:
    name: payments
    state: connected
    wait: false

- name: Fail unless the key store exists, and tell its state
  keyops.aws.kms_custom_key_store:
    name: payments
  register: payments

- name: Have a key store in AWS CloudHSM, connected
  keyops.aws.kms_custom_key_store:
    name: ledger
    state: connected
    custom_key_store_type: AWS_CLOUDHSM
    cloud_hsm_cluster_id: cluster-2a34b5cdefg
    trust_anchor_certificate: "{{ lookup('ansible.builtin.file', 'customerCA.crt') }}"
    key_store_password: "{{ kmsuser_password }}"

- name: Have an external key store whose proxy is on the internet
  keyops.aws.kms_custom_key_store:
    name: invoices
    custom_key_store_type: EXTERNAL_KEY_STORE
    xks_proxy_configuration:
      connectivity: PUBLIC_ENDPOINT
      uri_endpoint: https://xks.example.com
      uri_path: /invoices/kms/xks/v1
      access_key_id: "{{ proxy_access_key_id }}"
      raw_secret_access_key: "{{ proxy_secret_access_key }}"

- name: Have an external key store behind a VPC endpoint service
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

- name: Replace the cluster by one that was made from its backup, with a short interruption
  keyops.aws.kms_custom_key_store:
    name: payments
    cloud_hsm_cluster_id: cluster-7f65g4edcba
    allow_disconnect: true

# To rotate the password of kmsuser: disconnect, change the password in the cluster, tell KMS, connect. The last task sends the
# password each time it is run, so it is not a part of the playbook that describes the key store.
- name: Disconnect the key store, so that kmsuser is logged out
  keyops.aws.kms_custom_key_store:
    name: payments
    state: disconnected

- name: Change the password on all HSMs of the cluster
  ansible.builtin.include_tasks: change_kmsuser_password.yml

- name: Tell KMS the new password and connect
  keyops.aws.kms_custom_key_store:
    name: payments
    state: connected
    key_store_password: "{{ new_kmsuser_password }}"
    update_credentials: always

# To rotate the credential of an external key store's proxy without interruption: make the proxy accept the new one beside the
# old one, tell KMS, and remove the old one when KMS has stopped using it, after five minutes.
- name: Tell KMS the new credential
  keyops.aws.kms_custom_key_store:
    name: invoices
    xks_proxy_configuration:
      access_key_id: "{{ new_proxy_access_key_id }}"
      raw_secret_access_key: "{{ new_proxy_secret_access_key }}"

- name: Delete a key store that holds no keys any more
  keyops.aws.kms_custom_key_store:
    name: archive
    state: absent
    allow_disconnect: true
"""

RETURN = r"""
custom_key_store:
  description:
    - The custom key store as KMS described it last. In check mode, as it would be; a store that would be created has no id yet.
    - Empty when there is no such store.
  returned: always
  type: dict
  contains:
    custom_key_store_id:
      description: The id of the custom key store.
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
      description: Why the store could not be connected.
      returned: when C(connection_state) is V(FAILED)
      type: str
      sample: NETWORK_ERRORS
    creation_date:
      description: When the custom key store was created, in ISO 8601.
      returned: always
      type: str
      sample: "2026-01-31T12:00:00+00:00"
    cloud_hsm_cluster_id:
      description: The id of the CloudHSM cluster.
      returned: for stores in AWS CloudHSM
      type: str
      sample: cluster-2a34b5cdefg
    trust_anchor_certificate:
      description: The certificate that was created when the CloudHSM cluster was initialized, in PEM.
      returned: for stores in AWS CloudHSM
      type: str
    xks_proxy_configuration:
      description: How KMS reaches the external key store proxy.
      returned: for external stores
      type: dict
      contains:
        connectivity:
          description: V(PUBLIC_ENDPOINT) or V(VPC_ENDPOINT_SERVICE).
          returned: always
          type: str
          sample: PUBLIC_ENDPOINT
        access_key_id:
          description: The access key id of the credential that KMS signs its requests to the proxy with.
          returned: always
          type: str
          sample: ABCDE12345670EXAMPLE
        uri_endpoint:
          description: Scheme and host of the proxy.
          returned: always
          type: str
          sample: https://xks.example.com
        uri_path:
          description: Path of the proxy's API.
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
    - The mutating operations that KMS accepted, in order. In check mode, those that would be made.
    - RV(ignore:changed) is true if and only if there is one.
  returned: always
  type: list
  elements: str
  sample:
    - DisconnectCustomKeyStore
    - ConnectCustomKeyStore
connection_states:
  description: The connection states that were seen, in order. The first is the one that the store was found in.
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
  description: Why the store is C(FAILED), or was at some time during the task. KMS forgets it when the store is disconnected.
  returned: when the store is or was C(FAILED)
  type: dict
  contains:
    code:
      description: The connection error code.
      returned: always
      type: str
      sample: NETWORK_ERRORS
    cause:
      description: What it means.
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
        - Connect the custom key store again (state=connected); from FAILED that disconnects it first.
    guide:
      description: The address of the runbook for this code, with commands for the diagnosis and for what to do.
      returned: always
      type: str
      sample: https://example.org/keyops.aws/docs/docsite/runbook_network_errors.html
error:
  description: The error that AWS returned.
  returned: when the task failed on one
  type: dict
  contains:
    code:
      description: The error code.
      returned: always
      type: str
      sample: AccessDeniedException
    message:
      description: The message of AWS.
      returned: always
      type: str
"""

import gc

if __name__ == "__main__":
    gc.disable()  # while all is imported: none of it is ever freed, and looking for what is takes a tenth of a task's time

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
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clients import client_beside
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
    """The options of this module; those of every AWS module are added by C(AnsibleAWSModule)."""
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
"""On the managed host: a lease for each store that a task has disconnected for a change and not yet connected again."""

if TYPE_CHECKING:
    from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import Check

NO_PROCESS = (
    "The task has to wait, and no process could be started on the managed host that does it in the background. Nothing was lost:"
    " run the task again, it goes on from the current state."
)

MODULE = "ansible_collections.keyops.aws.plugins.modules.kms_custom_key_store"


def bring_about(
    module: AnsibleAWSModule, history: History, clock: Clock, worker: Worker, permit: Permit
) -> dict[str, Any]:
    """Do what the task asks for.

    Returns:
        The task's result; or where to find it, where another process goes on with the task.

    Raises:
        CustomKeyStoreError: it could not be done; C(history) tells how far it came.
    """
    desired = desired_store(module.params)
    if SERVICE_OWNER.option in desired.given:
        module.require_botocore_at_least("1.40.70", reason=f"to use {SERVICE_OWNER.option}")
    refuse_two_identities(module.params)
    client = module.client("kms", config=client_config())

    def describe_cluster(cluster_id: str) -> Cluster:
        cloudhsm = client_beside(module, "cloudhsmv2", timeout=10)
        return describe_clusters(cloudhsm, [cluster_id])[cluster_id]

    def check_endpoint(configuration: Mapping[str, Any]) -> Sequence[Check]:
        from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import predict  # few tasks need it

        predictor = predict.Predictor(partial(client_beside, module, timeout=10), predict.own_credential(module.params))
        return predictor.check_endpoint(configuration, str(client.meta.region_name))

    def where() -> str:
        return place(client.meta.region_name, client_beside(module, "sts", timeout=2))

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
        warn(module, history)
        return task.foretell(plan) if module.check_mode else task.run(plan)
    except MustWait:
        job = worker.hand_over(MODULE, lambda: (task.hand_over(), permit.ownership.hand_over()))
        if not job:
            raise CustomKeyStoreError(NO_PROCESS) from None
        return job


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
        outcome = bring_about(module, history, Clock(), worker, permit)
    except CustomKeyStoreError as error:
        finish, outcome = module.fail_json, result.failed(history, error)
    finally:
        permit.ownership.release()
    if not module._diff:
        outcome.pop("diff", None)  # the result of another process is not there yet
    finish(**outcome)


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    main()
