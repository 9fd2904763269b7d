"""Frames: the messages to gateways and handlers."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_backends.ledger.frames import (
    BatchHeartbeat,
    CallerGone,
    CallEvent,
    ControlEvent,
    Credit,
    Ending,
    GatewayFrame,
    Initial,
    Item,
    ItemsStored,
    Lost,
    Reply,
    RequestsCame,
    RequestWindowOpen,
    Stop,
    TransientItem,
    batch_heartbeat_frame,
    caller_gone_frame,
    lost_frame,
    parse_control,
    parse_frame,
    reply_frame,
    stop_frame,
)
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        (b"item o/c 7\nabc", Item(7, b"abc")),
        (b"item o/c 0\n", Item(0, b"")),
        (b"stored o/c 3 4096\n", ItemsStored(3, 4096)),
        (b"transient o/c\nhalf", TransientItem(b"half")),
        (b"initial_metadata o/c\nmeta", Initial(b"meta")),
        (b"window_open o/c\n", RequestWindowOpen()),
        (
            b"end o/c FAILED NO_WORKERS 2 3 40 50 -\nout",
            Ending(State.FAILED, "NO_WORKERS", 2, 3, 40, 50, b"out"),
        ),
        (b"end o/c SUCCEEDED - 2 1 4 5 -\n", Ending(State.SUCCEEDED, "", 2, 1, 4, 5, b"")),
        (
            b"end o/c SUCCEEDED - 1 1 4 5 6\nanswerout",
            Ending(State.SUCCEEDED, "", 1, 1, 4, 5, b"out", b"answer"),
        ),
        (b"end o/c SUCCEEDED - 1 1 4 5 0\n", Ending(State.SUCCEEDED, "", 1, 1, 4, 5, b"", b"")),
    ],
)
def test_a_frame_has_its_call_and_event(frame: bytes, event: CallEvent) -> None:
    assert parse_frame(frame) == ("o/c", event)


@given(st.binary())
def test_a_payload_may_be_any_bytes(payload: bytes) -> None:
    assert parse_frame(b"item /c 1\n" + payload) == ("/c", Item(1, payload))
    assert parse_frame(reply_frame(payload)) == ("", Reply(payload))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"item /c 1",
        b"\n",
        b"hello /c\n",
        b"item /c\n",
        b"item /c one\n",
        b"item /c 1 2\n",
        b"stored /c 1\n",
        b"transient\n",
        b"end /c SUCCEEDED - 1 1 1\n",
        b"end /c ASLEEP - 1 1 1 1\n",
        b"reply /c\n",
        b"\xff /c\n",
    ],
)
def test_a_frame_that_is_garbage_is_a_value_error(frame: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which, is for people
        parse_frame(frame)


def test_a_handlers_process_receives_credit_requests_and_stops() -> None:
    assert parse_control(b"requests o/c 2 5") == ("o/c", 2, RequestsCame(5))
    assert parse_control(b"credit o/c 2 17") == ("o/c", 2, Credit(17))
    assert parse_control(b"stop o/c 1 CANCELLED") == ("o/c", 1, Stop(State.CANCELLED))


@pytest.mark.parametrize(
    "frame", [b"", b"credit /c 1", b"credit /c x 1", b"stop /c 1 ASLEEP", b"go /c 1 1", b"\xff"]
)
def test_a_control_frame_that_is_garbage_is_a_value_error(frame: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which, is for people
        parse_control(frame)


def test_frames_of_ephemeral_calls_are_parsed_as_written() -> None:
    for running in (True, False):
        calls = (CallKey("a"), CallKey("b", "acme"))
        holding = BatchHeartbeat("worker@host.1", calls, running)
        assert parse_frame(batch_heartbeat_frame(holding)) == ("", holding)
    assert parse_frame(lost_frame(Lost("batch"))) == ("", Lost("batch"))
    assert parse_control(caller_gone_frame("/a")) == ("/a", 1, CallerGone())
    stop = Stop(State.CANCELLED)
    assert parse_control(stop_frame("/a", 1, stop)) == ("/a", 1, stop)


def test_a_heartbeat_of_calls_without_owners_is_as_earlier_versions_write_it() -> None:
    heartbeat = BatchHeartbeat("w", (CallKey("a"), CallKey("b")), running=True)
    assert batch_heartbeat_frame(heartbeat) == b"heartbeat w running a b\n"


_VALUES = {
    "CALL": "/call-1",
    "STATE": "FAILED",
    "REASON": "WHY",
    "WORKER": "worker",
    "BATCH": "b",
    "OWNER": "acme",
}


def frames_of_the_page(heading: str) -> list[bytes]:
    """An example of each frame that the section of MODEL.md lists."""
    page = (files("forebay_backends.ledger") / "MODEL.md").read_text()
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [
        " ".join(
            _VALUES.get(word, "1" if word.isupper() else word) for word in frame.split()
        ).encode()
        for frame in re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)
    ]


def test_the_page_of_the_data_model_lists_all_frames() -> None:
    found = [parse_frame(frame + b"\n")[1] for frame in frames_of_the_page("Frames for gateways")]
    assert {type(event) for event in found} == set(get_args(GatewayFrame))
    orders = [parse_control(frame)[2] for frame in frames_of_the_page("Control frames")]
    assert {type(event) for event in orders} == set(get_args(ControlEvent))
