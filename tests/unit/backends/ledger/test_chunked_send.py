"""Sending large arguments in chunks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pytest
import redis
from redis.asyncio.connection import Connection, UnixDomainSocketConnection

from forebay_backends.ledger.chunked_send import chunked


class Connected:
    """The part of redis-py's connection that sends; it is closed after `lasts` sends."""

    def __init__(self, lasts: int = 100) -> None:
        self.sent: list[bytes] = []
        self._lasts = lasts

    @property
    def is_connected(self) -> bool:
        return len(self.sent) < self._lasts

    async def send_packed_command(
        self, command: Iterable[bytes | memoryview], check_health: bool = True
    ) -> None:
        self.sent.append(b"".join(command))


COMMAND = [b"head", bytes(range(256)) * 4096, b"tail"]


async def test_a_large_argument_is_sent_in_chunks() -> None:
    connection = chunked(Connected)()
    await connection.send_packed_command(COMMAND)
    assert b"".join(connection.sent) == b"".join(COMMAND)
    assert max(map(len, connection.sent)) <= 256 << 10


async def test_the_rest_of_a_command_is_not_sent_on_another_connection() -> None:
    connection = chunked(Connected)(lasts=2)
    with pytest.raises(redis.ConnectionError):
        await connection.send_packed_command(COMMAND)
    assert len(connection.sent) == 2


def test_redis_py_has_the_private_method_that_is_overridden() -> None:
    for kind in (Connection, UnixDomainSocketConnection):
        assert inspect.iscoroutinefunction(kind._connect)


async def test_a_small_command_is_sent_at_once() -> None:
    connection = chunked(Connected)()
    command = [b"head", b"x" * 7000, b"tail"]  # as redis-py splits it
    await connection.send_packed_command(command)
    assert connection.sent == [b"".join(command)]
