"""Tells tasks of the ends of calls: sends the messages that the ledger keeps for them.

The repair does it, in the process that was elected for it, so that it goes on without gateways.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence

from google.protobuf.message import DecodeError

from forebay.errors import BackendUnavailable
from forebay.v1 import route_pb2
from forebay_backends.aio.outage_log import OnceInAWhile, OutageLog
from forebay_backends.broker.base import Broker
from forebay_backends.broker.end_messages import EndMessage, end_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.operations.ends import (
    MOST_AT_ONCE,
    TAKEN_FOR_S,
    TakenEnds,
    forget_ends,
    parse_end,
    take_ends,
)
from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.signing.keyring import SignatureError

_MOST_S = TAKEN_FOR_S / 5
"""In one repair, which has other work too; what is taken is sent long before another process may
take it."""
_SENDS_AT_ONCE = 8

_log = logging.getLogger(__name__)


class EndNotices:
    """One process's share of the messages."""

    def __init__(self, ledger: Ledger, broker: Broker) -> None:
        self._ledger = ledger
        self._broker = broker
        self._first = 0
        self._warnings = OnceInAWhile()
        self._outage = OutageLog(
            _log,
            "tasks can't be told of the ends of calls; the ledger keeps the messages",
            "tasks are told of the ends of calls again",
        )

    async def send(self, counts: Sequence[int], workers: Collection[WorkerPresence]) -> None:
        """Sends messages, if there are any; `counts` says of each partition how many wait.

        If the time is up, the next call begins at the next partition: messages that can't be sent
        do not hold up those of other partitions. `workers` are those that live. Raises
        BackendUnavailable if the ledger does not answer.
        """
        give_up_at = time.monotonic() + _MOST_S
        numbers = range(len(counts))
        rotated = (*numbers[self._first :], *numbers[: self._first])
        for partition in (number for number in rotated if counts[number]):
            self._first = partition + 1
            count = MOST_AT_ONCE
            while count == MOST_AT_ONCE:
                taken = await self._ledger.run(take_ends(partition))
                count = len(taken.entries)
                for first in range(0, count, _SENDS_AT_ONCE):
                    some = taken.entries[first : first + _SENDS_AT_ONCE]
                    if not await self._sent(taken, some, workers):
                        return
                if time.monotonic() >= give_up_at:
                    return

    async def _sent(
        self, taken: TakenEnds, entries: Sequence[bytes], workers: Collection[WorkerPresence]
    ) -> bool:
        """Sends messages, and forgets those that need no other try; False if no broker answers."""
        sends = (self._send(entry, workers) for entry in entries)
        results = await asyncio.gather(*sends, return_exceptions=True)
        done = [entry for entry, result in zip(entries, results, strict=True) if result is True]
        if done:
            await self._ledger.run(forget_ends(taken, done))
        for result in results:
            if isinstance(result, BackendUnavailable):
                self._outage.failed(result)
                return False
            if isinstance(result, BaseException):
                raise result
        if done:
            self._outage.succeeded()
        return True

    async def _send(self, entry: bytes, workers: Collection[WorkerPresence]) -> bool:
        """Whether the message is on the broker, or can never be sent."""
        message = self._message(entry)
        if message is None:
            return True
        if _would_be_dropped(message, workers):
            problem = f"no live worker of the queue {message.queue!r} has it"
            self._warn(message, problem, "start one whose application registers it")
            return False
        if await self._broker.send(message):
            return True
        self._warn(message, f"the queue {message.queue!r} does not exist", "start a worker of it")
        return False

    def _warn(self, message: EndMessage, problem: str, fix: str) -> None:
        if self._warnings.passes((message.queue, message.task)):
            _log.warning(
                "the task %s can't be told of the ends of calls: %s; %s",
                *(message.task, problem, fix),
            )

    def _message(self, entry: bytes) -> EndMessage | None:
        """None if the ledger's entry was altered."""
        seals = self._ledger.seals
        try:
            end = parse_end(entry)
            opened = seals.on_end(end.call, end.method, end.on_end)
            return end_message(end, route_pb2.OnEnd.FromString(opened))
        except SignatureError as error:
            seals.keyring.refused(error)
        except (ValueError, DecodeError) as error:  # the entry may have anything in it
            _log.error("the end of a call can't be read: %s", type(error).__name__)
        return None


def _would_be_dropped(message: EndMessage, workers: Collection[WorkerPresence]) -> bool:
    """Whether workers consume the queue, and none of them has the task.

    Celery drops messages of unknown tasks. If no worker of Forebay's consumes the queue, messages
    wait in it, or are another application's.
    """
    consumers = [worker for worker in workers if message.queue in worker.queues]
    return bool(consumers) and not any(message.task in worker.tasks for worker in consumers)
