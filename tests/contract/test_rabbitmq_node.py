"""The RabbitMQ node that other tests use."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
import pytest
from kombu import Connection

from tests import rabbitmq as module
from tests.rabbitmq import VHOSTS, RabbitMQ, require_rabbitmq


def test_without_rabbitmq_a_laptop_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERVER", Path("/nowhere/rabbitmq-server"))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception):
        require_rabbitmq()


def test_without_rabbitmq_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERVER", Path("/nowhere/rabbitmq-server"))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception):
        require_rabbitmq()


def test_each_virtual_host_accepts_connections(rabbitmq: RabbitMQ) -> None:
    for vhost in VHOSTS:
        with Connection(rabbitmq.url(vhost), connect_timeout=5.0) as connection:
            assert connection.connect().connected


def test_all_ports_of_the_node_are_on_loopback(rabbitmq: RabbitMQ) -> None:
    listening: list[str] = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a command of the node, which has ended
            if process.name() in ("beam.smp", "epmd"):
                listening += [
                    connection.laddr.ip
                    for connection in process.net_connections("inet")
                    if connection.status == psutil.CONN_LISTEN
                ]
    assert len(listening) >= 3
    assert set(listening) <= {"127.0.0.1", "::1"}
