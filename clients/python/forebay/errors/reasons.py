"""One exception class for each error reason, in five families."""

from __future__ import annotations

from google.rpc import code_pb2

from forebay.errors.forebay_error import FieldViolation, ForebayError

__all__ = [
    "ArgumentsUnfit",
    "BackendError",
    "BackendUnavailable",
    "CallEnded",
    "CallIdReused",
    "CallNotFinished",
    "CallUnknown",
    "CallerError",
    "CallerIdle",
    "CallerStalled",
    "Cancelled",
    "CapacityError",
    "DeadlineExceeded",
    "Draining",
    "Fault",
    "HandlerAborted",
    "HandlerFailed",
    "InternalFault",
    "InvalidRequest",
    "ItemsLost",
    "MethodUnknown",
    "NoWorkers",
    "OutOfRange",
    "PermissionDenied",
    "QueueFull",
    "QueueWait",
    "QuotaExceeded",
    "ResultUnfit",
    "TaskRejected",
    "TaskRetriesExceeded",
    "TaskRevoked",
    "TaskTimeLimit",
    "TaskUnanswered",
    "TaskUnknown",
    "TooLarge",
    "Unauthenticated",
    "VersionMismatch",
    "WaitExceedsDeadline",
    "WorkerLost",
]


class CallerError(ForebayError):
    """The gateway can't serve the request; the caller must fix it."""

    code = code_pb2.INVALID_ARGUMENT


class InvalidRequest(CallerError):
    """The request is malformed; `violations` name the fields."""

    reason = "INVALID_REQUEST"


class OutOfRange(InvalidRequest):
    """A value in the request is over a limit of this gateway."""

    code = code_pb2.OUT_OF_RANGE


class CallIdReused(CallerError):
    """The call id is in use for another method or another first request."""

    code = code_pb2.ALREADY_EXISTS
    reason = "CALL_ID_REUSED"


class CallUnknown(CallerError):
    """No call has this id, or its retention is over."""

    code = code_pb2.NOT_FOUND
    reason = "CALL_UNKNOWN"


class ArgumentsUnfit(CallerError):
    """The plain task does not accept the arguments made from the request; it did not run."""

    reason = "ARGUMENTS_UNFIT"


class CallNotFinished(CallerError):
    """The call has not ended, so it can't be deleted; cancel it first."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "CALL_NOT_FINISHED"


class MethodUnknown(CallerError):
    """The gateway serves no such service or method."""

    code = code_pb2.UNIMPLEMENTED
    reason = "METHOD_UNKNOWN"


class Unauthenticated(CallerError):
    """The caller sent no credentials, or they are invalid or have expired."""

    code = code_pb2.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(CallerError):
    """The authenticated caller lacks the permission that the message names."""

    code = code_pb2.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class CapacityError(ForebayError):
    """Too many calls, or too large a message; send less, or retry later."""

    code = code_pb2.RESOURCE_EXHAUSTED


class QueueFull(CapacityError):
    """The gateway or the queue is full, or this caller has used up its share; retry later.

    `quota` names the limit that was reached, such as `calls in flight` or `queue add`.
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


class QuotaExceeded(QueueFull):
    """The caller's tenant has used up its own quota, which `quota` names; retry later."""

    reason = "QUOTA_EXCEEDED"


class WaitExceedsDeadline(CapacityError):
    """The call would not start before its deadline."""

    reason = "WAIT_EXCEEDS_DEADLINE"


class TooLarge(CapacityError):
    """A message, a request stream or a matrix is over a limit; a retry does not help."""

    reason = "TOO_LARGE"


class BackendError(ForebayError):
    """The broker, the ledger or the workers are unavailable."""

    code = code_pb2.UNAVAILABLE


class BackendUnavailable(BackendError):
    """The broker or the ledger can't be reached, or returned an error."""

    reason = "BACKEND_UNAVAILABLE"


class Draining(BackendError):
    """The gateway is shutting down; retry on another gateway."""

    reason = "DRAINING"


class NoWorkers(BackendError):
    """No live worker consumes the queue, and none started within the queue wait."""

    reason = "NO_WORKERS"


class QueueWait(BackendError):
    """Workers are alive, but none started the call within the queue wait."""

    reason = "QUEUE_WAIT"


class WorkerLost(BackendError):
    """The worker died, and the call must not run again."""

    reason = "WORKER_LOST"


class TaskUnknown(BackendError):
    """No live worker of the method's queue has registered its task."""

    code = code_pb2.UNIMPLEMENTED
    reason = "TASK_UNKNOWN"


class TaskUnanswered(BackendError):
    """The plain task is neither queued nor running, and no result arrived."""

    reason = "TASK_UNANSWERED"


class VersionMismatch(BackendError):
    """Gateway and worker have incompatible versions of the method; the handler did not run."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "VERSION_MISMATCH"


class ItemsLost(BackendError):
    """The requested items are not in the ledger."""

    code = code_pb2.DATA_LOSS
    reason = "ITEMS_LOST"


class Fault(ForebayError):
    """Code failed: a handler's, a task's, or Forebay's own."""

    code = code_pb2.INTERNAL


class HandlerAborted(Fault):
    """The handler aborted the call with a status of its own."""

    reason = "HANDLER_ABORTED"

    @property
    def retry_may_help(self) -> bool:
        """Never: the call's outcome is stored, so a retry returns the same status."""
        return False


class HandlerFailed(Fault):
    """The handler raised an exception; the worker's log has the traceback."""

    reason = "HANDLER_FAILED"


class ResultUnfit(Fault):
    """The plain task's result does not fit the response message."""

    reason = "RESULT_UNFIT"


class TaskRejected(Fault):
    """The plain task rejected its message."""

    code = code_pb2.ABORTED
    reason = "TASK_REJECTED"


class TaskRetriesExceeded(Fault):
    """The plain task failed, and has used up its retries."""

    code = code_pb2.ABORTED
    reason = "TASK_RETRIES_EXCEEDED"


class InternalFault(Fault):
    """The gateway or the worker failed; its log has the traceback."""

    reason = "INTERNAL_FAULT"


class CallEnded(ForebayError):
    """The call was cancelled, or its time was up."""


class DeadlineExceeded(CallEnded):
    """The deadline passed."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class TaskTimeLimit(CallEnded):
    """The plain task reached its time limit before the call's deadline."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = "TASK_TIME_LIMIT"


class TaskRevoked(CallEnded):
    """Another client revoked the plain task."""

    code = code_pb2.CANCELLED
    reason = "TASK_REVOKED"


class CallerIdle(CallEnded):
    """The handler of a live call waited longer than the `idle` limit for the next request."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = "CALLER_IDLE"


class CallerStalled(CallEnded):
    """The handler waited for this caller, which read no message within the `stall` limit.

    The call itself may still run: attach again with its id.
    """

    code = code_pb2.ABORTED
    reason = "CALLER_STALLED"


class Cancelled(CallEnded):
    """The call was cancelled."""

    code = code_pb2.CANCELLED
    reason = "CANCELLED"
