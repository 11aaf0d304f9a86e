# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs of the emulator's KMS, for moto in process and as a server."""

from __future__ import annotations

from moto.kms.urls import url_bases

from .responses import EmulatedResponse

__all__ = ["url_bases", "url_paths"]

url_paths = {"{0}/$": EmulatedResponse.dispatch}
