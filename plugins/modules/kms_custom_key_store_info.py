#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kms_custom_key_store_info
short_description: Gather information about AWS KMS custom key stores
version_added: 0.1.0
description:
  - Describes one custom key store, or all custom key stores of an account and Region. For a C(FAILED) key store, it returns the
    cause and the remedy.
  - Before you disconnect a key store, check with O(include_keys) which keys would become unusable. It lists the KMS keys in the
    key store, and when and for which operation each key was last used.
  - Before you connect a key store, check with O(include_cloud_hsm_cluster) that its cluster has an active HSM.
author:
  - Contributors to the keyops.aws collection (!UNKNOWN)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - keyops.aws.attributes
  - keyops.aws.attributes.actiongroup_aws
  - keyops.aws.attributes.info_module
  - keyops.aws.prediction
options:
  custom_key_store_id:
    description:
      - The ID of the custom key store to describe.
      - If you set neither O(custom_key_store_id) nor O(name), the module describes all custom key stores of the account and
        Region.
    type: str
    aliases:
      - id
  name:
    description:
      - The friendly name of the custom key store to describe.
      - If you set neither O(custom_key_store_id) nor O(name), the module describes all custom key stores of the account and
        Region.
    type: str
    aliases:
      - custom_key_store_name
  include_keys:
    description:
      - Find the KMS keys in the key stores, their aliases, and their last use.
      - KMS cannot list the keys of a key store. The module therefore describes each KMS key of the account and Region, several at
        a time, in one pass for all key stores. For 10,000 keys, this takes about half a minute.
      - KMS allows 2,000 of these requests per second for all callers in the account and Region. The module stays below that
        quota, and slows down if KMS throttles it.
      - The module cannot see keys in key stores of other accounts. It also cannot see who uses a key from another account.
    type: bool
    default: false
  unused_for_days:
    description:
      - Return only the KMS keys that were not used for this number of days, which is 1 or more. Requires O(include_keys=true).
      - If a key was never used, the days are counted from C(tracking_start_date), when KMS started to record its use.
      - If the last use of a key is unknown, the module returns the key with the reason in C(last_usage.unknown), and warns you.
      - KMS may record a use up to an hour late. Before you delete a key, disable it for a while and see who still needs it.
    type: int
  include_cloud_hsm_cluster:
    description: Describe the AWS CloudHSM clusters behind the key stores of the type V(AWS_CLOUDHSM).
    type: bool
    default: false
  include_events:
    description:
      - Look up in AWS CloudTrail who connected, disconnected, updated, and deleted the key stores.
      - CloudTrail shows an event up to 15 minutes late, and keeps it for 90 days. Requests that KMS refused are left out.
      - The lookup takes four requests or more. AWS allows two of these requests per second for all callers in the account and
        Region. The module stays below that quota.
    type: bool
    default: false
seealso:
  - module: keyops.aws.kms_custom_key_store
  - module: amazon.aws.kms_key_info
  - name: Disconnecting a custom key store
    description: What AWS advises before you disconnect a key store, in the AWS KMS developer guide.
    link: https://docs.aws.amazon.com/kms/latest/developerguide/disconnect-keystore.html
notes:
  - The caller needs the permission C(kms:DescribeCustomKeyStores) in an IAM policy.
  - O(include_keys) also needs C(kms:ListKeys) and C(kms:ListAliases). For each key, it needs C(kms:DescribeKey) and
    C(kms:GetKeyLastUsage), in the key policy, or in an IAM policy if the key policy delegates to IAM.
  - O(include_cloud_hsm_cluster) also needs C(cloudhsm:DescribeClusters), and O(include_events) needs C(cloudtrail:LookupEvents).
  - O(predict_connect) also needs C(cloudhsm:DescribeClusters), C(ec2:DescribeSubnets) and C(ec2:DescribeSecurityGroups) for key
    stores in AWS CloudHSM. For external key stores behind a VPC endpoint service, it needs C(ec2:DescribeVpcEndpointServices).
    If a permission is missing, the outcome of the checks that need it is C(unknown).
  - C(CONNECTED) means that the last connect succeeded, and that nobody has disconnected the key store since. It does not show
    whether the backing key store is healthy.
  - The last use is a hint, not proof. KMS records it for a limited time only. An application that has already decrypted a data
    key can use that data key without a request to KMS.
