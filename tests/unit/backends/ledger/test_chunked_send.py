"""Sending large arguments in chunks."""

from __future__ import annotations

import inspect

from redis.asyncio.connection import Connection, UnixDomainSocketConnection

from forebay_backends.ledger.chunked_send import chunked


class Writer:
    """Records writes, and each drain as None."""

    def __init__(self) -> None:
        self.steps: list[bytes | None] = []

    def write(self, data: bytes | memoryview) -> None:
        self.steps.append(bytes(data))

    async def drain(self) -> None:
        self.steps.append(None)


class Connected:
    """The part of redis-py's connection that sends."""

    def __init__(self) -> None:
        self._writer = Writer()


async def test_a_large_argument_is_sent_in_chunks_with_a_drain_after_each() -> None:
    connection = chunked(Connected)()
    large = bytes(range(256)) * 4096
    await connection._send_packed_command([b"head", large, b"tail"])
    chunks, drains = connection._writer.steps[::2], connection._writer.steps[1::2]
    assert b"".join(chunks) == b"head" + large + b"tail"
    assert max(map(len, chunks)) <= 256 << 10
    assert drains == [None] * len(chunks)


def test_redis_py_calls_the_private_methods_that_are_overridden() -> None:
    assert "self._send_packed_command(" in inspect.getsource(Connection.send_packed_command)
    for kind in (Connection, UnixDomainSocketConnection):
        assert inspect.iscoroutinefunction(kind._connect)
