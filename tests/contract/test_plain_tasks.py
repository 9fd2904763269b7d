"""Plain tasks of a Celery application, on every broker and result backend."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from celery import Celery
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from forebay.metadata import ATTACHED, CALL_ID
from tests.contract.plain_site import PlainSite, error_of, plain_worker, wish
from tests.faults.raw_http2 import RawConnection, message, request_headers
from tests.harness import eventually
from tests.plain.v1 import plain_pb2 as pb

TIMEOUT_S = 30.0


def done(plain: PlainSite, what: str, value: Any = None, method: str = "Do", **more: Any) -> Any:
    """The task's result, as JSON."""
    answer = getattr(plain.stub, method)(wish(what, value), timeout=TIMEOUT_S, **more)
    return MessageToDict(answer).get("value")


def status_of(plain: PlainSite, what: str, value: Any = None, method: str = "Do") -> str:
    """The status and the reason that the call ends with."""
    call = getattr(plain.stub, method)
    error = error_of(lambda: call(wish(what, value), timeout=TIMEOUT_S))
    return f"{error.code_name}/{error.reason}"


def test_fields_are_arguments_by_name_and_the_result_is_the_response(plain: PlainSite) -> None:
    assert plain.stub.Add(pb.AddRequest(x=2**62, y=-1), timeout=TIMEOUT_S).total == 2**62 - 1


