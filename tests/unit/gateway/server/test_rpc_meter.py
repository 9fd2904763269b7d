"""The duration and status of RPCs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import grpc
import pytest

from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.context import Context, Handler
from forebay_gateway.server.handlers import find_handler
from forebay_gateway.server.rpc_meter import RpcMeter

NAME = "rpc_server_call_duration_seconds"


class Rpc:
    """A context whose front has ended the RPC with `code`."""

    def __init__(
        self, code: grpc.StatusCode | None = None, remaining_s: float | None = None
    ) -> None:
        self.code = code
        self._remaining_s = remaining_s

    def time_remaining(self) -> float | None:
        return self._remaining_s

    async def abort(self, code: grpc.StatusCode, *_: object) -> None:
        self.code = code
        raise grpc.aio.AbortError


def as_context(rpc: Rpc) -> Context:
    return cast(Context, rpc)


class Served:
    """A method `/p.S/M`, whose handler raises `error`."""

    def __init__(self) -> None:
        self.metrics = GatewayMetrics()
        self.error: BaseException | None = None
        own = {"/p.S/M": Handler(self._serve, streams_responses=False)}
        no_calls: Any = None
        measure = RpcMeter(self.metrics.rpc_seconds).measured
        self.find = find_handler((), no_calls, own, [measure])

    async def _serve(self, context: Context) -> bytes:
        if self.error is not None:
            raise self.error
        return b""

    def counts(self) -> dict[tuple[str, str], float]:
        """RPCs by method and status."""
        return {
            (s.labels["rpc_method"], s.labels["rpc_response_status_code"]): s.value
            for family in self.metrics.registry.collect()
            for s in family.samples
            if s.name == f"{NAME}_count"
        }


@pytest.mark.parametrize(
    ("error", "rpc", "code"),
    [
        (None, Rpc(), "OK"),
        (grpc.aio.AbortError(), Rpc(grpc.StatusCode.NOT_FOUND), "NOT_FOUND"),
        (asyncio.CancelledError(), Rpc(), "CANCELLED"),
        (asyncio.CancelledError(), Rpc(remaining_s=5.0), "CANCELLED"),
        (asyncio.CancelledError(), Rpc(remaining_s=0.0), "DEADLINE_EXCEEDED"),
        (asyncio.CancelledError(), Rpc(grpc.StatusCode.INTERNAL), "INTERNAL"),
        (ValueError(), Rpc(), "UNKNOWN"),
    ],
)
async def test_the_status_is_the_one_that_the_caller_gets(
    error: BaseException | None, rpc: Rpc, code: str
) -> None:
    served = Served()
    served.error = error
    expected: Any = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with expected:
        await served.find("/p.S/M").serve(as_context(rpc))
    assert served.counts() == {("p.S/M", code): 1}


async def test_ten_thousand_unknown_methods_add_one_series() -> None:
    served = Served()
    for number in range(10_000):
        with pytest.raises(grpc.aio.AbortError):
            await served.find(f"/p.S/M{number}").serve(as_context(Rpc()))
    assert served.counts() == {("other", "UNIMPLEMENTED"): 10_000}
