"""The ledger's asyncio client.

It raises `BackendUnavailable` if the server can't serve a command within `COMMAND_TIMEOUT_S`; that
includes the wait for a free connection and retries. A command is retried only if its connection
breaks, once or in a cluster twice, and not if the server is slow. A retried script may have run
before: item ordinals and the table of state transitions make the second run harmless.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, TypeVar, cast

from redis import exceptions as redis_errors

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancellable
from forebay_backends.ledger.commands import (
    Commands,
    by_partition,
    parse_entry,
)
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S, asyncio_client, server_of
from forebay_backends.ledger.errors import is_demotion, mapped, mapped_errors
from forebay_backends.ledger.expected_clock import (
    DOUBT_POLL_S,
    ExpectedClock,
    clock_in_doubt,
)
from forebay_backends.ledger.keys import PROBE, CallKey
from forebay_backends.ledger.large_messages import LARGE_ABOVE_BYTES
from forebay_backends.ledger.measured import Observe, observed
from forebay_backends.ledger.moved_slots import follow, sent_after_moves
from forebay_backends.ledger.operations.base import Operation, Push
from forebay_backends.ledger.operations.maintenance import ClockReading, read_clock
from forebay_backends.ledger.replication import NO_REPLICAS, Replicas
from forebay_backends.ledger.scripts import load_all
from forebay_backends.ledger.seals import NO_SEALS, Seals
from forebay_backends.urls import RedisServer

T = TypeVar("T")
R = TypeVar("R")

_LENGTHS = """
local lengths = {}
for n, list in ipairs(KEYS) do lengths[n] = redis.call('LLEN', list) end
return lengths
"""
_LARGE_SENDS = 4
"""Limit of large commands in flight: redis-py and asyncio copy each two or three times."""
PROBE_MS = 1000
"""Lifetime of the key that `ping` writes to check that the server takes writes."""


class Ledger:
    """Runs operations on the ledger's server. Connects when first used; the owner closes it.

    Error messages contain `name`, because brokers and result backends also use this class.
    `observe` gets each round trip of operations. With a `clock`, as in gateways and workers,
    operations wait until the process knows the ledger's clock. Otherwise the times that they write
    could be wrong after an outage or a step of the server's clock.
    """

    def __init__(
        self,
        server: RedisServer | str,
        name: str = "the ledger",
        replicas: Replicas = NO_REPLICAS,
        observe: Observe | None = None,
        seals: Seals = NO_SEALS,
        clock: ExpectedClock | None = None,
    ) -> None:
        self.seals = seals
        self.clock = clock or ExpectedClock()
        self._must_know_clock = clock is not None
        self._observe = observe
        self._replicas = replicas
        self._name = name
        self._server = server_of(server)
        self.is_cluster = self._server.is_cluster
        """Whether partitions may be on different servers."""
        load_all(self.is_cluster)
        self._commands = Commands(self._server.key_prefix, self.is_cluster, self.clock)
        self._redis = asyncio_client(self._server)
        self._large_sends = asyncio.Semaphore(_LARGE_SENDS)

    async def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable."""
        if self._needs_pipeline(operation):
            return (await self.run_all([operation]))[0]
        await self._know_clock([operation])
        with observed(self._observe, [operation]):
            try:
                reply = await self._execute(self._commands.evalsha(operation), operation.size)
            except redis_errors.NoScriptError:
                reply = await self._execute(self._commands.eval(operation), operation.size)
        return operation.parse(reply)

    async def run_all(self, operations: Sequence[Operation[T]]) -> list[T]:
        """Runs independent operations in one round trip; in a cluster, in one for each partition.

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
        try:
            await self._know_clock(operations)
        except BackendUnavailable as error:
            return [error for _ in operations]
        with observed(self._observe, operations):
            return await self._run_each(operations)

    async def _run_each(self, operations: Sequence[Operation[T]]) -> list[T | Exception]:
        if not self.is_cluster:
            return await self._run_together(operations)
        groups = by_partition(operations)
        found = await asyncio.gather(
            *(self._run_together([operations[index] for index in group]) for group in groups)
        )
        results = dict(zip(chain(*groups), chain(*found), strict=True))
        return [results[index] for index in range(len(operations))]

    async def _run_together(self, operations: Sequence[Operation[T]]) -> list[T | Exception]:
        if self._replicas.needed(operations):
            return await self._run_replicated(operations)
        try:
            replies = await self._send(operations)
        except Exception as error:
            return [error for _ in operations]
        return await self._results(operations, replies)

    def _needs_pipeline(self, operation: Operation[Any]) -> bool:
        return (
            self.is_cluster
            or self._commands.needs_transaction([operation])
            or self._replicas.needed([operation])
        )

    async def _send(
        self, operations: Sequence[Operation[Any]], *, send_scripts: bool = False
    ) -> list[Any]:
        """The scripts' replies."""

        def send(indexes: Sequence[int]) -> Awaitable[list[Any]]:
            return self._send_once([operations[index] for index in indexes], send_scripts)

        if self.is_cluster:
            return await sent_after_moves(send, len(operations), self._follow, COMMAND_TIMEOUT_S)
        return await send(range(len(operations)))

    async def _follow(self, replies: Sequence[Any]) -> None:
        await self.within_timeout(follow(self._redis, replies))

    async def _send_once(
        self, operations: Sequence[Operation[Any]], send_scripts: bool
    ) -> list[Any]:
        """The scripts' replies, in one round trip."""

        def add(pipeline: Any) -> None:
            self._commands.add(pipeline, operations, send_scripts=send_scripts)

        redirections = {"allow_redirections": False} if self.is_cluster else {}
        replies = await self.pipeline(
            add,
            sum(operation.size for operation in operations),
            transaction=self._commands.needs_transaction(operations),
            raise_on_error=False,
            **redirections,
        )
        return list(self._commands.script_replies(operations, replies))

    async def run_with_push(
        self, operations: Sequence[Operation[T]], push: Push
    ) -> list[T | Exception]:
        """Like `run_each`, and pushes a task message in the same transaction.

        If an operation fails, the message is pushed a second time after that operation's retry:
        a worker may have taken the first one before the record existed.
        """
        try:
            await self._know_clock(operations)
        except BackendUnavailable as error:
            return [error for _ in operations]
        with observed(self._observe, operations):
            return await self._run_with_push(operations, push)

    async def _run_with_push(
        self, operations: Sequence[Operation[T]], push: Push
    ) -> list[T | Exception]:
        if self._replicas.needed(operations):
            return await self._run_replicated(operations, push)

        def add(pipeline: Any) -> None:
            for operation in operations:
                pipeline.execute_command(*self._commands.evalsha(operation))
            pipeline.lpush(self.name(push.queue_list), push.message)

        try:
            *replies, _ = await self.pipeline(add, transaction=True, raise_on_error=False)
        except Exception as error:
            return [error for _ in operations]
        results = await self._results(operations, replies)
        if any(isinstance(reply, Exception) for reply in replies):
            await self.push(push)
        return results

    async def _run_replicated(
        self,
        operations: Sequence[Operation[T]],
        push: Push | None = None,
        *,
        send_scripts: bool = False,
    ) -> list[T | Exception]:
        def add(pipeline: Any) -> None:
            self._replicas.add_commands(
                self._commands, pipeline, operations, push, send_scripts=send_scripts
            )

        try:
            sent = await self.pipeline(add, raise_on_error=False)
        except Exception as error:
            return [error for _ in operations]
        replies = self._replicas.replies(self._commands, operations, sent)
        if any(isinstance(reply, redis_errors.NoScriptError) for reply in replies):
            # The transaction's other operations have run; a second run of them is harmless.
            return await self._run_replicated(operations, push, send_scripts=True)
        return await self._results(operations, replies)

    async def _results(
        self, operations: Sequence[Operation[T]], replies: Sequence[Any]
    ) -> list[T | Exception]:
        results: list[T | Exception] = []
        for operation, reply in zip(operations, replies, strict=True):
            result = await self._result(operation, reply)
            results.append(result)
        if any(map(is_demotion, replies)):
            await self._drop_connections()
        return results

    async def _result(self, operation: Operation[T], reply: Any) -> T | Exception:
        if isinstance(reply, redis_errors.NoScriptError):
            try:
                (reply,) = await self._send([operation], send_scripts=True)
            except Exception as error:
                return error
        if isinstance(reply, Exception):
            return mapped(reply, self._name)
        return operation.parse(reply)

    async def push(self, push: Push) -> None:
        """Pushes a task message onto its list; raises BackendUnavailable."""
        await self._execute(("LPUSH", self.name(push.queue_list), push.message))

    async def publish(self, channel: str, frame: bytes) -> int:
        """Publishes a frame; returns the number of subscribers that it reached.

        In a cluster that is at least 1, because a node counts only its own subscribers.
        Raises BackendUnavailable, also if the server is a replica, which few clients subscribe to.
        """
        name, frame = self.name(channel), self.seals.frame(frame)
        if self.is_cluster:
            return max(int(await self.within_timeout(self._redis.publish(name, frame))), 1)
        *_, reached = await self.pipeline(
            lambda pipeline: pipeline.delete(self.name(PROBE)).publish(name, frame)
        )
        return int(reached)

    async def elected(self, name: str, for_s: float) -> bool:
        """Elects one process, by an expiring key; returns whether this process is elected.

        While the server is full it elects every process, because their work frees memory.
        """
        return not await self.elected_elsewhere_s(name, for_s)

    async def elected_elsewhere_s(self, name: str, for_s: float) -> float:
        """Like `elected`: returns 0 if this process is elected now.

        Otherwise returns in how many seconds the next one can be.
        """
        key, for_ms = self.name(name), int(for_s * 1000)
        try:
            is_elected, left_ms = await self.pipeline(
                lambda pipeline: pipeline.set(key, b"", px=for_ms, nx=True).pttl(key)
            )
            if left_ms > for_ms:  # the server's clock was stepped back
                await self.within_timeout(self._redis.delete(key))
            return 0.0 if is_elected else min(max(left_ms, 1), for_ms) / 1000
        except BackendUnavailable as error:
            if isinstance(error.__cause__, redis_errors.OutOfMemoryError):
                return 0.0
            raise

    async def set_once(self, name: str, value: bytes, for_ms: int) -> bytes:
        """Sets a key for a time, unless it is set; returns its value. Raises BackendUnavailable."""
        command = self._redis.set(self.name(name), value, px=for_ms, nx=True, get=True)
        earlier = await self.within_timeout(command)
        return value if earlier is None else bytes(earlier)

    async def items(self, call: CallKey, first: int, count: int) -> list[tuple[int, bytes]]:
        """Up to `count` stored items from ordinal `first` on, with their ordinals.

        Raises BackendUnavailable, and ItemsLost if an item was altered.
        """
        entries = await self.within_timeout(
            self._redis.xrange(self.name(call.items), min=f"{first + 1}-0", count=count)
        )
        if not entries and first == 0:
            # A unary method's response is in the record.
            record = self._redis.hget(self.name(call.record), "response")
            response = await self.within_timeout(record)
            return [] if response is None else [(0, self.seals.open_item(call, 0, response))]
        stored = (parse_entry(entry) for entry in entries or ())
        return [(ordinal, self.seals.open_item(call, ordinal, item)) for ordinal, item in stored]

    async def queue_depths(self, lists: Sequence[str]) -> list[int]:
        """The lengths of Redis lists, on a server that is no cluster."""
        # redis-py takes longer to parse twelve replies than the server to run this script.
        names = map(self.name, lists)
        return list(await self._execute(("EVAL", _LENGTHS, len(lists), *names)))

    async def may_exist(self, keys: Sequence[str]) -> bool:
        """Whether one of the keys exists; True in a cluster, which takes a command for each key."""
        if self.is_cluster:
            return True
        return bool(await self._execute(("EXISTS", *map(self.name, keys))))

    async def ping(self) -> None:
        """Checks that the server takes writes; raises BackendUnavailable if it doesn't."""
        await self.within_timeout(self._redis.set(self.name(PROBE), b"", px=PROBE_MS))

    async def pipeline(
        self,
        add: Callable[[Any], object],
        size: int = 0,
        *,
        transaction: bool = False,
        **options: bool,
    ) -> list[Any]:
        """The replies to the commands that `add` adds to redis-py's pipeline, in one round trip.

        Raises BackendUnavailable as `within_timeout` does. The options are those of the pipeline's
        `execute`.
        """

        async def execute() -> list[Any]:
            # A cluster's pipeline connects when it is entered.
            async with self._redis.pipeline(transaction=transaction) as pipeline:
                add(pipeline)
                return list(await pipeline.execute(**options))

        return await self.within_timeout(execute(), size)

    async def within_timeout(self, command: Awaitable[R], size: int = 0) -> R:
        """The reply to a redis-py command, within COMMAND_TIMEOUT_S; raises BackendUnavailable.

        Commands with a large `size` in bytes wait while too many other large ones are in flight.
        """
        try:
            with mapped_errors(self._name):
                async with asyncio.timeout(COMMAND_TIMEOUT_S):
                    if size > LARGE_ABOVE_BYTES:
                        return await self._large(command)
                    return await cancellable(command)
        except BackendUnavailable as error:
            if is_demotion(error.__cause__):
                await self._drop_connections()
            raise

    async def _drop_connections(self) -> None:
        """Closes the idle connections, which may lead to a server that was demoted.

        A cluster's client follows its nodes' roles by itself.
        """
        if not self.is_cluster:
            await self._redis.connection_pool.disconnect(inuse_connections=False)

    async def _large(self, command: Awaitable[R]) -> R:
        try:
            async with self._large_sends:
                return await cancellable(command)
        finally:
            if asyncio.iscoroutine(command):
                command.close()  # otherwise Python warns that it was never awaited

    @property
    def redis(self) -> Any:
        """redis-py's client, for commands run by `within_timeout`; names go through `name`."""
        return self._redis

    def name(self, name: str) -> str:
        """Adds the server's key prefix to the name of a key or channel."""
        return self._commands.name(name)

    def node_command(self, *command: str) -> Awaitable[Any]:
        """Sends a command about a server rather than a key; in a cluster, to one of its nodes."""
        node = {"target_nodes": self._redis.DEFAULT_NODE} if self.is_cluster else {}
        return cast("Awaitable[Any]", self._redis.execute_command(*command, **node))

    async def _execute(self, command: tuple[Any, ...], size: int = 0) -> Any:
        return await self.within_timeout(self._redis.execute_command(*command), size)

    async def now_ms(self) -> int:
        """Reads the ledger's clock, which does not follow steps of the server's clock."""
        await self._know_clock()
        return (await self.read_clock()).now_ms

    async def known_ms(self) -> int:
        """The ledger's time, derived from a recent reading if there is one, otherwise read."""
        await self._know_clock()
        known_ms = self.clock.now_ms()
        return await self.now_ms() if known_ms is None else known_ms

    async def read_clock(self) -> ClockReading:
        """Reads the ledger's clock, also while it is in doubt; raises BackendUnavailable."""
        return self._noted(await self.run(read_clock()))

    async def read_clock_and(self, operation: Operation[T]) -> tuple[ClockReading, T]:
        """Like `read_clock`, and runs an operation that needs no clock, in one round trip.

        In a cluster, at the same time.
        """
        operations: list[Operation[Any]] = [read_clock(), operation]
        reading, result = await self.run_all(operations)
        return self._noted(reading), result

    def _noted(self, reading: ClockReading) -> ClockReading:
        if reading.is_certain:
            self.clock.on_read(reading.now_ms)
        return reading

    async def _know_clock(self, operations: Sequence[Operation[Any]] = ()) -> None:
        """Reads the ledger's clock if these operations need that; waits while it is in doubt."""
        if not (self._must_know_clock and self.clock.needs_reading(operations)):
            return
        give_up = time.monotonic() + COMMAND_TIMEOUT_S
        while not (await self.read_clock()).is_certain:
            if time.monotonic() > give_up:
                raise clock_in_doubt()
            await asyncio.sleep(DOUBT_POLL_S)

    async def close(self) -> None:
        await self._redis.aclose()
        if not self.is_cluster:
            await self._redis.connection_pool.aclose()
