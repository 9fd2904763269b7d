"""Sends replies to gateways from the event loop; those made during a publish share the next one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TypeAlias

from forebay.v1 import call_pb2
from forebay_backends.ledger.errors import RETRY_DELAY_S
from forebay_backends.ledger.frames import reply_frame
from forebay_workers.coroutines.ledger import LoopLedger
from forebay_workers.handler.absent_gateways import AbsentGateways

_MOST_REPLIES = 64
_MOST_BYTES = 1 << 20

_log = logging.getLogger(__name__)

_Entry: TypeAlias = tuple[call_pb2.BatchMemberReply, "asyncio.Future[None]"]


class Replies:
    """Publishes replies on the gateways' channels."""

    def __init__(self, ledger: LoopLedger) -> None:
        self._ledger = ledger
        self._absent = AbsentGateways()
        self._waiting: dict[str, deque[_Entry]] = {}
        self._senders: set[asyncio.Task[None]] = set()

    async def send(self, channel: str, reply: call_pb2.BatchMemberReply) -> None:
        """Returns when the reply has reached its gateway, or that has ended.

        Waits for a ledger that does not answer, and for a gateway that connects again. Raises
        LedgerUnavailable.
        """
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(channel)
        if waiting is not None:
            waiting.append((reply, sent))
        else:
            self._waiting[channel] = deque([(reply, sent)])
            sender = asyncio.create_task(self._send(channel))
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        await sent

    async def _send(self, channel: str) -> None:
        waiting = self._waiting[channel]
        try:
            while waiting:
                await self._publish(channel, _next(waiting))
        finally:
            del self._waiting[channel]

    async def _publish(self, channel: str, entries: list[_Entry]) -> None:
        replies = call_pb2.BatchReply(members=[reply for reply, _ in entries])
        try:
            await self._deliver(channel, reply_frame(replies.SerializeToString()))
        except Exception as error:
            for _, sent in entries:
                if not sent.done():
                    sent.set_exception(error)
            return
        for _, sent in entries:
            if not sent.done():
                sent.set_result(None)

    async def _deliver(self, channel: str, frame: bytes) -> None:
        while not await self._ledger.publish(channel, frame):
            if not self._absent.may_return(channel, time.monotonic()):
                _log.info("no gateway subscribes to %s any more", channel)
                return
            await asyncio.sleep(RETRY_DELAY_S)
        self._absent.reached(channel)


def _next(waiting: deque[_Entry]) -> list[_Entry]:
    taken, size = [waiting.popleft()], 0
    while waiting and len(taken) < _MOST_REPLIES and size < _MOST_BYTES:
        taken.append(waiting.popleft())
        size += len(taken[-1][0].response)
    return taken
