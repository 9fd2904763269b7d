"""Commands on the wire are those of redis-py, whoever packs them."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import UnixDomainSocketConnection

from forebay_backends.ledger.packing import packed_by_hiredis

LARGE = bytes(range(256)) * 40
COMMANDS: tuple[tuple[Any, ...], ...] = (
    ("PING",),
    ("EVALSHA", "0" * 40, 1, "forebay:{3}", "/id", 15_000, b"\r\n\x00", "é", ""),
    ("CLIENT SETNAME", "forebay"),
    ("XADD", "stream", "1-0", "m", LARGE),
    ("XADD", "stream", "1-0", "m", memoryview(LARGE)),
    (b"LPUSH", "list", b"message"),
    ("ZADD", "key", 1.5, "member"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_packed_as_redis_py_does(command: tuple[Any, ...]) -> None:
    ours = packed_by_hiredis(UnixDomainSocketConnection)(path="")
    theirs = UnixDomainSocketConnection(path="")
    expected = b"".join(theirs.pack_command(*command))
    assert b"".join(ours.pack_command(*command)) == expected
    assert b"".join(ours.pack_commands([command, command])) == 2 * expected


def test_a_large_argument_is_not_copied() -> None:
    ours = packed_by_hiredis(UnixDomainSocketConnection)(path="")
    command = ("XADD", "stream", "1-0", "m", LARGE)
    assert any(part is LARGE for part in ours.pack_command(*command))
    assert any(part is LARGE for part in ours.pack_commands([("PING",), command]))


def test_a_small_command_is_packed_by_hiredis() -> None:
    ours = packed_by_hiredis(UnixDomainSocketConnection)(path="")
    ours.encoder = None  # what redis-py's own packing needs
    assert ours.pack_commands([("PING",), ("PING",)]) == [b"*1\r\n$4\r\nPING\r\n" * 2]
