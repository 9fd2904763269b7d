"""Ephemeral calls that were sent and are not answered: who has them, and which are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from forebay.errors import ForebayError
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lost_calls import certainly_lost, probably_lost
from forebay_backends.ledger.operations.maintenance import QueueBacklog, UnclaimedCall
from forebay_backends.ledger.scripts import LEASE_S


class EphemeralCall:
    """One call; times are s of the monotonic clock."""

    def __init__(
        self, method: Method, priority: int, member: call_pb2.BatchMember, begun_at: float
    ) -> None:
        self.method = method
        self.priority = priority
        self.member = member
        self.begun_at = begun_at
        self.reply: asyncio.Future[call_pb2.BatchMemberReply]
        self.reply = asyncio.get_running_loop().create_future()
        self.timeout: asyncio.Timeout | None = None
        """Of the wait for a worker."""
        self.attempt = 1
        self.batch: Batch | None = None
        """What it was sent with; None while it gathers."""

    @property
    def id(self) -> str:
        """The call's id."""
        return self.member.call_id

    def fail(self, error: ForebayError) -> None:
        """Ends the wait with an error, where it has not ended."""
        if not self.reply.done():
            self.reply.set_exception(error)


class Batch:
    """Calls of one method and priority, on their way in one message.

    `calls` are those that still wait; it is over when there are none.
    """

    def __init__(self, batch_id: str, calls: Sequence[EphemeralCall], now: float) -> None:
        self.id = batch_id
        self.method = calls[0].method
        self.priority = calls[0].priority
        self.calls = {call.id: call for call in calls}
        self.sent_at = self.heard_at = now
        self.worker: str | None = None
        """Who said that it has the batch."""
        for call in calls:
            call.batch = self

    @property
    def lane(self) -> tuple[str, int]:
        """Messages of one lane reach workers in the order in which they were sent."""
        return self.method.route.queue, self.priority


class InFlight:
    """All that a gateway waits for. It does no I/O."""

    def __init__(self) -> None:
        self._calls: dict[str, EphemeralCall] = {}
        self._batches: dict[str, Batch] = {}
        self._front: dict[tuple[str, int], float] = {}

    def __iter__(self) -> Iterator[EphemeralCall]:
        return iter(tuple(self._calls.values()))

    def batch(self, batch_id: str) -> Batch | None:
        """The batch of that id; None where nobody waits for any of its calls."""
        return self._batches.get(batch_id)

    def add(self, batch: Batch) -> None:
        """The batch is sent."""
        self._batches[batch.id] = batch
        self._calls.update(batch.calls)

    def remove(self, call: EphemeralCall) -> Batch | None:
        """The call is waited for no more; its batch, where that is over with it."""
        batch = call.batch
        if batch is None or batch.calls.pop(call.id, None) is None:
            return None
        del self._calls[call.id]
        if batch.calls:
            return None
        del self._batches[batch.id]
        return batch

    def heard(self, call_id: str, now: float) -> EphemeralCall | None:
        """A worker has said something of the call; None where nobody waits for it."""
        call = self._calls.get(call_id)
        if call is not None and call.batch is not None:
            batch = call.batch
            batch.heard_at = now
            self._front[batch.lane] = max(batch.sent_at, self._front.get(batch.lane, 0.0))
        return call

    def held(self, call_id: str, worker: str, now: float, *, running: bool) -> bool:
        """A worker has the call; False where nobody waits for it.

        Its wait for a worker ends when one runs it: what is merely held may be stuck there.
        """
        call = self.heard(call_id, now)
        if call is None or call.batch is None:
            return False
        call.batch.worker = worker
        if running and call.timeout is not None:
            call.timeout.reschedule(None)
        return True

    def silent_queues(self, now: float) -> set[str]:
        """Queues with batches that were not heard of for a lease."""
        return {one.lane[0] for one in self._batches.values() if _is_silent(one, now)}

    def lost(self, queue: str, depth: int, now: float) -> list[Batch]:
        """Batches of a queue, which holds `depth` messages, that nobody will answer any more."""
        sent = [one for one in self._batches.values() if one.lane[0] == queue]
        silent = [self._unclaimed(one) for one in sent if _is_silent(one, now)]
        waiting = QueueBacklog(sum(one.worker is None for one in sent), tuple(silent))
        lost = (*certainly_lost(waiting), *probably_lost(waiting, depth))
        return [self._batches[one.call.id] for one in lost]

    def _unclaimed(self, batch: Batch) -> UnclaimedCall:
        """The batch in the words of the one rule for what is lost; 0: its worker was."""
        return UnclaimedCall(
            CallKey(batch.id),
            1,
            batch.method.route.task,
            batch.lane[0],
            batch.priority,
            0 if batch.worker is not None else round(batch.sent_at * 1000),
            batch.sent_at + LEASE_S < self._front.get(batch.lane, 0.0),
        )


def _is_silent(batch: Batch, now: float) -> bool:
    return now - batch.heard_at >= LEASE_S
