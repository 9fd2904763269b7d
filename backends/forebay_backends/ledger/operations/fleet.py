"""The operation on what the workers have announced, see `presence.py`."""

from __future__ import annotations

from forebay_backends.ledger.keys import FLEET
from forebay_backends.ledger.operations.base import Operation, Reply


def presences(probe_ms: int = 0) -> Operation[list[tuple[float, bytes]]]:
    """All presences, each with the time until which its worker is live, in seconds.

    With `probe_ms`, writes a key that lasts so long: a server that takes no writes fails.
    """
    return Operation("fleet/presences", FLEET, (probe_ms,), _parse, settles_clock=True)


def _parse(reply: Reply) -> list[tuple[float, bytes]]:
    return list(zip(map(float, reply[::2]), reply[1::2], strict=True))
