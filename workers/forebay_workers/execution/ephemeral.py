"""Runs batches of ephemeral calls, which have no record: the gateway gets a reply for each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from forebay.checks import NoCheck
from forebay.errors import DeadlineExceeded, ForebayError
from forebay.metadata import CALL_ID, TRACEPARENT, to_pairs
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.begun_messages import WITHDRAWN, kept_for_ms, new_mark
from forebay_backends.ledger.keys import CallKey, begun_key
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.settings import Settings
from forebay_backends.signing.keyring import Keyring, SignatureError
from forebay_backends.telemetry.call_labels import CallLabels, about_call, trace_of_member
from forebay_workers.celery_hooks.request import about_calls, calls_of, expiry_ms
from forebay_workers.execution.replying import publish_replies
from forebay_workers.execution.run_time_limit import limited, run_limit_s
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.invoke import invoke
from forebay_workers.handler.ledger_retry import retry_while_unavailable
from forebay_workers.handler.operation_metadata import Metadata
from forebay_workers.handler.version_check import checking_versions, mismatch
from forebay_workers.runtime.process import Runtime

_REPLY_INTERVAL_S = 0.005
_REPLAYED = "the task message has been run before"

_log = logging.getLogger(__name__)


def run_batch(
    runtime: Runtime,
    method: Method,
    handler: Callable[..., Any],
    batch: call_pb2.Batch,
    message_id: str = "",
) -> None:
    """Runs the batch's calls one after the other, except stopped ones, and replies to each."""
    calls = calls_of(batch)
    with runtime.control.reserved((call, 1) for call in calls):
        if method.may_run_again or _is_first_run(runtime, batch, message_id):
            _Run(runtime, method, handler, batch).run(calls)


def _is_first_run(runtime: Runtime, batch: call_pb2.Batch, message_id: str) -> bool:
    """Whether this worker may run the message: no other has begun it, and it is not withdrawn.

    A method that may run again does not need this round trip: the gateway itself may send its calls
    twice.
    """
    mark, ledger = new_mark(), runtime.ledger

    def first_mark() -> bytes:
        for_ms = kept_for_ms(expiry_ms(batch), ledger.known_ms())
        return ledger.set_once(begun_key(message_id), mark, for_ms)

    found = retry_while_unavailable(first_mark)
    return found == mark or refused(found, message_id, ledger.seals.keyring)


def refused(mark: bytes, message_id: str, keyring: Keyring) -> bool:
    """Reports a message that has another's mark, and returns False: it does not run."""
    if mark == WITHDRAWN:
        _log.info("message %s is not run: its gateway has withdrawn it", message_id)
    else:
        keyring.refused(SignatureError("replayed", _REPLAYED))
    return False