"""

EXAMPLES = r"""
- name: Find all custom key stores of the account and Region
  keyops.aws.kms_custom_key_store_info:
  register: all_stores

- name: Show the key stores that are not connected, and why a connect failed
  ansible.builtin.debug:
    msg: "{{ item.custom_key_store_name }}: {{ item.connection_state }} {{ item.connection_error | default('') }}"
  loop: "{{ all_stores.custom_key_stores | rejectattr('connection_state', 'eq', 'CONNECTED') }}"
  loop_control:
    label: "{{ item.custom_key_store_name }}"

- name: Find the keys that a disconnect would make unusable
  keyops.aws.kms_custom_key_store_info:
    name: payments
    include_keys: true
  register: payments

- name: Show the keys that were used, or whose last use is unknown
  ansible.builtin.debug:
    msg: "{{ item.key_id }} {{ item.aliases }} {{ item.key_state }}: last used {{ item.last_usage }}"
  loop: "{{ payments.custom_key_stores[0]['keys'] | rejectattr('last_usage', 'none') }}"
  loop_control:
    label: "{{ item.key_id }}"

- name: Describe the key store and the cluster behind it
  keyops.aws.kms_custom_key_store_info:
    custom_key_store_id: "{{ payments.custom_key_stores[0].custom_key_store_id }}"
    include_cloud_hsm_cluster: true
  register: with_cluster

- name: Stop if the cluster has no active HSM
  ansible.builtin.assert:
    that:
      - with_cluster.custom_key_stores[0].cloud_hsm_cluster.state == "ACTIVE"
      - with_cluster.custom_key_stores[0].cloud_hsm_cluster.active_hsms >= 1
    fail_msg: "The cluster is not ready: {{ with_cluster.custom_key_stores[0].cloud_hsm_cluster }}"

- name: Find out who disconnected the key store
  keyops.aws.kms_custom_key_store_info:
    name: payments
    include_events: true
  register: with_events

- name: Show who disconnected the key store, and when
  ansible.builtin.debug:
    msg: "{{ item.user_arn }} disconnected it at {{ item.time }}."
  loop: "{{ with_events.custom_key_stores[0].events | selectattr('event_name', 'eq', 'DisconnectCustomKeyStore') }}"
  loop_control:
    label: "{{ item.event_id }}"
