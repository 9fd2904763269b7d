"""Measures the duration and status of every RPC, also of methods that are not served."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

from forebay_backends.metrics.histogram import Histogram
from forebay_backends.metrics.instruments import OTHER
from forebay_backends.telemetry.call_labels import current_call
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.rpc.status import code_of_end

_Code = grpc.StatusCode


class RpcMeter:
    """Measures handlers; one per gateway process."""

    def __init__(self, seconds: Histogram) -> None:
        self._seconds = seconds

    def measured(self, handler: Handler, path: str = "") -> Handler:
        """The handler, measured under its path; without one, under `other`."""
        method = path.removeprefix("/") or OTHER
        observers: dict[_Code, Callable[[float, dict[str, str] | None], None]] = {}

        def observe(code: _Code, seconds: float) -> None:
            found = observers.get(code)
            if found is None:
                found = observers[code] = self._seconds.labels(method, code.name).observe
            found(seconds, current_call().exemplar)

        async def serve(context: Context) -> bytes | None:
            began, code = time.monotonic(), _Code.OK
            try:
                return await handler.serve(context)
            except BaseException as error:
                code = code_of_end(context, error)
                raise
            finally:
                observe(code, time.monotonic() - began)

        return Handler(serve, handler.streams_responses)
