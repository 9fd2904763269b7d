"""Names of calls, of their keys in the ledger, and of channels.

Every key of a call, and every index that it is in, shares the hash tag of one
partition, so a script never touches two and a Redis Cluster can hold them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass

from forebay.metadata import CALL_ID_FORM
from forebay_backends.ledger import tenant_names
from forebay_backends.ledger.tenant_names import is_tenant

PARTITIONS = 16
"""How many partitions a ledger has. Fixed: it decides where a call's keys are."""


def is_call_id(text: str) -> bool:
    """Whether a caller may use the text as a call id."""
    return CALL_ID_FORM.fullmatch(text) is not None


@dataclass(frozen=True)
class CallKey:
    """A call's name in the ledger: its owner and its id.

    The owner is the tenant whose call it is, empty where authentication is off. So two tenants may
    use the same id, and neither can tell whether the other does.
    """

    id: str
    owner: str = ""

    def __str__(self) -> str:
        return f"{self.owner}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> CallKey:
        """The reverse of `str`; raises ValueError for anything else."""
        owner, slash, call_id = text.partition("/")
        if not slash or not is_call_id(call_id) or not cls.is_owner(owner):
            raise ValueError(f"{text!r} is not a call key; expected OWNER/ID")
        return cls(call_id, owner)

    @staticmethod
    def is_owner(text: str) -> bool:
        """Whether a call can have the owner: the name of a tenant, or nothing."""
        return not text or is_tenant(text)

    @property
    def task_id(self) -> str:
        """The id of its Celery task, which Celery tells apart from all others by."""
        return str(self) if self.owner else self.id

    @classmethod
    def of_task_id(cls, text: str) -> CallKey:
        """The reverse of `task_id`; raises ValueError for anything else."""
        return cls.parse(text if "/" in text else f"/{text}")

    @property
    def partition(self) -> str:
        """The prefix of all keys in the call's partition."""
        return partition_prefix(self.partition_number)

    @property
    def partition_number(self) -> int:
        """The number of the partition, from 0 to `PARTITIONS` - 1."""
        return partition_of(str(self))

    @property
    def record(self) -> str:
        """The hash of the call's record."""
        return f"{self.partition}:call:{self}"

    @property
    def items(self) -> str:
        """The stream of the call's stored items; ids are ordinal + 1."""
        return f"{self.partition}:items:{self}"

    @property
    def inputs(self) -> str:
        """The stream of the call's request messages; ids are ordinal + 1."""
        return f"{self.partition}:inputs:{self}"

    @property
    def parked(self) -> str:
        """The name of a stream while a message for it is refused, within a transaction."""
        return f"{self.partition}:parked:{self}"


def partition_of(text: str) -> int:
    """The number of the partition that holds what the text names: a call, or a cache key."""
    return zlib.crc32(text.encode()) % PARTITIONS


def partition_prefix(number: int) -> str:
    """The prefix of all keys of a partition."""
    return f"forebay:{{{number}}}"


def delayed_keys() -> list[str]:
    """The keys of which one exists while a call is delayed."""
    return [f"{partition_prefix(number)}:delayed" for number in range(PARTITIONS)]


def waiting_keys(queues: Collection[str]) -> list[str]:
    """The keys of which one exists while a call of the queues waits for a worker.

    Also those of the counts of piggybacked calls, which the repair clears in an empty queue.
    """
    names = ["piggybacked", *(f"waiting:{queue}" for queue in queues)]
    return [f"{partition_prefix(number)}:{name}" for number in range(PARTITIONS) for name in names]


FLEET = "forebay:{fleet}"
"""The prefix of the keys about processes, which have one hash tag because they are used together.

A script takes it as a partition's prefix.
"""

PRESENCE_INDEX = f"{FLEET}:workers"
"""Sorted set of worker ids by the time (ledger's clock, s) until which they are live."""

REAPING = f"{FLEET}:reaping"
"""The process that sets this key sweeps the ledger; the key expires."""

STARTING = f"{FLEET}:starting"
"""The gateway that sets this key looks for delayed calls that are due; the key expires."""

PROBE = f"{FLEET}:probe"
"""Written to see whether the server takes writes; expires after a second."""


def presence_key(worker: str) -> str:
    """A worker's presence: JSON, expiring."""
    return f"{FLEET}:worker:{worker}"


def begun_key(message_id: str) -> str:
    """The mark on a message whose calls must run at most once; see `begun_messages.py`."""
    return f"{FLEET}:begun:{message_id}"


def gateway_channel(gateway: str) -> str:
    """The channel on which a gateway receives events of the calls that it watches."""
    return f"forebay:gateway:{gateway}"


def queue_channel(queue: str) -> str:
    """The channel that tells a queue's workers which ephemeral calls lost their callers."""
    return f"forebay:queue:{queue}"


def control_channel(process: str) -> str:
    """The channel on which a process that runs handlers receives credit and cancellations."""
    return f"forebay:control:{process}"


_PARTS = {
    "CALL": f"(?:{tenant_names.PATTERN})?/{CALL_ID_FORM.pattern}",
    "OWNER": tenant_names.PATTERN,
    "QUEUE": ".+",
    "WORKER": ".+",
    "MESSAGE": ".+",
    "DIGEST": "[0-9a-f]{64}",
    "N": r"\d+",
}
"""The words in patterns of keys, and the text that each stands for."""