"""

RETURN = r"""
custom_key_stores:
  description: The custom key stores, oldest first. Empty if there is no key store, or none with that ID or name.
  returned: always
  type: list
  elements: dict
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
    connection_error:
      description: Why the store is C(FAILED).
      returned: when C(connection_state) is V(FAILED)
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
    keys:
      description:
        - The KMS keys in the key store.
        - In a template, write C(store['keys']), because C(store.keys) is a method of the dictionary.
      returned: when O(include_keys=true)
      type: list
      elements: dict
      contains:
        key_id:
          description: The ID of the KMS key.
          returned: always
          type: str
          sample: 1234abcd-12ab-34cd-56ef-1234567890ab
        key_arn:
          description: The ARN of the KMS key.
          returned: always
          type: str
          sample: arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab
        key_state:
          description:
            - The state of the key, such as V(Enabled), V(Disabled), V(PendingDeletion) and V(Unavailable).
            - While the key store is not connected, its keys are V(Unavailable), except those that are V(PendingDeletion).
          returned: always
          type: str
          sample: Enabled
        creation_date:
          description: When the key was created, in ISO 8601 format.
          returned: always
          type: str
          sample: "2026-01-31T12:00:00+00:00"
        xks_key_id:
          description: The ID of the external key, as the external key store proxy knows it.
          returned: for keys in external key stores
          type: str
          sample: payments-2026
        deletion_date:
          description: When the key will be deleted, in ISO 8601 format.
          returned: when C(key_state) is V(PendingDeletion)
          type: str
          sample: "2026-03-02T12:00:00+00:00"
        aliases:
          description:
            - The aliases of the key, without C(alias/).
            - C(null) if they could not be listed. A warning gives the reason.
          returned: always
          type: list
          elements: str
          sample:
            - card-numbers
        last_usage:
          description:
            - The last successful cryptographic operation with the key.
            - C(null) if the key has not been used since C(tracking_start_date).
          returned: always
          type: dict
          contains:
            operation:
              description: The operation.
              returned: when the key was used
              type: str
              sample: Decrypt
            timestamp:
              description: When the operation took place, in ISO 8601 format.
              returned: when the key was used
              type: str
              sample: "2026-02-13T04:05:06+00:00"
            cloud_trail_event_id:
              description: The ID of the event in CloudTrail. The event shows who used the key.
              returned: when the key was used
              type: str
              sample: 114b61b9-0ea6-47f5-a9d2-4f2bdd0017d5
            kms_request_id:
              description: The ID that KMS gave to the request.
              returned: when the key was used
              type: str
              sample: 8d9b1c2a-5f6e-4a3b-9c0d-1e2f3a4b5c6d
            unknown:
              description: Why the last use of the key is unknown, and what to do.
              returned: when the last use is unknown
              type: str
              sample: >-
                GetKeyLastUsage of 1234abcd-12ab-34cd-56ef-1234567890ab failed with AccessDeniedException. The caller may not
                do this. Allow kms:GetKeyLastUsage in the key policy, or in an IAM policy of the caller where the key policy
                leaves that to IAM.
        tracking_start_date:
          description: When KMS started to record the use of the key, in ISO 8601 format.
          returned: unless the last use is unknown
          type: str
          sample: "2026-01-31T12:00:00+00:00"
    connect_prediction:
      description: Whether KMS could connect the key store.
      returned: when O(predict_connect=true)
      type: dict
      contains:
        fails:
          description: Whether a check found a reason why a connect would fail.
          returned: always
          type: bool
          sample: true
        codes:
          description: The connection error codes with which the connect could fail.
          returned: always
          type: list
          elements: str
          sample:
            - XKS_PROXY_INVALID_TLS_CONFIGURATION
        checks:
          description: The checks.
          returned: always
          type: list
          elements: dict
          contains:
            name:
              description: What was checked, in a few words.
              returned: always
              type: str
              sample: Certificate of the proxy
            outcome:
              description:
                - V(passed) means that what KMS needs is there. V(warning) means that it is there, but may soon be missing.
                - V(failed) means that a connect would fail.
                - V(unknown) means that the module could not make the check from the managed host.
              returned: always
              type: str
              sample: failed
            text:
              description: What was found and what to do about it, or why the outcome is V(unknown).
              returned: always
              type: str
              sample: The certificate of the proxy expired on 2026-01-31. Renew it.
            code:
              description: The connection error code with which a connect would fail. V(null) if there is none.
              returned: always
              type: str
              sample: XKS_PROXY_INVALID_TLS_CONFIGURATION
    cloud_hsm_cluster:
      description: The CloudHSM cluster behind the key store.
      returned: when O(include_cloud_hsm_cluster=true), for key stores in AWS CloudHSM
      type: dict
      contains:
        cluster_id:
          description: The ID of the cluster.
          returned: always
          type: str
          sample: cluster-2a34b5cdefg
        state:
          description: The state of the cluster, such as V(ACTIVE). C(null) if it is unknown, with the reason in C(problem).
          returned: always
          type: str
          sample: ACTIVE
        hsms:
          description:
            - The number of HSMs in the cluster, by state and then by Availability Zone.
            - C(null) if it is unknown.
          returned: always
          type: dict
          sample:
            ACTIVE:
              us-east-1a: 1
              us-east-1b: 1
        active_hsms:
          description:
            - The number of HSMs that are V(ACTIVE). C(null) if it is unknown.
            - KMS needs one to connect a key store, and two in different Availability Zones to create or change a key store.
          returned: always
          type: int
          sample: 2
        hsm_type:
          description:
            - The type of the HSMs, such as V(hsm2m.medium). While the type is being changed, this is the new type.
          returned: when AWS CloudHSM returns it
          type: str
          sample: hsm2m.medium
        hsm_types:
          description: The number of HSMs of each type. While the type is being changed, it shows the progress.
          returned: when AWS CloudHSM returns it
          type: dict
          sample:
            hsm2m.medium: 2
        mode:
          description: V(FIPS) or V(NON_FIPS).
          returned: when AWS CloudHSM returns it, and the SDK supports it
          type: str
          sample: FIPS
        network_type:
          description: V(IPV4) or V(DUALSTACK). KMS uses IPv4 with both.
          returned: when AWS CloudHSM returns it, and the SDK supports it
          type: str
          sample: IPV4
        hsm_type_rollback_expiration:
          description: The time until which you can roll back the change of the HSM type, in ISO 8601 format.
          returned: when the HSM type was changed, and the SDK supports it
          type: str
          sample: "2026-01-31T12:00:00+00:00"
        subnets:
          description: The ID of the cluster's subnet in each Availability Zone.
          returned: when AWS CloudHSM returns it
          type: dict
          sample:
            us-east-1a: subnet-0123456789abcdef0
            us-east-1b: subnet-0123456789abcdef1
        security_group:
          description: The ID of the cluster's security group.
          returned: when AWS CloudHSM returns it
          type: str
          sample: sg-0123456789abcdef0
        problem:
          description: Why the cluster could not be described. It does not exist, or the caller may not describe it.
          returned: when the cluster could not be described
          type: str
          sample: >-
            There is no CloudHSM cluster cluster-2a34b5cdefg in this account and Region. If it was deleted, create one from a
            recent backup, and tell KMS its id while the store is disconnected (cloud_hsm_cluster_id).
    events:
      description:
        - The operations on the key store, newest first. For each kind of operation, the module searches at most the last 500
          events of all key stores in CloudTrail. If there is an event of this key store among them, the list has at least the
          last one.
        - C(null) if the events are unknown, with the reason in RV(events_problem).
      returned: when O(include_events=true)
      type: list
      elements: dict
      contains: &event
        time:
          description: When the operation took place, in ISO 8601 format.
          returned: always
          type: str
          sample: "2026-02-13T04:05:06+00:00"
        event_name:
          description:
            - The operation, V(ConnectCustomKeyStore), V(DisconnectCustomKeyStore), V(UpdateCustomKeyStore) or
              V(DeleteCustomKeyStore).
          returned: always
          type: str
          sample: DisconnectCustomKeyStore
        user_arn:
          description: Who requested the operation, as an ARN. C(null) if CloudTrail does not show it.
          returned: always
          type: str
          sample: arn:aws:iam::123456789012:user/alice
        source_ip:
          description: The IP address of the request, or the AWS service that made it. C(null) if CloudTrail does not show it.
          returned: always
          type: str
          sample: 192.0.2.0
        event_id:
          description: The ID of the event in CloudTrail.
          returned: always
          type: str
          sample: 114b61b9-0ea6-47f5-a9d2-4f2bdd0017d5
