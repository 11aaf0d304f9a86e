#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_custom_key_stores
short_description: Connect or disconnect several custom key stores of AWS KMS at the same time
version_added: 0.1.0
description:
  - Brings several custom key stores, of any Regions and accounts, to the connection state that is asked for, all together. It
    takes as long as the slowest of them.
  - Each store is treated as M(keyops.aws.kms_custom_key_store) treats one, with the same states, races and errors.
  - To disconnect is all or nothing at first. Where one of the stores cannot be found, or KMS cannot be asked for it, none is
    touched.
  - To connect is not. A store that cannot be connected does not keep the others from it, and the task fails at the end,
    naming each.
  - KMS is asked for the states of all stores of a Region with one request, so that they do not throttle each other.
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
    description: The connection state that all of the stores shall have.
    type: str
    required: true
    choices:
      - connected
      - disconnected
  stores:
    description:
      - Which stores. Each needs an id or a name.
      - The connection options of a store are used for it alone. A store that has none is reached with those of the task.
      - A store with O(stores[].profile) or O(stores[].access_key) uses no credentials of the task.
      - Required, unless O(leased=true).
    type: list
    elements: dict
    suboptions:
      custom_key_store_id:
        description: The id of the custom key store.
        type: str
        aliases:
          - id
      name:
        description: The friendly name of the custom key store. With an id, the name is not looked at.
        type: str
        aliases:
          - custom_key_store_name
      region:
        description: The Region of the store.
        type: str
        aliases:
          - aws_region
      profile:
        description: A profile of AWS's configuration files, for the account of the store.
        type: str
        aliases:
          - aws_profile
      access_key:
        description: The access key id of a credential for the account of the store.
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
        description: Where KMS is, if not at AWS's own address. It is not used for any other service.
        type: str
      assume_role_arn:
        description:
          - The ARN of an IAM role to assume for the store, such as one of its account. It is assumed with the credentials that
            the store would be reached with otherwise.
          - The credentials of the role are renewed for as long as the task and the keeper need them.
        type: str
      lease_role_arn:
        description: As O(lease_role_arn), for a store in another account.
        type: str
      verify_key_id:
        description:
          - The id, ARN or alias of the KMS key with which O(verify) proves that an external store works. It must be in the store,
            and C(Enabled).
          - Without it, the KMS keys of the account are described until one is found.
        type: str
  leased:
    description:
      - With O(state=connected), connect all stores that a maintenance window has taken out of service and not brought back. Use
        it instead of O(stores).
      - The stores are found by their leases in O(memory), and with O(leases_in_aws=true) by those in AWS, in the account and
        Region of the task.
      - A store that a window still has is left alone, see RV(left_alone).
    type: bool
    default: false
  even_in_use:
    description: With O(leased=true), connect the stores of windows that are still at work, too.
    type: bool
    default: false
  verify:
    description:
      - Prove that each connected store works.
      - A random byte is made in the cluster of a store of the type C(AWS_CLOUDHSM). No KMS key is touched. It needs the
        permission C(kms:GenerateRandom).
      - One byte is encrypted under a KMS key of a store of the type C(EXTERNAL_KEY_STORE), O(stores[].verify_key_id) or one that
        is found, never one that is disabled or pending deletion. It needs C(kms:Encrypt) and C(kms:DescribeKey) for that key,
        and C(kms:ListKeys) and C(kms:DescribeKey) for all keys to find one. Without these, and where the store has no such key,
        the store is not verified, and RV(stores[].verification) says why.
      - In check mode it is left out.
    type: bool
    default: false
  memory:
    description:
      - A folder on the managed host, in which a lease is kept for each store that is taken out of service, from before that is
        done until the store is C(CONNECTED) again.
      - A later run, should this one be killed before the store is back, is told of it in RV(stores[].remembered).
    type: path
  lease_minutes:
    description:
      - With O(state=disconnected), take the stores out of service for a while only. A process on the managed host, the keeper,
        stays and connects those that were in service, also if nobody asks for it.
      - The keeper connects them when the lease is over, that is after so many minutes. Where Ansible runs on the same host
        (C(connection=local)), the keeper also connects them as soon as Ansible has ended, however that came.
      - A task with O(state=connected) and the same O(memory) takes the stores over from the keeper.
      - The keeper holds the credentials of the task in its memory, and never writes them to disk. What it did is in
        RV(stores[].keeper_report) of the next task, and in the log of the host.
      - The keeper needs O(memory), and cannot be used in a task with C(async).
    type: int
  keeper:
    description:
      - With V(false), there is no keeper on the managed host. Without O(lease_role_arn), only a task with O(state=connected)
        brings the stores back.
    type: bool
    default: true
  lease_role_arn:
    description:
      - Keep the lease in AWS, too. Before a store is disconnected, a one-time schedule of EventBridge Scheduler is made that
        connects it at the end of O(lease_minutes). It is in the account and Region of the store, and is deleted when the store is
        C(CONNECTED) again.
      - It protects from the loss of the managed host, and of the controller. Any machine can read it, also one with an empty
        disk. Only one window at a time can have the lease of a store.
      - This is the ARN of the IAM role with which EventBridge Scheduler connects the store. The playbook
        C(keyops.aws.prepare_lease) creates it.
      - With O(state=connected), the lease of each store is deleted.
      - AWS rounds the end up to a full minute.
    type: str
  leases_in_aws:
    description:
      - Look at leases in AWS, and with O(state=connected) delete that of each store that is C(CONNECTED) again.
      - O(lease_role_arn) implies it. Use it where a task makes no lease itself.
    type: bool
    default: false
  extend_lease:
    description:
      - With O(state=disconnected), let the leases of stores in a maintenance window end O(lease_minutes) from now. Nothing is
        disconnected. Both the keeper on the same host and the lease in AWS follow.
      - Use it in another terminal, or in the tasks of the window, when the work takes longer than planned.
    type: bool
    default: false
  include_cloud_hsm_cluster:
    description: Describe the CloudHSM cluster behind each store, as M(keyops.aws.kms_custom_key_store_info) does.
    type: bool
    default: false
  include_keys:
    description:
      - Describe the KMS keys in each store and their last use, as M(keyops.aws.kms_custom_key_store_info) does.
      - It takes a request for each KMS key of the account and Region.
    type: bool
    default: false
  wait_timeout:
    description:
      - How many seconds to wait for each of the stores; they are waited for at the same time.
      - When the time is up, the task fails, but KMS goes on with what was begun. Running the task again joins the wait.
    type: int
    default: 1800
