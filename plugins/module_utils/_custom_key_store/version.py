# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is private to the keyops.aws collection: it may change in any release without notice.


"""The name and version of the collection, which KMS's logs show as the user agent. Kept equal to galaxy.yml by a test."""

from __future__ import annotations

COLLECTION_NAME = "keyops.aws"
COLLECTION_VERSION = "0.1.0"
