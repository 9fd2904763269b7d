"""Forebay: typed, streaming access to Celery workers over gRPC.

This package is the client, and all that a service needs that embeds the stub:
`connect` (or `forebay.aio.connect`) for ComputeService as functions,
`forebay.compute.v1` for the generated code, the errors, and `Deadline`.
"""

from forebay.client import Client, connect
from forebay.deadline import Deadline
from forebay.errors import (
    BackendError,
    BackendUnavailable,
    CallEnded,
    CallerError,
    CallIdReused,
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
    TooLarge,
    WaitExceedsDeadline,
    WorkerLost,
)

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "CallEnded",
    "CallIdReused",
    "CallUnknown",
    "CallerError",
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
    "TooLarge",
    "WaitExceedsDeadline",
    "WorkerLost",
    "connect",
]
