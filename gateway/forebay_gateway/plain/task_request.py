"""From a call that comes in to the task that is sent for it. Pure but for the wall clock's time."""

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

_LEAST_LIMIT_S = 0.1


def task_of(
    incoming: IncomingCall, task_id: str, reply_to: str, settings: Settings, now: datetime
) -> PlainMessage:
    """The task; raises InvalidRequest for a request that can't be arguments.

    Under CANCEL the caller's deadline is the task's: it does not begin after it, and does not
    run for longer. `now` is aware; workers compare with their own clocks.
    """
    method, options = incoming.method, incoming.options
    plain = method.route.plain
    if plain is None:
        raise RuntimeError(f"{method.name} has no plain task")
    args, kwargs = arguments(parsed(method.request_class, incoming.first or b""), plain)
    left_s = None if options.detach else incoming.deadline.timeout_s()
    bounds_s = [run_time_s(method, settings), None if plain.let_finish else left_s]
    limits_s = [bound for bound in bounds_s if bound is not None]
    return PlainMessage(
        id=task_id,
        task=method.route.task,
        queue=method.route.queue,
        priority=options.priority,
        reply_to=reply_to,
        args=args,
        kwargs=kwargs,
        handed_on={
            key: value if isinstance(value, str) else base64.b64encode(value).decode()
            for key, value in to_pairs(options.forwarded_metadata)
        },
        expires=None if left_s is None else now + timedelta(seconds=left_s),
        is_followed=plain.replaces and settings.result_url == RPC,
        time_limit_s=max(_LEAST_LIMIT_S, round(min(limits_s), 3)) if limits_s else None,
    )
