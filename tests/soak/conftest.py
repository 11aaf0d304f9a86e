# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same fixtures as the integration tests have."""

from __future__ import annotations

from tests.integration.conftest import ansible

__all__ = ["ansible"]
