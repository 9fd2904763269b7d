"""Running calls that live in a gateway's memory: no record, one reply."""

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
from forebay_ledger.events import reply_frame
from forebay_ledger.keys import CallKey
from forebay_ledger.outcomes import failed
from forebay_workers.context import CallContext
from forebay_workers.flow import FlowControl
from forebay_workers.invocation import invoke
from forebay_workers.process import Runtime

_log = logging.getLogger(__name__)


def run_batch(
    runtime: Runtime, method: Method, handler: Callable[..., Any], batch: call_pb2.Batch
) -> None:
    """Runs the batch's calls, except those past their deadline, and publishes the replies."""
    reply = call_pb2.BatchReply()
    for member in batch.members:
        now_ms = runtime.clock.now_ms()
        if member.begin_by_ms <= now_ms:
            _log.info("call %s is not begun: its deadline passed", member.call_id)
            outcome = failed(DeadlineExceeded("the call's deadline passed"))
            reply.members.add(call_id=member.call_id, outcome=outcome)
            continue
        timeout_s = (member.deadline_ms - now_ms) / 1000 if member.deadline_ms else None
        begun = time.monotonic()
        answer = _run_member(runtime, method, handler, member, timeout_s)
        if answer is None:
            continue
        answer.run_ms = round((time.monotonic() - begun) * 1000)
        reply.members.append(answer)
    if not runtime.ledger.publish(batch.reply_channel, reply_frame(reply.SerializeToString())):
        _log.info("no gateway hears %s any more", batch.reply_channel)


def _run_member(
    runtime: Runtime,
    method: Method,
    handler: Callable[..., Any],
    member: call_pb2.BatchMember,
    timeout_s: float | None,
) -> call_pb2.BatchMemberReply | None:
    """The answer; None where the handler was stopped: nobody is thought to wait for it."""
    answer = call_pb2.BatchMemberReply(call_id=member.call_id)

    def keep_initial(metadata: bytes) -> None:
        answer.initial_metadata.ParseFromString(metadata)

    context = CallContext(
        CallKey(member.call_id),
        1,
        metadata=((CALL_ID, member.call_id), *to_pairs(member.metadata)),
        timeout_s=timeout_s,
        flow=FlowControl(runtime.settings.window_bytes, runtime.settings.item_bytes),
        send_initial=keep_initial,
    )

    def keep(response: Message, payload: bytes) -> None:
        answer.response = payload

    with runtime.control.running(context, on_record=False):
        outcome = invoke(
            method,
            handler,
            [member.request],
            context,
            runtime.checks.get(method.name, NoCheck)(),
            keep,
            runtime.settings.max_message_bytes,
        )
    if outcome is None:
        return None
    answer.outcome.CopyFrom(outcome)
    return answer
