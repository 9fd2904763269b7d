"""Running operations on a server: `Ledger` for asyncio, `BlockingLedger` for threads.

Both bound every wait and raise `BackendUnavailable` for whatever keeps the
server from answering. A command is tried again once where its connection broke (not
where the server is slow): the scripts may be run twice, by their ordinals and the
life cycle's table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import redis
import redis.asyncio
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from forebay.errors import BackendUnavailable
from forebay_ledger.keys import CallKey
from forebay_ledger.operations import Operation, Push
from forebay_ledger.scripts import script

T = TypeVar("T")

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0
RETRY_AFTER_S = 1.0
_MAX_CONNECTIONS = 64
# Answers that say "not now" rather than "wrong".
_NOT_NOW = ("OOM", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "BUSY", "TRYAGAIN")
_NOT_NOW_ERRORS = (
    redis_errors.AuthenticationError,
    redis_errors.OutOfMemoryError,
    redis_errors.ReadOnlyError,
)

_CONNECTION_OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": ANSWER_TIMEOUT_S,
    "socket_keepalive": True,
}


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Raises what keeps a server from answering as `BackendUnavailable`."""
    try:
        yield
    except redis_errors.ResponseError as error:
        # A script's or a command's own fault is ours, and is raised as it is.
        if isinstance(error, _NOT_NOW_ERRORS) or str(error).startswith(_NOT_NOW):
            raise _unavailable() from error
        raise
    except (redis_errors.RedisError, OSError) as error:
        raise _unavailable() from error


def _unavailable() -> BackendUnavailable:
    return BackendUnavailable("the ledger does not answer", retry_after_s=RETRY_AFTER_S)


class _Scripts:
    """The scripts as one client runs them: by digest, sent whole where it is unknown."""

    def __init__(self, client: redis.Redis | redis.asyncio.Redis) -> None:
        self._client = client
        self._known: dict[str, Any] = {}

    def __call__(self, operation: Operation[Any]) -> Any:
        known = self._known.get(operation.script)
        if known is None:
            known = self._client.register_script(script(operation.script))
            self._known[operation.script] = known
        return known


class Ledger:
    """A ledger's server, for asyncio. Connects when first used; `close` it."""

    def __init__(self, url: str) -> None:
        self._pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=ANSWER_TIMEOUT_S,
            retry=AsyncRetry(NoBackoff(), 1, (redis_errors.ConnectionError,)),
            **_options(url),
        )
        self._redis = redis.asyncio.Redis(connection_pool=self._pool)
        self._script = _Scripts(self._redis)

    async def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable."""
        with mapped_errors():
            reply = await self._script(operation)(
                keys=[operation.partition], args=operation.arguments
            )
        return operation.parse(reply)

    async def run_all(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Runs operations in order, in one round trip; raises BackendUnavailable."""
        with mapped_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for operation in operations:
                    await self._script(operation)(
                        keys=[operation.partition], args=operation.arguments, client=pipeline
                    )
                replies = await pipeline.execute()
        return [
            operation.parse(reply) for operation, reply in zip(operations, replies, strict=True)
        ]

    async def push(self, push: Push) -> None:
        """Puts a task message on its list; raises BackendUnavailable."""
        with mapped_errors():
            await cast(Any, self._redis.lpush(push.queue_list, push.message))

    async def publish(self, channel: str, frame: bytes) -> int:
        """Publishes a frame; how many heard it."""
        with mapped_errors():
            return int(await self._redis.publish(channel, frame))

    async def elected(self, name: str, for_s: float) -> bool:
        """Whether this is the one process, for so long, that the key elects."""
        with mapped_errors():
            return bool(await self._redis.set(name, b"", px=int(for_s * 1000), nx=True))

    async def items(self, call: CallKey, first: int, count: int) -> list[tuple[int, bytes]]:
        """Up to `count` lasting items from ordinal `first` on, with their ordinals."""
        with mapped_errors():
            entries = await self._redis.xrange(call.items, min=f"{first + 1}-0", count=count)
        return [_entry(entry) for entry in entries or ()]

    async def queue_depths(self, lists: Sequence[str]) -> list[int]:
        """The lengths of Redis lists."""
        with mapped_errors():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for name in lists:
                    pipeline.llen(name)
                return [int(length) for length in await pipeline.execute()]

    async def ping(self) -> None:
        """Returns when the server answers; raises BackendUnavailable."""
        with mapped_errors():
            await cast(Any, self._redis.ping())

    @property
    def redis(self) -> redis.asyncio.Redis:
        """The client itself, for pub/sub and for presence."""
        return self._redis

    async def now_ms(self) -> float:
        """The server's clock."""
        with mapped_errors():
            seconds, microseconds = await cast(Any, self._redis.time())
        return float(seconds * 1000 + microseconds / 1000)

    async def close(self) -> None:
        """Closes all connections."""
        await self._redis.aclose()
        await self._pool.aclose()


class BlockingLedger:
    """A ledger's server, for threads. Connects when first used; `close` it.

    One object may be shared by threads, not by processes: make it after a fork.
    """

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis(
            connection_pool=redis.ConnectionPool.from_url(
                url, retry=Retry(NoBackoff(), 1, (redis_errors.ConnectionError,)), **_options(url)
            )
        )
        self._script = _Scripts(self._redis)

    def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable."""
        with mapped_errors():
            reply = self._script(operation)(keys=[operation.partition], args=operation.arguments)
        return operation.parse(reply)

    def run_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Runs operations in order, in one round trip; raises BackendUnavailable."""
        with mapped_errors(), self._redis.pipeline(transaction=False) as pipeline:
            for operation in operations:
                self._script(operation)(
                    keys=[operation.partition], args=operation.arguments, client=pipeline
                )
            replies = pipeline.execute()
        return [
            operation.parse(reply) for operation, reply in zip(operations, replies, strict=True)
        ]

    def inputs(self, call: CallKey, first: int, count: int) -> list[bytes]:
        """Up to `count` request messages from ordinal `first` on."""
        with mapped_errors():
            entries = self._redis.xrange(call.inputs, min=f"{first + 1}-0", count=count)
        return [_entry(entry)[1] for entry in cast(Any, entries)]

    def publish(self, channel: str, frame: bytes) -> int:
        """Publishes a frame; how many heard it."""
        with mapped_errors():
            return int(cast(Any, self._redis.publish(channel, frame)))

    @property
    def redis(self) -> redis.Redis:
        """The client itself, for pub/sub and for presence."""
        return self._redis

    def close(self) -> None:
        """Closes all connections."""
        self._redis.close()
        self._redis.connection_pool.disconnect()


def _entry(entry: Any) -> tuple[int, bytes]:
    entry_id, fields = entry
    return int(entry_id.partition(b"-")[0]) - 1, fields[b"m"]


def _options(url: str) -> dict[str, Any]:
    options = dict(_CONNECTION_OPTIONS)
    if url.startswith("unix:"):
        del options["socket_keepalive"]
    return options
