"""Ephemeral calls that wait for a reply: which worker has each, and which are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from forebay.errors import ForebayError
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lost_calls import certainly_lost, probably_lost
from forebay_backends.ledger.operations.maintenance import QueueBacklog, UnclaimedCall
from forebay_backends.ledger.scripts import LEASE_S, RENEWAL_INTERVAL_S
from forebay_gateway.fair_queues.fair_queue import QueueEntry
from forebay_gateway.rpc.batching import BatchQueue
from forebay_gateway.rpc.large_sends import LARGE_ABOVE_BYTES
from forebay_gateway.rpc.policy import CALL_CHECK_INTERVAL_S

if TYPE_CHECKING:
    from forebay_backends.telemetry.rpc_span import RpcSpan

_CHECKED_S = RENEWAL_INTERVAL_S
"""Batches that no worker has reported for so long are checked."""
_MOST_MISSES = int((LEASE_S - _CHECKED_S) / CALL_CHECK_INTERVAL_S)
"""If more checks in a row miss a batch, no worker has reported it for a lease: it is lost."""


class EphemeralCall(QueueEntry):
    """One ephemeral call; times are seconds of the monotonic clock. `submit` sends it."""

    def __init__(
        self,
        method: Method,
        priority: int,
        batch_queue: BatchQueue[EphemeralCall],
        member: call_pb2.BatchMember,
        request: bytes,
        begun_at: float,
        submit: Callable[[EphemeralCall], None],
        span: RpcSpan | None = None,
        owner: str = "",
        caller: bytes = b"",
    ) -> None:
        self.owner = self.tenant = owner
        self.caller = caller
        """A serialized `Caller`; empty where authentication is off."""
        self.queue = method.route.queue
        self.method = method
        self.priority = priority
        self.batch_queue = batch_queue
        self.member = member
        """Does not contain the request, which would be a second copy while the call waits."""
        self.id = member.call_id
        self.request = request
        self.size = len(request)
        """The bytes of the request."""
        self.is_large = self.size > LARGE_ABOVE_BYTES
        self.begun_at = begun_at
        self._submit = submit
        self.span = span
        self.reply: asyncio.Future[call_pb2.BatchMemberReply]
        self.reply = asyncio.get_running_loop().create_future()
        self.queue_wait: asyncio.TimerHandle | None = None
        """The timer that ends the wait for a worker."""
        self.attempt = 1
        self.batch: Batch | None = None
        """The batch that the call was sent in; None until it is sent."""

    def send(self) -> None:
        self._submit(self)

    def cost(self) -> float:
        return 1 if self.is_large else 1 / self.batch_queue.size_limit

    @property
    def key(self) -> CallKey:
        """The call's id and its owner."""
        return CallKey(self.id, self.owner)

    def fail(self, error: ForebayError) -> None:
        """Ends the call with an error, unless it has ended."""
        if not self.reply.done():
            self.reply.set_exception(error)


class Batch:
    """Calls of one owner, method and priority that were sent in one message.

    `calls` are those that still wait for a reply; the batch is done when none does.
    """

    def __init__(self, key: CallKey, calls: Sequence[EphemeralCall], now: float) -> None:
        self.key = key
        self.id = key.task_id
        self.method = calls[0].method
        self.priority = calls[0].priority
        self.caller = calls[0].caller
        """The caller of its calls, but for those that another caller made."""
        self.calls = {call.id: call for call in calls}
        self.sent_at = self.last_seen_at = now
        self.expires_ms = max(call.member.begin_by_ms for call in calls)
        """From when on, by the ledger's clock, none of the calls begins."""
        self.worker: str | None = None
        """The worker that last sent a heartbeat for the batch."""
        self.misses = 0
        """How many checks in a row have missed its message."""
        for call in calls:
            call.batch = self

    @property
    def queue(self) -> str:
        """The Celery queue that it was sent to."""
        return self.method.route.queue


