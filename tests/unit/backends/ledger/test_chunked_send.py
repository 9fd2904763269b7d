"""How large arguments get into a socket."""

from __future__ import annotations

import inspect

from redis.asyncio.connection import Connection, UnixDomainSocketConnection

from forebay_backends.ledger.chunked_send import chunked


class Writer:
    """Writes down what it is given."""

    def __init__(self) -> None:
        self.steps: list[bytes | None] = []

    def write(self, data: bytes | memoryview) -> None:
        self.steps.append(bytes(data))

    async def drain(self) -> None:
        self.steps.append(None)


class Connected:
    """A connection as far as it sends."""

    def __init__(self) -> None:
        self._writer = Writer()


async def test_a_large_argument_goes_out_in_pieces_each_when_there_is_room() -> None:
    connection = chunked(Connected)()
    large = bytes(range(256)) * 4096
    await connection._send_packed_command([b"head", large, b"tail"])
    pieces, waits = connection._writer.steps[::2], connection._writer.steps[1::2]
    assert b"".join(pieces) == b"head" + large + b"tail"
    assert max(map(len, pieces)) <= 256 << 10
    assert waits == [None] * len(pieces)


def test_redis_py_sends_through_what_is_replaced() -> None:
    assert "self._send_packed_command(" in inspect.getsource(Connection.send_packed_command)
    for kind in (Connection, UnixDomainSocketConnection):
        assert inspect.iscoroutinefunction(kind._connect)