deleted_custom_key_stores:
  description:
    - The key stores that were deleted in the last 90 days, most recent first. With O(custom_key_store_id) or O(name), only those
      with that ID or name.
    - Also empty if the events are unknown, with the reason in RV(events_problem).
  returned: when O(include_events=true)
  type: list
  elements: dict
  contains:
    custom_key_store_id:
      description: The ID of the key store.
      returned: always
      type: str
      sample: cks-1234567890abcdef0
    custom_key_store_name:
      description: The friendly name that the key store had. C(null) if CloudTrail does not show it.
      returned: always
      type: str
      sample: payments
    events:
      description: The operations on the key store, newest first.
      returned: always
      type: list
      elements: dict
      contains: *event
events_problem:
  description: Why the lookup in CloudTrail failed.
  returned: when O(include_events=true), and the lookup failed
  type: str
  sample: >-
    LookupEvents failed with AccessDeniedException. The caller needs the permission cloudtrail:LookupEvents in an IAM policy.
region:
  description: The Region of the key stores.
  returned: always
  type: str
  sample: us-east-1
keys_not_described:
  description:
    - The KMS keys of the account that could not be described. They may be in any of the key stores. A warning reports them, too.
  returned: when O(include_keys=true)
  type: list
  elements: dict
  contains:
    key_id:
      description: The ID of the KMS key.
      returned: always
      type: str
      sample: 1234abcd-12ab-34cd-56ef-1234567890ab
    reason:
      description: Why the key could not be described.
      returned: always
      type: str
      sample: >-
        DescribeKey of 1234abcd-12ab-34cd-56ef-1234567890ab failed with AccessDeniedException. The caller may not do this.
        Allow
        kms:DescribeKey in the key policy, or in an IAM policy of the caller where the key policy leaves that to IAM.
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