seealso:
  - module: keyops.aws.kms_custom_key_store
  - module: keyops.aws.kms_custom_key_store_info
notes:
  - The module needs the permissions C(kms:DescribeCustomKeyStores), and C(kms:ConnectCustomKeyStore) or
    C(kms:DisconnectCustomKeyStore), in an IAM policy of the caller.
  - Leases in AWS need the permissions C(scheduler:GetSchedule), C(scheduler:CreateSchedule), C(scheduler:UpdateSchedule),
    C(scheduler:DeleteSchedule), and C(iam:PassRole) for the role; O(leased=true) needs C(scheduler:ListSchedules).
  - O(endpoint_url) is the address of KMS. Other services have their own, which the environment variables
    E(AWS_ENDPOINT_URL_SCHEDULER), E(AWS_ENDPOINT_URL_CLOUDHSM_V2), E(AWS_ENDPOINT_URL_IAM) and E(AWS_ENDPOINT_URL_STS) change.
"""

EXAMPLES = r"""
- name: Disconnect a key store for an hour at most
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
    memory: ~/.keyops-aws/maintenance
    lease_minutes: 60

- name: The same, with a lease that outlives this host
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
    memory: ~/.keyops-aws/maintenance
    lease_minutes: 60
    lease_role_arn: arn:aws:iam::123456789012:role/keyops-aws-lease

- name: The work takes two hours more
  keyops.aws.kms_custom_key_stores:
    state: disconnected
    stores:
      - name: payments
    memory: ~/.keyops-aws/maintenance
    extend_lease: true
    lease_minutes: 120
    leases_in_aws: true

- name: Connect all that windows have left out of service
  keyops.aws.kms_custom_key_stores:
    state: connected
    leased: true
    memory: ~/.keyops-aws/maintenance
    leases_in_aws: true

