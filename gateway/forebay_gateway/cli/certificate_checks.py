"""Checks of certificates, for `forebay doctor`: those of the settings, and those of gateways."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from forebay.cli.target import Target
from forebay.cli.targets import reachable
from forebay.cli.tls_problems import shown_certificate
from forebay.resume.targets import read_targets
from forebay_backends.settings import Settings
from forebay_gateway.cli.finding import Finding

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def certificate_findings(
    settings: Settings, target: Target, silent: Collection[str] = ()
) -> Sequence[Finding]:
    """The files of `[tls]`, and the certificates that the gateways show; none in plain text.

    Gateways at the addresses `silent` are not asked.
    """
    addresses = read_targets(target.addresses) if target.is_secure else ()
    asked = [address for address in addresses if address not in silent]
    return [*_of_files(settings), *_of_gateways(settings, asked)]


def _of_files(settings: Settings) -> Iterator[Finding]:
    if settings.tls is None:
        return
    from forebay_gateway.tls.server_tls import read_credentials

    subject = "tls"
    try:
        read = read_credentials(settings.tls)
    except ValueError as error:
        if isinstance(error.__cause__, PermissionError):
            yield Finding(subject, True, f"unknown: this user may not read {error}")
            return
        fix = "replace the files; a running gateway still uses the last good ones"
        yield Finding(subject, False, str(error), fix)
        return
    shown, cas = read.parsed
    yield _finding(subject, str(settings.tls.certificate), shown)
    for ca in cas:
        yield _finding(subject, f"{settings.tls.client_ca}, {ca.subject.rfc4514_string()}", ca)


def _of_gateways(settings: Settings, addresses: Sequence[str]) -> Iterator[Finding]:
    if not addresses:
        return
    from cryptography.x509 import load_der_x509_certificate

    with ThreadPoolExecutor() as threads:
        found = list(threads.map(shown_certificate, addresses))
    for address, shown in zip(addresses, found, strict=True):
        if shown is None:
            continue
        finding = _finding("certificate", f"{address} shows it", load_der_x509_certificate(shown))
        if finding.good and address == reachable(settings.listen):
            finding = _as_in_file(finding, shown, settings)
        yield finding


def _as_in_file(finding: Finding, shown: bytes, settings: Settings) -> Finding:
    """Finds a gateway that still shows another certificate, because it could not use the files."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from forebay_gateway.tls.certificates import CertificateError, certificates

    if settings.tls is None:
        return finding
    try:
        in_file = certificates(settings.tls.certificate.read_bytes())[0]
    except (OSError, CertificateError):
        return finding
    if in_file.public_bytes(Encoding.DER) == shown:
        return finding
    return Finding(
        finding.subject,
        False,
        f"{finding.description}; it is not the one in {settings.tls.certificate}",
        f"look for the reason in its log; new files take up to {settings.tls.refresh_s:g} s",
    )


def _finding(subject: str, what: str, certificate: Certificate) -> Finding:
    from forebay_gateway.tls.expiry import RENEW, expiry

    found = expiry(certificate, datetime.now(UTC))
    fix = RENEW if found.is_near else ""
    return Finding(subject, not found.is_near, f"{what}, {found.description}", fix)
