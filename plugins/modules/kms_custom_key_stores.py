#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_custom_key_stores
short_description: Connect or disconnect several AWS KMS custom key stores at the same time
version_added: 0.1.0
description:
  - Connects or disconnects several custom key stores in parallel, in any Regions and accounts. The task takes as long as the
    slowest key store.
  - For each key store, the module handles states, races, and errors like M(keyops.aws.kms_custom_key_store).
  - Before a disconnect, the module describes all key stores. If it cannot find or describe one of them, it disconnects none.
  - If one key store cannot be connected, the module still connects the others. The task then fails at the end, and names each
    key store that failed.
  - One request describes all key stores of a Region, so that they do not throttle each other.
author:
  - Contributors to the keyops.aws collection (!UNKNOWN)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - keyops.aws.attributes
  - keyops.aws.attributes.actiongroup_aws
  - keyops.aws.prediction
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: The connection state to ensure for all of the key stores.
    type: str
    required: true
    choices:
      - connected
      - disconnected
  stores:
    description:
      - The key stores. Each needs an ID or a name.
      - The connection options of a key store apply to that key store only. For a key store without such options, the module uses
        those of the task.
      - A key store with O(stores[].profile) or O(stores[].access_key) does not use the credentials of the task.
      - Required, unless O(leased=true).
    type: list
    elements: dict
    suboptions:
      custom_key_store_id:
        description: The ID of the custom key store.
        type: str
        aliases:
          - id
      name:
        description: The friendly name of the custom key store. If you also give an ID, the name is ignored.
        type: str
        aliases:
          - custom_key_store_name
      region:
        description: The Region of the key store.
        type: str
        aliases:
          - aws_region
      profile:
        description: A profile in the AWS configuration files, for the account of the key store.
        type: str
        aliases:
          - aws_profile
      access_key:
        description: The access key ID of a credential for the account of the key store.
        type: str
        aliases:
          - aws_access_key_id
      secret_key:
        description: The secret access key that belongs to O(stores[].access_key).
        type: str
        aliases:
          - aws_secret_access_key
      session_token:
        description: The session token of a temporary O(stores[].access_key).
        type: str
        aliases:
          - aws_session_token
      endpoint_url:
        description: The URL of KMS, if you do not use the default URL of AWS. It applies to KMS only.
        type: str
      assume_role_arn:
        description:
          - The ARN of an IAM role to assume for the key store, such as a role in its account. The module assumes it with the
            credentials that it would use for the key store without this option.
          - The module renews the credentials of the role for as long as the task and the keeper need them.
        type: str
      lease_role_arn:
        description: Like O(lease_role_arn), for a key store in another account.
        type: str
      verify_key_id:
        description:
          - The ID, ARN or alias of the KMS key with which O(verify) verifies an external key store. The key must be in the key
            store, and C(Enabled).
          - If you do not set it, the module describes the KMS keys of the account until it finds such a key.
        type: str
  leased:
    description:
      - With O(state=connected), connect all key stores that a maintenance window has disconnected and not reconnected. Use it
        instead of O(stores).
      - The module finds these key stores by their leases in O(memory). With O(leases_in_aws=true), it also finds those with a
        lease in AWS, in the account and Region of the task.
      - If a window is still working on a key store, the module leaves that key store alone. See RV(left_alone).
    type: bool
    default: false
  even_in_use:
    description:
      - With O(state=connected), whether to connect the key stores that another maintenance window is still working on.
      - The default is V(false) with O(leased=true), and V(true) with O(stores).
      - If it is V(false), the module leaves such a key store as it is. With O(stores), the task then fails. With
        O(leased=true), see RV(left_alone).
    type: bool
  verify:
    description:
      - Verify that each connected key store works.
      - For a key store of the type C(AWS_CLOUDHSM), the module generates a random byte in the cluster. It uses no KMS key. The
        caller needs the permission C(kms:GenerateRandom).
      - For a key store of the type C(EXTERNAL_KEY_STORE), the module encrypts one byte under a KMS key of the key store. It uses
        O(stores[].verify_key_id), or a key that it finds. It never uses a key that is disabled or pending deletion.
      - For that key, the caller needs C(kms:Encrypt) and C(kms:DescribeKey). To find a key, the caller also needs
        C(kms:ListKeys), and C(kms:DescribeKey) for all keys. Without these permissions or such a key, the key store is not
        verified, and RV(stores[].verification) gives the reason.
      - In check mode, this verification is skipped.
    type: bool
    default: false
  memory:
    description:
      - A folder on the managed host for leases. A lease records that a key store is out of service, since when, and, if known,
        until when. The module writes a lease before it disconnects a key store that is in service. The lease stays until the
        key store is C(CONNECTED) again.
      - If the run is killed before the key store is connected again, a later run returns the lease in RV(stores[].remembered).
    type: path
  lease_minutes:
    description:
      - With O(state=disconnected), the maximum number of minutes for which the key stores are out of service. A process, the
        keeper, stays on the managed host. It reconnects the key stores that were in service, even if no later task does.
      - The keeper connects the key stores when the lease ends, after this number of minutes. If Ansible runs on the same host
        (C(connection=local)), the keeper also connects them as soon as Ansible has ended, for any reason.
      - A task with O(state=connected) and the same O(memory) takes the key stores over from the keeper.
      - The keeper holds the credentials of the task in memory, and never writes them to disk. RV(stores[].keeper_report) of the
        next task and the log of the host show what the keeper did.
      - The keeper requires O(memory), and does not work in a task with C(async).
    type: int
  keeper:
    description:
      - Whether to run a keeper on the managed host, see O(lease_minutes).
      - With V(false) and without O(lease_role_arn), only a task with O(state=connected) reconnects the key stores.
    type: bool
    default: true
  lease_role_arn:
    description:
      - The ARN of the IAM role with which EventBridge Scheduler connects the key stores. If you set it, each lease is also kept
        in AWS. The playbook C(keyops.aws.prepare_lease) creates the role.
      - Before the module disconnects a key store, it creates a one-time schedule of EventBridge Scheduler, in the account and
        Region of the key store. The schedule connects the key store at the end of O(lease_minutes). When the key store is
        C(CONNECTED) again, the module deletes the schedule.
      - The lease in AWS protects against the loss of the managed host and of the controller. Any machine can read it, even one
        with an empty disk. Only one window at a time can have the lease of a key store.
      - With O(state=connected), the module deletes the lease of each key store that is C(CONNECTED) again.
      - AWS rounds the end of the lease up to a full minute.
    type: str
  leases_in_aws:
    description:
      - Read the leases in AWS. With O(state=connected), also delete the lease of each key store that is C(CONNECTED) again.
      - O(lease_role_arn) implies O(leases_in_aws). Set O(leases_in_aws) in a task that does not create a lease itself.
    type: bool
    default: false
  extend_lease:
    description:
      - With O(state=disconnected), extend the leases of key stores in a maintenance window, so that they end O(lease_minutes)
        from now. The task disconnects nothing. The new end applies to the keeper on the same host and to the lease in AWS.
      - If the work takes longer than planned, use this option in another terminal, or in the tasks of the window.
    type: bool
    default: false
  include_cloud_hsm_cluster:
    description: Describe the CloudHSM cluster behind each key store, like M(keyops.aws.kms_custom_key_store_info).
    type: bool
    default: false
  include_keys:
    description:
      - Describe the KMS keys in each key store and their last use, like M(keyops.aws.kms_custom_key_store_info).
      - This takes one request for each KMS key of the account and Region.
    type: bool
    default: false
  wait_timeout:
    description:
      - The timeout in seconds for each key store. The task waits for all key stores in parallel.
      - When the time is up, the task fails, but KMS continues the operation. Run the task again to resume the wait.
    type: int
    default: 1800
