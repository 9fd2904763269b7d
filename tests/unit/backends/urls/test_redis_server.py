"""URLs of a Redis or Valkey."""

from __future__ import annotations

import pytest

from forebay_backends.urls import BackendUrlError, Kind, Tls, redis_server


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://h/", "redis://h:6379/0"),
        ("redis://u:p@h:7/3", "redis://u:p@h:7/3"),
        ("redis://:p@h", "redis://:p@h:6379/0"),
        ("redis://[::1]:7/1", "redis://[::1]:7/1"),
        ("valkey://h:6379/1", "redis://h:6379/1"),
        ("valkeys://h/2", "rediss://h:6379/2"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h:6379/0?ssl_cert_reqs=none"),
        ("rediss://h?ssl_cert_reqs=CERT_REQUIRED", "rediss://h:6379/0"),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            "rediss://h:6379/0?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
        ),
        ("unix:///run/r.sock", "unix:///run/r.sock"),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2"),
        ("redis+socket:///run/r.sock?virtual_host=/2", "unix:///run/r.sock?db=2"),
        ("unix:///run/r.sock?db=0", "unix:///run/r.sock"),
        ("sentinel://a,b:7/main", "sentinel://a:26379,b:7/main/0"),
        (
            "sentinels://u:p@a/main/2?sentinel_password=s%40t",
            "sentinels://u:p@a:26379/main/2?sentinel_username=&sentinel_password=s%40t",
        ),
        ("redis-cluster://a:7000,b:7001", "redis-cluster://a:7000,b:7001"),
        ("rediss-cluster://:p@a", "rediss-cluster://:p@a:6379"),
    ],
)
def test_a_url_has_one_canonical_form(given: str, canonical: str) -> None:
    server = redis_server(given)
    assert server.url == canonical
    assert redis_server(canonical) == server


def test_an_encoded_password_is_decoded_once() -> None:
    server = redis_server("redis://u%3A:%40%2F%23%25@h")
    assert (server.username, server.password) == ("u:", "@/#%")
    assert redis_server(server.url) == server


def test_sentinels_may_have_a_password_of_their_own() -> None:
    server = redis_server("sentinel://a/main?sentinel_username=me&sentinel_password=secret")
    assert (server.kind, server.master, server.db) == (Kind.SENTINEL, "main", 0)
    assert (server.sentinel_username, server.sentinel_password) == ("me", "secret")
    assert (server.username, server.password) == ("", "")


def test_tls_settings_apply_unless_the_url_overrides_them() -> None:
    tls = Tls(ca="/ca.pem", certificate="/c.pem", key="/k.pem")
    assert redis_server("rediss://h", tls).tls == tls
    assert redis_server("redis://h", tls).tls is None
    other = redis_server("rediss://h?ssl_ca_certs=/other.pem&ssl_cert_reqs=none", tls).tls
    assert other == Tls("/other.pem", "/c.pem", "/k.pem", verify=False, check_hostname=False)


def test_certificates_and_host_names_are_verified_by_default() -> None:
    assert redis_server("rediss://h").tls == Tls(verify=True, check_hostname=True)


@pytest.mark.parametrize("url", ["", "h:6379", "http://h", "memcached://h", "sqs://", "/run/r"])
def test_the_url_of_another_server_is_refused_with_what_was_expected(url: str) -> None:
    with pytest.raises(BackendUrlError, match="expected redis://"):
        redis_server(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", "HOST:PORT/DB"),
        ("redis:///0", "HOST:PORT/DB"),
        ("redis://h/1/2", "HOST:PORT/DB"),
        ("valkey://h/0#more", "HOST:PORT/DB"),
        ("unix://", "unix:///PATH"),
        ("redis://[::1", "redis://USER"),
        ("redis://h:port/0", "%40"),
        ("redis://h:65536/0", "HOST:PORT"),
        ("redis://h/database", "HOST:PORT/DB"),
        ("redis://a,b/0", "HOST:PORT/DB"),
        ("redis://u:a/b@h", "/ as %2F"),
        ("redis://u:a#b@h", "# as %23"),
        ("redis://u:a?b@h", "? as %3F"),
        ("redis://u:a[b@h", "[ as %5B"),
        ("redis://h?foo=bar", "no such option: 'foo'"),
        ("redis://h?password=x", "://USER:PASSWORD@HOST"),
        ("redis://h?ssl_cert_reqs=none", "no such option: 'ssl_cert_reqs'; such a URL has none"),
        ("rediss://h?ssl_cert_reqs=maybe", "required or none"),
        ("rediss://h?ssl_check_hostname=1", "true or false"),
        ("redis://h?foo", "HOST:PORT/DB"),
        ("sentinel://a:26379", "MASTER/DB"),
        ("sentinel://a/main/x", "MASTER/DB"),
        ("redis-cluster://a/1", "HOST:PORT,HOST:PORT"),
        ("unix://run/redis.sock", "unix:///PATH"),
        ("unix:///run/r.sock?db=x", "unix:///PATH"),
        ("unix:///run/r.sock?password=x", "unix:///PATH"),
    ],
)
def test_a_url_that_a_library_would_misread_is_refused(url: str, expected: str) -> None:
    with pytest.raises(BackendUrlError) as caught:
        redis_server(url)
    assert expected in str(caught.value)
    assert caught.value.__cause__ is None
