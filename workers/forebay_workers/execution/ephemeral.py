"""Running calls that live in a gateway's memory: no record, one answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from forebay.checks import NoCheck
from forebay.errors import DeadlineExceeded
from forebay.metadata import CALL_ID, to_pairs
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.frames import reply_frame
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_workers.execution.run_time_limit import limited, run_limit_s
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.invoke import invoke
from forebay_workers.handler.version_check import checking_versions, mismatch
from forebay_workers.runtime.process import Runtime

_ANSWER_EVERY_S = 0.005

_log = logging.getLogger(__name__)


def run_batch(
    runtime: Runtime, method: Method, handler: Callable[..., Any], batch: call_pb2.Batch
) -> None:
    """Runs the batch's calls one after the other, except those that are over, and answers."""
    answers = _Answers(runtime, batch.reply_channel)
    # One that kills its process makes the others run again.
    shares_task = len(batch.members) > 1 and method.may_run_again
    calls = [CallKey(member.call_id) for member in batch.members]
    refusal = mismatch(method, batch.method, batch.fingerprint)
    if refusal is not None:
        _log.error("calls %s are not run: %s", ", ".join(map(str, calls)), refusal.message)
        for call in calls:
            answers.add(
                call_pb2.BatchMemberReply(call_id=call.id, outcome=outcome_of_error(refusal))
            )
        answers.send()
        return
    with runtime.control.expecting((call, 1) for call in calls):
        for call, member in zip(calls, batch.members, strict=True):
            if runtime.control.stopped_early(call, 1):
                _log.info("call %s is not begun: its caller has left", call)
                continue
            answer = _answer(
                runtime,
                method,
                handler,
                call,
                member,
                batch,
                shares_task=shares_task,
            )
            if answer is not None:
                answers.add(answer)
    answers.send()


class _Answers:
    """Answers on their way to a gateway: those of quick calls together, none kept for long."""

    def __init__(self, runtime: Runtime, channel: str) -> None:
        self._ledger = runtime.ledger
        self._channel = channel
        self._answers = call_pb2.BatchReply()
        self._sent_at = time.monotonic()

    def add(self, answer: call_pb2.BatchMemberReply) -> None:
        """Takes an answer, and sends all where the last were sent a while ago."""
        self._answers.members.append(answer)
        if time.monotonic() - self._sent_at > _ANSWER_EVERY_S:
            self.send()

    def send(self) -> None:
        """Sends what there is."""
        if self._answers.members:
            frame = reply_frame(self._answers.SerializeToString())
            if not self._ledger.publish(self._channel, frame):
                _log.info("no gateway hears %s any more", self._channel)
            self._answers.Clear()
        self._sent_at = time.monotonic()


def _answer(
    runtime: Runtime,
    method: Method,
    handler: Callable[..., Any],
    call: CallKey,
    member: call_pb2.BatchMember,
    batch: call_pb2.Batch,
    *,
    shares_task: bool,
) -> call_pb2.BatchMemberReply | None:
    """The answer; None where the handler was stopped: nobody is thought to wait for it."""
    answer = call_pb2.BatchMemberReply(call_id=member.call_id)
    now_ms = runtime.clock.now_ms()
    if member.begin_by_ms <= now_ms:
        _log.info("call %s is not begun: its deadline passed", call)
        answer.outcome.CopyFrom(outcome_of_error(DeadlineExceeded("the call's deadline passed")))
        return answer

    def keep_initial(metadata: bytes) -> None:
        answer.initial_metadata.ParseFromString(metadata)

    def keep(response: Message, payload: bytes) -> None:
        answer.response = payload

    limit_s = run_limit_s(runtime, method)
    deadline_s = (member.deadline_ms - now_ms) / 1000 if member.deadline_ms else None
    bounds = [bound for bound in (limit_s, deadline_s) if bound is not None]
    context = CallContext(
        call,
        1,
        metadata=((CALL_ID, call.id), *to_pairs(member.metadata)),
        timeout_s=min(bounds, default=None),
        flow=FlowControl(runtime.settings.window_bytes, runtime.settings.item_bytes),
        send_initial=keep_initial,
    )
    check = runtime.checks.get(method.name, NoCheck)()
    begun = time.monotonic()
    with (
        runtime.control.running(context, durable=False, shares_task=shares_task),
        limited(runtime, context, limit_s, batch.reply_channel),
    ):
        outcome = invoke(
            method,
            handler,
            [member.request],
            context,
            checking_versions(check, method, batch.fingerprint),
            keep,
            runtime.settings.max_message_bytes,
        )
    if outcome is None:
        return None
    answer.run_ms = round((time.monotonic() - begun) * 1000)
    answer.outcome.CopyFrom(outcome)
    return answer
