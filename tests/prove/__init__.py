# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every history of a task about one store, up to a bound: not a sample, as tests/histories makes, but all.

cases.py says what a history begins with, disturbances.py what may disturb it and where; world.py carries it out, judge.py judges
it, search.py goes through all of them. Run it with python -m tests.prove.
"""
