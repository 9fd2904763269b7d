"""Calls that live in this gateway's memory: sent with their request, answered by one publish.

They leave no record. A worker that has one for long says so now and then; one that was
lost, by its worker or on its way there, is sent again by itself where the method may be run
again, and fails with UNAVAILABLE where it may not. A worker is told when a caller has left.
"""

from __future__ import annotations

import asyncio
import logging
import time

from forebay.errors import (
    BackendUnavailable,
    Draining,
    ForebayError,
    InternalFault,
    NoWorkers,
    QueueWait,
    WorkerLost,
)
from forebay.metadata import CALL_ID, Pairs, to_pairs
from forebay.v1 import call_pb2
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.dispatcher import Dispatcher
from forebay_backends.broker.task_messages import batch_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import BatchHeartbeat, Lost, Stop, caller_gone_frame, stop_frame
from forebay_backends.ledger.keys import CallKey, control_channel, queue_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.outcome import error_of_outcome
from forebay_backends.reaper import ROUND_S
from forebay_backends.settings import Settings
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.ephemeral.in_flight import Batch, EphemeralCall, InFlight
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.rpc.batching import Batcher, BatchQueue
from forebay_gateway.rpc.incoming import Context, IncomingCall
from forebay_gateway.rpc.outcomes import timing_metadata
from forebay_gateway.rpc.policy import attempts_limit, queue_wait_s
from forebay_gateway.rpc.status import abort
from forebay_gateway.rpc.uuid7 import uuid7

_log = logging.getLogger(__name__)


