# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes of the plugins, described once."""

from __future__ import annotations


class ModuleDocFragment:
    """Each plugin says itself how far it supports an attribute."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what it would change, without changing anything.
  diff_mode:
    description: Tells what it has changed, or in check mode would change, when run with C(--diff).
  idempotent:
    description: Run again with the same options, it changes nothing when nothing else has changed meanwhile.
"""

    ACTIONGROUP_AWS = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/keyops.aws.aws) in C(module_defaults) to set connection options for this module.
      - That group contains the modules of C(group/amazon.aws.aws), too, but not the other way round. Defaults that are set
        for C(group/aws) or C(group/amazon.aws.aws) do not reach this module.
    support: full
    membership:
      - keyops.aws.aws
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: It changes nothing.
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: full
    details: It changes nothing.
"""
