"""Makes the task message of an incoming call. Pure; the wall clock's time is an argument."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

from forebay.metadata import to_pairs
from forebay.routes import Method
from forebay_backends.settings import Settings
from forebay_gateway.plain.brokers.celery_messages import PlainMessage
from forebay_gateway.plain.mapping.arguments import arguments
from forebay_gateway.plain.task_limits import TaskLimits
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.policy import queue_wait_s
from forebay_gateway.rpc.start_time import delay_s
from forebay_gateway.rpc.status import parsed

_MIN_TIME_LIMIT_S = 0.1
_QUEUE_WAIT_SLACK_S = 2.0
"""Time for the gateway to notice that the queue wait has passed, and to find out why."""
_CLOCK_SKEW = timedelta(minutes=1)
"""How far a worker's clock may be behind the gateway's without starting the task late."""
_SHORTEST_WAIT_S = 3.0  # a silent call is queried three times, once a second, before it fails


def task_of(
    incoming: IncomingCall,
    task_id: str,
    reply_to: str,
    settings: Settings,
    now: datetime,
    limits: TaskLimits,
    *,
    by_rpc: bool,
    can_withdraw: bool,
) -> PlainMessage:
    """The task's message; raises InvalidRequest if the request can't become arguments.

    With `on_disconnect` CANCEL, no worker starts the task after the caller's deadline. The
    deadline is not the task's time limit: a limit in a message replaces the task's own, which may
    be shorter. So the gateway revokes the task at the deadline.

    On RabbitMQ, the message leaves its queue after `max_queue_s`. `expires` can't replace that:
    Celery copies it to the task's retries, and applies it to tasks that wait in a worker. `now`
    must have a time zone; workers compare the expiry with their own clocks. With `by_rpc`, the
    result comes to the reply queue.

    `limits` are the task's own. If the route limits the run time, the shorter of both limits is the
    message's. A worker reports a task that waits for its rate limit only if the task has an `eta`;
    a past one will do if it is later than the boot of the worker's host. So rate-limited tasks get
    an `eta` where the broker can't tell that a worker holds the message (not `can_withdraw`).
    """
    method, options = incoming.method, incoming.options
    plain = method.route.plain
    if plain is None:
        raise RuntimeError(f"{method.name} has no plain task")
    args, kwargs = arguments(parsed(method.request_class, incoming.first or b""), plain)
    left_s = None if options.detach else incoming.deadline.timeout_s()
    wait_s = max(queue_wait_s(method, settings), _SHORTEST_WAIT_S) + _QUEUE_WAIT_SLACK_S
    max_queue_s = wait_s if left_s is None else min(wait_s, left_s)
    start = options.start
    eta = None if start is None else now + timedelta(seconds=delay_s(start, now.timestamp))
    if limits.is_rate_limited and not can_withdraw:
        eta = eta or now - _CLOCK_SKEW
    return PlainMessage(
        id=task_id,
        task=method.route.task,
        queue=method.route.queue,
        priority=options.priority or None,
        reply_to=reply_to,
        args=args,
        kwargs=kwargs,
        extra_headers={
            key: value if isinstance(value, str) else base64.b64encode(value).decode()
            for key, value in to_pairs(options.forwarded_metadata)
        },
        expires=None if left_s is None else now + timedelta(seconds=left_s),
        is_followed=plain.replaces and by_rpc,
        eta=eta,
        max_queue_s=None if options.detach else max_queue_s,
        time_limit_s=_time_limit_s(method, limits),
    )


def _time_limit_s(method: Method, limits: TaskLimits) -> float | None:
    run_time_s = method.route.limits.run_time_s
    if run_time_s is None:
        return None
    return max(_MIN_TIME_LIMIT_S, round(min(run_time_s, limits.time_limit_s), 3))