class EphemeralCalls:
    """Serves ephemeral calls, which are unary. One object a gateway."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        dispatcher: Dispatcher,
        fleet: FleetMonitor,
        reply_channel: str,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._reply_channel = reply_channel
        self._sent = InFlight()
        self._gatherings = Batcher(fleet.slots, self._send_together)
        self._background_tasks = BackgroundTasks()

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes:
        """Sends the call, waits for its answer, and returns the response."""
        member = call_pb2.BatchMember(
            call_id=uuid7(), request=incoming.first or b"", metadata=incoming.options.handed_on
        )
        call = EphemeralCall(incoming.method, incoming.options.priority, member, time.monotonic())
        try:
            reply = await self._answer(incoming, call)
        except ForebayError as error:
            await abort(context, error, ((CALL_ID, member.call_id),))
        waited_ms = round((time.monotonic() - call.begun_at) * 1000) - reply.run_ms
        if reply.initial_metadata.entries:
            await context.send_initial_metadata(to_pairs(reply.initial_metadata))
        trailing: Pairs = (
            (CALL_ID, member.call_id),
            *timing_metadata(max(0, waited_ms), reply.run_ms, call.attempt),
            *to_pairs(reply.outcome.trailing_metadata),
        )
        failure = error_of_outcome(reply.outcome)
        if failure is not None:
            await abort(context, failure, trailing)
        context.set_trailing_metadata(tuple(trailing))
        return reply.response

    def on_reply(self, payload: bytes) -> None:
        """Takes what came over the gateway's channel."""
        now = time.monotonic()
        for member in call_pb2.BatchReply.FromString(payload).members:
            call = self._sent.heard(member.call_id, now)
            if call is None:
                _log.info("a reply to a call that nobody waits for: %s", member.call_id)
                continue
            self._gatherings.of(call.method, call.priority).ran(member.run_ms / 1000)
            if not call.reply.done():
                call.reply.set_result(member)
            self._remove(call)

    def on_batch_heartbeat(self, holding: BatchHeartbeat) -> None:
        """A worker has calls in hand; those that nobody waits for are to stop."""
        for call_id in holding.call_ids:
            known = self._sent.held(
                call_id, holding.worker, time.monotonic(), running=holding.running
            )
            if not known:
                self._tell_workers(call_id, holding.worker)

    def on_lost(self, lost: Lost) -> None:
        """A worker had a batch, and the process that ran it has died."""
        batch = self._sent.batch(lost.batch_id)
        if batch is not None:
            self._on_lost(batch)

    async def look_after(self) -> None:
        """Sends lost calls again, or fails them, until cancelled."""
        await run_periodically(ROUND_S, self._look, _log, "looking after ephemeral calls")

    async def _look(self) -> None:
        for queue in self._sent.silent_queues(time.monotonic()):
            depth = await self._dispatcher.depth(queue)
            for batch in self._sent.lost(queue, depth, time.monotonic()):
                self._on_lost(batch)

    def cut(self) -> None:
        """Ends what still waits with `Draining`."""
        for call in self._sent:
            call.fail(Draining("the gateway is shutting down", retry_after_s=RETRY_AFTER_S))

    async def _answer(
        self, incoming: IncomingCall, call: EphemeralCall
    ) -> call_pb2.BatchMemberReply:
        await self._fleet.clock_known()
        wait_s = queue_wait_s(call.method, self._settings)
        if incoming.deadline.timeout_s() is not None:
            call.member.deadline_ms = self._fleet.ledger_time_ms(incoming.deadline.remaining_s())
        # A call that was given up here must not be begun by a worker that comes later.
        call.member.begin_by_ms = self._fleet.ledger_time_ms(
            incoming.deadline.sooner(wait_s).remaining_s()
        )
        gathering = self._gatherings.of(call.method, call.priority)
        gathering.add(call)
        self._gatherings.send_due(gathering)
        try:
            async with asyncio.timeout(wait_s) as call.timeout:
                return await call.reply
        except TimeoutError:
            raise self._unanswered(call.method.route.queue) from None
        except asyncio.CancelledError:
            if call.batch is not None:
                self._tell_workers(call.id, call.batch.worker, call.method.route.queue)
            raise
        finally:
            self._remove(call)

    def _send_together(
        self, gathering: BatchQueue[EphemeralCall], calls: list[EphemeralCall]
    ) -> None:
        batch = Batch(calls[0].id if len(calls) == 1 else uuid7(), calls, time.monotonic())
        gathering.sent(batch)
        self._send(batch)

    def _send(self, batch: Batch) -> None:
        self._sent.add(batch)
        self._background_tasks.start(self._dispatch(batch))

    async def _dispatch(self, batch: Batch) -> None:
        members = [call.member for call in batch.calls.values()]
        content = call_pb2.Batch(
            members=members,
            reply_channel=self._reply_channel,
            method=batch.method.name,
            fingerprint=batch.method.fingerprint,
        )
        message = batch_message(
            batch.id,
            content.SerializeToString(),
            task=batch.method.route.task,
            queue=batch.method.route.queue,
            priority=batch.priority,
        )
        try:
            await self._dispatcher.send(message)
        except BackendUnavailable as error:
            self._fail(batch, error)
        except Exception:  # a fault of ours must not leave its callers waiting
            _log.exception("calls could not be sent")
            self._fail(batch, InternalFault("the gateway failed; its log says how"))

    def _fail(self, batch: Batch, error: ForebayError) -> None:
        for call in tuple(batch.calls.values()):
            call.fail(error)

    def _remove(self, call: EphemeralCall) -> None:
        """The call is waited for no more; where it was its batch's last, others may go."""
        over = self._sent.remove(call)
        if over is not None:
            gathering = self._gatherings.of(call.method, call.priority)
            gathering.over(over)
            self._gatherings.send_due(gathering)

    def _on_lost(self, batch: Batch) -> None:
        limit = attempts_limit(batch.method, self._settings)
        for call in tuple(batch.calls.values()):
            self._remove(call)
            if not call.method.may_run_again or call.attempt >= limit:
                call.fail(WorkerLost("the call's worker was lost, and it may not be run again"))
                continue
            _log.info("call %s is sent again: its worker, or its message, was lost", call.id)
            call.attempt += 1
            # By itself: so a call that kills its process takes no other with it again.
            self._send(Batch(uuid7(), [call], time.monotonic()))

    def _tell_workers(self, call_id: str, worker: str | None, queue: str = "") -> None:
        """Tells the worker, or all of the queue, without making anyone wait for it."""
        key = str(CallKey(call_id))
        if worker is not None:
            telling = self._tell(control_channel(worker), stop_frame(key, 1, Stop(State.CANCELLED)))
        else:
            telling = self._tell(queue_channel(queue), caller_gone_frame(key))
        self._background_tasks.start(telling)

    async def _tell(self, channel: str, frame: bytes) -> None:
        try:
            await self._ledger.publish(channel, frame)
        except BackendUnavailable:
            _log.info("a caller has left; whoever has its call will say so")

    def _unanswered(self, queue: str) -> ForebayError:
        if self._fleet.consumes(queue):
            return QueueWait("no worker answered within the method's queue wait")
        return NoWorkers("no live worker consumes the method's queue")
