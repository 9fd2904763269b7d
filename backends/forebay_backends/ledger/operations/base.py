"""What all operations of the ledger are made of.

An `Operation` names a script, its arguments, and how to parse the reply; it does no I/O. `Ledger`
and `BlockingLedger` run operations, so gateway and worker share one definition of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.large_messages import Put
from forebay_backends.ledger.scripts import LEASE_S

T = TypeVar("T")
Argument = str | bytes | memoryview | int
Reply = list[bytes]

LEASE_MS = int(LEASE_S * 1000)


@dataclass(frozen=True)
class Operation(Generic[T]):
    """One run of a script on one partition; `parse` turns its reply into a value.

    What is `put` follows it in one transaction, and the script says whether it may: so a
    large message is not copied and hashed by Lua.
    """

    script: str
    partition: str
    arguments: tuple[Argument, ...]
    parse: Callable[[Reply], T]
    put: Put | None = None


@dataclass(frozen=True)
class Refused:
    """An operation that had no place: the call's state, UNKNOWN, STALE, TAKEN, TOO_LARGE, FULL
    or GAP.
    """

    why: str


@dataclass(frozen=True)
class Push:
    """A task message and its Redis list, where the broker is the ledger's server."""

    queue_list: str = ""
    message: bytes = b""


def about(
    call: CallKey,
    name: str,
    parse: Callable[[Reply], T],
    *arguments: Argument,
    put: Put | None = None,
) -> Operation[T]:
    return Operation(name, call.partition, (str(call), *arguments), parse, put)


def milliseconds(seconds: float | None, at_least: int = 0) -> int:
    return 0 if seconds is None else max(at_least, round(seconds * 1000))


def parse_refused(reply: Reply) -> Refused | None:
    """The reply of an operation that either has its place or has not."""
    return None if reply[0] in (b"OK", b"NEW") else Refused(reply[0].decode())
