"""Asks Sentinels for a master, with errors that show no password.

redis-py's own error contains all options of its clients of the Sentinels, passwords too. The errors
here are raised outside `except`, so that tracebacks do not show redis-py's error either.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import sentinel as asyncio_sentinel
from redis.exceptions import RedisError
from redis.sentinel import MasterNotFoundError

Address = tuple[str, int]


class Sentinels:
    """The part of `redis.sentinel.Sentinel` that redis-py's SentinelConnectionPool uses."""

    def __init__(self, sentinel: Any) -> None:
        self._sentinel = sentinel

    def discover_master(self, name: str) -> Address:
        """The master's address; raises MasterNotFoundError."""
        try:
            return _address(self._sentinel.discover_master(name))
        except RedisError:
            pass
        raise MasterNotFoundError(_not_found(name))

    def close(self) -> None:
        for client in self._sentinel.sentinels:
            client.close()


class AsyncioSentinels:
    """The same for `redis.asyncio.sentinel.Sentinel`."""

    def __init__(self, sentinel: Any) -> None:
        self._sentinel = sentinel

    async def discover_master(self, name: str) -> Address:
        """The master's address; raises MasterNotFoundError."""
        try:
            return _address(await self._sentinel.discover_master(name))
        except RedisError:
            pass
        raise asyncio_sentinel.MasterNotFoundError(_not_found(name))

    async def close(self) -> None:
        for client in self._sentinel.sentinels:
            await client.aclose()


def _address(found: Any) -> Address:
    host, port = found
    return str(host), int(port)


def _not_found(name: str) -> str:
    return (
        f"no Sentinel names a master {name!r} that is up; expected one of the Sentinels in the URL "
        "to answer, and to monitor a master of that name"
    )
