"""The thread of a worker's main process that keeps the leases on the worker's calls.

It has an event loop and connections of its own: a busy pool, or a main loop that blocks
while the broker is unavailable, does not delay renewals. Its duties:

- announce the worker, and renew all its leases in one round trip;
- kill a pool child whose handler still runs after the grace time of a stop;
- release the calls of a child that died, and calls that have not begun when the worker shuts down;
- send heartbeats for ephemeral calls;
- run its share of the reaper's rounds.
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
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from forebay.errors import BackendUnavailable
from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.base import Broker, make_broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.expected_clock import ExpectedClock
from forebay_backends.ledger.frames import CallerGone, Lost, lost_frame, parse_control
from forebay_backends.ledger.keys import CallKey, control_channel, queue_channel
from forebay_backends.ledger.operations.attempts import release, renew
from forebay_backends.ledger.operations.base import Lapse
from forebay_backends.ledger.presence import MAX_LISTED, WorkerPresence, announce, withdraw
from forebay_backends.ledger.pubsub import listen
from forebay_backends.ledger.seals import Seals
from forebay_backends.reaper import REAP_INTERVAL_S, Reaper, RepairCounts, count_lapses
from forebay_backends.settings import Settings
from forebay_backends.signing.keyring import NO_KEYS, Keyring, SignatureError
from forebay_backends.telemetry.call_labels import about_call
from forebay_backends.urls import RedisServer
from forebay_workers.celery_hooks.fork_pause import ForkPause
from forebay_workers.celery_hooks.request import (
    Attempt,
    CallRequest,
    begun_tasks,
    drained,
    failed_attempts,
    held_messages,
    longest_running,
    lost_batches,
    reserved_calls,
    running_tasks,
)
from forebay_workers.handler.process_exit import CLOSE_TIMEOUT_S
from forebay_workers.lease.abandoned_calls import AbandonedCalls
from forebay_workers.lease.batch_heartbeats import (
    HEARTBEAT_INTERVAL_S,
    BatchHeartbeats,
    publish_stop,
)
from forebay_workers.lease.stop_grace import StopGrace
from forebay_workers.lease.unregistered_tasks import DroppedMessages

CHECK_INTERVAL_S = 0.5
"""Interval of the checks of requests: the death of a pool child is noticed at most this late."""
_RESTORE_S = CLOSE_TIMEOUT_S / 2
"""How long a worker that stops may take to store the ends of calls that it can't tell of."""

_log = logging.getLogger(__name__)


class KeeperMetrics(RepairCounts, Protocol):
    """What the keeper counts."""

    def ledger(self, operation: str, seconds: float) -> None: ...


