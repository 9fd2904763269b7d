"""Checks of certificates, keys and CAs in PEM. Pure.

OpenSSL and BoringSSL would accept an expired certificate, and their messages for other problems do
not say which file is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

_FOR_SERVERS = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


class CertificateError(ValueError):
    """A file can't be used; the message says why, and the caller adds the file's name."""


def server_certificate(pem: bytes, key: bytes, now: datetime) -> x509.Certificate:
    """The first certificate, which is the server's own; the others are its chain.

    Raises CertificateError.
    """
    certificate = certificates(pem)[0]
    if not _is_key_of(certificate, key):
        raise CertificateError("the key is not that of the first certificate")
    if certificate.not_valid_before_utc > now:
        raise CertificateError(f"not valid before {_shown(certificate.not_valid_before_utc)}")
    if certificate.not_valid_after_utc <= now:
        raise CertificateError(f"expired at {_shown(certificate.not_valid_after_utc)}")
    if not _is_for_servers(certificate):
        raise CertificateError("its extended key usage does not include serverAuth")
    return certificate


def authorities(pem: bytes, now: datetime) -> Sequence[x509.Certificate]:
    """The CAs of a file that have not expired; raises CertificateError if there is none."""
    found = certificates(pem)
    valid = [one for one in found if one.not_valid_after_utc > now]
    if not valid:
        last = max(one.not_valid_after_utc for one in found)
        raise CertificateError(f"expired at {_shown(last)}")
    return valid


def certificates(pem: bytes) -> Sequence[x509.Certificate]:
    """The certificates in the PEM, at least one; raises CertificateError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(f"expected certificates in PEM; {_first_line(error)}") from error


def _is_key_of(certificate: x509.Certificate, key: bytes) -> bool:
    public = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        loaded = load_pem_private_key(key, password=None)
    except TypeError as error:
        raise CertificateError("the key is encrypted; expected one without passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"expected a key in PEM; {_first_line(error)}") from error
    of_certificate = certificate.public_key().public_bytes(*public)
    return loaded.public_key().public_bytes(*public) == of_certificate


def _is_for_servers(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return True
    except ValueError as error:
        raise CertificateError(f"its extensions can't be read; {_first_line(error)}") from error
    return not _FOR_SERVERS.isdisjoint(usage.value)


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". ")[0]
