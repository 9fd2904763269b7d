"""Operations as Redis commands, and the replies to those commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from forebay.errors import ItemsLost
from forebay_backends.ledger.expected_clock import ExpectedClock
from forebay_backends.ledger.large_messages import LargeMessage
from forebay_backends.ledger.moved_slots import never_a_key
from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.scripts import digest, script


@dataclass(frozen=True)
class Commands:
    """Makes the Redis commands of operations, for one server.

    This class and the scripts add the server's key prefix to names; other code uses names without
    it. The scripts find the prefix in their first key, before the partition's name.
    """

    key_prefix: str = ""
    is_cluster: bool = False
    clock: ExpectedClock = field(default_factory=ExpectedClock)

    def name(self, name: str) -> str:
        """A key or channel as it is called on the server."""
        return self.key_prefix + name

    def evalsha(self, operation: Operation[Any]) -> tuple[Any, ...]:
        return ("EVALSHA", digest(operation.script, self.is_cluster), *self._arguments(operation))

    def eval(self, operation: Operation[Any]) -> tuple[Any, ...]:
        """EVAL sends the script's text, and the server caches it for EVALSHA."""
        return ("EVAL", script(operation.script, self.is_cluster), *self._arguments(operation))

    def add(
        self, pipeline: Any, operations: Sequence[Operation[Any]], *, send_scripts: bool = False
    ) -> None:
        """Adds the operations' commands to redis-py's pipeline."""
        for operation in operations:
            large = self._large_message(operation)
            if large is None:
                command = self.eval(operation) if send_scripts else self.evalsha(operation)
                pipeline.execute_command(*command)
            else:
                # If EVALSHA failed with NOSCRIPT, the XADD after it would run without validation.
                pipeline.execute_command(*self.eval(operation))
                for command in large.commands(self.name):
                    pipeline.execute_command(*command)

    def needs_transaction(self, operations: Sequence[Operation[Any]]) -> bool:
        """Whether any operation has a large message; see `large_messages`."""
        return any(self._large_message(operation) is not None for operation in operations)

    def script_replies(
        self, operations: Sequence[Operation[Any]], replies: Sequence[Any]
    ) -> Iterator[Any]:
        """The scripts' replies, without those to a large message's XADD and RENAMENX.

        Those may be errors: XADD fails if the entry exists, RENAMENX if there is no parked stream.
        """
        each = iter(replies)
        for operation in operations:
            yield next(each)
            large = self._large_message(operation)
            if large is not None:
                for _ in range(large.command_count):
                    next(each)

    def _large_message(self, operation: Operation[Any]) -> LargeMessage | None:
        """The message that XADD stores after the script.

        None in a cluster, where redis-py does not follow redirections within a transaction.
        """
        return None if self.is_cluster else operation.large_message

    def _arguments(self, operation: Operation[Any]) -> tuple[Any, ...]:
        partition, expected_ms = self.name(operation.partition), self.clock.now_ms()
        expected = "" if expected_ms is None else expected_ms
        if self.is_cluster:
            return (2, partition, never_a_key(partition), *operation.arguments, expected)
        large = self._large_message(operation)
        if large is None:
            return (1, partition, *operation.arguments, expected)
        return (1, partition, *large.taken_out_of(operation.arguments), expected)


def by_partition(operations: Sequence[Operation[Any]]) -> list[list[int]]:
    """The operations' indexes, grouped by partition: a cluster may have each on another node."""
    groups: dict[str, list[int]] = {}
    for index, operation in enumerate(operations):
        groups.setdefault(operation.partition, []).append(index)
    return list(groups.values())


def consecutive(entries: Iterable[Any], first: int) -> Iterator[tuple[int, bytes]]:
    """The ordinals and messages of consecutive requests; raises ItemsLost if one is missing."""
    for expected, entry in enumerate(entries, first):
        ordinal, request = parse_entry(entry)
        if ordinal != expected:
            raise ItemsLost(f"request {expected} of this call is no longer in the ledger")
        yield ordinal, request


def parse_entry(entry: Any) -> tuple[int, bytes]:
    """The ordinal and the message of an entry of a stream of items or requests."""
    entry_id, fields = entry
    return int(entry_id.partition(b"-")[0]) - 1, fields[b"m"]
