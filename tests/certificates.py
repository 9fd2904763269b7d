"""A certificate authority for tests."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
BOTH = (SERVER, CLIENT)
VALID = (datetime.timedelta(hours=-1), datetime.timedelta(days=1))
EXPIRED = (datetime.timedelta(hours=-2), datetime.timedelta(seconds=-1))
NOT_YET_VALID = (datetime.timedelta(hours=1), datetime.timedelta(days=1))
"""From and until when, seen from now."""


@dataclass(frozen=True)
class Issued:
    """Files of a certificate and its key, in PEM."""

    certificate: Path
    key: Path


class TlsFiles:
    """The files of `[tls]` in a folder, which a test replaces as an operator would."""

    def __init__(self, folder: Path, issued: Issued, client_ca: Path | None = None) -> None:
        self.folder = folder
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.client_ca = None if client_ca is None else folder / "clients.pem"
        self.show(issued)
        if client_ca is not None:
            self.trust(client_ca)

    def show(self, issued: Issued) -> None:
        """Gives the server this certificate."""
        shutil.copy(issued.certificate, self.certificate)
        shutil.copy(issued.key, self.key)

    def trust(self, *cas: Path) -> None:
        """Gives the server these CAs of callers."""
        assert self.client_ca is not None
        self.client_ca.write_bytes(b"".join(ca.read_bytes() for ca in cas))

    def settings(self) -> dict[str, str]:
        """The values of `[tls]`."""
        files = {"certificate": str(self.certificate), "key": str(self.key)}
        if self.client_ca is None:
            return files
        return {**files, "client_ca": str(self.client_ca), "client_auth": "require"}

    def variables(self) -> dict[str, str]:
        """The variables of `[tls]`."""
        return {f"FOREBAY_TLS__{name.upper()}": value for name, value in self.settings().items()}


class Authority:
    """A CA; `ca` is the file of its certificate."""

    def __init__(
        self,
        folder: Path,
        name: str = "ca",
        valid: tuple[datetime.timedelta, datetime.timedelta] = VALID,
    ) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key, valid)
        for extension, critical in (
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        name: str,
        *hosts: str | x509.GeneralName,
        common_name: str | None = None,
        raw_names: bytes | None = None,
        usage: Sequence[x509.ObjectIdentifier] = BOTH,
        valid: tuple[datetime.timedelta, datetime.timedelta] = VALID,
    ) -> Issued:
        """A certificate, good for these host names, addresses and URIs, and as a client's."""
        key = ec.generate_private_key(ec.SECP256R1())
        common_name = name if common_name is None else common_name
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = self._builder(subject, key, valid).add_extension(
            x509.ExtendedKeyUsage(usage), critical=False
        )
        # Tells CAs of one name apart.
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        if raw_names is not None:
            raw = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, raw_names)
            builder = builder.add_extension(raw, critical=False)
        issued = Issued(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        certificate = builder.sign(self._key, hashes.SHA256())
        issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return issued

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        valid: tuple[datetime.timedelta, datetime.timedelta],
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + valid[0])
            .not_valid_after(now + valid[1])
        )


def _general_name(host: str | x509.GeneralName) -> x509.GeneralName:
    if isinstance(host, x509.GeneralName):
        return host
    if "://" in host:
        return x509.UniformResourceIdentifier(host)
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
