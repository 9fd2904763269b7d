"""Calls that live in this gateway's memory: sent with their request, answered by one publish.

They leave no record. One that is not answered within its route's queue wait
fails with UNAVAILABLE; its caller may call again, where the method may be run
again.
"""

from __future__ import annotations

import asyncio
import logging

from forebay.deadline import Deadline
from forebay.errors import Draining, ForebayError, NoWorkers, QueueWait
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_gateway.admission import RETRY_AFTER_S
from forebay_gateway.dispatch import Dispatcher
from forebay_gateway.fleet import Fleet
from forebay_ledger.task_messages import batch_message

_log = logging.getLogger(__name__)


class EphemeralCalls:
    """The ephemeral calls that wait for their answer."""

    def __init__(self, dispatcher: Dispatcher, fleet: Fleet) -> None:
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._waiting: dict[str, asyncio.Future[call_pb2.BatchMemberReply]] = {}

    def on_reply(self, payload: bytes) -> None:
        """Takes what came over the gateway's channel."""
        for member in call_pb2.BatchReply.FromString(payload).members:
            waiting = self._waiting.get(member.call_id)
            if waiting is None:
                _log.info("a reply to a call that nobody waits for: %s", member.call_id)
            elif not waiting.done():
                waiting.set_result(member)

    def cut(self) -> None:
        """Ends what still waits with `Draining`."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(
                    Draining("the gateway is shutting down", retry_after_s=RETRY_AFTER_S)
                )

    async def call(
        self,
        method: Method,
        member: call_pb2.BatchMember,
        *,
        channel: str,
        priority: int,
        deadline: Deadline,
        queue_wait_s: float,
    ) -> call_pb2.BatchMemberReply:
        """Sends the call and waits for its answer; raises a ForebayError."""
        if deadline.timeout_s() is not None:
            member.deadline_ms = self._fleet.ledger_time_ms(deadline.remaining_s())
        batch = call_pb2.Batch(members=[member], reply_channel=channel)
        message = batch_message(
            member.call_id,
            batch.SerializeToString(),
            task=method.route.task,
            queue=method.route.queue,
            priority=priority,
        )
        waiting: asyncio.Future[call_pb2.BatchMemberReply]
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[member.call_id] = waiting
        try:
            await self._dispatcher.send(message)
            async with asyncio.timeout(queue_wait_s):
                return await waiting
        except TimeoutError:
            raise self._unanswered(method.route.queue, queue_wait_s) from None
        finally:
            del self._waiting[member.call_id]

    def _unanswered(self, queue: str, queue_wait_s: float) -> ForebayError:
        if self._fleet.consumes(queue):
            return QueueWait(
                f"no worker answered within {queue_wait_s:g} s", retry_after_s=RETRY_AFTER_S
            )
        return NoWorkers(
            f"no live worker consumes the queue {queue!r}", retry_after_s=RETRY_AFTER_S
        )
