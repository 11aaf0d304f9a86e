#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_window
short_description: Run one step of a maintenance window for AWS KMS custom key stores
version_added: 0.1.0
description:
  - Use the role P(keyops.aws.key_store_maintenance#role), which consists of these steps. Do not use this module directly.
  - The module is an action plugin. It runs M(keyops.aws.kms_custom_key_stores) on the managed host. The steps of a window depend
    on each other, and work only in one block of the role.
  - Each step passes its results to the next one in a temporary file of the Ansible run, so that no variable can change them. The
    file has no secrets.
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
  step:
    description:
      - V(check) checks whether the window may start.
      - V(show) shows the plan of the window, or its summary.
      - V(disconnect) disconnects the key stores.
      - V(work) fails if the disconnect was skipped.
      - V(note) records a failure.
      - V(reconnect) reconnects the key stores.
      - V(report) fails if anything has failed.
    type: str
    required: true
    choices:
      - check
      - show
      - disconnect
      - work
      - note
      - reconnect
      - report
  stores:
    description: The variable C(key_store_maintenance_stores) of the role. The other options are the other variables of the role.
    type: list
    elements: dict
  tasks_file:
    description: The file with the maintenance tasks.
    type: str
  not_before:
    description: The earliest time for a disconnect.
    type: str
  not_after:
    description: The latest time for a disconnect.
    type: str
  min_active_hsms:
    description: The number of active HSMs that a cluster must have.
    type: int
  max_recent_use_minutes:
    description: The number of minutes for which no KMS key of the key stores may have been used.
    type: int
  verify:
    description: Verify that the key stores work when they are connected again.
    type: bool
  wait_timeout:
    description: The timeout in seconds for the disconnect, and again for the connect.
    type: int
  memory:
    description: The folder for the leases on the managed host.
    type: path
  keeper:
    description: Start a process on the managed host, the keeper, that reconnects the key stores if the play ends early.
    type: bool
  lease_minutes:
    description: The number of minutes after which the keeper reconnects the key stores at the latest.
    type: int
  lease_role_arn:
    description: The ARN of the IAM role with which EventBridge Scheduler connects the key stores if the host is lost.
    type: str
  predict_connect:
    description: Check whether KMS could connect the key stores again, and refuse the window if it could not.
    type: bool
  xks_proxy_credentials:
    description: The credentials with which to check external key store proxies.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: Check a window
  keyops.aws.maintenance_window:
    step: check
    stores:
      - name: payments
"""

RETURN = r"""
stores:
  description: What the window does with each key store.
  returned: with O(step=check)
  type: list
  elements: dict
refusals:
  description: Why the window is refused.
  returned: with O(step=check)
  type: list
  elements: str
summary:
  description: The result of the window for each key store.
  returned: with O(step=reconnect)
  type: list
  elements: dict
"""
