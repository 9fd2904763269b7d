"""Ends ephemeral calls that reach their run time limit; the ledger ends durable calls.

The gateway gets its reply at once, even if the handler takes long to end. The stop is also
published on the worker's control channel, so that the lease keeper can kill the pool child of a
handler that ignores it.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext

from forebay.errors import BackendUnavailable, DeadlineExceeded
from forebay.routes import Method
from forebay.timers import if_longer
from forebay.v1 import call_pb2
from forebay_backends.ledger.frames import Stop, stop_frame
from forebay_backends.ledger.keys import control_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.telemetry.call_labels import Labelled
from forebay_workers.execution.replying import publish_replies
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.ledger_retry import LedgerUnavailable
from forebay_workers.runtime.process import Runtime

_log = logging.getLogger(__name__)


def run_limit_s(runtime: Runtime, method: Method) -> float | None:
    """Returns how long an attempt may run, in seconds; None if there is no limit."""
    return method.route.limits.run_time_s or runtime.settings.run_time_s


def over_limit() -> call_pb2.Outcome:
    """The outcome of a call that has reached its run time limit."""
    return outcome_of_error(DeadlineExceeded("the call has reached its method's run time limit"))


def limited(
    runtime: Runtime, context: CallContext, limit_s: float | None, reply_channel: str
) -> AbstractContextManager[None]:
    """Ends the call if the block takes longer than `limit_s`."""
    if limit_s is None:
        return nullcontext()
    return if_longer(limit_s, _expire, runtime, context, reply_channel)


def _expire(runtime: Runtime, context: CallContext, reply_channel: str) -> None:
    call = context.call
    with Labelled(context.labels):
        _log.info("call %s is stopped: its run time has passed", call)
    context.stop(str(State.EXPIRED))
    reply = call_pb2.BatchReply()
    reply.members.add(call_id=call.id, outcome=over_limit())
    stop = stop_frame(str(call), context.attempt, Stop(State.EXPIRED))
    try:
        publish_replies(runtime, reply_channel, reply)
        runtime.ledger.publish(control_channel(runtime.worker), stop)
    except (LedgerUnavailable, BackendUnavailable) as error:
        with Labelled(context.labels):
            _log.warning("call %s: the ledger does not answer: %s", call, error)
