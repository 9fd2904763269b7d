"""Presence of workers: each writes an expiring key.

A worker is live until its time in the index, by the ledger's clock. A worker that hangs or is cut
off stops renewing it, so it counts as live for a lease at most. The keys last longer: they expire
by the server's clock, which may be stepped.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from forebay_backends.ledger.client import PROBE_MS, Ledger
from forebay_backends.ledger.keys import PRESENCE_INDEX, presence_key
from forebay_backends.ledger.operations.fleet import presences
from forebay_backends.ledger.scripts import LEASE_S

_KEPT_S = 24 * 3600

MAX_LISTED = 64
"""A presence is read once a second by each gateway, so it must stay small."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunningTask:
    """A task in a slot of a worker: its durable calls (none for a batch, or a plain task).

    `run_ms` is how long it had run when the worker announced it.
    """

    task: str
    run_ms: int
    calls: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkerPresence:
    """A worker: its queues, its tasks, and how many calls it runs at a time.

    `begun` counts the tasks that it has begun since its start, by name, and `running` those that
    run now. `held` counts the messages that it has taken from each queue and not finished: they
    wait for a slot, or run. `serves` has, for each task of a method, the method and the fingerprint
    of its messages in the worker. `longest_running` are the tasks that have run for longest, at
    most `MAX_LISTED`. `signing_keys` are the ids of its keys. `seen_ms` is when it announced
    itself, by the ledger's clock.
    """

    worker: str
    queues: tuple[str, ...]
    tasks: tuple[str, ...]
    slots: int
    pool: str
    version: str
    begun: dict[str, int] = field(default_factory=dict, hash=False)
    serves: dict[str, tuple[str, str]] = field(default_factory=dict, hash=False)
    running: dict[str, int] = field(default_factory=dict, hash=False)
    held: dict[str, int] = field(default_factory=dict, hash=False)
    longest_running: tuple[RunningTask, ...] = ()
    signing_keys: tuple[str, ...] = ()
    seen_ms: int = field(default=0, compare=False)


async def announce(ledger: Ledger, presence: WorkerPresence) -> float:
    """Writes the worker's presence for the time of a lease; raises BackendUnavailable.

    Returns the time by the ledger's clock, in seconds.
    """
    # Two round trips: the index is ordered by the ledger's clock, not ours.
    now_s = await ledger.now_ms() / 1000
    written = asdict(presence)
    del written["seen_ms"]  # the index has it
    index, text = ledger.name(PRESENCE_INDEX), json.dumps(written)
    *_, gone = await ledger.pipeline(
        lambda pipeline: (
            pipeline.set(ledger.name(presence_key(presence.worker)), text, ex=_KEPT_S)
            .zadd(index, {presence.worker: now_s + LEASE_S})
            .zrangebyscore(index, "-inf", now_s - LEASE_S)
        )
    )
    for worker in gone:
        await withdraw(ledger, worker.decode())
    return now_s


async def withdraw(ledger: Ledger, worker: str) -> None:
    """Deletes the worker's presence; raises BackendUnavailable."""
    await ledger.within_timeout(ledger.redis.zrem(ledger.name(PRESENCE_INDEX), worker))
    await ledger.within_timeout(ledger.redis.delete(ledger.name(presence_key(worker))))


async def live_workers(ledger: Ledger) -> tuple[WorkerPresence, ...]:
    """The workers that are live now; raises BackendUnavailable."""
    reading, announced = await ledger.read_clock_and(presences())
    # In doubt, no process has swept: presences are from before an outage.
    return _live(announced, reading.now_ms) if reading.is_certain else ()


async def survey(ledger: Ledger) -> tuple[float, tuple[WorkerPresence, ...]]:
    """The ledger's clock minus `time.monotonic` in ms, and the live workers.

    Raises BackendUnavailable, also if the ledger takes no writes.
    """
    await ledger.known_ms()  # waits while the clock is in doubt
    before_s = time.monotonic()
    reading, announced = await ledger.read_clock_and(presences(probe_ms=PROBE_MS))
    here_s = (before_s + time.monotonic()) / 2
    return reading.now_ms - here_s * 1000, _live(announced, reading.now_ms)


def _live(announced: Iterable[tuple[float, bytes]], now_ms: int) -> tuple[WorkerPresence, ...]:
    found = (
        _presence(text, round((until_s - LEASE_S) * 1000))
        for until_s, text in announced
        if until_s * 1000 > now_ms
    )
    return tuple(presence for presence in found if presence is not None)


def consumed_queues(workers: Iterable[WorkerPresence]) -> dict[str, int]:
    """The queues that live workers consume, and their slots."""
    slots: dict[str, int] = {}
    for worker in workers:
        for queue in worker.queues:
            slots[queue] = slots.get(queue, 0) + worker.slots
    return slots


def _counts(said: Any) -> dict[str, int]:
    return {str(task): int(count) for task, count in dict(said).items()}


def _presence(text: bytes | str, seen_ms: int) -> WorkerPresence | None:
    """Parses a presence; None if a worker of another version wrote another format."""
    try:
        said = json.loads(text)
        return WorkerPresence(
            worker=said["worker"],
            queues=tuple(said["queues"]),
            tasks=tuple(said["tasks"]),
            slots=said["slots"],
            pool=said["pool"],
            version=said["version"],
            begun=_counts(said.get("begun", {})),
            running=_counts(said.get("running", {})),
            held=_counts(said.get("held", {})),
            serves={
                str(task): (str(method), str(fingerprint))
                for task, (method, fingerprint) in dict(said.get("serves", {})).items()
            },
            longest_running=tuple(
                RunningTask(str(one["task"]), int(one["run_ms"]), tuple(map(str, one["calls"])))
                for one in said.get("longest_running", ())
            ),
            signing_keys=tuple(map(str, said.get("signing_keys", ()))),
            seen_ms=seen_ms,
        )
    except (KeyError, TypeError, ValueError):
        _log.warning("a worker's presence can't be read: %r", text[:200])
        return None
