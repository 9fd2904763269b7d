"""The type of all operations of the ledger, and helpers to build them.

An `Operation` names a script, its arguments, and how to parse the reply; it does no I/O. `Ledger`
and `BlockingLedger` run operations, so gateway and worker share one definition of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from forebay.deadline import clamped_s
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.large_messages import LargeMessage
from forebay_backends.ledger.lifecycle import State, known_state
from forebay_backends.ledger.scripts import LEASE_S

T = TypeVar("T")
Argument = str | bytes | memoryview | int
Reply = list[bytes]

LEASE_MS = int(LEASE_S * 1000)


@dataclass(frozen=True)
class Operation(Generic[T]):
    """One run of a script on one partition; `parse` turns its reply into a value.

    A `large_message`, which is among the arguments, follows the script in one transaction
    instead, if the server is not a cluster; see `large_messages`. With
    `waits_for_replicas`, a failover must not lose what it writes; see `replication`. Only one that
    `settles_clock`, by reading it, or that needs none runs while its process does not know the
    ledger's clock.
    """

    script: str
    partition: str
    arguments: tuple[Argument, ...]
    parse: Callable[[Reply], T]
    large_message: LargeMessage | None = None
    waits_for_replicas: bool = False
    settles_clock: bool = False

    @property
    def size(self) -> int:
        """Approximately how many bytes it sends."""
        return sum(len(one) for one in self.arguments if isinstance(one, bytes))


class WaitingCall(Protocol):
    """A call that waits for a worker, with all that its task message has."""

    @property
    def call(self) -> CallKey: ...

    @property
    def attempt(self) -> int: ...

    @property
    def task(self) -> str: ...

    @property
    def queue(self) -> str: ...

    @property
    def priority(self) -> int: ...

    @property
    def traceparent(self) -> str: ...


class Refusal(StrEnum):
    """Why a script refused an operation, if the call's state was not the reason."""

    UNKNOWN = "UNKNOWN"
    """The ledger has no record of the call."""
    STALE = "STALE"
    """The call is at another attempt."""
    TAKEN = "TAKEN"
    """Another worker holds the lease."""
    TOO_LARGE = "TOO_LARGE"
    """The requests would exceed the method's limit."""
    FULL = "FULL"
    """The handler of a live call must first read the requests that the ledger has."""
    GAP = "GAP"
    """The ledger does not have the messages before this one."""
    NEWER = "NEWER"
    """A newer version wrote the call's state, which this version does not know."""


@dataclass(frozen=True)
class Refused:
    """A script refused an operation: because of the call's state, or for another reason."""

    why: State | Refusal


@dataclass(frozen=True)
class Lapse:
    """An attempt that had begun was lost; its call is queued again, or has failed."""

    queue: str
    runs_again: bool


@dataclass(frozen=True)
class Push:
    """A task message and its Redis list, if the broker is the ledger's server."""

    queue_list: str = ""
    message: bytes = b""


def about(
    call: CallKey,
    name: str,
    parse: Callable[[Reply], T],
    *arguments: Argument,
    large: LargeMessage | None = None,
    waits_for_replicas: bool = False,
) -> Operation[T]:
    return Operation(
        name, call.partition, (str(call), *arguments), parse, large, waits_for_replicas
    )


def milliseconds(seconds: float | None, at_least: int = 0) -> int:
    """0 if there is no bound; at most `LONGEST_S`, which the scripts' numbers can hold."""
    return 0 if seconds is None else max(at_least, round(clamped_s(seconds) * 1000))


def refused(word: bytes) -> Refused:
    """Parses a script's refusal; a word that is not known is the state of a newer version."""
    why = word.decode()
    return Refused(Refusal(why) if why in set(Refusal) else known_state(why) or Refusal.NEWER)


def parse_lapses(words: Reply) -> tuple[Lapse, ...]:
    return tuple(
        Lapse(queue.decode(), again == b"1")
        for queue, again in zip(words[::2], words[1::2], strict=True)
    )


def parse_refused(reply: Reply) -> Refused | None:
    """Parses the reply of an operation that has no result."""
    return None if reply[0] == b"OK" else refused(reply[0])
