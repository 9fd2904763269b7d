"""Runs the calls of a task message: durable calls, or a batch of ephemeral ones."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_workers.celery_hooks.request import attempts_of, traceparents_of
from forebay_workers.coroutines.handlers import CoroutineHandler
from forebay_workers.execution import coroutine_durable, coroutine_ephemeral
from forebay_workers.execution.durable import run_calls
from forebay_workers.execution.ephemeral import run_batch
from forebay_workers.runtime.process import Runtime

Content = Mapping[str, Any]
"""The arguments of a task message."""


class HandlerRun:
    """Runs an ordinary handler in the calling thread."""

    def __init__(self, method: Method, handler: Callable[..., Any]) -> None:
        self._method = method
        self._handler = handler

    def run(self, runtime: Runtime, content: Content, message_id: str) -> None:
        """Runs the calls of the message one after the other."""
        if "batch" in content:
            run_batch(runtime, self._method, self._handler, _batch(content), message_id)
        else:
            attempts = attempts_of(content)
            traceparents = traceparents_of(content, attempts)
            run_calls(runtime, self._method, self._handler, attempts, traceparents)


class CoroutineRun:
    """Runs a coroutine handler on the process's event loop."""

    def __init__(self, handler: CoroutineHandler) -> None:
        self._handler = handler

    def run(self, runtime: Runtime, content: Content, message_id: str) -> None:
        """Runs the calls of the message one after the other, while the calling thread waits."""
        runtime.loop.run(self._running(runtime, content, message_id, together=False))

    async def run_on_loop(self, runtime: Runtime, content: Content, message_id: str) -> None:
        """Runs the calls of the message at the same time, in the current task."""
        await self._running(runtime, content, message_id, together=True)

    async def _running(
        self, runtime: Runtime, content: Content, message_id: str, *, together: bool
    ) -> None:
        if "batch" in content:
            batch = _batch(content)
            await coroutine_ephemeral.run_batch(
                runtime, self._handler, batch, message_id, together=together
            )
        else:
            attempts = attempts_of(content)
            traceparents = traceparents_of(content, attempts)
            await coroutine_durable.run_calls(
                runtime, self._handler, attempts, traceparents, together=together
            )


def _batch(content: Content) -> call_pb2.Batch:
    return call_pb2.Batch.FromString(b64decode(content["batch"]))
