"""Makes the task message of an incoming call. Pure; the wall clock's time is an argument."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

from forebay.metadata import to_pairs
from forebay_backends.settings import RPC, Settings
from forebay_gateway.plain.brokers.celery_messages import PlainMessage
from forebay_gateway.plain.mapping.arguments import arguments
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.policy import run_time_s
from forebay_gateway.rpc.status import parsed

_MIN_TIME_LIMIT_S = 0.1


def task_of(
    incoming: IncomingCall, task_id: str, reply_to: str, settings: Settings, now: datetime
) -> PlainMessage:
    """The task's message; raises InvalidRequest where the request can't become arguments.

    With `on_disconnect` CANCEL the caller's deadline holds for the task: Celery neither starts
    it after the deadline nor lets it run beyond. `now` must have a time zone; workers compare the
    expiry with their own clocks.
    """
    method, options = incoming.method, incoming.options
    plain = method.route.plain
    if plain is None:
        raise RuntimeError(f"{method.name} has no plain task")
    args, kwargs = arguments(parsed(method.request_class, incoming.first or b""), plain)
    left_s = None if options.detach else incoming.deadline.timeout_s()
    limits_s = [run_time_s(method, settings), None if plain.let_finish else left_s]
    finite_s = [limit for limit in limits_s if limit is not None]
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
        is_followed=plain.replaces and settings.result_url == RPC,
        time_limit_s=max(_MIN_TIME_LIMIT_S, round(min(finite_s), 3)) if finite_s else None,
    )
