"""Running operations on a server: `Ledger` for asyncio, `BlockingLedger` for threads.

Both bound every wait and raise `BackendUnavailable` for whatever keeps the
server from answering, or from taking writes. A command is tried again once where its
connection broke (not where the server is slow): the scripts may be run twice, by their
ordinals and the life cycle's table. What is asked over asyncio is answered or given up
within `ANSWER_TIMEOUT_S`, all tries and the wait for a connection included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import redis
import redis.asyncio
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancellable
from forebay_backends.ledger.chunked_send import chunked
from forebay_backends.ledger.commands import add_to, by_digest, of_scripts, puts, whole
from forebay_backends.ledger.keys import PROBE, CallKey
from forebay_backends.ledger.operations.base import Operation, Push

T = TypeVar("T")
R = TypeVar("R")

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0
RETRY_AFTER_S = 1.0
_MAX_CONNECTIONS = 64
PROBE_MS = 1000
"""How long the key lives that shows whether a server takes writes."""
# Answers that say "not now" rather than "wrong", by the class that redis-py gives them
# or, where it has none, by their first word; and what they say of the server.
_NOT_NOW: dict[type[redis_errors.RedisError] | str, str] = {
    redis_errors.OutOfMemoryError: "is full",
    redis_errors.ReadOnlyError: "is read-only, a replica",
    redis_errors.MasterDownError: "is a replica without its primary",
    redis_errors.ClusterDownError: "is a cluster that is down",
    redis_errors.TryAgainError: "is moving its keys",
    redis_errors.AuthenticationError: "refuses the user or the password",
    "NOREPLICAS": "has too few replicas to take writes",
    "MISCONF": "can't write to its disk",
    "BUSY": "is busy with a script",
}

_CONNECTION_OPTIONS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": ANSWER_TIMEOUT_S,
    "socket_keepalive": True,
    "socket_read_size": 256 << 10,
}


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Raises what keeps a server from answering as `BackendUnavailable`."""
    try:
        yield
    except (redis_errors.RedisError, OSError) as error:
        what = _not_now(error)
        if what is None:
            raise  # a script's or a command's own fault is ours
        raise _unavailable(what) from error


def _not_now(error: Exception) -> str | None:
    """What keeps the server from doing what it was asked; None where nothing does."""
    # A pipeline puts the command before the server's words, and those into a tuple.
    first_word = str(error).rpartition("caused error: ")[2].lstrip("('").partition(" ")[0]
    for sign, what in _NOT_NOW.items():
        if sign == first_word or (isinstance(sign, type) and isinstance(error, sign)):
            return what
    return None if isinstance(error, redis_errors.ResponseError) else "does not answer"


