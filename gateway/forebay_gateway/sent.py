"""Ephemeral calls that were sent and are not answered: who has them, and which are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from forebay.errors import ForebayError
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_ledger.keys import CallKey
from forebay_ledger.scripts import LEASE_S
from forebay_ledger.unclaimed import UnclaimedCall, Waiting, certainly_lost, probably_lost


class SentCall:
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
        self.sent_at = begun_at
        self.heard_at = begun_at
        self.worker: str | None = None
        """Who said that it has the call."""

    @property
    def id(self) -> str:
        """The call's id."""
        return self.member.call_id

    @property
    def lane(self) -> tuple[str, int]:
        """Calls of one lane reach workers in the order in which they were sent."""
        return self.method.route.queue, self.priority

    def fail(self, error: ForebayError) -> None:
        """Ends the wait with an error, where it has not ended."""
        if not self.reply.done():
            self.reply.set_exception(error)

    def again(self, now: float) -> None:
        """It is sent once more."""
        self.attempt += 1
        self.sent_at = self.heard_at = now
        self.worker = None


class SentCalls:
    """All that a gateway waits for. It does no I/O."""

    def __init__(self) -> None:
        self._calls: dict[str, SentCall] = {}
        self._front: dict[tuple[str, int], float] = {}

    def __iter__(self) -> Iterator[SentCall]:
        return iter(tuple(self._calls.values()))

    @contextmanager
    def waiting(self, call: SentCall) -> Iterator[None]:
        """The call is waited for until the block is left."""
        self._calls[call.id] = call
        try:
            yield
        finally:
            del self._calls[call.id]

    def answered(self, reply: call_pb2.BatchMemberReply, now: float) -> bool:
        """A worker answered; False where nobody waits for it."""
        call = self._heard(reply.call_id, now)
        if call is not None and not call.reply.done():
            call.reply.set_result(reply)
        return call is not None

    def held(self, call_id: str, worker: str, now: float, *, running: bool) -> bool:
        """A worker has the call; False where nobody waits for it.

        Its wait for a worker ends when one runs it: what is merely held may be stuck there.
        """
        call = self._heard(call_id, now)
        if call is None:
            return False
        call.worker = worker
        if running and call.timeout is not None:
            call.timeout.reschedule(None)
        return True

    def silent_queues(self, now: float) -> set[str]:
        """Queues with calls that were not heard of for a lease."""
        return {call.lane[0] for call in self._calls.values() if _is_silent(call, now)}

    def lost(self, queue: str, depth: int, now: float) -> list[SentCall]:
        """Calls of a queue, which holds `depth` messages, that nobody will answer any more."""
        unheld = [call for call in self._calls.values() if call.lane[0] == queue]
        silent = [self._unclaimed(call) for call in unheld if _is_silent(call, now)]
        waiting = Waiting(sum(call.worker is None for call in unheld), tuple(silent))
        lost = (*certainly_lost(waiting), *probably_lost(waiting, depth))
        return [self._calls[call.call.id] for call in lost]

    def _heard(self, call_id: str, now: float) -> SentCall | None:
        call = self._calls.get(call_id)
        if call is not None:
            call.heard_at = now
            self._front[call.lane] = max(call.sent_at, self._front.get(call.lane, 0.0))
        return call

    def _unclaimed(self, call: SentCall) -> UnclaimedCall:
        """The call in the words of the one rule for what is lost; 0: its worker was."""
        return UnclaimedCall(
            CallKey(call.id),
            call.attempt,
            call.method.route.task,
            call.lane[0],
            call.priority,
            0 if call.worker is not None else round(call.sent_at * 1000),
            call.sent_at + LEASE_S < self._front.get(call.lane, 0.0),
        )


def _is_silent(call: SentCall, now: float) -> bool:
    return now - call.heard_at >= LEASE_S
