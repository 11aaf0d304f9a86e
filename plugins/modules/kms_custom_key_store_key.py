#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_custom_key_store_key
short_description: Manage a KMS key in a custom key store of AWS KMS
version_added: 0.1.0
description:
  - Creates a KMS key in a custom key store, replaces it by a new one, and schedules its deletion. M(amazon.aws.kms_key) cannot
    create a key there. What that can do with a key that is there (policy, grants, tags, enabling and disabling), it does by the
    alias.
  - The alias tells which key. Any number of runs create one key for it.
  - KMS has no way to ask for a key twice and get one. So before it creates a key, this module looks at all keys of the store for
    one that an earlier task has created for the alias and not named, because it was killed or got no answer, and takes that. In
    an external store such a key is known by its external key. In a store in AWS CloudHSM it is known by the tag
    C(keyops.aws:created-for), whose value is the alias, and which each new key gets.
  - On one host, one task at a time creates a key for an alias. Where tasks on two hosts do so at the same time, one key gets the
    alias, and the task that created the other one names that in a warning.
  - A task that changes nothing makes one request, or two where it gives the name of the store and not its id.
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
      - The alias of the key, with or without C(alias/) at its beginning. It tells which key the task is about.
      - An alias that stands for a key outside of the store is an error. It is not moved.
    type: str
    required: true
  state:
    description:
      - V(present) means that the alias stands for a key in the store. A key is created only while the store is C(CONNECTED).
      - A key that is there is left as it is, but for O(rotate). One whose deletion is scheduled is an error.
      - V(absent) schedules the deletion of the key, which can be cancelled until then. The alias stays until the key is gone. A
        key whose deletion is scheduled already, and an alias that is not there, are no change.
    type: str
    default: present
    choices:
      - present
      - absent
  custom_key_store_id:
    description:
      - The id of the custom key store.
      - One of O(custom_key_store_id) and O(custom_key_store_name) is required.
    type: str
  custom_key_store_name:
    description:
      - The friendly name of the custom key store.
    type: str
  xks_key_id:
    description:
      - The id of the external key, as the external key store proxy knows it. Required to create a key in an external store, and
        an error for one in AWS CloudHSM.
      - Where the alias stands for a key with another external key, the task fails, unless O(rotate) is given.
    type: str
  description:
    description:
      - What a new key is for. It is not changed later on. With O(rotate), the default is that of the present key.
    type: str
  policy:
    description:
      - The key policy of a new key, as a dictionary or in JSON. Without one, KMS lets the account's IAM policies decide.
      - It is not changed later on. With O(rotate), the default is that of the present key.
    type: json
  tags:
    description:
      - Tags of a new key. They are not changed later on. With O(rotate), the default are those of the present key.
    type: dict
  rotate:
    description:
      - Has a new key take the place of the present one. The alias is moved to it in one step, so that it stands for a key at
        any time. The old key stays, because what was encrypted under it can be decrypted by it alone.
      - The new key takes over description, policy and tags of the present one, where the task does not give them. It does not
        take over grants.
      - In an external store, a former O(xks_key_id) moves the alias back to the key that has it.
      - KMS does not rotate keys in custom key stores by itself.
    type: dict
    suboptions:
      older_than_days:
        description:
          - Only when the present key is so many days old, by the clock of KMS. So the task can run each night.
          - Required in a store in AWS CloudHSM. In an external store, another O(xks_key_id) is reason enough, and with this
            option the key must be so old as well.
        type: int
  pending_window_in_days:
    description:
      - With O(state=absent), how many days there are to cancel the deletion, from 7 to 30.
    type: int
    default: 30
  wait:
    description:
      - Wait until the new key can be used by its alias, which KMS shows after some seconds.
    type: bool
    default: true
  wait_timeout:
    description:
      - How many seconds the task may wait altogether.
    type: int
    default: 300
