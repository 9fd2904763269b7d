"""The ledger's asyncio client.

It raises `BackendUnavailable` if the server can't serve a command within `COMMAND_TIMEOUT_S`; that
includes the wait for a free connection and one retry. A command is retried only if its connection
breaks, not if the server is slow. So a script may run twice; ordinals and the life cycle's table
make the second run harmless.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar, cast

import redis.asyncio
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancellable
from forebay_backends.ledger.chunked_send import chunked
from forebay_backends.ledger.commands import (
    add_commands,
    eval_arguments,
    evalsha_arguments,
    needs_transaction,
    parse_entry,
    script_replies,
)
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S, connection_options
from forebay_backends.ledger.errors import mapped, mapped_errors
from forebay_backends.ledger.keys import PROBE, CallKey
from forebay_backends.ledger.operations.base import Operation, Push
from forebay_backends.ledger.operations.maintenance import read_clock

T = TypeVar("T")
R = TypeVar("R")

_MAX_CONNECTIONS = 64
PROBE_MS = 1000
"""Life time of the key that `ping` writes to check that the server takes writes."""


class Ledger:
    """Runs operations on the ledger's server. Connects when first used; the owner closes it.

    Errors call the server by `name`: brokers and result backends are reached by this class too.
    """

    def __init__(self, url: str, name: str = "the ledger") -> None:
        self._name = name
        self._pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=COMMAND_TIMEOUT_S,
            retry=Retry(NoBackoff(), 1, (redis_errors.ConnectionError,)),
            **connection_options(url),
        )
        if sys.version_info < (3, 12):
            self._pool.connection_class = chunked(self._pool.connection_class)
        self._redis = redis.asyncio.Redis(connection_pool=self._pool)

    async def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable."""
        if operation.large_message is not None:
            return (await self.run_all([operation]))[0]
        try:
            reply = await self.within_timeout(self._redis.evalsha(*evalsha_arguments(operation)))
        except redis_errors.NoScriptError:
            reply = await self.within_timeout(self._redis.eval(*eval_arguments(operation)))
        return operation.parse(reply)

    async def run_all(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Runs independent operations in one round trip.

        Raises BackendUnavailable if any of them fails.
        """
        results: list[T] = []
        for result in await self.run_each(operations):
            if isinstance(result, Exception):
                raise result
            results.append(result)
        return results

    async def run_each(self, operations: Sequence[Operation[T]]) -> list[T | Exception]:
        """Like `run_all`, but returns the exception of each operation that failed."""
        async with self._redis.pipeline(transaction=needs_transaction(operations)) as pipeline:
            add_commands(pipeline, operations)
            try:
                replies = await self.within_timeout(pipeline.execute(raise_on_error=False))
            except Exception as error:
                return [error for _ in operations]
        return await self._results(operations, list(script_replies(operations, replies)))

    async def run_with_push(
        self, operations: Sequence[Operation[T]], push: Push
    ) -> list[T | Exception]:
        """Like `run_each`, and pushes a task message in the same transaction.

        If an operation fails, the message is pushed a second time after that operation's retry:
        a worker may have taken the first one before the record existed.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            for operation in operations:
                pipeline.evalsha(*evalsha_arguments(operation))
            pipeline.lpush(push.queue_list, push.message)
            try:
                *replies, _ = await self.within_timeout(pipeline.execute(raise_on_error=False))
            except Exception as error:
                return [error for _ in operations]
        results = await self._results(operations, replies)
        if any(isinstance(reply, Exception) for reply in replies):
            await self.push(push)
        return results

    async def _results(
        self, operations: Sequence[Operation[T]], replies: Sequence[Any]
    ) -> list[T | Exception]:
        results: list[T | Exception] = []
        for operation, reply in zip(operations, replies, strict=True):
            result = await self._result(operation, reply)
            results.append(result)
        return results

    async def _result(self, operation: Operation[T], reply: Any) -> T | Exception:
        if isinstance(reply, redis_errors.NoScriptError):
            try:
                return await self.run(operation)
            except Exception as error:
                return error
        if isinstance(reply, Exception):
            return mapped(reply, self._name)
        return operation.parse(reply)

    async def push(self, push: Push) -> None:
        """Pushes a task message onto its list; raises BackendUnavailable."""
        await self.within_timeout(cast(Any, self._redis.lpush(push.queue_list, push.message)))

    async def publish(self, channel: str, frame: bytes) -> int:
        """Publishes a frame; returns the number of subscribers that it reached."""
        return int(await self.within_timeout(self._redis.publish(channel, frame)))

    async def elected(self, name: str, for_s: float) -> bool:
        """Elects one process, by an expiring key; returns whether it is this one.

        While the server is full it elects every process, because their work frees memory.
        """
        for_ms = int(for_s * 1000)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.set(name, b"", px=for_ms, nx=True)
                pipeline.pttl(name)
                is_elected, left_ms = await self.within_timeout(pipeline.execute())
            if left_ms > for_ms:  # the server's clock was stepped back
                await self.within_timeout(cast(Any, self._redis.delete(name)))
            return bool(is_elected)
        except BackendUnavailable as error:
            if isinstance(error.__cause__, redis_errors.OutOfMemoryError):
                return True
            raise

    async def items(self, call: CallKey, first: int, count: int) -> list[tuple[int, bytes]]:
        """Up to `count` stored items from ordinal `first` on, with their ordinals."""
        entries = await self.within_timeout(
            self._redis.xrange(call.items, min=f"{first + 1}-0", count=count)
        )
        return [parse_entry(entry) for entry in entries or ()]

    async def queue_depths(self, lists: Sequence[str]) -> list[int]:
        """The lengths of Redis lists."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in lists:
                pipeline.llen(name)
            return [int(length) for length in await self.within_timeout(pipeline.execute())]

    async def ping(self) -> None:
        """Checks that the server takes writes; raises BackendUnavailable if it doesn't."""
        await self.within_timeout(self._redis.set(PROBE, b"", px=PROBE_MS))

    async def within_timeout(self, command: Awaitable[R]) -> R:
        """The reply to a redis-py command, within COMMAND_TIMEOUT_S; raises BackendUnavailable."""
        try:
            with mapped_errors(self._name):
                async with asyncio.timeout(COMMAND_TIMEOUT_S):
                    return await cancellable(command)
        except BackendUnavailable as error:
            if isinstance(error.__cause__, redis_errors.ReadOnlyError):
                # After a failover, new connections to the same address may reach the new primary.
                await self._pool.disconnect(inuse_connections=False)
            raise

    @property
    def redis(self) -> redis.asyncio.Redis:
        """redis-py's client: for pub/sub, and for commands run by `within_timeout`."""
        return self._redis

    async def now_ms(self) -> int:
        """The time on the ledger's clock, which does not follow steps of the server's."""
        return (await self.run(read_clock())).now_ms

    async def close(self) -> None:
        await self._redis.aclose()
        await self._pool.aclose()
