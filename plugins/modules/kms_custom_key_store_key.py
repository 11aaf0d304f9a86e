#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_custom_key_store_key
short_description: Manage a KMS key in an AWS KMS custom key store
version_added: 0.1.0
description:
  - Creates a KMS key in a custom key store, replaces it with a new key, and schedules its deletion.
  - M(amazon.aws.kms_key) cannot create a key in a custom key store. Use it with the alias to manage an existing key, including
    its policy, grants, and tags, and to enable or disable it.
  - The alias identifies the key. The module creates one key for an alias, no matter how often you run it.
  - C(CreateKey) of KMS is not idempotent. An earlier task may have created a key for the alias and left it without the alias,
    because the task was killed or got no answer. Before the module creates a key, it therefore searches all keys of the key store
    for such a key, and uses it.
  - In an external key store, the module recognizes such a key by its external key. In a key store in AWS CloudHSM, it recognizes
    the key by the tag C(keyops.aws:created-for). Each new key in AWS CloudHSM gets this tag, with the alias as its value.
  - On one host, only one task at a time creates a key for an alias. If tasks on two hosts do so at the same time, one key gets
    the alias. The task that created the other key names that key in a warning.
  - If nothing has to change, the task makes one request. It makes two if you identify the key store by its name.
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
  alias:
    description:
      - The alias that identifies the key, with or without the prefix C(alias/).
      - If the alias refers to a key outside of the key store, the task fails. It does not move the alias.
    type: str
    required: true
  state:
    description:
      - V(present) ensures that the alias refers to a key in the key store. KMS creates a key only while the key store is
        C(CONNECTED).
      - With V(present), an existing key stays as it is, unless you set O(rotate). If its deletion is scheduled, the task fails.
      - V(absent) schedules the deletion of the key. You can cancel the deletion until KMS deletes the key. The alias stays until
        then. If the deletion is already scheduled, or the alias does not exist, nothing changes.
    type: str
    default: present
    choices:
      - present
      - absent
  custom_key_store_id:
    description:
      - The ID of the custom key store.
      - O(custom_key_store_id) or O(custom_key_store_name) is required.
    type: str
  custom_key_store_name:
    description:
      - The friendly name of the custom key store.
    type: str
  xks_key_id:
    description:
      - The ID of the external key, as the external key store proxy knows it. Required to create a key in an external key store.
        For a key in AWS CloudHSM, the task fails if you set it.
      - If the alias refers to a key with another external key, the task fails, unless you set O(rotate).
    type: str
  description:
    description:
      - The description of a new key. The description of an existing key does not change. With O(rotate), the default is the
        description of the current key.
    type: str
  policy:
    description:
      - The key policy of a new key, as a dictionary or in JSON. Without a policy, KMS uses its default, which delegates to the
        IAM policies of the account.
      - The policy of an existing key does not change. With O(rotate), the default is the policy of the current key.
    type: json
  tags:
    description:
      - The tags of a new key. The tags of an existing key do not change. With O(rotate), the default is the tags of the current
        key.
    type: dict
  rotate:
    description:
      - Replace the current key with a new one. The task moves the alias to the new key in one step, so the alias always refers to
        a key.
      - The old key stays. Only the old key can decrypt data that was encrypted under it.
      - The new key takes over the description, policy, and tags of the current key, unless you set them. It does not take over
        grants.
      - In an external key store, set an earlier O(xks_key_id) to move the alias back to the key with that external key.
      - KMS does not rotate keys in custom key stores automatically.
    type: dict
    suboptions:
      older_than_days:
        description:
          - Rotate only if the current key is at least this number of days old, by the clock of KMS. You can run such a task each
            night.
          - Required for a key store in AWS CloudHSM. In an external key store, a new O(xks_key_id) is enough. If you also set
            this option, the current key must be old enough, too.
        type: int
  pending_window_in_days:
    description:
      - With O(state=absent), the number of days until KMS deletes the key, from 7 to 30. You can cancel the deletion until then.
    type: int
    default: 30
  wait:
    description:
      - Wait until you can use the new key by its alias. This takes KMS a few seconds.
    type: bool
    default: true
  wait_timeout:
    description:
      - The timeout in seconds for all waits of the task together.
    type: int
    default: 300
