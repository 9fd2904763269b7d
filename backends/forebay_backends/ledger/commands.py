"""Operations as Redis commands, and the replies to those commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.scripts import digest, script


def evalsha_arguments(operation: Operation[Any]) -> tuple[Any, ...]:
    return (digest(operation.script), 1, operation.partition, *operation.arguments)


def eval_arguments(operation: Operation[Any]) -> tuple[Any, ...]:
    """EVAL sends the script's text, and the server then knows it for EVALSHA too."""
    return (script(operation.script), 1, operation.partition, *operation.arguments)


def needs_transaction(operations: Sequence[Operation[Any]]) -> bool:
    """Whether any operation has a large message; see `large_messages`."""
    return any(operation.large_message is not None for operation in operations)


def add_commands(pipeline: Any, operations: Sequence[Operation[Any]]) -> None:
    """Adds the operations' commands to redis-py's pipeline."""
    for operation in operations:
        if operation.large_message is None:
            pipeline.evalsha(*evalsha_arguments(operation))
        else:
            # If EVALSHA failed with NOSCRIPT, the XADD after it would run without validation.
            pipeline.eval(*eval_arguments(operation))
            for command in operation.large_message.commands:
                pipeline.execute_command(*command)


def script_replies(operations: Sequence[Operation[Any]], replies: Sequence[Any]) -> Iterator[Any]:
    """The scripts' replies, without those to a large message's XADD and RENAMENX.

    Errors among the latter are expected: of XADD if the entry exists, of RENAMENX if nothing is
    parked.
    """
    each = iter(replies)
    for operation in operations:
        yield next(each)
        if operation.large_message is not None:
            for _ in operation.large_message.commands:
                next(each)


def parse_entry(entry: Any) -> tuple[int, bytes]:
    """The ordinal and the message of an entry of a stream of items or requests."""
    entry_id, fields = entry
    return int(entry_id.partition(b"-")[0]) - 1, fields[b"m"]
