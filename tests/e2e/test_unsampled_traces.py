"""Calls that begin a trace which is not sampled: their lines name it, and no process exports it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay.metadata import CALL_ID
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import redis_server
from tests.otlp import Receiver, otlp_receiver


@dataclass
class Ended:
    """Logs and spans of a gateway that samples nothing and a worker that samples everything."""

    receiver: Receiver
    gateway_log: str
    worker_log: str
    ids: dict[str, str]

    def lines(self, call: str) -> list[dict[str, Any]]:
        """All lines of a call."""
        lines = [
            json.loads(line)
            for line in (self.gateway_log + self.worker_log).splitlines()
            if line.startswith("{")
        ]
        return [line for line in lines if line.get("call_id") == self.ids[call]]


@pytest.fixture(scope="module", params=["prefork", "threads", "asyncio"])
def ended(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Ended]:
    """Calls without a `traceparent`, made before the processes ended."""
    died = tmp_path_factory.mktemp("unsampled") / "died"
    with otlp_receiver() as receiver, redis_server() as url, ExitStack() as running:
        env = echo_environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_LOG_FORMAT="json",
            FOREBAY_LOG_LEVEL="DEBUG",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.grpc_port}",
        )
        dropping = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
        dropping["OTEL_TRACES_SAMPLER_ARG"] = "0"
        gateway, address = running.enter_context(echo_gateway({**env, **dropping}))
        worker = running.enter_context(echo_worker(env, request.param, slots=1))
        with grpc.insecure_channel(address) as channel:
            ids = calls(EchoServiceStub(channel), died, may_die=request.param == "prefork")
        assert worker.stop() == 0
        assert gateway.stop() == 0
        yield Ended(receiver, gateway.output, worker.output, ids)


def calls(stub: EchoServiceStub, died: Path, *, may_die: bool) -> dict[str, str]:
    """Makes the calls; returns their ids."""
    ids = {}
    for name, method in (("ephemeral", stub.Quick), ("durable", stub.Unary)):
        for act in ("span", "log"):
            _, call = method.with_call(EchoRequest(act=act), timeout=60)
            ids[f"{name} {act}"] = id_of(call)
    if may_die:
        request = EchoRequest(act="die once", text=str(died))
        _, call = stub.QuickAgain.with_call(request, timeout=60)
        ids["resent"] = id_of(call)
    return ids


def id_of(call: Any) -> str:
    """The call's id, which is in the initial metadata of durable calls."""
    return dict((*call.initial_metadata(), *call.trailing_metadata()))[CALL_ID]


def test_no_process_exports_a_span(ended: Ended) -> None:
    assert ended.receiver.spans == []


@pytest.mark.parametrize("call", ["ephemeral span", "ephemeral log", "durable span", "durable log"])
def test_the_lines_of_a_call_have_one_trace(ended: Ended, call: str) -> None:
    lines = ended.lines(call)
    assert {line["message"] for line in lines} & {"looked up", "no stock"}
    (trace_id,) = {line["trace_id"] for line in lines}
    (span_id,) = {line["span_id"] for line in lines}
    assert int(trace_id, 16)
    assert int(span_id, 16)
    assert (len(trace_id), len(span_id)) == (32, 16)


def test_calls_have_traces_of_their_own(ended: Ended) -> None:
    traces = [ended.lines(call)[0]["trace_id"] for call in ended.ids]
    assert len(set(traces)) == len(ended.ids)


@pytest.mark.parametrize("ended", ["prefork"], indirect=True)
def test_a_call_that_is_sent_again_is_in_the_same_trace(ended: Ended) -> None:
    lines = ended.lines("resent")
    assert [line["attempt"] for line in lines if "is resent" in line["message"]] == [1]
    assert len({line["trace_id"] for line in lines}) == 1
