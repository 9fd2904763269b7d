"""No part of a password is shown, however its URL is written.

No `PIECE` characters of the password in a row may be shown. Each example puts a random password,
percent-encoded or not, into a place where users might write it.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_backends.settings import (
    PREFIX,
    Settings,
    SettingsError,
    given_settings,
    load_settings,
)
from forebay_backends.urls import (
    AmqpServer,
    BackendUrlError,
    RedisServer,
    broker_server,
    redacted,
    scheme_only,
)

PIECE = 4
_SCHEMES = (
    *("redis", "rediss", "valkey", "unix", "redis+socket", "sentinel", "redis-cluster"),
    *("amqp", "amqps", "pyamqp", "http", "mongodb"),
)
_FORMS = (
    "{scheme}://user:{password}@host:6379/0",
    "{scheme}://:{password}@host",
    "{scheme}://{password}@host/0",
    "{scheme}://user:{password}",
    "{scheme}://:{password}",
    "{scheme}://user:{password}@host:{password}/0",
    "{scheme}://user:{password}@host/main/0?sentinel_password={password}",
    "{scheme}://host?password={password}",
    "{scheme}://host/{password}",
    "{scheme}://host/0#{password}",
    "{scheme}:user:{password}@host",
    "user:{password}@host",
    "{scheme}://user:{password}@host;{scheme}://user:{password}@host",
    "{scheme}://user:{password}@a,user:{password}@b/main",
    "{scheme}:///{password}",
)
# Letters that none of our texts has: so a match can only be the password.
_LETTERS = "ÄÖÜßæøåñçþðЖЩЯΩΨΔ"
_passwords = st.builds(
    "".join,
    st.lists(
        st.one_of(
            st.text(alphabet=_LETTERS, min_size=PIECE, max_size=8),
            st.sampled_from([*"@:/#?[]%;,&= '\"\\<>{}|^`~!$*()+", "://", "%zz", "@host/0", "\n"]),
        ),
        min_size=1,
        max_size=5,
    ),
).filter(lambda password: any(letter in password for letter in _LETTERS))


def shows(text: str, password: str) -> bool:
    """Whether the text has `PIECE` characters of the password in a row, in any encoding."""
    pieces = {password[i : i + PIECE] for i in range(len(password) - PIECE + 1)}
    secret = {piece for piece in pieces if set(piece) & set(_LETTERS)}
    forms = {form for piece in secret for form in (piece, quote(piece), repr(piece)[1:-1])}
    return any(form in text for form in forms)


@st.composite
def urls(draw: st.DrawFn) -> tuple[str, str]:
    """A URL and the password in it."""
    password = draw(_passwords)
    written = draw(st.sampled_from([password, quote(password, safe="")]))
    form = draw(st.sampled_from(_FORMS))
    return form.format(scheme=draw(st.sampled_from(_SCHEMES)), password=written), password


def seen_of(make: Callable[[], object], refusal: type[Exception]) -> str:
    """All texts of an object, or of the error that replaced it, with its causes."""
    try:
        made = make()
    except refusal as error:
        return f"{error!r} {error} {''.join(traceback.format_exception(error))}"
    if isinstance(made, RedisServer | AmqpServer) and not _is_elsewhere(made):
        return f"{made.shown} {made!r} {made}"
    return f"{made!r} {made}" if isinstance(made, Settings) else ""


def _is_elsewhere(server: RedisServer | AmqpServer) -> bool:
    """Whether the password is in place of a path or a virtual host, where it can't be detected."""
    places = server.path if isinstance(server, RedisServer) else server.nodes[0].virtual_host
    return any(letter in unquote(places) for letter in _LETTERS)


@given(urls())
def test_a_url_is_shown_without_its_password(case: tuple[str, str]) -> None:
    url, password = case
    assert not shows(scheme_only(url), password)
    assert not shows(redacted(f"see {url}"), password) or "://" not in url
    assert not shows(seen_of(lambda: broker_server(url), BackendUrlError), password)


@given(urls(), st.sampled_from(["ledger_url", "broker_url", "result_url"]))
def test_settings_show_no_password_of_their_urls(case: tuple[str, str], name: str) -> None:
    url, password = case
    assert not shows(seen_of(lambda: given_settings(**{name: url}), SettingsError), password)


@given(urls(), st.sampled_from(["LEDGER_URL", "BROKER_URL", "REDIS_URL", "SERVICES", "PASSWORD"]))
def test_variables_show_no_password(case: tuple[str, str], name: str) -> None:
    url, password = case
    if "\0" in url or "://" not in url:
        return
    with pytest.MonkeyPatch.context() as patch:
        for variable in [each for each in os.environ if each.startswith(PREFIX)]:
            patch.delenv(variable)
        patch.setenv(PREFIX + name, url)
        assert not shows(seen_of(load_settings, SettingsError), password)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("can't reach redis://user:s3cret@host", "can't reach redis://…"),
        ("'amqp://user:s3cret@host' is refused", "'amqp://…"),
        ("redis:user:s3cret://@host", "…"),
        ("see redis:user:s3 cret://@host", "…"),
        ("see s3cret://@host", "…"),
        ("no URL at all", "no URL at all"),
    ],
)
def test_a_text_is_shown_up_to_a_known_scheme(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_refused_url_is_shown_by_its_scheme_alone() -> None:
    with pytest.raises(BackendUrlError) as caught:
        broker_server("redis://user:s3cret/word@host")
    assert str(caught.value).startswith("'redis://…': expected redis://USER:PASSWORD@HOST:PORT/DB")
    assert "/ as %2F" in str(caught.value)


def test_a_valid_url_is_shown_with_its_host() -> None:
    assert broker_server("redis://user:s3cret@h:7/1").shown == "redis://***@h:7/1"
    assert broker_server("amqps://me:s3cret@h//").shown == "amqps://***@h:5671//"
    sentinel = broker_server("sentinel://a,b/main?sentinel_password=s3cret")
    assert sentinel.shown == "sentinel://a:26379,b:26379/main/0"
    assert broker_server("unix:///run/r.sock?db=2").shown == "unix:///run/r.sock?db=2"
