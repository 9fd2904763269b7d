"""Operations as Redis commands, and the replies to those commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.scripts import digest, script


@dataclass(frozen=True)
class Commands:
    """Makes the Redis commands of operations, for one server.

    This class and the scripts add the server's key prefix to names; other code uses names without
    it. The scripts find the prefix before the partition's name.
    """

    key_prefix: str = ""
    is_cluster: bool = False

    def name(self, name: str) -> str:
        """A key or channel as it is called on the server."""
        return self.key_prefix + name

    def evalsha(self, operation: Operation[Any]) -> tuple[Any, ...]:
        """EVALSHA's command."""
        return ("EVALSHA", digest(operation.script, self.is_cluster), *self._arguments(operation))

    def eval(self, operation: Operation[Any]) -> tuple[Any, ...]:
        """EVAL sends the script's text, and the server caches it for EVALSHA."""
        return ("EVAL", script(operation.script, self.is_cluster), *self._arguments(operation))

    def add(
        self, pipeline: Any, operations: Sequence[Operation[Any]], *, send_scripts: bool = False
    ) -> None:
        """Adds the operations' commands to redis-py's pipeline."""
        for operation in operations:
            if operation.large_message is None:
                command = self.eval(operation) if send_scripts else self.evalsha(operation)
                pipeline.execute_command(*command)
            else:
                # If EVALSHA failed with NOSCRIPT, the XADD after it would run without validation.
                pipeline.execute_command(*self.eval(operation))
                for command in operation.large_message.commands(self.name):
                    pipeline.execute_command(*command)

    def _arguments(self, operation: Operation[Any]) -> tuple[Any, ...]:
        return (1, self.name(operation.partition), *operation.arguments)


def needs_transaction(operations: Sequence[Operation[Any]]) -> bool:
    """Whether any operation has a large message; see `large_messages`."""
    return any(operation.large_message is not None for operation in operations)


def by_partition(operations: Sequence[Operation[Any]]) -> list[list[int]]:
    """The operations' indexes, grouped by partition: in a cluster each may be on another node."""
    groups: dict[str, list[int]] = {}
    for index, operation in enumerate(operations):
        groups.setdefault(operation.partition, []).append(index)
    return list(groups.values())


def script_replies(operations: Sequence[Operation[Any]], replies: Sequence[Any]) -> Iterator[Any]:
    """The scripts' replies, without those to a large message's XADD and RENAMENX.

    Errors among the latter are expected: of XADD if the entry exists, of RENAMENX if nothing is
    parked.
    """
    each = iter(replies)
    for operation in operations:
        yield next(each)
        if operation.large_message is not None:
            for _ in range(operation.large_message.command_count):
                next(each)


def parse_entry(entry: Any) -> tuple[int, bytes]:
    """The ordinal and the message of an entry of a stream of items or requests."""
    entry_id, fields = entry
    return int(entry_id.partition(b"-")[0]) - 1, fields[b"m"]
