# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The name, version and addresses of the collection; a test compares them with galaxy.yml.

The logs of KMS show the name and version as the user agent.
"""

# This file is private to the keyops.aws collection: it may change in any release without notice.

from __future__ import annotations

COLLECTION_NAME = "keyops.aws"
COLLECTION_VERSION = "0.1.0"

DOCUMENTATION_URL = "https://example.org/keyops.aws/docs"
"""The URL of the pages of docs/docsite, in the folder docsite. URLs in results and messages begin with it."""
