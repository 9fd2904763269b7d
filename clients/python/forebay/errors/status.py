"""Converts errors to `google.rpc.Status` and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from forebay.errors.forebay_error import DOMAIN, FieldViolation, ForebayError
from forebay.errors.reasons import (
    BackendError,
    CallerError,
    Cancelled,
    CapacityError,
    DeadlineExceeded,
    Fault,
    QueueFull,
)

STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata key that carries a serialized `google.rpc.Status`."""


def _leaves(root: type[ForebayError]) -> Iterator[type[ForebayError]]:
    for child in root.__subclasses__():
        yield child
        yield from _leaves(child)


_BY_REASON_AND_CODE: dict[tuple[str, int], type[ForebayError]] = {
    (cls.reason, cls.code): cls for cls in _leaves(ForebayError) if cls.reason
}
_BY_REASON: dict[str, type[ForebayError]] = {
    reason: cls for (reason, _), cls in reversed(_BY_REASON_AND_CODE.items())
}
# For errors without an ErrorInfo of Forebay's: those from gRPC, a proxy, or a handler.
_BY_CODE: dict[int, type[ForebayError]] = {
    code_pb2.INVALID_ARGUMENT: CallerError,
    code_pb2.RESOURCE_EXHAUSTED: CapacityError,
    code_pb2.UNAVAILABLE: BackendError,
    code_pb2.DEADLINE_EXCEEDED: DeadlineExceeded,
    code_pb2.CANCELLED: Cancelled,
    code_pb2.INTERNAL: Fault,
}


def error_of(
    reason: str,
    message: str,
    *,
    code: int | None = None,
    violations: tuple[FieldViolation, ...] = (),
    retry_after_s: float | None = None,
) -> ForebayError:
    """An error for the reason; the status code, if given, helps to choose its class."""
    by_code = _BY_CODE.get(code, ForebayError) if code is not None else ForebayError
    exact = _BY_REASON_AND_CODE.get((reason, code)) if code is not None else None
    cls = exact or _BY_REASON.get(reason) or by_code
    error = cls(message, violations=violations, retry_after_s=retry_after_s)
    error.reason = reason
    if code is not None:
        error.code = code
    return error


def to_status(error: ForebayError) -> status_pb2.Status:
    """The error as `google.rpc.Status`; if a server sent the error with a status, that status."""
    if error.status is not None:
        return error.status
    details: list[any_pb2.Any] = [
        _pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    ]
    if error.violations:
        bad_request = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad_request.field_violations.add(
                field=violation.field, description=violation.description
            )
        details.append(_pack(bad_request))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(_pack(retry))
    if isinstance(error, QueueFull):
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=error.quota, description=error.message)
        details.append(_pack(quota))
    return status_pb2.Status(code=error.code, message=error.message, details=details)


def from_status(code: int, message: str, status: status_pb2.Status | None) -> ForebayError:
    """The error that a server sent, as an instance of the class for its reason.

    If the reason's domain is not Forebay's, the status code determines the class.
    """
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    quota = error_details_pb2.QuotaFailure()
    for detail in status.details if status is not None else ():
        for message_of in (info, bad_request, retry, quota):
            if detail.Is(message_of.DESCRIPTOR) and not message_of.ByteSize():
                _unpack(detail, message_of)
    ours = info.domain == DOMAIN
    error = error_of(
        info.reason if ours else "",
        message,
        code=code,
        violations=tuple(
            FieldViolation(violation.field, violation.description)
            for violation in bad_request.field_violations
        ),
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if retry.ByteSize() else None,
    )
    error.reason, error.domain = info.reason, info.domain
    error.status = status
    if isinstance(error, QueueFull) and quota.violations:
        error.quota = quota.violations[0].subject
    return error


_Detail: TypeAlias = (
    error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.RetryInfo
    | error_details_pb2.QuotaFailure
)


def _unpack(detail: any_pb2.Any, into: _Detail) -> None:
    try:
        detail.Unpack(into)
    except DecodeError:  # malformed details; code and message are still valid
        into.Clear()


def _pack(message: _Detail) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
