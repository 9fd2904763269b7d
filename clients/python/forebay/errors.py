"""Every failure of a call: its status, its reason, and the one conversion each way.

The families say who must act. `CallerError`: the caller mends the request.
`CapacityError`: less, or later. `BackendError`: an operator; a retry may help.
`Fault`: whoever wrote the code that failed. `CallEnded`: the call was stopped,
as somebody asked. All are `ForebayError`.

On the wire an error is a `google.rpc.Status` with one `ErrorInfo` (its reason, of
domain "forebay"), `BadRequest` for fields, `RetryInfo` where a retry may help
and `QuotaFailure` for quotas, as https://google.aip.dev/193 lays them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN = "forebay"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
"""The trailing metadata key that carries a serialized `google.rpc.Status`."""

_CODE_NAMES: dict[int, str] = {value: name for name, value in code_pb2.Code.items()}


@dataclass(frozen=True)
class FieldViolation:
    """What is wrong with one field of a request, or one metadata key.

    `field` is a path such as `random.m`.
    """

    field: str
    description: str


class ForebayError(Exception):
    """A call that did not end with OK.

    `code` is the number of the gRPC status, `reason` a name of
    `forebay.v1.ErrorReason` without its prefix (or, from a handler, a name of
    its own; empty where a server that is not Forebay gave none). `domain` says
    whose the reason is: "forebay", another's, or empty where there is none.
    """

    code: int = code_pb2.UNKNOWN
    reason: str = ""
    domain: str = DOMAIN

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations
        self.retry_after_s = retry_after_s
        self.status: status_pb2.Status | None = None

    @property
    def code_name(self) -> str:
        """The name of the gRPC status, such as `INVALID_ARGUMENT`."""
        return _CODE_NAMES.get(self.code, str(self.code))

    @property
    def retry_may_help(self) -> bool:
        """Whether Forebay says so. An outcome that is stored, such as a handler's, stays."""
        ours = self.domain == DOMAIN and self.reason != HandlerAborted.reason
        return ours and self.retry_after_s is not None

    def __str__(self) -> str:
        head = f"{self.code_name}/{self.reason}" if self.reason else self.code_name
        return f"{head}: {self.message}"


class CallerError(ForebayError):
    """The request can't be served as it is; the caller mends it."""

    code = code_pb2.INVALID_ARGUMENT


class InvalidRequest(CallerError):
    """A request that is malformed; `violations` name the fields."""

    reason = "INVALID_REQUEST"


class OutOfRange(InvalidRequest):
    """A request whose value is beyond a limit of this server."""

    code = code_pb2.OUT_OF_RANGE


class CallIdReused(CallerError):
    """The call id stands for another method or another first request."""

    code = code_pb2.ALREADY_EXISTS
    reason = "CALL_ID_REUSED"


class CallUnknown(CallerError):
    """No call of that id is known, or its retention is over."""

    code = code_pb2.NOT_FOUND
    reason = "CALL_UNKNOWN"


class ArgumentsUnfit(CallerError):
    """The plain task does not take the arguments that the request gave it."""

    reason = "ARGUMENTS_UNFIT"


class CallNotFinished(CallerError):
    """Only a call that has ended can be deleted."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "CALL_NOT_FINISHED"


class MethodUnknown(CallerError):
    """The gateway serves no such service or method."""

    code = code_pb2.UNIMPLEMENTED
    reason = "METHOD_UNKNOWN"


class CapacityError(ForebayError):
    """Too much, or too large."""

    code = code_pb2.RESOURCE_EXHAUSTED


class QueueFull(CapacityError):
    """The gateway or a queue holds as many calls as it may; retry later.

    `quota` says what is full, such as `calls in flight` or `queue add`.
    """

    reason = "QUEUE_FULL"

    def __init__(
        self,
        message: str,
        *,
        violations: tuple[FieldViolation, ...] = (),
        retry_after_s: float | None = None,
        quota: str = "calls in flight",
    ) -> None:
        super().__init__(message, violations=violations, retry_after_s=retry_after_s)
        self.quota = quota


class WaitExceedsDeadline(CapacityError):
    """The call would not begin before its deadline."""

    reason = "WAIT_EXCEEDS_DEADLINE"


class TooLarge(CapacityError):
    """A message, a request stream or a matrix over a limit; a retry can't help."""

    reason = "TOO_LARGE"


