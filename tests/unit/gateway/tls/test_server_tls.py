"""The files of `[tls]`: how they are checked, and read again."""

from __future__ import annotations

import logging
import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from forebay_backends.settings.identity_settings import TlsSettings
from forebay_gateway.tls.server_tls import ServerTls
from tests.certificates import CLIENT, EXPIRED, NOT_YET_VALID, Authority, TlsFiles


class Site(TlsFiles):
    """The files, and who issues them."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        super().__init__(folder, self.authority.issue("server", "127.0.0.1"), self.authority.ca)

    def repair(self) -> None:
        self.show(self.authority.issue("server", "127.0.0.1"))
        self.trust(self.authority.ca)

    def tls(self) -> ServerTls:
        return ServerTls(TlsSettings.model_validate(self.settings()))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_callers_must_show_a_certificate_of_the_ca(site: Site) -> None:
    current = site.tls().current
    assert current.client_ca == site.authority.ca.read_bytes()
    assert current.context.verify_mode is ssl.CERT_REQUIRED
    assert current.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert current.context.num_tickets == 0


def test_callers_need_no_certificate_without_client_auth(site: Site) -> None:
    settings = TlsSettings(certificate=site.certificate, key=site.key)
    tls = ServerTls(settings)
    assert tls.current.client_ca is None
    assert tls.current.context.verify_mode is ssl.CERT_NONE
    assert list(tls.figures()["forebay_certificate_expiry_seconds"]) == [("server",)]


def test_no_cipher_lacks_forward_secrecy_or_is_forbidden_by_http2(site: Site) -> None:
    names = [one["name"] for one in site.tls().current.context.get_ciphers()]
    assert names
    assert [name for name in names if not name.startswith(("TLS_", "ECDHE-"))] == []
    assert [name for name in names if "GCM" not in name and "CHACHA20" not in name] == []


def broken(site: Site, name: str) -> None:
    """Breaks the files in the way of that name."""
    assert site.client_ca is not None
    issue = site.authority.issue
    ways: dict[str, Callable[[], object]] = {
        "expired": lambda: site.show(issue("old", valid=EXPIRED)),
        "not yet valid": lambda: site.show(issue("young", valid=NOT_YET_VALID)),
        "for clients": lambda: site.show(issue("client", usage=[CLIENT])),
        "another key": lambda: shutil.copy(issue("other").key, site.key),
        "half a certificate": lambda: halve(site.certificate),
        "half a key": lambda: halve(site.key),
        "an empty certificate": lambda: site.certificate.write_text(""),
        "no key": site.key.unlink,
        "an encrypted key": lambda: encrypt(site.key),
        "key for certificate": lambda: shutil.copy(site.key, site.certificate),
        "half a CA": lambda: halve(site.client_ca),
        "an empty CA": lambda: site.client_ca.write_text(""),
        "no CA": site.client_ca.unlink,
        "an expired CA": lambda: site.trust(Authority(site.folder, "old", EXPIRED).ca),
    }
    ways[name]()


def halve(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[: len(text) // 2])


def encrypt(path: Path) -> None:
    key = load_pem_private_key(path.read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))


BROKEN = {
    "expired": ("tls.crt", "expired at 20"),
    "not yet valid": ("tls.crt", "not valid before 20"),
    "for clients": ("tls.crt", "does not include serverAuth"),
    "another key": ("tls.key", "the key is not that of the first certificate"),
    "half a certificate": ("tls.crt", "expected certificates in PEM"),
    "half a key": ("tls.key", "expected a key in PEM"),
    "an empty certificate": ("tls.crt", "expected certificates in PEM"),
    "no key": ("tls.key", "No such file"),
    "an encrypted key": ("tls.key", "without passphrase"),
    "key for certificate": ("tls.crt", "expected certificates in PEM"),
    "half a CA": ("clients.pem", "expected certificates in PEM"),
    "an empty CA": ("clients.pem", "expected certificates in PEM"),
    "no CA": ("clients.pem", "No such file"),
    "an expired CA": ("clients.pem", "expired at 20"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_cannot_be_used_are_refused_at_start(site: Site, name: str) -> None:
    broken(site, name)
    with pytest.raises(ValueError, match=BROKEN[name][1]) as refused:
        site.tls()
    assert str(site.folder / BROKEN[name][0]) in str(refused.value)


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_cannot_be_used_leave_the_last_good_ones_in_force(
    site: Site, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    tls = site.tls()
    good, before = tls.current, site.certificate.read_bytes()
    broken(site, name)
    tls.files.refresh()
    tls.files.refresh()
    assert tls.current is good
    assert tls.figures()["forebay_identity_problems"] == {("tls",): 1}
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert BROKEN[name][1] in record.message
    site.repair()
    tls.files.refresh()
    assert tls.current.certificate == site.certificate.read_bytes() != before
    assert tls.figures()["forebay_identity_problems"] == {("tls",): 0}


def test_a_ca_that_was_removed_from_the_file_is_no_longer_in_force(site: Site) -> None:
    other = Authority(site.folder, "other")
    site.trust(other.ca, site.authority.ca)
    tls = site.tls()
    assert len(tls.current.context.get_ca_certs()) == 2
    site.trust(other.ca)
    tls.files.refresh()
    (left,) = tls.current.context.get_ca_certs()
    assert left["subject"] == ((("commonName", "other"),),)


def test_the_seconds_until_the_certificates_expire_are_a_metric(site: Site) -> None:
    expiry = site.tls().figures()["forebay_certificate_expiry_seconds"]
    assert expiry.keys() == {("server",), ("client_ca",)}
    assert list(expiry.values()) == pytest.approx([24 * 3600] * 2, abs=60)


def test_an_expired_ca_beside_a_valid_one_does_no_harm(site: Site) -> None:
    old = Authority(site.folder, "old", EXPIRED)
    site.trust(old.ca, site.authority.ca)
    current = site.tls().current
    assert current.ca_expires_at is not None
    assert current.ca_expires_at > time.time()
