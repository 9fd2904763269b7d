"""gRPC statuses: pushback, details, and requests that are not the method's message."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import grpc
import pytest
from google.rpc import code_pb2, status_pb2

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import (
    BackendUnavailable,
    Draining,
    ForebayError,
    HandlerAborted,
    InvalidRequest,
    QueueFull,
)
from forebay.errors.status import STATUS_DETAILS_KEY, from_status
from forebay.metadata import Pairs
from forebay_gateway.rpc.status import abort, code_of_end, parsed

PUSHBACK_MS = "grpc-retry-pushback-ms"


class Ended(Exception):
    """Raised by `abort`."""


class Rpc:
    """An RPC that keeps the status that it ended with."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.message = ""
        self.trailing: dict[str, str | bytes] = {}

    async def abort(self, code: grpc.StatusCode, message: str, trailing: Pairs) -> NoReturn:
        self.code, self.message, self.trailing = code, message, dict(trailing)
        raise Ended


async def aborted(error: ForebayError, trailing: Pairs = ()) -> Rpc:
    rpc = Rpc()
    with pytest.raises(Ended):
        await abort(cast(Any, rpc), error, trailing)
    return rpc


@pytest.mark.parametrize(
    ("error", "pushback_ms"),
    [
        (QueueFull("full", retry_after_s=1.5), "1500"),
        (QueueFull("full", retry_after_s=0.0), "0"),
        (QueueFull("full", retry_after_s=0.0004), "0"),
        (QueueFull("full", retry_after_s=0.0006), "1"),
        (Draining("leaving", retry_after_s=60.0), "60000"),
        (BackendUnavailable("away"), "-1"),
        (InvalidRequest("wrong"), None),
    ],
)
async def test_grpcs_own_retries_wait_for_the_retry_delay_or_are_forbidden(
    error: ForebayError, pushback_ms: str | None
) -> None:
    assert (await aborted(error)).trailing.get(PUSHBACK_MS) == pushback_ms


async def test_an_rpc_ends_with_the_errors_code_message_and_details() -> None:
    rpc = await aborted(QueueFull("full", retry_after_s=2.0), (("forebay-attempts", "1"),))
    assert (rpc.code, rpc.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
    assert rpc.trailing["forebay-attempts"] == "1"
    status = status_pb2.Status.FromString(cast(bytes, rpc.trailing[STATUS_DETAILS_KEY]))
    error = from_status(status.code, status.message, status)
    assert isinstance(error, QueueFull)
    assert error.retry_after_s == 2.0


async def test_the_abort_of_an_rpc_keeps_the_error_as_its_cause() -> None:
    class Aborting(Rpc):
        async def abort(self, code: grpc.StatusCode, message: str, trailing: Pairs) -> NoReturn:
            raise grpc.aio.AbortError

    error = QueueFull("full")
    with pytest.raises(grpc.aio.AbortError) as caught:
        await abort(cast(Any, Aborting()), error)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("given", "remaining_s", "error", "code"),
    [
        (grpc.StatusCode.NOT_FOUND, None, grpc.aio.AbortError(), grpc.StatusCode.NOT_FOUND),
        (None, None, ValueError(), grpc.StatusCode.UNKNOWN),
        (None, None, asyncio.CancelledError(), grpc.StatusCode.CANCELLED),
        (None, 30.0, asyncio.CancelledError(), grpc.StatusCode.CANCELLED),
        (None, 0.0, asyncio.CancelledError(), grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_an_rpc_that_raises_has_the_status_that_its_caller_gets(
    given: grpc.StatusCode | None,
    remaining_s: float | None,
    error: BaseException,
    code: grpc.StatusCode,
) -> None:
    rpc = SimpleNamespace(code=given, time_remaining=lambda: remaining_s)
    assert code_of_end(cast(Any, rpc), error) is code


async def test_a_code_that_grpc_does_not_have_is_unknown() -> None:
    error = HandlerAborted("odd")
    error.code = cast(code_pb2.Code, 99)
    assert (await aborted(error)).code is grpc.StatusCode.UNKNOWN


def test_a_request_is_parsed_as_its_message() -> None:
    request = pb.FactorialRequest(n=3)
    assert parsed(pb.FactorialRequest, request.SerializeToString()) == request
    with pytest.raises(InvalidRequest, match=r"not a valid forebay\.compute\.v1\.FactorialRequest"):
        parsed(pb.FactorialRequest, b"\xff")
