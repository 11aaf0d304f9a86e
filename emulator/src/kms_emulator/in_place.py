# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replaces moto's backends with those of the emulator."""

from __future__ import annotations

from moto.core.base_backend import BackendDict
from moto.core.base_backend import BaseBackend


def replace_backend(backends: BackendDict, backend: type[BaseBackend]) -> None:
    """Make moto use this backend class for a service. Idempotent. The first call clears the service."""
    if backends.backend is not backend:
        backends.backend = backend
        # Existing accounts refer to moto's own class.
        backends.clear()
