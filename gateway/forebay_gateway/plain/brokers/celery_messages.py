"""What goes to Celery's workers and comes back from them, in its forms. Pure.

A task is a message of protocol 2, https://docs.celeryq.dev/en/stable/internals/protocol.html.
Workers are told and asked by broadcast (`kombu.pidbox`, `celery.worker.control`). What they answer,
and the results of `rpc://`, come to one reply queue a gateway; on Redis in kombu's envelope.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kombu.utils.json import dumps

from forebay_backends.broker.task_messages import EMBED, ORIGIN, queue_lists, redis_wire

CONTROL_EXCHANGE = "celery.pidbox"
"""Celery's `control_exchange` as it is unless it was set to another."""
JSON = "application/json"
FOLLOWER = ".end"
"""What the id of a task that follows another ends in."""


@dataclass(frozen=True)
class PlainMessage:
    """A task to be sent. `priority` 0 is none, as of a caller that gives none."""

    id: str
    task: str
    queue: str
    priority: int
    reply_to: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    handed_on: dict[str, str] = field(default_factory=dict)
    expires: datetime | None = None
    time_limit_s: float | None = None
    is_followed: bool = False

    @property
    def body(self) -> bytes:
        """Arguments in Celery's JSON, which has bytes and times."""
        chain = [self._follower] if self.is_followed else None
        return dumps([self.args, self.kwargs, {**EMBED, "chain": chain}]).encode()

    @property
    def _follower(self) -> dict[str, Any]:
        """A task that Celery has in every application, and that returns what it is given.

        Celery moves what follows a task to the end of a chain that replaces it, with its
        own `reply_to`, which the chain's other tasks lack; a failure goes there as well.
        """
        options = {
            "task_id": f"{self.id}{FOLLOWER}",
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
        """The headers of protocol 2. The arguments are not shown: they may be secret."""
        return self.handed_on | {
            "lang": "py",
            "task": self.task,
            "id": self.id,
            "root_id": self.id,
            "parent_id": None,
            "group": None,
            "shadow": None,
            "eta": None,
            "expires": self.expires.isoformat() if self.expires else None,
            "retries": 0,
            "timelimit": [self.time_limit_s, None],
            "argsrepr": "(...)",
            "kwargsrepr": "{...}",
            "origin": ORIGIN,
            # Said outright: a task that is declared to have no result has one for us.
            "ignore_result": False,
        }

    @property
    def redis_list(self) -> str:
        """The list of the queue that it goes to on Redis.

        Without a priority it is the one that Celery's own callers use, the most urgent;
        with one, 9 is as urgent and 1 the least.
        """
        steps = queue_lists(self.queue)
        return steps[0] if self.priority == 0 else steps[(9 - self.priority) // 3]


@dataclass(frozen=True)
class ControlMessage:
    """A broadcast to all workers; with a ticket, they answer to the reply queue."""

    method: str
    arguments: dict[str, Any]
    reply_to: str = ""
    ticket: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """What a worker's mailbox takes. Answers are sent by the default exchange."""
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
    """A task is never to begin, and, where `terminate`, its process to end."""
    return ControlMessage(
        "revoke", {"task_id": task_id, "terminate": terminate, "signal": "SIGTERM"}
    )


def query(task_ids: Sequence[str], reply_to: str, ticket: str) -> ControlMessage:
    """Which of the tasks a worker has, reserved, scheduled or running."""
    return ControlMessage("query_task", {"ids": list(task_ids)}, reply_to, ticket)


@dataclass(frozen=True)
class Reply:
    """What came to the reply queue: a result, or an answer to the question of a ticket."""

    task_id: str
    ticket: str
    content_type: str
    body: bytes


def redis_task(message: PlainMessage) -> bytes:
    """The task as kombu's Redis transport would have put it."""
    properties = {
        "correlation_id": message.id,
        "reply_to": message.reply_to,
        "priority": (9 - message.priority) if message.priority else 0,
    }
    return redis_wire(message.body, message.headers, properties, routing_key=message.queue)


def redis_control(control: ControlMessage) -> bytes:
    """The broadcast likewise."""
    body = dumps(control.body).encode()
    return redis_wire(body, {"expires": 0}, {"priority": 0}, exchange=CONTROL_EXCHANGE)


def redis_reply(raw: bytes) -> Reply:
    """What kombu's Redis transport put on the reply queue; raises ValueError."""
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
        raise ValueError(f"no message of kombu's: {error!r}") from error
