"""The settings of identity at a gateway's start: all problems at once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from forebay_backends.settings import SettingsError
from forebay_backends.settings.load import given_settings
from forebay_gateway.server.identity import make_identity, warn_if_insecure
from tests.unit.samples import METHODS

SERVED = tuple(METHODS.values())
ANYWHERE = "0.0.0.0:50051"
TLS = {"certificate": "/none/tls.crt", "key": "/none/tls.key"}
KEY = """
[keys.k1]
sha256 = "{}"
tenant = "acme"
roles = ["{}"]
"""


def keys_file(tmp_path: Path, role: str = "caller") -> dict[str, Any]:
    path = tmp_path / "keys.toml"
    path.write_text(KEY.format("0" * 64, role))
    return {"keys": [{"file": str(path)}]}


def test_nothing_is_asked_of_a_gateway_on_loopback() -> None:
    assert make_identity(given_settings(), SERVED) is None


@pytest.mark.parametrize("listen", [ANYWHERE, "[::]:50051", "10.0.0.7:1", "gateway.example:1"])
def test_an_open_port_needs_tls_and_authentication(listen: str) -> None:
    with pytest.raises(SettingsError) as refused:
        make_identity(given_settings(listen=listen), SERVED)
    for word in (listen, "[tls]", "[auth]", "insecure = true"):
        assert word in str(refused.value)


def test_an_open_port_with_half_of_it_is_refused_for_the_other_half(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"needs \[tls\];"):
        make_identity(
            given_settings(listen=ANYWHERE, auth=keys_file(tmp_path), roles={"caller": ["*"]}),
            SERVED,
        )
    with pytest.raises(SettingsError, match=r"needs \[auth\];"):
        make_identity(given_settings(listen=ANYWHERE, tls=TLS), SERVED)


def test_an_open_port_with_both_or_insecure_is_fine(tmp_path: Path) -> None:
    auth, roles = keys_file(tmp_path), {"caller": ["*"]}
    secure = given_settings(listen=ANYWHERE, tls=TLS, auth=auth, roles=roles)
    assert make_identity(secure, SERVED) is not None
    assert make_identity(given_settings(listen=ANYWHERE, insecure=True), SERVED) is None


def test_an_insecure_gateway_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_if_insecure(given_settings(listen="127.0.0.1:1", insecure=True), "127.0.0.1:1")
        assert not caplog.messages
        warn_if_insecure(given_settings(listen=ANYWHERE, insecure=True), ANYWHERE)
        warn_if_insecure(given_settings(listen=ANYWHERE, insecure=True, tls=TLS), ANYWHERE)
    assert "without [tls] and [auth]" in caplog.messages[0]
    assert "without [auth]" in caplog.messages[1]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    auth = keys_file(tmp_path, "boss")
    auth["spiffe"] = [{"pattern": "spiffe://x/ns/{tenant}/sa/{subject}", "roles": ["chief"]}]
    auth["keys"].append({"file": str(tmp_path / "missing.toml")})
    settings = given_settings(
        listen=ANYWHERE,
        tls={**TLS, "client_ca": "/none/ca.pem", "client_auth": "require"},
        auth={**auth, "keys": auth["keys"][:1]},
        roles={"caller": ["nothing.here"]},
    )
    with pytest.raises(SettingsError) as refused:
        make_identity(settings, SERVED)
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    for line, word in zip(lines, ("nothing.here", "chief", "boss"), strict=True):
        assert word in line
    with pytest.raises(SettingsError) as refused:
        make_identity(given_settings(listen=ANYWHERE, auth={"keys": auth["keys"]}), SERVED)
    assert "needs [tls]" in str(refused.value)
    assert "missing.toml" in str(refused.value)