seealso:
  - module: keyops.aws.kms_custom_key_store
  - module: keyops.aws.kms_custom_key_store_info
    description: With O(keyops.aws.kms_custom_key_store_info#module:include_keys), lists the keys of a store.
  - module: amazon.aws.kms_key
  - ref: ansible_collections.keyops.aws.docsite.guide_keys
    description: Make keys in a store, use them, rotate them, retire them.
"""

EXAMPLES = r"""
- name: Have a key in a store in AWS CloudHSM
  keyops.aws.kms_custom_key_store_key:
    alias: payments
    custom_key_store_name: payments
    description: Encrypts the card database
    tags:
      owner: payments-team

- name: Have a key in an external store
  keyops.aws.kms_custom_key_store_key:
    alias: invoices
    custom_key_store_name: invoices
    xks_key_id: invoices-2026

- name: Have a new key each year, in a playbook that runs each night
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

- name: Schedule the deletion of a key that nothing is encrypted under any more
  keyops.aws.kms_custom_key_store_key:
    alias: archive
    custom_key_store_id: cks-1234567890abcdef0
    state: absent
    pending_window_in_days: 30
"""

RETURN = r"""
key:
  description:
    - The key that the alias stands for, as KMS described it last. In check mode, as it would be, without what only KMS can know.
    - Empty when there is no such alias.
  returned: always
  type: dict
  contains:
    alias:
      description: The alias, with C(alias/).
      returned: always
      type: str
      sample: alias/payments
    key_id:
      description: The id of the key.
      returned: always, but for a key that check mode would create
      type: str
      sample: 1234abcd-12ab-34cd-56ef-1234567890ab
    key_arn:
      description: The ARN of the key.
      returned: always, but for a key that check mode would create
      type: str
      sample: arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab
    key_state:
      description: Such as V(Enabled), V(Disabled), V(PendingDeletion), or V(Unavailable) while the store is not connected.
      returned: always
      type: str
      sample: Enabled
    creation_date:
      description: When the key was created, in ISO 8601.
      returned: always, but for a key that check mode would create
      type: str
      sample: "2026-01-31T12:00:00+00:00"
    deletion_date:
      description: When the key will be deleted, in ISO 8601.
      returned: when its deletion is scheduled
      type: str
      sample: "2026-03-02T12:00:00+00:00"
    custom_key_store_id:
      description: The id of the custom key store.
      returned: always
      type: str
      sample: cks-1234567890abcdef0
    cloud_hsm_cluster_id:
      description: The id of the CloudHSM cluster that has the key material.
      returned: for keys in AWS CloudHSM
      type: str
      sample: cluster-2a34b5cdefg
    xks_key_id:
      description: The id of the external key.
      returned: for keys in external stores
      type: str
      sample: invoices-2026
    origin:
      description: V(AWS_CLOUDHSM) or V(EXTERNAL_KEY_STORE).
      returned: always
      type: str
      sample: AWS_CLOUDHSM
    description:
      description: What the key is for.
      returned: always
      type: str
      sample: Encrypts the card database
previous_key:
  description: The key that the alias stood for before, in the same form.
  returned: when the key was rotated
  type: dict
operations:
  description:
    - The mutating operations that KMS accepted, in order. In check mode, those that would be made.
    - RV(ignore:changed) is true if and only if there is one.
  returned: always
  type: list
  elements: str
  sample:
    - CreateKey
    - CreateAlias
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

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.common import set_collection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clients import client_beside
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
    """The options of this module; those of every AWS module are added by C(AnsibleAWSModule)."""
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
    """What the module's options ask for.

    Raises:
        CustomKeyStoreError: they do not go together.
    """
    desired = desired_key(module.params)
    refuse_two_identities(module.params)
    client = module.client("kms", config=client_config())

    def where() -> str:
        return place(client.meta.region_name, client_beside(module, "sts", timeout=2))

    def describe_cluster(cluster_id: str) -> Cluster:
        return describe_clusters(client_beside(module, "cloudhsmv2"), [cluster_id])[cluster_id]

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
        outcome = task.foretell() if module.check_mode else task.run()
    except CustomKeyStoreError as error:
        finish, outcome = module.fail_json, history.failed(error)
    for warning in history.warnings:
        module.warn(warning)
    if not module._diff:
        outcome.pop("diff", None)
    # A policy may name accounts: it is shown in a diff alone.
    arguments = {name: value for name, value in module.params.items() if name != "policy"}
    finish(**outcome, invocation={"module_args": arguments})


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    main()
