"""An RPC of the grpc front that its caller does not follow to the end."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, cast

import grpc
import pytest

from forebay_gateway.fronts.grpc import context


class Unread:
    """gRPC's context of a caller that does not read its status."""

    async def abort(self, *_: object) -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_handler_does_not_wait_for_a_caller_that_does_not_read_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(context, "_SENDING_S", 0.01)
    rpc = context.GrpcContext(cast(Any, Unread()))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(rpc.abort(grpc.StatusCode.UNAVAILABLE), 10)
