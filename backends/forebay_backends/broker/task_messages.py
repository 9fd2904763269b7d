"""Celery messages as brokers carry them. Pure.

A message is a task of Celery's message protocol 2,
https://docs.celeryq.dev/en/stable/internals/protocol.html. On Redis it is wrapped in the JSON of
kombu's virtual transport, with a base64 body, and pushed on a list whose name carries the
priority (`kombu.transport.redis.Channel._put`, `priority`).

`TaskMessage` is the message of a durable or ephemeral call. For example, that of a call "a" at
its first attempt has the arguments `{"call": "/a", "attempt": 1}`: it carries names only, and the
call's trace, for lines of the log before the record is read. An ephemeral call, which has no
record, comes whole, in a serialized `forebay.v1.Batch`.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from forebay.routes import HIGHEST_PRIORITY
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Push, WaitingCall
from forebay_backends.signing.keyring import NO_KEYS, Keyring
from forebay_backends.signing.task_signatures import task_signature

ORIGIN = "forebay"
"""The header `origin` of our messages; Celery's own senders put their node's name there."""
JSON = "application/json"

# kombu's defaults, which existing workers use too: Redis has four levels of priority, and a
# worker pops 0 first.
_PRIORITY_STEPS = (0, 3, 6, 9)
_SEPARATOR = "\x06\x16"
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
"""The third part of protocol 2's body, for a task without callbacks, chain and chord."""


class Message(Protocol):
    """A task as a broker sends it."""

    @property
    def id(self) -> str:
        """The task's id, and the message's correlation id."""

    @property
    def queue(self) -> str: ...

    @property
    def priority(self) -> int | None:
        """0 to 9, 9 the most urgent; None: sent as by Celery's callers that give no priority."""

    @property
    def headers(self) -> Mapping[str, Any]: ...

    @property
    def body(self) -> bytes:
        """JSON in UTF-8."""

    @property
    def reply_to(self) -> str:
        """The queue of replies; empty for none."""

    @property
    def delivery_tag(self) -> str:
        """On Redis, the key under which kombu keeps a message that a worker has taken."""

    @property
    def max_queue_s(self) -> float | None:
        """When RabbitMQ drops the message unless a worker has taken it; None for never."""

    @property
    def declares_queue(self) -> bool:
        """Whether Forebay declares the queue; otherwise it must exist."""

    @property
    def at_most_once(self) -> bool:
        """Whether a send that failed must not be retried, because the task would run twice."""


@dataclass(frozen=True)
class TaskMessage:
    """A message of Forebay's. `priority` is 0 to 9, 9 the most urgent; None: sent without one.

    `expires_ms`: from then on, by the ledger's clock, none of its calls begins; 0: no such time, or
    the ledger knows it. `at_most_once`: the ledger would not notice that the message came twice,
    and its calls may not run again.
    """

    id: str
    task: str
    queue: str
    priority: int | None
    kwargs: dict[str, Any]
    expires_ms: int = 0
    args: tuple[Any, ...] = ()
    at_most_once: bool = False

    reply_to: ClassVar[str] = ""
    max_queue_s: ClassVar[None] = None
    declares_queue: ClassVar[bool] = True

    @property
    def delivery_tag(self) -> str:
        return str(uuid.uuid4())  # kombu must not take a resent message for the first

    @property
    def headers(self) -> dict[str, Any]:
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
    def payload(self) -> list[Any]:
        """The body of protocol 2 before it is serialized: args, kwargs, embed."""
        return [[*self.args], self.kwargs, EMBED]

    @property
    def body(self) -> bytes:
        return json.dumps(self.payload).encode()


