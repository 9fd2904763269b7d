"""How a command reaches gateways, by its options, variables and `[client]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from forebay.cli.options import target_option
from forebay.cli.target import Target
from forebay_backends.settings import load_settings
from forebay_backends.settings.identity_settings import ClientSettings

FAR, NEAR = "gateway.example:50051", "localhost:50051"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "ADDRESS", "LISTEN"):
        monkeypatch.delenv(f"FOREBAY_{name}", raising=False)
    return tmp_path


def parsed(*arguments: str) -> Target:
    """The target that a command gets."""
    found: list[Target] = []

    @click.command()
    @target_option()
    def command(target: Target) -> None:
        found.append(target)

    ran = CliRunner().invoke(command, arguments, catch_exceptions=False)
    if ran.exit_code:
        raise click.ClickException(ran.output)
    return found[0]


def refused(*arguments: str) -> str:
    with pytest.raises(click.ClickException) as problem:
        parsed(*arguments)
    return str(problem.value)


@pytest.mark.parametrize(
    ("arguments", "is_secure"),
    [
        ((NEAR,), False),
        (("unix:/run/forebay.sock",), False),
        ((FAR,), True),
        ((f"{NEAR},{FAR}",), True),
        ((FAR, "--insecure"), False),
        ((NEAR, "--ca", "ca.pem"), True),
        ((NEAR, "--cert", "a.crt", "--key", "a.key"), True),
        ((NEAR, "--ca", "ca.pem", "--insecure"), False),
    ],
)
def test_tls_is_for_other_hosts_and_where_files_are_given(
    arguments: tuple[str, ...], is_secure: bool
) -> None:
    assert parsed("-t", *arguments).is_secure is is_secure


def test_options_win_over_variables_and_these_over_the_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "forebay.toml").write_text(
        '[client]\ntarget = "a.example:1"\nca = "file.pem"\ncert = "c"\nkey = "k"\n'
        'token_file = "t"\ninsecure = false\n'
    )
    target = parsed()
    assert (str(target), target.ca, target.token_file) == (
        "a.example:1",
        Path("file.pem"),
        Path("t"),
    )
    assert (target.certificate, target.key, target.insecure) == (Path("c"), Path("k"), False)
    monkeypatch.setenv("FOREBAY_CLIENT__CA", "variable.pem")
    monkeypatch.setenv("FOREBAY_CLIENT__TARGET", "b.example:1")
    assert (parsed().ca, str(parsed())) == (Path("variable.pem"), "b.example:1")
    monkeypatch.setenv("FOREBAY_ADDRESS", "c.example:1")
    assert str(parsed()) == "c.example:1"
    assert parsed("--ca", "option.pem").ca == Path("option.pem")


def test_plain_text_may_be_a_setting(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "forebay.toml").write_text("[client]\ninsecure = true\n")
    assert not parsed("-t", FAR).is_secure
    monkeypatch.setenv("FOREBAY_CLIENT__INSECURE", "0")
    assert parsed("-t", FAR).is_secure


def test_the_gateway_accepts_the_settings_of_callers_in_its_file(here: Path) -> None:
    values = {"target": '"a:1"', "insecure": "true"} | dict.fromkeys(
        ("ca", "cert", "key", "token_file"), '"file"'
    )
    assert values.keys() == ClientSettings.model_fields.keys()
    lines = [f"{name} = {value}" for name, value in values.items()]
    (here / "forebay.toml").write_text("\n".join(["[client]", *lines]))
    assert load_settings().client is not None
    assert parsed("-t", NEAR).insecure


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("client = 5", "client = 5: expected a table"),
        ("[client]\nca = 5", "client.ca = 5: expected the name of a file"),
        ('[client]\ninsecure = "yes"', "client.insecure = 'yes': expected true or false"),
        ('[client]\ncacert = "a"', "client.cacert: no such setting; expected one of target, ca"),
        ('[client]\ntarget = ["a:1"]', "client.target = ['a:1']: expected HOST:PORT"),
    ],
)
def test_settings_of_another_form_are_refused(here: Path, text: str, expected: str) -> None:
    (here / "forebay.toml").write_text(text)
    assert expected in refused()


@pytest.mark.parametrize("given", [("--cert", "a"), ("--key", "a")])
def test_certificate_and_key_need_each_other(given: tuple[str, str]) -> None:
    assert "--cert and --key need each other" in refused(*given)


def test_a_token_is_not_sent_in_plain_text_to_another_host() -> None:
    assert "leave out --insecure" in refused("-t", FAR, "--insecure", "--token-file", "t")
    assert parsed("-t", NEAR, "--token-file", "t").token_file == Path("t")
    assert parsed("-t", FAR, "--token-file", "t").is_secure


def test_the_token_is_read_again_for_each_call(here: Path) -> None:
    file = here / "token"
    file.write_text("one\n")
    token = Target(NEAR, token_file=file).token()
    assert token is not None
    assert token() == "one"
    file.write_text("two")
    assert token() == "two"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Target(FAR, token_file=Path("none")).token(), "--token-file none: No such file"),
        (lambda: Target(FAR, ca=Path("none")).credentials(), "--ca none: No such file"),
        (
            lambda: Target(FAR, certificate=Path("."), key=Path("k")).credentials(),
            "--key k: No such file",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(make: Any, expected: str) -> None:
    with pytest.raises(click.ClickException) as problem:
        make()
    assert expected in problem.value.message


def test_an_empty_token_file_is_refused(here: Path) -> None:
    (here / "token").write_text(" \n")
    with pytest.raises(click.ClickException, match="it is empty"):
        Target(NEAR, token_file=here / "token").token()


@pytest.mark.parametrize(
    ("option", "content"),
    [
        ("--token-file", "fbk_0f3a_c2VjcmV0"),
        ("--token-file", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"),
        ("--ca", "-----BEGIN CERTIFICATE-----\nMIIB"),
    ],
)
def test_the_content_of_a_file_in_place_of_its_name_is_not_shown(option: str, content: str) -> None:
    problem = refused("-t", NEAR, option, content)
    assert f"{option}: expected the name of a file, not its content" in problem
    assert content.split()[-1] not in problem
