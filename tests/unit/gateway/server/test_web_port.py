"""Where browsers are served: by `forebay up` unless it is turned off, by a gateway if it is set."""

from __future__ import annotations

import socket

import pytest

from forebay_backends.settings import given_settings
from forebay_gateway.server import web_port
from forebay_gateway.server.web_port import reserved_web_port
from tests.harness import free_port


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address in the place of the default one, which another process may have."""
    assert web_port.DEFAULT == "127.0.0.1:8080"
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setattr(web_port, "DEFAULT", address)
    return address


def test_up_serves_browsers_at_the_default_address(default: str) -> None:
    with reserved_web_port(given_settings(), by_default=True) as settings:
        assert settings.web_listen == default


def test_up_takes_another_port_of_loopback_where_that_one_is_in_use(default: str) -> None:
    host, _, port = default.rpartition(":")
    with (
        socket.create_server((host, int(port))),
        reserved_web_port(given_settings(), by_default=True) as settings,
    ):
        assert settings.web_listen is not None
        assert settings.web_listen.startswith("127.0.0.1:")
        assert settings.web_listen != default


def test_a_gateway_serves_no_browsers_unless_that_is_set(default: str) -> None:
    with reserved_web_port(given_settings()) as settings:
        assert settings.web_listen is None


def test_it_can_be_turned_off_under_up(default: str) -> None:
    with reserved_web_port(given_settings(web_listen=""), by_default=True) as settings:
        assert not settings.web_listen
