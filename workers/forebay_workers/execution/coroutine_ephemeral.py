"""Runs batches of ephemeral calls whose handlers are coroutines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from forebay.checks import NoCheck
from forebay.deadline import LONGEST_S
from forebay.v1 import call_pb2
from forebay_backends.ledger.begun_messages import kept_for_ms, new_mark
from forebay_backends.ledger.frames import Stop, stop_frame
from forebay_backends.ledger.keys import CallKey, begun_key, control_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.telemetry.call_labels import CallLabels, about_call, trace_of_member
from forebay_workers.celery_hooks.request import calls_of, expiry_ms
from forebay_workers.coroutines.call import CoroutineCall
from forebay_workers.coroutines.event_loop import each
from forebay_workers.coroutines.handlers import CoroutineHandler
from forebay_workers.coroutines.invoke import invoke
from forebay_workers.coroutines.requests import CheckedRequests, SingleRequest
from forebay_workers.execution.ephemeral import expired, known_of, log_not_run, refused
from forebay_workers.execution.run_time_limit import over_limit, run_limit_s
from forebay_workers.handler.ledger_retry import LedgerUnavailable
from forebay_workers.handler.version_check import checking_versions, mismatch
from forebay_workers.runtime.process import Runtime

_CANCELLED_WITHIN_S = 0.1

Reply = Callable[[call_pb2.BatchMemberReply], Awaitable[None]]

_log = logging.getLogger(__name__)


async def run_batch(
    runtime: Runtime,
    handler: CoroutineHandler,
    batch: call_pb2.Batch,
    message_id: str,
    *,
    together: bool,
) -> None:
    """Runs the batch's calls on the event loop, except stopped ones, and replies to each.

    `together`: at the same time. Not more run at a time than the worker has slots.
    """
    calls = calls_of(batch)
    with runtime.control.reserved((call, 1) for call in calls):
        if handler.method.may_run_again or await _is_first_run(runtime, batch, message_id):
            await _Batch(runtime, handler, batch).run(calls, together=together)


async def _is_first_run(runtime: Runtime, batch: call_pb2.Batch, message_id: str) -> bool:
    """Like that of ephemeral.py."""
    mark, ledger = new_mark(), runtime.loop.ledger
    for_ms = kept_for_ms(expiry_ms(batch), await ledger.now_ms())
    found = await ledger.set_once(begun_key(message_id), mark, for_ms)
    return found == mark or refused(found, message_id, ledger.seals.keyring)


class _Batch:
    """One run of a batch."""

    def __init__(self, runtime: Runtime, handler: CoroutineHandler, batch: call_pb2.Batch) -> None:
        self._runtime = runtime
        self._handler = handler
        self._method = handler.method
        self._batch = batch
        self._ledger = runtime.loop.ledger
        self._limit_s = run_limit_s(runtime, handler.method)
        self._trace = runtime.task_trace(len(batch.members))
        # A call that kills its process makes the others run again, which their method must allow.
        self._shares_task = len(batch.members) > 1 and handler.method.may_run_again

    async def run(self, calls: Sequence[CallKey], *, together: bool) -> None:
        error = mismatch(self._method, self._batch.method, self._batch.fingerprint)
        if error is not None:
            log_not_run(self._batch, calls, error)
            outcome = outcome_of_error(error)
            refusals = [
                partial(self._reply, call_pb2.BatchMemberReply(call_id=call.id, outcome=outcome))
                for call in calls
            ]
            await each(refusals, together=True)
            return
        members = zip(calls, self._batch.members, strict=True)
        await each([partial(self._member, *one) for one in members], together=together)

    async def _member(self, call: CallKey, member: call_pb2.BatchMember) -> None:
        traceparent, is_sampled = trace_of_member(member)
        labelled = about_call(
            call.id, member.attempt or 1, self._method.name, traceparent, call.owner
        )
        async with self._runtime.loop.permits:
            with labelled as labels:
                if self._runtime.control.was_stopped(call, 1):
                    _log.info("call %s is not begun: its caller has disconnected", call)
                    return
                reply = await self._run(call, member, labels, is_sampled)
        if reply is not None:
            await self._reply(reply)

    async def _run(
        self,
        call: CallKey,
        member: call_pb2.BatchMember,
        labels: CallLabels,
        is_sampled: bool | None,
    ) -> call_pb2.BatchMemberReply | None:
        """Runs a call; returns None if no caller waits for a reply any more."""
        reply = call_pb2.BatchMemberReply(call_id=member.call_id)
        now_ms = await self._ledger.now_ms()
        if member.begin_by_ms <= now_ms:
            _log.info("call %s is not begun: its deadline passed", call)
            reply.outcome.CopyFrom(expired())
            return reply
        traceparent = "" if is_sampled is None else labels.traceparent
        context = self._context(call, member, now_ms, reply, traceparent)
        context.trace(*(self._trace, self._method, labels, member.attempt), is_sampled=is_sampled)
        self._runtime.loop.watch.label_current_task()
        begun = time.monotonic()
        has_replied, outcome = await self._invoke(context, member, reply)
        run_s = time.monotonic() - begun
        self._runtime.ran(self._method.name, run_s)
        # The caller must not get the response and DEADLINE_EXCEEDED, whatever its own clock shows.
        if context.deadline_passed:
            reply.ClearField("response")
            outcome = over_limit() if self._is_limited(member, now_ms) else expired()
        if outcome is None or has_replied:
            return None
        reply.run_ms = round(run_s * 1000)
        reply.outcome.CopyFrom(outcome)
        return reply

    def _is_limited(self, member: call_pb2.BatchMember, now_ms: float) -> bool:
        """Whether the run time limit ends the call before its deadline."""
        if self._limit_s is None:
            return False
        return not member.deadline_ms or self._limit_s < (member.deadline_ms - now_ms) / 1000

    def _context(
        self,
        call: CallKey,
        member: call_pb2.BatchMember,
        now_ms: float,
        reply: call_pb2.BatchMemberReply,
        traceparent: str,
    ) -> CoroutineCall:
        async def send_initial(metadata: bytes) -> None:
            reply.initial_metadata.ParseFromString(metadata)

        known = known_of(
            *(call, self._batch, member, now_ms, self._limit_s),
            *(self._runtime.settings, traceparent),
        )
        return CoroutineCall(call, 1, send_initial=send_initial, **known)

    async def _invoke(
        self,
        context: CoroutineCall,
        member: call_pb2.BatchMember,
        reply: call_pb2.BatchMemberReply,
    ) -> tuple[bool, call_pb2.Outcome | None]:
        """Returns whether the caller has been told of the run time limit, and the outcome."""

        async def emit(_: object, payload: bytes) -> None:
            reply.response = payload

        runtime, method = self._runtime, self._method
        check = runtime.checks.get(method.name, NoCheck)()
        requests = CheckedRequests(
            method,
            SingleRequest(member.request),
            checking_versions(check, method, self._batch.fingerprint),
        )
        limit = _RunTimeLimit(runtime, context, self._reply)
        with (
            runtime.control.running(context, durable=False, shares_task=self._shares_task),
            limit.of(self._limit_s),
        ):
            outcome = await invoke(
                self._handler, requests, context, emit, runtime.settings.max_message_bytes
            )
        return limit.has_passed, outcome

    async def _reply(self, reply: call_pb2.BatchMemberReply) -> None:
        await self._runtime.loop.replies.send(self._batch.reply_channel, reply)


class _RunTimeLimit:
    """Replies for a handler that has not ended soon after the limit cancelled it.

    The stop is also published, so that the lease keeper kills a pool child that ignores it.
    """

    def __init__(self, runtime: Runtime, context: CoroutineCall, reply: Reply) -> None:
        self._runtime = runtime
        self._context = context
        self._reply = reply
        self._telling: asyncio.Task[None] | None = None

    @property
    def has_passed(self) -> bool:
        return self._telling is not None

    @contextmanager
    def of(self, limit_s: float | None) -> Iterator[None]:
        """Watches while the block runs."""
        if limit_s is None:
            yield
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(min(limit_s, LONGEST_S) + _CANCELLED_WITHIN_S, self._pass)
        try:
            yield
        finally:
            timer.cancel()

    def _pass(self) -> None:
        self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        call, runtime = self._context.call, self._runtime
        _log.info("call %s is stopped: its run time has passed", call)
        reply = call_pb2.BatchMemberReply(call_id=call.id, outcome=over_limit())
        stop = stop_frame(str(call), self._context.attempt, Stop(State.EXPIRED))
        try:
            await self._reply(reply)
            await runtime.loop.ledger.publish(control_channel(runtime.worker), stop)
        except LedgerUnavailable as error:
            _log.warning("call %s: the ledger does not answer: %s", call, error)
