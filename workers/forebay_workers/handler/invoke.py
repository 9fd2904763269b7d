"""Calls a handler and turns how it ended into an outcome, for durable and ephemeral calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError, Message

from forebay.checks import Check
from forebay.errors import Cancelled, ForebayError, HandlerFailed, TooLarge, VersionMismatch
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.interrupted import Aborted, Interrupted, Refused, Stopped
from forebay_workers.handler.operation_metadata import Metadata, metadata_of
from forebay_workers.handler.process_exit import ends_process
from forebay_workers.handler.request_iterator import RequestIterator
from forebay_workers.handler.version_check import unreadable

if TYPE_CHECKING:
    from forebay_backends.telemetry.attempt_span import AttemptSpan

_log = logging.getLogger(__name__)

_FAILED = "the handler failed; the worker's log has the traceback"


def invoke(
    method: Method,
    handler: Callable[..., Any],
    requests: Iterable[bytes],
    context: CallContext,
    check: Check,
    emit: Callable[[Message | Metadata, bytes], None],
    max_message_bytes: int,
) -> call_pb2.Outcome | None:
    """Runs the handler, passes each response to `emit`, and returns the call's outcome.

    Returns None if the call ended before the handler did; `emit` and `requests` raise `Stopped`
    then. Raises only other kinds of `Interrupted`, such as LedgerUnavailable, and exceptions that
    end the process. Only the prefork pool ends a task that raised another BaseException, so
    `sys.exit()` and asyncio's CancelledError fail the call here.

    Context variables that the handler or an interceptor sets hold for this call only. One of them
    is OpenTelemetry's current span, the attempt's.
    """
    run = partial(_invoke, method, handler, requests, context, check, emit, max_message_bytes)
    if context.span is None:
        return copy_context().run(run)
    if not context.span.is_sampled:
        return copy_context().run(context.span.run, run)
    return copy_context().run(_recorded, context.span, run, context)


def _recorded(
    span: AttemptSpan, run: Callable[[], call_pb2.Outcome | None], context: CallContext
) -> call_pb2.Outcome | None:
    outcome = None
    try:
        outcome = span.run(run)
        return outcome
    finally:
        span.on_end(None if outcome is None else outcome.code, context.stopped)


def _invoke(
    method: Method,
    handler: Callable[..., Any],
    requests: Iterable[bytes],
    context: CallContext,
    check: Check,
    emit: Callable[[Message | Metadata, bytes], None],
    max_message_bytes: int,
) -> call_pb2.Outcome | None:
    try:
        parsed = _checked(method, requests, check)
        argument: Any = (
            RequestIterator(parsed, context) if method.client_streaming else _only(parsed)
        )
        for response in _responses(method, handler, argument, context):
            if context.cancelled:
                raise Stopped
            context.response_started()
            emit(response, serialized(method, response, max_message_bytes))
            if context.span is not None and method.server_streaming:
                context.span.on_item()
    except Aborted:
        pass
    except Stopped:
        if not context.cancelled:
            return None
    except Refused as refused:
        return refusal(context, refused)
    except Interrupted:
        raise
    except BaseException as error:
        if ends_process(error):
            raise
        if context.span is not None:
            context.span.failed(error)
        return failure(method, context, error)
    finally:
        context.finish()
    return own_outcome(context)


def refusal(context: CallContext, refused: Refused) -> call_pb2.Outcome:
    """Returns the outcome of a call whose request or response was refused."""
    if isinstance(refused.error, VersionMismatch):
        _log.error("call %s is not run: %s", context.call, refused.error.message)
    return outcome_of_error(refused.error)


def own_outcome(context: CallContext) -> call_pb2.Outcome:
    """Returns the status that the handler has set, or CANCELLED if it has cancelled the call."""
    if context.cancelled:
        return outcome_of_error(Cancelled("the handler cancelled the call"))
    return context.outcome


def failure(method: Method, context: CallContext, error: BaseException) -> call_pb2.Outcome | None:
    """Returns the outcome of a handler that raised; None if that was because it was stopped."""
    if context.stopped is not None and not context.cancelled:
        kind = type(error).__name__  # the log of a stopped call needs no more of it
        _log.info("call %s: after it was stopped, its handler raised %s", context.call, kind)
        return None
    _log.exception("call %s: the handler of %s failed", context.call, method.name)
    if not context.status.number:
        return context.status.outcome(outcome_of_error(HandlerFailed(_FAILED)))
    outcome = own_outcome(context)  # keeps the code it set
    outcome.message = outcome.message or _FAILED
    return outcome


def _responses(
    method: Method, handler: Callable[..., Any], argument: Any, context: CallContext
) -> Iterator[Any]:
    if not method.server_streaming:
        response = handler(argument, context)
        if method.operation is not None:
            response = yield from metadata_of(method, method.operation, response)
        if not context.status.number and not context.cancelled:
            yield response
        return
    responses = handler(argument, context)
    try:
        yield from responses
    finally:
        close = getattr(responses, "close", None)
        if close is not None:
            close()


def _checked(method: Method, requests: Iterable[bytes], check: Check) -> Iterator[Message]:
    for request in requests:
        yield parsed(method, request, check)
    try:
        check.end()
    except ForebayError as error:
        raise Refused(error) from error


def parsed(method: Method, request: bytes, check: Check) -> Message:
    """Parses and checks a request; raises Refused."""
    try:
        message = method.request_class.FromString(request)
    except DecodeError as error:
        raise Refused(unreadable(method)) from error
    try:
        check.feed(message)
    except ForebayError as error:
        raise Refused(error) from error
    return message


def _only(requests: Iterator[Message]) -> Message:
    (request,) = requests
    return request


def serialized(method: Method, response: object, max_message_bytes: int) -> bytes:
    """Serializes a response; raises TypeError for another type, and Refused over the limit."""
    if not isinstance(response, (method.result_class, Metadata)):
        raise TypeError(
            f"the handler of {method.name} returned or yielded {type(response).__name__}, "
            f"not {method.result_class.DESCRIPTOR.full_name}"
        )
    payload = response.SerializeToString()
    if len(payload) > max_message_bytes:
        raise Refused(
            TooLarge(
                f"a response message of {len(payload)} bytes is over the limit "
                f"of {max_message_bytes}"
            )
        )
    return payload
