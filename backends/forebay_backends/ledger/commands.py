"""Operations as the commands that a server is sent, and its replies to those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.scripts import digest, script


def by_digest(operation: Operation[Any]) -> tuple[Any, ...]:
    """EVALSHA's arguments."""
    return (digest(operation.script), 1, operation.partition, *operation.arguments)


def whole(operation: Operation[Any]) -> tuple[Any, ...]:
    """EVAL's, for a server that does not know the script, and will from then on."""
    return (script(operation.script), 1, operation.partition, *operation.arguments)


def puts(operations: Sequence[Operation[Any]]) -> bool:
    """Whether they are to be one transaction."""
    return any(operation.put is not None for operation in operations)


def add_to(pipeline: Any, operations: Sequence[Operation[Any]]) -> None:
    """Adds what they are to a pipeline of redis-py's."""
    for operation in operations:
        if operation.put is None:
            pipeline.evalsha(*by_digest(operation))
        else:
            # What follows relies on the script, so it may not be unknown there.
            pipeline.eval(*whole(operation))
            for command in operation.put.commands:
                pipeline.execute_command(*command)


def of_scripts(operations: Sequence[Operation[Any]], replies: Sequence[Any]) -> Iterator[Any]:
    """The replies of the scripts alone: what else is refused was there, or had no place."""
    each = iter(replies)
    for operation in operations:
        yield next(each)
        for _ in operation.put.commands if operation.put is not None else ():
            next(each)
