"""Calls that live in this gateway's memory: sent with their request, answered by one publish.

They leave no record. One that is not answered within its route's queue wait
fails with UNAVAILABLE; its caller may call again, where the method may be run
again.
"""

from __future__ import annotations

import asyncio
import logging
import time

from forebay.errors import Draining, ForebayError, NoWorkers, QueueWait
from forebay.metadata import CALL_ID, Pairs, to_pairs
from forebay.v1 import call_pb2
from forebay_gateway.admission import RETRY_AFTER_S
from forebay_gateway.fleet import Fleet
from forebay_gateway.ids import uuid7
from forebay_gateway.incoming import Context, Incoming
from forebay_gateway.outcomes import failure_of, times
from forebay_gateway.policy import queue_wait_s
from forebay_gateway.status import abort
from forebay_ledger.dispatch import Dispatcher
from forebay_ledger.settings import Settings
from forebay_ledger.task_messages import batch_message

_log = logging.getLogger(__name__)


class EphemeralCalls:
    """Serves ephemeral calls, which are unary. One object a gateway."""

    def __init__(
        self, settings: Settings, dispatcher: Dispatcher, fleet: Fleet, reply_channel: str
    ) -> None:
        self._settings = settings
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._reply_channel = reply_channel
        self._waiting: dict[str, asyncio.Future[call_pb2.BatchMemberReply]] = {}

    async def serve(self, incoming: Incoming, context: Context) -> bytes:
        """Sends the call, waits for its answer, and returns the response."""
        member = call_pb2.BatchMember(
            call_id=uuid7(), request=incoming.first or b"", metadata=incoming.wishes.handed_on
        )
        begun = time.monotonic()
        try:
            reply = await self._answer(incoming, member)
        except ForebayError as error:
            await abort(context, error, ((CALL_ID, member.call_id),))
        waited_ms = round((time.monotonic() - begun) * 1000) - reply.run_ms
        if reply.initial_metadata.entries:
            await context.send_initial_metadata(to_pairs(reply.initial_metadata))
        trailing: Pairs = (
            (CALL_ID, member.call_id),
            *times(max(0, waited_ms), reply.run_ms, 1),
            *to_pairs(reply.outcome.trailing_metadata),
        )
        failure = failure_of(reply.outcome)
        if failure is not None:
            await abort(context, failure, trailing)
        context.set_trailing_metadata(tuple(trailing))
        return reply.response

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

    async def _answer(
        self, incoming: Incoming, member: call_pb2.BatchMember
    ) -> call_pb2.BatchMemberReply:
        route = incoming.method.route
        wait_s = queue_wait_s(incoming.method, self._settings)
        if incoming.deadline.timeout_s() is not None:
            member.deadline_ms = self._fleet.ledger_time_ms(incoming.deadline.remaining_s())
        # A call that was given up here must not be begun by a worker that comes later.
        member.begin_by_ms = self._fleet.ledger_time_ms(
            incoming.deadline.sooner(wait_s).remaining_s()
        )
        batch = call_pb2.Batch(members=[member], reply_channel=self._reply_channel)
        message = batch_message(
            member.call_id,
            batch.SerializeToString(),
            task=route.task,
            queue=route.queue,
            priority=incoming.wishes.priority,
        )
        waiting: asyncio.Future[call_pb2.BatchMemberReply]
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[member.call_id] = waiting
        try:
            await self._dispatcher.send(message)
            async with asyncio.timeout(wait_s):
                return await waiting
        except TimeoutError:
            raise self._unanswered(route.queue) from None
        finally:
            del self._waiting[member.call_id]

    def _unanswered(self, queue: str) -> ForebayError:
        if self._fleet.consumes(queue):
            return QueueWait("no worker answered within the method's queue wait")
        return NoWorkers("no live worker consumes the method's queue")
