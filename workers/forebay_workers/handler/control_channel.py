"""Receives credit, notices of live requests, and stops, in a process that runs handlers.

Each process has one thread with a pub/sub connection of its own. Frames that are published
while it is disconnected are lost, so after each subscription it reads the state of every
running durable call from the ledger. The thread also kills a pool child whose worker's
main process has died: nothing renews its leases, so another worker runs its calls.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.frames import Credit, RequestsCame, Stop, parse_control
from forebay_backends.ledger.keys import CallKey, control_channel
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.attempts import read_flow
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.pubsub import listen
from forebay_backends.signing.keyring import SignatureError
from forebay_backends.telemetry.call_labels import Labelled
from forebay_backends.urls import RedisServer
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.process_exit import CLOSE_TIMEOUT_S
from forebay_workers.handler.running_calls import AttemptName, RunningCalls

_PARENT_CHECK_INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


class ControlChannel:
    """The control channel of a process. Its thread runs until `close` or the process's end."""

    def __init__(
        self,
        server: RedisServer | str,
        ledger: BlockingLedger,
        worker: str,
        parent: int | None,
        grace_s: float,
    ) -> None:
        self.channel = control_channel(f"{os.getpid()}.{uuid.uuid4()}")
        self._channels = (self.channel, control_channel(worker))
        self._server = server
        self._ledger = ledger
        self._running = RunningCalls()
        self._durable: dict[AttemptName, CallContext] = {}
        self._shared: set[CallContext] = set()
        self._reserved: set[AttemptName] = set()
        self._stopped_reserved: dict[AttemptName, str] = {}
        self._parent = parent
        self._grace_s = grace_s
        self._stop_reason: str | None = None
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="forebay-control", daemon=True)
        self._thread.start()

    def stop_calls(self) -> None:
        """Stops all running calls, and those that start later."""
        self._stop_reason = str(State.CANCELLED)
        for context in self._running:
            context.stop(self._stop_reason)

    def close(self) -> None:
        """Ends the thread; waits for at most 5 s."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(CLOSE_TIMEOUT_S)

    def running(
        self, context: CallContext, *, durable: bool, shares_task: bool = False
    ) -> AbstractContextManager[None]:
        """Passes the call's frames to the context for the duration of the block.

        An ephemeral call has no record to read, so only a frame can stop it. If it shares
        its task with other calls, a pool child kills itself when the handler still runs
        after the stop's grace: the main process can't tell which call of the task runs.
        """
        return _Running(self, context, durable=durable, shares_task=shares_task)

    def _started(
        self, name: AttemptName, context: CallContext, durable: bool, shares_task: bool
    ) -> None:
        self._running.add(name, context)
        if durable:
            self._durable[name] = context
        if shares_task:
            self._shared.add(context)
        stop_reason = self._stopped_reserved.get(name, self._stop_reason)
        if stop_reason is not None:
            context.stop(stop_reason)

    def _ended(self, name: AttemptName, context: CallContext) -> None:
        self._running.remove(name, context)
        self._durable.pop(name, None)
        self._shared.discard(context)

    @contextmanager
    def reserved(self, attempts: Iterable[tuple[CallKey, int]]) -> Iterator[None]:
        """Remembers stops that arrive before `running`, for attempts that are about to start."""
        names = {(str(call), attempt) for call, attempt in attempts}
        self._reserved |= names
        try:
            yield
        finally:
            self._reserved -= names
            for name in names:
                self._stopped_reserved.pop(name, None)

    def was_stopped(self, call: CallKey, attempt: int) -> bool:
        """Whether the reserved attempt was stopped before it ran."""
        return (str(call), attempt) in self._stopped_reserved

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        listening = listen(self._server, self._channels, self._on_frame, self._read_all)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(listening)]
            if self._parent is not None:
                tasks.append(group.create_task(_exit_with(self._parent)))
                tasks.append(group.create_task(self._ledger.seals.keyring.watch()))
            await self._closing.wait()
            await cancel_all(tasks)

    def _on_frame(self, frame: bytes) -> None:
        seals = self._ledger.seals
        try:
            opened, is_signed = seals.open_frame(frame)
        except SignatureError as error:
            seals.keyring.refused(error)
            return
        key, attempt, event = parse_control(opened)
        if isinstance(event, Stop) and not is_signed:
            self._confirm_stop((key, attempt))
            return
        if isinstance(event, Stop):
            self._on_stop((key, attempt), str(event.state))
            return
        for context in self._running.of((key, attempt)):
            match event:
                case Credit(read_count):
                    context.on_credit(read_count)
                case RequestsCame():
                    context.requests_changed()

    def _confirm_stop(self, name: AttemptName) -> None:
        """Stops the call if the ledger confirms an unsigned stop, which anyone could publish."""
        key, attempt = name
        if name not in self._durable and name not in self._reserved:
            return
        try:
            flow = self._ledger.run(read_flow(CallKey.parse(key), attempt))
        except BackendUnavailable:
            return  # `_read_all` reads the calls after a reconnection
        if isinstance(flow, Refused):
            self._on_stop(name, str(flow.why))

    def _on_stop(self, name: AttemptName, reason: str) -> None:
        contexts = self._running.of(name)
        if not contexts and name in self._reserved:
            self._stopped_reserved[name] = reason
        for context in contexts:
            context.stop(reason)
            if self._parent is not None and context in self._shared:
                loop = asyncio.get_running_loop()
                loop.call_later(self._grace_s, self._kill_if_running, context)

    def _kill_if_running(self, context: CallContext) -> None:
        if context in self._shared:
            with Labelled(context.labels):
                _log.warning(
                    "call %s was stopped and still runs; its pool child kills itself", context.call
                )
            os.kill(os.getpid(), signal.SIGKILL)

    def _read_all(self) -> None:
        for context in tuple(self._durable.values()):
            try:
                flow = self._ledger.run(read_flow(context.call, context.attempt))
            except BackendUnavailable:
                return
            if isinstance(flow, Refused):
                context.stop(flow.why)
            else:
                context.on_flow(flow)
                context.requests_changed()


class _Running:
    """The block in which a call runs. `@contextmanager` would take three times the CPU."""

    __slots__ = ("_channel", "_context", "_kind", "_name")

    def __init__(
        self, channel: ControlChannel, context: CallContext, *, durable: bool, shares_task: bool
    ) -> None:
        self._channel = channel
        self._name = (str(context.call), context.attempt)
        self._context = context
        self._kind = (durable, shares_task)

    def __enter__(self) -> None:
        self._channel._started(self._name, self._context, *self._kind)

    def __exit__(self, *error: object) -> None:
        self._channel._ended(self._name, self._context)


async def _exit_with(parent: int) -> None:
    """Kills this process when it is no longer the parent's child."""
    while os.getppid() == parent:  # noqa: ASYNC110 - no event reports it
        await asyncio.sleep(_PARENT_CHECK_INTERVAL_S)
    _log.warning("the worker's main process has died; its pool child ends too")
    os.kill(os.getpid(), signal.SIGKILL)
