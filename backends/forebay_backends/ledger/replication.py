"""Waits for replicas before writes that a failover must not lose are acknowledged.

Redis replicates asynchronously: a primary that dies may take its last writes with it. If
`Replicas.count` is set, each accept, end of a call's requests, begin, finish and restored end is
followed by `WAIT count timeout` on the same connection
(https://redis.io/docs/latest/commands/wait/). WAIT does not wait inside a transaction, which the
operations may need, so it follows EXEC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import exceptions as redis_errors

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.commands import Commands
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S
from forebay_backends.ledger.errors import RETRY_AFTER_S
from forebay_backends.ledger.operations.base import Operation, Push


@dataclass(frozen=True)
class Replicas:
    """How many replicas must have a write, and how long to wait for them."""

    count: int = 0
    timeout_s: float = 1.0

    def needed(self, operations: Sequence[Operation[Any]]) -> bool:
        """Whether any of the operations waits for replicas."""
        return self.count > 0 and any(operation.waits_for_replicas for operation in operations)

    def add_commands(
        self,
        commands: Commands,
        pipeline: Any,
        operations: Sequence[Operation[Any]],
        push: Push | None,
        *,
        send_scripts: bool,
    ) -> None:
        """Adds one transaction of the operations and the push, then WAIT.

        `send_scripts` sends the scripts' texts, for a server that does not know them.
        """
        pipeline.execute_command("MULTI")
        commands.add(pipeline, operations, send_scripts=send_scripts)
        if push is not None:
            pipeline.lpush(commands.name(push.queue_list), push.message)
        pipeline.execute_command("EXEC")
        timeout_s = min(self.timeout_s, COMMAND_TIMEOUT_S - 1.0)
        pipeline.execute_command("WAIT", self.count, max(1, round(timeout_s * 1000)))

    def replies(
        self, commands: Commands, operations: Sequence[Operation[Any]], replies: Sequence[Any]
    ) -> list[Any]:
        """The scripts' replies; an error instead of each whose write too few replicas have."""
        *queued, executed, acknowledged = replies
        if isinstance(executed, Exception):  # EXECABORT: a command was refused when it was queued
            error = next((reply for reply in queued if isinstance(reply, Exception)), executed)
            return [error for _ in operations]
        scripts = list(commands.script_replies(operations, executed))
        if not isinstance(acknowledged, Exception) and acknowledged >= self.count:
            return scripts
        return [
            self._too_few(acknowledged)
            if operation.waits_for_replicas and not isinstance(reply, Exception)
            else reply
            for operation, reply in zip(operations, scripts, strict=True)
        ]

    def _too_few(self, acknowledged: Any) -> Exception:
        if isinstance(acknowledged, redis_errors.RedisError):
            return acknowledged
        return BackendUnavailable(
            f"{acknowledged} of {self.count} replicas of the ledger have confirmed a write "
            f"within {self.timeout_s:g} s",
            retry_after_s=RETRY_AFTER_S,
        )


NO_REPLICAS = Replicas()
