# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model of maintenance windows that is small enough to be searched whole, and the histories of the real code held against it.

state.py says what a state is, steps.py what can happen in one, properties.py what must hold, search.py goes through all states,
table.py reads off who protects from what, and path.py looks whether a history is a path. Run it with python -m tests.model.

The search is our own: 60 lines. What PyPI has is for other kinds of models (circuits, nets, formulas over a given graph) or
starts a checker in another language, and the histories need the steps in Python anyway.
"""
