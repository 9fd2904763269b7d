"""The settings of JWTs and API keys, and those of all tables: bad ones are refused, all at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from forebay_backends.settings import SettingsError, given_settings, load_settings
from tests.pages import DOCS, blocks

ISSUER = "https://login.example"
ENTRY = {
    "issuer": ISSUER,
    "audiences": ["forebay"],
    "algorithms": ["RS256"],
    "jwks_url": "https://login.example/jwks.json",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("FOREBAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _refusal(**auth: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        given_settings(auth=auth)
    return str(caught.value).splitlines()


def _entry(**changed: object) -> dict[str, Any]:
    entry = {**ENTRY, **changed}
    return {name: value for name, value in entry.items() if value is not None}


def test_the_file_of_the_documentation_is_read() -> None:
    Path("forebay.toml").write_text(
        """
        [[auth.jwt]]
        issuer = "https://login.example"
        audiences = ["forebay"]
        algorithms = ["RS256", "ES256", "EdDSA"]
        jwks_url = "https://login.example/jwks.json"
        roles = "realm_access.roles"

        [[auth.keys]]
        file = "keys.toml"
        """
    )
    auth = load_settings().auth
    [jwt], [keys] = auth.jwt, auth.keys
    assert (jwt.issuer, jwt.algorithms) == (ISSUER, ("RS256", "ES256", "EdDSA"))
    assert (jwt.tenant, jwt.subject, jwt.roles) == ("tenant", "sub", "realm_access.roles")
    assert jwt.leeway_s == 30
    assert keys.file == Path("keys.toml").absolute()
    assert auth.is_on


def test_the_tables_of_the_page_on_tokens_are_settings() -> None:
    tables = [one.text for one in blocks(DOCS / "tokens.md") if one.language == "toml"]
    assert len(tables) == 2
    for text in tables:
        Path("forebay.toml").write_text(text)
        assert load_settings().auth.is_on


def test_a_variable_holds_the_entries_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "FOREBAY_AUTH__JWT",
        '[{"issuer": "i", "audiences": ["a"], "algorithms": ["RS256"], "jwks_file": "/jwks"}]',
    )
    monkeypatch.setenv("FOREBAY_AUTH__KEYS", '[{"file": "/keys.toml"}]')
    auth = load_settings().auth
    assert auth.jwt[0].jwks_file == Path("/jwks")
    assert auth.keys[0].file == Path("/keys.toml")


@pytest.mark.parametrize("name", ["AUTH", "ROLES", "TENANTS"])
def test_a_table_that_is_no_json_is_refused_with_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"FOREBAY_{name}", "{x")
    with pytest.raises(SettingsError, match=f"FOREBAY_{name} = '{{x': expected JSON, such as {{"):
        load_settings()


def test_a_table_is_expected_where_there_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_TLS", "{x")
    with pytest.raises(SettingsError, match=r"tls = '\{x': expected a table$"):
        load_settings()
    assert _refusal(jwt=["x"]) == ["auth.jwt.0 = 'x': expected a table"]


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "none", "None", "RS255", ""])
def test_an_algorithm_that_public_keys_do_not_have_is_refused(algorithm: str) -> None:
    [line] = _refusal(jwt=[_entry(algorithms=["RS256", algorithm])])
    assert line.startswith("auth.jwt.0.algorithms = ")
    assert f"{algorithm!r}: expected some of RS256" in line


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example/jwks.json",
        "http://10.0.0.7/jwks.json",
        "http://localhost.example/",
        "https://",
        "https://me:secret@login.example/jwks.json",
        "https://login.example:port/",
        "https://[::1/",
        "https://login.example/jw ks",
        "https://login.example/jwks\n",
        "ftp://login.example/jwks.json",
        "login.example/jwks.json",
        "file:///etc/passwd",
    ],
)
def test_a_url_whose_answer_can_be_forged_is_refused(url: str) -> None:
    [line] = _refusal(jwt=[_entry(jwks_url=url)])
    assert line.startswith("auth.jwt.0.jwks_url = ")
    assert "secret" not in line


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/jwks", "http://[::1]/jwks", "http://localhost:1/", "https://h"]
)
def test_https_is_accepted_and_http_on_loopback(url: str) -> None:
    assert given_settings(auth={"jwt": [_entry(jwks_url=url)]}).auth.jwt[0].jwks_url == url


@pytest.mark.parametrize("sources", [(None, None), ("https://login.example/jwks.json", "/jwks")])
def test_keys_come_from_one_place(sources: tuple[str | None, str | None]) -> None:
    url, file = sources
    [line] = _refusal(jwt=[_entry(jwks_url=url, jwks_file=file)])
    assert line.startswith("auth.jwt.0.jwks_file = ")
    assert line.endswith("expected either jwks_url or jwks_file")


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a\n"])
@pytest.mark.parametrize("name", ["tenant", "subject", "roles"])
def test_a_claim_without_a_name_is_refused(name: str, path: str) -> None:
    [line] = _refusal(jwt=[_entry(**{name: path})])
    assert line.startswith(f"auth.jwt.0.{name} = ")
    assert "expected the name of a claim" in line


def test_two_entries_for_one_issuer_are_refused() -> None:
    [line] = _refusal(jwt=[_entry(), _entry(issuer="other"), _entry()])
    assert line.endswith(f"expected one entry for each issuer; {ISSUER} has several")


def test_all_that_is_bad_is_refused_at_once_and_each_by_its_place() -> None:
    lines = _refusal(
        jwt=[_entry(algorithms=["HS256"], audiences=[]), {"issuer": "", "leeway": 3}],
        keys=[{}],
        oidc=[],
    )
    assert [line.split(" ")[0].rstrip(":") for line in lines] == [
        "auth.jwt.0.audiences",
        "auth.jwt.0.algorithms",
        "auth.jwt.1.issuer",
        "auth.jwt.1.audiences",
        "auth.jwt.1.algorithms",
        "auth.jwt.1.jwks_file",
        "auth.jwt.1.leeway",
        "auth.keys.0.file",
        "auth.oidc",
    ]
    assert lines[6].startswith("auth.jwt.1.leeway: no such setting; expected one of algorithms")
    assert lines[8] == "auth.oidc: no such setting; expected one of jwt, keys, spiffe"


def test_what_is_missing_is_named_without_its_neighbours() -> None:
    assert _refusal(keys=[{}]) == ["auth.keys.0.file: it is required"]
