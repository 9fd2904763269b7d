"""The settings of TLS and of callers' identities."""

from __future__ import annotations

from typing import Any

import pytest

from forebay_backends.settings import SettingsError
from forebay_backends.settings.load import given_settings

TLS = {"certificate": "tls.crt", "key": "tls.key"}
MUTUAL_TLS = {**TLS, "client_ca": "clients.pem", "client_auth": "require"}
SPIFFE = {"spiffe": [{"pattern": "spiffe://d.example/{tenant}/{subject}", "roles": ["caller"]}]}


def refusal(**given: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        given_settings(**given)
    return str(refused.value)


def test_the_files_of_tls_are_not_read_with_the_settings() -> None:
    """Workers have the same settings, and may not read the key."""
    settings = given_settings(tls=MUTUAL_TLS, auth=SPIFFE)
    assert settings.tls is not None
    assert settings.tls.certificate.is_absolute()


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ({"certificate": "tls.crt"}, "tls.key: it is required"),
        ({**TLS, "client_auth": "require"}, 'client_ca with client_auth = "require"'),
        ({**TLS, "client_ca": "ca.pem"}, 'client_ca with client_auth = "require"'),
        ({**TLS, "client_auth": "optional"}, "tls.client_auth = 'optional'"),
        ({**TLS, "refresh_s": 0}, "tls.refresh_s = 0"),
    ],
)
def test_tls_that_protects_less_than_it_says_is_refused(tls: Any, expected: str) -> None:
    assert expected in refusal(tls=tls)


@pytest.mark.parametrize("tls", [None, TLS])
def test_spiffe_ids_need_client_certificates(tls: Any) -> None:
    assert "spiffe needs callers' certificates" in refusal(tls=tls, auth=SPIFFE)


def test_a_pattern_is_checked_with_the_settings() -> None:
    spiffe = {"spiffe": [{"pattern": "spiffe://d.example/{tenant}", "roles": []}]}
    assert "{subject} once" in refusal(tls=MUTUAL_TLS, auth=spiffe)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"signing_keys": f"{'A' * 43}="}, "signing_keys"),
        ({"tls": {**TLS, "key": "-----BEGIN PRIVATE KEY-----\nMIIB"}}, "tls.key"),
        ({"auth": {"keys": [{"file": "fbk_1_c2VjcmV0"}]}}, "auth.keys.0.file"),
        ({"tls_key": "-----BEGIN PRIVATE KEY-----\nMIIB"}, "tls_key"),
    ],
)
def test_the_content_of_a_file_in_place_of_its_name_is_not_shown(settings: Any, place: str) -> None:
    assert refusal(**settings) == f"{place}: expected the name of a file, not its content"
