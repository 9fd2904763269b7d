"""Calls of the client in clients/node survive the end of their gateway, as Python's do."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Site
from tests.e2e.node_calls import (
    FORTY,
    INDICES,
    index,
    indices_while_the_gateway_ends,
    named,
    running,
    texts,
)
from tests.e2e.test_node_client import node_client
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.harness import eventually, free_port
from tests.node_client import TIMEOUT_S, NodeCall, node_call

__all__ = ("node_client",)

LONG = EchoRequest(act="sleep", seconds=60, count=1)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.variant)]
)
def test_a_stream_resumes_when_its_gateway_ends(site: Site, node_client: Path, number: int) -> None:
    with node_call(node_client, site.targets(), "ServerStream", FORTY) as call:
        assert indices_while_the_gateway_ends(site, call, number=number) == INDICES
    assert call.end["trailer"]["forebay-attempts"] == "1"
    assert call.retries


@pytest.mark.variant
def test_a_stream_resumes_more_than_once(site: Site, node_client: Path) -> None:
    with node_call(node_client, site.targets(3), "ServerStream", FORTY) as call:
        assert indices_while_the_gateway_ends(site, call, at=(5, 15)) == INDICES


@pytest.mark.variant
def test_large_items_arrive_once(site: Site, node_client: Path) -> None:
    request = EchoRequest(text="x", count=60, padding=200_000)
    with node_call(node_client, site.targets(), "ServerStream", request) as call:
        assert indices_while_the_gateway_ends(site, call, at=(1,)) == list(range(60))


def test_one_response_arrives_when_its_gateway_ends(
    site: Site, node_client: Path, gate: Path
) -> None:
    request = EchoRequest(text="x", gate=Gate(path=str(gate)))
    with node_call(node_client, site.targets(), "Unary", request, "node-one") as call:
        running(site, "node-one")
        site.end_gateway_of("node-one")
        gate.touch()
        assert [response["text"] for response in call.responses()] == ["x"]
    assert site.field("node-one", "attempt") == "1"


@pytest.mark.variant
def test_an_ephemeral_call_is_retried_if_it_may_run_again(site: Site, node_client: Path) -> None:
    targets = [f"127.0.0.1:{free_port()}", *site.targets(1)]
    for _ in range(2):  # whichever is first
        with node_call(node_client, targets, "QuickAgain", EchoRequest(text="x")) as call:
            assert [response["text"] for response in call.responses()] == ["x"]


@pytest.mark.variant
def test_ephemeral_calls_go_on_when_one_of_two_gateways_ends(site: Site, node_client: Path) -> None:
    targets = site.targets()
    with node_call(node_client, targets, "QuickAgain") as calls:
        responses = calls.responses()
        for number in range(20):
            if number == 10:
                site.end(targets[0])
            calls.send(EchoRequest(text=str(number)))
            assert next(responses)["text"] == str(number)
        calls.done_writing()
    assert {retry["target"] for retry in calls.retries} <= {targets[0]}


def test_calls_are_spread_over_all_targets(site: Site, node_client: Path, gate: Path) -> None:
    with node_call(node_client, site.targets(), "ServerStream") as calls:
        for _ in range(4):
            calls.send(EchoRequest(text="x", count=1, gate=Gate(path=str(gate))))
        gateways = set[str]().union(*(site.watchers(calls.begun()) for _ in range(4)))
        gate.touch()
        calls.done_writing()
        assert [response["text"] for response in texts(calls)] == ["x"] * 4
    assert len(gateways) == 2
    assert not calls.retries


@pytest.mark.variant
def test_a_stream_without_responses_ends_when_its_gateway_ends(
    site: Site, node_client: Path, gate: Path
) -> None:
    request = EchoRequest(gate=Gate(path=str(gate)))
    with node_call(node_client, site.targets(), "ServerStream", request) as call:
        site.end_gateway_of(call.begun())
        gate.touch()
        assert list(call.responses()) == []
    assert call.end["code"] == "Ok"
    assert call.retries


@pytest.mark.variant
def test_a_call_resumes_on_a_gateway_that_restarts_on_its_port(
    site: Site, node_client: Path
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    first = site.gateway(listen)
    with node_call(node_client, [listen], "ServerStream", FORTY) as call:
        indices = []
        for response in texts(call):
            indices.append(index(response))
            if len(indices) == 5:
                first.end()
                site.gateway(listen)
    assert indices == INDICES


def test_the_deadline_bounds_all_attempts(site: Site, node_client: Path) -> None:
    gateway, deadline_s = site.gateway(), 6
    wish = EchoRequest(text="x", act="sleep", seconds=60)
    options = {"timeoutMs": 1000 * deadline_s}
    with node_call(node_client, [gateway.address], "ServerStream", wish, **options) as call:
        call.begun()
        gateway.end()
        begun = time.monotonic()
        assert call.failed()["code"] in ("Unavailable", "DeadlineExceeded")
        assert time.monotonic() - begun < 2 * deadline_s


@pytest.mark.variant
def test_without_resuming_the_caller_gets_the_failure(site: Site, node_client: Path) -> None:
    with node_call(node_client, site.targets(), "ServerStream", FORTY, resume=False) as call:
        responses = call.responses()
        next(responses)
        site.end_gateway_of(call.header["forebay-call-id"])
        list(responses)
    assert call.end["code"] != "Ok"
    assert not call.retries


def test_a_stored_outcome_is_raised_at_once(site: Site, node_client: Path) -> None:
    request = EchoRequest(act="unavailable")
    with node_call(node_client, site.targets(), "Unary", request) as call:
        failed = call.failed()
    assert failed["code"] == "Unavailable"
    assert failed["reason"]
    assert not call.retries


@pytest.mark.parametrize(
    ("method", "end"),
    [
        pytest.param("ServerStream", NodeCall.cancel, id="a cancelled stream"),
        pytest.param(
            "Unary", NodeCall.cancel, id="a cancelled response", marks=pytest.mark.variant
        ),
        pytest.param("Unary", NodeCall.close, id="a closed transport", marks=pytest.mark.variant),
    ],
)
def test_a_call_that_its_caller_ends_is_cancelled_at_once(
    site: Site,
    node_client: Path,
    request: pytest.FixtureRequest,
    method: str,
    end: Callable[[NodeCall], None],
) -> None:
    with node_call(node_client, site.targets(), method, LONG, named(request)) as call:
        running(site, named(request))
        end(call)
        assert call.failed()["code"] == "Canceled"
        site.wait_for_cancel(named(request))


@pytest.mark.variant
@pytest.mark.parametrize("seconds", [0.2, 0.005])  # then responses have arrived that nobody reads
def test_leaving_a_loop_cancels_its_call(site: Site, node_client: Path, seconds: float) -> None:
    wish = EchoRequest(text="x", count=1000, seconds=seconds)
    targets, call_id = site.targets(), f"node-left-{seconds}"
    with node_call(node_client, targets, "ServerStream", wish, call_id, leaveAfter=2) as call:
        assert len(list(call.responses())) == 2
        site.wait_for_cancel(call_id)


@pytest.mark.variant
def test_a_callback_for_transient_responses_that_throws_cancels_its_call(
    site: Site, node_client: Path
) -> None:
    wish, name = EchoRequest(text="x", count=1000, seconds=0.2), "node-threw"
    targets = site.targets()
    with node_call(node_client, targets, "ServerStream", wish, name, throwOnTransient=True) as call:
        assert call.failed()["message"] == "enough"
        site.wait_for_cancel(name)


@pytest.mark.variant
def test_a_detached_call_continues_after_its_caller_cancels(site: Site, node_client: Path) -> None:
    wish = EchoRequest(text="x", count=3, seconds=0.3)
    with node_call(node_client, site.targets(), "Detached", wish, "node-alone") as call:
        next(call.responses())
        call.cancel()
    eventually(lambda: site.field("node-alone", "state") == "SUCCEEDED", "it ends by itself")


@pytest.mark.parametrize(
    "method", ["ServerStream", pytest.param("Unary", marks=pytest.mark.variant)]
)
def test_a_call_that_is_cancelled_between_two_attempts_ends_on_the_other_gateway(
    site: Site, node_client: Path, request: pytest.FixtureRequest, method: str
) -> None:
    name = named(request)
    with node_call(node_client, site.targets(), method, LONG, name, cancelOnRetry=True) as call:
        running(site, name)
        site.end_gateway_of(name)
        assert call.failed()["code"] == "Canceled"
        site.wait_for_cancel(name)
    assert len(call.retries) == 1


@pytest.mark.variant
@pytest.mark.parametrize("method", ["Unary", "ServerStream"])
def test_a_call_that_waits_for_a_gateway_is_cancelled_at_once(
    site: Site, node_client: Path, method: str
) -> None:
    with node_call(node_client, [f"127.0.0.1:{free_port()}"], method, LONG) as call:
        next(line for line in call._lines() if "retry" in line)
        call.cancel()
        begun = time.monotonic()
        assert call.failed()["code"] == "Canceled"
        assert time.monotonic() - begun < TIMEOUT_S / 2