class LeaseKeeper:
    """Keeps a worker's leases from when the worker is ready until it has shut down."""

    def __init__(
        self,
        presence: WorkerPresence,
        settings: Settings,
        consumed: Callable[[], tuple[str, ...]] | None = None,
        metrics: KeeperMetrics | None = None,
        keyring: Keyring = NO_KEYS,
    ) -> None:
        """`consumed` returns the worker's queues, which remote control can change."""
        self._metrics = metrics
        self._keyring = keyring
        self._presence = presence
        self._consumed = consumed or (lambda: presence.queues)
        self._settings = settings
        self._worker = presence.worker
        self.dropped = DroppedMessages(redis_broker=settings.backends().broker_is_redis)
        self.fork_pause = ForkPause()
        self._queues_changed = AutoResetEvent()
        self._renew_now = AutoResetEvent()
        self._check_now = AutoResetEvent()
        self._clock_offset_s: float | None = None
        self._abandoned = AbandonedCalls()
        self._stops: StopGrace[str] = StopGrace(settings.cancel_grace_s)
        self._to_stop: set[Attempt] = set()
        self._lost_batches: list[tuple[str, str]] = []
        self._to_release: set[Attempt] = set()
        self._released: set[Attempt] = set()
        self._shutting_down = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forebay-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def accept_batch(self, calls: Collection[CallKey]) -> bool:
        """Returns False if all of a batch's callers have disconnected.

        If only some have, their calls are stopped.
        """
        abandoned = [call for call in calls if call in self._abandoned]
        if len(abandoned) == len(calls):
            return False
        self._to_stop.update((call, 1) for call in abandoned)
        return True

    def ledger_ms(self) -> float | None:
        """The approximate time on the ledger's clock; None before the first announcement."""
        offset_s = self._clock_offset_s
        return None if offset_s is None else (time.monotonic() + offset_s) * 1000

    def begin_shutdown(self) -> None:
        """Releases the calls that have not begun: a worker that shuts down begins no more."""
        self._shutting_down.set()

    def close(self) -> None:
        """Releases all calls, withdraws the worker, and ends the thread; takes at most 5 s."""
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        self.fork_pause.attach()
        backends = self._settings.backends()
        observe = self._metrics.ledger if self._metrics is not None else None
        self._ledger = Ledger(
            backends.ledger, observe=observe, seals=Seals(self._keyring), clock=ExpectedClock()
        )
        broker = make_broker(backends, self._ledger)
        loops = [*self._loops(self._ledger, broker), self._listen(backends.ledger)]
        tasks = [asyncio.create_task(loop) for loop in loops]
        while not self._closing.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.05)
        await cancel_all(tasks)
        await self._release_all_and_withdraw()
        await broker.close()
        await self._ledger.close()

    def _loops(self, ledger: Ledger, broker: Broker) -> list[Coroutine[Any, Any, None]]:
        """The keeper's periodic duties."""
        reaper = Reaper(ledger, broker, self._settings.retention_bytes, self._metrics)
        return [
            run_periodically(HEARTBEAT_INTERVAL_S, self._announce, _log, "the announcement"),
            run_periodically(
                HEARTBEAT_INTERVAL_S,
                self._renew,
                _log,
                "the renewal of leases",
                wake=self._renew_now,
            ),
            run_periodically(
                CHECK_INTERVAL_S,
                partial(self.dropped.resend_or_fail, ledger, broker, self._worker),
                _log,
                "resending messages whose task is not registered",
            ),
            run_periodically(
                CHECK_INTERVAL_S,
                partial(self.dropped.restore_ends, ledger),
                _log,
                "returning the ends of calls whose task is not registered",
            ),
            run_periodically(
                CHECK_INTERVAL_S,
                self._check_requests,
                _log,
                "checking requests",
                wake=self._check_now,
            ),
            run_periodically(CHECK_INTERVAL_S, self._follow_queues, _log, "following the queues"),
            run_periodically(
                REAP_INTERVAL_S,
                BatchHeartbeats(ledger, self._worker).send,
                _log,
                "sending heartbeats of batches",
            ),
            run_periodically(
                REAP_INTERVAL_S,
                lambda: reaper.repair(self._presence.queues),
                _log,
                "the reaper's round",
            ),
            *([self._keyring.watch()] if self._keyring.is_on else []),
        ]

    async def _listen(self, ledger: RedisServer) -> None:
        """Listens for frames that stop calls, on the worker's own channel and its queues' channels.

        Gateways publish on a queue's channel that the caller of an ephemeral call has disconnected.
        It misses frames published while it is disconnected. The ledger then refuses the next
        renewal of a stopped call's lease.
        """
        while True:
            queues = self._presence.queues
            channels = (control_channel(self._worker), *map(queue_channel, queues))
            listening = asyncio.create_task(listen(ledger, channels, self._on_frame))
            try:
                while self._presence.queues == queues:
                    await self._queues_changed.wait()
            finally:
                await cancel_all([listening])

    async def _follow_queues(self) -> None:
        """Announces the queues that `celery control` has added or cancelled."""
        queues = self._consumed()
        if queues != self._presence.queues:
            _log.info("the worker consumes the queues %s", ", ".join(queues) or "(none)")
            self._presence = replace(self._presence, queues=queues)
            self._queues_changed.set()
            await self._announce()

    async def _announce(self) -> None:
        presence = replace(
            self._presence,
            begun=begun_tasks(),
            running=running_tasks(),
            longest_running=tuple(longest_running()[:MAX_LISTED]),
            held=held_messages(),
            signing_keys=self._keyring.ids,
        )
        now_s = await announce(self._ledger, presence)
        self._clock_offset_s = now_s - time.monotonic()

    async def _renew(self) -> None:
        """Renews all leases in one round trip; stops the calls whose lease is lost."""
        by_partition: defaultdict[str, list[tuple[CallRequest, Attempt]]] = defaultdict(list)
        for request in reserved_calls():
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
                    call, number = attempt
                    traceparent = request.traceparents.get(call, "")
                    with about_call(call.id, number, traceparent=traceparent, tenant=call.owner):
                        _log.info("call %s: its lease is lost: %s", call, refused.why)
                    self._stops.start(request.id, time.monotonic())
                    self._to_stop.add(attempt)

    async def _check_requests(self) -> None:
        requests = {request.id: request for request in reserved_calls()}
        for request_id in self._stops.expired(requests.keys(), time.monotonic()):
            _kill(requests[request_id])
        for request in requests.values():
            is_lost = request.pool_pid is not None and _has_died(request.pool_pid)
            will_not_begin = self._shutting_down.is_set() and not request.begun
            if is_lost or will_not_begin:
                self._to_release.update(request.durable)
        self._to_release.update(drained(failed_attempts))
        self._lost_batches.extend(drained(lost_batches))
        reserved = {attempt for request in requests.values() for attempt in request.durable}
        self._released &= reserved
        while self._to_stop:
            await publish_stop(self._ledger, self._worker, self._to_stop.pop())
        await self._release()
        while self._lost_batches:
            batch_id, channel = self._lost_batches[-1]
            await self._ledger.publish(channel, lost_frame(Lost(batch_id)))
            self._lost_batches.pop()

    async def _release(self) -> None:
        for attempt in self._to_release - self._released:
            released = await self._ledger.run(release(*attempt, self._worker))
            if isinstance(released, Lapse):
                count_lapses(self._metrics, [released])
            self._released.add(attempt)
        self._to_release.clear()

    def _on_frame(self, frame: bytes) -> None:
        try:
            opened, is_signed = self._ledger.seals.open_frame(frame)
            key, number, event = parse_control(opened)
            if isinstance(event, CallerGone) and not is_signed:
                self._keyring.unsigned("frame of a gateway")
        except SignatureError as error:
            self._keyring.refused(error)
            return
        if not is_signed:
            # A ledger script or anyone who may publish sent it: a renewal shows whether it is true.
            self._renew_now.set()
            return
        call, now = CallKey.parse(key), time.monotonic()
        if isinstance(event, CallerGone):
            self._abandoned.add(call, now)
        for request in reserved_calls():
            if (call, number) in request.attempts:
                self._stops.start(request.id, now)
                if isinstance(event, CallerGone):
                    self._to_stop.add((call, number))
                    self._check_now.set()

    async def _release_all_and_withdraw(self) -> None:
        try:
            for request in reserved_calls():
                self._to_release.update(request.durable)
            await self._release()
            await withdraw(self._ledger, self._worker)
        except BackendUnavailable:
            _log.info("the ledger does not answer; the worker's leases and presence will expire")
        with contextlib.suppress(BackendUnavailable, TimeoutError):
            async with asyncio.timeout(_RESTORE_S):
                await self.dropped.restore_ends(self._ledger)
        self.dropped.log_lost_ends()


def _kill(request: CallRequest) -> None:
    """Kills the pool child that runs a request whose grace has passed, if that is safe."""
    if request.pool_pid is None:
        if request.begun:
            with request.about():
                _log.warning(
                    "call %s was stopped and its handler still runs: only the prefork pool can "
                    "end it; let the handler check context.is_active()",
                    request.id,
                )
        return
    if len(request.calls) > 1:
        return  # the child knows which of the calls runs, and kills itself (control_channel.py)
    with request.about():
        _log.warning("call %s was stopped and still runs; its pool child is killed", request.id)
    with contextlib.suppress(ProcessLookupError):
        os.kill(request.pool_pid, signal.SIGKILL)


def _has_died(pid: int) -> bool:
    """Whether the pool child has ended; does not reap it, because Celery does."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