class _Run:
    """One run of a batch."""

    def __init__(
        self, runtime: Runtime, method: Method, handler: Callable[..., Any], batch: call_pb2.Batch
    ) -> None:
        self._runtime = runtime
        self._method = method
        self._handler = handler
        self._batch = batch
        self._limit_s = run_limit_s(runtime, method)
        self._trace = runtime.task_trace(len(batch.members))
        # If a call kills its process, the batch's others run again, which the method must allow.
        self._shares_task = len(batch.members) > 1 and method.may_run_again

    def run(self, calls: Sequence[CallKey]) -> None:
        replies = _Replies(self._runtime, self._batch.reply_channel)
        error = mismatch(self._method, self._batch.method, self._batch.fingerprint)
        if error is not None:
            log_not_run(self._batch, calls, error)
            outcome = outcome_of_error(error)
            for call in calls:
                replies.add(call_pb2.BatchMemberReply(call_id=call.id, outcome=outcome))
        else:
            self._run_members(calls, replies)
        replies.send()

    def _run_members(self, calls: Sequence[CallKey], replies: _Replies) -> None:
        for call, member in zip(calls, self._batch.members, strict=True):
            traceparent, is_sampled = trace_of_member(member)
            with about_call(
                call.id, member.attempt or 1, self._method.name, traceparent, call.owner
            ) as labels:
                if self._runtime.control.was_stopped(call, 1):
                    _log.info("call %s is not begun: its caller has disconnected", call)
                    continue
                reply = self._run_member(call, member, labels, is_sampled)
            if reply is not None:
                replies.add(reply)

    def _run_member(
        self,
        call: CallKey,
        member: call_pb2.BatchMember,
        labels: CallLabels,
        is_sampled: bool | None,
    ) -> call_pb2.BatchMemberReply | None:
        """Runs a call; returns None if it was stopped, since no caller waits for it then."""
        reply = call_pb2.BatchMemberReply(call_id=member.call_id)
        now_ms = retry_while_unavailable(self._runtime.ledger.known_ms)
        if member.begin_by_ms <= now_ms:
            _log.info("call %s is not begun: its deadline passed", call)
            reply.outcome.CopyFrom(expired())
            return reply
        traceparent = "" if is_sampled is None else labels.traceparent
        context = self._context(call, member, now_ms, reply, traceparent)
        context.trace(*(self._trace, self._method, labels, member.attempt), is_sampled=is_sampled)
        begun = time.monotonic()
        outcome = self._invoke(context, member, reply)
        run_s = time.monotonic() - begun
        self._runtime.ran(self._method.name, run_s)
        if outcome is None:
            return None
        reply.run_ms = round(run_s * 1000)
        # The caller must not get both a response and DEADLINE_EXCEEDED, whatever its clock shows.
        if context.deadline_passed:
            reply.ClearField("response")
            outcome = expired()
        reply.outcome.CopyFrom(outcome)
        return reply

    def _context(
        self,
        call: CallKey,
        member: call_pb2.BatchMember,
        now_ms: float,
        reply: call_pb2.BatchMemberReply,
        traceparent: str,
    ) -> CallContext:
        def send_initial(metadata: bytes) -> None:
            reply.initial_metadata.ParseFromString(metadata)

        known = known_of(
            *(call, self._batch, member, now_ms, self._limit_s),
            *(self._runtime.settings, traceparent),
        )
        return CallContext(call, 1, send_initial=send_initial, **known)

    def _invoke(
        self,
        context: CallContext,
        member: call_pb2.BatchMember,
        reply: call_pb2.BatchMemberReply,
    ) -> call_pb2.Outcome | None:
        def emit(response: Message | Metadata, payload: bytes) -> None:
            reply.response = payload

        runtime, method = self._runtime, self._method
        check = runtime.checks.get(method.name, NoCheck)()
        with (
            runtime.control.running(context, durable=False, shares_task=self._shares_task),
            limited(runtime, context, self._limit_s, self._batch.reply_channel),
        ):
            return invoke(
                method,
                self._handler,
                [member.request],
                context,
                checking_versions(check, method, self._batch.fingerprint),
                emit,
                runtime.settings.max_message_bytes,
            )


def known_of(
    call: CallKey,
    batch: call_pb2.Batch,
    member: call_pb2.BatchMember,
    now_ms: float,
    limit_s: float | None,
    settings: Settings,
    traceparent: str,
) -> dict[str, Any]:
    """The arguments of a call's context that come from its message and the settings.

    `limit_s` is the run time limit, if there is one; `now_ms` is the ledger's time. `traceparent`
    is the call's trace context if that is not in the message's metadata, or empty.
    """
    metadata = to_pairs(member.metadata)
    if traceparent:
        metadata.append((TRACEPARENT, traceparent))
    deadline_s = (member.deadline_ms - now_ms) / 1000 if member.deadline_ms else None
    limits_s = [limit for limit in (limit_s, deadline_s) if limit is not None]
    return {
        "metadata": ((CALL_ID, call.id), *metadata),
        "timeout_s": min(limits_s, default=None),
        "flow": FlowControl(settings.window_bytes, settings.item_bytes),
        "caller": member.caller or batch.caller,
    }


def log_not_run(batch: call_pb2.Batch, calls: Sequence[CallKey], error: ForebayError) -> None:
    """Logs why the calls of a batch are not run."""
    with about_calls([(call, 1) for call in calls], {}, batch):
        _log.error("calls %s are not run: %s", ", ".join(map(str, calls)), error.message)


def expired() -> call_pb2.Outcome:
    """The outcome of a call whose deadline has passed."""
    return outcome_of_error(DeadlineExceeded("the call's deadline passed"))


class _Replies:
    """Replies to a gateway. Replies within 5 ms of each other are sent together."""

    def __init__(self, runtime: Runtime, channel: str) -> None:
        self._runtime = runtime
        self._channel = channel
        self._replies = call_pb2.BatchReply()
        self._sent_at = time.monotonic()

    def add(self, reply: call_pb2.BatchMemberReply) -> None:
        """Adds a reply; sends all of them if the last were sent more than 5 ms ago."""
        self._replies.members.append(reply)
        if time.monotonic() - self._sent_at > _REPLY_INTERVAL_S:
            self.send()

    def send(self) -> None:
        if self._replies.members:
            publish_replies(self._runtime, self._channel, self._replies)
            self._replies.Clear()
        self._sent_at = time.monotonic()