def _unavailable(what: str) -> BackendUnavailable:
    return BackendUnavailable(f"the ledger {what}", retry_after_s=RETRY_AFTER_S)


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
        self._pool.connection_class = chunked(self._pool.connection_class)
        self._redis = redis.asyncio.Redis(connection_pool=self._pool)

    async def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable."""
        if operation.put is not None:
            return (await self.run_all([operation]))[0]
        try:
            reply = await self.ask(self._redis.evalsha(*by_digest(operation)))
        except redis_errors.NoScriptError:
            reply = await self.ask(self._redis.eval(*whole(operation)))
        return operation.parse(reply)

    async def run_all(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Runs operations that do not depend on each other, in one round trip.

        Raises BackendUnavailable where any of them could not be run.
        """
        answers: list[T] = []
        for answer in await self.run_each(operations):
            if isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        return answers

    async def run_each(self, operations: Sequence[Operation[T]]) -> list[T | Exception]:
        """As `run_all`, with what `run` would have raised in an answer's place."""
        async with self._redis.pipeline(transaction=puts(operations)) as pipeline:
            add_to(pipeline, operations)
            try:
                replies = await self.ask(pipeline.execute(raise_on_error=False))
            except Exception as error:
                return [error for _ in operations]
        return await self._answers(operations, list(of_scripts(operations, replies)))

    async def run_with_push(
        self, operations: Sequence[Operation[T]], push: Push
    ) -> list[T | Exception]:
        """As `run_each`, with a task message put on its list, all in one transaction."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            for operation in operations:
                pipeline.evalsha(*by_digest(operation))
            pipeline.lpush(push.queue_list, push.message)
            try:
                *replies, _ = await self.ask(pipeline.execute(raise_on_error=False))
            except Exception as error:
                return [error for _ in operations]
        answers = await self._answers(operations, replies)
        if any(isinstance(reply, Exception) for reply in replies):
            await self.push(push)  # the first may have come before what it names
        return answers

    async def _answers(
        self, operations: Sequence[Operation[T]], replies: Sequence[Any]
    ) -> list[T | Exception]:
        answers: list[T | Exception] = []
        for operation, reply in zip(operations, replies, strict=True):
            if isinstance(reply, Exception):  # such as that the script is unknown there
                again = await self._again(operation, reply)
                answers.append(again)
            else:
                answers.append(operation.parse(reply))
        return answers

    async def _again(self, operation: Operation[T], failed: Exception) -> T | Exception:
        try:
            with mapped_errors():
                if operation.put is not None:
                    raise failed
            return await self.run(operation)
        except Exception as error:
            return error

    async def push(self, push: Push) -> None:
        """Puts a task message on its list; raises BackendUnavailable."""
        await self.ask(cast(Any, self._redis.lpush(push.queue_list, push.message)))

    async def publish(self, channel: str, frame: bytes) -> int:
        """Publishes a frame; how many heard it."""
        return int(await self.ask(self._redis.publish(channel, frame)))

    async def elected(self, name: str, for_s: float) -> bool:
        """Whether this is the one process, for so long, that the key elects.

        On a server that is full it elects all: what they are to do makes room.
        """
        try:
            elect = self._redis.set(name, b"", px=int(for_s * 1000), nx=True)
            return bool(await self.ask(elect))
        except BackendUnavailable as error:
            if isinstance(error.__cause__, redis_errors.OutOfMemoryError):
                return True
            raise

    async def items(self, call: CallKey, first: int, count: int) -> list[tuple[int, bytes]]:
        """Up to `count` lasting items from ordinal `first` on, with their ordinals."""
        entries = await self.ask(self._redis.xrange(call.items, min=f"{first + 1}-0", count=count))
        return [_entry(entry) for entry in entries or ()]

    async def queue_depths(self, lists: Sequence[str]) -> list[int]:
        """The lengths of Redis lists."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for name in lists:
                pipeline.llen(name)
            return [int(length) for length in await self.ask(pipeline.execute())]

    async def ping(self) -> None:
        """Returns when the server answers and takes writes; raises BackendUnavailable."""
        await self.ask(self._redis.set(PROBE, b"", px=PROBE_MS))

    async def ask(self, asked: Awaitable[R]) -> R:
        """The answer to a command, within `ANSWER_TIMEOUT_S`; raises BackendUnavailable."""
        try:
            with mapped_errors():
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    return await cancellable(asked)
        except BackendUnavailable as error:
            if isinstance(error.__cause__, redis_errors.ReadOnlyError):
                # Behind one address another server may be the primary by now.
                await self._pool.disconnect(inuse_connections=False)
            raise

    @property
    def redis(self) -> redis.asyncio.Redis:
        """The client itself: for pub/sub, and for commands that `ask` is given."""
        return self._redis

    async def now_ms(self) -> float:
        """The server's clock."""
        seconds, microseconds = await self.ask(cast(Any, self._redis.time()))
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

    def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable."""
        if operation.put is not None:
            answer: T = self.run_all([operation])[0]
            return answer
        with mapped_errors():
            try:
                reply: Any = self._redis.evalsha(*by_digest(operation))
            except redis_errors.NoScriptError:
                reply = self._redis.eval(*whole(operation))
        return operation.parse(reply)

    def run_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Runs operations that do not depend on each other, in one round trip.

        Raises BackendUnavailable where any of them could not be run.
        """
        transaction = puts(operations)
        with mapped_errors(), self._redis.pipeline(transaction=transaction) as pipeline:
            add_to(pipeline, operations)
            replies = of_scripts(operations, pipeline.execute(raise_on_error=False))
        return [
            self._again(operation, reply)
            if isinstance(reply, Exception)
            else operation.parse(reply)
            for operation, reply in zip(operations, replies, strict=True)
        ]

    def _again(self, operation: Operation[T], failed: Exception) -> T:
        with mapped_errors():
            if operation.put is not None:
                raise failed
        return self.run(operation)

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