def test_they_are_called_from_the_web(plain: PlainSite) -> None:
    url = f"{plain.web}/tests.plain.v1.PlainService/Add"
    headers = {"content-type": "application/json", "connect-protocol-version": "1"}
    request = urllib.request.Request(url, b'{"x": "5", "y": "6"}', headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        assert json.loads(answer.read()) == {"total": "11"}


def test_an_unset_optional_field_keeps_the_tasks_default(plain: PlainSite) -> None:
    assert plain.stub.Add(pb.AddRequest(x=4), timeout=TIMEOUT_S).total == 5


def test_fields_are_positional_arguments_if_the_route_lists_them(plain: PlainSite) -> None:
    assert plain.stub.Subtract(pb.AddRequest(x=5, y=2), timeout=TIMEOUT_S).total == 3


def test_a_message_of_every_kind_goes_through_a_worker_and_back(plain: PlainSite) -> None:
    message = pb.Kinds(
        small=-1,
        large=-(2**63),
        unsigned=2**64 - 1,
        real=0.1,
        flag=True,
        text="é\0",
        data=b"\xff\x00",
        colour=pb.COLOUR_RED,
        numbers=[1, 2],
        by_name={"a": 1},
        by_number={3: "x"},
        by_flag={True: "t"},
        maybe="",
        number=0,
        several=[pb.Kinds(text="z")],
        tree={"t": pb.Kinds(single=0.5)},
    )
    message.at.FromJsonString("2026-11-27T12:30:15.250Z")
    message.lasting.FromMilliseconds(1500)
    message.anything.update({"a": [1, None, {"b": "c"}]})
    message.wrapped.value = 0
    assert plain.stub.Echo(message, timeout=TIMEOUT_S) == message


def test_json_in_a_string_fills_rows_of_numbers(plain: PlainSite) -> None:
    table = plain.stub.DoText(wish("answer", "[[1, 2.5], [3]]"), timeout=TIMEOUT_S)
    assert [list(row.values) for row in table.rows] == [[1, 2.5], [3]]


def test_none_is_an_empty_response(plain: PlainSite) -> None:
    assert plain.stub.Do(wish("answer"), timeout=TIMEOUT_S) == pb.Done()


def test_states_on_the_way_are_items_and_so_are_the_elements_of_a_list(plain: PlainSite) -> None:
    *states, first, second = plain.stub.DoInSteps(wish("steps", 2), timeout=TIMEOUT_S)
    assert [(state.progress.done, state.progress.total) for state in states] == [(0, 2), (1, 2)]
    assert [first.value, second.value] == ["step 0", "step 1"]


def test_a_state_that_does_not_fit_is_skipped_with_a_warning(plain: PlainSite) -> None:
    assert [step.value for step in plain.stub.DoInSteps(wish("odd_steps"), timeout=TIMEOUT_S)] == [
        "done"
    ]
    plain.gateway.wait_for("the meta of a state does not fit `progress` and is skipped")


def test_a_list_is_one_item_where_the_result_field_is_repeated(plain: PlainSite) -> None:
    (sums,) = plain.stub.DoAtOnce(wish("answer", [1, 2]), timeout=TIMEOUT_S)
    assert list(sums.totals) == [1, 2]


def test_a_call_has_an_id_that_is_its_tasks(plain: PlainSite) -> None:
    call = plain.stub.Do.future(wish("header", "id"), timeout=TIMEOUT_S)
    task_id = MessageToDict(call.result())["value"]
    initial = dict(call.initial_metadata())
    assert (initial[CALL_ID], initial[ATTACHED]) == (task_id, "new")


def test_a_callers_own_id_is_refused_for_plain_tasks(plain: PlainSite) -> None:
    error = error_of(
        lambda: plain.stub.Add(pb.AddRequest(), timeout=TIMEOUT_S, metadata=[(CALL_ID, "mine")])
    )
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert [violation.field for violation in error.violations] == [CALL_ID]


def test_metadata_and_the_trace_reach_the_task(plain: PlainSite) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for key, value in (("x-tenant", "acme"), ("traceparent", trace)):
        assert done(plain, "header", key, metadata=[(key, value)]) == value
    assert done(plain, "header", "x-other", metadata=[("x-other", "v")]) is None


def test_the_deadline_is_the_tasks_expiry(plain: PlainSite) -> None:
    assert done(plain, "limits")[:2] == [[None, None], True]
    unbounded = MessageToDict(plain.stub.Do(wish("limits")))["value"]
    assert unbounded[:2] == [[None, None], False]


def test_a_routes_run_time_is_the_tasks_time_limit(plain: PlainSite) -> None:
    assert done(plain, "limits", method="DoWithin")[0] == [1, None]


def test_a_tasks_own_time_limits_apply_with_any_deadline(plain: PlainSite) -> None:
    assert done(plain, "sleep_until_soft_limit", method="DoLimited") == "stopped"
    ended = status_of(plain, "sleep_past_soft_limit", method="DoLimited")
    assert ended == "DEADLINE_EXCEEDED/TASK_TIME_LIMIT"


def test_a_routes_run_time_does_not_lift_the_tasks_own_limits(plain: PlainSite) -> None:
    assert done(plain, "limits", method="DoLimitedWithin")[0] == [1.5, None]
    assert done(plain, "sleep_until_soft_limit", method="DoLimitedWithin") == "stopped"
    ended = status_of(plain, "sleep_past_soft_limit", method="DoLimitedWithin")
    assert ended == "DEADLINE_EXCEEDED/TASK_TIME_LIMIT"
    plain.worker.wait_for(r"Hard time limit \(1\.5s\) exceeded for plain\.do_limited")


def test_a_priority_is_celerys_and_none_is_none(plain: PlainSite) -> None:
    def priority(*metadata: tuple[str, str]) -> Any:
        return done(plain, "limits", metadata=metadata)[2]["priority"]

    on_redis = plain.env["PLAIN_BROKER_URL"].startswith("redis")
    assert priority() in (None, 0)
    assert priority(("forebay-priority", "7")) == (2 if on_redis else 7)


@pytest.mark.parametrize(
    ("what", "value", "expected"),
    [
        ("raise", "KeyError('secret')", "INTERNAL/HANDLER_FAILED"),
        ("raise", "NoSuchOrder('order 7')", "NOT_FOUND/NO_SUCH_ORDER"),
        ("raise", "PermissionError('secret')", "PERMISSION_DENIED/HANDLER_ABORTED"),
        ("raise", "TypeError('f() missing 1 required argument')", "INTERNAL/HANDLER_FAILED"),
        ("evaluate", "add.delay(z=1)", "INTERNAL/HANDLER_FAILED"),
        ("evaluate", "add(z=1)", "INTERNAL/HANDLER_FAILED"),
        ("raise", "NoSuchShelf(7, 'B')", "NOT_FOUND/NO_SUCH_SHELF"),
        ("raise", "NoSuchParcel(7)", "NOT_FOUND/NO_SUCH_ORDER"),
        ("raise", "Shelf.Locked()", "FAILED_PRECONDITION/HANDLER_ABORTED"),
        ("raise", "Shelf.Full('B')", "ABORTED/HANDLER_ABORTED"),
        ("retry_always", None, "ABORTED/TASK_RETRIES_EXCEEDED"),
        ("reject", None, "ABORTED/TASK_REJECTED"),
        ("die", None, "ABORTED/WORKER_LOST"),
        ("ignore", None, "ABORTED/TASK_UNANSWERED"),
        ("evaluate", "object()", "INTERNAL/RESULT_UNFIT"),
        ("evaluate", "10**5000", "INTERNAL/RESULT_UNFIT"),
        ("evaluate", "10**30", "INTERNAL/RESULT_UNFIT"),
        ("evaluate", "float('nan')", "INTERNAL/RESULT_UNFIT"),
        ("evaluate", "'x' * 17_000_000", "RESOURCE_EXHAUSTED/TOO_LARGE"),
        ("evaluate", "'x' * 5_000_000", "RESOURCE_EXHAUSTED/TOO_LARGE"),
    ],
)
def test_each_failure_has_its_own_status(
    plain: PlainSite, what: str, value: Any, expected: str
) -> None:
    assert status_of(plain, what, value) == expected


def test_a_method_that_may_run_again_is_unavailable_where_its_worker_died(
    plain: PlainSite,
) -> None:
    assert status_of(plain, "die", method="DoAgain") == "UNAVAILABLE/WORKER_LOST"


def test_an_exceptions_message_is_sent_only_if_its_entry_allows_it(plain: PlainSite) -> None:
    def message(raised: str) -> str:
        do = plain.stub.Do
        return error_of(lambda: do(wish("raise", raised), timeout=TIMEOUT_S)).message

    assert message("NoSuchOrder('order 7')") == "order 7"
    assert message("PermissionError('secret')") == "the task raised PermissionError"
    assert message("KeyError('secret')") == "the task failed; its worker's log says how"


def test_a_task_that_retries_returns_its_result_in_the_end(plain: PlainSite) -> None:
    assert done(plain, "retry_once") == 1


def test_a_retry_may_wait_in_its_worker_for_longer_than_the_queue_wait(plain: PlainSite) -> None:
    assert done(plain, "retry_later", 5) == 1


@pytest.mark.variant
def test_a_call_does_not_fail_while_its_task_waits_in_a_worker_for_its_rate_limit(
    plain: PlainSite,
) -> None:
    """One start in 10 s, and a queue wait of 3 s."""
    assert done(plain, "answer", 0, method="DoRarely") == 0
    first, second = (
        plain.stub.DoRarely.future(wish("answer", number), timeout=TIMEOUT_S) for number in (1, 1)
    )
    eventually(lambda: first.done() or second.done(), "one of them has ended", TIMEOUT_S)
    ended, waiting = (first, second) if first.done() else (second, first)
    assert MessageToDict(ended.result())["value"] == 1
    assert waiting.running()
    waiting.cancel()


@pytest.mark.variant
def test_a_call_does_not_fail_while_its_task_waits_in_a_worker_for_a_slot(
    plain: PlainSite, tmp_path: Path
) -> None:
    """The worker has one slot and has prefetched a second task, whose queue wait is 1 s."""
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    opened = f"list(iter(lambda: time.sleep(0.05) or Path({str(gate)!r}).exists(), True))"
    block = wish("evaluate", f"Path({str(begun)!r}).touch() or {opened}")
    options = ["-Q", "plain-late", "--concurrency", "1", "--prefetch-multiplier", "4"]
    with plain_worker(plain.env, *options, "--hostname", "prefetching@%h"):
        blocking = plain.stub.DoLate.future(block, timeout=TIMEOUT_S)
        eventually(begun.exists, "the slot is taken", TIMEOUT_S)
        waiting = plain.stub.DoLate.future(wish("answer", 7), timeout=TIMEOUT_S)
        with pytest.raises(grpc.FutureTimeoutError):
            waiting.result(timeout=6.0)
        gate.touch()
        assert MessageToDict(waiting.result())["value"] == 7
        blocking.result()


@pytest.mark.variant
def test_a_rate_limit_that_was_set_since_the_last_inspection_counts_too(plain: PlainSite) -> None:
    operator = Celery(broker=plain.env["PLAIN_BROKER_URL"], set_as_current=False)
    with operator.connection_for_write() as connection:
        limited = partial(operator.control.rate_limit, "plain.do", reply=True)
        try:
            assert limited("6/m", connection=connection)
            assert [done(plain, "answer", number) for number in range(2)] == [0, 1]
        finally:
            assert limited("0", connection=connection)
    operator.close()


def test_a_task_that_runs_for_too_long_ends_by_its_routes_limit(plain: PlainSite) -> None:
    assert (
        status_of(plain, "evaluate", "time.sleep(20)", "DoWithin")
        == "DEADLINE_EXCEEDED/TASK_TIME_LIMIT"
    )


def test_a_task_that_is_not_registered_is_unimplemented(plain: PlainSite) -> None:
    error = error_of(lambda: plain.stub.Unknown(empty_pb2.Empty(), timeout=TIMEOUT_S))
    assert (error.code_name, error.reason) == ("UNIMPLEMENTED", "TASK_UNKNOWN")
    plain.gateway.wait_for("has no task 'plain.unknown'; fix the route, or start the worker")


def test_fields_that_the_task_does_not_take_are_an_invalid_argument(plain: PlainSite) -> None:
    error = error_of(lambda: plain.stub.Misnamed(pb.AddRequest(x=1, y=2), timeout=TIMEOUT_S))
    told = (error.code_name, error.reason)
    assert told == ("INVALID_ARGUMENT", "ARGUMENTS_UNFIT"), plain.gateway.output[-2000:]
    plain.gateway.wait_for(r"name the request's fields as the task's parameters")


def test_a_queue_without_consumers_ends_the_call_in_bounded_time(plain: PlainSite) -> None:
    error = error_of(lambda: plain.stub.Deserted(pb.AddRequest(), timeout=TIMEOUT_S))
    assert error.code_name == "UNAVAILABLE"
    assert error.reason in ("QUEUE_WAIT", "NO_WORKERS")


def test_the_result_of_a_chain_that_replaces_its_task_is_the_response(plain: PlainSite) -> None:
    if plain.is_rpc:  # there Celery sends the result of a replaced task to the worker itself
        assert status_of(plain, "replace_by_chain") == "ABORTED/TASK_UNANSWERED"
    else:
        assert done(plain, "replace_by_chain") == 6


def test_a_route_that_says_so_has_such_a_chains_result_from_anywhere(plain: PlainSite) -> None:
    assert done(plain, "replace_by_chain", method="DoReplacing") == 6
    assert done(plain, "answer", 5, method="DoReplacing") == 5
    failing = status_of(plain, "replace_by_failing_chain", method="DoReplacing")
    assert failing == "INTERNAL/HANDLER_FAILED"


def test_results_of_groups_and_chords_that_replace_their_task_are_the_response(
    plain: PlainSite,
) -> None:
    if plain.is_rpc:  # Celery's rpc backend has no chords, and makes groups into such
        assert status_of(plain, "replace_by_group") == "INTERNAL/HANDLER_FAILED"
        assert status_of(plain, "replace_by_chord") == "INTERNAL/HANDLER_FAILED"
    else:
        assert done(plain, "replace_by_group") == [3, 7]
        assert done(plain, "replace_by_chord") == 10


def test_a_gateway_of_plain_tasks_alone_needs_no_ledger_and_offers_no_records(
    plain: PlainSite,
) -> None:
    with grpc.insecure_channel(plain.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # types-grpcio-health-checking lacks it
        for service in ("", "tests.plain.v1.PlainService"):
            request = health_pb2.HealthCheckRequest(service=service)
            assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING
        served = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert "tests.plain.v1.PlainService" in served
        assert not {"google.longrunning.Operations", "forebay.v1.CallService"} & set(served)


@pytest.mark.parametrize("size", [1 << 10, 16 << 10, 1 << 20])
@pytest.mark.parametrize("letter", ["m", "☃"])
def test_the_code_survives_an_exceptions_message_of_any_size(
    plain: PlainSite, size: int, letter: str
) -> None:
    count = size // len(letter.encode())
    expression = f"NoSuchOrder({letter!r} * {count})"
    error = error_of(lambda: plain.stub.Do(wish("raise", expression), timeout=TIMEOUT_S))
    assert (error.code_name, error.reason) == ("NOT_FOUND", "NO_SUCH_ORDER")
    assert error.message.startswith(letter * 100)
    assert ("characters more)" in error.message) is (size > 1 << 10)


@pytest.mark.parametrize("timeout", ["99999999H", "99999999M", "99999999S"])
def test_a_long_deadline_is_as_none(plain: PlainSite, timeout: str) -> None:
    path = b"/tests.plain.v1.PlainService/Add"
    request = pb.AddRequest(x=1, y=2).SerializeToString()
    with RawConnection.greeted(plain.address) as connection:
        headers = request_headers(path, (b"grpc-timeout", timeout.encode()))
        for frame in connection.request(headers, message(request)):
            connection.send(frame)
        reply = connection.reply()
    assert reply.headers[b"grpc-status"] == b"0"
    assert pb.Sum.FromString(reply.data[5:]).total == 3


def test_a_task_that_a_worker_holds_for_later_may_start_after_the_queue_wait(
    plain: PlainSite,
) -> None:
    assert done(plain, "answer", 7, metadata=[("forebay-start-after", "6s")]) == 7


def test_a_task_starts_at_its_date_and_not_before(plain: PlainSite) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1)
    ran = done(plain, "eta", metadata=[("forebay-start-at", at.isoformat())])
    assert abs(datetime.fromisoformat(ran["eta"]) - at) < timedelta(milliseconds=1)
    assert ran["began"] >= at.timestamp()


def test_a_task_starts_later_by_the_duration_and_not_before(plain: PlainSite) -> None:
    asked_s = time.time()
    ran = done(plain, "eta", metadata=[("forebay-start-after", "1s")])
    eta_s = datetime.fromisoformat(ran["eta"]).timestamp()
    assert asked_s + 1 <= eta_s <= ran["began"]


def test_a_task_without_a_date_starts_at_once(plain: PlainSite) -> None:
    assert done(plain, "eta")["eta"] is None


def test_a_task_may_not_start_after_the_brokers_patience(plain: PlainSite) -> None:
    metadata = [("forebay-start-after", "1h")]
    late = error_of(lambda: plain.stub.Do(wish("answer"), metadata=metadata))
    assert late.code_name == "INVALID_ARGUMENT"
    assert "plain tasks can start at most 1500 s later" in late.message
    passed = error_of(lambda: plain.stub.Do(wish("answer"), metadata=metadata, timeout=TIMEOUT_S))
    assert "is after the call's deadline" in passed.message
