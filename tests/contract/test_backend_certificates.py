"""Every client of a backend refuses a certificate that is untrusted, expired or another host's.

The server completes handshakes and notes how each went; no client gets further.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from celery import Celery

from forebay_backends.broker.amqp import AmqpBroker
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.connections import asyncio_connection
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import read_flow
from forebay_backends.settings import given_settings
from forebay_backends.settings.settings import Settings
from forebay_backends.urls import RedisServer, celery_settings
from forebay_gateway.plain.brokers.choice import make_results
from tests.certificates import EXPIRED, Authority

pytestmark = pytest.mark.variant


@dataclass
class Handshakes:
    """A server with TLS: its port, and how each handshake with it ended."""

    port: int
    ended: list[str] = field(default_factory=list)


@contextlib.contextmanager
def server(certificate: Path, key: Path) -> Iterator[Handshakes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Handshakes(listener.getsockname()[1])

        def accept() -> None:
            with contextlib.suppress(OSError):  # the listener is closed
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(5)
                        try:
                            with context.wrap_socket(connection, server_side=True) as secured:
                                # A client of TLS 1.3 may send its alert after the handshake.
                                secured.recv(1)
                            found.ended.append("complete")
                        except OSError as error:
                            found.ended.append(str(error))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def aio(settings: Settings) -> None:
    async def run() -> None:
        ledger = Ledger(settings.backends().ledger)
        try:
            await ledger.ping()
        finally:
            await ledger.close()

    asyncio.run(run())


def blocking(settings: Settings) -> None:
    with contextlib.closing(BlockingLedger(settings.backends().ledger)) as ledger:
        ledger.run(read_flow(CallKey("a"), 1))


def pubsub(settings: Settings) -> None:
    async def run() -> None:
        client = asyncio_connection(settings.backends().ledger, 5)
        try:
            async with client.pubsub() as listening:
                await listening.subscribe("a")
        finally:
            await client.aclose()

    asyncio.run(run())


def celery(settings: Settings) -> None:
    """As a worker connects."""
    with Celery(set_as_current=False) as app:
        app.amqp_cls = "forebay_workers.celery_hooks.redis_transport:AMQP"
        app.config_from_object(celery_settings(settings.backends()))
        with app.connection_for_read() as connection:
            connection.default_channel.client.ping()


def amqp(settings: Settings) -> None:
    async def run() -> None:
        broker = settings.backends().broker
        assert not isinstance(broker, RedisServer)
        client = AmqpBroker(broker)
        try:
            await client.ping()
        finally:
            await client.close()

    asyncio.run(run())


def celery_amqp(settings: Settings) -> None:
    with Celery(set_as_current=False) as app:
        app.config_from_object(celery_settings(settings.backends()))
        with app.connection_for_read() as connection:
            connection.connect()


def results(settings: Settings) -> None:
    async def run() -> None:
        backend = make_results(settings.application(), "a")
        assert backend is not None
        try:
            await backend.ping()
        finally:
            await backend.close()

    asyncio.run(run())


CLIENTS: dict[str, tuple[Callable[[Settings], None], str, str]] = {
    "asyncio": (aio, "ledger_url", "rediss://{}/0"),
    "threads": (blocking, "ledger_url", "rediss://{}/0"),
    "pub/sub": (pubsub, "ledger_url", "rediss://{}/0"),
    "asyncio, sentinel": (aio, "ledger_url", "sentinels://{}/m/0"),
    "threads, sentinel": (blocking, "ledger_url", "sentinels://{}/m/0"),
    "pub/sub, sentinel": (pubsub, "ledger_url", "sentinels://{}/m/0"),
    "asyncio, cluster": (aio, "ledger_url", "rediss-cluster://{}"),
    "threads, cluster": (blocking, "ledger_url", "rediss-cluster://{}"),
    "celery": (celery, "broker_url", "rediss://{}/0"),
    "celery, sentinel": (celery, "broker_url", "sentinels://{}/m/0"),
    "amqp": (amqp, "broker_url", "amqps://guest:guest@{}/"),
    "celery, amqp": (celery_amqp, "broker_url", "amqps://guest:guest@{}/"),
    "results": (results, "result_url", "rediss://{}/0"),
}


@pytest.mark.parametrize("fault", ["none", "untrusted", "expired", "of another host"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_verifies_its_server(client: str, fault: str, tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    authority = Authority(tmp_path, "others") if fault == "untrusted" else ours
    # redis-py connects to a cluster's node at localhost by its address.
    hosts = ("elsewhere.example",) if fault == "of another host" else ("localhost", "127.0.0.1")
    valid = {"valid": EXPIRED} if fault == "expired" else {}
    issued = authority.issue("server", *hosts, **valid)
    connect, setting, url = CLIENTS[client]
    with server(issued.certificate, issued.key) as handshakes:
        given = {
            "ledger_url": "redis://127.0.0.1:1/0",
            "broker_url": "redis://127.0.0.1:1/0",
            setting: url.format(f"localhost:{handshakes.port}"),
        }
        settings = given_settings(**given, tls_ca=str(ours.ca))
        with pytest.raises(Exception):  # noqa: B017, PT011  # each library has errors of its own
            connect(settings)
    assert handshakes.ended
    # asyncio hangs up without an alert.
    assert ("complete" in handshakes.ended) == (fault == "none"), handshakes.ended
