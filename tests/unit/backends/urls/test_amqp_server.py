"""URLs of a RabbitMQ."""

from __future__ import annotations

import ssl

import pytest

from forebay_backends.urls import (
    Backends,
    BackendUrlError,
    Tls,
    amqp_server,
    celery_settings,
    redis_server,
)


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


def test_options_of_the_connection_are_for_kombu_and_celery() -> None:
    server = amqp_server("amqp://h/v?heartbeat=30&connect_timeout=2.5&login_method=AMQPLAIN")
    assert server.kombu_url == "amqp://h:5672/v"
    assert amqp_server(server.url) == server
    given = {"connect_timeout": 2.5, "login_method": "AMQPLAIN"}
    assert server.for_kombu() == {"ssl": False, **given}
    settings = celery_settings(Backends(redis_server("redis://h"), server))
    assert settings["broker_heartbeat"] == 30
    assert settings["broker_connection_timeout"] == 2.5
    assert settings["broker_login_method"] == "AMQPLAIN"
    assert amqp_server("amqp://h?heartbeat=0").options.heartbeat_s == 0


def test_options_hold_for_all_nodes() -> None:
    server = amqp_server("amqps://a?heartbeat=30;amqps://b?connect_timeout=2")
    assert amqp_server(server.url) == server
    assert (server.options.heartbeat_s, server.options.connect_timeout_s) == (30, 2.0)


def test_options_of_tls_hold_for_all_nodes() -> None:
    server = amqp_server("amqps://a?ssl_ca_certs=/ca.pem;amqps://b?ssl_certfile=/c")
    assert amqp_server(server.url) == server
    assert server.tls == Tls(ca="/ca.pem", certificate="/c")


@pytest.mark.parametrize(
    "url", ["amqps://a;amqp://b", "amqp://a;amqps://b", "amqps://a;pyamqp://b"]
)
def test_nodes_with_and_without_tls_are_not_mixed(url: str) -> None:
    """kombu would verify nothing at a node of `amqps://` if the others have no TLS."""
    with pytest.raises(BackendUrlError, match=r"expected amqps:// for all nodes, or for none"):
        amqp_server(url)


def test_an_option_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(
        BackendUrlError, match=r"no such option: 'channel_max'; expected one of hear"
    ):
        amqp_server("amqp://u:secret@h?channel_max=5")


def test_the_longest_time_to_connect_is_an_hour() -> None:
    assert amqp_server("amqp://h?connect_timeout=3600").options.connect_timeout_s == 3600


@pytest.mark.parametrize(
    "url",
    [
        "amqp://h:port",
        "amqp://u:a/b@h",
        "amqp://u:a;b/c@h",
        "amqp://h?heartbeat=soon",
        "amqp://h?heartbeat=1.5",
        "amqp://h?heartbeat=65536",
        "amqp://h?connect_timeout=0",
        "amqp://h?connect_timeout=3601",
        "amqp://h?login_method=KERBEROS",
        "amqp://h?channel_max=5",
        "amqp://h?ssl=true",
        "amqp://h?ssl_ca_certs=/ca.pem",
        "amqps://h?ssl_cert_reqs=maybe",
        "amqp://a,b",
        "amqp://a/v;b",
    ],
)
def test_a_url_that_kombu_would_misread_is_refused(url: str) -> None:
    with pytest.raises(BackendUrlError) as caught:
        amqp_server(url)
    assert caught.value.__cause__ is None


def test_a_url_of_another_scheme_is_refused_with_the_right_form() -> None:
    with pytest.raises(BackendUrlError, match=r"'redis://…': expected amqp://"):
        amqp_server("redis://h")
