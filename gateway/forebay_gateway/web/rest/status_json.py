"""Statuses as JSON of `google.rpc.Status`, and as HTTP statuses and headers. Pure."""

from __future__ import annotations

import json
from math import ceil
from typing import Any

from google.protobuf import json_format
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status as RpcStatus
from grpc import StatusCode

from forebay.errors.status import from_status
from forebay_gateway.web.connect.errors import HTTP_STATUS, rpc_status, unpadded_base64
from forebay_gateway.web.context import Status
from forebay_gateway.web.exchange import Headers

# Imported so that the messages of standard details are in the descriptor pool.
_KNOWN_DETAILS = error_details_pb2.DESCRIPTOR


def status_object(status: Status) -> dict[str, Any]:
    """The `google.rpc.Status`; details of unknown types have their bytes in base64."""
    rpc = rpc_status(status)
    try:
        return {"code": rpc.code, **json_format.MessageToDict(rpc)}
    except TypeError:  # a type that this process does not know
        return {
            "code": rpc.code,
            "message": rpc.message,
            "details": [_detail(rpc, number) for number in range(len(rpc.details))],
        }


def status_json(status: Status) -> bytes:
    """The `google.rpc.Status`, on one line."""
    return json.dumps(status_object(status), ensure_ascii=False).encode()


def http_status(status: Status) -> int:
    """The HTTP status, by google/rpc/code.proto."""
    return 200 if status.is_ok else HTTP_STATUS.get(status.code, 500)


def error_headers(status: Status) -> Headers:
    """The headers that say when to retry, and how to authenticate."""
    headers: Headers = []
    delay_s = retry_delay_s(status)
    if delay_s is not None:
        headers.append((b"retry-after", b"%d" % ceil(delay_s)))
    if status.code is StatusCode.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def retry_delay_s(status: Status) -> float | None:
    """After how many seconds a retry may help; None if the status does not say that it may."""
    if status.is_ok:
        return None
    error = from_status(status.code.value[0], status.text, rpc_status(status))
    return error.retry_after_s if error.retry_may_help else None


def _detail(rpc: RpcStatus, number: int) -> dict[str, Any]:
    detail = rpc.details[number]
    try:
        found: dict[str, Any] = json_format.MessageToDict(detail)
    except TypeError:
        return {"@type": detail.type_url, "value": unpadded_base64(detail.value)}
    return found
