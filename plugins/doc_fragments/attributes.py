# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The attributes of the modules, documented in one place."""

from __future__ import annotations


class ModuleDocFragment:
    """Each module sets its own support for an attribute."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and report what it would change, without changing anything.
  diff_mode:
    description: Shows what it has changed, or what it would change in check mode, when run with C(--diff).
  idempotent:
    description: Changes nothing when it is run again with the same options, unless something else has changed in between.
"""

    ACTIONGROUP_AWS = r"""
options: {}
attributes:
  action_group:
    description:
      - Use C(group/keyops.aws.aws) in C(module_defaults) to set connection options for this module.
      - That group also contains the modules of C(group/amazon.aws.aws). Defaults for C(group/aws) or C(group/amazon.aws.aws) do
        not apply to this module.
    support: full
    membership:
      - keyops.aws.aws
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: The module changes nothing.
  diff_mode:
    support: N/A
    details: The module changes nothing.
  idempotent:
    support: full
    details: The module changes nothing.
"""
