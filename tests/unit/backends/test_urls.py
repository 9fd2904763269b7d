"""The URLs of broker and ledger."""

from __future__ import annotations

import pytest

from forebay_backends.urls import (
    HIGHEST_PRIORITY,
    BackendUrlError,
    backends,
    celery_settings,
    kombu_url,
    redacted,
    redis_url,
)


@pytest.mark.parametrize(
    ("given", "for_redis", "for_kombu"),
    [
        ("redis://h", "redis://h/0", "redis://h/0"),
        ("redis://h/", "redis://h/0", "redis://h/0"),
        ("redis://u:p@h:7/3", "redis://u:p@h:7/3", "redis://u:p@h:7/3"),
        ("valkey://h:6379/1", "redis://h:6379/1", "redis://h:6379/1"),
        ("rediss://h/0?ssl_cert_reqs=none",) * 3,
        ("valkeys://h/2", "rediss://h/2", "rediss://h/2"),
        ("unix:///run/r.sock", "unix:///run/r.sock", "redis+socket:///run/r.sock"),
        (
            "unix:///run/r.sock?db=2",
            "unix:///run/r.sock?db=2",
            "redis+socket:///run/r.sock?virtual_host=2",
        ),
        (
            "redis+socket:///run/r.sock?virtual_host=/2",
            "unix:///run/r.sock?db=2",
            "redis+socket:///run/r.sock?virtual_host=2",
        ),
        ("unix:///run/r.sock?db=0", "unix:///run/r.sock", "redis+socket:///run/r.sock"),
    ],
)
def test_a_url_is_written_in_each_librarys_form(given: str, for_redis: str, for_kombu: str) -> None:
    assert redis_url(given) == for_redis
    assert kombu_url(for_redis) == for_kombu
    assert redis_url(for_redis) == for_redis
    assert redis_url(for_kombu) == for_redis


@pytest.mark.parametrize("url", ["", "h:6379", "http://h", "memcached://h", "sqs://", "/run/r"])
def test_a_url_of_nothing_that_is_known_is_refused_with_what_was_expected(url: str) -> None:
    with pytest.raises(BackendUrlError, match="expected redis://") as caught:
        redis_url(url)
    assert repr(url) in str(caught.value)
    with pytest.raises(BackendUrlError):
        backends("redis://h", url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", "HOST:PORT/DB"),
        ("redis:///0", "HOST:PORT/DB"),
        ("redis://h/one", "HOST:PORT/DB"),
        ("redis://h/1/2", "HOST:PORT/DB"),
        ("valkey://h/0#more", "valkey://HOST:PORT/DB"),
        ("redis://h:port/0", "Port could not be cast"),
        ("unix://", "unix:///PATH"),
        ("unix://run/r.sock", "unix:///PATH"),
        ("unix:///run/r.sock?password=s3cret", "unix:///PATH"),
    ],
)
def test_a_url_whose_parts_do_not_fit_is_refused_with_what_was_expected(
    url: str, expected: str
) -> None:
    with pytest.raises(BackendUrlError, match=expected) as caught:
        redis_url(url)
    assert "s3cret" not in str(caught.value)


def test_a_ledger_is_never_rabbitmq() -> None:
    with pytest.raises(BackendUrlError):
        backends("amqp://h", None)


def test_a_refusal_does_not_show_the_password() -> None:
    with pytest.raises(BackendUrlError) as caught:
        redis_url("http://user:s3cret@h")
    assert "s3cret" not in str(caught.value)
    assert "user:***@h" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:s3cret@h:7/1", "redis://:***@h:7/1"),
        ("amqp://me:s3cret@h//", "amqp://me:***@h//"),
        ("amqp://me:s3@cret@h//", "amqp://me:***@h//"),
        ("redis://me@h/1", "redis://me@h/1"),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2"),
        ("redis://h", "redis://h"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize("url", ["redis://h", "valkey://h/1", "unix:///r.sock", "rediss://h/3"])
def test_without_a_broker_the_ledgers_server_is_it(url: str) -> None:
    both = backends(url, None)
    assert both.broker_is_ledger
    assert both.broker_is_redis
    assert both.broker_url == kombu_url(both.ledger_url)


@pytest.mark.parametrize(
    ("ledger", "broker", "same"),
    [
        ("redis://h", "redis://h/0", True),
        ("redis://h", "valkey://h", True),
        ("unix:///r.sock", "redis+socket:///r.sock", True),
        ("unix:///r.sock?db=1", "redis+socket:///r.sock?virtual_host=1", True),
        ("redis://h", "redis://h/1", False),
        ("redis://h", "redis://other", False),
        ("unix:///r.sock", "unix:///s.sock", False),
    ],
)
def test_one_server_is_recognised_in_any_form(ledger: str, broker: str, same: bool) -> None:
    both = backends(ledger, broker)
    assert both.broker_is_ledger is same
    assert both.broker_is_redis


@pytest.mark.parametrize("url", ["amqp://h//", "amqps://u:p@h/v", "pyamqp://h"])
def test_rabbitmq_is_a_broker_beside_the_ledger(url: str) -> None:
    both = backends("redis://h", url)
    assert both.broker_url == url
    assert not both.broker_is_redis
    assert not both.broker_is_ledger


def test_celery_takes_json_alone_and_keeps_no_results() -> None:
    for broker in (None, "amqp://h"):
        settings = celery_settings(backends("redis://h", broker))
        assert settings["accept_content"] == ["json"]
        assert settings["task_serializer"] == "json"
        assert settings["task_ignore_result"] is True


def test_on_rabbitmq_queues_know_priorities_and_publishes_are_confirmed() -> None:
    settings = celery_settings(backends("redis://h", "amqp://h"))
    assert settings["task_queue_max_priority"] == HIGHEST_PRIORITY == 9
    assert settings["broker_transport_options"] == {"confirm_publish": True}


def test_on_redis_queues_keep_the_arguments_that_celery_gives_them() -> None:
    settings = celery_settings(backends("unix:///r.sock", None))
    assert settings["task_queue_max_priority"] is None
    assert settings["broker_transport_options"] == {}
    assert settings["broker_url"] == "redis+socket:///r.sock"
