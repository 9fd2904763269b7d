"""Task messages, compared with those that Celery and kombu put on a Redis queue."""

from __future__ import annotations

import json
from base64 import b64decode
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from kombu.serialization import dumps
from kombu.transport import redis as redis_transport
from kombu.transport.virtual import Channel

from forebay_backends.broker.task_messages import (
    TaskMessage,
    batch_message,
    call_message,
    queue_lists,
    redis_push,
)
from forebay_backends.ledger.keys import CallKey

RedisChannel: Any = redis_transport.Channel
CALL = CallKey("call-1", "me")
# Optional or free for a producer: a consumer has a default, or only displays it.
_OPTIONAL_HEADERS = {"shadow", "group_index", "replaced_task_nesting", "stamped_headers", "stamps"}
_SHOWN_HEADERS = {"argsrepr", "kwargsrepr", "origin"}


class _Pushed(Channel):
    """Kombu's virtual channel with the list names of the Redis one; keeps the messages."""

    sep = RedisChannel.sep
    priority_steps = RedisChannel.priority_steps
    priority = RedisChannel.priority
    do_restore = False

    def __init__(self) -> None:
        client = SimpleNamespace(transport_options={})
        transport: Any = SimpleNamespace(client=client, channel_max=10, _used_channel_ids=[])
        super().__init__(transport)
        self.pushed: list[tuple[str, dict[str, Any]]] = []

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        priority = self._get_message_priority(message, reverse=False)
        self.pushed.append((RedisChannel._q_for_pri(self, queue, priority), message))


def _as_celery_puts_it(message: TaskMessage) -> tuple[str, dict[str, Any]]:
    """The list and the JSON of `apply_async`, as far as the socket."""
    headers, properties, body, _ = Celery("t", set_as_current=False).amqp.as_task_v2(
        message.id, message.task, kwargs=message.kwargs, ignore_result=True
    )
    content_type, content_encoding, payload = dumps(body, serializer="json")
    channel = _Pushed()
    wire = channel.prepare_message(
        payload,
        # On Redis 0 is the most urgent; ours is 9 on every broker.
        priority=9 - message.priority,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=headers,
        properties={**properties, "delivery_mode": 2},
    )
    channel.basic_publish(wire, exchange="", routing_key=message.queue)
    (pushed,) = channel.pushed
    return pushed


def _message(priority: int = 0) -> TaskMessage:
    return call_message(CALL, 2, task="tasks.t", queue="jobs", priority=priority)


@pytest.fixture
def both() -> tuple[dict[str, Any], dict[str, Any]]:
    """Our JSON and kombu's, of one message."""
    message = _message(priority=4)
    return json.loads(redis_push(message).message), _as_celery_puts_it(message)[1]


def test_the_envelope_is_kombus(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, theirs = both
    assert ours.keys() == theirs.keys()
    for name in ("content-type", "content-encoding"):
        assert ours[name] == theirs[name]


def test_the_body_is_celerys(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, theirs = (json.loads(b64decode(wire["body"])) for wire in both)
    assert ours == theirs
    assert ours[1] == {"call": "me/call-1", "attempt": 2}


def test_the_headers_are_celerys(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, theirs = (wire["headers"] for wire in both)
    assert theirs.keys() - ours.keys() <= _OPTIONAL_HEADERS
    assert ours.keys() <= theirs.keys()
    for name in ours.keys() - _SHOWN_HEADERS:
        assert ours[name] == theirs[name], name


def test_the_properties_are_kombus(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, theirs = (wire["properties"] for wire in both)
    assert theirs.keys() - ours.keys() <= {"reply_to"}
    assert ours.keys() <= theirs.keys()
    for name in ours.keys() - {"delivery_tag"}:
        assert ours[name] == theirs[name], name
    assert isinstance(ours["delivery_tag"], str)
    assert isinstance(theirs["delivery_tag"], str)


def test_two_pushes_of_one_message_have_two_delivery_tags() -> None:
    tags = {
        json.loads(redis_push(_message()).message)["properties"]["delivery_tag"] for _ in range(2)
    }
    assert len(tags) == 2


@pytest.mark.parametrize("priority", range(10))
def test_a_message_goes_on_the_list_that_kombu_names(priority: int) -> None:
    message = _message(priority)
    push = redis_push(message)
    assert push.queue_list == _as_celery_puts_it(message)[0]
    assert push.queue_list in queue_lists("jobs")


def test_the_lists_of_a_queue_are_kombus_from_the_most_urgent_to_the_least() -> None:
    channel = _Pushed()
    steps = RedisChannel.priority_steps
    assert queue_lists("jobs") == [RedisChannel._q_for_pri(channel, "jobs", n) for n in steps]
    assert redis_push(_message(9)).queue_list == queue_lists("jobs")[0] == "jobs"
    assert redis_push(_message(0)).queue_list == queue_lists("jobs")[-1]


def test_a_calls_message_carries_names_only() -> None:
    message = _message()
    assert (message.task, message.queue) == ("tasks.t", "jobs")
    assert message.kwargs == {"call": "me/call-1", "attempt": 2}
    assert CallKey.parse(message.kwargs["call"]) == CALL


def test_a_batch_travels_as_text() -> None:
    message = batch_message("b-1", b"\x00\xff", task="tasks.t", queue="jobs", priority=0)
    assert message.id == "b-1"
    assert b64decode(json.loads(json.dumps(message.kwargs))["batch"]) == b"\x00\xff"


@pytest.mark.parametrize("may_run_again", [False, True])
def test_a_batch_is_sent_at_most_once_unless_its_calls_may_run_again(may_run_again: bool) -> None:
    address = {"task": "tasks.t", "queue": "jobs", "priority": 0}
    message = batch_message("b-1", b"", **address, may_run_again=may_run_again)  # type: ignore[arg-type]
    assert message.at_most_once is not may_run_again


def test_the_ledger_notices_that_a_durable_calls_message_came_twice() -> None:
    assert not _message().at_most_once


@pytest.mark.parametrize(
    ("owner", "ids"),
    [
        ("", ["call-1", "call-1#2", "call-1#3"]),
        ("acme", ["acme/call-1", "acme/call-1#2", "acme/call-1#3"]),
    ],
)
def test_the_tasks_id_is_the_calls_and_each_later_attempt_has_its_own(
    owner: str, ids: list[str]
) -> None:
    call = CallKey("call-1", owner)
    assert ids == [
        call_message(call, attempt, task="tasks.t", queue="jobs", priority=0).id
        for attempt in (1, 2, 3)
    ]
