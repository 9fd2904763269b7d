"""Messages whose task this worker has not registered: Celery drops them, and tells of it.

Their calls go to another live worker that consumes the queue and has the task, by way of the
queue again; it may take some turns. Where there is none, nor comes one in a moment, the call
ends with TASK_UNKNOWN: waiting for its queue wait would end no better.
"""

from __future__ import annotations

import logging
import time
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from forebay.errors import TaskUnknown
from forebay.v1 import call_pb2
from forebay_backends.broker.base import Broker
from forebay_backends.broker.task_messages import ORIGIN, TaskMessage, call_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import reply_frame
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event
from forebay_backends.ledger.operations.attempts import claim, finish
from forebay_backends.ledger.operations.maintenance import UnclaimedCall, mark_resent
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.ledger.presence import live_workers
from forebay_backends.urls import HIGHEST_PRIORITY
from forebay_workers.celery_hooks.request import Attempt, attempts_of

RETRY_FOR_S = 3.0
"""How long a worker that has the task may take to come, as when it is restarted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dropped:
    """A message of ours that Celery dropped; `message` is as it would be sent again."""

    message: TaskMessage
    attempts: Sequence[Attempt]
    batch: call_pb2.Batch | None
    since: float = field(default_factory=time.monotonic)


class DroppedMessages:
    """What was dropped and is to be seen to. Filled by Celery's thread, emptied by the keeper's."""

    def __init__(self, *, redis_broker: bool) -> None:
        self._redis_broker = redis_broker
        self._new: SimpleQueue[Dropped] = SimpleQueue()
        self._left: list[Dropped] = []

    def on_task_unknown(self, message: Any, name: str) -> None:
        """Celery's word; what is none of ours is left to it."""
        try:
            if message.headers.get("origin") != ORIGIN:
                return
            _, kwargs, _ = message.payload
            self._new.put(_dropped(message, name, kwargs, self._redis_broker))
        except Exception as error:  # whatever somebody put on the queue; nothing may stop consuming
            _log.warning("a message for task %r is none of Forebay's: %r", name, error)

    async def see_to(self, ledger: Ledger, broker: Broker, worker: str) -> None:
        """Sends them again, or ends their calls; raises BackendUnavailable, to be called again."""
        self._left += _all_of(self._new)
        if not self._left:
            return
        workers = [one for one in await live_workers(ledger) if one.worker != worker]
        for dropped in tuple(self._left):
            task, queue = dropped.message.task, dropped.message.queue
            if any(queue in one.queues and task in one.tasks for one in workers):
                await _send_again(ledger, broker, dropped)
            elif time.monotonic() - dropped.since < RETRY_FOR_S:
                continue
            else:
                await _end(ledger, worker, dropped)
            self._left.remove(dropped)


def _dropped(message: Any, name: str, kwargs: dict[str, Any], redis_broker: bool) -> Dropped:
    said = int(message.properties.get("priority") or 0)
    again = TaskMessage(
        message.headers["id"],
        name,
        message.delivery_info["routing_key"],
        HIGHEST_PRIORITY - said if redis_broker else said,
        kwargs,
    )
    batch = call_pb2.Batch.FromString(b64decode(kwargs["batch"])) if "batch" in kwargs else None
    return Dropped(again, attempts_of(kwargs), batch)


def _all_of(queue: SimpleQueue[Dropped]) -> list[Dropped]:
    found = []
    try:
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found


async def _send_again(ledger: Ledger, broker: Broker, dropped: Dropped) -> None:
    message = dropped.message
    _log.warning(
        "task %r is not registered here; its calls go back to queue %r, for another worker",
        message.task,
        message.queue,
    )
    if dropped.batch is not None:
        await broker.send(message)
    for call, attempt in dropped.attempts:
        await broker.send(
            call_message(
                call, attempt, task=message.task, queue=message.queue, priority=message.priority
            )
        )
        unclaimed = UnclaimedCall(
            call, attempt, message.task, message.queue, message.priority, 0, overtaken=False
        )
        await ledger.run(mark_resent(unclaimed))


async def _end(ledger: Ledger, worker: str, dropped: Dropped) -> None:
    message = dropped.message
    _log.error(
        "task %r is registered neither here nor by another live worker of queue %r; its calls "
        "fail: start a worker whose application registers it, and let this one not consume "
        "that queue, or mend the method's route",
        message.task,
        message.queue,
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
    """Ends the call, unless another worker has it, which got it by another message."""
    if await ledger.run(claim(call, attempt, worker)) is None:
        await ledger.run(finish(call, attempt, Event.FAIL, "", outcome.SerializeToString()))
