"""`Context` on top of grpc.aio's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import grpc

from forebay.metadata import Pairs
from forebay_gateway.identity.principal import NOBODY

_SENDING_S = 5.0
"""How long an RPC waits for a caller to read its status."""
_UNWINDING_CHECK_S = 0.05


class GrpcContext:
    """Implements `Context` with grpc.aio's; it must be created in the RPC's task.

    `grpc.aio` raises InternalError or UsageError when something is sent to a caller that has
    disconnected, and cancels the task a moment later.
    """

    __slots__ = ("_context", "code", "principal", "task")

    def __init__(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        self.code: grpc.StatusCode | None = None
        self.principal = NOBODY
        self._context = context
        self.task = asyncio.current_task()

    def peer(self) -> str:
        return self._context.peer()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._context.auth_context()

    def invocation_metadata(self) -> Any:
        return self._context.invocation_metadata()

    def time_remaining(self) -> float | None:
        return self._context.time_remaining()

    async def arrival(self) -> None:
        """Returns at once: gRPC's server does not report what has arrived."""

    async def read(self) -> object:
        message: object = await self._context.read()
        if message is grpc.aio.EOF:
            await self._raise_if_broken()
        return message

    def read_now(self) -> None:
        """Returns None: gRPC's server does not report what has arrived."""

    async def send_initial_metadata(self, pairs: Pairs) -> None:
        try:
            await self._context.send_initial_metadata(tuple(pairs))
        except grpc.aio.BaseError as error:
            raise self._disconnected(error) from error

    async def write(self, message: bytes) -> None:
        try:
            await self._context.write(message)
        except grpc.aio.BaseError as error:
            raise self._disconnected(error) from error

    def set_trailing_metadata(self, pairs: Pairs) -> None:
        self._context.set_trailing_metadata(tuple(pairs))

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        self.code = code
        try:
            async with asyncio.timeout(_SENDING_S):
                await self._context.abort(code, details, tuple(trailing_metadata))
        except grpc.aio.AbortError:
            raise
        except TimeoutError as error:
            # gRPC still sends the status if the caller reads again; the handler must not wait.
            raise asyncio.CancelledError from error
        except grpc.aio.BaseError as error:
            raise self._disconnected(error) from error

    async def _raise_if_broken(self) -> None:
        """If the stream broke, waits until this read is cancelled.

        gRPC reports the end of a broken stream like that of a complete one, shortly before it
        cancels the RPC's task. When a second read has ended, gRPC has cancelled the task. If a
        child of that task reads here, the task may take a while to cancel the child.
        """
        await self._context.read()
        while self.task is not None and self.task.cancelling():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(_UNWINDING_CHECK_S)

    def _disconnected(self, error: grpc.aio.BaseError) -> BaseException:
        is_gone = isinstance(error, grpc.aio.InternalError) or self._context.cancelled()
        return asyncio.CancelledError() if is_gone else error
