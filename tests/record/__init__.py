# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records what AWS KMS answers about one custom key store, and holds the emulator against it.

requests.py has the requests that are ever sent, scenario.py their order. player.py sends them, to KMS and to the emulator alike.
disguise.py takes out what is private. back.py brings the key store back. replay.py compares.
"""
