"""Ending an ephemeral call when its run time is over. Of one on record, the ledger does it.

The gateway is answered at once, however long the handler takes to heed the stop. The word goes
over the worker's control channel, too: whoever ends what does not heed a stop listens there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from forebay.errors import BackendUnavailable, DeadlineExceeded
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.frames import Stop, reply_frame, stop_frame
from forebay_backends.ledger.keys import control_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_workers.handler.context import CallContext
from forebay_workers.runtime.process import Runtime

_log = logging.getLogger(__name__)


def run_limit_s(runtime: Runtime, method: Method) -> float | None:
    """How long one attempt may run; None where there is no limit."""
    return method.route.limits.run_time_s or runtime.settings.run_time_s


@contextmanager
def limited(
    runtime: Runtime, context: CallContext, limit_s: float | None, reply_channel: str
) -> Iterator[None]:
    """Ends the call where the block takes longer than the limit."""
    if limit_s is None:
        yield
        return
    timer = threading.Timer(limit_s, _end, (runtime, context, reply_channel))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(runtime: Runtime, context: CallContext, reply_channel: str) -> None:
    call = context.call
    _log.info("call %s is stopped: its run time is over", call)
    context.stop(str(State.EXPIRED))
    reply = call_pb2.BatchReply()
    outcome = outcome_of_error(DeadlineExceeded("the call ran for as long as its method lets it"))
    reply.members.add(call_id=call.id, outcome=outcome)
    stop = stop_frame(str(call), context.attempt, Stop(State.EXPIRED))
    try:
        runtime.ledger.publish(reply_channel, reply_frame(reply.SerializeToString()))
        runtime.ledger.publish(control_channel(runtime.worker), stop)
    except BackendUnavailable as error:
        _log.warning("call %s: the ledger does not answer: %s", call, error)
