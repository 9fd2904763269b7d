"""One run of a coroutine handler without a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from forebay.checks import Check, NoCheck
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_workers.coroutines.call import CoroutineCall
from forebay_workers.coroutines.handlers import CoroutineHandler
from forebay_workers.coroutines.invoke import invoke
from forebay_workers.coroutines.requests import CheckedRequests
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.interrupted import Stopped
from tests.unit.samples import CALL


class Given:
    """Requests that are there from the beginning; `then` runs before each is read."""

    def __init__(self, requests: list[bytes], then: Callable[[], None] = lambda: None) -> None:
        self._requests = requests
        self._then = then
        self.is_closed = False

    async def next(self) -> bytes | None:
        """The next one; None after the last."""
        await asyncio.sleep(0)
        self._then()
        return self._requests.pop(0) if self._requests else None

    def close(self) -> None:
        """Notes it."""
        self.is_closed = True


class Attempt:
    """One run, and its results."""

    def __init__(self, stop_at: int | None = None, timeout_s: float | None = None) -> None:
        self.emitted: list[Message] = []
        self.initial: list[bytes] = []
        self.call: CoroutineCall
        self.before: Callable[[], None] = lambda: None
        self._stop_at = stop_at
        self._timeout_s = timeout_s

    def run(
        self,
        method: Method,
        handler: Callable[..., Any],
        *requests: Message,
        interceptors: tuple[Any, ...] = (),
        check: Check | None = None,
        limit: int = 1 << 20,
        meanwhile: Callable[[], Any] | None = None,
    ) -> call_pb2.Outcome | None:
        """Runs the handler on a loop of its own; `meanwhile` is a coroutine beside it."""
        wire = [request.SerializeToString() for request in requests]

        async def whole() -> call_pb2.Outcome | None:
            self.call = self._call()
            self.before()
            beside = None if meanwhile is None else asyncio.create_task(meanwhile())
            checked = CheckedRequests(method, Given(wire), check or NoCheck())
            chosen = CoroutineHandler(method, handler, interceptors)
            outcome = await invoke(chosen, checked, self.call, self._emit, limit)
            await asyncio.sleep(0)  # raises CancelledError if a cancellation is left over
            if beside is not None:
                await beside
            return outcome

        return asyncio.run(whole())

    def _call(self) -> CoroutineCall:
        async def send_initial(metadata: bytes) -> None:
            self.initial.append(metadata)

        return CoroutineCall(
            CALL,
            1,
            metadata=(),
            timeout_s=self._timeout_s,
            flow=FlowControl(1 << 20, 1 << 20),
            send_initial=send_initial,
        )

    async def _emit(self, response: Message, payload: bytes) -> None:
        assert payload == response.SerializeToString()
        if self._stop_at == len(self.emitted):
            self.call.stop("CANCELLED")
            raise Stopped
        self.emitted.append(response)
