"""Telling gateways which of their ephemeral calls are in hand.

Such calls have no record, so their gateway can't tell one that takes long from one that
is lost. After a second, and then three times a lease, it is told; it answers with a stop
where the caller has gone. A gateway that hears nothing is gone, and so are its callers.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import BatchHeartbeat, Stop, batch_heartbeat_frame, stop_frame
from forebay_backends.ledger.keys import control_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.scripts import LEASE_S
from forebay_workers.celery_hooks.request import Attempt, CallRequest, held

_FIRST_AFTER_S = 1.0
_AGAIN_AFTER_S = LEASE_S / 3

_log = logging.getLogger(__name__)


class BatchHeartbeats:
    """What gateways were told, by a worker."""

    def __init__(self, ledger: Ledger, worker: str) -> None:
        self._ledger = ledger
        self._worker = worker
        self._next: dict[str, float] = {}
        self._unheard: set[str] = set()

    async def tell(self) -> None:
        """Tells each gateway what is due to be told; raises BackendUnavailable."""
        now = time.monotonic()
        batches = [request for request in held() if request.batch is not None]
        self._next = {one.id: self._next.get(one.id, one.since + _FIRST_AFTER_S) for one in batches}
        self._unheard &= self._next.keys()
        by_gateway: defaultdict[tuple[str, bool], list[CallRequest]] = defaultdict(list)
        for one in batches:
            if one.batch is not None and self._next[one.id] <= now:
                self._next[one.id] = now + _AGAIN_AFTER_S
                by_gateway[one.batch.reply_channel, one.begun].append(one)
        for (channel, begun), theirs in by_gateway.items():
            await self._tell(channel, theirs, begun)

    async def _tell(self, channel: str, requests: Sequence[CallRequest], begun: bool) -> None:
        call_ids = tuple(call_id for request in requests for call_id in request.call_ids)
        frame = batch_heartbeat_frame(BatchHeartbeat(self._worker, call_ids, begun))
        if await self._ledger.publish(channel, frame):
            self._unheard.difference_update(request.id for request in requests)
            return
        for request in requests:
            if request.id in self._unheard:  # the first time it may just be coming back
                _log.info("the gateway of %s is gone; stopped", request.id)
                for attempt in request.attempts:
                    await tell_to_stop(self._ledger, self._worker, attempt)
            self._unheard.add(request.id)


async def tell_to_stop(ledger: Ledger, worker: str, attempt: Attempt) -> None:
    """Tells the process that runs the call that it is over; raises BackendUnavailable."""
    call, number = attempt
    frame = stop_frame(str(call), number, Stop(State.CANCELLED))
    await ledger.publish(control_channel(worker), frame)