seealso:
  - module: keyops.aws.kms_custom_key_store
  - module: keyops.aws.kms_custom_key_store_info
    description: Lists the keys of a key store, with O(keyops.aws.kms_custom_key_store_info#module:include_keys).
  - module: amazon.aws.kms_key
  - ref: ansible_collections.keyops.aws.docsite.guide_keys
    description: How to create, use, rotate, and retire keys in a key store.
"""

EXAMPLES = r"""
- name: Ensure that a key in an AWS CloudHSM key store exists
  keyops.aws.kms_custom_key_store_key:
    alias: payments
    custom_key_store_name: payments
    description: Encrypts the card database
    tags:
      owner: payments-team

- name: Ensure that a key in an external key store exists
  keyops.aws.kms_custom_key_store_key:
    alias: invoices
    custom_key_store_name: invoices
    xks_key_id: invoices-2026

- name: Rotate the key once a year, in a playbook that runs each night
  keyops.aws.kms_custom_key_store_key:
    alias: payments
    custom_key_store_name: payments
    rotate:
      older_than_days: 365

- name: Move to a new external key
  keyops.aws.kms_custom_key_store_key:
    alias: invoices
    custom_key_store_name: invoices
    xks_key_id: invoices-2027
    rotate: {}

- name: Schedule the deletion of a key under which no data is encrypted
  keyops.aws.kms_custom_key_store_key:
    alias: archive
    custom_key_store_id: cks-1234567890abcdef0
    state: absent
    pending_window_in_days: 30
"""

RETURN = r"""
key:
  description:
    - The key that the alias refers to, as KMS last described it. In check mode, the key as it would be after the task, without
      values that only KMS can set.
    - Empty if the alias does not exist.
  returned: always
  type: dict
  contains:
    alias:
      description: The alias, with C(alias/).
      returned: always
      type: str
      sample: alias/payments
    key_id:
      description: The ID of the key.
      returned: always, except for a key that would be created in check mode
      type: str
      sample: 1234abcd-12ab-34cd-56ef-1234567890ab
    key_arn:
      description: The ARN of the key.
      returned: always, except for a key that would be created in check mode
      type: str
      sample: arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab
    key_state:
      description: >-
        The state of the key, such as V(Enabled), V(Disabled), V(PendingDeletion), or V(Unavailable) while the key store is not
        connected.
      returned: always
      type: str
      sample: Enabled
    creation_date:
      description: When the key was created, in ISO 8601 format.
      returned: always, except for a key that would be created in check mode
      type: str
      sample: "2026-01-31T12:00:00+00:00"
    deletion_date:
      description: When the key will be deleted, in ISO 8601 format.
      returned: when the deletion of the key is scheduled
      type: str
      sample: "2026-03-02T12:00:00+00:00"
    custom_key_store_id:
      description: The ID of the custom key store.
      returned: always
      type: str
      sample: cks-1234567890abcdef0
    cloud_hsm_cluster_id:
      description: The ID of the CloudHSM cluster that has the key material.
      returned: for keys in AWS CloudHSM
      type: str
      sample: cluster-2a34b5cdefg
    xks_key_id:
      description: The ID of the external key.
      returned: for keys in external key stores
      type: str
      sample: invoices-2026
    origin:
      description: V(AWS_CLOUDHSM) or V(EXTERNAL_KEY_STORE).
      returned: always
      type: str
      sample: AWS_CLOUDHSM
    description:
      description: The description of the key.
      returned: always
      type: str
      sample: Encrypts the card database
previous_key:
  description: The key that the alias referred to before the rotation, in the form of RV(key).
  returned: when the key was rotated
  type: dict
operations:
  description:
    - The mutating operations that KMS accepted, in order. In check mode, the operations that the task would request.
    - RV(ignore:changed) is true if and only if the list has an entry.
  returned: always
  type: list
  elements: str
  sample:
    - CreateKey
    - CreateAlias
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

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.common import set_collection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clients import service_client
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.key_notes import FOLDER
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.key_plan import desired_key
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.key_task import KeyHistory
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.key_task import KeyTask
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms import place
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import refuse_two_identities
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.service import client_config
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_NAME
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_VERSION


def argument_spec() -> dict[str, dict[str, Any]]:
    """The options of this module; C(AnsibleAWSModule) adds those of every AWS module."""
    return {
        "alias": {"type": "str", "required": True},
        "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        "custom_key_store_id": {"type": "str"},
        "custom_key_store_name": {"type": "str"},
        "xks_key_id": {"type": "str", "no_log": False},
        "description": {"type": "str"},
        "policy": {"type": "json"},
        "tags": {"type": "dict"},
        "rotate": {"type": "dict", "options": {"older_than_days": {"type": "int"}}},
        "pending_window_in_days": {"type": "int", "default": 30},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 300},
    }


def task_of(module: AnsibleAWSModule, history: KeyHistory) -> KeyTask:
    """Make the task from the module's options.

    Raises:
        CustomKeyStoreError: options exclude each other.
    """
    desired = desired_key(module.params)
    refuse_two_identities(module.params)
    client = module.client("kms", config=client_config())

    def where() -> str:
        return place(client.meta.region_name, service_client(module, "sts", timeout=2))

    def describe_cluster(cluster_id: str) -> Cluster:
        return describe_clusters(service_client(module, "cloudhsmv2"), [cluster_id])[cluster_id]

    return KeyTask(
        desired,
        client=client,
        place=where,
        describe_cluster=describe_cluster,
        history=history,
        clock=Clock(),
        notes=FOLDER,
    )


def main() -> None:
    set_collection_info(COLLECTION_NAME, COLLECTION_VERSION)
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        required_one_of=[("custom_key_store_id", "custom_key_store_name")],
        mutually_exclusive=[("custom_key_store_id", "custom_key_store_name")],
        supports_check_mode=True,
    )
    history = KeyHistory()
    finish = module.exit_json
    try:
        task = task_of(module, history)
        outcome = task.predict() if module.check_mode else task.run()
    except CustomKeyStoreError as error:
        finish, outcome = module.fail_json, history.failed(error)
    for warning in history.warnings:
        module.warn(warning)
    if not module._diff:
        outcome.pop("diff", None)
    # A policy may name accounts: only a diff shows it.
    arguments = {name: value for name, value in module.params.items() if name != "policy"}
    finish(**outcome, invocation={"module_args": arguments})


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    main()