seealso:
  - module: keyops.aws.kms_custom_key_store
  - module: keyops.aws.kms_custom_key_store_info
notes:
  - The caller needs the permission C(kms:DescribeCustomKeyStores), and C(kms:ConnectCustomKeyStore) or
    C(kms:DisconnectCustomKeyStore), in an IAM policy.
  - For leases in AWS, the caller also needs C(scheduler:GetSchedule), C(scheduler:CreateSchedule), C(scheduler:UpdateSchedule),
    C(scheduler:DeleteSchedule), and C(iam:PassRole) for the role. O(leased=true) also needs C(scheduler:ListSchedules).
  - O(endpoint_url) applies to KMS only. To change the URLs of other services, set the environment variables
    E(AWS_ENDPOINT_URL_SCHEDULER), E(AWS_ENDPOINT_URL_CLOUDHSM_V2), E(AWS_ENDPOINT_URL_IAM) and E(AWS_ENDPOINT_URL_STS).
"""

EXAMPLES = r"""
- name: Disconnect a key store for an hour at most
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
    memory: ~/.keyops-aws/maintenance
    lease_minutes: 60

- name: Disconnect a key store for an hour at most, with a lease that survives the loss of this host
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
    memory: ~/.keyops-aws/maintenance
    lease_minutes: 60
    lease_role_arn: arn:aws:iam::123456789012:role/keyops-aws-lease

