"""Converts gRPC's exceptions to `ForebayError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from forebay.errors import ForebayError
from forebay.errors.status import STATUS_DETAILS_KEY, from_status


@contextmanager
def mapped_rpc_errors() -> Iterator[None]:
    """Raises each `grpc.RpcError` of the block as a `ForebayError`, with the original as cause."""
    try:
        yield
    except grpc.RpcError as error:
        raise of_rpc_error(error) from error


class Cancellable(Protocol):
    """A call of `grpc` or `grpc.aio`."""

    def cancel(self) -> Any:
        """Cancels the call; has no effect if it has ended."""


@contextmanager
def cancelled_on_exit(call: Cancellable) -> Iterator[None]:
    """Like `mapped_rpc_errors`; cancels the call if the block is left before the call has ended."""
    try:
        with mapped_rpc_errors():
            yield
    finally:
        call.cancel()


def of_rpc_error(error: grpc.RpcError) -> ForebayError:
    """The `ForebayError` for an exception of a stub of `grpc` or `grpc.aio`."""
    call = cast(Any, error)
    return from_status(
        call.code().value[0], call.details() or "", _status(call.trailing_metadata() or ())
    )


def _status(trailing: Any) -> status_pb2.Status | None:
    for key, value in trailing:
        if key == STATUS_DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None
