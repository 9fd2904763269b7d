"""Messages whose task this worker has not registered: Celery drops them and sends a signal.

If another live worker consumes the queue and has the task, the message is sent to the queue
again, several times if necessary. If no such worker appears within 3 s, the calls end with
TASK_UNKNOWN, because waiting longer would not help them. The end of a call goes back to the ledger,
which keeps it until a worker has the task that is to be told of it.
"""

from __future__ import annotations

import logging
import time
from base64 import b64decode
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

from forebay.errors import TaskUnknown
from forebay.routes import HIGHEST_PRIORITY
from forebay.v1 import call_pb2, route_pb2
from forebay_backends.aio.outage_log import OnceInAWhile
from forebay_backends.broker.base import Broker
from forebay_backends.broker.end_messages import end_of
from forebay_backends.broker.task_messages import ORIGIN, TaskMessage, waiting_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import reply_frame
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import claim, finish
from forebay_backends.ledger.operations.ends import (
    KeptEnd,
    format_end,
    parse_end,
    restore_end,
)
from forebay_backends.ledger.operations.maintenance import UnclaimedCall, mark_resent
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.ledger.presence import live_workers
from forebay_backends.telemetry.call_labels import CallLabels, about_call
from forebay_workers.celery_hooks.request import (
    Attempt,
    about_calls,
    attempts_of,
    calls_of,
    drained,
    expiry_ms,
    traceparents_of,
)

START_GRACE_S = 3.0
"""How long a worker with the task may take to appear, for example while it restarts."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dropped:
    """A message of calls that Celery dropped; `message` is ready to be sent again.

    It names durable calls, or contains a batch.
    """

    message: TaskMessage
    attempts: Sequence[Attempt]
    traceparents: Mapping[CallKey, str]
    batch: call_pb2.Batch | None
    dropped_at: float = field(default_factory=time.monotonic)

    def about(self) -> AbstractContextManager[CallLabels | None]:
        """Labels log lines with the message's call, if it has one."""
        attempts = self.attempts
        if self.batch is not None:
            attempts = [(call, 1) for call in calls_of(self.batch)]
        return about_calls(attempts, self.traceparents, self.batch)


class DroppedMessages:
    """Dropped messages. Celery's thread adds them, the lease keeper's thread handles them."""

    def __init__(self, *, redis_broker: bool) -> None:
        self._redis_broker = redis_broker
        self._new: SimpleQueue[Dropped] = SimpleQueue()
        self._pending: list[Dropped] = []
        self._ends: deque[KeptEnd] = deque()
        self._warnings = OnceInAWhile()

    def on_task_unknown(self, message: Any, name: str, queue: str) -> None:
        """Adds a message from the queue; ignores those that are not Forebay's."""
        try:
            if message.headers.get("origin") != ORIGIN:
                return
            args, kwargs, _ = message.payload
            if args:
                end = end_of(args[0], route_pb2.OnEnd(task=name, queue=queue))
                self._keep_end(end, name, queue)
            else:
                self._new.put(_dropped(message, name, queue, kwargs, self._redis_broker))
        except Exception as error:  # anyone may write to the queue; consuming must go on
            kind = type(error).__name__
            _log.warning(
                "a message for task %r is not Forebay's, or of a later version: %s", name, kind
            )

    def _keep_end(self, end: KeptEnd, task: str, queue: str) -> None:
        """Raises ValueError for an end that no script of the ledger has written."""
        if parse_end(format_end(end)) != end:
            raise ValueError("the end of no call")
        # One warning in a while: thousands may come back, again and again.
        level = logging.WARNING if self._warnings.passes((queue, task)) else logging.INFO
        with about_call(end.call.id, end.attempt, end.method, tenant=end.call.owner):
            _log.log(
                level,
                "task %r is not registered here; the end of a call goes back to the ledger, until "
                "a worker of queue %r has the task",
                *(task, queue),
            )
        self._ends.append(end)

    async def resend_or_fail(self, ledger: Ledger, broker: Broker, worker: str) -> None:
        """Resends messages that a live worker can run; ends the calls of the others.

        Keeps a message during its grace period. Call it again if it raises BackendUnavailable.
        """
        self._pending += drained(self._new)
        if not self._pending:
            return
        others = [other for other in await live_workers(ledger) if other.worker != worker]
        for dropped in tuple(self._pending):
            task, queue = dropped.message.task, dropped.message.queue
            if any(queue in other.queues and task in other.tasks for other in others):
                await _resend(ledger, broker, dropped)
            elif time.monotonic() - dropped.dropped_at < START_GRACE_S:
                continue
            else:
                await _fail_all(ledger, worker, dropped)
            self._pending.remove(dropped)

    async def restore_ends(self, ledger: Ledger) -> None:
        """Stores the ends of calls in the ledger, whose repair sends their messages again.

        Keeps those that are not stored. Raises BackendUnavailable.
        """
        while self._ends:
            end = self._ends[0]
            sealed = ledger.seals.seal_on_end(end.call, end.method, end.on_end)
            await ledger.run(restore_end(replace(end, on_end=sealed)))
            self._ends.popleft()

    def log_lost_ends(self) -> None:
        """Logs of which ends the tasks are not told, because the ledger does not have them."""
        if self._ends:
            calls = ", ".join(str(end.call) for end in self._ends)
            _log.error("the ledger did not answer; no task is told of the ends of %s", calls)


