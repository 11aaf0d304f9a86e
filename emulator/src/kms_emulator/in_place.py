# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the emulator's services get in the place of moto's."""

from __future__ import annotations

from moto.core.base_backend import BackendDict
from moto.core.base_backend import BaseBackend


def put_in_place(backends: BackendDict, backend: type[BaseBackend]) -> None:
    """Make moto use a class of the emulator for a service. May be called again. The first call clears that service."""
    if backends.backend is not backend:
        backends.backend = backend
        # The accounts that are there already have remembered moto's own class.
        backends.clear()
