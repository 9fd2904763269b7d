"""Starts delayed calls when they are due.

About once a second an expiring key elects one gateway, which reads from the ledger which calls are
due soon. It starts each at its time. All gateways look again as soon as the key has expired, so
that if the elected one dies, another knows the same calls within a second, and those that are
overdue start at once. Two gateways may try to start the same call; the ledger lets
one of them do it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence

from forebay.errors import BackendUnavailable, QueueFull, QuotaExceeded
from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.base import Broker, ledger_push
from forebay_backends.broker.task_messages import waiting_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS, STARTING, CallKey, delayed_keys
from forebay_backends.ledger.operations.base import Push, Refused
from forebay_backends.ledger.operations.delayed import (
    MOST_A_PARTITION,
    DelayedCount,
    count_delayed,
    due_calls,
    start,
)
from forebay_backends.ledger.operations.held import HeldCall
from forebay_backends.ledger.operations.maintenance import mark_resent
from forebay_backends.telemetry.call_labels import about_call
from forebay_gateway.admission.admission import TenantAccount
from forebay_gateway.admission.retry_after import retry_after_s
from forebay_gateway.durable.held_calls import HeldCalls, chunks

_ELECTED_FOR_S = 0.9
"""Less than the second that a call may be late if only a gateway that has died knew of it."""
_RETRY_INTERVAL_S = 0.25
"""After an outage of the ledger, calls that are due start this soon."""
_AHEAD_S = 3.0
"""How far an elected gateway looks ahead: until the second next election."""
_PER_ROUND_TRIP = 100
_SENDS_AT_ONCE = 16

_log = logging.getLogger(__name__)


class DelayedCalls:
    """The delayed calls that this gateway is about to start; `held` is None without tenants."""

    def __init__(
        self, ledger: Ledger, broker: Broker, held: HeldCalls | None, max_calls: int
    ) -> None:
        self._ledger = ledger
        self._broker = broker
        self._held = held
        self._max_calls = max_calls
        self._due: dict[CallKey, tuple[float, HeldCall]] = {}
        self._asked: set[int] = set()
        self._background_tasks = BackgroundTasks()
        self._look_now = AutoResetEvent()
        self._changed = AutoResetEvent()
        self._outage = OutageLog(
            _log,
            "messages of calls that are due can't be sent; they are kept, and retried",
            "messages of calls that are due are sent again",
        )

    async def check_room(self, tenant: TenantAccount | None) -> None:
        """Raises QueueFull or QuotaExceeded if too many calls are delayed already.

        Calls that are accepted at the same moment may exceed the limits by their number.
        """
        owner = "" if tenant is None else tenant.name
        counts = await self._ledger.run_all([count_delayed(n, owner) for n in range(PARTITIONS)])
        count = sum(counts, DelayedCount())
        if count.all >= self._max_calls:
            raise QueueFull(
                f"{self._max_calls} delayed calls wait, which is the limit",
                retry_after_s=retry_after_s(None),
                quota="delayed calls",
            )
        limit = None if tenant is None else tenant.max_delayed
        if limit is not None and count.of_owner >= limit:
            raise QuotaExceeded(
                f"this tenant has {limit} delayed calls, which is its limit",
                retry_after_s=retry_after_s(None),
                quota="delayed",
            )

    def expect(self, call: CallKey, in_s: float) -> None:
        """A call was accepted here; one that is due soon is looked at now."""
        if in_s <= _AHEAD_S:
            self._asked.add(call.partition_number)
            self._look_now.set()

    async def run(self) -> None:
        """Starts calls that are due, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                run_periodically(
                    *(_ELECTED_FOR_S, self._look, _log, "looking for delayed calls"),
                    retry_interval_s=_RETRY_INTERVAL_S,
                    wake=self._look_now,
                )
            )
            tasks.create_task(self._start_due())

    async def _look(self) -> float:
        """Reads which calls are due soon; returns in how many seconds the next election is."""
        if not await self._ledger.may_exist(delayed_keys()):
            return _ELECTED_FOR_S
        elsewhere_s = await self._ledger.elected_elsewhere_s(STARTING, _ELECTED_FOR_S)
        partitions: Iterable[int] = sorted(self._asked) if elsewhere_s else range(PARTITIONS)
        self._asked.clear()
        try:
            if partitions:
                await self._read(partitions)
        except BackendUnavailable:
            self._asked.update(partitions)  # the next look comes before the next election
            raise
        return elsewhere_s or _ELECTED_FOR_S

    async def _read(self, partitions: Iterable[int]) -> None:
        found = await self._ledger.run_all([due_calls(n, _AHEAD_S) for n in partitions])
        now = time.monotonic()
        for calls in found:
            for one in calls:
                self._due[one.call] = now + one.in_s, one.held
            if len(calls) == MOST_A_PARTITION and not calls[-1].in_s:  # more may be due
                self._asked.add(calls[-1].call.partition_number)
                self._look_now.set()
        self._changed.set()

    async def _start_due(self) -> None:
        while True:
            now = time.monotonic()
            due = [held for at, held in self._due.values() if at <= now]
            for some in chunks(due, _PER_ROUND_TRIP):
                try:
                    await self._start(some)
                except Exception:  # a bug must not stop all other calls; the next look finds them
                    _log.exception("delayed calls could not be started")
            if not due:
                soonest = min((at for at, _ in self._due.values()), default=None)
                await self._changed.wait(None if soonest is None else max(0.0, soonest - now))

    async def _start(self, calls: Sequence[HeldCall]) -> None:
        """Starts calls; those that could not be started are found again at the next look."""
        for one in calls:
            del self._due[one.call]
        ours = [self._held is not None and bool(one.call.owner) for one in calls]
        operations = [
            start(one.call, Push() if held else self._push(one), held=held)
            for one, held in zip(calls, ours, strict=True)
        ]
        results = await self._ledger.run_each(operations)
        unsent = []
        for one, held, result in zip(calls, ours, results, strict=True):
            if isinstance(result, BackendUnavailable | Refused):
                continue
            if result is not None:
                call = one.call
                with about_call(call.id, one.attempt, one.method, one.traceparent, call.owner):
                    _log.error("call %s could not be started", call, exc_info=result)
            elif held and self._held is not None:
                self._held.take_over(one)
            elif not self._broker.is_ledger:
                unsent.append(one)
        if unsent:  # a broker that does not answer must not delay other calls
            self._background_tasks.start(self._send(unsent))

    def _push(self, one: HeldCall) -> Push:
        return ledger_push(self._broker, waiting_message(one))

    async def _send(self, calls: Sequence[HeldCall]) -> None:
        """Sends messages; the repair sends those that can't be sent now, as all that are lost."""
        for some in chunks(calls, _SENDS_AT_ONCE):
            sends = (self._broker.send(waiting_message(one)) for one in some)
            results = await asyncio.gather(*sends, return_exceptions=True)
            sent = [one for one, result in zip(some, results, strict=True) if result is True]
            try:
                if sent:
                    await self._ledger.run_all([mark_resent(one) for one in sent])
                for result in results:
                    if isinstance(result, BaseException):
                        raise result
            except BackendUnavailable as error:
                self._outage.failed(error)
                return
            self._outage.succeeded()
