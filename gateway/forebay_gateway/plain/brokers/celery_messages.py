"""The messages to and from Celery's workers, in Celery's own formats. Pure.

A task is a message of protocol 2: https://docs.celeryq.dev/en/stable/internals/protocol.html.
Commands and queries are broadcast to all workers (`kombu.pidbox`, `celery.worker.control`).
Their answers, and the results of `rpc://`, come to the gateway's reply queue.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from kombu.utils.json import dumps

from forebay_backends.broker.task_messages import EMBED, ORIGIN, redis_wire

CONTROL_EXCHANGE = "celery.pidbox"
"""The default of Celery's setting `control_exchange`."""
FOLLOWER_SUFFIX = ".end"
"""Appended to a task's id, this is the id of its follower: see `PlainMessage._follower`."""


@dataclass(frozen=True)
class PlainMessage:
    """The message of a plain task.

    `priority` is 1 to 9, where 9 is the most urgent, or None. A worker starts the task at `eta`, or
    at once if that is None. The task can read `extra_headers`. With `is_followed`, if the task
    replaces itself by others, their result comes to `reply_to`.
    """

    id: str
    task: str
    queue: str
    priority: int | None
    reply_to: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    extra_headers: dict[str, str] = field(default_factory=dict)
    expires: datetime | None = None
    eta: datetime | None = None
    max_queue_s: float | None = None
    time_limit_s: float | None = None
    is_followed: bool = False

    declares_queue: ClassVar[bool] = False
    at_most_once: ClassVar[bool] = True

    @property
    def delivery_tag(self) -> str:
        """The task's id: the message is sent once, and a withdrawal finds it by its exact bytes."""
        return self.id

    @property
    def body(self) -> bytes:
        """The body of protocol 2 in Celery's JSON, which can hold bytes and times."""
        chain = [self._follower] if self.is_followed else None
        return dumps([self.args, self.kwargs, {**EMBED, "chain": chain}]).encode()

    @property
    def _follower(self) -> dict[str, Any]:
        """`celery.accumulate`, a task of every Celery application, which returns its argument.

        When a task replaces itself by a chain, Celery moves the follower to the end of the chain.
        The follower keeps its `reply_to`, which the chain's other tasks lack, and Celery sends the
        chain's failures there too.
        """
        options = {
            "task_id": f"{self.id}{FOLLOWER_SUFFIX}",
            "reply_to": self.reply_to,
            "queue": self.queue,
        }
        return {
            "task": "celery.accumulate",
            "args": [],
            "kwargs": {"index": 0},
            "options": options,
            "subtask_type": None,
            "immutable": False,
        }

    @property
    def headers(self) -> dict[str, Any]:
        """The headers of protocol 2; `argsrepr` and `kwargsrepr` hide secret arguments."""
        return self.extra_headers | {
            "lang": "py",
            "task": self.task,
            "id": self.id,
            "root_id": self.id,
            "parent_id": None,
            "group": None,
            "shadow": None,
            "eta": self.eta.isoformat() if self.eta else None,
            "expires": self.expires.isoformat() if self.expires else None,
            "retries": 0,
            "timelimit": [self.time_limit_s, None],
            "argsrepr": "(...)",
            "kwargsrepr": "{...}",
            "origin": ORIGIN,
            # Overrides the `ignore_result` of the task's declaration.
            "ignore_result": False,
        }


@dataclass(frozen=True)
class ControlMessage:
    """A broadcast to all workers. If it has a ticket, they answer to the queue `reply_to`."""

    method: str
    arguments: dict[str, Any]
    reply_to: str = ""
    ticket: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """The message of a worker's mailbox. Workers answer through the default exchange."""
        body: dict[str, Any] = {
            "method": self.method,
            "arguments": self.arguments,
            "destination": None,
            "pattern": None,
            "matcher": None,
        }
        if self.ticket:
            reply_to = {"exchange": "", "routing_key": self.reply_to}
            body |= {"ticket": self.ticket, "reply_to": reply_to}
        return body


def revoke(task_id: str, *, terminate: bool) -> ControlMessage:
    """The command to drop the task; with `terminate`, also to kill the process that runs it."""
    return ControlMessage(
        "revoke", {"task_id": task_id, "terminate": terminate, "signal": "SIGTERM"}
    )


def query(task_ids: Sequence[str], reply_to: str, ticket: str) -> ControlMessage:
    """Asks each worker which of the tasks it has: reserved, scheduled or running."""
    return ControlMessage("query_task", {"ids": list(task_ids)}, reply_to, ticket)


def listings(reply_to: str, ticket: str) -> list[ControlMessage]:
    """Asks each worker for all the tasks that it has.

    `query_task` misses a task that is retried on the same worker: the worker receives the next run
    before the last one ends, and then drops its record of the id, which both runs share
    (`celery.worker.state.task_ready`).
    """
    names = ("scheduled", "reserved", "active")
    return [ControlMessage(name, {}, reply_to, ticket) for name in names]


@dataclass(frozen=True)
class Reply:
    """A message of the reply queue: a task's result or, with a ticket, a worker's answer."""

    task_id: str
    ticket: str
    content_type: str
    body: bytes


def redis_control(control: ControlMessage) -> bytes:
    """The broadcast's bytes, as kombu's Redis transport would publish them."""
    body = dumps(control.body).encode()
    return redis_wire(body, {"expires": 0}, {"priority": 0}, exchange=CONTROL_EXCHANGE)


def redis_reply(raw: bytes) -> Reply:
    """Reads a message that kombu's Redis transport put on a queue; raises ValueError."""
    try:
        wire = json.loads(raw)
        properties, headers = wire["properties"], wire.get("headers") or {}
        body = wire["body"]
        if properties.get("body_encoding") == "base64":
            content = base64.b64decode(body)
        else:
            content = str(body).encode()
        return Reply(
            task_id=str(properties.get("correlation_id") or ""),
            ticket=str(headers.get("ticket") or ""),
            content_type=str(wire.get("content-type") or ""),
            body=content,
        )
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise ValueError(f"expected a message of kombu's Redis transport; got {error!r}") from error
