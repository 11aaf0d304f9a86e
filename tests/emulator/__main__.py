# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command kms-emulator by its former name, python -m tests.emulator, for scripts that start it so."""

from __future__ import annotations

import sys

from kms_emulator.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
