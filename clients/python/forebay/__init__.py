"""Forebay: typed, streaming access to Celery workers over gRPC.

This package is the client, and all that a service needs that embeds the stub:
`connect` (or `forebay.aio.connect`) for ComputeService as functions, `channel` (or
`forebay.aio.channel`) for stubs of any service, `forebay.compute.v1` for the generated
code, the errors, and `Deadline`. Calls over both resume by themselves.
"""

from forebay.channels import channel
from forebay.client import Client, connect
from forebay.deadline import Deadline
from forebay.errors import (
    BackendError,
    BackendUnavailable,
    CallEnded,
    CallerError,
    CallerIdle,
    CallIdReused,
    CallNotFinished,
    CallUnknown,
    Cancelled,
    CapacityError,
    DeadlineExceeded,
    Draining,
    Fault,
    FieldViolation,
    ForebayError,
    HandlerAborted,
    HandlerFailed,
    InternalFault,
    InvalidRequest,
    ItemsLost,
    MethodUnknown,
    NoWorkers,
    OutOfRange,
    QueueFull,
    QueueWait,
    TaskUnknown,
    TooLarge,
    VersionMismatch,
    WaitExceedsDeadline,
    WorkerLost,
)

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "CallEnded",
    "CallIdReused",
    "CallNotFinished",
    "CallUnknown",
    "CallerError",
    "CallerIdle",
    "Cancelled",
    "CapacityError",
    "Client",
    "Deadline",
    "DeadlineExceeded",
    "Draining",
    "Fault",
    "FieldViolation",
    "ForebayError",
    "HandlerAborted",
    "HandlerFailed",
    "InternalFault",
    "InvalidRequest",
    "ItemsLost",
    "MethodUnknown",
    "NoWorkers",
    "OutOfRange",
    "QueueFull",
    "QueueWait",
    "TaskUnknown",
    "TooLarge",
    "VersionMismatch",
    "WaitExceedsDeadline",
    "WorkerLost",
    "channel",
    "connect",
]
