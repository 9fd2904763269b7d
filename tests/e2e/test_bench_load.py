"""The benchmark's load against a real gRPC server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from bench import load
from bench.load.grpc import call_of, measured
from bench.load.http2 import Call
from forebay.compute.v1.compute_pb2 import AddRequest, AddResponse
from tests.harness import environment

SECONDS = 0.2
IN_FLIGHT = 8


class Adding:
    """Adds; with `failing`, every tenth call fails. Counts the ids of calls."""

    def __init__(self, *, failing: bool = False) -> None:
        self.ids: Counter[str] = Counter()
        self._failing = failing

    def add(self, request: AddRequest, context: grpc.ServicerContext) -> AddResponse:
        call_id = dict(context.invocation_metadata()).get("forebay-call-id", "")
        self.ids[str(call_id)] += 1
        context.set_trailing_metadata((("forebay-call-id", str(call_id)),))
        if self._failing and self.ids.total() % 10 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return AddResponse(sum=request.x + request.y)

    @contextmanager
    def served(self) -> Iterator[str]:
        """The address of a server."""
        server = grpc.server(ThreadPoolExecutor(4))
        handler = grpc.unary_unary_rpc_method_handler(
            self.add, AddRequest.FromString, AddResponse.SerializeToString
        )
        service = "forebay.compute.v1.ComputeService"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"Add": handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


def loaded(address: str, call: Call) -> load.Load:
    return measured(address, call, IN_FLIGHT, connections=2, seconds=SECONDS)


def test_calls_are_answered_and_none_fails() -> None:
    with Adding().served() as address:
        found = loaded(address, call_of("ephemeral"))
    assert found.rate > 0
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.failures == {}


def test_each_durable_call_has_an_id_of_its_own() -> None:
    adding = Adding()
    with adding.served() as address:
        loaded(address, call_of("durable"))
    assert len(adding.ids) > IN_FLIGHT
    assert set(adding.ids.values()) == {1}


def test_calls_that_fail_are_failures() -> None:
    with Adding(failing=True).served() as address:
        found = loaded(address, call_of("ephemeral"))
    assert found.failures.keys() == {"grpc-status 14: away"}
    assert sum(found.failures.values()) > 0


def test_a_wrong_response_is_a_failure() -> None:
    with (
        Adding().served() as address,
        pytest.raises(SystemExit, match=r"no call was answered: \{'another answer'"),
    ):
        loaded(address, call_of("echo"))


def test_a_load_process_reports_its_measurements() -> None:
    words = ("ephemeral", IN_FLIGHT, 2)
    with Adding().served() as address:
        found = load.run("bench.load.grpc", address, *words, env=environment(), seconds=SECONDS)
    assert found.rate > 0
    assert len(found.times_ms) == len(load.SHARES)


def test_a_load_with_failures_is_no_measurement() -> None:
    words = ("ephemeral", IN_FLIGHT, 2)
    with Adding(failing=True).served() as address, pytest.raises(RuntimeError, match="14: away"):
        load.run("bench.load.grpc", address, *words, env=environment(), seconds=SECONDS)
