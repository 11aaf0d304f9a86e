# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated histories: random stores, tasks and mishaps, and what must hold after each task whatever happened.

machine.py makes them up, world.py carries them out, invariants.py judges them, tally.py counts; keys_machine.py, keys_world.py
and keys_invariants.py do the same for keys in stores, and aliases that stand for them. Without a test runner, for hours:
python -m tests.histories --help.
"""