- name: Extend the lease, so that it ends two hours from now
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
    memory: ~/.keyops-aws/maintenance
    extend_lease: true
    lease_minutes: 120
    leases_in_aws: true

- name: Reconnect all key stores that windows have left out of service
  keyops.aws.kms_custom_key_stores:
    state: connected
    leased: true
    memory: ~/.keyops-aws/maintenance
    leases_in_aws: true

- name: Connect all key stores of an application, and verify that they work
  keyops.aws.kms_custom_key_stores:
    state: connected
    verify: true
    stores:
      - name: payments
      - name: ledger

- name: Disconnect key stores in two Regions and accounts
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
        region: eu-central-1
      - custom_key_store_id: cks-1234567890abcdef0
        region: us-east-1
        profile: archive
"""

RETURN = r"""
stores:
  description: The result for each of the key stores, in the order in which you gave them.
  returned: always
  type: list
  elements: dict
  contains:
    custom_key_store_id:
      description: The ID of the custom key store. V(null) if the module did not find the key store by its name.
      returned: always
      type: str
      sample: cks-1234567890abcdef0
    name:
      description: The friendly name of the custom key store. V(null) if the module did not find the key store by its ID.
      returned: always
      type: str
      sample: payments
    region:
      description: The Region of the custom key store.
      returned: always
      type: str
      sample: eu-central-1
    failed:
      description: Whether the task failed for this key store.
      returned: always
      type: bool
      sample: false
    msg:
      description: The error.
      returned: when RV(stores[].failed)
      type: str
    transitions:
      description: The connection states that the task saw, in order, and when it first saw each of them.
      returned: always
      type: list
      elements: dict
      contains:
        connection_state:
          description: The connection state.
          returned: always
          type: str
          sample: CONNECTING
        time:
          description: When the task first saw this state, in ISO 8601 format.
          returned: always
          type: str
          sample: "2026-01-31T22:00:00+00:00"
    remembered:
      description:
        - The lease of the key store when the task started, from the folder O(memory), or otherwise from AWS. It has
          C(custom_key_store_id), C(name), C(connection_state), C(time), and C(until).
        - C(connection_state) is the state before the disconnect. C(time) is when the key store was taken out of service, and
          C(until) is when the lease ends. Both times are in ISO 8601 format.
        - V(null) if there was no lease.
      returned: always
      type: dict
    keeper_report:
      description:
        - What the keeper of an earlier task with O(lease_minutes) did with the key store while no task was there to report it. It
          has C(time), C(since) (the start of the lease), C(reason), C(connection_state), and C(msg) (the error).
        - C(reason) is V(gone) if Ansible had ended, V(over) if the lease had ended, and V(ended) if the keeper itself was asked
          to end.
        - V(null) if there is nothing to report. A report is returned once. In check mode, it is kept for the next task.
      returned: always
      type: dict
    lease_report:
      description:
        - A message about the end of the lease, for example that it ended before the window, that somebody deleted it in AWS, or
          that it is still there because the key store could not be connected.
        - V(null) if there is nothing to report.
      returned: always
      type: str
    lease_not_checked:
      description: What could not be checked about the lease in AWS before its creation, and why.
      returned: in check mode, with O(lease_role_arn), for key stores that would be disconnected
      type: list
      elements: str
    cloud_hsm_cluster:
      description: As in RV(keyops.aws.kms_custom_key_store_info#module:custom_key_stores[].cloud_hsm_cluster).
      returned: when O(include_cloud_hsm_cluster=true), for key stores in AWS CloudHSM
      type: dict
    keys:
      description: As in RV(keyops.aws.kms_custom_key_store_info#module:custom_key_stores[].keys).
      returned: when O(include_keys=true), and the keys of the account could be listed
      type: list
      elements: dict
    keys_not_described:
      description: As in RV(keyops.aws.kms_custom_key_store_info#module:keys_not_described).
      returned: when O(include_keys=true), and the keys of the account could be listed
      type: list
      elements: dict
    keys_problem:
      description: Why the keys of the account could not be listed.
      returned: when O(include_keys=true), and the keys of the account could not be listed
      type: str
    verified:
      description: Whether O(verify) has verified that the key store works.
      returned: always
      type: bool
      sample: true
    verification:
      description: >-
        How the key store was verified, or why the verification could not be tried. V(null) if it was not requested, or if it
        failed.
      returned: always
      type: str
      sample: GenerateRandom has made a random byte in the cluster.
    changed:
      description: Whether KMS accepted a mutating operation on this key store.
      returned: always
      type: bool
      sample: true
    custom_key_store:
      description:
        - The key store as KMS last described it, in the form of RV(keyops.aws.kms_custom_key_store#module:custom_key_store).
        - In check mode, the key store as it would be after the task.
      returned: always
      type: dict
    operations:
      description: >-
        The mutating operations that KMS accepted, in order. In check mode, the operations that the task would request.
      returned: always
      type: list
      elements: str
      sample:
        - ConnectCustomKeyStore
    connection_states:
      description: The connection states that the task saw, in order. The first is the state before the task.
      returned: always
      type: list
      elements: str
      sample:
        - DISCONNECTED
        - CONNECTING
        - CONNECTED
    connect_prediction:
      description:
        - Whether KMS could connect the key store, with C(fails), C(codes), and C(checks), in the form of
          RV(keyops.aws.kms_custom_key_store_info#module:custom_key_stores[].connect_prediction).
      returned: when O(predict_connect=true)
      type: dict
    connection_error:
      description:
        - Why the store is C(FAILED), or was C(FAILED) at some time during the task. It has C(code), C(cause), C(remedy) and
          C(guide), in the form of RV(keyops.aws.kms_custom_key_store#module:connection_error).
      returned: when the store is or was C(FAILED)
      type: dict
    error:
      description: The error that AWS returned, with C(code) and C(message).
      returned: when there was one
      type: dict
left_alone:
  description:
    - The key stores with a lease that the task did not connect, because a window is still working on them. Each has
      C(custom_key_store_id), C(name), C(host), C(time), and C(until). Unknown values are V(null).
    - C(host) is the host of that window, C(time) is when the window started, and C(until) is when its lease ends.
    - If a window on another machine is lost, its lease in AWS shows the loss five minutes later. If the window had no keeper, the
      lease shows the loss only when it ends. Until then, its key stores are in this list.
  returned: with O(leased=true)
  type: list
  elements: dict
leases_problem:
  description: Why the leases in AWS could not be read. The task still connects the key stores with a lease on this host.
  returned: with O(leased=true), if the leases in AWS could not be read
  type: str
"""

import gc

if __name__ == "__main__":
    gc.disable()  # during the imports: no imported object is freed, and garbage collection takes a tenth of a task's time

from typing import Any
from typing import Optional

from ansible_collections.amazon.aws.plugins.module_utils.common import set_collection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.background import Worker
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import prediction_options
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_NAME
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_VERSION
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.window import Window

MODULE = "ansible_collections.keyops.aws.plugins.modules.kms_custom_key_stores"


def argument_spec() -> dict[str, dict[str, Any]]:
    """The options of this module; C(AnsibleAWSModule) adds those of every AWS module."""
    return {
        "state": {"type": "str", "required": True, "choices": ["connected", "disconnected"]},
        "stores": {
            "type": "list",
            "elements": "dict",
            "required_one_of": [("custom_key_store_id", "name")],
            "mutually_exclusive": [("profile", "access_key")],
            "required_together": [("access_key", "secret_key")],
            "options": {
                "custom_key_store_id": {"type": "str", "aliases": ["id"]},
                "name": {"type": "str", "aliases": ["custom_key_store_name"]},
                "region": {"type": "str", "aliases": ["aws_region"]},
                "profile": {"type": "str", "aliases": ["aws_profile"]},
                "access_key": {"type": "str", "aliases": ["aws_access_key_id"], "no_log": False},
                "secret_key": {"type": "str", "aliases": ["aws_secret_access_key"], "no_log": True},
                "session_token": {"type": "str", "aliases": ["aws_session_token"], "no_log": True},
                "endpoint_url": {"type": "str"},
                "assume_role_arn": {"type": "str"},
                "lease_role_arn": {"type": "str"},
                "verify_key_id": {"type": "str", "no_log": False},
            },
        },
        "leased": {"type": "bool", "default": False},
        "even_in_use": {"type": "bool"},
        "verify": {"type": "bool", "default": False},
        "memory": {"type": "path"},
        "lease_minutes": {"type": "int"},
        "extend_lease": {"type": "bool", "default": False},
        "lease_role_arn": {"type": "str"},
        "leases_in_aws": {"type": "bool", "default": False},
        "keeper": {"type": "bool", "default": True},
        "include_cloud_hsm_cluster": {"type": "bool", "default": False},
        "include_keys": {"type": "bool", "default": False},
        **prediction_options(),
        "wait_timeout": {"type": "int", "default": 1800},
    }


def main(worker: Optional[Worker] = None) -> None:
    worker = worker or Worker()
    set_collection_info(COLLECTION_NAME, COLLECTION_VERSION)
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        window = Window(module, worker, MODULE, Clock())
        try:
            window.run()
        finally:
            window.close()
    except CustomKeyStoreError as error:
        module.fail_json(msg=error.message)


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    main()
