"""The message that tells a task of the end of a call."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from forebay.v1 import route_pb2
from forebay_backends.broker.end_messages import end_message, end_of
from forebay_backends.broker.task_messages import redis_push, signed_headers
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.ends import KeptEnd
from forebay_backends.signing.keyring import Keyring
from forebay_backends.signing.keys import SigningKeys
from forebay_backends.signing.task_signatures import verify_task

ON_END = route_pb2.OnEnd(task="shop.ended", queue="ends")
END = KeptEnd(
    CallKey("order-7", "acme"),
    "shop.v1.Orders.Pack",
    State.FAILED,
    "NO_STOCK",
    2,
    created_ms=1_800_000_000_250,
    start_ms=0,
    queued_ms=1_800_000_000_250,
    begun_ms=1_800_000_001_000,
    finished_ms=1_800_000_002_100,
    on_end=b"",
)


def test_the_task_gets_one_dict_of_json() -> None:
    message = end_message(END, ON_END)
    assert (message.task, message.queue) == ("shop.ended", "ends")
    args, kwargs, _ = json.loads(message.body)
    assert kwargs == {}
    assert args == [
        {
            "id": "order-7",
            "tenant": "acme",
            "method": "shop.v1.Orders.Pack",
            "state": "FAILED",
            "reason": "NO_STOCK",
            "attempt": 2,
            "create_time": "2027-01-15T08:00:00.250Z",
            "start_time": None,
            "queue_time": "2027-01-15T08:00:00.250Z",
            "begin_time": "2027-01-15T08:00:01Z",
            "finish_time": "2027-01-15T08:00:02.100Z",
        }
    ]
    assert json.loads(end_message(replace(END, reason=""), ON_END).body)[0][0]["reason"] is None


@pytest.mark.parametrize(
    "end", [END, replace(END, call=CallKey("a"), reason="", state=State.SUCCEEDED, begun_ms=0)]
)
def test_the_end_can_be_read_from_its_message(end: KeptEnd) -> None:
    (argument,), _, _ = json.loads(end_message(end, ON_END).body)
    assert end_of(argument, ON_END) == replace(end, on_end=ON_END.SerializeToString())


@pytest.mark.parametrize(
    "change", [{"tenant": "a b"}, {"state": "DREAMING"}, {"begin_time": "soon"}, {"attempt": None}]
)
def test_an_argument_that_is_no_end_is_refused(change: dict[str, Any]) -> None:
    (argument,) = end_message(END, ON_END).args
    with pytest.raises((TypeError, ValueError)):
        end_of(argument | change, ON_END)


def test_messages_about_one_end_have_one_id_and_another_end_has_another() -> None:
    first, again = end_message(END, ON_END), end_message(END, ON_END)
    other = end_message(replace(END, finished_ms=END.finished_ms + 1), ON_END)
    assert first.id == again.id == "acme/order-7#end.1800000002100"
    assert other.id != first.id


def test_it_goes_where_celerys_own_callers_send_and_declares_no_queue() -> None:
    message = end_message(END, ON_END)
    assert redis_push(message).queue_list == "ends"
    assert not message.declares_queue
    assert message.headers["ignore_result"] is True


def test_it_is_signed_where_messages_are() -> None:
    keyring = Keyring(SigningKeys({"k": b"k" * 32}))
    message = end_message(END, ON_END)
    headers = signed_headers(message, message.body, keyring)
    assert verify_task(keyring, headers, message.body, "ends") == 0
