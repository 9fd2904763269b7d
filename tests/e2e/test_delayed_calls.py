"""Calls that start later, on gateways that may end before."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.api_core.operations_v1 import OperationsClient

from forebay.rpc_errors import of_rpc_error
from tests.commands import run
from tests.e2e.conftest import Site
from tests.e2e.known_calls import accepting_nothing, metadata_of, new_id, state_of
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import LATE_START_S, eventually

TIMEOUT_S = 30.0
LATE_MS = 1000 * LATE_START_S
ONE = EchoRequest(text="x", count=1)


def metadata(call_id: str | None = None, **more: str) -> tuple[tuple[str, str], ...]:
    named = () if call_id is None else (("forebay-call-id", call_id),)
    return (*named, *((key.replace("_", "-"), value) for key, value in more.items()))


def detached(site: Site, address: str, call_id: str, **when: str) -> None:
    """Starts a call and leaves it, when it is accepted."""
    with grpc.insecure_channel(address) as channel:
        call = EchoServiceStub(channel).Detached(ONE, metadata=metadata(call_id, **when))
        assert dict(call.initial_metadata())["forebay-attached"] == "new"
        call.cancel()
    eventually(lambda: not site.watchers(call_id), "the caller has left")


def start_ms(site: Site, call_id: str) -> int:
    """When the call is due, by the ledger's clock."""
    return int(site.field(call_id, "start_at"))


def late_ms(site: Site, call_id: str, could_start_ms: int = 0) -> int:
    """How much later it was queued than it was due, and than this time of the ledger's clock."""
    return int(site.field(call_id, "queued_at")) - max(start_ms(site, call_id), could_start_ms)


