"""The Celery message that sends a worker to a call.

It holds names only: the call's key and the attempt (or, for calls that live in a
gateway's memory, a serialized `forebay.v1.Batch`); the task's id is the call's, and from
the second attempt on the call's with the attempt. The
form is Celery's message protocol 2,
https://docs.celeryq.dev/en/stable/internals/protocol.html, and on Redis kombu's
virtual transport: JSON with a base64 body, pushed on a list whose name carries
the priority (`kombu.transport.redis.Channel._put`, `priority`).
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Push

ORIGIN = "forebay"
"""What Celery's header `origin` says of our messages."""

# kombu's defaults, which existing workers use too: of the priorities on Redis,
# where 0 is popped first, four are told apart.
_PRIORITY_STEPS = (0, 3, 6, 9)
_SEPARATOR = "\x06\x16"
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
"""What protocol 2 has beside the arguments, where nothing follows the task."""


@dataclass(frozen=True)
class TaskMessage:
    """A task to be sent; `priority` is 0 to 9, 9 the most urgent."""

    id: str
    task: str
    queue: str
    priority: int
    kwargs: dict[str, Any]

    @property
    def headers(self) -> dict[str, Any]:
        """The headers of protocol 2."""
        return {
            "lang": "py",
            "task": self.task,
            "id": self.id,
            "root_id": self.id,
            "parent_id": None,
            "group": None,
            "eta": None,
            "expires": None,
            "retries": 0,
            "timelimit": [None, None],
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": ORIGIN,
            "ignore_result": True,
        }

    @property
    def body(self) -> list[Any]:
        """The body of protocol 2: args, kwargs, embed."""
        return [[], self.kwargs, EMBED]


def call_message(
    call: CallKey, attempt: int, *, task: str, queue: str, priority: int
) -> TaskMessage:
    """The message of a durable call.

    Celery knows tasks by their id: a worker that was thought dead may get its own call again
    while it still has the first attempt, so later ones have an id of their own.
    """
    task_id = call.id if attempt == 1 else f"{call.id}#{attempt}"
    return TaskMessage(task_id, task, queue, priority, {"call": str(call), "attempt": attempt})


def calls_message(
    message_id: str, calls: Sequence[CallKey], *, task: str, queue: str, priority: int
) -> TaskMessage:
    """The message of several durable calls, each at its first attempt."""
    kwargs = {"calls": [str(call) for call in calls]}
    return TaskMessage(message_id, task, queue, priority, kwargs)


def batch_message(
    batch_id: str, batch: bytes, *, task: str, queue: str, priority: int
) -> TaskMessage:
    """The message of calls that live in a gateway's memory."""
    return TaskMessage(batch_id, task, queue, priority, {"batch": b64encode(batch).decode()})


def redis_push(message: TaskMessage) -> Push:
    """The message as kombu's Redis transport would have put it."""
    redis_priority = 9 - message.priority
    wire = redis_wire(
        json.dumps(message.body).encode(),
        message.headers,
        {"correlation_id": message.id, "priority": redis_priority},
        routing_key=message.queue,
    )
    return Push(_list_name(message.queue, redis_priority), wire)


def redis_wire(
    body: bytes,
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    *,
    exchange: str = "",
    routing_key: str = "",
) -> bytes:
    """A message of JSON as kombu's virtual transports put it."""
    wire = {
        "body": b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            **properties,
            "delivery_mode": 2,
            "delivery_info": {"exchange": exchange, "routing_key": routing_key},
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    return json.dumps(wire).encode()


def queue_lists(queue: str) -> list[str]:
    """The Redis lists that together are a queue."""
    return [_list_name(queue, step) for step in _PRIORITY_STEPS]


def _list_name(queue: str, redis_priority: int) -> str:
    step = _PRIORITY_STEPS[bisect(_PRIORITY_STEPS, redis_priority) - 1]
    return f"{queue}{_SEPARATOR}{step}" if step else queue
