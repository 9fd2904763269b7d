"""Adds the load report to the trailing metadata of every call of a handler."""

from __future__ import annotations

from typing import NoReturn

import grpc

from forebay.metadata import Pairs
from forebay_gateway.load_reports.utilization import Utilization
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.context_wrapper import ContextWrapper

TRAILER = "endpoint-load-metrics-bin"


def reporting(handler: Handler, utilization: Utilization) -> Handler:
    """Wraps the handler so that its calls end with a load report."""

    async def serve(context: Context) -> bytes | None:
        reported = _ReportingContext(context, utilization)
        response = await handler.serve(reported)
        reported.on_success()
        return response

    return Handler(serve, handler.streams_responses)


class _ReportingContext(ContextWrapper):
    """Adds the report to the trailing metadata."""

    __slots__ = ("_trailing", "_utilization")

    def __init__(self, context: Context, utilization: Utilization) -> None:
        super().__init__(context)
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