from functools import partial
from typing import TYPE_CHECKING
from typing import Any
from typing import Collection
from typing import Mapping
from typing import Optional

from ansible_collections.amazon.aws.plugins.module_utils.common import set_collection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clients import service_client
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Clock
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clock import Deadline
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import Cluster
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.clusters import describe_clusters
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.diagnosis import diagnose
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import keys_in_stores
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import results_by_store
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import unused_among
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.keys import usages
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.kms_stores import Kms
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import ConnectionState
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStore
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.model import CustomKeyStoreError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.prediction import prediction_options
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import check_values
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.properties import refuse_two_identities
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.service import client_config
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.trail import Trail
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.trail import TrailError
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.trail import deleted_stores
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_NAME
from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.version import COLLECTION_VERSION

if TYPE_CHECKING:
    from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store.predict import Predictor

PATIENCE = 600
"""How long to retry a request that KMS throttles, in seconds."""

LONGEST_UNUSED = 36500
"""Days. Longer than the age of any key."""

EVENTS_PATIENCE = 60
"""The same for CloudTrail. Without its events, a store is still returned."""


def argument_spec() -> dict[str, dict[str, Any]]:
    """The options of this module; C(AnsibleAWSModule) adds those of every AWS module."""
    return {
        "custom_key_store_id": {"type": "str", "aliases": ["id"]},
        "name": {"type": "str", "aliases": ["custom_key_store_name"]},
        "include_keys": {"type": "bool", "default": False},
        "unused_for_days": {"type": "int"},
        "include_cloud_hsm_cluster": {"type": "bool", "default": False},
        "include_events": {"type": "bool", "default": False},
        **prediction_options(),
    }


def describe_stores(module: AnsibleAWSModule, clock: Clock) -> dict[str, Any]:
    """Gather the information that the task asks for.

    Returns:
        The task's result.

    Raises:
        CustomKeyStoreError: the stores could not be described, or the keys of the account could not be listed.
    """
    options = {"CustomKeyStoreId": "custom_key_store_id", "CustomKeyStoreName": "name"}
    which = {member: module.params[option] for member, option in options.items() if module.params[option] is not None}
    check_values({options[member]: value for member, value in which.items()})
    check_unused_for_days(module.params)
    refuse_two_identities(module.params)
    predictor = make_predictor(module)
    client = module.client("kms", config=client_config())
    kms = Kms(client, Deadline(clock, PATIENCE), lambda: str(client.meta.region_name))
    stores = kms.describe_all(which)
    results = {store.id: store_result(store) for store in stores}
    extra = {}
    if module.params["include_keys"]:
        extra = add_keys(module, kms, results)
    clusters = add_clusters(module, results.values()) if module.params["include_cloud_hsm_cluster"] else None
    if predictor is not None:
        for store, prediction in zip(stores, predictor.predict(stores, str(client.meta.region_name), clusters)):
            results[store.id]["connect_prediction"] = prediction
    if module.params["include_events"]:
        extra.update(add_events(module, results, Deadline(clock, EVENTS_PATIENCE)))
    return {"custom_key_stores": list(results.values()), "region": str(client.meta.region_name), **extra}


def check_unused_for_days(params: Mapping[str, Any]) -> None:
    """Raises CustomKeyStoreError for an invalid number of days."""
    days = params["unused_for_days"]
    if days is None:
        return
    if not params["include_keys"]:
        raise CustomKeyStoreError(
            "unused_for_days chooses among the keys: set include_keys=true, too, or leave it out."
        )
    if not 1 <= days <= LONGEST_UNUSED:
        raise CustomKeyStoreError(f"unused_for_days is {days}, and must be from 1 to {LONGEST_UNUSED}.")


def make_predictor(module: AnsibleAWSModule) -> Optional[Predictor]:
    """The predictor; None if the task does not ask for a prediction.

    Raises:
        CustomKeyStoreError: C(xks_proxy_credentials) is invalid.
    """
    if not (module.params["predict_connect"] or module.params["xks_proxy_credentials"]):
        return None
    from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import predict  # few tasks need it

    return predict.Predictor(partial(service_client, module, timeout=10), predict.credentials_of(module.params))


