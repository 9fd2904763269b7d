"""Ephemeral calls: a message carries the request, and one publish carries the reply.

There is no record. A worker sends heartbeats for long calls. If a worker or a message is lost and
the method may run again, the gateway resends each lost call in a separate message; otherwise it
fails the call with UNAVAILABLE. If a caller disconnects, the gateway stops the call at its worker.
"""

from __future__ import annotations

import asyncio
import logging
import time

from forebay.errors import (
    BackendUnavailable,
    Draining,
    ForebayError,
    NoWorkers,
    QueueWait,
    WorkerLost,
)
from forebay.metadata import CALL_ID, Pairs, to_pairs
from forebay.v1 import call_pb2
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.base import Broker
from forebay_backends.broker.task_messages import TaskMessage, batch_message
from forebay_backends.ledger.begun_messages import WITHDRAWN, kept_for_ms
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import (
    BatchHeartbeat,
    GatewayFrame,
    Lost,
    Reply,
    Stop,
    caller_gone_frame,
    stop_frame,
)
from forebay_backends.ledger.keys import CallKey, begun_key, control_channel, queue_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.outcome import error_of_outcome
from forebay_backends.settings import Settings
from forebay_backends.telemetry.call_labels import (
    about_call,
    name_call,
    trace_of_member,
)
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.ephemeral.in_flight import Batch, EphemeralCall, InFlight
from forebay_gateway.fair_queues.fair_queues import FairQueues
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.identity.caller import caller_bytes
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.batching import Batcher, BatchQueue
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.large_sends import LargeSends
from forebay_gateway.rpc.metadata_size import fit_pairs
from forebay_gateway.rpc.outcomes import gateway_fault, timing_metadata
from forebay_gateway.rpc.policy import CALL_CHECK_INTERVAL_S, attempts_limit, queue_wait_s
from forebay_gateway.rpc.status import abort
from forebay_gateway.rpc.uuid7 import uuid7

_log = logging.getLogger(__name__)