def _dropped(
    message: Any, name: str, queue: str, kwargs: dict[str, Any], redis_broker: bool
) -> Dropped:
    batch = call_pb2.Batch.FromString(b64decode(kwargs["batch"])) if "batch" in kwargs else None
    priority = int(message.properties.get("priority") or 0)
    resent = TaskMessage(
        message.headers["id"],
        name,
        queue,
        HIGHEST_PRIORITY - priority if redis_broker else priority,
        kwargs,
        expiry_ms(batch) if batch else 0,
    )
    attempts = attempts_of(kwargs)
    return Dropped(resent, attempts, traceparents_of(kwargs, attempts), batch)


async def _resend(ledger: Ledger, broker: Broker, dropped: Dropped) -> None:
    message = dropped.message
    with dropped.about():
        _log.warning(
            "task %r is not registered here; its messages go back to queue %r, for another worker",
            *(message.task, message.queue),
        )
    if dropped.batch is not None:
        await broker.send(message)
    for call, attempt in dropped.attempts:
        unclaimed = UnclaimedCall(
            *(call, attempt, message.task, message.queue, message.priority or 0, 0),
            overtaken=False,
            traceparent=dropped.traceparents.get(call, ""),
        )
        await broker.send(waiting_message(unclaimed))
        await ledger.run(mark_resent(unclaimed))


async def _fail_all(ledger: Ledger, worker: str, dropped: Dropped) -> None:
    message = dropped.message
    with dropped.about():
        _log.error(
            "task %r is registered neither here nor by another live worker of queue %r; its calls "
            "fail: start a worker whose application registers it, and don't let this one consume "
            "that queue, or fix the method's route",
            *(message.task, message.queue),
        )
    outcome = outcome_of_error(TaskUnknown("no live worker of the method's queue has its task"))
    if dropped.batch is not None:
        replies = call_pb2.BatchReply()
        for member in dropped.batch.members:
            replies.members.add(call_id=member.call_id, outcome=outcome)
        frame = reply_frame(replies.SerializeToString())
        await ledger.publish(dropped.batch.reply_channel, frame)
    for call, attempt in dropped.attempts:
        await _fail(ledger, call, attempt, worker, outcome)


async def _fail(
    ledger: Ledger, call: CallKey, attempt: int, worker: str, outcome: call_pb2.Outcome
) -> None:
    """Ends the call, unless another worker has claimed it through another message."""
    if await ledger.run(claim(call, attempt, worker)) is None:
        sealed = ledger.seals.outcome(call, State.FAILED, 0, outcome.SerializeToString())
        await ledger.run(finish(call, attempt, Event.FAIL, "", sealed))