class InFlight:
    """All ephemeral calls of a gateway that wait for a reply. Pure."""

    def __init__(self) -> None:
        self._calls: dict[str, EphemeralCall] = {}
        self._batches: dict[str, Batch] = {}
        # By queue and priority: when the newest of the batches that workers have reported was
        # sent. A queue delivers messages of one priority in order, so a worker has already
        # received every older batch: if none has reported it, it is lost.
        self._newest_claimed_sent: dict[tuple[str, int], float] = {}

    def __iter__(self) -> Iterator[EphemeralCall]:
        return iter(tuple(self._calls.values()))

    def batch(self, batch_id: str) -> Batch | None:
        """The batch of that id; None if none of its calls waits for a reply."""
        return self._batches.get(batch_id)

    def add(self, batch: Batch) -> None:
        """Adds a batch that is being sent."""
        self._batches[batch.id] = batch
        self._calls.update(batch.calls)

    def remove(self, call: EphemeralCall) -> Batch | None:
        """Removes the call; returns its batch if that is done now."""
        batch = call.batch
        if batch is None or batch.calls.pop(call.id, None) is None:
            return None
        del self._calls[call.id]
        if batch.calls:
            return None
        del self._batches[batch.id]
        return batch

    def touch(self, call_id: str, now: float) -> EphemeralCall | None:
        """Records that the call's worker is alive; returns the call, None if it does not wait."""
        call = self._calls.get(call_id)
        if call is not None and call.batch is not None:
            batch = call.batch
            batch.last_seen_at, batch.misses = now, 0
            key = batch.queue, batch.priority
            newest = self._newest_claimed_sent.get(key, 0.0)
            self._newest_claimed_sent[key] = max(batch.sent_at, newest)
        return call

    def on_heartbeat(self, call_id: str, worker: str, now: float, *, running: bool) -> bool:
        """Records a worker's heartbeat for the call; False if no call of the id waits.

        Only a worker that is `running` the call ends its queue wait: a call that a worker has
        reserved may still be stuck there.
        """
        call = self.touch(call_id, now)
        if call is None or call.batch is None:
            return False
        call.batch.worker = worker
        if running and call.queue_wait is not None:
            call.queue_wait.cancel()
        return True

    def stale_queues(self, now: float) -> set[str]:
        """The queues of batches that no worker has reported for a while: `lost` checks those."""
        return {one.queue for one in self._batches.values() if _silent_s(one, now) >= _CHECKED_S}

    def lost(self, queue: str, depth: int, now: float) -> list[Batch]:
        """The lost batches of a queue that holds `depth` messages.

        To be called every `CALL_CHECK_INTERVAL_S` while workers' reports can come; `forget_misses`
        at other times. A worker may have taken a missed message just now, and report it in a second
        or two. After an outage, all workers report again. So a batch is lost if one check after
        another has missed it; it is not enough that its worker was silent.
        """
        sent = [one for one in self._batches.values() if one.queue == queue]
        old = [self._unclaimed(one) for one in sent if _silent_s(one, now) >= _CHECKED_S]
        backlog = QueueBacklog(sum(one.worker is None for one in sent), tuple(old))
        missed = (*certainly_lost(backlog), *probably_lost(backlog, depth))
        names = {one.call.task_id for one in missed}
        for one in sent:
            one.misses = one.misses + 1 if one.id in names else 0
        return [one for one in sent if one.misses > _MOST_MISSES]

    def forget_misses(self) -> None:
        """Makes the checks begin again; for times at which no worker can report."""
        for batch in self._batches.values():
            batch.misses = 0

    def _unclaimed(self, batch: Batch) -> UnclaimedCall:
        """The batch as `lost_calls` takes it. A sending time of 0: its worker has vanished."""
        newest = self._newest_claimed_sent.get((batch.queue, batch.priority), 0.0)
        return UnclaimedCall(
            batch.key,
            1,
            batch.method.route.task,
            batch.queue,
            batch.priority,
            0 if batch.worker is not None else round(batch.sent_at * 1000),
            batch.sent_at + LEASE_S < newest,
        )


def _silent_s(batch: Batch, now: float) -> float:
    """How long ago the batch was sent, or a worker last reported it."""
    return now - batch.last_seen_at
