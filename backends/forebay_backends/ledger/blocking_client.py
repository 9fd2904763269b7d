"""The ledger's client for threads. Timeouts, retry and errors are those of `client.Ledger`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.commands import (
    Commands,
    by_partition,
    consecutive,
)
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S, blocking_client, server_of
from forebay_backends.ledger.errors import is_demotion, mapped, mapped_errors
from forebay_backends.ledger.expected_clock import (
    DOUBT_POLL_S,
    ExpectedClock,
    clock_in_doubt,
)
from forebay_backends.ledger.keys import PROBE, CallKey
from forebay_backends.ledger.measured import Observe, observed
from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.operations.maintenance import ClockReading, read_clock
from forebay_backends.ledger.replication import NO_REPLICAS, Replicas
from forebay_backends.ledger.round_trips import RoundTrips
from forebay_backends.ledger.seals import NO_SEALS, Seals
from forebay_backends.urls import RedisServer

T = TypeVar("T")


class BlockingLedger:
    """Runs operations on the ledger's server. Connects when first used; the owner closes it.

    Threads may share one; processes may not, so make it after a fork. `observe` gets each round
    trip of operations, and `clock` is as in `client.Ledger`.
    """

    def __init__(
        self,
        server: RedisServer | str,
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
        self._server = server_of(server)
        self._is_cluster = self._server.is_cluster
        self._commands = Commands(self._server.key_prefix, self._is_cluster, self.clock)
        self._client: Any = None
        self._round_trips = RoundTrips(lambda: self.redis.connection_pool.make_connection())

    @property
    def redis(self) -> Any:
        """redis-py's client, for other commands; names go through `name`.

        Made when first used: a cluster's connects at once.
        """
        if self._client is None:
            self._client = blocking_client(self._server)
        return self._client

    def name(self, name: str) -> str:
        """Adds the server's key prefix to the name of a key or channel."""
        return self._commands.name(name)

    def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable."""
        if not self._is_cluster or self._replicas.needed([operation]):
            result: T = self.run_all([operation])[0]
            return result
        self._know_clock([operation])
        with self._mapped_errors(), observed(self._observe, [operation]):
            try:
                reply: Any = self.redis.execute_command(*self._commands.evalsha(operation))
            except redis_errors.NoScriptError:
                reply = self.redis.execute_command(*self._commands.eval(operation))
        return operation.parse(reply)

    def run_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Runs independent operations in one round trip; in a cluster, in one for each partition.

        Raises BackendUnavailable if any of them fails.
        """
        self._know_clock(operations)
        groups = by_partition(operations) if self._is_cluster else [range(len(operations))]
        results: dict[int, Any] = {}
        for group in groups:
            together = [operations[index] for index in group]
            results |= zip(group, self._run_together(together), strict=True)
        return [results[index] for index in range(len(operations))]

    def _run_together(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        if self._replicas.needed(operations):
            return self._run_replicated(operations)
        if self._is_cluster or self._commands.needs_transaction(operations):
            replies = self._piped(operations)
        else:
            with observed(self._observe, operations):
                replies = self._exchange([self._commands.evalsha(one) for one in operations])
        return [
            self._result(operation, reply)
            for operation, reply in zip(operations, replies, strict=True)
        ]

    def _piped(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Runs the scripts in one pipeline, which is a transaction except in a cluster."""
        with (
            self._mapped_errors(),
            observed(self._observe, operations),
            self.redis.pipeline(transaction=not self._is_cluster) as pipeline,
        ):
            self._commands.add(pipeline, operations)
            sent = pipeline.execute(raise_on_error=False)
        return list(self._commands.script_replies(operations, sent))

    def _exchange(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to the commands in one round trip, with ResponseErrors among them."""
        with self._mapped_errors():
            return self._round_trips.run(commands)

    def _run_replicated(
        self, operations: Sequence[Operation[Any]], *, send_scripts: bool = False
    ) -> list[Any]:
        with (
            self._mapped_errors(),
            observed(self._observe, operations),
            self.redis.pipeline(transaction=False) as pipeline,
        ):
            self._replicas.add_commands(
                self._commands, pipeline, operations, None, send_scripts=send_scripts
            )
            sent = pipeline.execute(raise_on_error=False)
        replies = self._replicas.replies(self._commands, operations, sent)
        if any(isinstance(reply, redis_errors.NoScriptError) for reply in replies):
            # The transaction's other operations have run; a second run of them is harmless.
            return self._run_replicated(operations, send_scripts=True)
        return [
            self._result(operation, reply)
            for operation, reply in zip(operations, replies, strict=True)
        ]

    def _result(self, operation: Operation[T], reply: Any) -> T:
        if isinstance(reply, redis_errors.NoScriptError):
            if self._is_cluster:
                return self.run(operation)
            (reply,) = self._exchange([self._commands.eval(operation)])
        if isinstance(reply, Exception):
            if is_demotion(reply):
                self._drop_connections()
            raise mapped(reply)
        return operation.parse(reply)

    def _know_clock(self, operations: Sequence[Operation[Any]] = ()) -> None:
        """Reads the ledger's clock if these operations need that; waits while it is in doubt."""
        if not (self._must_know_clock and self.clock.needs_reading(operations)):
            return
        give_up = time.monotonic() + COMMAND_TIMEOUT_S
        while not self.read_clock().is_certain:
            if time.monotonic() > give_up:
                raise clock_in_doubt()
            time.sleep(DOUBT_POLL_S)  # the doubt ends with time, not by an event

    def read_clock(self) -> ClockReading:
        """Reads the ledger's clock, also while it is in doubt; raises BackendUnavailable."""
        reading = self.run(read_clock())
        if reading.is_certain:
            self.clock.on_read(reading.now_ms)
        return reading

    def known_ms(self) -> int:
        """The ledger's time, derived from a recent reading; raises BackendUnavailable."""
        self._know_clock()
        known_ms = self.clock.now_ms()
        return self.read_clock().now_ms if known_ms is None else known_ms

    def inputs(self, call: CallKey, first: int, count: int) -> list[bytes]:
        """Up to `count` request messages from ordinal `first` on.

        Raises BackendUnavailable, and ItemsLost if a request was altered or is missing.
        """
        with self._mapped_errors():
            entries = self.redis.xrange(self.name(call.inputs), min=f"{first + 1}-0", count=count)
        stored = consecutive(entries, first)
        return [self.seals.open_input(call, ordinal, request) for ordinal, request in stored]

    def set_once(self, name: str, value: bytes, for_ms: int) -> bytes:
        """Sets a key for a time, unless it is set; returns its value. Raises BackendUnavailable."""
        key = self.name(name)
        with self._mapped_errors():
            if self._is_cluster:
                earlier = self.redis.set(key, value, px=for_ms, nx=True, get=True)
            else:
                (earlier,) = self._exchange([("SET", key, value, "NX", "GET", "PX", for_ms)])
            if isinstance(earlier, Exception):
                raise earlier
        return value if earlier is None else bytes(earlier)

    def publish(self, channel: str, frame: bytes) -> int:
        """Publishes a frame; returns the number of subscribers that it reached.

        In a cluster that is at least 1, because a node counts only its own subscribers.
        Raises BackendUnavailable, also if the server is a replica, which few clients subscribe to.
        """
        name, frame = self.name(channel), self.seals.frame(frame)
        with self._mapped_errors():
            if self._is_cluster:
                return max(int(self.redis.publish(name, frame)), 1)
            replies = self._exchange([("DEL", self.name(PROBE)), ("PUBLISH", name, frame)])
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return int(replies[-1])

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            with mapped_errors():
                yield
        except BackendUnavailable as error:
            if is_demotion(error.__cause__):
                self._drop_connections()
            raise

    def _drop_connections(self) -> None:
        """Closes the idle connections, which may lead to a server that was demoted.

        A cluster's client follows its nodes' roles by itself.
        """
        if not self._is_cluster:
            self.redis.connection_pool.disconnect(inuse_connections=False)
            self._round_trips.close_idle()

    def close(self) -> None:
        client, self._client = self._client, None
        self._round_trips.close_idle()
        if client is not None:
            client.close()
            if not self._is_cluster:
                client.connection_pool.disconnect()
