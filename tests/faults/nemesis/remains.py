"""The keys that remain in the server when all calls have ended: reads them, and checks them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import redis

from tests.faults.nemesis.plans import QUEUES

_KEY = re.compile(r"(forebay:\{\d+\}):([a-z_]+)(?::(.*))?", re.DOTALL)
_OF_CALLS = {"call", "items", "observers"}
_ALWAYS = (
    "forebay:{fleet}:workers",
    "forebay:{fleet}:worker:",
    "forebay:{fleet}:reaping",
    "forebay:{fleet}:starting",
    "forebay:{fleet}:probe",
    "_kombu.binding",
)
"""Keys that don't grow with calls: workers' presence, the elected processes, kombu's bindings."""
_EXPIRING = ("newest_claimed_sent", "sweep_state")
"""A partition's keys about queues and itself: at most one for each queue, for a minute."""
_UNACKNOWLEDGED = ("unacked", "unacked_index", "unacked_mutex")
"""kombu's copies of messages that a killed worker had taken; kombu returns them to the queue,
and `claim` rejects them."""


@dataclass
class Partition:
    """One partition: members of its indexes by name, and its calls' keys by kind."""

    indexes: dict[str, set[str]] = field(default_factory=dict)
    calls: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    sizes: int = 0
    bytes: int = 0


@dataclass
class Remains:
    """All keys of the server."""

    partitions: dict[str, Partition]
    others: Sequence[str]


def read_remains(server: redis.Redis) -> Remains:
    """Reads everything."""
    partitions: dict[str, Partition] = defaultdict(Partition)
    others = []
    for raw in server.scan_iter(count=1000):
        key = raw.decode()
        match = _KEY.fullmatch(key)
        if match is None:
            others.append(key)
            continue
        partition, kind, rest = partitions[match[1]], match[2], match[3]
        if kind in _OF_CALLS or kind == "inputs":
            partition.calls[kind].add(rest)
        elif kind == "bytes":
            partition.bytes = int(server.get(raw) or 0)  # type: ignore[arg-type]
        else:
            name = kind if rest is None else f"{kind}:{rest}"
            partition.indexes[name] = _members(server, raw)
            if kind == "size":
                partition.sizes = sum(map(int, server.hvals(raw)))  # type: ignore[arg-type]
    return Remains(dict(partitions), others)


def _members(server: redis.Redis, key: bytes) -> set[str]:
    is_sorted = server.type(key) == b"zset"
    members: Iterable[bytes] = server.zrange(key, 0, -1) if is_sorted else server.hkeys(key)  # type: ignore[assignment]
    return {member.decode() for member in members}


def unfit(remains: Remains, records: Mapping[str, str]) -> list[str]:
    """The keys that should not exist, given the states of all calls that have a record."""
    return [
        *(what for name, partition in remains.partitions.items() for what in _of(name, partition)),
        *(
            f"a record of {call}, which nobody made"
            for partition in remains.partitions.values()
            for call in partition.calls["call"]
            if call not in records
        ),
        *(f"a key of {key!r}" for key in remains.others if not _is_known(key)),
    ]


def _is_known(key: str) -> bool:
    return key.startswith(_ALWAYS) or key in _UNACKNOWLEDGED


def _of(name: str, partition: Partition) -> Iterable[str]:
    records = partition.calls["call"]
    for kind in ("items", "observers"):
        for call in partition.calls[kind] - records:
            yield f"{name}:{kind} of {call}, which has no record"
    for call in partition.calls["inputs"]:
        yield f"{name}:in of {call}, which is over"
    for index, members in partition.indexes.items():
        if index in ("calls", "done", "size"):
            for call in members ^ records:
                yield f"{name}:{index} and the records differ by {call}"
        elif index == "clock":
            continue  # one of a partition, for a day after its last sweep
        elif index in _EXPIRING:
            if len(members) > len(QUEUES):
                yield f"{name}:{index} holds {sorted(members)}"
        else:
            for call in members:
                yield f"{name}:{index} holds {call}, which is over"
    if records and not {"calls", "done", "size"} <= partition.indexes.keys():
        yield f"{name} has records, and of the indexes only {sorted(partition.indexes)}"
    if partition.bytes != partition.sizes:
        yield f"{name}:bytes is {partition.bytes}, the sum of sizes {partition.sizes}"
