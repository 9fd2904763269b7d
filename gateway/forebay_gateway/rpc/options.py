"""The call options in request metadata, and the metadata to forward to handlers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from google.protobuf.message import Message

from forebay.errors import FieldViolation, InvalidRequest
from forebay.metadata import (
    CACHE_CONTROL,
    CALL_ID,
    ON_DISCONNECT,
    PRIORITY,
    RESUME_FROM,
    START_AFTER,
    START_AT,
    TRACEPARENT,
    TRACESTATE,
    from_pairs,
)
from forebay.routes import HIGHEST_PRIORITY, Method, Route
from forebay.routes.operations import REQUEST_ID
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import is_call_id
from forebay_backends.ledger.operations.calls import Start
from forebay_gateway.rpc.start_time import read_start

_REQUEST_KEYS = frozenset(
    {CALL_ID, RESUME_FROM, ON_DISCONNECT, PRIORITY, START_AFTER, START_AT, CACHE_CONTROL}
)
_NO_CACHE, _SHARE = "no-cache", "share"
TRACE_KEYS = (TRACEPARENT, TRACESTATE)
"""Keys that are forwarded for every method."""
_LONGEST_SHOWN = 200


@dataclass(frozen=True)
class CallOptions:
    """The options of one call.

    `call_id` is None if the gateway must make one; `start` is None if the call starts at once. With
    `no_cache`, the caller does not accept the result of another run. With `share`, it accepts the
    result of a run whose id differs from `call_id`.
    """

    call_id: str | None
    resume_from: int
    detach: bool
    priority: int
    forwarded_metadata: call_pb2.Metadata
    start: Start | None = None
    no_cache: bool = False
    share: bool = False


def read_call_options(
    pairs: Iterable[tuple[str, str | bytes]],
    route: Route,
    tenant_cap: int = HIGHEST_PRIORITY,
    *,
    forwards_trace: bool = True,
) -> CallOptions:
    """Reads a call's request metadata; raises InvalidRequest naming the key.

    `tenant_cap` is the highest priority that the caller's tenant may ask for. A route's default
    above the cap is lowered to it instead of refused: the caller did not choose it. A gateway that
    traces does not forward the caller's trace context, since its own goes to the worker.
    """
    own: dict[str, str] = {}
    forwarded: list[tuple[str, str | bytes]] = []
    forwarded_keys = {*route.metadata, *TRACE_KEYS}
    if not forwards_trace:
        forwarded_keys.difference_update(TRACE_KEYS)
    for key, value in pairs:
        if key in forwarded_keys:
            forwarded.append((key, value))
        elif key.startswith("forebay-"):
            if key not in _REQUEST_KEYS:
                raise _invalid(key, "is not a request metadata key of Forebay")
            if key in own:
                raise _invalid(key, "is given twice")
            own[key] = value if isinstance(value, str) else value.decode("latin-1")
    directives = _cache_directives(own.get(CACHE_CONTROL))
    return CallOptions(
        call_id=_call_id(own.get(CALL_ID)),
        resume_from=_resume_from(own),
        detach=_detach(own.get(ON_DISCONNECT), route),
        priority=_priority(own.get(PRIORITY), route, tenant_cap),
        forwarded_metadata=from_pairs(forwarded),
        start=_start(own),
        no_cache=_NO_CACHE in directives,
        share=_SHARE in directives,
    )


def with_request_id(options: CallOptions, method: Method, request: Message) -> CallOptions:
    """Takes the call's id from the request's `request_id`, if there is one.

    Only methods that return an operation can have one. Raises InvalidRequest naming the field.
    """
    if method.operation is None or not method.operation.has_request_id:
        return options
    try:
        request_id = method.operation.request_id(request)
    except ValueError as error:
        given = getattr(request, REQUEST_ID)
        shown = given if len(given) <= _LONGEST_SHOWN else f"{given[:_LONGEST_SHOWN]}…"
        raise _invalid(REQUEST_ID, f"is {shown!r}; {error}") from error
    if not request_id or request_id == options.call_id:
        return options
    if options.call_id is not None:
        raise _invalid(
            REQUEST_ID,
            f"is {request_id!r}, but {CALL_ID} is {options.call_id!r}; both are the id of the "
            "call: leave one out",
        )
    return replace(options, call_id=request_id)


def _call_id(value: str | None) -> str | None:
    if value is not None and not is_call_id(value):
        raise _invalid(CALL_ID, f"is {value!r}; expected 1 to 128 of A-Z a-z 0-9 . _ : -")
    return value


def _resume_from(own: dict[str, str]) -> int:
    value = own.get(RESUME_FROM, "0")
    if not (value.isascii() and value.isdecimal() and len(value) < 16):
        raise _invalid(RESUME_FROM, f"is {value!r}; expected a number of items, 0 or more")
    if int(value) and CALL_ID not in own:
        raise _invalid(RESUME_FROM, f"needs {CALL_ID}, the id of the call to resume")
    return int(value)


def _cache_directives(value: str | None) -> frozenset[str]:
    if value is None:
        return frozenset()
    directives = frozenset(word.strip() for word in value.split(","))
    if not directives <= {_NO_CACHE, _SHARE}:
        raise _invalid(CACHE_CONTROL, f"is {value!r}; expected {_NO_CACHE}, {_SHARE}, or both")
    return directives


def _detach(value: str | None, route: Route) -> bool:
    if value is None:
        return route.detach
    if value not in ("cancel", "detach"):
        raise _invalid(ON_DISCONNECT, f"is {value!r}; expected cancel or detach")
    if not route.caller_chooses_on_disconnect and (value == "detach") != route.detach:
        raise _invalid(ON_DISCONNECT, f"is {value!r}, which the method's route does not allow")
    return value == "detach"


def _start(own: dict[str, str]) -> Start | None:
    if START_AFTER not in own and START_AT not in own:
        return None
    if START_AFTER in own and START_AT in own:
        raise _invalid(START_AT, f"is given together with {START_AFTER}; give one of them")
    key = START_AFTER if START_AFTER in own else START_AT
    try:
        return read_start(own[key], is_relative=key == START_AFTER)
    except ValueError as error:
        raise _invalid(key, str(error)) from error


def _priority(value: str | None, route: Route, tenant_cap: int) -> int:
    if value is None:
        return min(route.priority, tenant_cap)
    if not (len(value) == 1 and value.isascii() and value.isdecimal()):
        raise _invalid(PRIORITY, f"is {value!r}; expected 0 to {HIGHEST_PRIORITY}")
    if int(value) > route.max_priority:
        raise _invalid(PRIORITY, f"is {value}, over the method's cap of {route.max_priority}")
    if int(value) > tenant_cap:
        raise _invalid(PRIORITY, f"is {value}, over this tenant's cap of {tenant_cap}")
    return int(value)


def _invalid(key: str, description: str) -> InvalidRequest:
    return InvalidRequest(f"{key} {description}", violations=(FieldViolation(key, description),))
