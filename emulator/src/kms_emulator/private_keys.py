# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generates the private key of a KMS key at its first use.

moto generates one for each KMS key, also for symmetric keys, which do not use it. That takes most of the time of CreateKey.
"""

from __future__ import annotations

import functools

import moto.kms.models
from moto.kms.utils import AbstractPrivateKey
from moto.kms.utils import generate_private_key


def install_private_keys() -> None:
    """Make moto's KMS keys generate their private key at its first use. Idempotent."""
    moto.kms.models.generate_private_key = PrivateKey


class PrivateKey(AbstractPrivateKey):
    """The private key of a KMS key with this key spec."""

    def __init__(self, key_spec: str) -> None:
        self._key_spec = key_spec

    @functools.cached_property
    def _generated(self) -> AbstractPrivateKey:
        return generate_private_key(self._key_spec)

    def sign(self, message: bytes, signing_algorithm: str) -> bytes:
        return bytes(self._generated.sign(message, signing_algorithm))

    def verify(self, message: bytes, signature: bytes, signing_algorithm: str) -> bool:
        return bool(self._generated.verify(message, signature, signing_algorithm))

    def public_key(self) -> bytes:
        return bytes(self._generated.public_key())
