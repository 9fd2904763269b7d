"""URLs of a RabbitMQ."""

from __future__ import annotations

import ssl

import pytest

from forebay_backends.urls import BackendUrlError, Tls, amqp_server


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("amqp://h", "amqp://h:5672"),
        ("amqp://h//", "amqp://h:5672//"),
        ("pyamqp://h/v", "pyamqp://h:5672/v"),
        ("amqps://u:p@h/v", "amqps://u:p@h:5671/v"),
        ("amqp://u:p%40@h/%2F", "amqp://u:p%40@h:5672/%2F"),
        ("amqp://a/v;amqp://b:1/v", "amqp://a:5672/v;amqp://b:1/v"),
    ],
)
def test_a_url_has_one_canonical_form(given: str, canonical: str) -> None:
    server = amqp_server(given)
    assert server.url == server.kombu_url == canonical
    assert amqp_server(canonical) == server


def test_options_of_tls_are_not_in_the_url_for_kombu() -> None:
    server = amqp_server("amqps://h/v?ssl_ca_certs=/ca.pem", Tls(certificate="/c", key="/k"))
    assert server.kombu_url == "amqps://h:5671/v"
    assert server.ssl == {
        "ca_certs": "/ca.pem",
        "certfile": "/c",
        "keyfile": "/k",
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": "h",
    }
    assert amqp_server(server.url) == server


def test_verification_is_turned_off_by_the_url_alone() -> None:
    assert amqp_server("amqps://h?ssl_cert_reqs=none").ssl == {
        "ca_certs": None,
        "certfile": None,
        "keyfile": None,
        "cert_reqs": ssl.CERT_NONE,
    }
    assert amqp_server("amqp://h", Tls("/ca.pem")).ssl is False


@pytest.mark.parametrize(
    "url",
    [
        "amqp://h:port",
        "amqp://u:a/b@h",
        "amqp://u:a;b/c@h",
        "amqp://h?heartbeat=soon",
        "amqp://h?ssl_ca_certs=/ca.pem",
        "amqps://h?ssl_cert_reqs=maybe",
        "amqp://a,b",
    ],
)
def test_a_url_that_kombu_would_misread_is_refused(url: str) -> None:
    with pytest.raises(BackendUrlError) as caught:
        amqp_server(url)
    assert caught.value.__cause__ is None
