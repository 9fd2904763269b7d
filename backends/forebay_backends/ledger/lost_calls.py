"""Queued calls that no worker has claimed, and which of them are to be sent again.

A message can vanish between broker and worker: a frozen worker's socket takes it,
a gateway dies before sending it, a broker loses it. The ledger knows which calls wait
for a worker and when their messages were sent. A call is sent again when its message

- is yet to be sent, since its claim lapsed;
- was overtaken: a worker got a call of the same queue and priority that was sent a
  lease later, or more;
- must be missing, since the queue holds fewer messages than the ledger has calls waiting.

Calls may ride on another's message, which names them all. They are not counted with the
messages that must be there, and are sent again when they were overtaken, or when the
queue holds no message at all.

One that is sent again for nothing costs a message: duplicates die at `claim`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forebay_backends.ledger.keys import CallKey, partition_prefix
from forebay_backends.ledger.operations.calls import Argument, Operation, Refused, Reply
from forebay_backends.ledger.scripts import LEASE_S

_LEASE_MS = int(LEASE_S * 1000)
_MOST_A_PARTITION = 100
_WORDS = 7


@dataclass(frozen=True)
class UnclaimedCall:
    """A call that waits for a worker, `sent_ms` of the ledger's clock ago or more; 0: unsent."""

    call: CallKey
    attempt: int
    task: str
    queue: str
    priority: int
    sent_ms: int
    overtaken: bool
    piggybacked: bool = False


@dataclass(frozen=True)
class QueueBacklog:
    """A queue's calls that no worker has: how many with a message of their own, and all of
    those sent a lease ago or more.
    """

    count: int
    old: tuple[UnclaimedCall, ...]

    def __add__(self, other: QueueBacklog) -> QueueBacklog:
        return QueueBacklog(self.count + other.count, self.old + other.old)


def certainly_lost(waiting: QueueBacklog) -> list[UnclaimedCall]:
    """Calls that are to be sent again whatever the queue holds."""
    return [call for call in waiting.old if call.overtaken or not call.sent_ms]


def probably_lost(waiting: QueueBacklog, depth: int) -> list[UnclaimedCall]:
    """The others that are to be sent again.

    `depth` is how many messages the queue holds, those of the certainly lost included:
    they have been sent again.
    """
    certain = certainly_lost(waiting)
    others = [call for call in waiting.old if call not in certain and not call.piggybacked]
    missing = waiting.count - depth
    piggybacked = [
        call for call in waiting.old if call not in certain and call.piggybacked and not depth
    ]
    return sorted(others, key=lambda call: call.sent_ms)[: max(0, missing)] + piggybacked


def unclaimed(partition: int, queues: Sequence[str]) -> Operation[dict[str, QueueBacklog]]:
    """What waits in each of the queues, of a partition's calls."""

    def parse(reply: Reply) -> dict[str, QueueBacklog]:
        return {queue: _backlog(queue, found) for queue, found in zip(queues, reply, strict=True)}

    arguments: tuple[Argument, ...] = (_LEASE_MS, _MOST_A_PARTITION, *queues)
    return Operation("unclaimed", partition_prefix(partition), arguments, parse)


def mark_resent(call: UnclaimedCall) -> Operation[Refused | None]:
    """The call's message was sent again."""
    return Operation(
        "mark_resent", call.call.partition, (str(call.call), call.queue), lambda reply: None
    )


def _backlog(queue: str, found: Sequence[bytes] | bytes) -> QueueBacklog:
    count, *words = (word.decode() for word in found if isinstance(word, bytes))
    calls = (words[i : i + _WORDS] for i in range(0, len(words), _WORDS))
    return QueueBacklog(
        int(count),
        tuple(
            UnclaimedCall(
                CallKey.parse(key),
                int(attempt),
                task,
                queue,
                int(priority),
                int(float(sent)),
                overtaken == "1",
                piggybacked == "1",
            )
            for key, sent, attempt, task, priority, overtaken, piggybacked in calls
        ),
    )