def store_result(store: CustomKeyStore) -> dict[str, Any]:
    """One store for the result, with the cause if it is FAILED."""
    if store.connection_state is not ConnectionState.FAILED:
        return store.to_result()
    failure = diagnose(store.connection_error_code or "UNKNOWN", store.type)
    return {**store.to_result(), "connection_error": failure.to_result()}


def add_keys(module: AnsibleAWSModule, kms: Kms, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Add C(keys) to each of the stores, in one pass over the account for all of them.

    Args:
        module: gets a warning if something is missing.
        kms: see C(Kms).
        results: the stores by id, as they will be returned.

    Returns:
        The other values of the result, apart from the stores.

    Raises:
        CustomKeyStoreError: the keys of the account could not be listed.
    """
    if not results:
        return {"keys_not_described": []}
    found = keys_in_stores(kms.keys, results)
    uses = usages(kms.keys, found.keys)
    keys = found.keys
    if module.params["unused_for_days"] is not None:
        keys = unused_among(keys, uses, days=module.params["unused_for_days"], now=kms.now())
        unknown = sum(uses.by_key[key.id].is_unknown for key in keys)
        if unknown:
            module.warn(
                f"Of {unknown} KMS keys it is not known when they were used last, see last_usage.unknown: they may have been used"
                f" in the last {module.params['unused_for_days']} days, and are returned anyway."
            )
    keys_by_store = results_by_store(keys, uses)
    for custom_key_store_id, result in results.items():
        result["keys"] = keys_by_store.get(custom_key_store_id, [])
    if uses.aliases_error is not None:
        module.warn(f"The aliases of the keys are not known: {uses.aliases_error.message}")
    for error in list(found.not_described.values())[:1]:
        module.warn(
            f"{len(found.not_described)} KMS keys of the account could not be described and may be in these stores,"
            f" see keys_not_described: {error.message}"
        )
    return {"keys_not_described": found.missing()}


def add_clusters(module: AnsibleAWSModule, results: Collection[dict[str, Any]]) -> Mapping[str, Cluster]:
    """Add C(cloud_hsm_cluster) to each of the stores that are in AWS CloudHSM. Returns the clusters by their ids."""
    ids = {result["cloud_hsm_cluster_id"] for result in results if "cloud_hsm_cluster_id" in result}
    clusters = describe_clusters(service_client(module, "cloudhsmv2"), ids)
    for result in results:
        if "cloud_hsm_cluster_id" in result:
            result["cloud_hsm_cluster"] = clusters[result["cloud_hsm_cluster_id"]].to_result()
    return clusters


def add_events(module: AnsibleAWSModule, results: Mapping[str, dict[str, Any]], deadline: Deadline) -> dict[str, Any]:
    """Add C(events) to each of the stores.

    Args:
        module: its options select the stores.
        results: the stores by id, as they will be returned.
        deadline: see C(Trail).

    Returns:
        The other values of the result, apart from the stores.
    """
    trail = Trail(service_client(module, "cloudtrail"), deadline)
    try:
        events = trail.events(results)
    except TrailError as error:
        for result in results.values():
            result["events"] = None
        return {"deleted_custom_key_stores": [], "events_problem": error.message}
    for custom_key_store_id, result in results.items():
        result["events"] = [event.to_result() for event in events if event.store_id == custom_key_store_id]
    wanted_id, wanted_name = module.params["custom_key_store_id"], module.params["name"]
    gone = [
        store.to_result()
        for store in deleted_stores(events, results)
        if wanted_id in (None, store.id) and wanted_name in (None, store.name)
    ]
    return {"deleted_custom_key_stores": gone}


def main() -> None:
    set_collection_info(COLLECTION_NAME, COLLECTION_VERSION)
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        mutually_exclusive=[("custom_key_store_id", "name")],
        supports_check_mode=True,
    )
    try:
        result = describe_stores(module, Clock())
    except CustomKeyStoreError as error:
        known = {} if error.error is None else {"error": dict(error.error)}
        module.fail_json(msg=error.message, **known)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    main()
