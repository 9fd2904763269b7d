"""gRPC's exceptions as ours, where they enter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from forebay.errors import STATUS_DETAILS_KEY, ForebayError, from_status


@contextmanager
def mapped_rpc_errors() -> Iterator[None]:
    """Raises a `grpc.RpcError` as the `ForebayError` that it stands for."""
    try:
        yield
    except grpc.RpcError as error:
        raise of_rpc_error(error) from error


def of_rpc_error(error: grpc.RpcError) -> ForebayError:
    """The error that a stub's exception, of `grpc` or `grpc.aio`, stands for."""
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
