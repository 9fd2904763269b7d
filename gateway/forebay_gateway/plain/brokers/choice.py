"""Chooses the broker and the result backend of an application, by their URLs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from forebay_backends.settings import RPC, CeleryApplication
from forebay_backends.urls import RedisServer
from forebay_gateway.plain.brokers.amqp import PlainAmqpBroker
from forebay_gateway.plain.brokers.base import PlainBroker, PlainResults
from forebay_gateway.plain.brokers.celery_messages import Reply
from forebay_gateway.plain.brokers.polled_results import PolledResults, results_app
from forebay_gateway.plain.brokers.redis import PlainRedisBroker
from forebay_gateway.plain.brokers.redis_results import RedisResults


def make_plain_broker(
    application: CeleryApplication, reply_queue: str, on_reply: Callable[[Reply], None]
) -> PlainBroker:
    """The broker; it connects when it is first used."""
    broker, called = application.broker, application.called("broker")
    if isinstance(broker, RedisServer):
        return PlainRedisBroker(broker, reply_queue, on_reply, called)
    return PlainAmqpBroker(broker, reply_queue, on_reply, called)


def check_results(application: CeleryApplication) -> None:
    """Raises SettingsError as `make_results` does; connects to nothing and starts no thread."""
    if application.result_url != RPC and application.result_server is None:
        results_app(application)


def make_results(
    application: CeleryApplication,
    prefix: str = "",
    on_meta: Callable[[str, bytes, str], None] = lambda *_: None,
    pending: Callable[[], Sequence[str]] = tuple,
) -> PlainResults | None:
    """The result backend; None for `rpc://`, whose results come to the reply queue.

    `on_meta` gets the id, meta and content type of each state of the tasks that `pending` lists;
    the ids of these tasks start with `prefix`. Raises SettingsError if Celery has no such backend,
    or the gateway lacks its library.
    """
    if application.result_url == RPC:
        return None
    server, called = application.result_server, application.called("result backend")
    if server is not None:
        return RedisResults(server, prefix, on_meta, pending, called)
    return PolledResults(application, on_meta, pending)