- name: Connect all key stores of an application, and prove that they work
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
  description: How it went with each of the stores, in the order in which they were given.
  returned: always
  type: list
  elements: dict
  contains:
    custom_key_store_id:
      description: The id of the custom key store; V(null) where it was not found by its name.
      returned: always
      type: str
      sample: cks-1234567890abcdef0
    name:
      description: The friendly name of the custom key store; V(null) where it was not found by its id.
      returned: always
      type: str
      sample: payments
    region:
      description: The Region of the custom key store.
      returned: always
      type: str
      sample: eu-central-1
    failed:
      description: Was there an error with this store?
      returned: always
      type: bool
      sample: false
    msg:
      description: The error.
      returned: when RV(stores[].failed)
      type: str
    transitions:
      description: The connection states that were seen, in order, and when each was first seen.
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
          description: When it was first seen, in ISO 8601.
          returned: always
          type: str
          sample: "2026-01-31T22:00:00+00:00"
    remembered:
      description:
        - What the folder O(memory), or else the lease in AWS, told of the store when the task began, with
          C(custom_key_store_id), C(name), the C(connection_state) that it was found in before it was disconnected, the C(time) of
          that, and C(until), when its lease is over, both in ISO 8601.
        - V(null) where it told nothing.
      returned: always
      type: dict
    keeper_report:
      description:
        - What the keeper of an earlier task with O(lease_minutes) did about the store while nobody was there to be told, with
          C(time), C(since) (when the lease began), C(reason), C(connection_state), and C(msg), the error.
        - C(reason) is V(gone) where Ansible had ended, V(over) where the lease was over, and V(ended) where the keeper itself was
          told to end.
        - V(null) where there is nothing to tell. A task tells it once, unless in check mode.
      returned: always
      type: dict
    lease_report:
      description:
        - What there is to know about the end of the store's lease, such as that it was over before the window was, or that
          somebody has deleted it in AWS.
        - V(null) where there is nothing to tell.
      returned: always
      type: str
    lease_not_checked:
      description: What could not be checked about the lease in AWS before it is made, and why.
      returned: in check mode, with O(lease_role_arn), for stores that would be disconnected
      type: list
      elements: str
    cloud_hsm_cluster:
      description: As in RV(keyops.aws.kms_custom_key_store_info#module:custom_key_stores[].cloud_hsm_cluster).
      returned: when O(include_cloud_hsm_cluster=true), for stores in AWS CloudHSM
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
      returned: when O(include_keys=true), and they could not
      type: str
    verified:
      description: Was it proved with O(verify) that the store works?
      returned: always
      type: bool
      sample: true
    verification:
      description: How that was proved, or why it could not be tried. V(null) where it was not asked for, or failed.
      returned: always
      type: str
      sample: GenerateRandom has made a random byte in the cluster.
    changed:
      description: Did KMS accept a mutating operation on this store?
      returned: always
      type: bool
      sample: true
    custom_key_store:
      description:
        - The store as KMS described it last, in the shape of RV(keyops.aws.kms_custom_key_store#module:custom_key_store).
        - In check mode, as it would be.
      returned: always
      type: dict
    operations:
      description: The mutating operations that KMS accepted, in order. In check mode, those that would be made.
      returned: always
      type: list
      elements: str
      sample:
        - ConnectCustomKeyStore
    connection_states:
      description: The connection states that were seen, in order. The first is the one that the store was found in.
      returned: always
      type: list
      elements: str
      sample:
        - DISCONNECTED
        - CONNECTING
        - CONNECTED
    connect_prediction:
      description:
        - Whether KMS could connect the store, with C(fails), C(codes) and C(checks), in the shape of
          RV(keyops.aws.kms_custom_key_store_info#module:custom_key_stores[].connect_prediction).
      returned: when O(predict_connect=true)
      type: dict
    connection_error:
      description:
        - Why the store is C(FAILED), or was at some time during the task, with C(code), C(cause), C(remedy) and C(guide),
          in the shape of RV(keyops.aws.kms_custom_key_store#module:connection_error).
      returned: when the store is or was C(FAILED)
      type: dict
    error:
      description: The error that AWS returned, with C(code) and C(message).
      returned: when there was one
      type: dict
left_alone:
  description:
    - Stores with a lease that were not connected, as a window still has them, with C(custom_key_store_id), C(name), the C(host)
      of that window, its begin as C(time), and C(until), when its lease is over. What is not known is V(null).
    - Where a window on another machine was lost, its lease in AWS says so five minutes later.
  returned: with O(leased=true)
  type: list
  elements: dict
leases_problem:
  description: Why the leases in AWS could not be read. The stores with a lease on this host are connected all the same.
  returned: with O(leased=true), if the leases in AWS could not be read
  type: str
"""

import gc

if __name__ == "__main__":
    gc.disable()  # while all is imported: none of it is ever freed, and looking for what is takes a tenth of a task's time

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
    """The options of this module; those of every AWS module are added by C(AnsibleAWSModule)."""
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
        "even_in_use": {"type": "bool", "default": False},
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