def ledger_ms(site: Site) -> int:
    seconds, microseconds = site.ledger.time()  # type: ignore[misc]
    return int(seconds * 1000 + microseconds // 1000)


def test_a_caller_that_stays_gets_the_response_when_the_call_has_run(site: Site) -> None:
    name = new_id()
    with grpc.insecure_channel(site.targets(1)[0]) as channel:
        began = time.monotonic()
        call = EchoServiceStub(channel).Unary.with_call
        response, ended = call(
            ONE, metadata=metadata(name, forebay_start_after="1.2s"), timeout=TIMEOUT_S
        )
        took_s = time.monotonic() - began
    assert response.text == "x"
    assert took_s >= 1.2
    assert 0 <= late_ms(site, name) < LATE_MS
    times = dict(ended.trailing_metadata())
    queued_ms, begun_ms, finished_ms = (
        int(site.field(name, f"{one}_at")) for one in ("queued", "begun", "finished")
    )
    # The wait in the queue begins when the call is due.
    assert int(times["forebay-queue-ms"]) == begun_ms - queued_ms
    assert int(times["forebay-run-ms"]) == finished_ms - begun_ms


def test_a_call_whose_caller_left_starts_at_its_date(site: Site) -> None:
    address = site.targets(1)[0]
    name, at = new_id(), datetime.now(UTC) + timedelta(seconds=3)
    detached(site, address, name, forebay_start_at=at.isoformat())
    eventually(lambda: site.field(name, "state") == "SUCCEEDED", "it runs by itself")
    assert abs(int(site.field(name, "start_at")) / 1000 - at.timestamp()) < 0.002
    assert 0 <= late_ms(site, name) < LATE_MS


def test_a_date_that_has_passed_starts_the_call_at_once(site: Site) -> None:
    name, at = new_id(), datetime.now(UTC) - timedelta(days=400)
    with grpc.insecure_channel(site.targets(1)[0]) as channel:
        stub = EchoServiceStub(channel)
        stub.Unary(ONE, metadata=metadata(name, forebay_start_at=at.isoformat()), timeout=TIMEOUT_S)
    assert site.field(name, "start_at") == ""


def test_another_gateway_starts_the_call_of_one_that_was_killed(site: Site) -> None:
    name = new_id()
    here, _ = site.targets(2)
    detached(site, here, name, forebay_start_after="3s")
    site.end(here, signal.SIGKILL)
    ended_ms = ledger_ms(site)
    assert ended_ms < start_ms(site, name)
    eventually(lambda: site.field(name, "state") == "SUCCEEDED", "it runs")
    assert 0 <= late_ms(site, name) < LATE_MS


def test_a_call_that_was_due_while_no_gateway_ran_starts_with_the_next_one(site: Site) -> None:
    name = new_id()
    detached(site, site.targets(1)[0], name, forebay_start_after="4s")
    site.end_all()
    eventually(lambda: time.time() * 1000 > int(site.field(name, "start_at")), "it is due")
    assert site.field(name, "state") == "DELAYED"
    site.targets(1)
    ready_ms = ledger_ms(site)
    eventually(lambda: site.field(name, "state") == "SUCCEEDED", "it runs")
    assert late_ms(site, name, ready_ms) < LATE_MS  # the workers have kept the clock


def test_an_operator_sees_when_calls_start_and_cancels_one_that_never_runs(site: Site) -> None:
    name = new_id()
    address = site.targets(1)[0]
    detached(site, address, name, forebay_start_after="1h30m")
    with grpc.insecure_channel(address) as channel:
        client = OperationsClient(channel)
        operation = client.get_operation(f"operations/{name}")
        found = metadata_of(operation)
        wait = found.start_time.ToDatetime() - found.create_time.ToDatetime()
        assert wait == timedelta(hours=1.5)
        assert not found.HasField("queue_time")
        listed = client.list_operations("operations", "state = DELAYED")
        assert name in {one.name.partition("/")[2] for one in listed}
        row = run("forebay", "ps", "-t", address, "--state", "delayed", env=site.env).succeeded()
        (line,) = [line for line in row.out.splitlines() if line.startswith(name)]
        assert "\tstarts in 1h29m" in line
        cancel = run("forebay", "cancel", "-t", address, name, env=site.env).succeeded()
        assert "CANCELLED" in cancel.out + cancel.err or not cancel.out
        assert state_of(name, client) == "CANCELLED"
        assert metadata_of(client.get_operation(f"operations/{name}")).attempt == 1
    assert site.field(name, "begun_at") == ""


def test_a_caller_that_leaves_a_call_under_cancel_ends_it(site: Site) -> None:
    with grpc.insecure_channel(site.targets(1)[0]) as channel:
        call = EchoServiceStub(channel).ServerStream(
            ONE, metadata=metadata(forebay_start_after="20m")
        )
        name = dict(call.initial_metadata())["forebay-call-id"]
        assert site.field(name, "state") == "DELAYED"
        call.cancel()
        eventually(lambda: site.field(name, "state") == "CANCELLED", "it ends, unrun")


def test_a_second_caller_attaches_whatever_its_own_delay(site: Site) -> None:
    name = new_id()
    with grpc.insecure_channel(site.targets(1)[0]) as channel:
        stub = EchoServiceStub(channel)
        call = stub.ServerStream
        first = call(ONE, metadata=metadata(name, forebay_start_after="3s"), timeout=TIMEOUT_S)
        assert dict(first.initial_metadata())["forebay-attached"] == "new"
        again = metadata(name, forebay_start_after="20m")
        second = call(ONE, metadata=again, timeout=TIMEOUT_S)
        assert dict(second.initial_metadata())["forebay-attached"] == "running"
        assert [one.text for one in second] == [one.text for one in first] == ["x"]


def test_the_command_leaves_a_call_and_prints_its_id(site: Site) -> None:
    address = site.targets(1)[0]
    call = ("forebay", "call", "-t", address, "Detached", "text=x", "count=1", "--detach")
    ran = run(*call, "--in", "1s", "--id", "nightly-1", env=site.env).succeeded()
    assert ran.out == "nightly-1\n"
    eventually(lambda: site.field("nightly-1", "state") == "SUCCEEDED", "it runs by itself")
    both = run(*call, "--in", "1s", "--at", "2026-01-31T08:00:00Z", env=site.env)
    assert "give one of them" in both.err


def test_the_command_starts_a_call_at_a_date(site: Site) -> None:
    call = ("forebay", "call", "-t", site.targets(1)[0], "Detached", "text=x", "count=1")
    at = datetime.now(UTC) + timedelta(seconds=2)
    timed = (*call, "--detach", "--id", "nightly-2", "--at")
    assert run(*timed, at.isoformat(), env=site.env).succeeded().out == "nightly-2\n"
    eventually(lambda: site.field("nightly-2", "state") == "SUCCEEDED", "it runs by itself")
    assert abs(int(site.field("nightly-2", "start_at")) / 1000 - at.timestamp()) < 0.002
    bad = run(*timed, "tomorrow", env=site.env)
    assert "--at" in bad.err
    assert "expected a date in RFC 3339" in bad.err


BAD: dict[str, tuple[str, dict[str, str], str]] = {
    "no duration": ("Unary", {"forebay_start_after": "soon"}, "expected a duration, such as 10m"),
    "no unit": ("Unary", {"forebay_start_after": "10"}, "expected a duration, such as 10m"),
    "no date": ("Unary", {"forebay_start_at": "tomorrow"}, "expected a date in RFC 3339"),
    "no zone": ("Unary", {"forebay_start_at": "2026-01-31T08:00:00"}, "with its time zone"),
    "too late": ("Unary", {"forebay_start_after": "31d"}, "at most 30 days later"),
    "in 2099": ("Unary", {"forebay_start_at": "2099-01-01T00:00:00Z"}, "at most 30 days later"),
    "both": (
        "Unary",
        {"forebay_start_at": "2099-01-01T00:00:00Z", "forebay_start_after": "1m"},
        "give one of them",
    ),
    "after the deadline": ("Unary", {"forebay_start_after": "1h"}, "after the call's deadline"),
    "ephemeral": ("Quick", {"forebay_start_after": "1m"}, "needs forebay-call-id"),
    "streamed": ("ClientStream", {"forebay_start_after": "1m"}, "for methods with one request"),
    "live": ("Talk", {"forebay_start_after": "1m"}, "for methods with one request"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_delay_that_can_not_be_is_refused_with_its_reason(site: Site, case: str) -> None:
    method, when, expected = BAD[case]
    address = site.targets(1)[0]
    with accepting_nothing(site.ledger), grpc.insecure_channel(address) as channel:
        call: Any = getattr(EchoServiceStub(channel), method)
        request = iter([ONE]) if method in ("ClientStream", "Talk") else ONE
        call = call if method == "Talk" else call.future
        answer = call(request, metadata=metadata(**when), timeout=TIMEOUT_S)
        with pytest.raises(grpc.RpcError) as refused:
            next(answer) if method == "Talk" else answer.result()
    error = of_rpc_error(refused.value)
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert expected in error.message
    (violation,) = error.violations  # type: ignore[attr-defined]
    assert violation.field in {key.replace("_", "-") for key in when}