class EphemeralCalls:
    """Serves ephemeral calls, which are unary. One instance per gateway."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        broker: Broker,
        fleet: FleetMonitor,
        reply_channel: str,
        metrics: GatewayMetrics,
        fair: FairQueues,
    ) -> None:
        self._metrics = metrics
        self._fair = fair
        self._settings = settings
        self._ledger = ledger
        self._broker = broker
        self._fleet = fleet
        self._reply_channel = reply_channel
        self._in_flight = InFlight()
        self._batcher = Batcher(fleet.slots, self._start_batch)
        self._background_tasks = BackgroundTasks()
        self._large_sends = LargeSends()

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes:
        """Sends the call, waits for its reply, and returns the response."""
        options = incoming.options
        member = call_pb2.BatchMember(call_id=uuid7(), metadata=options.forwarded_metadata)
        request = incoming.first or b""
        name_call(member.call_id)
        method, priority = incoming.method, options.priority
        if incoming.span is not None:
            incoming.span.publish_member(method.route.queue, member)
        call = EphemeralCall(
            *(method, priority, self._batcher.queue_of(method, priority), member, request),
            *(time.monotonic(), self._submit),
            incoming.span,
            context.principal.tenant,
            caller_bytes(context.principal),
        )
        try:
            reply = await self._reply(incoming, call)
        except ForebayError as error:
            await abort(context, error, ((CALL_ID, member.call_id),))
        waited_ms = max(0, round((time.monotonic() - call.begun_at) * 1000) - reply.run_ms)
        incoming.meter.ran(waited_ms / 1000, reply.run_ms / 1000)
        if reply.initial_metadata.entries:
            await context.send_initial_metadata(tuple(fit_pairs(to_pairs(reply.initial_metadata))))
        trailing: Pairs = (
            (CALL_ID, member.call_id),
            *timing_metadata(waited_ms, reply.run_ms, call.attempt),
            *to_pairs(reply.outcome.trailing_metadata),
        )
        failure = error_of_outcome(reply.outcome)
        if failure is not None:
            await abort(context, failure, trailing)
        context.set_trailing_metadata(tuple(fit_pairs(trailing)))
        incoming.meter.response(len(reply.response))
        return reply.response

    def on_frame(self, key: str, frame: GatewayFrame) -> None:
        """Handles a frame from the gateway's channel."""
        match frame:
            case Reply(payload):
                self._on_reply(payload)
            case BatchHeartbeat():
                self._on_batch_heartbeat(frame)
            case Lost(batch_id):
                batch = self._in_flight.batch(batch_id)
                if batch is not None:
                    self._on_lost(batch)

    def _on_reply(self, payload: bytes) -> None:
        now = time.monotonic()
        for member in call_pb2.BatchReply.FromString(payload).members:
            call = self._in_flight.touch(member.call_id, now)
            if call is None:
                with about_call(member.call_id):
                    _log.info("call %s: a reply came, but no caller waits", member.call_id)
                continue
            call.batch_queue.record_run_time(member.run_ms / 1000)
            if not call.reply.done():
                call.reply.set_result(member)
            self._remove(call)

    def _on_batch_heartbeat(self, heartbeat: BatchHeartbeat) -> None:
        """Stops the worker's calls that no caller waits for any more."""
        now = time.monotonic()
        for call in heartbeat.calls:
            is_awaited = self._in_flight.on_heartbeat(
                call.id, heartbeat.worker, now, running=heartbeat.running
            )
            if not is_awaited:
                self._stop(call, heartbeat.worker)

    async def run(self) -> None:
        """Looks for lost calls periodically and resends or fails them, until cancelled."""
        name = "checking ephemeral calls"
        await run_periodically(CALL_CHECK_INTERVAL_S, self._check, _log, name)

    async def _check(self) -> None:
        if not self._fleet.health.is_healthy:
            self._in_flight.forget_misses()
            return
        for queue in self._in_flight.stale_queues(time.monotonic()):
            depth = await self._broker.depth(queue)
            for batch in self._in_flight.lost(queue, depth, time.monotonic()):
                self._on_lost(batch)

    def abort_remaining(self) -> None:
        """Fails all calls in flight with `Draining`."""
        for call in self._in_flight:
            # As for plain tasks: a worker may run the call.
            retry_after_s = RETRY_AFTER_S if call.method.may_run_again else None
            call.fail(Draining("the gateway is shutting down", retry_after_s=retry_after_s))

    async def _reply(
        self, incoming: IncomingCall, call: EphemeralCall
    ) -> call_pb2.BatchMemberReply:
        await self._fleet.clock_known()
        wait_s = queue_wait_s(call.method, self._settings)
        if incoming.deadline.timeout_s() is not None:
            call.member.deadline_ms = self._fleet.ledger_time_ms(incoming.deadline.remaining_s())
        # A worker must not begin a call after the gateway has failed it.
        call.member.begin_by_ms = self._fleet.ledger_time_ms(
            incoming.deadline.sooner(wait_s).remaining_s()
        )
        tenant = incoming.permit.tenant
        if tenant is not None:
            wait = tenant.wait_begins()
            if wait is not None:
                await wait
            call.account = tenant
        incoming.meter.accepted()
        # A timer, because asyncio.timeout takes three times the CPU.
        queue_wait = asyncio.get_running_loop().call_later(wait_s, self._on_queue_wait, call)
        call.queue_wait = queue_wait
        try:
            if tenant is None or self._fair.enter(call):
                self._submit(call)
            return await call.reply
        except asyncio.CancelledError:
            if call.batch is not None:
                self._stop(call.key, call.batch.worker, call.batch.queue)
            raise
        finally:
            queue_wait.cancel()
            self._remove(call)
            if tenant is not None:
                self._fair.leave(call)

    def _submit(self, call: EphemeralCall) -> None:
        if call.is_large:  # alone: in a batch, it would delay small calls
            self._start_batch(call.batch_queue, [call])
        else:
            self._batcher.submit(call.batch_queue, call)

    def _start_batch(self, queue: BatchQueue[EphemeralCall], calls: list[EphemeralCall]) -> None:
        self._metrics.method(calls[0].method.name).batch_size(len(calls))
        key = calls[0].key if len(calls) == 1 else CallKey(uuid7(), calls[0].owner)
        batch = Batch(key, calls, time.monotonic())
        queue.on_batch_sent(batch)
        self._send(batch)

    def _send(self, batch: Batch) -> None:
        self._in_flight.add(batch)
        self._background_tasks.start(self._dispatch(batch))

    async def _dispatch(self, batch: Batch) -> None:
        try:
            try:
                async with self._large_sends.turn(max(call.size for call in batch.calls.values())):
                    await self._broker.send(self._message(batch))
            except BackendUnavailable as error:
                await self._on_send_error(batch, error)
                return
            for call in batch.calls.values():
                if call.span is not None:
                    call.span.sent()
        except Exception:  # a bug must not leave the callers waiting
            _log.exception("batch %s could not be sent", batch.id)
            self._fail(batch, gateway_fault())

    async def _on_send_error(self, batch: Batch, error: BackendUnavailable) -> None:
        """Fails the calls, unless a worker has begun them: the broker may have the message.

        A call that the caller may repeat must not run later, unless its method may run again.
        """
        if not batch.method.may_run_again:
            try:
                if not await self._withdraw(batch):
                    _log.info("batch %s was begun, although sending it failed", batch.id)
                    return
            except BackendUnavailable:
                error.retry_after_s = None  # a worker may still begin the calls
        self._fail(batch, error)

    async def _withdraw(self, batch: Batch) -> bool:
        """Makes workers drop the message; returns False if one has begun it."""
        for_ms = kept_for_ms(batch.expires_ms, self._fleet.ledger_time_ms(0))
        key = begun_key(batch.id)
        return await self._ledger.set_once(key, WITHDRAWN, for_ms) == WITHDRAWN

    def _message(self, batch: Batch) -> TaskMessage:
        content = call_pb2.Batch(
            reply_channel=self._reply_channel,
            method=batch.method.name,
            fingerprint=batch.method.fingerprint,
            owner=batch.key.owner,
            caller=batch.caller,
        )
        for call in batch.calls.values():
            member = content.members.add()
            member.CopyFrom(call.member)
            member.request = call.request
            if call.caller != batch.caller:
                member.caller = call.caller
        return batch_message(
            batch.id,
            content.SerializeToString(),
            task=batch.method.route.task,
            queue=batch.queue,
            priority=batch.priority,
            expires_ms=batch.expires_ms,
            may_run_again=batch.method.may_run_again,
        )

    def _fail(self, batch: Batch, error: ForebayError) -> None:
        for call in tuple(batch.calls.values()):
            call.fail(error)

    def _remove(self, call: EphemeralCall) -> None:
        done = self._in_flight.remove(call)
        if done is not None:
            self._batcher.on_batch_done(call.batch_queue, done)

    def _on_lost(self, batch: Batch) -> None:
        limit = attempts_limit(batch.method, self._settings)
        for call in tuple(batch.calls.values()):
            self._remove(call)
            self._metrics.attempt_lost(batch.queue)
            if not call.method.may_run_again or call.attempt >= limit:
                call.fail(WorkerLost("the call's worker was lost, and it may not be run again"))
                continue
            traceparent, _ = trace_of_member(call.member)
            with about_call(call.id, call.attempt, call.method.name, traceparent, call.owner):
                _log.info("call %s is resent: its worker, or its message, was lost", call.id)
            call.attempt += 1
            call.member.attempt = call.attempt
            self._metrics.rerun(batch.queue)
            self._metrics.message_resent(batch.queue)
            # The call gets its own message: if it crashes its process again, no other call fails.
            self._send(Batch(CallKey(uuid7(), call.owner), [call], time.monotonic()))

    def _stop(self, call: CallKey, worker: str | None, queue: str = "") -> None:
        """Stops the call at its worker or, if that is unknown, at all workers of the queue."""
        key = str(call)
        if worker is not None:
            channel, frame = control_channel(worker), stop_frame(key, 1, Stop(State.CANCELLED))
        else:
            channel, frame = queue_channel(queue), caller_gone_frame(key)
        self._background_tasks.start(self._publish(channel, frame))

    async def _publish(self, channel: str, frame: bytes) -> None:
        try:
            await self._ledger.publish(channel, frame)
        except BackendUnavailable:
            _log.info("a call was not stopped: the ledger does not answer; its heartbeat retries")

    def _on_queue_wait(self, call: EphemeralCall) -> None:
        if self._fleet.consumes(call.method.route.queue):
            call.fail(QueueWait("no worker answered within the method's queue wait"))
        else:
            call.fail(NoWorkers("no live worker consumes the method's queue"))
