"""A plain call's responses: its task's custom states and result, as messages of the method."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import NoReturn

from google.protobuf.message import Message

from forebay.errors import ResultUnfit
from forebay_gateway.plain.in_flight import PlainCall
from forebay_gateway.plain.mapping.result_meta import too_large
from forebay_gateway.plain.mapping.results import response, responses
from forebay_gateway.plain.mapping.scalars import Unfit
from forebay_gateway.plain.task_outcome import Progress, Result

_log = logging.getLogger(__name__)


async def only_response(call: PlainCall, max_message_bytes: int) -> bytes:
    """The response of a unary method; raises the ForebayError that the call ends with."""
    result = await _result(call)
    try:
        (message,) = responses(result.value, call.method)
    except Unfit as error:
        _raise_unfit(call, error)
    return _checked(message, max_message_bytes)


async def all_responses(call: PlainCall, max_message_bytes: int) -> AsyncIterator[bytes]:
    """The responses of a streaming method: one for each custom state, then the result's.

    Raises the ForebayError that the call ends with.
    """
    while call.ending is None or call.progress:
        if not call.progress:
            await call.next_change()
        while call.progress:
            message = _progress_response(call, call.progress.popleft())
            if message is not None:
                yield _checked(message, max_message_bytes)
    result = await _result(call)
    try:
        for message in responses(result.value, call.method):
            yield _checked(message, max_message_bytes)
    except Unfit as error:
        _raise_unfit(call, error)


async def _result(call: PlainCall) -> Result:
    """The task's result; raises the error that the call ended with."""
    while call.ending is None:
        await call.next_change()
    call.raise_error()
    assert isinstance(call.ending, Result)  # noqa: S101  # raise_error raises any other
    return call.ending


def _progress_response(call: PlainCall, progress: Progress) -> Message | None:
    """The response of a custom state; None if the route has no field for it."""
    field = call.method.route.transient
    if not field:
        return None
    try:
        return response(progress.meta, call.method, field)
    except Unfit as error:
        _log.warning(
            "call %s of %s: the meta of a state does not fit `%s` and is skipped: %s",
            *(call.id, call.method.name, field, error),
        )
        return None


def _checked(message: Message, max_message_bytes: int) -> bytes:
    payload = message.SerializeToString()
    if len(payload) > max_message_bytes:
        raise too_large(len(payload), max_message_bytes)
    return payload


def _raise_unfit(call: PlainCall, error: Unfit) -> NoReturn:
    name = call.method.response_class.DESCRIPTOR.full_name
    _log.warning(
        "call %s of %s: the result of %s does not fit %s: %s; fix the message, the route's "
        "`plain` or the task",
        *(call.id, call.method.name, call.method.route.task, name, error),
    )
    raise ResultUnfit(f"the task's result does not fit {name}: {error}") from error
