"""The options of `forebay keys new`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from forebay_gateway.cli.keys import keys
from forebay_gateway.identity.keys.api_key import ApiKey
from forebay_gateway.identity.keys.editing import stored_keys


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def new(file: Path, *options: str) -> Result:
    return CliRunner().invoke(keys, ["new", *options, "--file", str(file)])


def made(file: Path, *options: str) -> ApiKey:
    done = new(file, "--tenant", "acme", *options)
    assert done.exit_code == 0, done.output
    [key] = stored_keys(file).values()
    return key


def test_by_default_a_key_is_its_own_subject_and_does_not_expire(file: Path) -> None:
    key = made(file, "--role", "caller")
    assert (key.subject, key.expires) == (key.key_id, None)
    assert key.created is not None
    assert abs(datetime.now(UTC) - key.created) < timedelta(minutes=5)


def test_a_role_that_is_given_twice_counts_once(file: Path) -> None:
    assert made(file, "--role", "b", "--role", "a", "--role", "b").roles == ("b", "a")


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [
        ("1m", timedelta(minutes=1)),
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(weeks=2)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_key_expires_after_a_time(file: Path, text: str, lifetime: timedelta) -> None:
    key = made(file, "--role", "caller", "--expires", text)
    assert key.expires is not None
    assert key.created is not None
    assert abs(key.expires - key.created - lifetime) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "text",
    ["", "d", "90", "0d", "-1d", "1y", "1.5d", "1d\n", "36501d", "999999w", "999999999w", "٣d"],
)
def test_what_is_no_time_is_refused(file: Path, text: str) -> None:
    done = new(file, "--tenant", "acme", "--role", "caller", "--expires", text)
    assert done.exit_code == 2
    assert f"{text!r}: expected up to 100 years, such as 12h or 90d" in done.output
    assert not file.exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--tenant", "a b", "expected a tenant's name"),
        ("--tenant", "", "expected a tenant's name"),
        ("--tenant", "a" * 65, "expected a tenant's name"),
        ("--role", "", "printable"),
        ("--role", "a\nb", "printable"),
        ("--subject", "", "printable"),
        ("--subject", "a" * 257, "printable"),
        ("--subject", "\x1b[31m", "printable"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(
    file: Path, option: str, value: str, said: str
) -> None:
    done = new(file, "--tenant", "acme", "--role", "caller", option, value)
    assert done.exit_code == 2
    assert said in done.output
    assert not file.exists()


@pytest.mark.parametrize("options", [["--tenant", "acme"], ["--role", "caller"]])
def test_tenant_and_role_are_required(file: Path, options: list[str]) -> None:
    done = new(file, *options)
    assert done.exit_code == 2
    assert "Missing option" in done.output
