"""From what Celery says of a task to what its caller is told. Pure.

A task's state comes as Celery's result "meta", over `rpc://` or from a Redis: its `status`,
its `result` (of a failure, the exception's class and message; of a state of the
task's own, whatever it gave `update_state`), a traceback, and more that is not looked at.
"""

from __future__ import annotations

import re
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

_LONGEST_MESSAGE = 1000
_CELERYS_STATES = states.ALL_STATES | {states.IGNORED, states.REJECTED}

# What CPython says where a call does not fit a function's signature.
_SIGNATURE = re.compile(
    r"\(\) (got an unexpected keyword argument|got multiple values for argument|missing \d+ "
    r"required|takes .* but \d+ .*given|got some positional-only)|takes no (keyword )?arguments"
)
# The last frame of a traceback then is of whoever called the task, and not of the task.
_CALLERS = re.compile(r"[\\/]celery[\\/]app[\\/](trace|task|autoretry|base)\.py$")
_FRAME = re.compile(r'^ *File "(.*?)", line \d+', re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """A state of the task's own, with its meta."""

    meta: Any


@dataclass(frozen=True)
class Result:
    """The task ended well."""

    value: Any


@dataclass(frozen=True)
class Failed:
    """The call ends so; `note` is for the log: what happened, and what may be done."""

    error: ForebayError
    note: str


Outcome: TypeAlias = Progress | Result | Failed


def outcome(
    meta: Mapping[str, Any], method: Method, exceptions: Iterable[ExceptionStatus] = ()
) -> Outcome | None:
    """What a meta says; None where it is nothing for the caller.

    `exceptions` are those of the gateway's settings; the route's own come first.
    """
    status, result = meta.get("status"), meta.get("result")
    if status == states.SUCCESS:
        return Result(result)
    if status == states.REVOKED:
        return _revoked(result)
    if status == states.FAILURE:
        plain = method.route.plain
        table = (*(plain.exceptions if plain else ()), *exceptions)
        return _failure(_exception(result), str(meta.get("traceback") or ""), method, table)
    if status in _CELERYS_STATES or not isinstance(status, str):
        return None
    return Progress(result)


@dataclass(frozen=True)
class _Exception:
    module: str
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}".strip(".")


def _exception(result: Any) -> _Exception:
    said = result if isinstance(result, dict) else {}
    message = said.get("exc_message", "")
    if isinstance(message, (list, tuple)):
        message = ", ".join(str(part) for part in message)
    return _Exception(
        str(said.get("exc_module") or ""), str(said.get("exc_type") or ""), str(message)
    )


def _revoked(result: Any) -> Failed:
    why = _exception(result).message
    if "expired" in why:
        return Failed(
            DeadlineExceeded("the call's deadline passed before a worker began it"),
            "the task expired in its queue; more workers would begin it sooner, and clocks of "
            "gateway and worker must agree",
        )
    return Failed(
        TaskRevoked("the task was revoked, and not by its caller"), f"it was revoked: {why}"
    )


def _failure(
    raised: _Exception, traceback: str, method: Method, table: Iterable[ExceptionStatus]
) -> Failed:
    for one in table:
        if one.fits(raised.name, raised.module):
            return Failed(
                _as_told(one, raised, method.service), f"it raised {raised}: {one.status} here"
            )
    known = _celerys(raised, method)
    if known is not None:
        return known
    if _is_of_signature(raised, traceback):
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


def _celerys(raised: _Exception, method: Method) -> Failed | None:
    """What Celery itself says by an exception; None where it is the task's."""
    match raised.module.partition(".")[0], raised.name:
        case "celery", "NotRegistered":
            return Failed(
                TaskUnknown("the worker has no task of the route's name"),
                f"the worker of queue {method.route.queue!r} knows no task "
                f"{method.route.task!r}; mend the route, or start the worker that has it",
            )
        case "celery", "Reject":
            return Failed(TaskRejected("the task rejected its message"), raised.message)
        case "celery", "MaxRetriesExceededError":
            return Failed(
                TaskRetriesExceeded("the task failed as often as it may be retried"),
                "it used up its retries",
            )
        case (("celery" | "billiard"), ("TimeLimitExceeded" | "SoftTimeLimitExceeded")):
            return Failed(TaskTimeLimit("the task ran into a time limit"), f"it raised {raised}")
        case (("celery" | "billiard"), "WorkerLostError"):
            return Failed(
                with_effects(WorkerLost("the process that ran the task died"), method),
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


def _is_of_signature(raised: _Exception, traceback: str) -> bool:
    frames = _FRAME.findall(traceback)
    return (
        raised.name == "TypeError"
        and _SIGNATURE.search(raised.message) is not None
        and (not frames or _CALLERS.search(frames[-1]) is not None)
    )


def with_effects(error: ForebayError, method: Method) -> ForebayError:
    """ABORTED where the method has effects: a retry policy must not repeat what may have been."""
    if not method.may_run_again:
        error.code = code_pb2.ABORTED
    return error


def _as_told(one: ExceptionStatus, raised: _Exception, service: str) -> ForebayError:
    message = f"the task raised {raised.name}"
    if one.tell_message and raised.message:
        message = raised.message[:_LONGEST_MESSAGE]
    error = HandlerAborted(message)
    error.code = one.code
    if one.reason:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=one.reason, domain=service))
        error.reason, error.domain = one.reason, service
        error.status = status_pb2.Status(code=one.code, message=message, details=[detail])
    else:
        error.status = to_status(error)
    return error
