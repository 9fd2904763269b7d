"""gRPC statuses: ending an RPC with an error, and parsing requests."""

from __future__ import annotations

import asyncio
from typing import NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2

from forebay.errors import ForebayError, InvalidRequest
from forebay.errors.status import to_status
from forebay.metadata import Pairs
from forebay_gateway.metrics.cancelled_rpcs import is_at_deadline
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.metadata_size import fit_status

M = TypeVar("M", bound=Message)

_PUSHBACK_MS = "grpc-retry-pushback-ms"  # gRFC A6, "Pushback"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def abort(context: Context, error: ForebayError, trailing: Pairs = ()) -> NoReturn:
    """Ends the RPC with the error's status and details, shortened to what every client accepts.

    The AbortError has the error as its cause. Raises CancelledError if the caller has disconnected,
    or does not read the status in time.
    """
    message, metadata = fit_status(to_status(error), (*trailing, *_pushback(error)))
    code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
    try:
        await context.abort(code, message, tuple(metadata))
    except grpc.aio.AbortError as aborted:
        raise aborted from error


def code_of_end(context: Context, error: BaseException) -> grpc.StatusCode:
    """The status of an RPC whose handler has raised, or was cancelled."""
    if context.code is not None:
        return context.code
    if not isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.UNKNOWN
    late = is_at_deadline(context.time_remaining())
    return grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED


def _pushback(error: ForebayError) -> Pairs:
    """Pushback for the retries that gRPC clients do themselves; a negative delay forbids them."""
    if error.retry_may_help:
        return ((_PUSHBACK_MS, str(round((error.retry_after_s or 0) * 1000))),)
    return ((_PUSHBACK_MS, "-1"),) if error.code == code_pb2.UNAVAILABLE else ()


def parsed(request_class: type[M], request: bytes) -> M:
    """The parsed message; raises InvalidRequest for malformed bytes."""
    try:
        return request_class.FromString(request)
    except DecodeError as error:
        name = request_class.DESCRIPTOR.full_name
        raise InvalidRequest(f"the request is not a valid {name} message") from error