class BackendError(ForebayError):
    """A broker, a ledger or the workers are away."""

    code = code_pb2.UNAVAILABLE


class BackendUnavailable(BackendError):
    """Broker or ledger can't be reached, or refuse."""

    reason = "BACKEND_UNAVAILABLE"


class Draining(BackendError):
    """The gateway is shutting down; another takes the call up."""

    reason = "DRAINING"


class NoWorkers(BackendError):
    """No live worker consumes the queue, and none came in time."""

    reason = "NO_WORKERS"


class QueueWait(BackendError):
    """Workers are alive, but none began the call in time."""

    reason = "QUEUE_WAIT"


class WorkerLost(BackendError):
    """The worker died, and the call may not be run again."""

    reason = "WORKER_LOST"


class TaskUnknown(BackendError):
    """No live worker of the method's queue has its task."""

    code = code_pb2.UNIMPLEMENTED
    reason = "TASK_UNKNOWN"


class TaskUnanswered(BackendError):
    """No worker has the plain task, and no result of it came."""

    reason = "TASK_UNANSWERED"


class VersionMismatch(BackendError):
    """Gateway and worker have versions of the method that don't fit; the handler was not run."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "VERSION_MISMATCH"


class ItemsLost(BackendError):
    """Items that were asked for are not in the ledger."""

    code = code_pb2.DATA_LOSS
    reason = "ITEMS_LOST"


class Fault(ForebayError):
    """Code failed: a handler's, or Forebay's own."""

    code = code_pb2.INTERNAL


class HandlerAborted(Fault):
    """The handler ended the call with a status of its own."""

    reason = "HANDLER_ABORTED"


class HandlerFailed(Fault):
    """The handler raised; the worker's log has the traceback."""

    reason = "HANDLER_FAILED"


class ResultUnfit(Fault):
    """The plain task's result does not fit the response message."""

    reason = "RESULT_UNFIT"


class TaskRejected(Fault):
    """The plain task rejected its message."""

    code = code_pb2.ABORTED
    reason = "TASK_REJECTED"


class TaskRetriesExceeded(Fault):
    """The plain task was retried as often as it may be."""

    code = code_pb2.ABORTED
    reason = "TASK_RETRIES_EXCEEDED"


class InternalFault(Fault):
    """Forebay itself failed; the log has the traceback."""

    reason = "INTERNAL_FAULT"


class CallEnded(ForebayError):
    """The call was stopped, as somebody asked."""


class DeadlineExceeded(CallEnded):
    """The deadline passed."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class TaskTimeLimit(CallEnded):
    """The plain task ran into a time limit before the call's deadline."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = "TASK_TIME_LIMIT"


class TaskRevoked(CallEnded):
    """Somebody else revoked the plain task."""

    code = code_pb2.CANCELLED
    reason = "TASK_REVOKED"


class CallerIdle(CallEnded):
    """The handler of a live call waited for its next request for too long."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = "CALLER_IDLE"


class Cancelled(CallEnded):
    """The call was cancelled."""

    code = code_pb2.CANCELLED
    reason = "CANCELLED"


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
# What an error without our ErrorInfo means: gRPC's own, a proxy's, or a handler's.
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
    """The error that a reason (and, where given, a status code) stands for."""
    by_code = _BY_CODE.get(code, ForebayError) if code is not None else ForebayError
    exact = _BY_REASON_AND_CODE.get((reason, code)) if code is not None else None
    cls = exact or _BY_REASON.get(reason) or by_code
    error = cls(message, violations=violations, retry_after_s=retry_after_s)
    error.reason = reason
    if code is not None:
        error.code = code
    return error


def to_status(error: ForebayError) -> status_pb2.Status:
    """The error as it goes over the wire."""
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
    """The error that came over the wire, as the class that its reason names.

    A reason of another domain is kept, but stands for no class of ours.
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
    except DecodeError:  # somebody's garbage; the status itself still holds
        into.Clear()


def _pack(message: _Detail) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
