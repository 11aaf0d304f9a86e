# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Would the tests notice if the code that decides were wrong? mutmut makes many small changes, one at a time, and runs the tests.

A change that no test notices needs a test, or an explanation in survivors.toml. mutmut.toml says which files are changed, and
which tests are run. make mutation runs it.
"""
