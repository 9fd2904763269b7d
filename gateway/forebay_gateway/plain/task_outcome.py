"""Turns a task's state, as Celery reports it, into the call's progress, result or error. Pure.

The input is Celery's result "meta", from any result backend. Its fields used here are `status`,
`traceback` and `result`: the task's return value, or the exception's class and message for a
failure, or the `meta` given to `update_state` for a custom state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from celery import states
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from forebay.errors import (
    ArgumentsUnfit,
    DeadlineExceeded,
    ForebayError,
    HandlerAborted,
    HandlerFailed,
    ResultUnfit,
    TaskRejected,
    TaskRetriesExceeded,
    TaskRevoked,
    TaskTimeLimit,
    TaskUnknown,
    WorkerLost,
)
from forebay.errors.status import to_status
from forebay.routes import Method
from forebay.routes.plain import ExceptionStatus
from forebay_gateway.plain.raised import Raised, read_raised

_CELERY_STATES = states.ALL_STATES | {states.IGNORED, states.REJECTED}


@dataclass(frozen=True)
class Progress:
    """A custom state (`update_state`), with its meta."""

    meta: Any


@dataclass(frozen=True)
class Result:
    """The value that the task returned."""

    value: Any


@dataclass(frozen=True)
class Failed:
    """The call fails with `error`; `note` is for the log: what happened, and what to do."""

    error: ForebayError
    note: str


Outcome: TypeAlias = Progress | Result | Failed


def outcome(
    meta: Mapping[str, Any], method: Method, exceptions: Iterable[ExceptionStatus] = ()
) -> Outcome | None:
    """The meta's outcome for the caller; None for states such as STARTED and RETRY.

    `exceptions` are the gateway-wide mappings to statuses; the route's own take precedence.
    """
    status, result = meta.get("status"), meta.get("result")
    if status == states.SUCCESS:
        return Result(result)
    if status == states.REVOKED:
        return _revoked(result)
    if status == states.FAILURE:
        plain = method.route.plain
        table = (*(plain.exceptions if plain else ()), *exceptions)
        return _failure(read_raised(result, meta.get("traceback")), method, table)
    if status in _CELERY_STATES or not isinstance(status, str):
        return None
    return Progress(result)


def _revoked(result: Any) -> Failed:
    reason = read_raised(result).message
    if "expired" in reason:
        return Failed(
            DeadlineExceeded("the call's deadline passed before a worker began it"),
            "the task expired in its queue; more workers would begin it sooner, and clocks of "
            "gateway and worker must agree",
        )
    return Failed(
        TaskRevoked("the task was revoked, and not by its caller"), f"it was revoked: {reason}"
    )


def _failure(raised: Raised, method: Method, table: Iterable[ExceptionStatus]) -> Failed:
    for mapping in table:
        if raised.is_mapped_by(mapping):
            return Failed(
                _mapped_error(mapping, raised, method.service),
                f"it raised {raised}, which is mapped to {mapping.status}",
            )
    failed = _celery_failure(raised, method)
    if failed is not None:
        return failed
    if raised.is_argument_mismatch:
        return Failed(
            ArgumentsUnfit("the task does not take the arguments that the request gave it"),
            f"{raised.message}; name the request's fields as the task's parameters, or list them "
            "in the route's `plain.positional`",
        )
    return Failed(
        HandlerFailed("the task failed; its worker's log says how"),
        f"it raised {raised}; the worker's log has the traceback, and a line in the route's "
        "`plain.exceptions` would give callers a status of their own",
    )


def _celery_failure(raised: Raised, method: Method) -> Failed | None:
    """The failure behind an exception of Celery's own; None for the task's exceptions."""
    match raised.module.partition(".")[0], raised.name:
        case "celery", "NotRegistered":
            return Failed(
                TaskUnknown("the worker has no task of the route's name"),
                f"the worker of queue {method.route.queue!r} has no task "
                f"{method.route.task!r}; fix the route, or start the worker that has it",
            )
        case "celery", "Reject":
            return Failed(TaskRejected("the task rejected its message"), "it rejected its message")
        case "celery", "MaxRetriesExceededError":
            return Failed(
                TaskRetriesExceeded("the task failed as often as it may be retried"),
                "it used up its retries",
            )
        case (("celery" | "billiard"), ("TimeLimitExceeded" | "SoftTimeLimitExceeded")):
            return Failed(TaskTimeLimit("the task ran into a time limit"), f"it raised {raised}")
        case (("celery" | "billiard"), "WorkerLostError"):
            return Failed(
                aborted_if_effects(WorkerLost("the process that ran the task died"), method),
                raised.message,
            )
        case (("celery" | "billiard"), ("Terminated" | "TaskRevokedError")):
            return Failed(
                TaskRevoked("the task was revoked, and not by its caller"), f"it raised {raised}"
            )
        case "kombu", "EncodeError":
            return Failed(
                ResultUnfit("the worker can't put the task's result into JSON"),
                f"{raised.message}; have the task return what JSON has (an integer of more than "
                "4,300 digits needs PYTHONINTMAXSTRDIGITS=0 in the worker's environment)",
            )
    return None


def aborted_if_effects(error: ForebayError, method: Method) -> ForebayError:
    """The error, with its code set to ABORTED if the method has effects: clients must not retry."""
    if not method.may_run_again:
        error.code = code_pb2.ABORTED
    return error


def _mapped_error(mapping: ExceptionStatus, raised: Raised, service: str) -> ForebayError:
    message = f"the task raised {raised.name}"
    if mapping.tell_message and raised.message:
        message = raised.message
    error = HandlerAborted(message)
    error.code = mapping.code
    if mapping.reason:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=mapping.reason, domain=service))
        error.reason, error.domain = mapping.reason, service
        error.status = status_pb2.Status(code=mapping.code, message=message, details=[detail])
    else:
        error.status = to_status(error)
    return error
