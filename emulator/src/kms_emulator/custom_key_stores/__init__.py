# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom key stores for moto's KMS: the six operations, KMS keys in stores, and the states of keys.

The package has the structure of a moto service: models, responses, exceptions, urls, and tests. It does not depend on the rest
of the emulator, so that it can be copied to moto/kms. Subclasses add what tests control: time, faults, clusters and proxies.
"""
