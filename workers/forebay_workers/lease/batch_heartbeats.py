"""Heartbeats of ephemeral calls, which a worker sends to the calls' gateways.

An ephemeral call has no record, so without heartbeats its gateway could not tell a long call
from a lost one. The worker sends the first heartbeat after about a second, then three in each lease
period. A gateway answers with a stop if the caller has disconnected. If two heartbeats in a row
find no subscriber on the gateway's channel, the gateway has ended and its callers have lost their
connections, so the worker stops the calls.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import BatchHeartbeat, Stop, batch_heartbeat_frame, stop_frame
from forebay_backends.ledger.keys import control_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.scripts import RENEWAL_INTERVAL_S
from forebay_workers.celery_hooks.request import Attempt, CallRequest, reserved_calls

HEARTBEAT_INTERVAL_S = RENEWAL_INTERVAL_S
"""How often a worker renews its leases, announces itself and reports its batches."""
_FIRST_HEARTBEAT_S = 1.0

_log = logging.getLogger(__name__)


class BatchHeartbeats:
    """Schedules and sends the heartbeats of a worker's batches."""

    def __init__(self, ledger: Ledger, worker: str) -> None:
        self._ledger = ledger
        self._worker = worker
        self._next: dict[str, float] = {}
        self._unreceived: set[str] = set()

    async def send(self) -> None:
        """Sends the heartbeats that are due; raises BackendUnavailable.

        A gateway gets one for the batches that have begun, and one for those that have not.
        """
        now = time.monotonic()
        failure: BackendUnavailable | None = None
        batches = [request for request in reserved_calls() if request.batch is not None]
        self._next = {
            request.id: self._next.get(request.id, request.received_at + _FIRST_HEARTBEAT_S)
            for request in batches
        }
        self._unreceived &= self._next.keys()
        by_gateway: defaultdict[tuple[str, bool], list[CallRequest]] = defaultdict(list)
        for request in batches:
            if request.batch is not None and self._next[request.id] <= now:
                by_gateway[request.batch.reply_channel, request.begun].append(request)
        for (channel, begun), requests in by_gateway.items():
            try:
                await self._send(channel, requests, begun)
            except BackendUnavailable as error:
                failure = error
                continue
            # Not before: during an outage, the next round would have nothing to send, and succeed.
            self._next.update((request.id, now + HEARTBEAT_INTERVAL_S) for request in requests)
        if failure is not None:
            raise failure

    async def _send(self, channel: str, requests: Sequence[CallRequest], begun: bool) -> None:
        calls = tuple(call for request in requests for call in request.calls)
        frame = batch_heartbeat_frame(BatchHeartbeat(self._worker, calls, begun))
        if await self._ledger.publish(channel, frame):
            self._unreceived.difference_update(request.id for request in requests)
            return
        for request in requests:
            if request.id in self._unreceived:  # after one, it may be reconnecting
                with request.about():
                    _log.info(
                        "the gateway of batch %s has ended; its calls are stopped", request.id
                    )
                for attempt in request.attempts:
                    await publish_stop(self._ledger, self._worker, attempt)
            self._unreceived.add(request.id)


async def publish_stop(ledger: Ledger, worker: str, attempt: Attempt) -> None:
    """Stops an attempt in the process that runs it; raises BackendUnavailable."""
    call, number = attempt
    frame = stop_frame(str(call), number, Stop(State.CANCELLED))
    await ledger.publish(control_channel(worker), frame)
