# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom key stores for moto's KMS: the six operations, KMS keys in stores, and the states of keys.

In the form of a service of moto's: models, responses, exceptions, urls, and tests. Nothing here knows the rest of the emulator,
so that the folder can be copied to moto/kms. What a test wants to steer (time, faults, what is behind a store) is added by
subclasses.
"""
