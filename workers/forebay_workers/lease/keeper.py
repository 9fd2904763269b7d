"""The thread of a worker's main process that answers for what the worker holds.

It has an event loop and connections of its own, so that neither a busy pool nor the
main loop, which stands still while the broker is away, keeps it from renewing claims.
It says that the worker is live, renews all claims in one round trip, ends what does not
heed a stop, gives back what a dead child ran, tells gateways which ephemeral calls are in
hand, and does its share of the repair.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.base import make_broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import CallerGone, Lost, lost_frame, parse_control
from forebay_backends.ledger.keys import CallKey, control_channel, queue_channel
from forebay_backends.ledger.operations.attempts import release, renew
from forebay_backends.ledger.presence import WorkerPresence, announce, withdraw
from forebay_backends.ledger.pubsub import listen
from forebay_backends.ledger.scripts import LEASE_S
from forebay_backends.reaper import REAP_INTERVAL_S, Reaper
from forebay_backends.settings import Settings
from forebay_workers.celery_hooks.fork_pause import ForkPause
from forebay_workers.celery_hooks.request import (
    Attempt,
    CallRequest,
    begun_tasks,
    failed,
    held,
    lost_batches,
)
from forebay_workers.lease.abandoned_calls import AbandonedCalls
from forebay_workers.lease.batch_heartbeats import BatchHeartbeats, tell_to_stop
from forebay_workers.lease.stop_grace import StopGrace
from forebay_workers.lease.unregistered_tasks import DroppedMessages

RENEW_EVERY_S = LEASE_S / 3
MIND_EVERY_S = 0.5
_FAREWELL_S = 5.0

_log = logging.getLogger(__name__)

T = TypeVar("T")


class LeaseKeeper:
    """Started when the worker is ready, stopped when it ends."""

    def __init__(self, presence: WorkerPresence, settings: Settings) -> None:
        self._presence = presence
        self._settings = settings
        self._worker = presence.worker
        self._channels = (
            control_channel(presence.worker),
            *(queue_channel(queue) for queue in presence.queues),
        )
        self.dropped = DroppedMessages(redis_broker=settings.backends().broker_is_redis)
        """Messages whose task is not registered here."""
        self.left = AbandonedCalls()
        """Ephemeral calls that are not to be begun."""
        self.standstill = ForkPause()
        """For as long as the process forks."""
        self._stops: StopGrace[str] = StopGrace(settings.cancel_grace_s)
        self._to_stop: set[Attempt] = set()
        self._lost: list[tuple[str, str]] = []
        self._to_release: set[Attempt] = set()
        self._released: set[Attempt] = set()
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forebay-keeper", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wanted(self, call_ids: Collection[str]) -> bool:
        """Whether anyone waits for any of the ephemeral calls; the others will be stopped."""
        left = [call_id for call_id in call_ids if call_id in self.left]
        if len(left) == len(call_ids):
            return False
        self._to_stop.update((CallKey(call_id), 1) for call_id in left)
        return True

    def give_back(self) -> None:
        """The worker begins nothing any more: others get what it has not begun."""
        self._closing.set()

    def stop(self) -> None:
        """Gives back what is still held, withdraws, and ends the thread; bounded."""
        self._stopping.set()
        self._thread.join(_FAREWELL_S)

    def _run(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        self.standstill.of_this_loop()
        backends = self._settings.backends()
        self._ledger = Ledger(backends.ledger_url)
        broker = make_broker(backends, self._ledger)
        reaper = Reaper(self._ledger, broker, self._settings.retention_bytes)
        loops = [
            run_periodically(RENEW_EVERY_S, self._announce, _log, "the announcement"),
            run_periodically(RENEW_EVERY_S, self._renew, _log, "the renewal of claims"),
            run_periodically(
                MIND_EVERY_S,
                partial(self.dropped.see_to, self._ledger, broker, self._worker),
                _log,
                "seeing to messages whose task is not registered",
            ),
            run_periodically(MIND_EVERY_S, self._mind, _log, "looking after calls"),
            run_periodically(
                REAP_INTERVAL_S,
                BatchHeartbeats(self._ledger, self._worker).tell,
                _log,
                "telling what is in hand",
            ),
            run_periodically(
                REAP_INTERVAL_S, partial(reaper.repair, self._presence.queues), _log, "the repair"
            ),
            # What was missed while the channel was away, the next renewal tells.
            listen(backends.ledger_url, self._channels, self._on_frame),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        while not self._stopping.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.05)
        await cancel_all(tasks)
        await self._say_farewell()
        await broker.close()
        await self._ledger.close()

    async def _announce(self) -> None:
        await announce(self._ledger, replace(self._presence, begun=begun_tasks()))

    async def _renew(self) -> None:
        """All claims, in one round trip; what is the worker's no longer is to stop."""
        by_partition: defaultdict[str, list[tuple[CallRequest, Attempt]]] = defaultdict(list)
        for request in held():
            for attempt in request.durable:
                if attempt not in self._released:
                    by_partition[attempt[0].partition].append((request, attempt))
        answers = await self._ledger.run_all(
            [
                renew(partition, self._worker, [attempt for _, attempt in claims])
                for partition, claims in by_partition.items()
            ]
        )
        for claims, refusals in zip(by_partition.values(), answers, strict=True):
            for (request, attempt), refused in zip(claims, refusals, strict=True):
                if refused is not None:
                    _log.info("call %s, attempt %d, is not ours: %s", *attempt, refused.why)
                    self._stops.told(request.id, time.monotonic())
                    self._to_stop.add(attempt)

    async def _mind(self) -> None:
        """Looks after what is held: half a second is how late a dead child shows."""
        requests = {request.id: request for request in held()}
        for request_id in self._stops.overdue(requests.keys(), time.monotonic()):
            self._end(requests[request_id])
        for request in requests.values():
            lost = request.child is not None and _has_died(request.child)
            unbegun = self._closing.is_set() and not request.begun
            if lost or unbegun:
                self._to_release.update(request.durable)
        self._to_release.update(_all_of(failed))
        self._lost.extend(_all_of(lost_batches))
        current = {attempt for request in requests.values() for attempt in request.durable}
        self._released = {attempt for attempt in self._released if attempt in current}
        while self._to_stop:
            await tell_to_stop(self._ledger, self._worker, self._to_stop.pop())
        await self._release()
        while self._lost:
            batch_id, channel = self._lost[-1]
            await self._ledger.publish(channel, lost_frame(Lost(batch_id)))
            self._lost.pop()

    async def _release(self) -> None:
        for attempt in self._to_release - self._released:
            await self._ledger.run(release(*attempt, self._worker))
            self._released.add(attempt)
        self._to_release.clear()

    def _end(self, request: CallRequest) -> None:
        """Kills the child that runs a call which is over."""
        if request.child is None:
            if request.begun:
                _log.warning(
                    "call %s is over and its handler runs on: only the prefork pool "
                    "can end it; let it look at context.is_active()",
                    request.id,
                )
            return
        if len(request.call_ids) > 1:
            return  # others may be wanted: the child knows which one runs, and ends itself
        _log.warning("call %s is over; the child that still runs it is ended", request.id)
        with contextlib.suppress(ProcessLookupError):
            os.kill(request.child, signal.SIGKILL)

    def _on_frame(self, frame: bytes) -> None:
        key, number, event = parse_control(frame)
        call, now = CallKey.parse(key), time.monotonic()
        if isinstance(event, CallerGone):
            self.left.add(call.id, now)
        for request in held():
            if (call, number) in request.attempts:
                self._stops.told(request.id, now)
                if isinstance(event, CallerGone):
                    self._to_stop.add((call, number))

    async def _say_farewell(self) -> None:
        try:
            self._to_release.update(attempt for one in held() for attempt in one.durable)
            await self._release()
            await withdraw(self._ledger, self._worker)
        except BackendUnavailable:
            _log.info("the ledger does not answer; the worker's claims and presence will lapse")


def _all_of(queue: SimpleQueue[T]) -> Iterator[T]:
    """What is in the queue now."""
    with contextlib.suppress(Empty):
        while True:
            yield queue.get_nowait()


def _has_died(child: int) -> bool:
    """Whether the pool's child has ended; it stays for Celery to be waited for."""
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
