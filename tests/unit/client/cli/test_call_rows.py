"""Calls and queues as text: rows, durations, progress."""

from __future__ import annotations

from typing import Any

import pytest
from google.longrunning.operations_pb2 import Operation
from google.protobuf import any_pb2
from google.rpc import status_pb2

from forebay.cli.call_rows import (
    CALLS,
    QUEUES,
    call_json,
    call_row,
    duration,
    outcome_line,
    queue_row,
)
from forebay.cli.message_json import as_json, fraction_of
from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import NoWorkers
from forebay.errors.status import to_status
from forebay.v1 import call_pb2, calls_pb2
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse


def packed(message: Any) -> any_pb2.Any:
    found = any_pb2.Any()
    found.Pack(message)
    return found


def operation(error: status_pb2.Status | None = None, **fields: Any) -> Operation:
    """A call that was accepted at second 0 and read at second 100."""
    metadata = calls_pb2.CallMetadata(**{"method": "a.b.Service.Method", "attempt": 1, **fields})
    metadata.create_time.FromSeconds(1_000_000)
    metadata.read_time.FromSeconds(1_000_100)
    return Operation(name="operations/x", metadata=packed(metadata), error=error)


def row(call: Operation, *, short: bool = False) -> dict[str, str]:
    return dict(zip(CALLS, call_row(call, short=short), strict=True))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0s"),
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (10, "10s"),
        (59.9, "59s"),
        (61, "1m1s"),
        (3599, "59m59s"),
        (3600, "1h0m"),
        (90_000, "1d1h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_running_call_shows_its_progress() -> None:
    progress = packed(pb.FactorialResponse(progress=pb.Progress(fraction=0.425)))
    call = operation(state=call_pb2.CALL_STATE_RUNNING, progress=progress, item_count=3)
    metadata = calls_pb2.CallMetadata()
    call.metadata.Unpack(metadata)
    metadata.begin_time.FromSeconds(1_000_040)
    call.metadata.Pack(metadata)
    found = row(call)
    assert (found["id"], found["method"], found["state"]) == ("x", "a.b.Service.Method", "RUNNING")
    assert (found["age"], found["run"], found["items"]) == ("1m40s", "1m0s", "3")
    assert found["note"] == "42%"
    assert row(call, short=True)["method"] == "Method"


def test_a_queued_call_shows_its_queue_and_a_failed_one_its_reason() -> None:
    queued = row(operation(state=call_pb2.CALL_STATE_QUEUED, queue="q"))
    assert (queued["run"], queued["note"]) == ("-", "in q")
    error = to_status(NoWorkers("nobody is there"))
    failed = row(operation(error, state=call_pb2.CALL_STATE_FAILED, reason="NO_WORKERS"))
    assert failed["note"] == "UNAVAILABLE/NO_WORKERS: nobody is there"


def test_the_attempt_is_left_out_on_a_terminal_if_it_is_the_first() -> None:
    assert row(operation(attempt=1))["attempt"] == "1"
    assert row(operation(attempt=1), short=True)["attempt"] == ""
    assert row(operation(attempt=2), short=True)["attempt"] == "2"


def test_a_call_is_json_with_numbers_and_null_for_what_is_not_there() -> None:
    queued = call_json(operation(state=call_pb2.CALL_STATE_QUEUED, queue="q", item_bytes=7))
    assert (queued["id"], queued["state"], queued["queue"]) == ("x", "QUEUED", "q")
    assert (queued["age_s"], queued["run_s"], queued["bytes"]) == (100.0, None, 7)
    assert queued["create_time"] == "1970-01-12T13:46:40Z"
    assert queued["finish_time"] is queued["status"] is queued["worker"] is None
    error = to_status(NoWorkers("nobody is there"))
    failed = call_json(operation(error, state=call_pb2.CALL_STATE_FAILED))
    assert (failed["status"], failed["reason"]) == ("UNAVAILABLE", "NO_WORKERS")
    assert failed["message"] == "nobody is there"


def test_the_outcome_of_a_call_is_one_line() -> None:
    finish = {"seconds": 1_000_002}
    one = operation(state=call_pb2.CALL_STATE_SUCCEEDED, item_count=1, finish_time=finish)
    assert outcome_line(one) == "SUCCEEDED after 2.0s, 1 item"
    error = to_status(NoWorkers("nobody is there"))
    failed = operation(error, state=call_pb2.CALL_STATE_FAILED, finish_time=finish)
    assert outcome_line(failed) == "FAILED: UNAVAILABLE/NO_WORKERS: nobody is there"


def test_a_queue_is_a_row() -> None:
    queue = calls_pb2.Queue(name="q", depth=3, waiting_calls=2, consumers=1, slots=4)
    queue.methods.extend(["a.B", "a.C"])
    queue.begun_per_second = 1.25
    assert queue_row(queue) == ("q", "3", "2", "-", "1", "4", "1.2", "a.B a.C")
    queue.oldest_wait.FromSeconds(61)
    assert dict(zip(QUEUES, queue_row(queue), strict=True))["oldest"] == "1m1s"


@pytest.mark.parametrize(
    ("message", "fraction"),
    [
        (pb.FactorialResponse(progress=pb.Progress(fraction=0.5)), 0.5),
        (pb.Progress(fraction=0.25), 0.25),
        (pb.FactorialResponse(digits="1"), None),
        (EchoResponse(transient="a while"), None),
        (pb.MatMulResponse(panel=pb.Panel(values=[1.0])), None),
    ],
)
def test_a_fraction_is_found_where_there_is_one(message: Any, fraction: float | None) -> None:
    assert fraction_of(packed(message)) == fraction


def test_a_message_of_an_unknown_type_is_shown_in_base64() -> None:
    unknown = any_pb2.Any(type_url="type.googleapis.com/no.such.Message", value=b"\x01")
    assert as_json(unknown) == {"@type": "type.googleapis.com/no.such.Message", "value": "AQ=="}
    assert fraction_of(unknown) is None


def test_an_invalid_message_is_shown_in_base64() -> None:
    garbage = packed(EchoRequest())
    garbage.value = b"\xff"
    assert as_json(garbage)["value"] == "/w=="


def test_a_known_message_is_shown_by_its_fields() -> None:
    assert as_json(packed(EchoRequest(text="x", count=2))) == {"text": "x", "count": 2}


def test_a_delayed_call_says_when_it_starts() -> None:
    call = operation(state=call_pb2.CALL_STATE_DELAYED, start_time={"seconds": 1_003_700})
    assert row(call)["state"] == "DELAYED"
    assert row(call)["note"] == "starts in 1h0m"
    assert row(call)["run"] == "-"
    assert call_json(call)["start_time"] == "1970-01-12T14:48:20Z"
