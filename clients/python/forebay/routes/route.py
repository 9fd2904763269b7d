"""A route: the option of a method, with defaults filled in. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from forebay.deadline import clamped_s
from forebay.routes.cache import Cache, read_cache
from forebay.routes.plain import PlainTask, read_plain_task
from forebay.v1 import route_pb2

HIGHEST_PRIORITY = 9
"""Priorities are 0 to this. It is the `x-max-priority` of queues on RabbitMQ."""


@dataclass(frozen=True)
class Limits:
    """A route's limits on one call; None means the gateway's default."""

    queue_wait_s: float | None = None
    run_time_s: float | None = None
    attempts: int | None = None
    linger_s: float | None = None
    request_bytes: int | None = None
    item_bytes: int | None = None
    idle_s: float | None = None
    stall_s: float | None = None


@dataclass(frozen=True)
class OnEnd:
    """The Celery task that is sent when a call has ended, and its queue."""

    task: str
    queue: str


@dataclass(frozen=True)
class Route:
    """The Celery task and queue of a method, and the policy of its calls.

    The fields are those of `forebay.v1.Route`, with defaults filled in.
    """

    task: str
    queue: str
    ephemeral: bool
    max_batch: int
    detach: bool
    live: bool
    transient: str
    deterministic: bool
    limits: Limits
    priority: int
    max_priority: int
    metadata: tuple[str, ...]
    caller_chooses_on_disconnect: bool
    plain: PlainTask | None = None
    requires: str = ""
    """The permission that a caller needs; empty means the method's full name."""
    on_end: OnEnd | None = None
    cache: Cache | None = None


def read_route(option: route_pb2.Route) -> Route:
    """The route that the option describes; `forebay.routes.problems` checks it."""
    return Route(
        task=option.task,
        queue=option.queue,
        ephemeral=option.ephemeral,
        max_batch=option.max_batch or 1,
        detach=option.on_disconnect == route_pb2.ON_DISCONNECT_DETACH,
        live=option.live,
        transient=option.transient,
        deterministic=option.deterministic,
        limits=_limits(option.limits),
        priority=option.priority,
        max_priority=max(option.max_priority, option.priority),
        metadata=tuple(option.metadata),
        caller_chooses_on_disconnect=option.caller_chooses_on_disconnect,
        plain=read_plain_task(option),
        requires=option.requires,
        on_end=_on_end(option),
        cache=read_cache(option),
    )


def _on_end(option: route_pb2.Route) -> OnEnd | None:
    if not option.HasField("on_end"):
        return None
    return OnEnd(option.on_end.task, option.on_end.queue)


def _limits(option: route_pb2.Limits) -> Limits:
    return Limits(
        queue_wait_s=_seconds(option.HasField("queue_wait"), option.queue_wait),
        run_time_s=_seconds(option.HasField("run_time"), option.run_time),
        attempts=option.attempts or None,
        linger_s=_seconds(option.HasField("linger"), option.linger),
        request_bytes=option.request_bytes or None,
        item_bytes=option.item_bytes or None,
        idle_s=_seconds(option.HasField("idle"), option.idle),
        stall_s=_seconds(option.HasField("stall"), option.stall),
    )


def _seconds(is_set: bool, value: Duration) -> float | None:
    return clamped_s(value.ToNanoseconds() / 1e9) if is_set else None
