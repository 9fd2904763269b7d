"""The ledger's client for threads. Timeouts, retry and errors are those of `client.Ledger`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import redis
from redis import exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.retry import Retry

from forebay_backends.ledger.commands import (
    add_commands,
    eval_arguments,
    evalsha_arguments,
    needs_transaction,
    parse_entry,
    script_replies,
)
from forebay_backends.ledger.connections import connection_options
from forebay_backends.ledger.errors import mapped, mapped_errors
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Operation

T = TypeVar("T")


class BlockingLedger:
    """Runs operations on the ledger's server. Connects when first used; the owner closes it.

    Threads may share one; processes may not, so make it after a fork.
    """

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis(
            connection_pool=redis.ConnectionPool.from_url(
                url,
                retry=Retry(NoBackoff(), 1, (redis_errors.ConnectionError,)),
                **connection_options(url),
            )
        )

    def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable."""
        if operation.large_message is not None:
            result: T = self.run_all([operation])[0]
            return result
        with mapped_errors():
            try:
                reply: Any = self._redis.evalsha(*evalsha_arguments(operation))
            except redis_errors.NoScriptError:
                reply = self._redis.eval(*eval_arguments(operation))
        return operation.parse(reply)

    def run_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Runs independent operations in one round trip.

        Raises BackendUnavailable if any of them fails.
        """
        transaction = needs_transaction(operations)
        with mapped_errors(), self._redis.pipeline(transaction=transaction) as pipeline:
            add_commands(pipeline, operations)
            replies = script_replies(operations, pipeline.execute(raise_on_error=False))
        return [
            self._result(operation, reply)
            for operation, reply in zip(operations, replies, strict=True)
        ]

    def _result(self, operation: Operation[T], reply: Any) -> T:
        if isinstance(reply, redis_errors.NoScriptError):
            return self.run(operation)
        if isinstance(reply, Exception):
            raise mapped(reply)
        return operation.parse(reply)

    def inputs(self, call: CallKey, first: int, count: int) -> list[bytes]:
        """Up to `count` request messages from ordinal `first` on."""
        with mapped_errors():
            entries = self._redis.xrange(call.inputs, min=f"{first + 1}-0", count=count)
        return [parse_entry(entry)[1] for entry in cast(Any, entries)]

    def publish(self, channel: str, frame: bytes) -> int:
        """Publishes a frame; returns the number of subscribers that it reached."""
        with mapped_errors():
            return int(cast(Any, self._redis.publish(channel, frame)))

    @property
    def redis(self) -> redis.Redis:
        """redis-py's client, for pub/sub and for presence."""
        return self._redis

    def close(self) -> None:
        self._redis.close()
        self._redis.connection_pool.disconnect()