def call_message(
    call: CallKey, attempt: int, *, task: str, queue: str, priority: int, traceparent: str = ""
) -> TaskMessage:
    """The message of a durable call; `traceparent` is empty if the call has no trace.

    From the second attempt on the task's id carries the attempt, since Celery tells tasks apart
    by id: a worker that lost its lease may receive the call again while it still runs the first
    attempt.
    """
    task_id = call.task_id if attempt == 1 else f"{call.task_id}#{attempt}"
    kwargs: dict[str, Any] = {"call": str(call), "attempt": attempt}
    if traceparent:
        kwargs["traceparents"] = [traceparent]
    return TaskMessage(task_id, task, queue, priority, kwargs)


def waiting_message(one: WaitingCall) -> TaskMessage:
    """The message of a durable call that the ledger lists as waiting."""
    return call_message(
        one.call,
        one.attempt,
        task=one.task,
        queue=one.queue,
        priority=one.priority,
        traceparent=one.traceparent,
    )


def calls_message(
    message_id: str,
    calls: Sequence[CallKey],
    *,
    task: str,
    queue: str,
    priority: int,
    traceparents: Sequence[str] = (),
) -> TaskMessage:
    """The message of several durable calls, all at their first attempt.

    `traceparents` are those of the calls, in the same order.
    """
    kwargs = {"calls": [str(call) for call in calls]}
    if any(traceparents):
        kwargs["traceparents"] = [*traceparents]
    return TaskMessage(message_id, task, queue, priority, kwargs)


def batch_message(
    batch_id: str,
    batch: bytes,
    *,
    task: str,
    queue: str,
    priority: int,
    expires_ms: int = 0,
    may_run_again: bool = False,
) -> TaskMessage:
    """The message of ephemeral calls; `batch` is a serialized `forebay.v1.Batch`."""
    return TaskMessage(
        batch_id,
        task,
        queue,
        priority,
        kwargs={"batch": b64encode(batch).decode()},
        expires_ms=expires_ms,
        at_most_once=not may_run_again,
    )


def signed_headers(message: Message, body: bytes, keyring: Keyring) -> dict[str, Any]:
    """The message's headers, with a signature if there are keys.

    Plain tasks have none: workers of other applications don't know it.
    """
    if not keyring.is_on or not isinstance(message, TaskMessage):
        return dict(message.headers)
    signature = task_signature(
        keyring, body, message.task, message.id, message.queue, message.expires_ms
    )
    return {**message.headers, **signature}


def redis_push(message: Message, keyring: Keyring = NO_KEYS) -> Push:
    """The message as kombu's Redis transport would push it.

    Without a priority it goes where Celery's own callers put theirs: on the most urgent list.
    """
    priority = message.priority
    redis_priority = 0 if priority is None else HIGHEST_PRIORITY - priority
    properties: dict[str, Any] = {
        "correlation_id": message.id,
        "priority": redis_priority,
        "delivery_tag": message.delivery_tag,
    }
    if message.reply_to:
        properties["reply_to"] = message.reply_to
    body = message.body
    headers = signed_headers(message, body, keyring)
    wire = redis_wire(body, headers, properties, routing_key=message.queue)
    return Push(_list_name(message.queue, redis_priority), wire)


def redis_wire(
    body: bytes,
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    *,
    exchange: str = "",
    routing_key: str = "",
) -> bytes:
    """A JSON body in the envelope of kombu's virtual transports."""
    wire = {
        "body": b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": JSON,
        "headers": headers,
        "properties": {
            "delivery_tag": str(uuid.uuid4()),
            **properties,
            "delivery_mode": 2,
            "delivery_info": {"exchange": exchange, "routing_key": routing_key},
            "body_encoding": "base64",
        },
    }
    return json.dumps(wire).encode()


def queue_lists(queue: str) -> list[str]:
    """The Redis lists that make up a queue, the most urgent first."""
    return [_list_name(queue, step) for step in _PRIORITY_STEPS]


def _list_name(queue: str, redis_priority: int) -> str:
    step = _PRIORITY_STEPS[bisect(_PRIORITY_STEPS, redis_priority) - 1]
    return f"{queue}{_SEPARATOR}{step}" if step else queue
