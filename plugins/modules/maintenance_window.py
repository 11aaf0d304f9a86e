#!/usr/bin/python
# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_window
short_description: One step of a maintenance window for custom key stores of AWS KMS
version_added: 0.1.0
description:
  - The role P(keyops.aws.key_store_maintenance#role) consists of these steps. Use the role, not this module.
  - It is an action plugin, which runs M(keyops.aws.kms_custom_key_stores) on the managed host. The steps of a window belong
    together, and only work in one block of the role.
  - What one step finds out, the next one needs. It is kept in a temporary file of the run of Ansible, without secrets, so that
    no variable can change it.
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
      - V(check) looks whether the window may begin, V(show) shows what it does or how it went, V(disconnect) takes the stores out
        of service, V(work) fails where that was left out, V(note) keeps in mind what failed, V(reconnect) brings the stores back,
        and V(report) fails where anything has.
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
    description: The variable C(key_store_maintenance_stores) of the role. The other options are its other variables.
    type: list
    elements: dict
  tasks_file:
    description: A file of tasks.
    type: str
  not_before:
    description: Nothing is disconnected before this time.
    type: str
  not_after:
    description: Nothing is disconnected after this time.
    type: str
  min_active_hsms:
    description: How many active HSMs a cluster must have.
    type: int
  max_recent_use_minutes:
    description: How long no key may have been used.
    type: int
  verify:
    description: Prove that the stores work when they are connected again.
    type: bool
  wait_timeout:
    description: How many seconds to wait.
    type: int
  memory:
    description: The folder of the leases, on the managed host.
    type: path
  keeper:
    description: Leave a process on the managed host that brings the stores back if the play ends early.
    type: bool
  lease_minutes:
    description: After how many minutes it does so at the latest.
    type: int
  lease_role_arn:
    description: The IAM role with which EventBridge Scheduler connects the stores, should the host be lost.
    type: str
  predict_connect:
    description: Refuse a window after which KMS could not connect the stores again, as far as that can be checked.
    type: bool
  xks_proxy_credentials:
    description: The credentials of external key store proxies, to check them with.
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
  description: What the window does with each store.
  returned: with O(step=check)
  type: list
  elements: dict
refusals:
  description: Why nothing may be disconnected.
  returned: with O(step=check)
  type: list
  elements: str
summary:
  description: How the window went for each store.
  returned: with O(step=reconnect)
  type: list
  elements: dict
"""
