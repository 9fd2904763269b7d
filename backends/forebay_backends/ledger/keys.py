"""Names: of calls, of their keys in the ledger, of channels.

Every key of a call, and every index that it is in, shares the hash tag of one
partition, so a script never touches two and a Redis Cluster can hold them.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

PARTITIONS = 16
"""How many partitions a ledger has. Fixed: it decides where a call's keys are."""

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def is_call_id(text: str) -> bool:
    """Whether a caller may use the text as a call id."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True)
class CallKey:
    """A call's name in the ledger: its owner (empty until there is authentication) and its id."""

    id: str
    owner: str = ""

    def __str__(self) -> str:
        return f"{self.owner}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> CallKey:
        """The reverse of `str`; raises ValueError for anything else."""
        owner, slash, call_id = text.partition("/")
        if not slash or not is_call_id(call_id):
            raise ValueError(f"{text!r} is no call key; expected OWNER/ID")
        return cls(call_id, owner)

    @property
    def partition(self) -> str:
        """The prefix of all keys in the call's partition."""
        return partition_prefix(zlib.crc32(str(self).encode()) % PARTITIONS)

    @property
    def items(self) -> str:
        """The stream of the call's lasting items; ids are ordinal + 1."""
        return f"{self.partition}:items:{self}"

    @property
    def inputs(self) -> str:
        """The stream of the call's request messages; ids are ordinal + 1."""
        return f"{self.partition}:inputs:{self}"

    @property
    def parked(self) -> str:
        """Where a stream is while a message for it is refused, within a transaction."""
        return f"{self.partition}:parked:{self}"


def partition_prefix(number: int) -> str:
    """The prefix of all keys of a partition."""
    return f"forebay:{{{number}}}"


PRESENCE_INDEX = "forebay:workers"
"""Sorted set of worker ids by the time (ledger's clock, s) until which they are live."""

REAPING = "forebay:reaping"
"""Who holds it repairs the ledger; it expires."""


PROBE = "forebay:probe"
"""What is written to see whether the server takes writes; it expires at once."""


def presence_key(worker: str) -> str:
    """What a worker says of itself: JSON, expiring."""
    return f"forebay:worker:{worker}"


def gateway_channel(gateway: str) -> str:
    """Where a gateway hears of the calls that it watches."""
    return f"forebay:gateway:{gateway}"


def queue_channel(queue: str) -> str:
    """Where the workers of a queue hear of ephemeral calls whose callers have left."""
    return f"forebay:queue:{queue}"


def control_channel(process: str) -> str:
    """Where a process that runs handlers hears of credit and cancellation."""
    return f"forebay:control:{process}"
