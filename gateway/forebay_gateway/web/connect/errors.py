"""Statuses as Connect writes them: its own names of the codes, and errors in JSON. Pure.

https://connectrpc.com/docs/protocol/#error-codes
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc import StatusCode

from forebay.errors.status import STATUS_DETAILS_KEY
from forebay_gateway.web.context import Status

HTTP_STATUS = {
    StatusCode.CANCELLED: 499,
    StatusCode.UNKNOWN: 500,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.INTERNAL: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DATA_LOSS: 500,
    StatusCode.UNAUTHENTICATED: 401,
}


def code_name(code: StatusCode) -> str:
    """Connect's name of the code, such as `invalid_argument`; it spells `canceled` with one l."""
    return "canceled" if code is StatusCode.CANCELLED else code.name.lower()


def error_object(status: Status) -> dict[str, Any]:
    """The error, to be written as JSON."""
    error: dict[str, Any] = {"code": code_name(status.code)}
    if status.text:
        error["message"] = status.text
    details = [
        {"type": detail.type_url.rpartition("/")[2], "value": unpadded_base64(detail.value)}
        for detail in rpc_status(status).details
    ]
    return {**error, "details": details} if details else error


def rpc_status(status: Status) -> status_pb2.Status:
    """The `google.rpc.Status` of the trailing metadata; without details if there is none."""
    for key, value in status.trailing:
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status(code=status.code.value[0], message=status.text)


def unpadded_base64(data: bytes) -> str:
    """Connect writes bytes in JSON as base64 without padding."""
    return b2a_base64(data, newline=False).rstrip(b"=").decode()
