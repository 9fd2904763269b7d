"""Tasks, broadcasts and replies, in the forms of Celery and kombu."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request
from kombu import Connection
from kombu.transport.virtual import Message
from kombu.utils.json import loads

from forebay_backends.broker.task_messages import redis_push
from forebay_gateway.plain.brokers.celery_messages import (
    PlainMessage,
    Reply,
    query,
    redis_control,
    redis_reply,
    revoke,
)

MOMENT = datetime(2026, 11, 27, tzinfo=UTC)
MESSAGE = PlainMessage(
    "task-1",
    "shop.add",
    "shop",
    None,
    "replies",
    args=[1, b"\xff"],
    kwargs={"at": MOMENT},
    extra_headers={"x-tenant": "a", "task": "another"},
    expires=MOMENT,
    time_limit_s=2.5,
)


def request(message: PlainMessage) -> Request:
    """The task as a Celery worker receives it from kombu's Redis transport."""
    app = Celery("shop", broker="memory://", backend="rpc://", set_as_current=False)

    @app.task(name="shop.add", shared=False)
    def add(*_: Any, **__: Any) -> None: ...

    with Connection("memory://") as connection:
        wire = Message(json.loads(redis_push(message).message), channel=connection.default_channel)
        return Request(wire, app=app)


def test_a_worker_takes_the_task_as_one_of_celerys_own() -> None:
    taken = request(MESSAGE)
    assert (taken.id, taken.name, taken.root_id) == ("task-1", "shop.add", "task-1")
    assert (taken.args, taken.kwargs) == ([1, b"\xff"], {"at": MOMENT})
    assert (taken.reply_to, taken.correlation_id) == ("replies", "task-1")
    assert taken.expires == MOMENT
    assert taken.time_limits == [2.5, None]
    assert taken.eta is None
    assert not taken.ignore_result


def test_a_worker_keeps_a_task_until_its_eta() -> None:
    assert request(replace(MESSAGE, eta=MOMENT)).eta == MOMENT


def test_metadata_becomes_headers_and_overrides_none_of_celerys() -> None:
    headers = MESSAGE.headers
    assert (headers["x-tenant"], headers["task"]) == ("a", "shop.add")


def test_arguments_are_hidden_in_argsrepr() -> None:
    assert (MESSAGE.headers["argsrepr"], MESSAGE.headers["kwargsrepr"]) == ("(...)", "{...}")


def test_a_follower_replies_to_the_reply_queue_under_the_tasks_id() -> None:
    followed = PlainMessage("task-1", "t", "shop", None, "replies", is_followed=True)
    *_, embedded = loads(followed.body)
    (follower,) = embedded["chain"]
    assert follower["task"] == "celery.accumulate"
    assert follower["options"] == {
        "task_id": "task-1.end",
        "reply_to": "replies",
        "queue": "shop",
    }
    assert loads(MESSAGE.body)[2]["chain"] is None


@pytest.mark.parametrize(
    ("priority", "step"), [(None, 0), (9, 0), (7, 0), (6, 3), (4, 3), (3, 6), (1, 6)]
)
def test_without_a_priority_a_task_is_pushed_on_the_list_of_celerys_callers(
    priority: int | None, step: int
) -> None:
    message = PlainMessage("i", "t", "shop", priority, "r")
    assert redis_push(message).queue_list == (f"shop\x06\x16{step}" if step else "shop")


def test_a_broadcast_has_the_form_of_a_mailbox_message() -> None:
    wire = json.loads(redis_control(revoke("task-1", terminate=True)))
    body = loads(b64decode(wire["body"]))
    assert body["method"] == "revoke"
    assert body["arguments"] == {"task_id": "task-1", "terminate": True, "signal": "SIGTERM"}
    assert (body["destination"], body["pattern"], body["matcher"]) == (None, None, None)
    assert "reply_to" not in body


def test_a_query_is_answered_to_the_reply_queue_by_the_default_exchange() -> None:
    body = query(["a", "b"], "replies", "ticket").body
    assert body["arguments"] == {"ids": ["a", "b"]}
    assert body["reply_to"] == {"exchange": "", "routing_key": "replies"}


def test_a_reply_is_read_from_kombus_envelope() -> None:
    wire = {
        "body": b64encode(b'{"status": "SUCCESS"}').decode(),
        "content-type": "application/json",
        "headers": {},
        "properties": {"correlation_id": "task-1", "body_encoding": "base64"},
    }
    assert redis_reply(json.dumps(wire).encode()) == Reply(
        "task-1", "", "application/json", b'{"status": "SUCCESS"}'
    )


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"properties": 1}', b"\xff", b"[" * 100_000, b"null"]
)
def test_anything_but_a_message_of_kombus_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match="expected a message of kombu"):
        redis_reply(raw)
