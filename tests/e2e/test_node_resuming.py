"""Calls of the client in clients/node survive the end of their gateway, as Python's do."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.e2e.conftest import Site
from tests.e2e.test_node_client import node_client
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.harness import eventually, free_port
from tests.node_client import TIMEOUT_S, NodeCall, node_call
from tests.proxies import NAMES, READ_TIMEOUT_S, proxy

__all__ = ("node_client",)

FORTY = EchoRequest(text="x", count=40, seconds=0.05)
LONG = EchoRequest(act="sleep", seconds=60, count=1)
INDICES = list(range(40))


def index(response: dict[str, Any]) -> int:
    return int(response.get("index", 0))


def texts(call: NodeCall) -> Iterator[dict[str, Any]]:
    """The ordinary responses of ServerStream."""
    return (response for response in call.responses() if "text" in response)


def indices_while_the_gateway_ends(
    site: Site, call: NodeCall, at: tuple[int, ...] = (5,), number: int = signal.SIGKILL
) -> list[int]:
    """The items' indices; the call's gateway ends when there are so many."""
    indices = []
    for response in texts(call):
        indices.append(index(response))
        if len(indices) in at:
            site.end_gateway_of(call.header["forebay-call-id"], number)
    assert call.end["code"] == "Ok", call.end
    return indices


def named(request: pytest.FixtureRequest) -> str:
    """A call id for the test."""
    return "node-" + "".join(c if c.isalnum() else "-" for c in request.node.name)


def running(site: Site, name: str) -> None:
    eventually(lambda: site.field(name, "state") == "RUNNING", "the handler runs")


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
    gateway = site.gateway()
    wish = EchoRequest(text="x", act="sleep", seconds=60)
    with node_call(node_client, [gateway.address], "ServerStream", wish, timeoutMs=3000) as call:
        call.begun()
        gateway.end()
        begun = time.monotonic()
        assert call.failed()["code"] in ("Unavailable", "DeadlineExceeded")
        assert time.monotonic() - begun < TIMEOUT_S / 2


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


@pytest.fixture(
    params=(NAMES[0], *(pytest.param(name, marks=pytest.mark.variant) for name in NAMES[1:]))
)
def address(request: pytest.FixtureRequest, site: Site) -> Iterator[str]:
    """A proxy in front of two gateways."""
    with proxy(request.param, site.targets()) as address:
        yield address


def test_a_stream_resumes_behind_a_proxy(site: Site, node_client: Path, address: str) -> None:
    with node_call(node_client, [address], "ServerStream", FORTY) as call:
        assert indices_while_the_gateway_ends(site, call) == INDICES


@pytest.mark.variant
def test_one_response_arrives_behind_a_proxy(
    site: Site, node_client: Path, address: str, request: pytest.FixtureRequest, gate: Path
) -> None:
    wish = EchoRequest(text="x", gate=Gate(path=str(gate)))
    with node_call(node_client, [address], "Unary", wish, named(request)) as call:
        running(site, named(request))
        site.end_gateway_of(named(request))
        gate.touch()
        assert [response["text"] for response in call.responses()] == ["x"]


@pytest.mark.variant
def test_an_upload_continues_behind_a_proxy(
    site: Site, node_client: Path, address: str, request: pytest.FixtureRequest
) -> None:
    with node_call(node_client, [address], "ClientStream", call_id=named(request)) as call:
        for number in range(20):
            if number == 10:
                site.end_gateway_of(named(request))
            call.send(EchoRequest(text="x" * 1000))
        call.done_writing()
        (response,) = call.responses()
    assert (len(response["text"]), response["index"]) == (20_000, 20)


@pytest.mark.variant
def test_a_live_call_continues_behind_a_proxy(
    site: Site, node_client: Path, address: str, request: pytest.FixtureRequest
) -> None:
    heard = []
    with node_call(node_client, [address], "Talk", call_id=named(request)) as call:
        responses = call.responses()
        for number in range(6):
            call.send(EchoRequest(text=str(number)))
            heard.append(next(responses)["text"])
            if number == 2:
                site.end_gateway_of(named(request))
        call.done_writing()
        assert list(responses) == []
    assert heard == [str(number) for number in range(6)]


@pytest.mark.variant
def test_a_stream_that_is_silent_for_longer_than_the_proxys_timeout_resumes(
    node_client: Path, address: str
) -> None:
    wish = EchoRequest(text="x", act="sleep", seconds=2 * READ_TIMEOUT_S + 1.0, count=2)
    with node_call(node_client, [address], "ServerStream", wish) as call:
        assert [index(response) for response in texts(call)] == [0, 1]


@pytest.mark.variant
def test_one_response_later_than_the_proxys_timeout_arrives(
    node_client: Path, address: str
) -> None:
    wish = EchoRequest(text="x", act="sleep", seconds=2 * READ_TIMEOUT_S + 1.0)
    with node_call(node_client, [address], "Unary", wish) as call:
        assert [response["text"] for response in call.responses()] == ["x"]
    assert call.retries


@pytest.mark.variant
def test_the_deadline_bounds_the_attempts_behind_a_proxy(node_client: Path, address: str) -> None:
    wish, timeout_ms = EchoRequest(act="sleep", seconds=30.0), READ_TIMEOUT_S * 1000 + 1000
    with node_call(node_client, [address], "ServerStream", wish, timeoutMs=timeout_ms) as call:
        assert call.failed()["code"] == "DeadlineExceeded"


@pytest.mark.variant
def test_a_handlers_own_status_is_raised_at_once_behind_a_proxy(
    node_client: Path, address: str
) -> None:
    for code, name in (
        (grpc.StatusCode.INTERNAL, "Internal"),
        (grpc.StatusCode.UNKNOWN, "Unknown"),
        (grpc.StatusCode.UNAVAILABLE, "Unavailable"),
    ):
        wish = EchoRequest(count=1)
        wish.status.code, wish.status.message = code.value[0], "the handler's own"
        with node_call(node_client, [address], "ServerStream", wish) as call:
            list(call.responses())
        assert (call.end["code"], call.end["message"]) == (name, "the handler's own")
        assert not call.retries


@pytest.mark.variant
def test_a_request_over_the_proxys_limit_fails_at_once(site: Site, node_client: Path) -> None:
    with (
        proxy("nginx", site.targets()) as address,
        node_call(node_client, [address], "ClientStream") as call,
    ):
        call.send(EchoRequest(ballast=bytes(1_500_000)))
        call.done_writing()
        assert "413" in call.failed()["message"]
    assert not call.retries
