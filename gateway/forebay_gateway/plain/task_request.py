"""Makes the task message of an incoming call. Pure; the wall clock's time is an argument."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

from forebay.metadata import to_pairs
from forebay_backends.settings import Settings
from forebay_gateway.plain.brokers.celery_messages import PlainMessage
from forebay_gateway.plain.mapping.arguments import arguments
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.policy import queue_wait_s
from forebay_gateway.rpc.start_time import delay_s
from forebay_gateway.rpc.status import parsed

_MIN_TIME_LIMIT_S = 0.1
_QUEUE_WAIT_SLACK_S = 2.0
"""In this time the gateway notices that the queue wait has passed, and finds out why."""
_SHORTEST_WAIT_S = 3.0  # a silent call is queried three times, once a second, before it fails


def task_of(
    incoming: IncomingCall,
    task_id: str,
    reply_to: str,
    settings: Settings,
    now: datetime,
    *,
    by_rpc: bool,
) -> PlainMessage:
    """The task's message; raises InvalidRequest if the request can't become arguments.

    With `on_disconnect` CANCEL, no worker starts the task after the caller's deadline. The
    deadline is not the task's time limit: a limit in a message replaces the task's own, which may
    be the sooner one. So the gateway revokes the task at the deadline.

    On RabbitMQ, the message leaves its queue after the queue wait. `expires` does not cover that:
    Celery copies it to the task's retries, and applies it to tasks that wait in a worker. `now`
    must have a time zone; workers compare the expiry with their own clocks. `by_rpc`: the result
    comes to the reply queue.
    """
    method, options = incoming.method, incoming.options
    plain = method.route.plain
    if plain is None:
        raise RuntimeError(f"{method.name} has no plain task")
    args, kwargs = arguments(parsed(method.request_class, incoming.first or b""), plain)
    left_s = None if options.detach else incoming.deadline.timeout_s()
    wait_s = max(queue_wait_s(method, settings), _SHORTEST_WAIT_S) + _QUEUE_WAIT_SLACK_S
    max_queue_s = wait_s if left_s is None else min(wait_s, left_s)
    run_time_s = method.route.limits.run_time_s
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
        eta=None
        if options.start is None
        else now + timedelta(seconds=delay_s(options.start, now.timestamp)),
        max_queue_s=None if options.detach else max_queue_s,
        time_limit_s=None if run_time_s is None else max(_MIN_TIME_LIMIT_S, round(run_time_s, 3)),
    )
