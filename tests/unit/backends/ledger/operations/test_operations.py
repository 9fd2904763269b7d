"""The ledger's operations: their arguments, and the parsing of replies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from forebay.deadline import LONGEST_S
from forebay_backends.ledger.keys import CallKey, partition_of, partition_prefix
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    Begun,
    Flow,
    begin,
    claim,
    emit,
    emit_transient,
    finish,
    read_flow,
    send_initial_metadata,
    trim,
)
from forebay_backends.ledger.operations.base import Lapse, Operation, Push, Refusal, Refused
from forebay_backends.ledger.operations.cache import Joined, accept_cached, join
from forebay_backends.ledger.operations.calls import (
    CallSnapshot,
    ExistingCall,
    NewCall,
    Start,
    accept,
    cancel,
    credit,
    end,
    leave,
    watch,
)
from forebay_backends.ledger.operations.maintenance import Swept, evict, sweep
from forebay_backends.ledger.operations.requests import complete, receive
from tests.unit.samples import CALL, ending

NEW = NewCall(
    method="m",
    task="task",
    queue="q",
    priority=0,
    digest="d",
    receiving=False,
    request=b"request",
    metadata=b"meta",
    timeout_s=1.5,
    queue_wait_s=2.0,
    run_limit_s=None,
    linger_s=0.25,
    detach=True,
    item_limit_bytes=10,
    window_bytes=20,
    retention_s=30.0,
    attempts_limit=4,
    may_run_again=True,
    deterministic=False,
    live=False,
    idle_s=60.0,
    fingerprint="uu-1",
    request_bytes=7,
)
PUSH = Push("list", b"message")


def _fields(new: NewCall) -> dict[object, object]:
    arguments = accept(CALL, new, "channel", PUSH).arguments
    return dict(zip(arguments[11::2], arguments[12::2], strict=True))


def test_an_accept_sends_its_arguments_in_the_scripts_order() -> None:
    operation = accept(CALL, NEW, "channel", PUSH)
    assert (operation.script, operation.partition) == ("calls/accept", CALL.partition)
    head = ("/call-1", "channel", 15_000, "QUEUED", 1500, 2000, "list", b"message", "q", 0, "")
    assert operation.arguments[:11] == head


@pytest.mark.parametrize(
    ("start", "word"),
    [(Start(2.5, is_relative=True), "+2500"), (Start(1.8e9, is_relative=False), "1800000000000")],
)
def test_a_call_that_starts_later_is_delayed(start: Start, word: str) -> None:
    arguments = accept(CALL, replace(NEW, start=start), "channel", Push()).arguments
    assert (arguments[3], arguments[10]) == ("DELAYED", word)


def test_an_accept_sends_the_record_with_times_in_ms_and_flags_as_numbers() -> None:
    assert _fields(NEW) == {
        "method": "m",
        "task": "task",
        "digest": "d",
        "metadata": b"meta",
        "linger_ms": 250,
        "detach": 1,
        "item_limit_bytes": 10,
        "window_bytes": 20,
        "retention_ms": 30_000,
        "attempts_limit": 4,
        "may_run_again": 1,
        "fingerprint": "uu-1",
        "request": b"request",
        "request_bytes": 7,
    }
    assert {"priority", "run_limit_ms", "deterministic"}.isdisjoint(_fields(NEW)), "they are 0"


def test_times_that_lua_can_not_print_exactly_are_limited() -> None:
    absurd = replace(NEW, timeout_s=3.6e11, retention_s=math.inf, run_limit_s=1e300)
    longest_ms = round(LONGEST_S * 1000)
    assert accept(CALL, absurd, "channel", PUSH).arguments[4] == longest_ms
    assert _fields(absurd)["retention_ms"] == _fields(absurd)["run_limit_ms"] == longest_ms
    assert len(str(longest_ms + 10 * 365 * 86_400_000)) < 14


def test_a_call_with_a_request_stream_starts_without_inputs_and_without_a_request() -> None:
    receiving = replace(NEW, receiving=True)
    fields = _fields(receiving)
    assert fields["request_count"] == 0
    assert not {"request", "request_bytes"} & fields.keys()
    assert accept(CALL, receiving, "channel", PUSH).arguments[3] == "RECEIVING"


@pytest.mark.parametrize(
    ("timeout_s", "ms"), [(None, 0), (0.0, 1), (0.0001, 1), (0.0016, 2), (60.0, 60_000)]
)
def test_a_deadline_is_never_rounded_to_none(timeout_s: float | None, ms: int) -> None:
    new = replace(NEW, timeout_s=timeout_s)
    assert accept(CALL, new, "channel", PUSH).arguments[4] == ms


def test_accepting_reports_whether_the_id_was_known() -> None:
    parse = accept(CALL, NEW, "channel", PUSH).parse
    assert parse([b"NEW"]) is None
    assert parse([b"KNOWN", b"m", b"d"]) == ExistingCall("m", "d")


def test_a_cached_accept_sends_its_own_arguments_and_then_those_of_an_accept() -> None:
    new = replace(NEW, cache="ab" * 32, cache_ttl_s=7.0)
    plain = accept(CALL, new, "channel", PUSH, held=True)
    cached = accept_cached(CALL, new, "channel", PUSH, proof=b"proof", renews=True, held=True)
    assert (cached.script, cached.partition) == ("calls/accept_cached", CALL.partition)
    assert cached.waits_for_replicas
    assert cached.arguments[:6] == ("ab" * 32, 7000, 1, b"proof", 250, 1)
    assert cached.arguments[6:] == plain.arguments
    assert (_fields(new)["cache"], _fields(new)["cache_ttl_ms"]) == ("ab" * 32, 7000)
    assert cached.parse([b"NEW"]) is None
    assert cached.parse([b"KNOWN", b"m", b"d"]) == ExistingCall("m", "d")
    assert cached.parse([b"JOINED", b"acme/run", b"p"]) == Joined(CallKey("run", "acme"), b"p")


def test_joining_is_asked_of_the_cache_keys_partition() -> None:
    operation = join("ab" * 32, 7.0, "channel", linger_s=0.5, detach=False)
    assert operation.partition == partition_prefix(partition_of("ab" * 32))
    assert operation.arguments == ("ab" * 32, 7000, "channel", 15_000, 500, 0)
    assert operation.parse([b"UNKNOWN"]) is None


CALLS_OPERATIONS: list[Operation[Any]] = [
    receive(CALL, 0, b"", 1),
    complete(CALL, PUSH),
    claim(CALL, 1, "worker"),
    begin(CALL, 1, "worker", "control"),
    emit(CALL, 1, 0, b""),
    emit_transient(CALL, 1, b""),
    send_initial_metadata(CALL, 1, b""),
    read_flow(CALL, 1),
    finish(CALL, 1, Event.SUCCEED, "", b""),
    end(CALL, Event.FAIL, "NO_WORKERS"),
    cancel(CALL),
    watch(CALL, "channel"),
    leave(CALL, "channel"),
    credit(CALL, 1),
    trim(CALL, 1, 1, 1),
]


@pytest.mark.parametrize("operation", CALLS_OPERATIONS, ids=lambda operation: operation.script)
def test_an_operation_on_a_call_stays_in_its_partition_and_returns_its_refusal(
    operation: Operation[Any],
) -> None:
    assert operation.partition == CALL.partition
    assert operation.arguments[0] == str(CALL)
    assert operation.parse([b"STALE"]) == Refused(Refusal.STALE)


@pytest.mark.parametrize(
    "operation",
    [
        operation
        for operation in CALLS_OPERATIONS
        if operation.script
        not in ("attempts/begin", "attempts/emit", "attempts/flow", "calls/watch")
    ],
    ids=lambda operation: operation.script,
)
def test_an_operation_without_a_result_returns_none(operation: Operation[Any]) -> None:
    assert operation.parse([b"OK"]) is None


def test_a_cancel_ends_the_call_by_the_event_and_reason_of_its_name() -> None:
    assert cancel(CALL).arguments == (str(CALL), "cancel", "CANCELLED", b"")


def test_begin_returns_the_request_or_the_number_of_requests() -> None:
    parse = begin(CALL, 1, "worker", "control").parse
    unary = [b"OK", b"m", b"req", b"-1", b"meta", b"1500", b"10", b"20", b"0"]
    unary += [b"uu-1", b"jane", b""]
    assert parse(unary) == Begun("m", b"req", None, b"meta", 1.5, 10, 20, False, "uu-1", b"jane")
    streaming = [b"OK", b"m", b"", b"3", b"", b"-1", b"10", b"20", b"1"]
    assert parse([*streaming, b"", b"", b"end"]) == Begun(
        "m", b"", 3, b"", None, 10, 20, live=True, requests_end=b"end"
    )


@pytest.mark.parametrize("operation", [emit(CALL, 1, 0, b""), read_flow(CALL, 1)])
def test_emitting_returns_the_progress_of_readers(operation: Operation[Flow | Refused]) -> None:
    assert operation.parse([b"OK", b"7", b"2"]) == Flow(read_count=7, watchers=2)


def test_watching_returns_the_state_of_a_running_call() -> None:
    reply = [b"OK", b"m", b"d", b"7", b"99", b"1", b"", b"init", b"transient"]
    reply += [b"00-1-2-01", b"1", b"1500", b"cache key"]
    words = [b"RUNNING", b"", b"5", b"1", b"2", b"3"]
    assert watch(CALL, "channel").parse([*reply, *words]) == CallSnapshot(
        "m",
        "d",
        State.RUNNING,
        1,
        ahead_bytes=7,
        count=5,
        sent=99,
        first=1,
        initial=b"init",
        transient=b"transient",
        receiving=True,
        ending=None,
        credit_wait_s=1.5,
        traceparent="00-1-2-01",
        cache="cache key",
    )


def test_attaching_to_a_finished_call_returns_its_ending() -> None:
    reply = [b"OK", b"m", b"d", b"7", b"99", b"0", b"outcome", b"", b"", b"", b"0", b"0", b""]
    words = [b"EXPIRED", b"DEADLINE_EXCEEDED", b"5", b"1", b"2", b"3"]
    found = watch(CALL, "channel").parse([*reply, *words])
    assert isinstance(found, CallSnapshot)
    assert found.ending == ending(
        state=State.EXPIRED, reason="DEADLINE_EXCEEDED", count=5, outcome=b"outcome"
    )


def test_a_sweep_names_its_partition_and_the_queues_in_one_order() -> None:
    operation = sweep(3, {"b", "a"}, limit=7)
    assert operation.partition == partition_prefix(3)
    assert operation.arguments == (7, json.dumps(["a", "b"]))


@pytest.mark.parametrize(("oldest", "ms"), [(b"", None), (b"1700000000123", 1700000000123)])
def test_a_sweep_reports_its_work(oldest: bytes, ms: int | None) -> None:
    parse: Callable[[list[bytes]], Swept] = sweep(0, ()).parse
    assert parse([b"4", b"2", b"1000", oldest, b"16", [], b"0"]) == Swept(4, 2, 1000, ms, 16)
    lost = [b"add", b"1", b"mat_mul", b"0"]
    lapses = (Lapse("add", runs_again=True), Lapse("mat_mul", runs_again=False))
    assert parse([b"4", b"2", b"1000", oldest, b"17", lost, b"3"]) == Swept(
        4, 2, 1000, ms, 17, lapses, 3
    )


def test_an_eviction_returns_the_freed_bytes() -> None:
    operation = evict(5)
    assert (operation.partition, operation.parse([b"123"])) == (partition_prefix(5), 123)


def test_calls_of_one_id_and_two_owners_are_two_calls() -> None:
    mine, theirs = CallKey("id", "me"), CallKey("id", "them")
    assert cancel(mine).arguments != cancel(theirs).arguments


def test_an_unknown_refusal_is_the_state_of_a_newer_version() -> None:
    assert cancel(CALL).parse([b"SUSPENDED"]) == Refused(Refusal.NEWER)


@pytest.mark.parametrize("why", [*Refusal, *State])
def test_a_refusal_is_a_state_or_a_reason(why: Refusal | State) -> None:
    assert cancel(CALL).parse([str(why).encode()]) == Refused(why)
