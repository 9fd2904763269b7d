"""A call's record and limits, from its route, the gateway's settings and call options. Pure."""

from __future__ import annotations

from forebay.routes import Method
from forebay.v1 import route_pb2
from forebay_backends.ledger.operations.calls import NewCall
from forebay_backends.settings import Settings
from forebay_backends.telemetry.call_labels import stored_traceparent
from forebay_gateway.rpc.cache_key import CacheKey
from forebay_gateway.rpc.options import CallOptions

CALL_CHECK_INTERVAL_S = 1.0
"""How often a gateway looks for lost calls among its ephemeral and plain calls."""


def new_call(
    method: Method,
    options: CallOptions,
    settings: Settings,
    *,
    timeout_s: float | None,
    request: bytes,
    digest: str,
    is_sampled: bool = False,
    caller: bytes = b"",
    cache_key: CacheKey | None = None,
) -> NewCall:
    """The record of a call that is being accepted; `timeout_s` is the caller's.

    A run that other calls may join ignores its caller's deadline and starts with all its requests.
    """
    ignores_deadline = options.detach or cache_key is not None
    return NewCall(
        method=method.name,
        task=method.route.task,
        queue=method.route.queue,
        priority=options.priority,
        digest=digest,
        receiving=method.client_streaming and not method.route.live and cache_key is None,
        request=request,
        metadata=options.forwarded_metadata.SerializeToString(),
        timeout_s=None if ignores_deadline else timeout_s,
        queue_wait_s=queue_wait_s(method, settings),
        run_limit_s=run_time_s(method, settings),
        linger_s=linger_s(method, options, settings),
        detach=options.detach,
        item_limit_bytes=method.route.limits.item_bytes or settings.item_bytes,
        window_bytes=settings.window_bytes,
        retention_s=settings.retention_s,
        attempts_limit=attempts_limit(method, settings),
        may_run_again=method.may_run_again,
        deterministic=method.route.deterministic,
        live=method.route.live,
        idle_s=method.route.limits.idle_s or settings.idle_s,
        fingerprint=method.fingerprint,
        traceparent=stored_traceparent(options.forwarded_metadata),
        is_sampled=is_sampled,
        caller=caller,
        start=options.start,
        on_end=_on_end(method),
        cache="" if cache_key is None else cache_key.digest,
        cache_ttl_s=0.0 if cache_key is None else cache_key.ttl_s,
        request_bytes=len(request),
    )


def _on_end(method: Method) -> bytes:
    on_end = method.route.on_end
    if on_end is None:
        return b""
    return route_pb2.OnEnd(task=on_end.task, queue=on_end.queue).SerializeToString()


def linger_s(method: Method, options: CallOptions, settings: Settings) -> float:
    """How long a call continues after its last watcher has disconnected."""
    of_route = method.route.limits.linger_s
    if of_route is not None:
        return of_route
    return 0.0 if options.call_id is None else settings.linger_s


def request_limit_bytes(method: Method, settings: Settings) -> int:
    """The limit on the total size of one call's requests."""
    return method.route.limits.request_bytes or settings.request_bytes


def queue_wait_s(method: Method, settings: Settings) -> float:
    """How long a call may wait for a worker."""
    return method.route.limits.queue_wait_s or settings.queue_wait_s


def stall_s(method: Method, settings: Settings) -> float:
    """How long the handler waits for a caller that reads no message."""
    return method.route.limits.stall_s or settings.stall_s


def run_time_s(method: Method, settings: Settings) -> float | None:
    """How long one attempt may run; None if only a deadline bounds it."""
    return method.route.limits.run_time_s or settings.run_time_s


def attempts_limit(method: Method, settings: Settings) -> int:
    """How often a call that may run again is started, at most."""
    return method.route.limits.attempts or settings.attempts
