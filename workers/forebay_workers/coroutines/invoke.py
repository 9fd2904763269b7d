"""Awaits a coroutine handler and turns its return or exception into an outcome.

It is `handler/invoke.py` for coroutines; both have the same results.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from forebay.routes.operations import OperationTypes
from forebay.v1 import call_pb2
from forebay_workers.coroutines.call import CoroutineCall
from forebay_workers.coroutines.context import CoroutineContext
from forebay_workers.coroutines.handlers import CoroutineHandler
from forebay_workers.coroutines.kinds import is_coroutine
from forebay_workers.coroutines.requests import CheckedRequests, RequestStream
from forebay_workers.coroutines.threads import (
    ThreadsRequests,
    read_generator,
    respond,
    respond_with_stream,
)
from forebay_workers.handler.interceptors import behavior
from forebay_workers.handler.interrupted import Aborted, Interrupted, Refused, Stopped
from forebay_workers.handler.invoke import failure, own_outcome, refusal, serialized
from forebay_workers.handler.operation_metadata import Metadata, YieldedMessages

Emit = Callable[[Message | Metadata, bytes], Awaitable[None]]


async def invoke(
    handler: CoroutineHandler,
    requests: CheckedRequests,
    call: CoroutineCall,
    emit: Emit,
    max_message_bytes: int,
) -> call_pb2.Outcome | None:
    """Runs the handler in the current task, and returns the call's outcome.

    Returns None if the call ended before the handler did. Raises only LedgerUnavailable or another
    `Interrupted`, and CancelledError if the task itself is cancelled.
    """
    running = _Running(handler, requests, call, emit, max_message_bytes)
    if call.span is None:
        return await running.outcome()
    call.span.run(lambda: None)  # makes it the current span of this task
    outcome = None
    try:
        outcome = await running.outcome()
        return outcome
    finally:
        call.span.on_end(None if outcome is None else outcome.code, call.stopped)


class _Running:
    """One run of a handler."""

    def __init__(
        self,
        handler: CoroutineHandler,
        requests: CheckedRequests,
        call: CoroutineCall,
        emit: Emit,
        max_message_bytes: int,
    ) -> None:
        self._handler = handler
        self._method = handler.method
        self._requests = requests
        self._call = call
        self._emit = emit
        self._max_message_bytes = max_message_bytes
        self._context = CoroutineContext(call, self, self._write_of_handler)
        self._chosen: Any = None

    async def outcome(self) -> call_pb2.Outcome | None:
        """Runs the handler; see `invoke`."""
        call = self._call
        try:
            await self._serve_until_stopped()
        except Aborted:
            pass
        except Stopped:
            if not call.cancelled:
                return None
        except Refused as refused:
            return refusal(call, refused)
        except Interrupted:
            raise
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            return self._failed(error)
        except BaseException as error:  # SystemExit, too, would end the event loop
            return self._failed(error)
        finally:
            call.finish()
            self._requests.close()
            call.run_done_callbacks()
        return own_outcome(call)

    async def read(self) -> Any:
        """The next request, as the chosen handler reads it; `grpc.aio.EOF` after the last."""
        request = await self._requests.read()
        if request is grpc.aio.EOF:
            return request
        return self._handler.request(self._chosen, request)

    def _failed(self, error: BaseException) -> call_pb2.Outcome | None:
        call = self._call
        if call.stopped is not None and isinstance(error, asyncio.CancelledError):
            return own_outcome(call) if call.cancelled else None
        if call.status.is_aborted:  # the handler raised while it cleaned up
            return own_outcome(call)
        if call.span is not None:
            call.span.failed(error)
        return failure(self._method, call, error)

    async def _serve_until_stopped(self) -> None:
        try:
            self._call.begin()
            await self._serve()
        finally:
            self._call.end()

    async def _serve(self) -> None:
        self._chosen = chosen = await self._handler.chosen(self._call)
        if chosen is None:
            await self._context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        is_operation = self._method.operation is not None
        if chosen.response_streaming and not (self._method.server_streaming or is_operation):
            raise TypeError(
                f"an interceptor returned a handler that streams responses for "
                f"{self._method.name}, which has one response"
            )
        function = behavior(chosen)
        argument = await self._argument(chosen, function)
        if chosen.response_streaming and not is_operation:
            await self._stream(function, argument)
        else:
            await self._respond(function, argument)

    async def _argument(self, chosen: Any, function: Callable[..., Any]) -> Any:
        if chosen.request_streaming:
            in_thread = not is_coroutine(function)
            return ThreadsRequests(self.read) if in_thread else RequestStream(self._context.read)
        request = await self.read()
        if not self._method.client_streaming:
            await self._requests.read()  # lets the check see the end of the requests
        if request is grpc.aio.EOF:
            path = self._method.path
            details = f'"{path}" requires exactly one request message.'
            await self._context.abort(grpc.StatusCode.UNIMPLEMENTED, details)
        return request

    async def _respond(self, function: Callable[..., Any], argument: Any) -> None:
        call, types = self._call, self._method.operation
        if types is not None:
            response = await self._operation(types, function, argument)
        elif inspect.iscoroutinefunction(function):
            response = await function(argument, self._context)
        else:
            response = await respond(function, argument, call)
        if not call.status.number and not call.cancelled:
            self._context.raise_if_over()
            await self._send(response)

    async def _operation(
        self, types: OperationTypes, function: Callable[..., Any], argument: Any
    ) -> Any:
        """Reports the metadata of an operation's handler; returns its response."""
        yielded = YieldedMessages(self._method, types)

        async def read(message: Any) -> None:
            metadata = yielded.read(message)
            if metadata is not None:
                await self._report(metadata)

        if inspect.isasyncgenfunction(function):
            messages = function(argument, self._context)
            try:
                async for message in messages:
                    await read(message)
            finally:
                await messages.aclose()
            return yielded.response()
        if inspect.iscoroutinefunction(function):
            return await function(argument, self._context)
        result = await respond(function, argument, self._call)
        if isinstance(result, Iterator):
            return yielded.response(await read_generator(result, self._call, read))
        return result

    async def _report(self, metadata: Metadata) -> None:
        self._context.raise_if_over()
        metadata = self._handler.metadata(self._chosen, metadata)
        payload = serialized(self._method, metadata, self._max_message_bytes)
        await self._emit(metadata, payload)

    async def _stream(self, function: Callable[..., Any], argument: Any) -> None:
        write = self._context.write
        if inspect.iscoroutinefunction(function):
            await function(argument, self._context)
        elif inspect.isasyncgenfunction(function):
            responses = function(argument, self._context)
            try:
                async for response in responses:
                    await write(response)
            finally:
                await responses.aclose()
        else:
            await respond_with_stream(function, argument, self._call, write)

    async def _write_of_handler(self, response: Any) -> None:
        types = self._method.operation
        if types is not None and isinstance(response, types.metadata_class):
            await self._report(Metadata(response))
            return
        if not self._method.server_streaming:
            raise TypeError(f"{self._method.name} has one response: return it")
        await self._send(response)
        if self._call.span is not None:
            self._call.span.on_item()

    async def _send(self, response: Any) -> None:
        message = self._handler.response(self._chosen, response)
        payload = serialized(self._method, message, self._max_message_bytes)
        self._call.response_started()
        await self._emit(message, payload)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
