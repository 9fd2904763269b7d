"""Broker and ledger, and Celery's settings for them."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from forebay.routes import HIGHEST_PRIORITY
from forebay_backends.urls import (
    BackendUrlError,
    Tls,
    backends,
    celery_settings,
    kombu_url,
    redis_server,
)

SECRET = "s3cret"  # noqa: S105


def test_a_ledger_is_never_rabbitmq() -> None:
    with pytest.raises(BackendUrlError):
        backends("amqp://h", None)


@pytest.mark.parametrize("broker", [None, "redis-cluster://h"])
def test_a_cluster_is_never_the_broker(broker: str | None) -> None:
    ledger = "redis-cluster://h" if broker is None else "redis://h"
    with pytest.raises(BackendUrlError, match="set broker_url to RabbitMQ"):
        backends(ledger, broker)
    assert backends("redis-cluster://h", "amqp://h").ledger.is_cluster


@pytest.mark.parametrize(
    "url", ["redis://h", "valkey://h/1", "unix:///r.sock", "rediss://h/3", "sentinel://h/main"]
)
def test_without_a_broker_the_ledgers_server_is_it(url: str) -> None:
    both = backends(url, None)
    assert both.broker_is_ledger
    assert both.broker_is_redis
    assert both.broker_url == both.ledger_url


@pytest.mark.parametrize(
    ("ledger", "broker", "same"),
    [
        ("redis://h", "redis://h/0", True),
        ("redis://h", "redis://h:6379", True),
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
    assert settings["broker_use_ssl"] is False


def test_on_redis_queues_keep_the_arguments_that_celery_gives_them() -> None:
    settings = celery_settings(backends("unix:///r.sock", None))
    assert settings["task_queue_max_priority"] is None
    assert settings["broker_transport_options"] == {}
    assert settings["broker_url"] == "redis+socket:///r.sock"


@pytest.mark.parametrize(
    ("given", "for_kombu"),
    [
        ("redis://u:p%40@h:7/3", "redis://u:p%40@h:7/3"),
        ("valkeys://h/2", "rediss://h:6379/2"),
        ("rediss://h?ssl_cert_reqs=none", "rediss://h:6379/0"),
        ("unix:///run/r.sock?db=2", "redis+socket:///run/r.sock?virtual_host=2"),
        ("sentinels://u:p@a,b:7/main/1", "sentinel://u:p@a:26379/1;sentinel://u:p@b:7/1"),
    ],
)
def test_kombu_has_a_form_of_its_own(given: str, for_kombu: str) -> None:
    assert kombu_url(redis_server(given)) == for_kombu


def test_celery_verifies_certificates_of_a_redis() -> None:
    settings = celery_settings(backends("rediss://h", None, Tls("/ca.pem")))
    assert settings["broker_use_ssl"] == {
        "ssl_ca_certs": "/ca.pem",
        "ssl_certfile": None,
        "ssl_keyfile": None,
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
    }


def test_celery_gets_the_key_prefix_and_the_master() -> None:
    both = backends(f"sentinels://a/main?sentinel_password={SECRET}", None, key_prefix="myapp:")
    options: Any = celery_settings(both)["broker_transport_options"]
    assert (options["global_keyprefix"], options["master_name"]) == ("myapp:", "main")
    assert options["sentinel_kwargs"]["password"] == SECRET
    assert options["sentinel_kwargs"]["ssl"] is True
