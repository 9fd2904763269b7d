"""Large messages get onto their streams beside a script, not through it.

Lua would copy each and hash all of its bytes. So the script only says whether the message has its
place, and a plain XADD follows in the same transaction. That makes no stream, and a script that
refuses has put the stream parked; what comes last puts it back.
"""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey

PUT_ABOVE_BYTES = 64 * 1024
"""Messages up to this size go through the script. No larger one may be published by it."""


@dataclass(frozen=True)
class Put:
    """A message for a stream, as its entry of that ordinal, where a script permits it."""

    stream: str
    parked: str
    ordinal: int
    message: bytes

    @property
    def commands(self) -> tuple[tuple[str | bytes, ...], ...]:
        """What puts it there, unless it is there already, and what brings a stream back."""
        entry = f"{self.ordinal + 1}-0", "m", self.message
        return ("XADD", self.stream, "NOMKSTREAM", *entry), ("RENAMENX", self.parked, self.stream)


def put_beside(
    call: CallKey, stream: str, ordinal: int, message: bytes
) -> tuple[Put | None, bytes]:
    """What is put beside the script, and what the script is given of the message."""
    if len(message) > PUT_ABOVE_BYTES:
        return Put(stream, call.parked, ordinal, message), b""
    return None, message
