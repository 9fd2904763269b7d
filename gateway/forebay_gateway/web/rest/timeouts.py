"""Reads the caller's timeout from either header that clients send. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.errors import InvalidRequest
from forebay_gateway.fronts.native.head import RpcError, timeout_of
from forebay_gateway.web.connect import head as connect


def read_timeout(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds, by `grpc-timeout` (`10S`) or `connect-timeout-ms`; raises InvalidRequest."""
    value = headers.get(b"grpc-timeout")
    if value is None:
        return connect.read_timeout(headers)
    try:
        return timeout_of(value)
    except RpcError as error:
        raise InvalidRequest(error.text) from error
