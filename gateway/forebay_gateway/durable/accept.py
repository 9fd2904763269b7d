"""Writing the records of durable calls and sending their messages.

Where broker and ledger are one server, both happen together. There, unary calls of methods
that share messages gather, as ephemeral ones do, and one message names them all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from forebay.routes import Method
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.broker.dispatcher import Dispatcher
from forebay_backends.broker.task_messages import TaskMessage, call_message, calls_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Push
from forebay_backends.ledger.operations.calls import ExistingCall, NewCall, accept
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_gateway.rpc.batching import Batcher, BatchQueue
from forebay_gateway.rpc.uuid7 import uuid7

_SMALL_BYTES = 64 * 1024
"""A larger request would keep those that share its round trip waiting."""


@dataclass(eq=False)
class _Accept:
    """A call that is to be accepted with others."""

    call: CallKey
    new: NewCall
    begun_at: float
    reply: asyncio.Future[ExistingCall | None]


@dataclass(eq=False)
class _Accepted:
    """Calls of one message, those that have not ended."""

    calls: set[CallKey] = field(default_factory=set)


class Acceptor:
    """Accepts durable calls. One object a gateway."""

    def __init__(
        self,
        ledger: Ledger,
        pipeliner: Pipeliner,
        dispatcher: Dispatcher,
        channel: str,
        slots: Callable[[str], int],
    ) -> None:
        self._ledger = ledger
        self._pipeliner = pipeliner
        self._dispatcher = dispatcher
        self._channel = channel
        self._gatherings = Batcher(slots, self._accept_together)
        self._in_flight: dict[CallKey, tuple[BatchQueue[_Accept], _Accepted]] = {}
        self._background_tasks = BackgroundTasks()

    async def accept(
        self, call: CallKey, method: Method, new: NewCall, message: TaskMessage
    ) -> ExistingCall | None:
        """`ExistingCall` where the id stands for a call already; raises BackendUnavailable.

        The message is for a call that shares none; it goes with the record where scripts push
        it and the call has its requests.
        """
        is_small = len(new.request) <= _SMALL_BYTES
        if not (is_small and self._dispatcher.pushes and method.route.max_batch > 1):
            push = Push() if new.receiving else self._dispatcher.push_of(message)
            way = self._pipeliner.run if is_small else self._ledger.run
            return await way(accept(call, new, self._channel, push))
        reply: asyncio.Future[ExistingCall | None] = asyncio.get_running_loop().create_future()
        gathering = self._gatherings.of(method, new.priority)
        gathering.add(_Accept(call, new, time.monotonic(), reply))
        self._gatherings.send_due(gathering)
        return await reply

    def ended(self, call: CallKey, ending: Ending | None) -> None:
        """The call has ended so, or its caller has left."""
        gathering, accepted = self._in_flight.pop(call, (None, None))
        if gathering is None or accepted is None:
            return
        if ending is not None:
            gathering.ran(ending.run_ms / 1000)
        accepted.calls.discard(call)
        if not accepted.calls:
            gathering.over(accepted)
            self._gatherings.send_due(gathering)

    def _accept_together(self, gathering: BatchQueue[_Accept], calls: list[_Accept]) -> None:
        accepted = _Accepted({one.call for one in calls})
        gathering.sent(accepted)
        for one in calls:
            self.ended(one.call, None)  # of two callers with one id, the later counts
            self._in_flight[one.call] = gathering, accepted
        self._background_tasks.start(self._run(calls))

    async def _run(self, calls: list[_Accept]) -> None:
        first = calls[0]
        message = _message_of(calls)
        operations = [
            accept(one.call, one.new, self._channel, Push(), piggybacked=one is not first)
            for one in calls
        ]
        try:
            answers = await self._ledger.run_with_push(
                operations, self._dispatcher.push_of(message)
            )
        except Exception as error:
            answers = [error for _ in calls]
        for one, answer in zip(calls, answers, strict=True):
            if isinstance(answer, Exception):
                self.ended(one.call, None)
                if not one.reply.done():
                    one.reply.set_exception(answer)
            elif not one.reply.done():
                one.reply.set_result(answer)


def _message_of(calls: list[_Accept]) -> TaskMessage:
    new = calls[0].new
    if len(calls) == 1:
        return call_message(calls[0].call, 1, task=new.task, queue=new.queue, priority=new.priority)
    keys = [one.call for one in calls]
    return calls_message(uuid7(), keys, task=new.task, queue=new.queue, priority=new.priority)
