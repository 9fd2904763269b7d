"""Large messages don't go through Lua, which would copy them: 0.3 to 0.6 ms of CPU per MiB.

The script of `emit` or `receive` only validates; XADD follows it in the same transaction:

    MULTI
    EVAL ...                              gets the message's size, and an empty message
    XADD STREAM NOMKSTREAM ID m MESSAGE
    RENAMENX PARKED STREAM
    EXEC

If the script accepts the message, it makes sure that the stream exists, and XADD stores the
message. If it refuses, it renames the stream to PARKED: XADD finds no stream and stores nothing
(NOMKSTREAM), and RENAMENX restores the stream. If the operation runs twice, the second XADD fails,
because entry ids only grow.

In a Redis Cluster all messages are arguments of the script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from forebay_backends.ledger.keys import CallKey

T = TypeVar("T")

LARGE_ABOVE_BYTES = 64 * 1024
"""Messages up to this size are an argument of the script. This must be at most
`ANNOUNCE_ABOVE_BYTES`, because the script publishes items up to that size."""


@dataclass(frozen=True)
class LargeMessage:
    """A message that XADD stores, as the entry of its ordinal, if the script accepts it."""

    stream: str
    parked: str
    ordinal: int
    message: bytes

    command_count: ClassVar = 2

    def taken_out_of(self, arguments: Sequence[T]) -> list[T | bytes]:
        """The script's arguments with an empty message in place of this one."""
        return [b"" if argument is self.message else argument for argument in arguments]

    def commands(self, name: Callable[[str], str]) -> tuple[tuple[str | bytes, ...], ...]:
        """The commands that follow the script; `name` is a key's name on the server."""
        entry = f"{self.ordinal + 1}-0", "m", self.message
        stream = name(self.stream)
        return ("XADD", stream, "NOMKSTREAM", *entry), ("RENAMENX", name(self.parked), stream)


def large_message(call: CallKey, stream: str, ordinal: int, message: bytes) -> LargeMessage | None:
    """The message for XADD; None for a small one, which the script itself stores."""
    if len(message) <= LARGE_ABOVE_BYTES:
        return None
    return LargeMessage(stream, call.parked, ordinal, message)
