"""Hearing of credit, of live requests and of stops, in a process that runs handlers.

One thread a process, with a connection of its own. Pub/sub loses what is said
while the connection is away, so after each subscription every running call looks
into the ledger. A pool child whose worker was killed ends here, too: what it runs is
another worker's now.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.frames import Credit, RequestsCame, Stop, parse_control
from forebay_backends.ledger.keys import CallKey, control_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.attempts import read_flow
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.pubsub import listen
from forebay_workers.handler.context import CallContext

_LOOK_FOR_PARENT_EVERY_S = 1.0
_FAREWELL_S = 5.0

_log = logging.getLogger(__name__)


class ControlChannel:
    """The process's ear. Its thread starts with it, and ends at `close` or with the process."""

    def __init__(
        self,
        ledger_url: str,
        ledger: BlockingLedger,
        worker: str,
        parent: int | None,
        grace_s: float,
    ) -> None:
        self.channel = control_channel(f"{os.getpid()}.{uuid.uuid4()}")
        self._channels = (self.channel, control_channel(worker))
        self._ledger_url = ledger_url
        self._ledger = ledger
        self._running: dict[tuple[str, int], CallContext] = {}
        self._durable: dict[tuple[str, int], CallContext] = {}
        self._shared: set[tuple[str, int]] = set()
        self._stopped_early: dict[tuple[str, int], str] = {}
        self._expected: set[tuple[str, int]] = set()
        self._parent = parent
        self._grace_s = grace_s
        self._over: str | None = None
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="forebay-control", daemon=True)
        self._thread.start()

    def stop_calls(self) -> None:
        """What runs, and what will, is told that it is over."""
        self._over = str(State.CANCELLED)
        for context in tuple(self._running.values()):
            context.stop(self._over)

    def close(self) -> None:
        """Ends the thread; bounded."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_FAREWELL_S)

    @contextmanager
    def running(
        self, context: CallContext, *, durable: bool, shares_task: bool = False
    ) -> Iterator[None]:
        """The context hears of what concerns its call until the block is left.

        Of one that is not on record, an ephemeral call, the ledger knows nothing: it is
        stopped by a word on the channel alone. Where it shares its task with others, a pool
        child that still runs it after the grace ends itself: the worker's main process
        can't tell which of them runs.
        """
        name = (str(context.call), context.attempt)
        self._running[name] = context
        if durable:
            self._durable[name] = context
        if shares_task:
            self._shared.add(name)
        over = self._stopped_early.get(name, self._over)
        if over is not None:
            context.stop(over)
        try:
            yield
        finally:
            del self._running[name]
            self._durable.pop(name, None)
            self._shared.discard(name)

    @contextmanager
    def expecting(self, attempts: Iterable[tuple[CallKey, int]]) -> Iterator[None]:
        """The attempts are about to begin: stops that come before `running` are kept for them."""
        names = {(str(call), attempt) for call, attempt in attempts}
        self._expected |= names
        try:
            yield
        finally:
            self._expected -= names
            for name in names:
                self._stopped_early.pop(name, None)

    def stopped_early(self, call: CallKey, attempt: int) -> bool:
        """Whether the expected attempt was stopped before it ran."""
        return (str(call), attempt) in self._stopped_early

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._hear())

    async def _hear(self) -> None:
        hearing = listen(self._ledger_url, self._channels, self._on_frame, self._look_after_all)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(hearing)]
            if self._parent is not None:
                tasks.append(group.create_task(_end_with(self._parent)))
            await self._closing.wait()
            await cancel_all(tasks)

    def _on_frame(self, frame: bytes) -> None:
        key, attempt, event = parse_control(frame)
        context = self._running.get((key, attempt))
        if context is None:
            if isinstance(event, Stop) and (key, attempt) in self._expected:
                self._stopped_early[key, attempt] = str(event.state)
            return
        match event:
            case Credit(read_count):
                context.on_credit(read_count)
            case RequestsCame():
                context.on_requests()
            case Stop(state):
                context.stop(str(state))
                if self._parent is not None and (key, attempt) in self._shared:
                    loop = asyncio.get_running_loop()
                    loop.call_later(self._grace_s, self._end_if_running, key, attempt)

    def _end_if_running(self, key: str, attempt: int) -> None:
        if (key, attempt) in self._shared:
            _log.warning("call %s is over; this process, which still runs it, ends itself", key)
            os.kill(os.getpid(), signal.SIGKILL)

    def _look_after_all(self) -> None:
        for context in tuple(self._durable.values()):
            try:
                flow = self._ledger.run(read_flow(context.call, context.attempt))
            except BackendUnavailable:
                return
            if isinstance(flow, Refused):
                context.stop(flow.why)
            else:
                context.on_flow(flow)
                context.on_requests()


async def _end_with(parent: int) -> None:
    """Ends this process when it is no longer the parent's child."""
    while os.getppid() == parent:  # noqa: ASYNC110 - the system tells nobody
        await asyncio.sleep(_LOOK_FOR_PARENT_EVERY_S)
    _log.warning("the worker is gone; so is this process of its pool")
    os.kill(os.getpid(), signal.SIGKILL)
