"""Puts the load report into the trailers of every call of a handler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

import grpc

from forebay.metadata import Pairs
from forebay_gateway.load_reports.utilization import Utilization
from forebay_gateway.rpc.context import Context, Handler

TRAILER = "endpoint-load-metrics-bin"


def reporting(handler: Handler, utilization: Utilization) -> Handler:
    """The handler, whose calls end with a load report."""

    async def serve(context: Context) -> bytes | None:
        reported = _ReportingContext(context, utilization)
        response = await handler.serve(reported)
        reported.on_success()
        return response

    return Handler(serve, handler.streams_responses)


class _ReportingContext:
    """A `Context` that adds the report to whatever goes out with the status."""

    __slots__ = ("_context", "_trailing", "_utilization")

    def __init__(self, context: Context, utilization: Utilization) -> None:
        self._context = context
        self._utilization = utilization
        self._trailing: Pairs = ()

    def on_success(self) -> None:
        self._utilization.on_call_end(grpc.StatusCode.OK)
        self._context.set_trailing_metadata(self._with_report(self._trailing))

    def set_trailing_metadata(self, pairs: Pairs) -> None:
        self._trailing = pairs

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        self._utilization.on_call_end(code)
        await self._context.abort(code, details, self._with_report(trailing_metadata))

    def _with_report(self, pairs: Pairs) -> Pairs:
        return (*pairs, (TRAILER, self._utilization.report()))

    @property
    def code(self) -> grpc.StatusCode | None:
        return self._context.code

    def peer(self) -> str:
        return self._context.peer()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._context.auth_context()

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        return self._context.invocation_metadata()

    def time_remaining(self) -> float | None:
        return self._context.time_remaining()

    def read_now(self) -> bytes | None:
        return self._context.read_now()

    async def read(self) -> object:
        return await self._context.read()

    async def send_initial_metadata(self, pairs: Pairs) -> None:
        await self._context.send_initial_metadata(pairs)

    async def write(self, message: bytes) -> None:
        await self._context.write(message)