@dataclass(frozen=True)
class KeyPattern:
    """A kind of key in the ledger.

    `pattern` has N for the partition, CALL for `OWNER/ID`, OWNER for a tenant, DIGEST for a SHA-256
    in hexadecimal, QUEUE, WORKER and MESSAGE for names; `type` is that of the TYPE command.
    """

    pattern: str
    type: str
    writer: str
    lifetime: str
    meaning: str

    def matches(self, key: str) -> bool:
        text = re.sub("|".join(_PARTS), lambda part: _PARTS[part[0]], re.escape(self.pattern))
        return re.fullmatch(text, key) is not None


KEYS = (
    KeyPattern(
        "forebay:{N}:call:CALL", "hash", "all", "the call's retention", "The record of a call"
    ),
    KeyPattern(
        "forebay:{N}:inputs:CALL",
        "stream",
        "gateway",
        "until the call ends",
        "The requests of a streaming call; an entry's id is its ordinal + 1",
    ),
    KeyPattern(
        "forebay:{N}:items:CALL",
        "stream",
        "worker",
        "as the record",
        "The items; an entry's id is its ordinal + 1",
    ),
    KeyPattern(
        "forebay:{N}:parked:CALL",
        "stream",
        "all",
        "within a transaction",
        "A stream that refuses a message; see `large_messages.py`",
    ),
    KeyPattern(
        "forebay:{N}:observers:CALL",
        "set",
        "gateway",
        "a lease, unless it is renewed",
        "Channels of gateways that get the call's frames without being watchers",
    ),
    KeyPattern(
        "forebay:{N}:cache:DIGEST",
        "string",
        "all",
        "while the call is active, and the cache's ttl after it",
        "By cache key: the call that identical calls share, and the gateway's proof of it",
    ),
    KeyPattern("forebay:{N}:calls", "zset", "all", "", "All calls, by `created_at`"),
    KeyPattern(
        "forebay:{N}:calls:OWNER",
        "zset",
        "all",
        "",
        "The calls of a tenant, by `created_at`; none for calls without an owner",
    ),
    KeyPattern(
        "forebay:{N}:due", "zset", "all", "", "Active calls, by when the sweep must review them"
    ),
    KeyPattern("forebay:{N}:delayed", "zset", "all", "", "Delayed calls, by when they are due"),
    KeyPattern(
        "forebay:{N}:delayed_of",
        "hash",
        "all",
        "",
        "By tenant: how many of its calls are delayed; none for calls without an owner",
    ),
    KeyPattern("forebay:{N}:done", "zset", "all", "", "Ended calls, by the end of their retention"),
    KeyPattern(
        "forebay:{N}:ends",
        "zset",
        "all",
        "",
        "Ends of calls whose `on_end` task is not told yet, by when to send each; see `ends.py`",
    ),
    KeyPattern("forebay:{N}:size", "hash", "all", "", "Bytes that each ended call holds"),
    KeyPattern("forebay:{N}:bytes", "string", "all", "", "Bytes that all ended calls hold"),
    KeyPattern(
        "forebay:{N}:waiting:QUEUE",
        "zset",
        "all",
        "",
        "Queued calls without a worker, by when their message was sent; 0: it must be sent again",
    ),
    KeyPattern(
        "forebay:{N}:piggybacked",
        "hash",
        "all",
        "",
        "By queue: how many waiting calls are named by another call's message",
    ),
    KeyPattern(
        "forebay:{N}:newest_claimed_sent",
        "hash",
        "worker",
        "four leases",
        "By queue and priority: when the newest message that a worker received was sent",
    ),
    KeyPattern(
        "forebay:{N}:sweep_state",
        "hash",
        "reaper",
        "four leases",
        "`since`: start of uninterrupted sweeping; `last`: the last sweep",
    ),
    KeyPattern(
        "forebay:{N}:clock",
        "hash",
        "reaper",
        "a day, unless it is renewed",
        "`offset`: from the server's clock to the partition's; `last`: its time at the last sweep",
    ),
    KeyPattern(
        "forebay:{N}:quota:OWNER",
        "hash",
        "gateway",
        "a lease, and until the bucket is full",
        "By gateway: the end of its lease (ms) and its shares of a tenant's limits; `tokens`: of "
        "the bucket, and when; `tight`: until when nothing is kept in reserve; `recalled`: when "
        "gateways were last told to give back",
    ),
    KeyPattern(PRESENCE_INDEX, "zset", "worker", "", "Workers, by when their presence expires (s)"),
    KeyPattern(
        f"{FLEET}:worker:WORKER",
        "string",
        "worker",
        "a day, unless it is renewed",
        "Presence of a worker, JSON",
    ),
    KeyPattern(
        f"{FLEET}:begun:MESSAGE",
        "string",
        "all",
        "until the message expires, and a minute",
        "By message of ephemeral calls that may not run again: the mark of the worker that began "
        "it, or `withdrawn` by its gateway; see `begun_messages.py`",
    ),
    KeyPattern(REAPING, "string", "reaper", "under a second", "The process that is sweeping"),
    KeyPattern(
        STARTING, "string", "gateway", "under a second", "The gateway that starts delayed calls"
    ),
    KeyPattern(PROBE, "string", "all", "a second", "Shows that the server takes writes"),
)
"""All keys of a ledger. Those without a lifetime stay, and shrink as calls are dropped."""
