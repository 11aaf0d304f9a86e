# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for a proxy, good ones and such as are at fault, made when they are needed."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from enum import Enum
from pathlib import Path
from typing import Optional

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization import NoEncryption
from cryptography.hazmat.primitives.serialization import PrivateFormat
from cryptography.x509.oid import NameOID

SOON = 10
"""In how many days a certificate expires that soon does."""


class Certificate(Enum):
    """What is wrong with the certificate of a proxy. C(NONE): it speaks HTTP, without TLS."""

    GOOD = "good"
    EXPIRED = "expired"
    EXPIRED_CHAIN = "expired chain"
    EXPIRES_SOON = "expires soon"
    NOT_YET_VALID = "not yet valid"
    WRONG_HOST = "wrong host"
    UNKNOWN_AUTHORITY = "unknown authority"
    SELF_SIGNED = "self-signed"
    INCOMPLETE_CHAIN = "incomplete chain"
    NONE = "none"


@dataclass(frozen=True)
class _Made:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def make_certificates(folder: Path, fault: Certificate, *, host: str, days: int) -> tuple[Path, Path]:
    """Write the certificate of an authority, and the chain of a proxy with its key.

    Args:
        folder: where to; it is made where it is missing.
        fault: what is to be wrong.
        host: a name or an address, which the certificate is for.
        days: until it expires, unless C(fault) says otherwise.

    Returns:
        The file with the authority, and the one with the chain and the key.
    """
    folder.mkdir(parents=True, exist_ok=True)
    root = _make("Test Root", days=(-30, 3650), is_authority=True)
    trusted = (
        _make("Another Root", days=(-30, 3650), is_authority=True) if fault is Certificate.UNKNOWN_AUTHORITY else root
    )
    between_days = (-30, -1) if fault is Certificate.EXPIRED_CHAIN else (-30, 3650)
    between = _make("Test Authority", days=between_days, is_authority=True, issuer=root)
    span = {
        Certificate.EXPIRED: (-20, -2),
        Certificate.NOT_YET_VALID: (2, 20),
        Certificate.EXPIRES_SOON: (-20, SOON),
    }.get(fault, (-20, days))
    names = ["other.example.com"] if fault is Certificate.WRONG_HOST else [host]
    issuer = None if fault is Certificate.SELF_SIGNED else between
    own = _make("Test Proxy", days=span, issuer=issuer, names=names)
    chain = [own] if fault in (Certificate.INCOMPLETE_CHAIN, Certificate.SELF_SIGNED) else [own, between]
    if fault is Certificate.UNKNOWN_AUTHORITY:
        chain.append(root)  # as OpenSSL then knows that nothing is missing but trust
    key = own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ca_file, chain_file = folder / "ca.pem", folder / "proxy.pem"
    ca_file.write_bytes(trusted.pem())
    chain_file.write_bytes(key + b"".join(each.pem() for each in chain))
    return ca_file, chain_file


def _make(
    name: str,
    *,
    days: tuple[int, int],
    is_authority: bool = False,
    issuer: Optional[_Made] = None,
    names: Optional[list[str]] = None,
) -> _Made:
    """Make a certificate; without an issuer, it is its own. It has what a strict verification wants, as in Python 3.13."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
    now = datetime.now(timezone.utc)
    # An hour more, so that it is still so many whole days while a test runs.
    begin, end = now + timedelta(days=days[0]), now + timedelta(days=days[1], hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(is_authority), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False
        )
    return _Made(builder.sign(signer, SHA256()), key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
